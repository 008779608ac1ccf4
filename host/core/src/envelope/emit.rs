//! Event to message: what a plugin emits, and what `tidemill emit` publishes. Always binary mode.
//!
//! The same call with the same arguments gives the same bytes: the id is made from the input's position, so an emit that
//! is published again after a crash is the same event.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::trace::TraceParent;
use super::{header_value, ids};
use crate::effect::Emit;
use crate::event::Event;
use crate::message::{Headers, Message};
use crate::name::RouteName;
use crate::port::{Origin, Outgoing};
use crate::subject::Subject;

/// What the ids of a call's emits are made from.
#[derive(Debug, Clone, Copy)]
pub struct EmitIds<'a> {
    pub route: &'a RouteName,
    pub origin: &'a Origin,
}

/// The event and the message of the emit number `index` of one call that handled `parent`.
///
/// The host fills in what is its own: `id`, `source` (`/tidemill/<route>`), `time`, and what ties the event to its parent:
/// `correlationid` (the parent's, or the parent's id), `causationid` (the parent's id), and the parent's trace with a new
/// span. `now` is part of the bytes: who wants a redelivery to publish the same message passes the same time.
pub fn encode_emit(
    emit: Emit,
    index: usize,
    parent: &Event,
    ids: &EmitIds<'_>,
    now: OffsetDateTime,
) -> (Event, Outgoing) {
    let id = ids::emit_id(ids.route, ids.origin, index);
    let mut extensions = emit.extensions;
    extensions.reserve_exact(4);
    let mut carry = |name: &str, value: &str| extensions.push((name.to_owned(), value.to_owned()));
    carry("correlationid", parent.extension("correlationid").unwrap_or(&parent.id));
    carry("causationid", &parent.id);
    if let Some(trace) = parent.extension("traceparent").and_then(TraceParent::parse) {
        let [span @ .., _, _, _, _, _, _, _, _] = id.into_bytes();
        carry("traceparent", &trace.child(span));
        if let Some(state) = parent.extension("tracestate") {
            carry("tracestate", state);
        }
    }
    let event = Event {
        id: id.to_string(),
        source: format!("/tidemill/{}", ids.route),
        kind: emit.kind,
        // Fails only for years outside of 0 to 9999, which no clock shows.
        time: now.format(&Rfc3339).ok(),
        subject: emit.subject,
        datacontenttype: Some(emit.datacontenttype.unwrap_or_else(|| "application/json".to_owned())),
        dataschema: emit.dataschema,
        version: None,
        extensions,
        data: emit.data,
    };
    let outgoing = encode_event(&event, emit.to);
    (event, outgoing)
}

/// The message of an event. `Event::version` has no attribute in CloudEvents and is left out; `dataschema` says it.
pub fn encode_event(event: &Event, to: Subject) -> Outgoing {
    let mut headers = Headers::with_capacity(12 + event.extensions.len());
    let mut set = |name: &str, value: &str| headers.append(name, header_value::encode(value));
    set("ce-specversion", "1.0");
    set("ce-id", &event.id);
    set("ce-source", &event.source);
    set("ce-type", &event.kind);
    for (name, value) in [
        ("ce-time", &event.time),
        ("ce-subject", &event.subject),
        ("ce-dataschema", &event.dataschema),
        ("ce-datacontenttype", &event.datacontenttype),
    ] {
        if let Some(value) = value {
            set(name, value);
        }
    }
    for (name, value) in &event.extensions {
        set(&format!("ce-{name}"), value);
    }
    // Once more under the names that tools without CloudEvents look for.
    for (name, value) in [
        ("content-type", event.datacontenttype.as_deref()),
        ("traceparent", event.extension("traceparent")),
        ("tracestate", event.extension("tracestate")),
    ] {
        if let Some(value) = value.filter(|value| value.bytes().all(|b| (0x20..=0x7e).contains(&b))) {
            headers.append(name, value);
        }
    }
    Outgoing { id: event.id.clone(), message: Message { subject: to, headers, payload: event.data.clone() } }
}

/// As [`encode_event`], for an event of somebody else: two events are the same if source and id are, whatever another producer
/// calls its events.
pub fn encode_foreign_event(event: &Event, to: Subject) -> Outgoing {
    Outgoing { id: ids::event_id(&event.source, &event.id).to_string(), ..encode_event(event, to) }
}
