//! What goes over the control socket.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidemill_core::message::{Headers, Message};
use tidemill_core::name::{RouteName, StreamName};
use tidemill_core::port::{
    Backlog, BrokerError, DeadLetterQuery, Origin, Outgoing, Published, Recorded, Redrive, StateEntry, StoredDeadLetter,
};
use tidemill_core::subject::Subject;

use super::Order;
use crate::status::Status;

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Publish(Vec<WireOutgoing>),
    DeadLetters {
        route: Option<String>,
        after: u64,
        limit: usize,
    },
    DeadLetter(u64),
    Redrive(WireRedrive),
    Discard(u64),
    Backlog {
        route: String,
    },
    Status,
    /// Look at what lies on disk.
    Reload,
    RollBack {
        plugin: String,
    },
    Release {
        plugin: String,
    },
    Projection {
        name: String,
        order: WireOrder,
    },
    /// Documents of a read model; the parameters are those of the URL.
    Documents {
        collection: String,
        key: Option<String>,
        params: Vec<(String, String)>,
    },
    /// A message of a stream.
    Message {
        stream: String,
        sequence: u64,
    },
    /// A key of a plugin's state.
    State {
        plugin: String,
        key: String,
    },
    StateKeys {
        plugin: String,
        prefix: String,
    },
    /// A document as the fold of its projection would read it.
    ReadDocument {
        collection: String,
        key: String,
    },
    /// Documents whose column holds this value, which is in Base64.
    FindDocuments {
        collection: String,
        column: usize,
        value: String,
        after: Option<String>,
        limit: usize,
    },
}

