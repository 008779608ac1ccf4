//! What goes over the wire and comes back, without waste: headers, acknowledgement subjects, publish acknowledgements.
//!
//! Outgoing headers are handed to async-nats as **one** header whose value holds the whole block. Its `HeaderMap` is a
//! hash map of strings: six CloudEvents headers built the usual way cost 45 % of the publish rate, and their order is
//! lost. What stands in the block is checked here (no line breaks, plain names), and a test against a real server
//! reads it back.
//!
//! Names that begin with `Nats-` mean something to the server when a message is published. Where a message is stored
//! again (parked, dead-lettered), [`shield`] renames its own, so that an old `Nats-Msg-Id` is not taken for a new one.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as ValueError;
use tidemill_core::message::Headers;
use tidemill_core::port::Receipt;

use crate::error::{ApiError, NatsError};

/// The headers that this adapter adds to what it stores for itself.
pub(crate) const OWN_PREFIX: &str = "Tidemill-Nats-";
const SHIELD: &str = "Tidemill-Nats-Original-";
const SERVER_PREFIX: &str = "Nats-";
/// JetStream stores no larger header block, whatever `max_payload` is.
pub(crate) const MAX_HEADER_BYTES: usize = 65_535;

// --- headers out ------------------------------------------------------------------------------------------------------

/// The headers of one outgoing message, written as they will stand on the wire.
#[derive(Debug, Clone)]
pub(crate) struct HeaderBlock {
    first: HeaderName,
    /// The first header's value, then every other header with its line break before it.
    rest: String,
}

impl HeaderBlock {
    /// A block that begins with this header.
    pub(crate) fn new(first: HeaderName, value: &str, capacity: usize) -> Self {
        let mut rest = String::with_capacity(value.len() + capacity);
        rest.push_str(value);
        Self { first, rest }
    }

    pub(crate) fn push(&mut self, name: &str, value: &str) {
        self.rest.push_str("\r\n");
        self.rest.push_str(name);
        self.rest.push_str(": ");
        self.rest.push_str(value);
    }

    pub(crate) fn push_number(&mut self, name: &str, value: u64) {
        // Writing to a `String` cannot fail.
        let _ = write!(self.rest, "\r\n{name}: {value}");
    }

    /// How many bytes it takes on the wire: `NATS/1.0`, the headers, the empty line.
    pub(crate) fn len(&self) -> usize {
        let name: &str = self.first.as_ref();
        10 + name.len() + 2 + self.rest.len() + 4
    }

    /// The block as async-nats takes it.
    ///
    /// `HeaderValue`'s own constructors refuse line breaks (by panicking); its `Deserialize` takes any string, and takes
    /// it without copying.
    pub(crate) fn into_map(self) -> HeaderMap {
        let value =
            HeaderValue::deserialize(IntoDeserializer::<ValueError>::into_deserializer(self.rest)).unwrap_or_default();
        let mut map = HeaderMap::new();
        map.insert(self.first, value);
        map
    }
}

/// How many bytes the headers take on the wire, framing included.
pub(crate) fn headers_len(headers: &Headers) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum()
}

/// Whether every header can be sent: NATS has no way to escape a line break.
pub(crate) fn check_headers(headers: &Headers) -> Result<(), NatsError> {
    for (name, value) in headers.iter() {
        let plain = |b: u8| b.is_ascii_graphic() && b != b':';
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(NatsError::Unsendable(format!(
                "`{}` is not a header name: expected printable ASCII without `:`",
                name.escape_debug()
            )));
        }
        if value.contains(['\r', '\n']) {
            return Err(NatsError::Unsendable(format!("the header `{name}` holds a line break")));
        }
    }
    Ok(())
}

/// The name under which a header is stored again, so that it means nothing to the server.
pub(crate) fn shield(name: &str) -> Option<String> {
    (name.starts_with(SERVER_PREFIX) || name.starts_with(OWN_PREFIX)).then(|| format!("{SHIELD}{name}"))
}

/// How many bytes the headers of a message that is stored again take on the wire.
pub(crate) fn shielded_len(headers: &Headers) -> usize {
    let renamed = headers.iter().filter(|(name, _)| shield(name).is_some()).count();
    headers_len(headers) + renamed * SHIELD.len()
}

/// Undoes [`shield`] and leaves out what the server and this adapter added.
pub(crate) fn unshield(stored: &Headers) -> Headers {
    sorted(stored.iter().filter_map(|(name, value)| match name.strip_prefix(SHIELD) {
        Some(original) => Some((original, value)),
        None if name.starts_with(SERVER_PREFIX) || name.starts_with(OWN_PREFIX) => None,
        None => Some((name, value)),
    }))
}

