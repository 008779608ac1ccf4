//! The names that the adapter uses on the server, in one place: whoever looks at it with other tools finds them here.
//!
//! Where a name stands for one event it holds, besides the event's stream and sequence, the time at which it was stored,
//! in nanoseconds: when a stream is removed and made anew its sequences begin again, and a new event must not be taken
//! for an old one.

use std::time::SystemTime;

use tidemill_core::name::{PluginName, RouteName};
use tidemill_core::port::{Commit, Origin};

use crate::wire::{nanoseconds, stored_of};

/// Parked and redriven events of all routes.
pub(crate) const RETRY_STREAM: &str = "TIDEMILL_RETRY";
/// Dead letters of all routes whose subject no other stream captures.
pub(crate) const DEAD_LETTER_STREAM: &str = "TIDEMILL_DLQ";
/// A stream needs a subject from the start; the routes' own are added when they are opened.
pub(crate) const DEAD_LETTER_BASE: &str = "tidemill.dlq.>";
pub(crate) const RETRY_SUBJECTS: [&str; 2] = ["tidemill.retry.>", "tidemill.sched.>"];

/// Stands there while a host changes the subjects of the dead letters' stream. No retry's place has so few tokens.
pub(crate) const TURN: &str = "tidemill.sched.turn";

pub(crate) fn consumer(route: &RouteName) -> String {
    format!("tidemill-{route}")
}

pub(crate) fn retry_consumer(route: &RouteName) -> String {
    format!("tidemill-{route}-retry")
}

/// Where an event comes back to its route, and to no other.
pub(crate) fn retry(route: &RouteName, origin: &Origin, stored: SystemTime) -> String {
    format!("tidemill.retry.{route}.{}.{}.{}", origin.stream, origin.sequence, nanoseconds(stored))
}

pub(crate) fn retries(route: &RouteName) -> String {
    format!("tidemill.retry.{route}.>")
}

/// Where an event waits for its next attempt: one place per event, so that it cannot wait twice.
pub(crate) fn parked(route: &RouteName, origin: &Origin, stored: SystemTime) -> String {
    format!("tidemill.sched.{route}.{}.{}.{}", origin.stream, origin.sequence, nanoseconds(stored))
}

pub(crate) fn all_parked(route: &RouteName) -> String {
    format!("tidemill.sched.{route}.>")
}

pub(crate) fn state_stream(space: &PluginName) -> String {
    format!("TIDEMILL_STATE_{space}")
}

pub(crate) fn state(space: &PluginName) -> String {
    format!("tidemill.state.{space}.>")
}

pub(crate) fn state_keys(space: &PluginName) -> String {
    format!("tidemill.state.{space}.k.>")
}

pub(crate) fn state_key(space: &PluginName, key: &str) -> String {
    let mut subject = format!("tidemill.state.{space}.k.");
    encode_key(key, &mut subject);
    subject
}

/// The key of a subject made by [`state_key`].
pub(crate) fn key_of(space: &PluginName, subject: &str) -> Option<String> {
    let token = subject.strip_prefix("tidemill.state.")?.strip_prefix(space.as_str())?.strip_prefix(".k.")?;
    decode_key(token)
}

/// The record that a delivery was committed. Part 0 is the record; a large one has more parts.
pub(crate) fn marker(space: &PluginName, commit: &Commit, part: usize) -> String {
    let Commit { route, origin: Origin { stream, sequence }, receipt, .. } = commit;
    let stored = nanoseconds(stored_of(receipt));
    if part == 0 {
        format!("tidemill.state.{space}.m.{route}.{stream}.{sequence}.{stored}")
    } else {
        format!("tidemill.state.{space}.m.{route}.{stream}.{sequence}.{stored}.{part}")
    }
}

/// Any text as one subject token: letters, digits, `_` and `-` stay, every other byte becomes `=` and two hex digits.
fn encode_key(key: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            out.push(char::from(byte));
        } else {
            out.push('=');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

fn decode_key(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'=' {
            let digit = |b: Option<u8>| char::from(b?).to_digit(16).and_then(|d| u8::try_from(d).ok());
            bytes.push(digit(rest.next())? << 4 | digit(rest.next())?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_key_is_one_token_and_comes_back() {
        let space = PluginName::try_new("counter").unwrap();
        for key in ["a", "orders.by-day/2026", "*", ">", " ", "ä=ö", "total_1"] {
            let subject = state_key(&space, key);
            assert_eq!(subject.split('.').count(), 5, "{subject}");
            assert!(!subject.contains(['*', '>', ' ']), "{subject}");
            assert_eq!(key_of(&space, &subject).as_deref(), Some(key));
        }
        assert_eq!(key_of(&space, "tidemill.state.other.k.a"), None);
    }
}
