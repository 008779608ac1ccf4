//! The original's headers inside of a dead letter.
//!
//! Most stand there as they were. Three kinds cannot: `Nats-*` is for the server, which would act on it; `Dlq-*` would be
//! taken for the record (the original may itself have been a dead letter); and what no header may hold, such as a line
//! break, is escaped, so that nothing an event brings can add a header.

use super::record::{RecordError, escape, unescape};
use crate::message::Headers;

/// Before the name of a reserved header.
const MOVED: &str = "Dlq-Original-";
/// Before the name of a header whose name and value are escaped.
const ESCAPED: &str = "Dlq-Escaped-";

pub(super) fn write(original: &Headers, headers: &mut Headers) {
    for (name, value) in original.iter() {
        if !is_plain_name(name) || !is_plain_value(value) {
            headers.append(format!("{ESCAPED}{}", escape_name(name)), escape(value));
        } else if is_reserved(name) {
            headers.append(format!("{MOVED}{name}"), value);
        } else {
            headers.append(name, value);
        }
    }
}

pub(super) fn read(headers: &Headers) -> Result<Headers, RecordError> {
    let mut original = Headers::with_capacity(headers.len());
    for (name, value) in headers.iter() {
        if let Some(name) = name.strip_prefix(MOVED) {
            original.append(name, value);
        } else if let Some(escaped) = name.strip_prefix(ESCAPED) {
            original.append(unescape(name, escaped)?, unescape(name, value)?);
        } else if !is_reserved(name) {
            original.append(name, value);
        }
    }
    Ok(original)
}

fn is_reserved(name: &str) -> bool {
    let starts_with = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    starts_with("nats-") || starts_with("dlq-")
}

/// What NATS takes as a name: printable ASCII without white space and colon.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| (0x21..=0x7e).contains(&b) && b != b':')
}

/// White space at the ends is lost on the way, and so is an empty value with some clients.
fn is_plain_value(value: &str) -> bool {
    !value.is_empty() && value.trim() == value && !value.chars().any(char::is_control)
}

fn escape_name(name: &str) -> String {
    escape(name).replace(':', "%3A").replace(' ', "%20")
}
