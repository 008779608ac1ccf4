//! Takes places, then deliveries. The only room that listens to the stop signal.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::Sender;
use tokio::sync::watch;

use super::Route;
use super::attempt::Job;
use super::place::Places;
use crate::port::Delivery;

/// Most deliveries of one pull. More would make the first wait for the last without making anything cheaper.
const MAX_PULL: usize = 256;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Pulls until `stop` turns true or nobody works any more.
pub(super) async fn run(
    route: Arc<Route>,
    places: Arc<Places>,
    work: Sender<Job>,
    mut stop: watch::Receiver<bool>,
) {
    let mut pause = FIRST_PAUSE;
    while !*stop.borrow() {
        let pulled = tokio::select! {
            pulled = pull(&route, &places, &work) => pulled,
            _ = stop.changed() => return,
        };
        match pulled {
            Ok(()) => pause = FIRST_PAUSE,
            Err(error) => {
                tracing::warn!(route = %route.config.name, %error, "Cannot read events; trying again");
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = stop.changed() => return,
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// One pull. Cancel-safe: what was pulled is either queued as a whole or comes back from the broker.
async fn pull(route: &Route, places: &Arc<Places>, work: &Sender<Job>) -> Result<(), crate::port::BrokerError> {
    let Some(mut reserved) = places.reserve(MAX_PULL).await else { return Ok(()) };
    let deliveries = route.source.pull(reserved.num_permits()).await?;
    let arrived = Instant::now();
    for delivery in deliveries {
        seat(route, places, &mut reserved, work, delivery, arrived);
    }
    Ok(())
}

fn seat(
    route: &Route,
    places: &Arc<Places>,
    reserved: &mut tokio::sync::OwnedSemaphorePermit,
    work: &Sender<Job>,
    delivery: Delivery,
    arrived: Instant,
) {
    let Some(place) = places.seat(&delivery, reserved) else {
        tracing::debug!(route = %route.config.name, origin = %delivery.origin, "Delivered again while in flight");
        return;
    };
    route.stats.received(1);
    // The queue is as long as there are places, so it takes every seated job; if it is closed, the delivery comes back.
    work.try_send(Job::new(delivery, place, arrived)).ok();
}
