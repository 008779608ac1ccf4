//! The seam of a real component: imports and exports, between plain values and generated types. Its counterpart for
//! native builds is [`testing::stand_in`](crate::testing).
//!
//! Texts and data are moved, not copied: what the host wrote into this instance's memory is what the handler gets.

use std::panic;
use std::sync::Once;
use std::time::Duration;

pub use crate::bindings::exports::tidemill::plugin::event_handler::Guest;
pub use crate::bindings::projection::exports::tidemill::plugin::event_projection::Guest as ProjectionGuest;
use crate::bindings::projection::tidemill::plugin::read_model;
pub use crate::bindings::queries::exports::tidemill::plugin::queries::Guest as QueriesGuest;
pub use crate::bindings::tidemill::plugin::types::{Context as RawContext, Event as RawEvent, Failure as RawFailure};
use crate::bindings::tidemill::plugin::{config, emit, host, log, state, types};
use crate::emit::Outgoing;
use crate::failure::Verdict;
use crate::log::Level;
use crate::read_model::ReadModelError;
use crate::state::StateError;
use crate::{Context, EmitError, Event, Failure, Handler, Outcome, Projection, Queries, Question, Raw};

/// The export of a handler: reads the event, calls the handler, translates the outcome.
pub fn handle<H: Handler>(event: RawEvent, context: RawContext) -> Result<(), RawFailure> {
    report_panics();
    call::<H>(lift_event(event), &lift_context(context)).map_err(lower_failure)
}

fn call<H: Handler>(event: Event<Raw>, context: &Context) -> Outcome {
    H::handle(event.read()?, context)
}

/// The export of a projection.
pub fn apply<P: Projection>(event: RawEvent, context: RawContext) -> Result<(), RawFailure> {
    report_panics();
    fold::<P>(lift_event(event), &lift_context(context)).map_err(lower_failure)
}

fn fold<P: Projection>(event: Event<Raw>, context: &Context) -> Outcome {
    P::apply(event.read()?, context)
}

/// The export of a projection that answers questions.
pub fn query<P: Queries>(name: String, params: Vec<u8>) -> Result<Vec<u8>, RawFailure> {
    report_panics();
    let answer = P::query(&Question::new(name, params)).map_err(lower_failure)?;
    Ok(answer.to_string().into_bytes())
}

/// Sends a panic's message and place to the host's log, before the abort that the host sees as a trap.
fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|panic| {
            let message = panic.payload_as_str().unwrap_or("no message");
            let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
            log::write(log::Level::Error, &format!("panicked at {place}: {message}"), &[]);
        }));
    });
}

fn lift_event(event: RawEvent) -> Event<Raw> {
    Event {
        id: event.id,
        source: event.source,
        kind: event.kind,
        time: event.time,
        subject: event.subject,
        datacontenttype: event.datacontenttype,
        dataschema: event.dataschema,
        extensions: event.extensions.into_iter().map(|attribute| (attribute.name, attribute.value)).collect(),
        data: Raw(event.data),
    }
}

fn lift_context(context: RawContext) -> Context {
    Context {
        route: context.route,
        attempt: context.attempt,
        max_attempts: context.max_attempts,
        stream: context.stream,
        sequence: context.sequence,
        time_limit: Duration::from_millis(context.time_limit.into()),
    }
}

fn lower_failure(failure: Failure) -> RawFailure {
    match failure.into_parts() {
        (reason, Verdict::Reject) => RawFailure::Reject(reason),
        (reason, Verdict::Retry { after }) => {
            let delay = after.map(|delay| u32::try_from(delay.as_millis()).unwrap_or(u32::MAX));
            RawFailure::Retry(types::Retry { delay, reason })
        }
    }
}

// --- imports ---------------------------------------------------------------------------------------------------------

