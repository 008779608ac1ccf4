//! Where the lines of one plugin leave for the host's log: all its instances share it.
//!
//! The limits of a call bound one call; ten thousand calls a second within their limits still fill a disk. So there is a
//! rate over all calls, and what was above it is counted and told. It concerns the host's log only: the tail that a failure
//! carries is kept before anybody asks here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidemill_core::config::PluginConfig;
use tidemill_core::name::PluginName;

use crate::call_log::Level;
use crate::redact::Redactor;

/// What a plugin may write to the host's log at once, and then each second.
const BURST_BYTES: u64 = 1 << 20;
const BYTES_PER_SECOND: u64 = 256 << 10;

/// What a line costs besides its text: its time, level and fields.
const LINE_COST: u64 = 128;

/// How often it is told that lines were dropped.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The way out of a plugin's text, without its secrets.
pub(crate) struct Outlet {
    pub(crate) plugin: PluginName,
    pub(crate) secrets: Redactor,
    rate: Mutex<Rate>,
    /// Whether the rate has something to tell; spares the others its lock.
    has_dropped: AtomicBool,
}

/// What was dropped since it was told last.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
}

/// A bucket that fills by the second and is emptied by lines.
struct Rate {
    bytes_left: u64,
    filled: Instant,
    dropped: Dropped,
    told: Option<Instant>,
}

// === impl Outlet ===

impl Outlet {
    pub(crate) fn new(plugin: PluginName, settings: &PluginConfig) -> Self {
        Self {
            plugin,
            secrets: Redactor::new(&settings.secrets),
            rate: Mutex::new(Rate::new(Instant::now())),
            has_dropped: AtomicBool::new(false),
        }
    }

    /// Whether a line may be written. A line that nobody listens to costs nothing.
    pub(crate) fn admits(&self, level: Level, text: &str) -> bool {
        if !level.is_heard() {
            return false;
        }
        let admitted = self.rate().admit(text.len() as u64, Instant::now());
        if !admitted {
            self.has_dropped.store(true, Ordering::Relaxed);
        }
        admitted
    }

    /// What was dropped, if it is time to tell it.
    pub(crate) fn dropped(&self) -> Option<Dropped> {
        if !self.has_dropped.load(Ordering::Relaxed) {
            return None;
        }
        let mut rate = self.rate();
        let dropped = rate.tell(Instant::now());
        self.has_dropped.store(rate.dropped.lines > 0, Ordering::Relaxed);
        dropped
    }

    fn rate(&self) -> std::sync::MutexGuard<'_, Rate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Rate ===

impl Rate {
    fn new(now: Instant) -> Self {
        Self { bytes_left: BURST_BYTES, filled: now, dropped: Dropped::NONE, told: None }
    }

    fn admit(&mut self, bytes: u64, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.filled).as_millis() as u64 * BYTES_PER_SECOND / 1000;
        if gained > 0 {
            self.bytes_left = self.bytes_left.saturating_add(gained).min(BURST_BYTES);
            self.filled = now;
        }
        match self.bytes_left.checked_sub(bytes + LINE_COST) {
            Some(left) => self.bytes_left = left,
            None => {
                self.dropped.lines += 1;
                self.dropped.bytes += bytes;
                return false;
            }
        }
        true
    }

    /// The first drop is told at once, later ones together.
    fn tell(&mut self, now: Instant) -> Option<Dropped> {
        let is_due = self.told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        if self.dropped.lines == 0 || !is_due {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::replace(&mut self.dropped, Dropped::NONE))
    }
}

// === impl Dropped ===

impl Dropped {
    const NONE: Self = Self { lines: 0, bytes: 0 };
}

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { lines, bytes } = self;
        let per_second = BYTES_PER_SECOND >> 10;
        write!(
            f,
            "{lines} log lines of the plugin ({bytes} bytes) were not written: over all its calls it may log {per_second} \
             KiB per second"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Lines of a kilobyte that get through at this moment.
    fn admitted(rate: &mut Rate, now: Instant) -> u64 {
        (0..5000).filter(|_| rate.admit(1024 - LINE_COST, now)).count() as u64
    }

    #[test]
    fn a_burst_passes_and_then_so_much_per_second() {
        let begun = Instant::now();
        let mut rate = Rate::new(begun);
        assert_eq!(admitted(&mut rate, begun), 1024);
        assert_eq!(admitted(&mut rate, begun + SECOND), 256);
        assert_eq!(admitted(&mut rate, begun + 3 * SECOND), 512);
        assert_eq!(admitted(&mut rate, begun + 3600 * SECOND), 1024, "a long silence saves up one burst");
    }

    #[test]
    fn what_was_dropped_is_told_at_once_and_then_once_per_interval() {
        let begun = Instant::now();
        let mut rate = Rate::new(begun);
        assert_eq!(rate.tell(begun), None);
        admitted(&mut rate, begun);
        assert_eq!(rate.tell(begun), Some(Dropped { lines: 3976, bytes: 3976 * (1024 - LINE_COST) }));
        admitted(&mut rate, begun + SECOND);
        assert_eq!(rate.tell(begun + SECOND), None);
        let told = rate.tell(begun + TELL_EVERY).unwrap();
        assert_eq!(told.lines, 5000 - 256);
        assert_eq!(rate.tell(begun + 2 * TELL_EVERY), None, "nothing was dropped since");
    }
}
