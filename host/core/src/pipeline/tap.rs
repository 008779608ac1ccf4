//! Takes places, then deliveries. The only room that listens to the stop signal.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::Sender;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::Route;
use super::attempt::Job;
use super::place::Places;
use crate::port::{BrokerError, Delivery};

/// Most deliveries of one pull. More would make the first wait for the last without making anything cheaper.
const MAX_PULL: usize = 256;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

struct Tap {
    route: Arc<Route>,
    places: Arc<Places>,
    work: Sender<Job>,
    /// Deliveries whose event is still on a place: a parked one may come back before its place is free, and a broker that
    /// lost patience delivers again. They are seated later and not dropped, because not every broker delivers a third time.
    /// One for each event, the newest: so there are never more than a few, and an event runs once more and not ten times.
    aside: Vec<Delivery>,
}

/// Pulls until `stop` turns true or nobody works any more.
pub(super) async fn run(route: Arc<Route>, places: Arc<Places>, work: Sender<Job>, mut stop: watch::Receiver<bool>) {
    let mut tap = Tap { route, places, work, aside: Vec::new() };
    let mut pause = FIRST_PAUSE;
    // What kept an earlier run of the route from reading need not keep this one.
    tap.route.stats.obstacle_is(None);
    while !*stop.borrow() {
        let pulled = tokio::select! {
            pulled = tap.pull() => pulled,
            _ = stop.changed() => return,
        };
        match pulled {
            Ok(()) => {
                if pause > FIRST_PAUSE {
                    tap.route.stats.obstacle_is(None);
                }
                pause = FIRST_PAUSE;
            }
            Err(error) => {
                // Once per outage: the broker's own log line says when it is over.
                if pause == FIRST_PAUSE {
                    tracing::warn!(route = %tap.route.config.name, %error, "Cannot read events; trying again until it works");
                } else {
                    tracing::debug!(route = %tap.route.config.name, %error, "Still cannot read events");
                }
                if !matches!(error, BrokerError::Unavailable { .. }) {
                    tap.route.stats.obstacle_is(Some(error.to_string()));
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = stop.changed() => return,
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

// === impl Tap ===

impl Tap {
    /// One pull. Cancel-safe: what was pulled is either queued as a whole or comes back from the broker.
    async fn pull(&mut self) -> Result<(), BrokerError> {
        let Some(mut reserved) = self.places.reserve(MAX_PULL).await else { return Ok(()) };
        for delivery in std::mem::take(&mut self.aside) {
            self.seat(&mut reserved, delivery);
        }
        let free = reserved.num_permits();
        if free > 0 {
            for delivery in self.route.source.pull(free).await? {
                self.seat(&mut reserved, delivery);
            }
        }
        Ok(())
    }

    fn seat(&mut self, reserved: &mut OwnedSemaphorePermit, delivery: Delivery) {
        let Some(place) = self.places.seat(&delivery, reserved) else {
            tracing::debug!(route = %self.route.config.name, origin = %delivery.origin, "Delivered again while in flight");
            self.aside.retain(|older| older.origin != delivery.origin);
            self.aside.push(delivery);
            return;
        };
        if self.places.is_new(&delivery.origin) {
            self.route.stats.received(1);
        }
        // The queue is as long as there are places, so it takes every seated job; if it is closed, the delivery comes back.
        self.work.try_send(Job::new(delivery, place, Instant::now())).ok();
    }
}