// --- headers in -------------------------------------------------------------------------------------------------------

/// The headers of a message that was delivered.
pub(crate) fn headers_in(map: Option<&HeaderMap>) -> Headers {
    let Some(map) = map else { return Headers::new() };
    sorted(map.iter().flat_map(|(name, values)| values.iter().map(move |value| (name.as_ref(), value.as_str()))))
}

/// async-nats has lost the order of different names already (a hash map with a random seed); sorting makes it at least
/// the same on every delivery. Values of one name keep their order.
fn sorted<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Headers {
    let mut pairs: Vec<(&str, &str)> = pairs.collect();
    pairs.sort_by_key(|(name, _)| *name);
    pairs.into_iter().collect()
}

/// Headers as the server keeps them, from its message-get API.
pub(crate) fn parse_headers(raw: &[u8]) -> Headers {
    let text = String::from_utf8_lossy(raw);
    sorted(text.lines().skip(1).filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim())))
}

// --- acknowledgement subjects -----------------------------------------------------------------------------------------

/// What the reply subject of a delivered message tells without asking the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AckSubject<'a> {
    pub(crate) stream: &'a str,
    pub(crate) consumer: &'a str,
    /// 1 for the first delivery; the server counts every one, whatever became of it.
    pub(crate) delivered: u32,
    pub(crate) sequence: u64,
    /// 1 for the first message that the consumer sent, and dense.
    pub(crate) consumer_sequence: u64,
    pub(crate) stored: SystemTime,
    /// Messages behind this one that were not delivered yet.
    pub(crate) pending: u64,
}

impl<'a> AckSubject<'a> {
    /// Reads both forms:
    /// `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<nanoseconds>.<pending>`, and the one
    /// with domain and account hash before the stream and perhaps a random token at the end.
    pub(crate) fn parse(reply: &'a str) -> Option<Self> {
        let tokens = reply.strip_prefix("$JS.ACK.")?;
        let long = tokens.bytes().filter(|b| *b == b'.').count() >= 8;
        let mut tokens = tokens.split('.').skip(if long { 2 } else { 0 });
        let stream = tokens.next()?;
        let consumer = tokens.next()?;
        let delivered = tokens.next()?.parse().ok()?;
        let sequence = tokens.next()?.parse().ok()?;
        let consumer_sequence = tokens.next()?.parse().ok()?;
        let nanoseconds: u64 = tokens.next()?.parse().ok()?;
        let pending = tokens.next()?.parse().ok()?;
        let stored = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
        Some(Self { stream, consumer, delivered, sequence, consumer_sequence, stored, pending })
    }
}

// --- receipts ---------------------------------------------------------------------------------------------------------

/// The receipt of a delivery from the retry stream: its acknowledgement subject, and when the original was stored, which
/// that subject does not tell. The receipt of an original is the subject alone.
pub(crate) fn retry_receipt(ack: &str, stored: SystemTime) -> Receipt {
    Receipt::new(format!("{ack} {}", nanoseconds(stored)))
}

/// Where the delivery is settled.
pub(crate) fn ack_of(receipt: &Receipt) -> &str {
    let text = receipt.as_str();
    text.split_once(' ').map_or(text, |(ack, _)| ack)
}

/// When the delivery's original was stored.
pub(crate) fn stored_of(receipt: &Receipt) -> SystemTime {
    let carried = receipt.as_str().split_once(' ').and_then(|(_, nanoseconds)| nanoseconds.parse().ok());
    let carried = carried.map(|nanoseconds| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds));
    carried.or_else(|| Some(AckSubject::parse(receipt.as_str())?.stored)).unwrap_or(SystemTime::UNIX_EPOCH)
}

// --- publish acknowledgements -----------------------------------------------------------------------------------------

/// The server's word that a message is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PubAck {
    pub(crate) stream: String,
    pub(crate) sequence: u64,
    pub(crate) duplicate: bool,
}

#[derive(Deserialize)]
struct PubAckJson {
    #[serde(default)]
    stream: String,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    error: Option<ApiError>,
}

