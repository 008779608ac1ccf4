//! The doors of the house: what the event path needs from a broker and from an engine.
//!
//! Each method says what is guaranteed on `Ok`, what may have happened on `Err`, and whether it may be cancelled or
//! repeated. `conformance` (a feature) is that text as code; it runs against every broker.
//!
//! A broker decides nothing. It turns these calls into its protocol and its errors into [`BrokerError`]. Work travels in
//! batches, because a task, a wake-up or a disk write per event costs more than the event itself (see
//! `docs/performance.md`).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::config::{RouteConfig, StreamConfig};
use crate::effect::Effects;
use crate::event::Event;
use crate::failure::{Failure, FailureKind};
use crate::grant::Grant;
use crate::limits::Limits;
use crate::message::Message;
use crate::name::{PluginName, RouteName, StreamName};
use crate::read_model::DocumentSession;
use crate::state::StateSession;
use crate::subject::{Subject, SubjectPattern};

// --- what passes through the doors -------------------------------------------------------------------------------------

/// Where the original message stands. It stays the same when the event comes back from a retry or a redrive, and every
/// deterministic id is made from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    pub stream: StreamName,
    pub sequence: u64,
}

/// The broker's handle for settling one delivery. Opaque to everybody else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Receipt(Arc<str>);

/// One attempt to process one message. Dropping it without settling is harmless: the broker delivers it again.
#[must_use = "a delivery that is not settled comes back"]
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The original message: subject, headers and payload as they were published.
    pub message: Message,
    pub origin: Origin,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// Whether an earlier delivery of this event may have been committed; then the marker is asked before the guest is
    /// called.
    pub redelivered: bool,
    /// When the original was stored in its stream.
    pub stored: SystemTime,
    /// When the first attempt failed, if one did and it is known.
    pub first_failure: Option<SystemTime>,
    /// How often the event was redriven from the dead letters.
    pub redriven: u32,
    pub receipt: Receipt,
}

/// A message to publish, with the id that makes publishing it twice the same as once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub id: String,
    pub message: Message,
}

/// Where a message was stored. `duplicate` is true when the id was known already and nothing new was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub stream: StreamName,
    pub sequence: u64,
    pub duplicate: bool,
}

/// The effects of one delivery and the delivery itself: what becomes durable together.
#[derive(Debug, Clone)]
pub struct Commit {
    pub route: RouteName,
    pub origin: Origin,
    pub receipt: Receipt,
    /// Shared, because a commit is kept until it is confirmed and may have to be repeated.
    pub emits: Arc<[Outgoing]>,
}

/// The commits of several deliveries whose handlers share one state space, and the state they leave behind.
#[derive(Debug, Clone)]
pub struct StateCommit {
    /// The plugin that owns the state.
    pub space: PluginName,
    pub commits: Vec<Commit>,
    /// Each key at most once, with the value after all commits of this batch.
    pub writes: Vec<StateWrite>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateWrite {
    pub key: String,
    /// `None` deletes.
    pub value: Option<Bytes>,
    /// The revision that the key must still have; `None` when the key was written without being read.
    pub expected: Option<Revision>,
}

/// The broker's version of one key. 0 means that the key has never been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Revision(pub u64);

/// A key's value and revision. A deleted key has no value and may have a revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StateEntry {
    pub value: Option<Bytes>,
    pub revision: Revision,
}

/// How a state commit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateCommitted {
    /// All of it is durable, the emits are published, the deliveries are settled. The new revisions, in the order of
    /// [`StateCommit::writes`].
    Done { revisions: Vec<Revision> },
    /// Nothing of this batch was written: a key had changed, or the commits with these indexes had been committed by an
    /// earlier attempt. Those are settled now, with the effects recorded then; the others must run again.
    Conflict { already_committed: Vec<usize> },
}

