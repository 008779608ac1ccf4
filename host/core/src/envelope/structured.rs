//! CloudEvents in structured mode: one JSON object holds attributes and data.
//!
//! The data is cut out of the payload byte for byte where it can be: numbers keep the form in which they were written,
//! which a second serialisation would change.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::attributes::Attributes;
use super::error::shown;
use super::{DecodeError, cloudevents, is_json_type, trace};
use crate::event::Event;
use crate::json::{self, JsonLimits};
use crate::message::Message;

/// Reads a message without `ce-specversion`: structured mode by its content type, or by its looks.
pub(super) fn decode(message: &Message) -> Result<Event, DecodeError> {
    let declared = declares_structured(message)?;
    if !declared && cloudevents::has_attributes(message) {
        return Err(DecodeError::Missing { attribute: "specversion", expected: "the header `ce-specversion: 1.0`" });
    }
    if !declared && !starts_like_object(&message.payload) {
        return Err(DecodeError::NotCloudEvent { found: looks(&message.payload) });
    }
    let value = json::parse(&message.payload, &JsonLimits::default())?;
    if !declared && value.get("specversion").is_none() {
        return Err(DecodeError::NotCloudEvent { found: "a JSON object without it".to_owned() });
    }
    let mut attributes = Attributes::default();
    let data = read(object(&value)?, &mut attributes, Some(&message.payload))?;
    trace::adopt(&message.headers, &mut attributes)?;
    attributes.finish(data)
}

/// Reads an event from a value in the CloudEvents JSON format. The data is the value's `data` as compact JSON text.
pub fn event_from_json(value: &Value) -> Result<Event, DecodeError> {
    let mut attributes = Attributes::default();
    let data = read(object(value)?, &mut attributes, None)?;
    attributes.finish(data)
}

pub(super) fn object(value: &Value) -> Result<&Map<String, Value>, DecodeError> {
    value.as_object().ok_or(DecodeError::NotAnObject { found: type_name(value) })
}

pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Sets the attributes and answers the data. A member that is `null` counts as left out, except `data`.
fn read(members: &Map<String, Value>, attributes: &mut Attributes, text: Option<&Bytes>) -> Result<Bytes, DecodeError> {
    for (name, value) in members {
        if name != "data" && name != "data_base64" && !value.is_null() {
            attributes.set(name, attribute_text(name, value)?)?;
        }
    }
    match (members.get("data"), members.get("data_base64").filter(|value| !value.is_null())) {
        (Some(_), Some(_)) => Err(DecodeError::TwoData),
        (None, None) => Ok(Bytes::new()),
        (None, Some(encoded)) => base64_data(encoded),
        (Some(data), None) if attributes.datacontenttype().is_none_or(is_json_type) => json_data(data, text),
        (Some(Value::String(content)), None) => Ok(Bytes::copy_from_slice(content.as_bytes())),
        (Some(data), None) => Err(DecodeError::WrongType {
            attribute: "data".to_owned(),
            expected: "a string, since `datacontenttype` is not JSON",
            found: type_name(data).to_owned(),
        }),
    }
}

/// The text of an attribute value: CloudEvents has strings, booleans and integers; times and URIs are strings.
fn attribute_text<'a>(name: &str, value: &'a Value) -> Result<Cow<'a, str>, DecodeError> {
    let plain = matches!(
        name,
        "id" | "source" | "type" | "specversion" | "time" | "subject" | "datacontenttype" | "dataschema"
    );
    match value {
        Value::String(text) => Ok(Cow::Borrowed(text)),
        Value::Bool(flag) if !plain => Ok(Cow::Owned(flag.to_string())),
        Value::Number(number) if !plain && !number.is_f64() => Ok(Cow::Owned(number.to_string())),
        other => Err(DecodeError::WrongType {
            attribute: shown(name),
            expected: if plain { "a string" } else { "a string, a boolean or an integer" },
            found: match other {
                Value::Number(number) => format!("the number {number}"),
                other => type_name(other).to_owned(),
            },
        }),
    }
}

fn base64_data(encoded: &Value) -> Result<Bytes, DecodeError> {
    let text = encoded.as_str().ok_or_else(|| DecodeError::WrongType {
        attribute: "data_base64".to_owned(),
        expected: "a string",
        found: type_name(encoded).to_owned(),
    })?;
    STANDARD.decode(text).map(Bytes::from).map_err(|error| DecodeError::BadBase64 { reason: error.to_string() })
}

/// The JSON text of `data`: a part of the payload's bytes, where there is a payload.
pub(super) fn json_data(data: &Value, text: Option<&Bytes>) -> Result<Bytes, DecodeError> {
    #[derive(Deserialize)]
    struct Wrapper<'a> {
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    let Some(text) = text else { return Ok(Bytes::from(data.to_string())) };
    let wrapper: Wrapper<'_> =
        serde_json::from_slice(text).map_err(|error| DecodeError::BadJson { reason: error.to_string() })?;
    // `None` stands for `null` here: the member is known to exist.
    Ok(wrapper.data.map_or_else(|| Bytes::from_static(b"null"), |raw| text.slice_ref(raw.get().as_bytes())))
}

/// Whether the content type says "structured mode". The NATS binding has it without a suffix, everybody else with `+json`.
fn declares_structured(message: &Message) -> Result<bool, DecodeError> {
    let Some(content_type) = cloudevents::content_type(message) else { return Ok(false) };
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.strip_prefix("application/cloudevents") {
        None => Ok(false),
        Some("" | "+json") => Ok(true),
        Some(_) => Err(DecodeError::UnsupportedFormat { found: shown(content_type) }),
    }
}

fn starts_like_object(payload: &[u8]) -> bool {
    payload.trim_ascii_start().first() == Some(&b'{')
}

/// What a payload looks like, for an error. Its start is enough; a megabyte of text need not be looked at.
fn looks(payload: &[u8]) -> String {
    let start = payload.trim_ascii_start();
    match str::from_utf8(&start[..start.len().min(160)]) {
        Ok("") => "an empty payload".to_owned(),
        Ok(text) => format!("`{}`", shown(text)),
        // No length: the text is cut inside of a character, and good until there.
        Err(error) if error.error_len().is_none() => {
            format!("`{}`", shown(&String::from_utf8_lossy(&start[..error.valid_up_to()])))
        }
        Err(_) => format!("{} bytes that are not UTF-8", payload.len()),
    }
}
