//! What a route did, counted where it happens and read by the summary, `status` and the metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::failure::FailureKind;

/// Counters of one route since the process started.
#[derive(Debug)]
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
    dead_lettered: Mutex<BTreeMap<&'static str, u64>>,
    /// Microseconds from arrival in the host to settlement.
    times: Mutex<Histogram<u64>>,
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

/// Longest time that the histogram tells apart; what takes longer is counted as this.
const LONGEST_MICROS: u64 = 3_600_000_000;

// === impl RouteStats ===

impl RouteStats {
    pub fn new() -> Self {
        #[allow(clippy::expect_used, reason = "the bounds are constants, and the tests construct one")]
        let times = Histogram::new_with_bounds(1, LONGEST_MICROS, 2).expect("constant bounds are valid");
        Self {
            received: AtomicU64::new(0),
            done: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            emitted: AtomicU64::new(0),
            dead_lettered: Mutex::new(BTreeMap::new()),
            times: Mutex::new(times),
        }
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

    pub(crate) fn took(&self, times: impl IntoIterator<Item = Duration>) {
        let mut histogram = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        for time in times {
            histogram.saturating_record((time.as_micros() as u64).max(1));
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
            p50_us: times.value_at_quantile(0.5),
            p99_us: times.value_at_quantile(0.99),
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
        let buckets = || stats.times.lock().unwrap().distinct_values();
        let before = buckets();
        for n in 0..100_000_u64 {
            stats.dead_lettered(FailureKind::ALL[n as usize % FailureKind::ALL.len()]);
            stats.dead_lettered(FailureKind::RetryRequested { after: Some(Duration::from_millis(n)) });
            stats.took([Duration::from_micros(n * n * n)]);
        }
        let summary = stats.summary();
        assert_eq!((summary.dead_lettered, buckets()), (200_000, before));
        let codes: BTreeMap<&str, u64> = FailureKind::ALL.iter().map(|kind| (kind.code(), 0)).collect();
        assert!(summary.dead_lettered_by_reason.keys().eq(codes.keys()), "{:?}", summary.dead_lettered_by_reason);
    }
}
