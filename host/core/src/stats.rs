//! What a route did, counted where it happens and read by the summary, `status` and the metrics.

mod distribution;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::failure::FailureKind;

pub(crate) use distribution::Timer;
pub use distribution::{BOUNDS, Distribution};

/// Counters of one route since the process started.
pub struct RouteStats {
    /// Events taken from the broker, each counted once however often it is retried in this process.
    received: AtomicU64,
    done: AtomicU64,
    skipped: AtomicU64,
    /// Attempts that failed and are made again.
    retried: AtomicU64,
    /// Runs repeated because the state had changed.
    conflicts: AtomicU64,
    emitted: AtomicU64,
    /// On places of the route at this moment.
    in_flight: AtomicU64,
    dead_lettered: Mutex<BTreeMap<&'static str, u64>>,
    /// Attempts that failed.
    failed: Mutex<BTreeMap<&'static str, u64>>,
    times: Mutex<Times>,
    seats: Mutex<Option<Weak<dyn Seats>>>,
    obstacle: Mutex<Option<String>>,
}

/// The places of a route, asked when somebody wants to know and not told of each event.
pub(crate) trait Seats: Send + Sync {
    /// When the oldest event that has a place was stored.
    fn oldest(&self) -> Option<SystemTime>;
}

#[derive(Default)]
struct Times {
    /// From arrival in the host to settlement.
    in_host: Timer,
    /// From storage in the stream to settlement.
    end_to_end: Timer,
}

/// How long one settled event took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    /// Since it reached the host.
    pub(crate) in_host: Duration,
    /// Since it was stored in its stream.
    pub(crate) end_to_end: Duration,
}

/// A copy of the counters at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSummary {
    pub received: u64,
    pub done: u64,
    pub skipped: u64,
    pub retried: u64,
    pub conflicts: u64,
    pub dead_lettered: u64,
    pub dead_lettered_by_reason: BTreeMap<String, u64>,
    pub emitted: u64,
    /// Microseconds.
    pub p50_us: u64,
    pub p99_us: u64,
}

/// What is measured of a route beside its counters, at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RouteMeasures {
    pub in_flight: u64,
    /// The age of the oldest event that is in flight. What was not delivered yet is younger, as long as nothing is parked.
    pub oldest: Option<Duration>,
    /// Failed attempts by [`FailureKind::code`], those that were made again included.
    pub failed: BTreeMap<String, u64>,
    /// From arrival in the host to settlement.
    pub in_host: Distribution,
    /// From storage in the stream to settlement.
    pub end_to_end: Distribution,
}

// === impl RouteStats ===

impl RouteStats {
    pub fn new() -> Self {
        Self {
            received: AtomicU64::new(0),
            done: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            emitted: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            dead_lettered: Mutex::new(BTreeMap::new()),
            failed: Mutex::new(BTreeMap::new()),
            times: Mutex::default(),
            seats: Mutex::default(),
            obstacle: Mutex::default(),
        }
    }

    /// The route runs, and its places are these.
    pub(crate) fn seats_are(&self, seats: Weak<dyn Seats>) {
        *self.seats.lock().unwrap_or_else(PoisonError::into_inner) = Some(seats);
    }

    /// Why no events can be read, and will not be without somebody's help; `None` once they are.
    pub(crate) fn obstacle_is(&self, obstacle: Option<String>) {
        *self.obstacle.lock().unwrap_or_else(PoisonError::into_inner) = obstacle;
    }

    /// Why the route cannot read events, where only a person can change that: its consumer was removed, or is not what it was.
    /// A broker that is away is no such obstacle.
    pub fn obstacle(&self) -> Option<String> {
        self.obstacle.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn received(&self, count: usize) {
        self.received.fetch_add(count as u64, Relaxed);
    }

    pub(crate) fn done(&self, emitted: usize) {
        self.done.fetch_add(1, Relaxed);
        self.emitted.fetch_add(emitted as u64, Relaxed);
    }

    pub(crate) fn skipped(&self) {
        self.skipped.fetch_add(1, Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retried.fetch_add(1, Relaxed);
    }

    pub(crate) fn conflict(&self) {
        self.conflicts.fetch_add(1, Relaxed);
    }

    pub(crate) fn dead_lettered(&self, reason: FailureKind) {
        let mut by_reason = self.dead_lettered.lock().unwrap_or_else(PoisonError::into_inner);
        *by_reason.entry(reason.code()).or_default() += 1;
    }

    pub(crate) fn failed(&self, reason: FailureKind) {
        let mut by_reason = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        *by_reason.entry(reason.code()).or_default() += 1;
    }

    pub(crate) fn seated(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(crate) fn left(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    pub(crate) fn took(&self, times: impl IntoIterator<Item = Took>) {
        let mut timers = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        for Took { in_host, end_to_end } in times {
            timers.in_host.record(in_host);
            timers.end_to_end.record(end_to_end);
        }
    }

    pub fn measures(&self) -> RouteMeasures {
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade);
        let oldest = seats.and_then(|seats| seats.oldest());
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        RouteMeasures {
            in_flight: self.in_flight.load(Relaxed),
            oldest: oldest.map(|stored| stored.elapsed().unwrap_or_default()),
            failed: failed.into_iter().map(|(code, count)| (code.to_owned(), count)).collect(),
            in_host: times.in_host.distribution(),
            end_to_end: times.end_to_end.distribution(),
        }
    }

    pub fn summary(&self) -> RouteSummary {
        let by_reason = self.dead_lettered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        RouteSummary {
            received: self.received.load(Relaxed),
            done: self.done.load(Relaxed),
            skipped: self.skipped.load(Relaxed),
            retried: self.retried.load(Relaxed),
            conflicts: self.conflicts.load(Relaxed),
            dead_lettered: by_reason.values().sum(),
            dead_lettered_by_reason: by_reason.into_iter().map(|(code, count)| (code.to_owned(), count)).collect(),
            emitted: self.emitted.load(Relaxed),
            p50_us: times.in_host.micros_at(0.5),
            p99_us: times.in_host.micros_at(0.99),
        }
    }
}

impl Default for RouteStats {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_events_makes_the_counters_grow() {
        let stats = RouteStats::new();
        let buckets = || stats.times.lock().unwrap().end_to_end.size();
        let before = buckets();
        for n in 0..100_000_u64 {
            stats.dead_lettered(FailureKind::ALL[n as usize % FailureKind::ALL.len()]);
            stats.dead_lettered(FailureKind::RetryRequested { after: Some(Duration::from_millis(n)) });
            let took = Duration::from_micros(n * n * n);
            stats.took([Took { in_host: took, end_to_end: took }]);
            stats.failed(FailureKind::ALL[n as usize % FailureKind::ALL.len()]);
        }
        let summary = stats.summary();
        assert_eq!((summary.dead_lettered, buckets()), (200_000, before));
        let codes: BTreeMap<&str, u64> = FailureKind::ALL.iter().map(|kind| (kind.code(), 0)).collect();
        assert!(summary.dead_lettered_by_reason.keys().eq(codes.keys()), "{:?}", summary.dead_lettered_by_reason);
        let measures = stats.measures();
        assert!(measures.failed.keys().eq(codes.keys()), "{:?}", measures.failed);
        assert_eq!((measures.in_host.count, measures.end_to_end.count), (100_000, 100_000));
    }
}
