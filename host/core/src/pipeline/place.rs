//! The places of a route: how many deliveries it may hold, which ones it holds, and telling the broker that they are alive.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::port::{Delivery, Origin, Receipt, Source};
use crate::stats::{RouteStats, Seats};

/// The places of one route.
pub(super) struct Places {
    free: Arc<Semaphore>,
    total: u32,
    taken: Mutex<HashMap<Origin, Held>>,
    /// What this process parked: it was received before, and is not counted again when it comes back.
    parked: Mutex<HashSet<Origin>>,
    stats: Arc<RouteStats>,
}

struct Held {
    receipt: Receipt,
    stored: SystemTime,
    /// When the broker last heard of the delivery.
    touched: Instant,
}

/// A place that is taken by one delivery. Dropping it frees the place, whatever happened to the delivery.
pub(super) struct Place {
    origin: Origin,
    places: Arc<Places>,
    _permit: OwnedSemaphorePermit,
}

// === impl Places ===

impl Places {
    pub(super) fn new(total: usize, stats: Arc<RouteStats>) -> Arc<Self> {
        let total = total.clamp(1, 1_000_000) as u32;
        let places = Arc::new(Self {
            free: Arc::new(Semaphore::new(total as usize)),
            total,
            taken: Mutex::default(),
            parked: Mutex::default(),
            stats,
        });
        let seats: Weak<Self> = Arc::downgrade(&places);
        places.stats.seats_are(seats);
        places
    }

    /// Waits for one free place and takes up to `most`. Cancel-safe.
    pub(super) async fn reserve(self: &Arc<Self>, most: usize) -> Option<OwnedSemaphorePermit> {
        let mut first = Arc::clone(&self.free).acquire_owned().await.ok()?;
        let more = self.free.available_permits().min(most.saturating_sub(1));
        if let Ok(rest) = Arc::clone(&self.free).try_acquire_many_owned(more as u32) {
            first.merge(rest);
        }
        Some(first)
    }

    /// Seats a delivery on one of the reserved places. `None`: the same event is on a place already, or no place is left.
    pub(super) fn seat(self: &Arc<Self>, delivery: &Delivery, reserved: &mut OwnedSemaphorePermit) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.contains_key(&delivery.origin) {
            return None;
        }
        let permit = reserved.split(1)?;
        let held = Held { receipt: delivery.receipt.clone(), stored: delivery.stored, touched: Instant::now() };
        taken.insert(delivery.origin.clone(), held);
        self.stats.seated();
        Some(Place { origin: delivery.origin.clone(), places: Arc::clone(self), _permit: permit })
    }

    /// Waits until nothing is in flight. To be called when nothing new is seated any more.
    pub(super) async fn all_free(&self) {
        // The permits come back at once; nobody closes the semaphore, so there is nothing to report.
        drop(self.free.acquire_many(self.total).await);
    }

    /// Whether this process receives the delivery for the first time.
    pub(super) fn is_new(&self, origin: &Origin) -> bool {
        !self.parked.lock().unwrap_or_else(PoisonError::into_inner).remove(origin)
    }

    fn touch_older_than(&self, age: Duration) -> Vec<Receipt> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let old = taken.values_mut().filter(|held| held.touched.elapsed() >= age);
        old.map(|held| {
            held.touched = Instant::now();
            held.receipt.clone()
        })
        .collect()
    }
}

impl Seats for Places {
    fn oldest(&self) -> Option<SystemTime> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).values().map(|held| held.stored).min()
    }
}

// === impl Place ===

impl Place {
    /// The delivery is about to be parked and will come back.
    pub(super) fn will_return(&self) {
        self.places.parked.lock().unwrap_or_else(PoisonError::into_inner).insert(self.origin.clone());
    }

    /// It could not be parked.
    pub(super) fn will_not_return(&self) {
        self.places.parked.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.origin);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.origin);
        self.places.stats.left();
    }
}

/// Says "in progress" for what is in flight every third of the acknowledgement wait. Never ends.
pub(super) async fn heartbeat(source: Arc<dyn Source>, places: Arc<Places>) {
    let Some(ack_wait) = source.ack_wait() else {
        return std::future::pending().await;
    };
    // Looking twice per third keeps the longest silence below half of the wait.
    let third = ack_wait / 3;
    loop {
        tokio::time::sleep(third / 2).await;
        let receipts = places.touch_older_than(third);
        if !receipts.is_empty() {
            // If the broker is away, so is its timer's effect: after the reconnect it delivers again, and `seat` sees it.
            if let Err(error) = source.in_progress(&receipts).await {
                tracing::debug!(%error, "Cannot say that deliveries are in progress");
            }
        }
    }
}
