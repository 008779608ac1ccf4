//! Storing a message a second time: parked, redriven, dead-lettered.
//!
//! What is stored again carries headers of our own besides the original's, and so may be larger than the server takes
//! where the original was not. Such an event must not be stuck: a payload that does not fit is left out and read from the
//! original's stream again; headers that do not fit (JetStream takes 64 KiB of them, however large a message may be) move
//! behind the payload, with a header that says where they begin. Leaving them out as well would lose the record of a dead
//! letter together with the original's stream.
//!
//! [`unpack`] is the inverse of [`pack`].

use bytes::Bytes;
use tidemill_core::message::{Headers, Message};
use tidemill_core::port::Origin;

use crate::connection::Connection;
use crate::error::NatsError;
use crate::stored;
use crate::wire::{HeaderBlock, MAX_HEADER_BYTES, parse_headers, shield, shielded_len, unshield};

/// Says that the payload was left out, and where it still stands: `<stream>/<sequence>`.
const LEFT_OUT: &str = "Tidemill-Nats-Payload-Left-Out";
/// Says where in the payload the moved headers begin.
const HEADERS_AT: &str = "Tidemill-Nats-Headers-At";
/// Room for the two above, and for what the server adds when it moves a scheduled message.
const SPARE: usize = 1024;

/// What there is to store again.
pub(crate) struct Again<'a> {
    pub(crate) message: &'a Message,
    /// Where the original stands, if the payload is the original's: only then it may be left out.
    pub(crate) origin: Option<&'a Origin>,
    /// Headers that stay headers in any case, so that other tools see them.
    pub(crate) stays: fn(&str) -> bool,
}

/// Adds the message's headers to our own, and says what to send as the payload.
pub(crate) fn pack(headers: &mut HeaderBlock, again: &Again<'_>, max_payload: usize) -> Result<Bytes, NatsError> {
    let Message { subject, headers: originals, payload } = again.message;
    let mut moved = String::new();
    if headers.len() + shielded_len(originals) + SPARE <= MAX_HEADER_BYTES {
        push_all(headers, originals.iter());
    } else {
        push_all(headers, originals.iter().filter(|(name, _)| (again.stays)(name)));
        moved = lines(originals.iter().filter(|(name, _)| !(again.stays)(name)));
    }
    let mut payload = payload.clone();
    if headers.len() + payload.len() + moved.len() + SPARE > max_payload {
        let origin = again.origin.ok_or_else(|| {
            NatsError::Unsendable(format!(
                "what is to be stored for `{subject}` is larger than the server takes, {max_payload} bytes (its \
                 `max_payload`)"
            ))
        })?;
        headers.push(LEFT_OUT, &format!("{}/{}", origin.stream, origin.sequence));
        payload = Bytes::new();
    }
    if !moved.is_empty() {
        headers.push_number(HEADERS_AT, payload.len() as u64);
        payload = [&payload, moved.as_bytes()].concat().into();
    }
    Ok(payload)
}

fn push_all<'a>(block: &mut HeaderBlock, headers: impl Iterator<Item = (&'a str, &'a str)>) {
    for (name, value) in headers {
        match shield(name) {
            Some(renamed) => block.push(&renamed, value),
            None => block.push(name, value),
        }
    }
}

/// As a block of headers stands on the wire.
fn lines<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut block = "NATS/1.0\r\n".to_owned();
    for (name, value) in headers {
        for part in [name, ": ", value, "\r\n"] {
            block.push_str(part);
        }
    }
    block
}

/// The message's headers and payload as they were packed.
///
/// If the original's stream has dropped a payload that was left out, that is logged and the payload is empty: the event
/// fails as malformed and is seen, instead of vanishing.
pub(crate) async fn unpack(
    connection: &Connection,
    stored: &Headers,
    payload: Bytes,
) -> Result<(Headers, Bytes), NatsError> {
    let (headers, payload) = put_back(stored, payload);
    let left_out = stored.get(LEFT_OUT).and_then(|place| place.split_once('/'));
    let Some((stream, Ok(sequence))) = left_out.map(|(stream, sequence)| (stream, sequence.parse())) else {
        return Ok((headers, payload));
    };
    match stored::by_sequence(connection, stream, sequence).await? {
        Some(original) => Ok((headers, original.payload)),
        None => {
            tracing::error!(stream, sequence, "the stream has dropped an event that was too large to be stored again");
            Ok((headers, payload))
        }
    }
}

fn put_back(stored: &Headers, payload: Bytes) -> (Headers, Bytes) {
    let headers = unshield(stored);
    let at = stored.get(HEADERS_AT).and_then(|text| text.parse().ok()).filter(|at| *at <= payload.len());
    let Some(at) = at else { return (headers, payload) };
    let moved = parse_headers(&payload[at..]);
    let mut all: Vec<(&str, &str)> = headers.iter().chain(moved.iter()).collect();
    all.sort_by_key(|(name, _)| *name);
    (all.into_iter().collect(), payload.slice(..at))
}

#[cfg(test)]
mod tests {
    use tidemill_core::name::StreamName;
    use tidemill_core::subject::Subject;

    use super::*;

    fn packed(message: &Message, max_payload: usize) -> (String, Headers, Bytes) {
        let origin = Origin { stream: StreamName::try_new("ORDERS").unwrap(), sequence: 7 };
        let mut block = HeaderBlock::new(async_nats::header::NATS_MESSAGE_ID, "1", 0);
        let stays = |name: &str| name.starts_with("Dlq-");
        let payload = pack(&mut block, &Again { message, origin: Some(&origin), stays }, max_payload).unwrap();
        let map = block.into_map();
        let text = map.iter().next().unwrap().1[0].as_str().to_owned();
        let stored = parse_headers(format!("NATS/1.0\r\nNats-Msg-Id: {text}\r\n\r\n").as_bytes());
        (text, stored, payload)
    }

    fn message(value: usize, payload: &'static str) -> Message {
        let value = "y".repeat(value);
        let headers = [("Dlq-Reason", "trap"), ("Nats-Msg-Id", "7"), ("ce-id", "1"), ("x", &value), ("x", "second")];
        Message {
            subject: Subject::try_new("dlq.orders").unwrap(),
            headers: headers.into_iter().collect(),
            payload: payload.into(),
        }
    }

    #[test]
    fn headers_that_do_not_fit_move_behind_the_payload_and_come_back() {
        for value in [10, 64_000, 65_400, 90_000] {
            let message = message(value, "payload");
            let (text, stored, payload) = packed(&message, 1 << 20);
            assert!(text.len() < MAX_HEADER_BYTES, "{}", text.len());
            assert!(text.contains("Dlq-Reason: trap") && payload.starts_with(b"payload"), "others can see it");
            assert_eq!(payload.len() > 7, value > 64_000, "{value}");
            assert_eq!(put_back(&stored, payload), (message.headers, message.payload));
        }
    }

    #[test]
    fn a_payload_that_does_not_fit_is_left_out_and_moved_headers_are_not() {
        let message = message(65_400, "payload");
        let (text, stored, payload) = packed(&message, 60_000);
        assert!(text.contains("Tidemill-Nats-Payload-Left-Out: ORDERS/7"), "{text}");
        assert_eq!(put_back(&stored, payload), (message.headers, Bytes::new()));
    }
}
