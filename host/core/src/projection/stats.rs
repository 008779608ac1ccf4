//! What a projection did since the process started, counted where it happens. Bounded, however long it runs.
//!
//! Events are counted when their batch is committed, so one that is folded again after a fault counts once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::FailureKind;
use crate::stats::{Distribution, Timer};

/// Counters of one projection. Those of a rebuild are apart: its events are not new.
#[derive(Debug)]
pub struct ProjectionStats {
    received: AtomicU64,
    folded: AtomicU64,
    skipped: AtomicU64,
    /// Attempts that failed and are made again.
    retried: AtomicU64,
    rebuilt: AtomicU64,
    batches: AtomicU64,
    dead_lettered: Mutex<BTreeMap<&'static str, u64>>,
    /// Attempts, those of rebuilds included.
    failed: Mutex<BTreeMap<&'static str, u64>>,
    /// Microseconds from an event's arrival in the host to its commit.
    times: Mutex<Timer>,
}

/// A copy of the counters at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectionSummary {
    /// Events that were folded, skipped or dead-lettered, each when it was committed.
    pub received: u64,
    pub folded: u64,
    /// Events that the filter did not want.
    pub skipped: u64,
    pub retried: u64,
    pub dead_lettered: u64,
    pub dead_lettered_by_reason: BTreeMap<String, u64>,
    /// Events that were folded into a copy that is being built.
    pub rebuilt: u64,
    /// Commits.
    pub batches: u64,
    /// Microseconds.
    pub p50_us: u64,
    pub p99_us: u64,
}

// === impl ProjectionStats ===

impl ProjectionStats {
    pub fn new() -> Self {
        Self {
            received: AtomicU64::new(0),
            folded: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            rebuilt: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            dead_lettered: Mutex::default(),
            failed: Mutex::default(),
            times: Mutex::default(),
        }
    }

    pub(super) fn committed(&self, folded: u64, skipped: u64, dead_lettered: &[FailureKind]) {
        self.batches.fetch_add(1, Relaxed);
        self.received.fetch_add(folded + skipped + dead_lettered.len() as u64, Relaxed);
        self.folded.fetch_add(folded, Relaxed);
        self.skipped.fetch_add(skipped, Relaxed);
        if !dead_lettered.is_empty() {
            let mut by_reason = self.dead_lettered.lock().unwrap_or_else(PoisonError::into_inner);
            for reason in dead_lettered {
                *by_reason.entry(reason.code()).or_default() += 1;
            }
        }
    }

    pub(super) fn rebuilt(&self, folded: u64) {
        self.batches.fetch_add(1, Relaxed);
        self.rebuilt.fetch_add(folded, Relaxed);
    }

    pub(super) fn failed(&self, reason: FailureKind) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner).entry(reason.code()).or_default() += 1;
    }

    /// Failed attempts by [`FailureKind::code`], those that were made again and those of rebuilds included.
    pub fn failures(&self) -> BTreeMap<String, u64> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.iter().map(|(code, count)| ((*code).to_owned(), *count)).collect()
    }

    pub(super) fn retried(&self) {
        self.retried.fetch_add(1, Relaxed);
    }

    /// Each time with the number of events that took it.
    pub(super) fn took(&self, times: impl IntoIterator<Item = (Duration, u64)>) {
        let mut timer = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        for (time, count) in times {
            timer.record_many(time, count);
        }
    }

    pub fn summary(&self) -> ProjectionSummary {
        let by_reason = self.dead_lettered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        ProjectionSummary {
            received: self.received.load(Relaxed),
            folded: self.folded.load(Relaxed),
            skipped: self.skipped.load(Relaxed),
            retried: self.retried.load(Relaxed),
            dead_lettered: by_reason.values().sum(),
            dead_lettered_by_reason: by_reason.into_iter().map(|(code, count)| (code.to_owned(), count)).collect(),
            rebuilt: self.rebuilt.load(Relaxed),
            batches: self.batches.load(Relaxed),
            p50_us: times.micros_at(0.5),
            p99_us: times.micros_at(0.99),
        }
    }

    /// From an event's arrival in the host to its commit.
    pub fn durations(&self) -> Distribution {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).distribution()
    }
}

impl Default for ProjectionStats {
    fn default() -> Self {
        Self::new()
    }
}
