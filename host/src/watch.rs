//! Noticing that files may have changed. A hint, never a statement: whoever is woken takes a [`Snapshot`], reads, and lets
//! the content's hash decide.
//!
//! ```text
//! WatchPlaces { config: PathBuf, schemas: PathBuf, plugins: PathBuf }
//! Watch::start(places: WatchPlaces, rescan: Duration) -> Watch
//! Watch::changed(&mut self)            async, cancel-safe; resolves when something may have changed
//! Watch::is_polling(&self) -> bool     true: hints are missing, only the interval finds changes
//! Snapshot::take(&WatchPlaces) -> Snapshot
//! settled(&WatchPlaces, quiet: Duration) -> Snapshot      async, cancel-safe; DEFAULT_QUIET
//! ```
//!
//! Two sources, because neither is enough: the system's notifications are fast, but overflow, run out, and do not exist on
//! some file systems; the interval is slow, but cannot miss anything. What is watched are directories, never files, because a
//! file that is replaced takes its watch with it.
//!
//! A change between two calls of [`Watch::changed`] is not lost: the next call returns at once.

mod arming;
mod snapshot;
mod targets;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use self::arming::{Arming, Backend, Shared};

pub(crate) use self::snapshot::is_mount_internal;
pub use self::snapshot::{DEFAULT_QUIET, Snapshot, settled};

/// The files that a running host depends on. Relative paths are meant from the working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchPlaces {
    /// `runtime.yaml` itself.
    pub config: PathBuf,
    /// The schemas folder, with what is below it.
    pub schemas: PathBuf,
    /// The plugins folder, without what is below it.
    pub plugins: PathBuf,
}

/// A watch over [`WatchPlaces`], until it is dropped.
pub struct Watch {
    hints: mpsc::Receiver<()>,
    shared: Arc<Shared>,
    rescan: Duration,
    next_rescan: Instant,
    /// Ends the thread that arms the watches.
    _arming: Arming,
}

// === impl Watch ===

impl Watch {
    /// Begins to watch, on a thread of its own. Never fails: what cannot be watched is looked at every `rescan`.
    ///
    /// Places that do not exist yet are noticed when they appear. The watches stand a moment after this returns, and a hint
    /// follows when they do, so that a change before that moment is found too.
    pub fn start(places: WatchPlaces, rescan: Duration) -> Self {
        Self::start_with(places, rescan, arming::recommended())
    }

    fn start_with(places: WatchPlaces, rescan: Duration, backend: Backend) -> Self {
        // A hint says no more than "look again", so one that waits stands for all.
        let (hint, hints) = mpsc::channel(1);
        let shared = Arc::new(Shared::new(hint));
        let arming = Arming::start(places, rescan, backend, Arc::clone(&shared));
        Self { hints, shared, rescan, next_rescan: Instant::now() + rescan, _arming: arming }
    }

    /// Waits until something may have changed: a notification came, or the rescan interval is over.
    ///
    /// Cancel-safe: a hint that was not returned is returned by the next call.
    pub async fn changed(&mut self) {
        tokio::select! {
            Some(()) = self.hints.recv() => {}
            () = tokio::time::sleep_until(self.next_rescan) => self.next_rescan = Instant::now() + self.rescan,
        }
    }

    /// Whether notifications are missing for at least one place, so that changes are found by the interval alone.
    pub fn is_polling(&self) -> bool {
        self.shared.is_polling()
    }
}

#[cfg(test)]
mod tests;