/// What is asked of a projection.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum WireOrder {
    Rebuild,
    Cancel,
    RollBack,
    Pause,
    Resume,
    Reset(BTreeMap<String, u64>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Status(Box<Status>),
    /// What was done, in a sentence.
    Told(String),
    /// A document or a page of documents, as the gateway would give it.
    Documents(serde_json::Value),
    Published(Vec<Result<WirePublished, WireError>>),
    DeadLetters(Vec<WireDeadLetter>),
    DeadLetter(Option<WireDeadLetter>),
    Done(bool),
    Message(Option<WireRecorded>),
    /// Value in Base64, and revision.
    State(Option<String>, u64),
    Keys(Vec<String>),
    /// In Base64.
    Document(Option<String>),
    /// Keys, and documents in Base64.
    Found(Vec<(String, String)>),
    Backlog {
        undelivered: u64,
        in_flight: u64,
        parked: u64,
    },
    Error(WireError),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireMessage {
    subject: String,
    headers: Vec<(String, String)>,
    payload: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireOutgoing {
    id: String,
    message: WireMessage,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WirePublished {
    stream: String,
    sequence: u64,
    duplicate: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireDeadLetter {
    id: u64,
    stored_ms: u64,
    message: WireMessage,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireRecorded {
    sequence: u64,
    stored_ms: u64,
    message: WireMessage,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireRedrive {
    dead_letter: u64,
    route: String,
    stream: String,
    sequence: u64,
    message: WireMessage,
    stored_ms: u64,
    redriven: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum WireError {
    Unavailable(String),
    Refused(String),
    Incompatible(String),
}

// === conversions, out and back ===

impl From<&Message> for WireMessage {
    fn from(message: &Message) -> Self {
        Self {
            subject: message.subject.as_str().to_owned(),
            headers: message.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            payload: BASE64.encode(&message.payload),
        }
    }
}

impl WireMessage {
    fn into_message(self) -> Result<Message> {
        Ok(Message {
            subject: Subject::try_new(&self.subject)?,
            headers: self.headers.into_iter().collect::<Headers>(),
            payload: Bytes::from(BASE64.decode(&self.payload).context("decoding a payload")?),
        })
    }
}

impl From<Order> for WireOrder {
    fn from(order: Order) -> Self {
        match order {
            Order::Rebuild => Self::Rebuild,
            Order::Cancel => Self::Cancel,
            Order::RollBack => Self::RollBack,
            Order::Pause => Self::Pause,
            Order::Resume => Self::Resume,
            Order::Reset(from) => {
                Self::Reset(from.into_iter().map(|(stream, sequence)| (stream.to_string(), sequence)).collect())
            }
        }
    }
}

impl WireOrder {
    pub(super) fn into_order(self) -> Result<Order> {
        Ok(match self {
            Self::Rebuild => Order::Rebuild,
            Self::Cancel => Order::Cancel,
            Self::RollBack => Order::RollBack,
            Self::Pause => Order::Pause,
            Self::Resume => Order::Resume,
            Self::Reset(from) => {
                let named = |(stream, sequence): (String, u64)| Ok((StreamName::try_new(&stream)?, sequence));
                Order::Reset(from.into_iter().map(named).collect::<Result<_>>()?)
            }
        })
    }
}

impl From<&Outgoing> for WireOutgoing {
    fn from(outgoing: &Outgoing) -> Self {
        Self { id: outgoing.id.clone(), message: (&outgoing.message).into() }
    }
}

impl WireOutgoing {
    pub(super) fn into_outgoing(self) -> Result<Outgoing> {
        Ok(Outgoing { id: self.id, message: self.message.into_message()? })
    }
}

impl From<&Published> for WirePublished {
    fn from(published: &Published) -> Self {
        Self {
            stream: published.stream.as_str().to_owned(),
            sequence: published.sequence,
            duplicate: published.duplicate,
        }
    }
}

impl WirePublished {
    pub(super) fn into_published(self) -> Result<Published> {
        let stream = StreamName::try_new(&self.stream)?;
        Ok(Published { stream, sequence: self.sequence, duplicate: self.duplicate })
    }
}

impl From<&StoredDeadLetter> for WireDeadLetter {
    fn from(stored: &StoredDeadLetter) -> Self {
        Self { id: stored.id, stored_ms: millis(stored.stored), message: (&stored.message).into() }
    }
}

impl WireDeadLetter {
    pub(super) fn into_stored(self) -> Result<StoredDeadLetter> {
        let message = self.message.into_message()?;
        Ok(StoredDeadLetter { id: self.id, stored: from_millis(self.stored_ms), message })
    }
}

impl From<&Recorded> for WireRecorded {
    fn from(recorded: &Recorded) -> Self {
        Self { sequence: recorded.sequence, stored_ms: millis(recorded.stored), message: (&recorded.message).into() }
    }
}

impl WireRecorded {
    pub(super) fn into_recorded(self) -> Result<Recorded> {
        let message = self.message.into_message()?;
        Ok(Recorded { sequence: self.sequence, stored: from_millis(self.stored_ms), message })
    }
}

impl From<&Redrive> for WireRedrive {
    fn from(redrive: &Redrive) -> Self {
        Self {
            dead_letter: redrive.dead_letter,
            route: redrive.route.as_str().to_owned(),
            stream: redrive.origin.stream.as_str().to_owned(),
            sequence: redrive.origin.sequence,
            message: (&redrive.message).into(),
            stored_ms: millis(redrive.stored),
            redriven: redrive.redriven,
        }
    }
}

impl WireRedrive {
    pub(super) fn into_redrive(self) -> Result<Redrive> {
        Ok(Redrive {
            dead_letter: self.dead_letter,
            route: RouteName::try_new(&self.route)?,
            origin: Origin { stream: StreamName::try_new(&self.stream)?, sequence: self.sequence },
            message: self.message.into_message()?,
            stored: from_millis(self.stored_ms),
            redriven: self.redriven,
        })
    }
}

impl From<DeadLetterQuery> for Request {
    fn from(query: DeadLetterQuery) -> Self {
        let route = query.route.map(|route| route.as_str().to_owned());
        Request::DeadLetters { route, after: query.after, limit: query.limit }
    }
}

impl From<Backlog> for Answer {
    fn from(backlog: Backlog) -> Self {
        Answer::Backlog { undelivered: backlog.undelivered, in_flight: backlog.in_flight, parked: backlog.parked }
    }
}

impl From<BrokerError> for WireError {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Unavailable { reason, .. } => WireError::Unavailable(reason),
            BrokerError::Refused(text) => WireError::Refused(text),
            BrokerError::Incompatible(text) => WireError::Incompatible(text),
        }
    }
}

impl From<WireError> for BrokerError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Unavailable(reason) => BrokerError::Unavailable { broker: "the running host", reason },
            WireError::Refused(text) => BrokerError::Refused(text),
            WireError::Incompatible(text) => BrokerError::Incompatible(text),
        }
    }
}

impl From<StateEntry> for Answer {
    fn from(entry: StateEntry) -> Self {
        Answer::State(entry.value.as_deref().map(encode), entry.revision.0)
    }
}

pub(super) fn encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

pub(super) fn decode(text: &str) -> Result<Bytes> {
    Ok(Bytes::from(BASE64.decode(text).context("decoding a value")?))
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

fn from_millis(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}
