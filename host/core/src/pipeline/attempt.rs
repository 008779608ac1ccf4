//! One attempt: decode, validate, route, handle. Plain decisions on plain values; nothing here settles or publishes.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures_util::FutureExt;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::place::Place;
use super::{Build, Route, Serving};
use crate::config::OnMissing;
use crate::effect::{Effects, Emit};
use crate::envelope::{self, EmitIds};
use crate::event::Event;
use crate::failure::{Blame, Failure, FailureKind};
use crate::generation::Generation;
use crate::hops;
use crate::json::{self, JsonLimits};
use crate::port::{Call, Commit, Delivery, Outgoing};
use crate::schema::SchemaError;
use crate::state::{StateOutcome, StateSpace};
use crate::text::clean_text;
use crate::trial::Trial;

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

// === impl Attempt ===

impl Attempt<'_> {
    async fn make(&self, decoded: &mut Option<Event>) -> Result<Outcome, Failure> {
        let event = &*decoded.insert(self.decode()?);
        let data = self.validate(event)?;
        if let Some(filter) = &self.route.config.filter
            && !filter.admits(event, data.as_ref())
        {
            return Ok(Outcome::Skipped);
        }
        match &self.serving.build {
            Build::Trusted(generation) => self.handle(event, generation).await,
            Build::OnTrial(trial) => self.handle_on_trial(event, trial).await,
        }
    }

    fn decode(&self) -> Result<Event, Failure> {
        envelope::decode(&self.route.config.envelope, &self.delivery.message, &self.delivery.origin)
            .map_err(|error| Failure::new(FailureKind::Malformed, error.to_string()))
    }

    /// Parses the data once, for the schema and the filter, and asks the schema.
    fn validate(&self, event: &Event) -> Result<Option<Value>, Failure> {
        let data = parse_data(event)?;
        self.check_schema(event, data.as_ref(), FailureKind::Invalid)?;
        Ok(data)
    }

    fn check_schema(&self, event: &Event, data: Option<&Value>, invalid: FailureKind) -> Result<(), Failure> {
        match self.serving.schemas.check(event, data) {
            Ok(()) => Ok(()),
            Err(SchemaError::Missing { .. }) if self.serving.on_missing == OnMissing::Allow => Ok(()),
            Err(error @ SchemaError::Missing { .. }) if self.serving.on_missing == OnMissing::Warn => {
                tracing::warn!(
                    route = %self.route.config.name, event.id = event.id, %error, "Not checked against a schema"
                );
                Ok(())
            }
            Err(error @ SchemaError::Missing { .. }) => Err(Failure::new(missing(invalid), error.to_string())),
            Err(error) => Err(Failure::new(invalid, error.to_string())),
        }
    }

    /// While the new build is on probation the one before it stands behind it: see [`trial`](crate::trial).
    async fn handle_on_trial(&self, event: &Event, trial: &Trial) -> Result<Outcome, Failure> {
        if !trial.is_open() {
            return self.handle(event, trial.build()).await;
        }
        match self.handle(event, &trial.new).await {
            Err(failure) if failure.kind.is_defect() => match self.handle(event, &trial.previous).await {
                Ok(outcome) => {
                    self.tell_broken(event, &failure);
                    trial.broke(&failure);
                    Ok(outcome)
                }
                // Neither build can: the event's history is its own.
                Err(second) if second.kind == failure.kind || second.kind.is_crash() => {
                    trial.answered();
                    Err(second)
                }
                // The build before refuses the event, asks for patience, or no longer fits to schemas and grants that came
                // with the new one; or the host had a fault. Nothing is proven yet.
                Err(second) => {
                    self.tell_undecided(event, &failure);
                    trial.undecided(&failure);
                    Err(Failure { provisional: true, ..second })
                }
            },
            Err(failure) if failure.kind.blame() != Blame::Host => {
                trial.declined();
                Err(Failure { provisional: true, ..failure })
            }
            Err(failure) => Err(failure),
            Ok(outcome) => {
                trial.answered();
                Ok(outcome)
            }
        }
    }

    fn tell_broken(&self, event: &Event, failure: &Failure) {
        tracing::warn!(
            route = %self.route.config.name, plugin = %self.route.config.handler, event.id = event.id,
            reason = failure.kind.code(), digest = failure.digest.as_deref(), error = clean_text(&failure.text, 300),
            "The new build broke on an event; the one before it handled the event"
        );
    }

    fn tell_undecided(&self, event: &Event, failure: &Failure) {
        tracing::warn!(
            route = %self.route.config.name, plugin = %self.route.config.handler, event.id = event.id,
            reason = failure.kind.code(), digest = failure.digest.as_deref(), error = clean_text(&failure.text, 300),
            "The new build broke on an event that the one before it does not handle either; it is tried again"
        );
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

    /// Gives the emits their ids and checks each against its own schema: what is invalid must not leave.
    fn encode(&self, parent: &Event, generation: &Generation, emits: Vec<Emit>) -> Result<Vec<Outgoing>, Failure> {
        let ids = EmitIds { route: &self.route.config.name, origin: &self.delivery.origin };
        let now = OffsetDateTime::from(SystemTime::now());
        let mut outgoing = Vec::with_capacity(emits.len());
        for (index, emit) in emits.into_iter().enumerate() {
            let to = emit.to.clone();
            let (event, mut message) = envelope::encode_emit(emit, index, parent, &ids, now);
            self.check_emit(&event).map_err(|failure| {
                let text = format!("emit {index} to `{to}` ({}): {}", event.kind, failure.text);
                let digest = Some(Arc::clone(generation.digest()));
                Failure { digest, ..Failure::new(FailureKind::EmitInvalid, text) }
            })?;
            hops::count(&self.delivery.message.headers, &mut message.message.headers);
            outgoing.push(message);
        }
        Ok(outgoing)
    }

    fn check_emit(&self, event: &Event) -> Result<(), Failure> {
        let data = parse_data(event)?;
        self.check_schema(event, data.as_ref(), FailureKind::EmitInvalid)
    }
}

fn parse_data(event: &Event) -> Result<Option<Value>, Failure> {
    if event.data.is_empty() || !envelope::holds_json(event) {
        return Ok(None);
    }
    json::parse(&event.data, &JsonLimits::default())
        .map(Some)
        .map_err(|error| Failure::new(FailureKind::Malformed, format!("the event's data is not JSON: {error}")))
}

/// A missing schema of an incoming event is the event's fault, of an emit the plugin's.
fn missing(invalid: FailureKind) -> FailureKind {
    if invalid == FailureKind::Invalid { FailureKind::SchemaMissing } else { invalid }
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
