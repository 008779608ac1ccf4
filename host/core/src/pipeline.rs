//! The whole life of an event, on one page.
//!
//! ```text
//! tap ──▶ work queue ──▶ worker × instances ──▶ settler
//!  ▲        ▲   decode, validate, route, handle     │ commit · retry · dead letter
//!  │        └────────── a retry, after its delay ───┤
//!  └────────────────── a free place ────────────────┘
//! ```
//!
//! A route has `max_in_flight` places. The `tap` takes places first and then pulls that many deliveries; each occupies
//! its place until it is settled. Nothing else bounds or queues, so nothing grows. Workers run on the guests' threads, tap
//! and settler on the host's: a guest that spins never owns the broker's heartbeats.
//!
//! What must stay true:
//! - A delivery is settled by the `settler` alone, and only with a [`Disposition`]. Whoever drops one instead causes a
//!   redelivery, never a loss: `Place` frees the place, and the broker delivers again (the embedded one at the next start).
//! - Effects are committed only after the handler returned success; the commit settles the delivery.
//! - A dead letter is confirmed before the original is removed ([`Source::dead_letter`]).
//! - A reload swaps [`Serving`] as a whole; an attempt that has begun keeps the one that it began with.
//! - Stopping closes the tap only. What runs finishes, commits and settles.
//!
//! Work moves in small batches between the rooms, because a wake-up per event would cost more than the event.
//!
//! [`Disposition`]: crate::disposition::Disposition

mod attempt;
mod place;
mod settler;
mod tap;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::clock::WallClock;
use crate::config::{OnMissing, RouteConfig};
use crate::generation::Generation;
use crate::port::{Broker, CallSettings, Source};
use crate::schema::Schemas;
use crate::state::StateSpace;
use crate::stats::RouteStats;
use crate::trial::Trial;

use attempt::{Attempted, Job};
use place::Places;

/// Most events that a worker handles before it passes them on together.
const MAX_WORKER_BATCH: usize = 64;

/// And the longest time that a finished event waits for the others of its batch.
const MAX_BATCH_WAIT: Duration = Duration::from_millis(1);

/// Everything one route needs to run.
pub struct Route {
    pub config: RouteConfig,
    pub settings: Arc<CallSettings>,
    /// Swapped by a reload while events are under way.
    pub serving: ArcSwap<Serving>,
    pub broker: Arc<dyn Broker>,
    pub source: Arc<dyn Source>,
    /// Calls at the same time.
    pub instances: usize,
    /// Names this host in dead letters.
    pub host: String,
    pub clock: WallClock,
    pub stats: Arc<RouteStats>,
}

/// Who handles the route's next event, and what it is checked against. An attempt takes it once and keeps it to its end, so
/// every event meets either all of a reload or nothing of it.
pub struct Serving {
    pub build: Build,
    pub schemas: Arc<Schemas>,
    pub on_missing: OnMissing,
    /// The state of the route's plugin, shared by all its routes; given when a build of it uses state.
    pub state: Option<Arc<StateSpace>>,
}

/// The build that serves: one that is trusted, or a new one beside the one that it replaces.
#[derive(Clone)]
pub enum Build {
    Trusted(Arc<Generation>),
    OnTrial(Arc<Trial>),
}

/// Runs a route until `stop` turns true and everything in flight is settled. Workers run on `guests`. Dropping the future
/// abandons what is in flight; the broker delivers it again.
pub async fn run(route: Arc<Route>, guests: &Handle, stop: watch::Receiver<bool>) {
    let places = Places::new(route.config.max_in_flight, Arc::clone(&route.stats));
    let (work, queue) = async_channel::bounded(route.config.max_in_flight);
    let (finished, inbox) = mpsc::channel(route.instances.max(1) * 2);

    let mut workers = JoinSet::new();
    for _ in 0..route.instances.max(1) {
        workers.spawn_on(worker(Arc::clone(&route), queue.clone(), finished.clone()), guests);
    }
    drop((queue, finished));

    let tap = tap::run(Arc::clone(&route), Arc::clone(&places), work.clone(), stop.clone());
    let heartbeat = place::heartbeat(Arc::clone(&route.source), Arc::clone(&places));
    let settler = settler::run(Arc::clone(&route), work.clone(), inbox, stop);
    let drained = async {
        tap.await;
        places.all_free().await;
        // The last sender of the work queue: workers end, and with them the settler's inbox.
        work.close();
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(drained, settler) } => {}
        () = heartbeat => {}
    }
}

// === impl Build ===

impl Build {
    /// The build that is called first.
    pub fn current(&self) -> &Arc<Generation> {
        match self {
            Build::Trusted(generation) => generation,
            Build::OnTrial(trial) => trial.build(),
        }
    }

    pub(crate) fn open_trial(&self) -> Option<Arc<Trial>> {
        match self {
            Build::OnTrial(trial) if trial.is_open() => Some(Arc::clone(trial)),
            _ => None,
        }
    }
}

/// Takes jobs, makes attempts, passes the results on.
async fn worker(route: Arc<Route>, queue: async_channel::Receiver<Job>, finished: mpsc::Sender<Vec<Attempted>>) {
    while let Ok(job) = queue.recv().await {
        let mut batch = vec![attempt::run(&route, job).await];
        let mut deadline = pin!(sleep(MAX_BATCH_WAIT));
        while batch.len() < MAX_WORKER_BATCH && !deadline.is_elapsed() {
            let Ok(job) = queue.try_recv() else { break };
            let mut attempt = pin!(attempt::run(&route, job));
            let attempted = tokio::select! {
                biased;
                attempted = &mut attempt => attempted,
                // A slow call must not keep those before it from being settled.
                () = &mut deadline => {
                    if finished.send(std::mem::take(&mut batch)).await.is_err() {
                        return;
                    }
                    attempt.await
                }
            };
            batch.push(attempted);
        }
        if finished.send(batch).await.is_err() {
            return;
        }
    }
}