/// How much of a route's input is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Stored and not yet delivered.
    pub undelivered: u64,
    /// Delivered and not yet settled.
    pub in_flight: u64,
    /// Waiting for the time of their next attempt.
    pub parked: u64,
}

/// A dead letter as the broker keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDeadLetter {
    /// Increasing, never reused. What `tidemill dlq show` takes.
    pub id: u64,
    pub stored: SystemTime,
    /// Encoded by [`dead_letter`](crate::dead_letter).
    pub message: Message,
}

/// Which dead letters to list.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterQuery {
    pub route: Option<RouteName>,
    /// Only ids above this one.
    pub after: u64,
    /// At most so many.
    pub limit: usize,
}

/// An event that goes back to the route where it failed, and to no other.
#[derive(Debug, Clone)]
pub struct Redrive {
    /// The dead letter that is removed once the event is back.
    pub dead_letter: u64,
    pub route: RouteName,
    pub origin: Origin,
    /// The original message.
    pub message: Message,
    /// When the original was stored in its stream.
    pub stored: SystemTime,
    /// How often the event was redriven, this time included.
    pub redriven: u32,
}

/// What a [`Reader`] reads.
#[derive(Debug, Clone)]
pub struct ReadFrom {
    pub stream: StreamName,
    /// Disjoint, and part of the stream's subjects.
    pub subjects: Vec<SubjectPattern>,
    /// Begins with the first message after this sequence.
    pub after: u64,
}

/// A part of a stream, as a [`Reader`] gives it.
#[derive(Debug, Clone, Default)]
pub struct Stretch {
    pub messages: Vec<Recorded>,
    /// Everything up to this sequence has been given: at least the last message's, and the stream's last sequence where no
    /// message with a fitting subject is left, so that a reader of a rare subject is not behind.
    pub through: u64,
    /// The stream's last sequence, as far as it is known.
    pub last: u64,
}

/// A message where it is stored.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub sequence: u64,
    pub stored: SystemTime,
    pub message: Message,
}

/// The sequences that a stream holds. For an empty one `first` is `last + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamBounds {
    pub first: u64,
    pub last: u64,
}

/// What a broker answers when it does not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// It cannot be reached, or did not answer in time, or has no room. Trying again later may help; whether the call
    /// took effect is unknown.
    #[error("{broker} is unavailable: {reason}")]
    Unavailable { broker: &'static str, reason: String },
    /// It answered, and will never do this: too large, no stream for the subject. Nothing took effect.
    #[error("{0}")]
    Refused(String),
    /// Something of the same name exists with other settings, or the server is too old. Nothing was changed.
    #[error("{0}")]
    Incompatible(String),
}

// --- the broker -----------------------------------------------------------------------------------------------------------

/// What the command line needs of a broker, also of one that another process holds.
#[async_trait]
pub trait Admin: Send + Sync {
    /// Publishes, each message on its own. On `Ok` the message is durable. On `Unavailable` it may have been stored:
    /// publishing it again with the same id is safe within the stream's duplicate window. Results are in the order of
    /// the messages. Cancelling may leave some published.
    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<Published, BrokerError>>;

    /// Dead letters in the order of their ids.
    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<StoredDeadLetter>, BrokerError>;

    /// One dead letter.
    async fn dead_letter(&self, id: u64) -> Result<Option<StoredDeadLetter>, BrokerError>;

    /// Puts the original back in front of its route and then removes the dead letter. Repeating it after `Err` or a
    /// crash does not deliver the event twice. `false`: the dead letter was gone already.
    async fn redrive(&self, redrive: Redrive) -> Result<bool, BrokerError>;

    /// Removes a dead letter for good. `false`: it was gone already.
    async fn discard(&self, id: u64) -> Result<bool, BrokerError>;

    /// What of a route's input is not settled; zero for a route that never ran.
    async fn backlog(&self, route: &RouteConfig) -> Result<Backlog, BrokerError>;

    /// A key's current entry; what was committed before is seen.
    async fn state_get(&self, space: &PluginName, key: &str) -> Result<StateEntry, BrokerError>;

