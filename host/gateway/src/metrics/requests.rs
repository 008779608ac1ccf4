//! What the gateway counts of its own requests. An endpoint, a method and a status are from closed lists.

use std::array;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use tidemill_core::stats::{BOUNDS, Distribution};

use crate::endpoint::TEMPLATES;

/// Counters since the process started.
#[derive(Default)]
pub(crate) struct Requests {
    answered: Mutex<BTreeMap<(usize, &'static str, u16), u64>>,
    durations: [Durations; TEMPLATES.len()],
    connections: AtomicU64,
}

/// Labels of a counter.
pub(crate) struct Answered {
    pub(crate) template: &'static str,
    pub(crate) method: &'static str,
    pub(crate) status: String,
}

#[derive(Default)]
struct Durations {
    /// By the first bound that they fit, each on its own; the last is for those that fit none.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// Counts a connection until it is dropped.
pub(crate) struct Connected<'a>(&'a AtomicU64);

// === impl Requests ===

impl Requests {
    pub(crate) fn answered(&self, endpoint: usize, method: &Method, status: StatusCode, took: Duration) {
        let key = (endpoint, label(method), status.as_u16());
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
        self.durations[endpoint].record(took);
    }

    pub(crate) fn connected(&self) -> Connected<'_> {
        self.connections.fetch_add(1, Relaxed);
        Connected(&self.connections)
    }

    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    pub(super) fn answered_by(&self) -> Vec<(Answered, u64)> {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let labels = |(endpoint, method, status): &(usize, &'static str, u16)| Answered {
            template: TEMPLATES[*endpoint],
            method,
            status: status.to_string(),
        };
        answered.iter().map(|(key, count)| (labels(key), *count)).collect()
    }

    /// Of the endpoints that were asked.
    pub(super) fn durations(&self) -> Vec<(&'static str, Distribution)> {
        let told = TEMPLATES.iter().zip(&self.durations).map(|(template, it)| (*template, it.distribution()));
        told.filter(|(_, spread)| spread.count > 0).collect()
    }
}

/// A client may send any word as a method.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    }
}

// === impl Durations ===

impl Durations {
    fn record(&self, took: Duration) {
        let bucket = BOUNDS.iter().position(|bound| took.as_secs_f64() <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.micros.fetch_add(took.as_micros() as u64, Relaxed);
    }

    fn distribution(&self) -> Distribution {
        let mut total = 0;
        let counts: [u64; BOUNDS.len() + 1] = array::from_fn(|index| {
            total += self.buckets[index].load(Relaxed);
            total
        });
        let cumulative = array::from_fn(|index| counts[index]);
        Distribution { cumulative, count: total, sum: self.micros.load(Relaxed) as f64 / 1e6 }
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
