//! The `seed` envelope: a JSON object with `eventId`, `eventType`, `timestamp`, `version`, `source`, `correlationId` and
//! `data`, in camelCase or snake_case. `eventId`, `eventType` and `source` are required; members of other names are left
//! alone, as the envelope does not say what they mean.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::attributes::{Attributes, check_length, check_text, check_time};
use super::structured::{json_data, object, type_name};
use super::{DecodeError, MAX_ATTRIBUTE_BYTES, trace};
use crate::event::Event;
use crate::json::{self, JsonLimits};
use crate::message::Message;

pub(super) fn decode(message: &Message) -> Result<Event, DecodeError> {
    let value = json::parse(&message.payload, &JsonLimits::default())?;
    let members = object(&value)?;
    let mut attributes = Attributes::default();
    attributes.set("specversion", Cow::Borrowed("1.0"))?;
    attributes.set("id", Cow::Borrowed(required(members, ["eventId", "event_id"])?))?;
    attributes.set("type", Cow::Borrowed(required(members, ["eventType", "event_type"])?))?;
    attributes.set("source", Cow::Borrowed(required(members, ["source", "source"])?))?;
    if let Some(timestamp) = text(members, ["timestamp", "timestamp"])? {
        check_time("timestamp", &timestamp)?;
        attributes.set("time", timestamp)?;
    }
    if let Some(correlation) = text(members, ["correlationId", "correlation_id"])? {
        attributes.set("correlationid", correlation)?;
    }
    trace::adopt(&message.headers, &mut attributes)?;
    let data = match members.get("data") {
        Some(data) => json_data(data, Some(&message.payload))?,
        None => bytes::Bytes::new(),
    };
    attributes.set("datacontenttype", Cow::Borrowed("application/json"))?;
    let mut event = attributes.finish(data)?;
    event.version = version(members)?;
    Ok(event)
}

/// A version is a text or a number: `"1.2"`, `2`.
fn version(members: &Map<String, Value>) -> Result<Option<String>, DecodeError> {
    let text = match members.get("version") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(other) => return Err(wrong_type("version", "a string or a number", other)),
    };
    if text.is_empty() {
        return Err(DecodeError::Empty { attribute: "version".to_owned(), expected: "a version like `1`" });
    }
    check_text("version", &text)?;
    check_length("version", &text, MAX_ATTRIBUTE_BYTES)?;
    Ok(Some(text))
}

fn required<'a>(members: &'a Map<String, Value>, names: [&'static str; 2]) -> Result<&'a str, DecodeError> {
    match find(members, names)? {
        Some((_, Value::String(text))) if !text.is_empty() => Ok(text),
        Some((name, Value::String(_))) => {
            Err(DecodeError::Empty { attribute: name.to_owned(), expected: "a text of 1 to 1024 bytes" })
        }
        Some((name, other)) => Err(wrong_type(name, "a string", other)),
        None => Err(DecodeError::Missing { attribute: names[0], expected: "a text of 1 to 1024 bytes" }),
    }
}

fn text<'a>(members: &'a Map<String, Value>, names: [&'static str; 2]) -> Result<Option<Cow<'a, str>>, DecodeError> {
    match find(members, names)? {
        None => Ok(None),
        Some((_, Value::String(text))) => Ok(Some(Cow::Borrowed(text))),
        Some((name, other)) => Err(wrong_type(name, "a string", other)),
    }
}

/// A member under either of its names; `null` counts as left out.
fn find<'a>(
    members: &'a Map<String, Value>,
    [camel, snake]: [&'static str; 2],
) -> Result<Option<(&'static str, &'a Value)>, DecodeError> {
    let member = |name| members.get(name).filter(|value| !value.is_null()).map(|value| (name, value));
    match (member(camel), member(snake)) {
        (Some(_), Some(_)) if camel != snake => Err(DecodeError::Repeated { attribute: camel.to_owned() }),
        (first, second) => Ok(first.or(second)),
    }
}

fn wrong_type(attribute: &'static str, expected: &'static str, found: &Value) -> DecodeError {
    DecodeError::WrongType { attribute: attribute.to_owned(), expected, found: type_name(found).to_owned() }
}