    /// The existing keys that begin with `prefix`, in byte order.
    async fn state_keys(&self, space: &PluginName, prefix: &str) -> Result<Vec<String>, BrokerError>;

    /// One message of a stream. `None`: there is no such message, not any more or not yet, or no such stream.
    async fn message(&self, stream: &StreamName, sequence: u64) -> Result<Option<Recorded>, BrokerError>;
}

/// A broker that this process drives.
#[async_trait]
pub trait Broker: Admin {
    /// A word for messages: `nats`, `embedded`.
    fn kind(&self) -> &'static str;

    /// Creates the streams that are missing and whatever the host keeps for itself; an existing one with other settings
    /// is refused with the difference (`Incompatible`), never changed. May be repeated.
    async fn provision(&self, streams: &[StreamConfig]) -> Result<(), BrokerError>;

    /// Opens a route's durable position, creating it at `route.start` when the route is new. May be repeated after
    /// `Err`; one process opens a route once.
    async fn open(&self, route: &RouteConfig) -> Result<Arc<dyn Source>, BrokerError>;

    /// Makes the effects of each delivery durable and settles the delivery. Each commit stands for itself: its emits are
    /// durable before its delivery is settled (or in the same transaction). On `Unavailable` any part may have happened;
    /// repeating the same commit completes it and doubles nothing. Not cancel-safe: run to completion.
    async fn commit(&self, commits: Vec<Commit>) -> Vec<Result<(), BrokerError>>;

    /// Writes the state and a marker for each delivery in one atomic step, then publishes the emits, then settles.
    /// On `Unavailable` any part may have happened; repeating the same batch completes it. On `Refused` nothing
    /// happened. Not cancel-safe: run to completion.
    async fn commit_state(&self, batch: StateCommit) -> Result<StateCommitted, BrokerError>;

    /// For a delivery that may have been committed before: if its marker is there, publishes the recorded emits again
    /// under the same ids, settles the delivery and answers `true`. The guest must not be called then.
    async fn settle_committed(&self, space: &PluginName, commit: &Commit) -> Result<bool, BrokerError>;

    /// Opens a reader of a stream, bound to no durable position: for projections, which keep their position with what they
    /// write. Opening costs a round trip; nothing is created that outlives the reader for long.
    async fn read(&self, from: ReadFrom) -> Result<Box<dyn Reader>, BrokerError>;

    /// The sequences of the messages that a stream holds.
    async fn bounds(&self, stream: &StreamName) -> Result<StreamBounds, BrokerError>;

    /// Stores the dead letter of an event that was read, once, however often this is called for its origin.
    async fn dead_letter_read(&self, origin: &Origin, subject: &Subject, record: Message) -> Result<(), BrokerError>;

    /// Ends the connection after everything that was settled has reached the broker.
    async fn close(&self) -> Result<(), BrokerError>;
}

/// The input of one route.
#[async_trait]
pub trait Source: Send + Sync {
    /// Between 0 and `max` deliveries; waits up to about a second for the first. Never more than `max` at once: what is
    /// not asked for stays in the broker. Cancel-safe: what was pulled and not returned comes back.
    async fn pull(&self, max: usize) -> Result<Vec<Delivery>, BrokerError>;

    /// How long a delivery may stay unsettled before the broker delivers it again. The host says "in progress" every
    /// third of it. `None`: for ever, as long as the process lives.
    fn ack_wait(&self) -> Option<Duration>;

    /// Retry delays above this are parked in the broker, shorter ones are waited for in the host. Zero: parking is
    /// cheap and keeps the attempt count over a crash.
    fn hold_limit(&self) -> Duration;

    /// Restarts the acknowledgement wait of the deliveries. May be repeated.
    async fn in_progress(&self, receipts: &[Receipt]) -> Result<(), BrokerError>;

