//! What came of a call, as JSON: for `--output json`, for comparing two calls, and for the expectations of a case.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use tidemill_core::event::Event;
use tidemill_core::subject::Subject;

use super::{Came, Change, DocumentChange, Outcome, to_json};

/// Everything that another call with the same event must repeat: no times, no sizes.
pub fn as_json(came: &Came) -> Value {
    let failure = came.outcome.failure();
    let error = match &came.outcome {
        Outcome::Skipped(why) => Some(why.as_str()),
        _ => failure.map(|failure| failure.text.as_str()),
    };
    let log = came.call.iter().flat_map(|call| &call.log);
    let log = log.map(|line| json!({ "level": line.level.as_str(), "from": line.from.as_str(), "text": line.text }));
    let requests = came.call.iter().flat_map(|call| &call.requests);
    let requests: Vec<_> = requests.map(|request| request.line()).collect();
    json!({
        "outcome": came.outcome.word(),
        "error": error,
        "blame": failure.map(|failure| failure.kind.blame().as_str()),
        "emits": came.emits.iter().map(|(to, event)| emit_as_json(to, event)).collect::<Vec<_>>(),
        "reads": came.reads.iter().map(|(key, value)| (key.clone(), optional(value.as_deref()))).collect::<Map<_, _>>(),
        "state": came.state.iter().map(change).collect::<Vec<_>>(),
        "documents": came.documents.iter().map(document_change).collect::<Vec<_>>(),
        "requests": requests,
        "log": log.collect::<Vec<_>>(),
    })
}

/// An emitted event: where to, the attributes that it has, and the data.
pub fn emit_as_json(to: &Subject, event: &Event) -> Value {
    let mut shown = Map::new();
    shown.insert("to".to_owned(), to.as_str().into());
    shown.insert("type".to_owned(), event.kind.clone().into());
    let attributes = [
        ("subject", &event.subject),
        ("datacontenttype", &event.datacontenttype),
        ("dataschema", &event.dataschema),
        ("time", &event.time),
    ];
    for (name, value) in attributes {
        shown.extend(value.clone().map(|value| (name.to_owned(), value.into())));
    }
    shown.insert("id".to_owned(), event.id.clone().into());
    shown.insert("source".to_owned(), event.source.clone().into());
    let extensions: Map<String, Value> =
        event.extensions.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    shown.insert("extensions".to_owned(), extensions.into());
    let (name, data) = data(event);
    shown.insert(name.to_owned(), data);
    shown.into()
}

/// JSON as what it holds, anything else as text.
pub fn as_text_or_json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into())
}

/// JSON as it is, other text as text, the rest in Base64.
pub fn data(event: &Event) -> (&'static str, Value) {
    if let Ok(json) = serde_json::from_slice(&event.data) {
        return ("data", json);
    }
    match str::from_utf8(&event.data) {
        Ok(text) => ("data", text.into()),
        Err(_) => ("data_base64", STANDARD.encode(&event.data).into()),
    }
}

fn change(change: &Change) -> Value {
    let Change { key, before, after } = change;
    json!({ "key": key, "before": optional(before.as_deref()), "after": optional(after.as_deref()) })
}

fn document_change(change: &DocumentChange) -> Value {
    let DocumentChange { collection, key, before, after } = change;
    let (before, after) = (optional(before.as_deref()), optional(after.as_deref()));
    json!({ "collection": collection, "key": key, "before": before, "after": after })
}

fn optional(value: Option<&[u8]>) -> Value {
    value.map_or(Value::Null, to_json)
}