pub(crate) fn emit(outgoing: Outgoing) -> Result<(), EmitError> {
    let outgoing = emit::Outgoing {
        to: outgoing.to,
        kind: outgoing.kind,
        subject: outgoing.subject,
        datacontenttype: outgoing.datacontenttype,
        dataschema: outgoing.dataschema,
        extensions: lower_attributes(outgoing.extensions),
        data: outgoing.data,
    };
    emit::emit(&outgoing).map_err(|error| match error {
        emit::EmitError::NotGranted(text) => EmitError::NotGranted(text),
        emit::EmitError::Invalid(text) => EmitError::Invalid(text),
        emit::EmitError::Limit(text) => EmitError::Limit(text),
    })
}

pub(crate) fn state_get(key: &str) -> Result<Option<Vec<u8>>, StateError> {
    state::get(key).map_err(lift_state_error)
}

pub(crate) fn state_put(key: &str, value: &[u8]) -> Result<(), StateError> {
    state::put(key, value).map_err(lift_state_error)
}

pub(crate) fn state_delete(key: &str) -> Result<(), StateError> {
    state::delete(key).map_err(lift_state_error)
}

pub(crate) fn state_compare_and_set(
    key: &str,
    expected: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<bool, StateError> {
    state::compare_and_set(key, expected, value).map_err(lift_state_error)
}

pub(crate) fn state_list(prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, StateError> {
    state::list(prefix, after, limit).map_err(lift_state_error)
}

pub(crate) fn document_get(collection: &str, key: &str) -> Result<Option<Vec<u8>>, ReadModelError> {
    read_model::get(collection, key).map_err(lift_read_model_error)
}

pub(crate) fn document_put(collection: &str, key: &str, body: &[u8]) -> Result<(), ReadModelError> {
    read_model::put(collection, key, body).map_err(lift_read_model_error)
}

pub(crate) fn document_delete(collection: &str, key: &str) -> Result<(), ReadModelError> {
    read_model::delete(collection, key).map_err(lift_read_model_error)
}

pub(crate) fn document_find(
    collection: &str,
    field: &str,
    value: &[u8],
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<(String, Vec<u8>)>, ReadModelError> {
    let found = read_model::find(collection, field, value, after, limit).map_err(lift_read_model_error)?;
    Ok(found.into_iter().map(|document| (document.key, document.body)).collect())
}

pub(crate) fn config_get(key: &str) -> Option<String> {
    config::get(key)
}

pub(crate) fn config_keys() -> Vec<String> {
    config::keys()
}

pub(crate) fn log(level: Level, message: &str, fields: Vec<(String, String)>) {
    let level = match level {
        Level::Trace => log::Level::Trace,
        Level::Debug => log::Level::Debug,
        Level::Info => log::Level::Info,
        Level::Warn => log::Level::Warn,
        Level::Error => log::Level::Error,
    };
    log::write(level, message, &lower_attributes(fields));
}

pub(crate) fn now() -> String {
    host::now()
}

pub(crate) fn stable_id(name: &str) -> String {
    host::stable_id(name)
}

pub(crate) fn time_left() -> Duration {
    Duration::from_millis(host::time_left().into())
}

pub(crate) fn random(length: u32) -> Vec<u8> {
    host::random(length)
}

fn lift_state_error(error: state::StateError) -> StateError {
    match error {
        state::StateError::InvalidKey(text) => StateError::InvalidKey(text),
        state::StateError::Limit(text) => StateError::Limit(text),
        state::StateError::Unavailable(text) => StateError::Unavailable(text),
    }
}

fn lift_read_model_error(error: read_model::ReadModelError) -> ReadModelError {
    match error {
        read_model::ReadModelError::NoCollection(text) => ReadModelError::NoCollection(text),
        read_model::ReadModelError::NoIndex(text) => ReadModelError::NoIndex(text),
        read_model::ReadModelError::Invalid(text) => ReadModelError::Invalid(text),
        read_model::ReadModelError::ReadOnly(text) => ReadModelError::ReadOnly(text),
        read_model::ReadModelError::Limit(text) => ReadModelError::Limit(text),
        read_model::ReadModelError::Unavailable(text) => ReadModelError::Unavailable(text),
    }
}

fn lower_attributes(attributes: Vec<(String, String)>) -> Vec<types::Attribute> {
    attributes.into_iter().map(|(name, value)| types::Attribute { name, value }).collect()
}