impl PubAck {
    /// Reads an acknowledgement; `Ok(Err(_))` is the server's refusal, `Err(_)` is not JSON.
    pub(crate) fn parse(payload: &[u8]) -> Result<Result<Self, ApiError>, serde_json::Error> {
        if let Some(ack) = Self::parse_plain(payload) {
            return Ok(Ok(ack));
        }
        let json: PubAckJson = serde_json::from_slice(payload)?;
        Ok(match json.error {
            Some(error) => Err(error),
            None => Ok(Self { stream: json.stream, sequence: json.seq, duplicate: json.duplicate }),
        })
    }

    /// The one form that nearly every acknowledgement has, `{"stream":"ORDERS","seq":12}`, ten times faster than JSON.
    fn parse_plain(payload: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(payload).ok()?;
        let (stream, rest) = text.strip_prefix("{\"stream\":\"")?.split_once('"')?;
        let digits = rest.strip_prefix(",\"seq\":")?.strip_suffix('}')?;
        let sequence = digits.parse().ok()?;
        Some(Self { stream: stream.to_owned(), sequence, duplicate: false })
    }
}

/// A message as it leaves; made anew for every time it is sent.
pub(crate) struct Outbound {
    pub(crate) subject: async_nats::Subject,
    pub(crate) headers: Option<HeaderBlock>,
    pub(crate) payload: Bytes,
}

// --- times ------------------------------------------------------------------------------------------------------------

/// Since 1970, as the server counts.
pub(crate) fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// RFC 3339 in UTC with fractions, as the server writes and reads it.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    time::OffsetDateTime::from(time)
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned())
}

pub(crate) fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_ack_subject_tell_the_same() {
        let short = "$JS.ACK.ORDERS.tidemill-fraud.3.17.21.1795242705428770441.5";
        let long = "$JS.ACK.hub.Abc123.ORDERS.tidemill-fraud.3.17.21.1795242705428770441.5";
        let random = "$JS.ACK._.Abc123.ORDERS.tidemill-fraud.3.17.21.1795242705428770441.5.xyz";
        for reply in [short, long, random] {
            let ack = AckSubject::parse(reply).unwrap();
            assert_eq!((ack.stream, ack.consumer), ("ORDERS", "tidemill-fraud"), "{reply}");
            assert_eq!((ack.delivered, ack.sequence, ack.consumer_sequence, ack.pending), (3, 17, 21, 5), "{reply}");
            assert_eq!(rfc3339(ack.stored), "2026-11-21T06:31:45.428770441Z", "{reply}");
        }
        for other in ["$JS.ACK.ORDERS.c.1.2.3", "_INBOX.x.1", "$JS.ACK.S.c.one.2.3.4.5"] {
            assert_eq!(AckSubject::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_receipt_tells_where_to_settle_and_when_the_original_was_stored() {
        let ack = "$JS.ACK.TIDEMILL_RETRY.tidemill-fraud-retry.3.17.21.1795242705428770441.5";
        let stored = SystemTime::UNIX_EPOCH + Duration::from_nanos(7);
        let receipt = retry_receipt(ack, stored);
        assert_eq!((ack_of(&receipt), stored_of(&receipt)), (ack, stored));
        let receipt = Receipt::new(ack);
        assert_eq!((ack_of(&receipt), nanoseconds(stored_of(&receipt))), (ack, 1_795_242_705_428_770_441));
    }

    #[test]
    fn acknowledgements_are_read_in_every_form() {
        let ack = |text: &str| PubAck::parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(ack(r#"{"stream":"S","seq":7}"#), PubAck { stream: "S".into(), sequence: 7, duplicate: false });
        assert!(ack(r#"{"stream":"S","seq":7,"duplicate": true}"#).duplicate);
        assert_eq!(ack(r#"{"stream":"S","domain":"hub","seq":8}"#).sequence, 8);
        let refused =
            r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 1"},"stream":"S","seq":0}"#;
        assert!(PubAck::parse(refused.as_bytes()).unwrap().unwrap_err().is_wrong_last_sequence());
        assert!(PubAck::parse(b"").is_err());
    }

    #[test]
    fn what_means_something_to_the_server_is_shielded_and_comes_back() {
        let original: Headers = [("Nats-Msg-Id", "7"), ("ce-id", "7")].into_iter().collect();
        let stored: Headers = original
            .iter()
            .map(|(name, value)| (shield(name).unwrap_or_else(|| name.to_owned()), value))
            .chain([("Nats-Scheduler".to_owned(), "x"), ("Tidemill-Nats-Attempt".to_owned(), "2")])
            .collect();
        assert_eq!(stored.get("Nats-Msg-Id"), None);
        assert_eq!(unshield(&stored), original);
    }
}
