//! One attempt: decode, validate, route, handle. Plain decisions on plain values; nothing here settles or publishes.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::place::Place;
use super::{Route, Serving};
use crate::departing::{self, Cause};
use crate::effect::{Effects, Emit};
use crate::envelope::EmitIds;
use crate::event::Event;
use crate::failure::{Failure, FailureKind};
use crate::generation::Generation;
use crate::hops;
use crate::incoming::{self, Checks};
use crate::port::{Call, CallSettings, Commit, Delivery, Outgoing};
use crate::state::{StateOutcome, StateSpace};
use crate::trial::{self, Asking, Trial};

/// A delivery on its place, on the way to its next attempt.
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) place: Place,
    /// When the delivery reached this host.
    pub(super) arrived: Instant,
    /// The probation under which its last attempt was made, if one was open.
    pub(super) trial: Option<Arc<Trial>>,
    /// Faults of the host in a row; see [`Progress`](crate::disposition::Progress).
    pub(super) host_faults: u32,
}

/// A job after an attempt.
pub(super) struct Attempted {
    pub(super) job: Job,
    pub(super) outcome: Outcome,
    /// What is known of the event for log lines and dead letters; nothing if it could not be decoded.
    pub(super) event: Option<Named>,
}

/// Id and type of an event.
pub(super) struct Named {
    pub(super) id: String,
    pub(super) kind: String,
}

pub(super) enum Outcome {
    /// The filter does not want it.
    Skipped,
    /// Handled; the emits wait to be committed.
    Handled(Vec<Outgoing>),
    /// Handled, and handed to the committer of the plugin's state.
    Submitted {
        emitted: usize,
        committed: oneshot::Receiver<StateOutcome>,
    },
    /// Handled and committed by an attempt before a crash; settled now without a call.
    AlreadyCommitted,
    Failed(Failure),
}

/// After so many conflicts in a row inside one attempt the job goes back to the end of the queue.
const MAX_RERUNS: u32 = 8;

/// Makes one attempt. May be dropped at any await; the delivery then comes back.
pub(super) async fn run(route: &Route, job: Job) -> Attempted {
    let mut event = None;
    let serving = route.serving.load_full();
    let attempt = Attempt { route, serving: &serving, delivery: &job.delivery };
    let trial = serving.build.open_trial();
    let outcome = match AssertUnwindSafe(attempt.make(&mut event)).catch_unwind().await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(failure)) => Outcome::Failed(failure),
        // A defect of the host, met on this event: it must neither end the worker nor be tried for ever.
        Err(_) => {
            let failure = Failure::new(FailureKind::Trap, "the host panicked while it handled the event");
            Outcome::Failed(Failure { provisional: trial.is_some(), ..failure })
        }
    };
    let event = event.map(|event: Event| Named { id: event.id, kind: event.kind });
    Attempted { job: Job { trial, ..job }, outcome, event }
}

/// One attempt and what it is made with.
struct Attempt<'a> {
    route: &'a Route,
    serving: &'a Serving,
    delivery: &'a Delivery,
}

/// An event that was decoded and is wanted.
struct Handling<'a> {
    attempt: &'a Attempt<'a>,
    event: &'a Event,
}

// === impl Handling ===

impl Asking for Handling<'_> {
    type Answer = Outcome;

    fn ask(&self, build: &Generation) -> impl Future<Output = Result<Outcome, Failure>> + Send {
        self.attempt.handle(self.event, build)
    }

    fn event(&self) -> &Event {
        self.event
    }

    fn settings(&self) -> &CallSettings {
        &self.attempt.route.settings
    }
}

// === impl Attempt ===

