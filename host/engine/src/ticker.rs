//! The clock that lets the host interrupt a guest that does not stop by itself.
//!
//! It is an operating system thread, not a task: a task shares its threads with the guests, and a guest that spins on the
//! last of them would stop the clock which is to interrupt it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::EngineWeak;

/// A ticker that has not ticked for so long is taken for dead. Far above any scheduling delay of a loaded machine.
const SILENCE: Duration = Duration::from_secs(1);

/// The heartbeat of the ticker thread. The thread ends by itself once the engine is gone.
pub(crate) struct Ticker {
    started: Instant,
    /// Milliseconds after `started` at which it ticked last.
    last_tick: Arc<AtomicU64>,
}

impl Ticker {
    pub(crate) fn start(engine: EngineWeak, period: Duration) -> std::io::Result<Self> {
        let started = Instant::now();
        let last_tick = Arc::new(AtomicU64::new(0));
        let heartbeat = Arc::clone(&last_tick);
        thread::Builder::new().name("epoch-ticker".to_owned()).spawn(move || {
            loop {
                thread::sleep(period);
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
                heartbeat.store(millis_since(started), Ordering::Relaxed);
            }
        })?;
        Ok(Self { started, last_tick })
    }

    pub(crate) fn is_alive(&self) -> bool {
        let silent_for = millis_since(self.started).saturating_sub(self.last_tick.load(Ordering::Relaxed));
        u128::from(silent_for) < SILENCE.as_millis()
    }
}

fn millis_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}
