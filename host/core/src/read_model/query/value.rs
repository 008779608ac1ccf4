//! Values as people write them into an address: `100`, `true`, `null`, `pending`, `"100"`.
//!
//! What reads as a JSON number, `true`, `false` or `null` is that; everything else is a text. A text that would be read as
//! something else, or that holds a comma where commas separate, is put in quotes, as a JSON string.

use serde_json::Value;

use super::error::QueryError;
use crate::json::{self, JsonError, JsonLimits};

const QUOTED: &str = "a text in quotes to end with one";

/// The value of one parameter.
///
/// # Errors
///
/// A number beyond 64-bit floats, and a quote that is not closed.
pub fn typed(parameter: &str, text: &str) -> Result<Value, QueryError> {
    if text.starts_with('"') {
        return match quoted(text) {
            Some((value, "")) => Ok(value),
            _ => Err(QueryError::bad_value(parameter, QUOTED, text)),
        };
    }
    let as_text = || Ok(Value::String(text.to_owned()));
    // JSON allows white space around a value; here it belongs to it.
    if text.trim() != text {
        return as_text();
    }
    match json::parse(text.as_bytes(), &JsonLimits::default()) {
        Ok(value @ (Value::Null | Value::Bool(_) | Value::Number(_))) => Ok(value),
        Err(JsonError::NumberOutOfRange { .. }) => {
            Err(QueryError::bad_value(parameter, "a number within the range of 64-bit floats", text))
        }
        _ => as_text(),
    }
}

/// Values that are separated by commas.
pub(super) fn list(parameter: &str, text: &str) -> Result<Vec<Value>, QueryError> {
    let mut values = Vec::new();
    let mut rest = text;
    loop {
        let (value, after) = if rest.starts_with('"') {
            quoted(rest).ok_or_else(|| QueryError::bad_value(parameter, QUOTED, rest))?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            (typed(parameter, &rest[..end])?, &rest[end..])
        };
        values.push(value);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return Ok(values),
            None => return Err(QueryError::bad_value(parameter, "a comma after a text in quotes", after)),
        }
    }
}

/// The JSON string at the beginning of a text, and what follows it.
fn quoted(text: &str) -> Option<(Value, &str)> {
    let mut strings = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let value = strings.next()?.ok()?;
    Some((Value::String(value), &text[strings.byte_offset()..]))
}