    /// Stores the delivery to come back as attempt `attempt` after the delay, then settles it. Durable on `Ok`.
    /// Repeating it after `Err` does not make it come back twice. `first_failure` comes back with it. What has come back
    /// may be parked again under the same attempt: a fault of the host costs none.
    async fn park(
        &self,
        delivery: &Delivery,
        attempt: u32,
        after: Duration,
        first_failure: SystemTime,
    ) -> Result<(), BrokerError>;

    /// Stores the dead letter (once, however often this is called for the delivery's origin) and only then removes the
    /// delivery from the route's input. Not cancel-safe: run to completion.
    async fn dead_letter(&self, delivery: &Delivery, record: Message) -> Result<(), BrokerError>;

    /// Gives deliveries back unprocessed, to be delivered again soon; best effort. The pipeline does not use it yet: what is
    /// late at shutdown waits for `ack_wait`, or for the next start.
    async fn release(&self, deliveries: &[Delivery]) -> Result<(), BrokerError>;
}

/// Messages of one stream in strict order.
#[async_trait]
pub trait Reader: Send {
    /// The next stretch, at most `max` messages; waits up to about a second for the first. Every message of the stream with
    /// a fitting subject is given once, in the order of the sequences, none is left out that the stream still holds. After
    /// `Err` the reader goes on where it was as soon as it can, and errs until then. `Incompatible`: it never can, because the
    /// stream was removed and made anew; what it holds now is not what was read. Cancel-safe: what was fetched and not returned
    /// is given by the next call.
    async fn next(&mut self, max: usize) -> Result<Stretch, BrokerError>;
}

// --- the engine -----------------------------------------------------------------------------------------------------------

/// Something that handles events: a Wasm component, or a closure in tests.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Handles one event. On `Ok` the effects are what the handler wants; none of them has happened. On `Err` nothing
    /// has happened. May be dropped at any await; then the instance is thrown away.
    async fn handle(&self, call: Call<'_>) -> Result<Effects, Failure>;

    /// The build that would handle the next event, for dead letters: `sha256:…`.
    fn digest(&self) -> String;

    /// Whether the plugin can touch state at all. If not, its commits need no marker.
    fn uses_state(&self) -> bool;

    /// Answers a question about a read model. Of a plugin that does not export `query` the failure is a `Rejected`.
    async fn query(&self, question: Question<'_>) -> Result<Bytes, Failure> {
        let text = format!("there is no query `{}`: the plugin does not export `query`", question.name);
        Err(Failure::new(FailureKind::Rejected, text))
    }

    /// How many of its instances were replaced because their memory was nearly full.
    fn outgrown(&self) -> u64 {
        0
    }
}

/// One call of a handler.
pub struct Call<'a> {
    pub event: &'a Event,
    pub route: &'a Arc<CallSettings>,
    pub attempt: u32,
    pub origin: &'a Origin,
    /// The state as this call sees it; given exactly when [`Handler::uses_state`].
    pub state: Option<StateSession>,
    /// The read model as this event sees it; given exactly to projections.
    pub documents: Option<DocumentSession>,
}

/// A question that the query API cannot answer, for a projection that exports `query`.
pub struct Question<'a> {
    pub projection: &'a Arc<CallSettings>,
    pub name: &'a str,
    /// A JSON object.
    pub params: &'a [u8],
    /// Reads the active copy, writes nothing.
    pub documents: DocumentSession,
}

/// What a plugin is called for: whether it must be a handler or a projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    Handler,
    Projection,
}

/// What is the same for all calls of one route.
#[derive(Debug, Clone)]
pub struct CallSettings {
    pub route: RouteName,
    pub plugin: PluginName,
    pub max_attempts: u32,
    /// Wall time of one call.
    pub timeout: Duration,
    pub grant: Grant,
    pub limits: Limits,
}

// === impl Receipt ===

impl Receipt {
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl Origin ===

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.stream, self.sequence)
    }
}

// === impl Backlog ===

impl Backlog {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