impl Attempt<'_> {
    async fn make(&self, decoded: &mut Option<Event>) -> Result<Outcome, Failure> {
        let message = &self.delivery.message;
        let event = &*decoded.insert(incoming::decode(&self.route.config.envelope, message, &self.delivery.origin)?);
        let data = self.checks().validate(event)?;
        if let Some(filter) = &self.route.config.filter
            && !filter.admits(event, data.as_ref())
        {
            return Ok(Outcome::Skipped);
        }
        trial::ask(&Handling { attempt: self, event }, &self.serving.build).await
    }

    fn checks(&self) -> Checks<'_> {
        let Serving { schemas, on_missing, .. } = self.serving;
        Checks { schemas, on_missing: *on_missing, name: &self.route.config.name }
    }

    async fn handle(&self, event: &Event, generation: &Generation) -> Result<Outcome, Failure> {
        match &self.serving.state {
            Some(space) if generation.uses_state() => self.handle_with_state(event, generation, space).await,
            _ => {
                let effects = self.call(event, generation, None).await?;
                Ok(Outcome::Handled(self.encode(event, generation, effects.emits)?))
            }
        }
    }

    /// Calls the handler and submits what it did to the state; runs again at once when somebody was faster.
    async fn handle_with_state(
        &self,
        event: &Event,
        generation: &Generation,
        space: &Arc<StateSpace>,
    ) -> Result<Outcome, Failure> {
        if self.delivery.redelivered && self.settled_before(space).await? {
            return Ok(Outcome::AlreadyCommitted);
        }
        for _ in 0..MAX_RERUNS {
            let effects = self.call(event, generation, Some(space)).await?;
            let emits = self.encode(event, generation, effects.emits)?;
            let emitted = emits.len();
            match effects.state {
                None => return Ok(Outcome::Handled(emits)),
                Some(state) => {
                    if let Some(committed) = space.submit(commit(self.route, self.delivery, emits), state) {
                        return Ok(Outcome::Submitted { emitted, committed });
                    }
                }
            }
            self.route.stats.conflict();
        }
        Err(Failure::new(FailureKind::StateConflict, "other calls kept changing the state that this one had read"))
    }

    async fn settled_before(&self, space: &StateSpace) -> Result<bool, Failure> {
        let commit = commit(self.route, self.delivery, Vec::new());
        self.route
            .broker
            .settle_committed(space.plugin(), &commit)
            .await
            .map_err(|error| Failure::new(FailureKind::Unavailable, error.to_string()))
    }

    async fn call(
        &self,
        event: &Event,
        generation: &Generation,
        space: Option<&Arc<StateSpace>>,
    ) -> Result<Effects, Failure> {
        // Here and no earlier: what the filter does not admit does not go on, and what was committed before is done.
        hops::check(&self.delivery.message.headers, self.route.config.max_hops)?;
        let call = Call {
            event,
            route: &self.route.settings,
            attempt: self.delivery.attempt,
            origin: &self.delivery.origin,
            state: space.map(StateSpace::session),
            documents: None,
        };
        generation.handle(call).await
    }

    /// The emits as they leave, once they are committed.
    fn encode(&self, event: &Event, generation: &Generation, emits: Vec<Emit>) -> Result<Vec<Outgoing>, Failure> {
        let Delivery { message, origin, .. } = self.delivery;
        let cause = Cause { event, message, ids: EmitIds { route: &self.route.config.name, origin } };
        let now = OffsetDateTime::from(self.route.clock.now());
        let departing = departing::encode(emits, cause, self.checks(), now)
            .map_err(|failure| Failure { digest: Some(Arc::clone(generation.digest())), ..failure })?;
        Ok(departing.into_iter().map(|(_, outgoing)| outgoing).collect())
    }
}

/// What becomes durable for this delivery.
pub(super) fn commit(route: &Route, delivery: &Delivery, emits: Vec<Outgoing>) -> Commit {
    Commit {
        route: route.config.name.clone(),
        origin: delivery.origin.clone(),
        receipt: delivery.receipt.clone(),
        emits: emits.into(),
    }
}

// === impl Job ===

impl Job {
    pub(super) fn new(delivery: Delivery, place: Place, arrived: Instant) -> Self {
        Self { delivery, place, arrived, trial: None, host_faults: 0 }
    }
}
