//! A plugin's keyed state: one message per key, its stream sequence is the revision.
//!
//! Everything that one group commit changes, the markers included, is **one atomic batch**: the server stores all of it
//! or nothing. Each key carries the revision it must still have, each marker that it must not exist yet, so a second
//! host, a second attempt and a repeated batch all end in the same refusal, and the markers tell which it was.
//!
//! A deleted key is a message with a tombstone header. It keeps the revision, so that somebody who read the key before
//! it was deleted cannot overwrite what was written after; it goes by itself after [`KEPT`].
//!
//! Markers go by themselves too. That must be later than any redelivery of their event: a delivery that was committed is
//! acknowledged at once, and only if that acknowledgement is lost does it come again, after `ack_wait`.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_nats::Subject;
use async_nats::header::NATS_BATCH_ID;
use bytes::{Bytes, BytesMut};
use tidemill_core::name::PluginName;
use tidemill_core::port::{BrokerError, Commit, Revision, StateCommit, StateEntry, StateWrite};
use tokio::sync::Mutex;

use crate::connection::{Connection, Patience};
use crate::error::{NatsError, unavailable};
use crate::marker::{CommitId, Marker};
use crate::provision;
use crate::publisher::read_ack;
use crate::stored::{self, Scan, Stored};
use crate::subjects;
use crate::wire::{HeaderBlock, Outbound};

const TOMBSTONE: &str = "Tidemill-Nats-Deleted";
/// How long markers and tombstones are kept.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// The server's limit.
const MAX_BATCH_MESSAGES: usize = 1000;
/// Room for the batch's headers and the subject.
const BATCH_HEADERS: usize = 2048;
/// A batch whose answer is missing is looked for and sent again so often.
const ATTEMPTS: usize = 3;

/// The state streams of one server.
pub(crate) struct StateStore {
    connection: Arc<Connection>,
    replicas: usize,
    /// Spaces whose stream is known to stand.
    ready: Mutex<HashSet<PluginName>>,
}

/// How an atomic batch ended.
pub(crate) enum Written {
    Done {
        revisions: Vec<Revision>,
    },
    /// Nothing was written: a revision or a marker was not as expected. The markers that were found, in the order of the
    /// commits.
    Refused {
        markers: Vec<Option<Marker>>,
    },
}

/// The messages of one atomic batch: first the keys, then the markers.
struct Batch {
    stream: String,
    messages: Vec<BatchMessage>,
    /// How many of the messages are keys.
    keys: usize,
}

struct BatchMessage {
    subject: String,
    expected: Option<u64>,
    deleted: bool,
    expires: bool,
    payload: Bytes,
}

enum Sent {
    /// The sequence of the batch's last message.
    Stored(u64),
    /// Something was not as expected.
    Unexpected,
    /// Perhaps it is stored, perhaps not; or certainly not, and it may be tried again.
    Unknown(NatsError),
}

// === impl StateStore ===

impl StateStore {
    pub(crate) fn new(connection: Arc<Connection>, replicas: usize) -> Self {
        Self { connection, replicas, ready: Mutex::new(HashSet::new()) }
    }

    async fn ready(&self, space: &PluginName) -> Result<(), BrokerError> {
        let mut ready = self.ready.lock().await;
        if !ready.contains(space) {
            let wanted = provision::state(space, self.replicas);
            provision::ensure(&self.connection, &wanted, "Tidemill needs").await?;
            ready.insert(space.clone());
        }
        Ok(())
    }

    /// Whether anything was ever written. To look must not create what is looked into.
    async fn is_there(&self, space: &PluginName) -> Result<bool, BrokerError> {
        if !self.ready.lock().await.contains(space)
            && provision::info(&self.connection, &subjects::state_stream(space)).await?.is_none()
        {
            return Ok(false);
        }
        // It exists; this makes sure that it is as it must be.
        self.ready(space).await?;
        Ok(true)
    }

    async fn last(&self, stream: &str, subjects: &[String]) -> Result<Vec<Option<Stored>>, NatsError> {
        if self.replicas == 1 {
            stored::last_direct(&self.connection, stream, subjects).await
        } else {
            stored::last_of_leader(&self.connection, stream, subjects).await
        }
    }

    pub(crate) async fn get(&self, space: &PluginName, key: &str) -> Result<StateEntry, BrokerError> {
        if !self.is_there(space).await? {
            return Ok(StateEntry::default());
        }
        let subject = subjects::state_key(space, key);
        let mut found = self.last(&subjects::state_stream(space), std::slice::from_ref(&subject)).await?;
        Ok(match found.pop().flatten() {
            None => StateEntry::default(),
            Some(stored) => StateEntry {
                revision: Revision(stored.sequence),
                value: stored.headers.get(TOMBSTONE).is_none().then_some(stored.payload),
            },
        })
    }

