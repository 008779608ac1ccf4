//! The clock that lets the host interrupt a guest that does not stop by itself, and the watchdog of that clock.
//!
//! It is an operating system thread, not a task: a task shares its threads with the guests, and a guest that spins on the
//! last of them would stop the clock which is to interrupt it. Without the clock guests are immortal, so a second thread,
//! which does nothing else, counts its beats and starts another when they cease. Beats are counted, not timed: a process
//! that was stopped and goes on, or a machine that slept, must not look like a dead clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::EngineWeak;

/// A ticker that has not ticked for so long is taken for dead. Far above any scheduling delay of a loaded machine.
const SILENCE: Duration = Duration::from_secs(1);

/// How often the watchdog looks.
const WATCH: Duration = Duration::from_millis(200);

/// So many looks without a beat between them, and there is a new ticker: within [`SILENCE`].
const LOOKS: u32 = 4;

/// The heartbeat of the ticker thread. Both threads end by themselves once the engine is gone.
pub(crate) struct Ticker(Arc<Heart>);

struct Heart {
    started: Instant,
    /// Milliseconds after `started` at which it ticked last.
    last_tick: AtomicU64,
    beats: AtomicU64,
    /// Which ticker is the right one. One that was only stuck must not go on beside its replacement.
    current: AtomicU64,
}

// === impl Ticker ===

impl Ticker {
    pub(crate) fn start(engine: EngineWeak, period: Duration) -> std::io::Result<Self> {
        let heart = Arc::new(Heart {
            started: Instant::now(),
            last_tick: AtomicU64::new(0),
            beats: AtomicU64::new(0),
            current: AtomicU64::new(0),
        });
        heart.spawn_ticker(engine.clone(), period)?;
        heart.spawn_watchdog(engine, period)?;
        Ok(Self(heart))
    }

    /// Whether it ticked within the last second.
    pub(crate) fn is_alive(&self) -> bool {
        let silent_for = millis_since(self.0.started).saturating_sub(self.0.last_tick.load(Ordering::Relaxed));
        u128::from(silent_for) < SILENCE.as_millis()
    }

    /// Lets the ticker thread end, as if it had died.
    #[cfg(feature = "failpoints")]
    pub(crate) fn kill(&self) {
        self.0.current.fetch_add(1, Ordering::Relaxed);
    }
}

// === impl Heart ===

impl Heart {
    fn spawn_ticker(self: &Arc<Self>, engine: EngineWeak, period: Duration) -> std::io::Result<()> {
        let heart = Arc::clone(self);
        let own = self.current.load(Ordering::Relaxed);
        let ticking = move || {
            while heart.current.load(Ordering::Relaxed) == own {
                thread::sleep(period);
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
                heart.beats.fetch_add(1, Ordering::Relaxed);
                heart.last_tick.store(millis_since(heart.started), Ordering::Relaxed);
            }
        };
        thread::Builder::new().name("epoch-ticker".to_owned()).spawn(ticking).map(drop)
    }

    fn spawn_watchdog(self: &Arc<Self>, engine: EngineWeak, period: Duration) -> std::io::Result<()> {
        let heart = Arc::clone(self);
        let watching = move || {
            let (mut seen, mut silent_looks) = (heart.beats.load(Ordering::Relaxed), 0);
            // A period longer than a look is not silence.
            let look = WATCH.max(period);
            while engine.upgrade().is_some() {
                thread::sleep(look);
                let beats = heart.beats.load(Ordering::Relaxed);
                silent_looks = if beats == seen { silent_looks + 1 } else { 0 };
                seen = beats;
                if silent_looks >= LOOKS {
                    heart.replace_ticker(&engine, period);
                    silent_looks = 0;
                }
            }
        };
        thread::Builder::new().name("ticker-watchdog".to_owned()).spawn(watching).map(drop)
    }

    fn replace_ticker(self: &Arc<Self>, engine: &EngineWeak, period: Duration) {
        tracing::error!(
            silent_for = ?(WATCH * LOOKS),
            "the clock that interrupts guests has stopped; another one is started; either the machine has far more work than cores, or this is a defect of Tidemill"
        );
        self.current.fetch_add(1, Ordering::Relaxed);
        if let Err(why) = self.spawn_ticker(engine.clone(), period) {
            tracing::error!(reason = %why, "the clock that interrupts guests could not be started; it is tried again");
        }
    }
}

fn millis_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}
