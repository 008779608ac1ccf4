//! The CPU time of one call, as the thread's own clock counts it.
//!
//! Wall time would charge a guest for its neighbours and for the broker that it waits for; wasmtime's fuel would slow
//! every instruction down. So the thread's CPU clock is read, and only where a call is slow already: at a tick of the
//! epoch, and where the call stops and goes on. A call that returns at its first poll before the next tick reads no clock
//! at all. The price is that up to one tick (5 ms) at the beginning of a call is not charged.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The beginning of the running slice is not known.
const UNKNOWN: u64 = u64::MAX;

/// What one call has used, in nanoseconds. A slice is the time between two polls of the call: it has one thread, and
/// nobody else runs on that thread meanwhile.
///
/// It is shared between a store and whoever polls it, one after the other, never at the same time.
#[derive(Default)]
pub(crate) struct CpuMeter {
    budget: AtomicU64,
    used: AtomicU64,
    slice_start: AtomicU64,
    exhausted: AtomicBool,
    /// Whether also the first slice is measured, and the last one to its end: what a host's calls are too many for.
    exact: bool,
}

// === impl CpuMeter ===

impl CpuMeter {
    /// One that measures a call from its beginning to its end.
    pub(crate) fn exact() -> Self {
        Self { exact: true, ..Self::default() }
    }

    /// CPU time of the last call, as far as it was measured.
    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    /// From here on a new call is measured.
    pub(crate) fn begin(&self, budget: Duration) {
        self.budget.store(nanos(budget), Ordering::Relaxed);
        self.used.store(0, Ordering::Relaxed);
        self.slice_start.store(UNKNOWN, Ordering::Relaxed);
        self.exhausted.store(false, Ordering::Relaxed);
    }

    /// Asked while the guest runs: whether its time is used up.
    pub(crate) fn tick(&self) -> bool {
        let now = thread_time();
        self.charge(now);
        self.slice_start.store(now, Ordering::Relaxed);
        let exhausted = self.used.load(Ordering::Relaxed) >= self.budget.load(Ordering::Relaxed);
        self.exhausted.store(exhausted, Ordering::Relaxed);
        exhausted
    }

    /// Whether the last [`tick`](Self::tick) said so.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed)
    }

    /// Polls the guest, and measures from its second slice on.
    pub(crate) async fn measure<F: Future>(&self, guest: F) -> F::Output {
        let mut guest = pin!(guest);
        let mut polled_before = self.exact;
        poll_fn(|context| {
            if std::mem::replace(&mut polled_before, true) {
                self.slice_start.store(thread_time(), Ordering::Relaxed);
            }
            let polled = guest.as_mut().poll(context);
            if (self.exact || polled.is_pending()) && self.slice_start.load(Ordering::Relaxed) != UNKNOWN {
                self.charge(thread_time());
            }
            polled
        })
        .await
    }

    fn charge(&self, now: u64) {
        let start = self.slice_start.load(Ordering::Relaxed);
        if start != UNKNOWN {
            self.used.fetch_add(now.saturating_sub(start), Ordering::Relaxed);
        }
    }
}

/// CPU time of this thread since it began, in nanoseconds.
fn thread_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes for so long.
    fn burn(time: Duration) {
        let end = thread_time() + nanos(time);
        while thread_time() < end {}
    }

    #[tokio::test]
    async fn what_others_do_on_the_thread_is_not_charged() {
        let meter = CpuMeter::default();
        meter.begin(Duration::from_millis(100));
        let guest = async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
                burn(Duration::from_millis(5));
            }
        };
        let neighbour = async {
            for _ in 0..3 {
                burn(Duration::from_millis(50));
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(meter.measure(guest), neighbour);
        // The last slice ends with the call; nobody asks any more.
        let used = meter.used();
        assert!(used >= Duration::from_millis(10) && used < Duration::from_millis(40), "{used:?}");
    }

    #[tokio::test]
    async fn waiting_is_not_charged() {
        let meter = CpuMeter::default();
        meter.begin(Duration::from_millis(10));
        meter
            .measure(async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                assert!(!meter.tick());
            })
            .await;
        assert!(meter.used() < Duration::from_millis(10), "{:?}", meter.used());
    }

    #[tokio::test]
    async fn a_slice_is_charged_at_each_tick_until_the_budget_is_used_up() {
        let meter = CpuMeter::default();
        meter.begin(Duration::from_millis(20));
        meter
            .measure(async {
                assert!(!meter.tick(), "the first tick only begins to count");
                burn(Duration::from_millis(10));
                assert!(!meter.tick());
                burn(Duration::from_millis(11));
                assert!(meter.tick());
            })
            .await;
        assert!(meter.is_exhausted());
        meter.begin(Duration::from_millis(20));
        assert!(!meter.is_exhausted());
    }
}