    pub(crate) async fn keys(&self, space: &PluginName, prefix: &str) -> Result<Vec<String>, BrokerError> {
        if !self.is_there(space).await? {
            return Ok(Vec::new());
        }
        let mut keys = BTreeSet::new();
        let (stream, filter) = (subjects::state_stream(space), subjects::state_keys(space));
        let scan = Scan { stream: &stream, filter: &filter, after: 0, headers_only: true };
        stored::scan(&self.connection, scan, |stored| {
            if let Some(key) = subjects::key_of(space, &stored.subject).filter(|key| key.starts_with(prefix)) {
                // A key may change while it is read; what comes later counts.
                match stored.headers.get(TOMBSTONE) {
                    None => keys.insert(key),
                    Some(_) => keys.remove(&key),
                };
            }
            true
        })
        .await?;
        Ok(keys.into_iter().collect())
    }

    /// The markers of these commits, where they exist.
    pub(crate) async fn markers(
        &self,
        space: &PluginName,
        commits: &[Commit],
    ) -> Result<Vec<Option<Marker>>, BrokerError> {
        self.ready(space).await?;
        Ok(self
            .stored_markers(space, commits)
            .await?
            .into_iter()
            .map(|found| found.map(|(_, marker)| marker))
            .collect())
    }

    async fn stored_markers(
        &self,
        space: &PluginName,
        commits: &[Commit],
    ) -> Result<Vec<Option<(u64, Marker)>>, BrokerError> {
        let stream = subjects::state_stream(space);
        let subjects: Vec<String> = commits.iter().map(|commit| subjects::marker(space, commit, 0)).collect();
        let mut markers = Vec::with_capacity(commits.len());
        for (first, commit) in self.last(&stream, &subjects).await?.into_iter().zip(commits) {
            markers.push(match first {
                Some(first) => Some((first.sequence, self.read_marker(space, commit, first).await?)),
                None => None,
            });
        }
        Ok(markers)
    }

    async fn read_marker(&self, space: &PluginName, commit: &Commit, first: Stored) -> Result<Marker, BrokerError> {
        let damaged = |reason: String| {
            BrokerError::Incompatible(format!("the marker `{}` cannot be read: {reason}", first.subject))
        };
        let parts = Marker::parts(&first.payload).map_err(|error| damaged(error.to_string()))?;
        let rest: Vec<String> = (1..parts).map(|part| subjects::marker(space, commit, part)).collect();
        let mut whole = BytesMut::from(first.payload.as_ref());
        if !rest.is_empty() {
            for part in self.last(&subjects::state_stream(space), &rest).await? {
                let part = part.ok_or_else(|| damaged("a part is missing".to_owned()))?;
                whole.extend_from_slice(&part.payload);
            }
        }
        Marker::decode(&whole.freeze()).map_err(|error| damaged(error.to_string()))
    }

