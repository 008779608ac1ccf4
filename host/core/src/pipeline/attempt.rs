//! One attempt: decode, validate, route, handle. Plain decisions on plain values; nothing here settles or publishes.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures_util::FutureExt;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::Route;
use super::place::Place;
use crate::config::OnMissing;
use crate::effect::{Effects, Emit};
use crate::envelope::{self, EmitIds};
use crate::event::Event;
use crate::failure::{Failure, FailureKind};
use crate::hops;
use crate::json::{self, JsonLimits};
use crate::port::{Call, Commit, Delivery, Outgoing};
use crate::schema::SchemaError;
use crate::state::{StateOutcome, StateSpace, StateWrites};

/// A delivery on its place, on the way to its next attempt.
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) place: Place,
    /// When the delivery reached this host.
    pub(super) arrived: Instant,
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
    let outcome = match AssertUnwindSafe(attempt(route, &job.delivery, &mut event)).catch_unwind().await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(failure)) => Outcome::Failed(failure),
        // A defect of the host, met on this event: it must neither end the worker nor be tried for ever.
        Err(_) => Outcome::Failed(Failure::new(FailureKind::Trap, "the host panicked while it handled the event")),
    };
    let event = event.map(|event: Event| Named { id: event.id, kind: event.kind });
    Attempted { job, outcome, event }
}

async fn attempt(route: &Route, delivery: &Delivery, decoded: &mut Option<Event>) -> Result<Outcome, Failure> {
    let event = &*decoded.insert(decode(route, delivery)?);
    let data = validate(route, event)?;
    if let Some(filter) = &route.config.filter
        && !filter.admits(event, data.as_ref())
    {
        return Ok(Outcome::Skipped);
    }
    match &route.state {
        None => {
            let effects = call(route, delivery, event, None).await?;
            Ok(Outcome::Handled(encode(route, delivery, event, effects.emits)?))
        }
        Some(space) => attempt_with_state(route, delivery, event, space).await,
    }
}

fn decode(route: &Route, delivery: &Delivery) -> Result<Event, Failure> {
    envelope::decode(&route.config.envelope, &delivery.message, &delivery.origin)
        .map_err(|error| Failure::new(FailureKind::Malformed, error.to_string()))
}

/// Parses the data once, for the schema and the filter, and asks the schema.
fn validate(route: &Route, event: &Event) -> Result<Option<Value>, Failure> {
    let data = parse_data(event)?;
    check_schema(route, event, data.as_ref(), FailureKind::Invalid)?;
    Ok(data)
}

fn parse_data(event: &Event) -> Result<Option<Value>, Failure> {
    if event.data.is_empty() || !envelope::holds_json(event) {
        return Ok(None);
    }
    json::parse(&event.data, &JsonLimits::default())
        .map(Some)
        .map_err(|error| Failure::new(FailureKind::Malformed, format!("the event's data is not JSON: {error}")))
}

fn check_schema(route: &Route, event: &Event, data: Option<&Value>, invalid: FailureKind) -> Result<(), Failure> {
    match route.schemas.check(event, data) {
        Ok(()) => Ok(()),
        Err(SchemaError::Missing { .. }) if route.on_missing == OnMissing::Allow => Ok(()),
        Err(error @ SchemaError::Missing { .. }) if route.on_missing == OnMissing::Warn => {
            tracing::warn!(route = %route.config.name, event.id = event.id, %error, "Not checked against a schema");
            Ok(())
        }
        Err(error @ SchemaError::Missing { .. }) => Err(Failure::new(missing(invalid), error.to_string())),
        Err(error) => Err(Failure::new(invalid, error.to_string())),
    }
}

/// A missing schema of an incoming event is the event's fault, of an emit the plugin's.
fn missing(invalid: FailureKind) -> FailureKind {
    if invalid == FailureKind::Invalid { FailureKind::SchemaMissing } else { invalid }
}

/// Calls the handler and submits what it did to the state; runs again at once when somebody was faster.
async fn attempt_with_state(
    route: &Route,
    delivery: &Delivery,
    event: &Event,
    space: &Arc<StateSpace>,
) -> Result<Outcome, Failure> {
    if delivery.redelivered && settled_before(route, delivery, space).await? {
        return Ok(Outcome::AlreadyCommitted);
    }
    for _ in 0..MAX_RERUNS {
        let effects = call(route, delivery, event, Some(space)).await?;
        let emits = encode(route, delivery, event, effects.emits)?;
        let emitted = emits.len();
        match effects.state {
            None => return Ok(Outcome::Handled(emits)),
            Some(state) => {
                if let Some(committed) = submit(route, delivery, space, emits, state) {
                    return Ok(Outcome::Submitted { emitted, committed });
                }
            }
        }
        route.stats.conflict();
    }
    Err(Failure::new(FailureKind::StateConflict, "other calls kept changing the state that this one had read"))
}

async fn settled_before(route: &Route, delivery: &Delivery, space: &StateSpace) -> Result<bool, Failure> {
    let commit = commit(route, delivery, Vec::new());
    route
        .broker
        .settle_committed(space.plugin(), &commit)
        .await
        .map_err(|error| Failure::new(FailureKind::Unavailable, error.to_string()))
}

fn submit(
    route: &Route,
    delivery: &Delivery,
    space: &StateSpace,
    emits: Vec<Outgoing>,
    state: StateWrites,
) -> Option<oneshot::Receiver<StateOutcome>> {
    space.submit(commit(route, delivery, emits), state)
}

async fn call(
    route: &Route,
    delivery: &Delivery,
    event: &Event,
    space: Option<&Arc<StateSpace>>,
) -> Result<Effects, Failure> {
    // Here and no earlier: what the filter does not admit does not go on, and what was committed before is done.
    hops::check(&delivery.message.headers, route.config.max_hops)?;
    let call = Call {
        event,
        route: &route.settings,
        attempt: delivery.attempt,
        origin: &delivery.origin,
        state: space.map(StateSpace::session),
    };
    route.handler.handle(call).await
}

/// Gives the emits their ids and checks each against its own schema: what is invalid must not leave.
fn encode(route: &Route, delivery: &Delivery, parent: &Event, emits: Vec<Emit>) -> Result<Vec<Outgoing>, Failure> {
    let ids = EmitIds { route: &route.config.name, origin: &delivery.origin };
    let now = OffsetDateTime::from(SystemTime::now());
    let mut outgoing = Vec::with_capacity(emits.len());
    for (index, emit) in emits.into_iter().enumerate() {
        let to = emit.to.clone();
        let (event, mut message) = envelope::encode_emit(emit, index, parent, &ids, now);
        check_emit(route, &event).map_err(|failure| {
            Failure::new(FailureKind::EmitInvalid, format!("emit {index} to `{to}` ({}): {}", event.kind, failure.text))
        })?;
        hops::count(&delivery.message.headers, &mut message.message.headers);
        outgoing.push(message);
    }
    Ok(outgoing)
}

fn check_emit(route: &Route, event: &Event) -> Result<(), Failure> {
    let data = parse_data(event)?;
    check_schema(route, event, data.as_ref(), FailureKind::EmitInvalid)
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
        Self { delivery, place, arrived, host_faults: 0 }
    }
}