    /// Writes the keys and the markers, all or nothing.
    pub(crate) async fn write(&self, batch: &StateCommit) -> Result<Written, BrokerError> {
        let commit_id: CommitId = fastrand::u128(..).to_be_bytes();
        let messages = self.batch(batch, commit_id)?;
        self.ready(&batch.space).await?;
        let mut problem = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            match self.send(&messages).await? {
                Sent::Stored(last) => return Ok(Written::Done { revisions: messages.revisions_before(last) }),
                Sent::Unexpected => return self.why(batch, commit_id, &messages).await,
                Sent::Unknown(error) => problem = Some(error),
            }
        }
        Err(problem.map_or_else(|| unavailable("the state was not written"), BrokerError::from))
    }

    fn batch(&self, batch: &StateCommit, commit_id: CommitId) -> Result<Batch, BrokerError> {
        let space = &batch.space;
        let mut messages: Vec<BatchMessage> = batch.writes.iter().map(|write| key_message(space, write)).collect();
        let keys = messages.len();
        let part_size = self.connection.max_payload().saturating_sub(BATCH_HEADERS);
        for commit in &batch.commits {
            let parts = Marker::encode(commit_id, &commit.emits, part_size).ok_or_else(|| {
                BrokerError::Refused(format!("the emits of {} are too large to be recorded", commit.origin))
            })?;
            messages.extend(parts.into_iter().enumerate().map(|(part, payload)| BatchMessage {
                subject: subjects::marker(space, commit, part),
                expected: Some(0),
                deleted: false,
                expires: true,
                payload,
            }));
        }
        if messages.len() > MAX_BATCH_MESSAGES {
            return Err(BrokerError::Refused(format!(
                "a state commit takes {MAX_BATCH_MESSAGES} keys and events at most, this one has {}",
                messages.len()
            )));
        }
        if let Some(large) = messages.iter().find(|message| message.payload.len() > part_size) {
            return Err(BrokerError::Refused(format!(
                "a state value has {} bytes; the server takes {part_size} (its `max_payload` without headers)",
                large.payload.len()
            )));
        }
        Ok(Batch { stream: subjects::state_stream(space), messages, keys })
    }

    /// Sends the batch once. Only its last message is answered.
    async fn send(&self, batch: &Batch) -> Result<Sent, BrokerError> {
        let Some(last) = batch.messages.len().checked_sub(1) else { return Ok(Sent::Stored(0)) };
        let id = format!("{:032x}", fastrand::u128(..));
        let what = || format!("writing {} messages to the stream `{}`", last + 1, batch.stream);
        if !self.connection.up(tokio::time::Instant::now() + Patience::ONCE.total).await {
            return Ok(Sent::Unknown(NatsError::Silent { what: what(), seconds: Patience::ONCE.total.as_secs() }));
        }
        for (index, message) in batch.messages[..last].iter().enumerate() {
            self.connection.send_outbound(message.outbound(&id, index, false)).await?;
        }
        let commit = || batch.messages[last].outbound(&id, last, true);
        let answer = match self.connection.request(&what(), commit, Patience::ONCE).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Sent::Unknown(error)),
        };
        match read_ack(&what, &answer) {
            Ok(ack) => Ok(Sent::Stored(ack.sequence)),
            Err(NatsError::Api { error, .. }) if error.is_wrong_last_sequence() => Ok(Sent::Unexpected),
            Err(NatsError::Api { what, error }) if !error.may_pass() => Err(NatsError::Api { what, error }.into()),
            Err(error) => Ok(Sent::Unknown(error)),
        }
    }

    /// After a refusal: ours (an earlier sending of this very call arrived after all), or somebody else's.
    async fn why(&self, batch: &StateCommit, commit_id: CommitId, messages: &Batch) -> Result<Written, BrokerError> {
        let found = self.stored_markers(&batch.space, &batch.commits).await?;
        let ours = found.first().and_then(Option::as_ref).filter(|(_, marker)| marker.commit == commit_id);
        if let Some((sequence, _)) = ours {
            // The first marker stands right behind the keys.
            return Ok(Written::Done { revisions: messages.revisions_below(*sequence) });
        }
        Ok(Written::Refused { markers: found.into_iter().map(|found| found.map(|(_, marker)| marker)).collect() })
    }
}

fn key_message(space: &PluginName, write: &StateWrite) -> BatchMessage {
    BatchMessage {
        subject: subjects::state_key(space, &write.key),
        expected: write.expected.map(|revision| revision.0),
        deleted: write.value.is_none(),
        expires: write.value.is_none(),
        payload: write.value.clone().unwrap_or_default(),
    }
}

// === impl Batch ===

impl Batch {
    /// The messages of a batch have consecutive sequences, the last of which is `last`.
    fn revisions_before(&self, last: u64) -> Vec<Revision> {
        self.revisions_below(last + 1 - (self.messages.len() - self.keys) as u64)
    }

    /// The revisions of the keys when `next` is the sequence of the message behind them.
    fn revisions_below(&self, next: u64) -> Vec<Revision> {
        (0..self.keys as u64).map(|index| Revision(next - self.keys as u64 + index)).collect()
    }
}

// === impl BatchMessage ===

impl BatchMessage {
    fn outbound(&self, batch: &str, index: usize, last: bool) -> Outbound {
        let mut headers = HeaderBlock::new(NATS_BATCH_ID, batch, 160);
        headers.push_number("Nats-Batch-Sequence", index as u64 + 1);
        if let Some(expected) = self.expected {
            headers.push_number("Nats-Expected-Last-Subject-Sequence", expected);
        }
        if self.deleted {
            headers.push(TOMBSTONE, "1");
        }
        if self.expires {
            headers.push("Nats-TTL", &format!("{}s", KEPT.as_secs()));
        }
        if last {
            headers.push("Nats-Batch-Commit", "1");
        }
        Outbound {
            subject: Subject::from(self.subject.as_str()),
            headers: Some(headers),
            payload: self.payload.clone(),
        }
    }
}
