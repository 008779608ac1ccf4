//! Dead letters: stored once per event, browsed, redriven, discarded.
//!
//! JetStream has no dead letters of its own. A record goes to the subject `<dead_letter>.<stream>.<sequence>` with the
//! expectation that nothing is there, so storing it again after a crash is refused, and that refusal is success. After a
//! redrive the same event may die a second time while its first record is still there: a record with a lower redrive
//! count is replaced, not taken for the same. And after a stream was removed and made anew another event has the old
//! one's sequence: the record says when its original was stored, and one of another event stays beside the new one.
//!
//! All routes share the stream `TIDEMILL_DLQ`, unless another stream captures a route's `dead_letter` subject; that one
//! is used then, and remembered in the metadata of `TIDEMILL_DLQ`, so that the command line finds it. An id is the
//! stream's place in that list (16 bits) and the sequence in it (48 bits): increasing in each stream, never reused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_nats::Subject as WireSubject;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_EXPECTED_STREAM};
use bytes::Bytes;
use serde_json::{Value, json};
use tidemill_core::config::RouteConfig;
use tidemill_core::dead_letter::DeadLetter;
use tidemill_core::message::Message;
use tidemill_core::name::{RouteName, StreamName};
use tidemill_core::port::{BrokerError, DeadLetterQuery, Delivery, Origin, StoredDeadLetter};
use tidemill_core::subject::{Subject, SubjectPattern};

use crate::connection::{Connection, Patience};
use crate::error::{NatsError, unavailable};
use crate::provision::{self, texts};
use crate::publisher::{Publisher, is_no_responders, read_ack};
use crate::repack::{Again, pack, unpack};
use crate::retry::STORED;
use crate::settings::Settings;
use crate::stored::{self, Scan, Stored};
use crate::subjects;
use crate::turn::Turn;
use crate::wire::{HeaderBlock, Outbound, rfc3339};

const ROUTE: &str = "Tidemill-Nats-Route";
const REDRIVEN: &str = "Tidemill-Nats-Redriven";
/// Where `TIDEMILL_DLQ` remembers which other streams hold dead letters.
const OTHER_STREAMS: &str = "tidemill.dead_letter_streams";
const SEQUENCE_BITS: u32 = 48;
/// Whoever changes the same thing at the same time is given way to so often.
const ATTEMPTS: u32 = 20;
/// So often no stream may take a dead letter before that is an error.
const MOST_UNHEARD: u32 = 4;
/// Streams answer a moment late after a server's start.
const NOBODY_PAUSE: Duration = Duration::from_millis(250);
/// A name that no stream has.
const NO_STREAM: &str = "-";
/// Room for what is added to a record.
const OWN_HEADERS: usize = 256;

/// Whose dead letters they are, and where they go.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    /// A route or a projection.
    pub(crate) name: RouteName,
    pub(crate) prefix: Subject,
    /// The stream that it reads.
    pub(crate) reads: StreamName,
}

/// One that shall be stored.
pub(crate) struct Burial<'a> {
    pub(crate) record: &'a Message,
    pub(crate) origin: &'a Origin,
    /// When the original was stored.
    pub(crate) stored: SystemTime,
    pub(crate) redriven: u32,
    /// Whether the record's payload is the original's.
    pub(crate) of_original: bool,
}

/// The dead letters of all routes on one server.
pub(crate) struct DeadLetters {
    connection: Arc<Connection>,
    publisher: Arc<Publisher>,
    replicas: usize,
    /// Which route or projection of this process writes below which subject.
    prefixes: Mutex<HashMap<Subject, RouteName>>,
    /// Which stream captures the dead letters of what is read without a route, once that is known.
    captured: Mutex<HashMap<Subject, String>>,
}

// === impl Owner ===

impl Owner {
    pub(crate) fn of(route: &RouteConfig) -> Self {
        Self { name: route.name.clone(), prefix: route.dead_letter.clone(), reads: route.stream.clone() }
    }
}

// === impl Burial ===

impl<'a> Burial<'a> {
    pub(crate) fn of(delivery: &'a Delivery, record: &'a Message) -> Self {
        Self {
            record,
            origin: &delivery.origin,
            stored: delivery.stored,
            redriven: delivery.redriven,
            of_original: record.payload == delivery.message.payload,
        }
    }
}

// === impl DeadLetters ===

impl DeadLetters {
    pub(crate) fn new(connection: Arc<Connection>, publisher: Arc<Publisher>, replicas: usize) -> Self {
        Self { connection, publisher, replicas, prefixes: Mutex::default(), captured: Mutex::default() }
    }

    // --- where they go ---

    /// Makes sure that some stream captures the owner's dead letters, and says which.
    pub(crate) async fn prepare(&self, owner: &Owner) -> Result<String, BrokerError> {
        self.claim(owner)?;
        let pattern = SubjectPattern::try_new(&format!("{}.>", owner.prefix))
            .map_err(|error| BrokerError::Refused(format!("the dead letters of `{}`: {error}", owner.name)))?;
        if let Some(stream) = self.captured_by(owner, &pattern).await? {
            return Ok(stream);
        }
        let turn = Turn::take(&self.connection).await?;
        let captured = self.capture(owner, &pattern).await;
        turn.give_back().await;
        captured
    }

    /// The stream that captures the pattern and is known to the command line; `None` if something has to be changed first.
    async fn captured_by(&self, owner: &Owner, pattern: &SubjectPattern) -> Result<Option<String>, BrokerError> {
        let settings = self.stream().await?;
        let streams = self.publisher.capturing_streams(pattern.as_str()).await?;
        if let Some(other) = streams.into_iter().find(|stream| stream != subjects::DEAD_LETTER_STREAM) {
            self.check_other(owner, pattern, &other).await?;
            return Ok(other_streams(&settings).contains(&other).then_some(other));
        }
        let captured = texts(&settings, "subjects").iter().any(|text| covers(text, pattern));
        Ok(captured.then(|| subjects::DEAD_LETTER_STREAM.to_owned()))
    }

    /// Changes what has to be changed, while it is this host's turn. More than once only if somebody takes no turns.
    async fn capture(&self, owner: &Owner, pattern: &SubjectPattern) -> Result<String, BrokerError> {
        for _ in 0..ATTEMPTS {
            if let Some(stream) = self.captured_by(owner, pattern).await? {
                return Ok(stream);
            }
            let streams = self.publisher.capturing_streams(pattern.as_str()).await?;
            match streams.into_iter().find(|stream| stream != subjects::DEAD_LETTER_STREAM) {
                Some(other) => self.remember_other(&other).await?,
                None => self.add(pattern).await?,
            }
        }
        Err(unavailable(format!("`{pattern}` could not be added to the stream `{}`", subjects::DEAD_LETTER_STREAM)))
    }

    /// Two routes that write to the same place would take each other's dead letters for their own.
    fn claim(&self, owner: &Owner) -> Result<(), BrokerError> {
        let mut prefixes = self.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        let other = prefixes.entry(owner.prefix.clone()).or_insert_with(|| owner.name.clone());
        if *other == owner.name {
            return Ok(());
        }
        Err(BrokerError::Incompatible(format!(
            "the routes `{other}` and `{}` have the same `dead_letter` subject `{}`; give each its own",
            owner.name, owner.prefix
        )))
    }

    async fn add(&self, pattern: &SubjectPattern) -> Result<(), BrokerError> {
        let found = self.stream().await?;
        let mut captured: Vec<String> = texts(&found, "subjects");
        captured.retain(|text| SubjectPattern::try_new(text).is_ok_and(|known| !pattern.covers(&known)));
        captured.push(pattern.to_string());
        Ok(provision::set_subjects(&self.connection, found, &captured).await?)
    }

    /// For a message that no stream takes although `TIDEMILL_DLQ` lists its subject: takes the subject from the list and
    /// puts it there again, so that the server listens to it.
    async fn list_anew(&self, subject: &Subject) -> Result<(), BrokerError> {
        let turn = Turn::take(&self.connection).await?;
        let listed = self.list_anew_in_turn(subject).await;
        turn.give_back().await;
        listed
    }

    async fn list_anew_in_turn(&self, subject: &Subject) -> Result<(), BrokerError> {
        // Whoever had the turn before may have done it.
        if self.is_taken(subject).await? {
            return Ok(());
        }
        let found = self.stream().await?;
        let all = texts(&found, "subjects");
        let captures =
            |text: &String| SubjectPattern::try_new(text).is_ok_and(|pattern| pattern.matches(subject.as_str()));
        let others: Vec<String> = all.iter().filter(|text| !captures(text)).cloned().collect();
        if others.len() < all.len() {
            tracing::warn!(
                subject = subject.as_str(),
                "The server lists the subject of dead letters and does not take them; it is told again"
            );
            provision::set_subjects(&self.connection, found.clone(), &others).await?;
            provision::set_subjects(&self.connection, found, &all).await?;
        }
        Ok(())
    }

    /// Whether some stream takes messages with this subject. Asked with a message that none stores.
    async fn is_taken(&self, subject: &Subject) -> Result<bool, NatsError> {
        let question = || Outbound {
            subject: WireSubject::from(subject.as_str()),
            headers: Some(HeaderBlock::new(NATS_EXPECTED_STREAM, NO_STREAM, 0)),
            payload: Bytes::new(),
        };
        let what = format!("asking whether a stream takes `{subject}`");
        Ok(!is_no_responders(&self.connection.request(&what, question, Patience::API).await?))
    }

    pub(crate) async fn stream(&self) -> Result<Settings, BrokerError> {
        provision::ensure(&self.connection, &provision::dead_letters(self.replicas), "Tidemill needs").await
    }

    async fn check_other(&self, owner: &Owner, pattern: &SubjectPattern, stream: &str) -> Result<(), BrokerError> {
        let refused = |why: &str| {
            BrokerError::Incompatible(format!(
                "the dead letters of the route `{}` (`{pattern}`) fall into the stream `{stream}`, {why}; choose another \
                 `dead_letter` subject, or change the stream",
                owner.name
            ))
        };
        if stream == owner.reads.as_str() {
            return Err(refused("which the route itself reads"));
        }
        let Some(settings) = provision::info(&self.connection, stream).await? else { return Ok(()) };
        if !texts(&settings, "subjects").iter().any(|text| covers(text, pattern)) {
            return Err(refused("which captures only a part of them"));
        }
        if settings.get("retention").and_then(Value::as_str) != Some("limits") {
            return Err(refused("whose retention is not `limits`: they could not be browsed"));
        }
        if settings.get("deny_delete").and_then(Value::as_bool) == Some(true) {
            return Err(refused("which does not allow to delete: they could not be redriven"));
        }
        Ok(())
    }

    /// Puts another stream on the list of those that hold dead letters.
    async fn remember_other(&self, stream: &str) -> Result<(), BrokerError> {
        let mut settings = self.stream().await?;
        let mut others = other_streams(&settings);
        if others.iter().any(|known| known == stream) {
            return Ok(());
        }
        others.push(stream.to_owned());
        let metadata = settings.entry("metadata").or_insert_with(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert(OTHER_STREAMS.to_owned(), json!(others.join(",")));
        }
        let captured = texts(&settings, "subjects");
        Ok(provision::set_subjects(&self.connection, settings, &captured).await?)
    }

    /// All streams with dead letters, in the order of their ids.
    async fn streams(&self) -> Result<Vec<String>, BrokerError> {
        let Some(settings) = provision::info(&self.connection, subjects::DEAD_LETTER_STREAM).await? else {
            return Ok(Vec::new());
        };
        let mut streams = vec![subjects::DEAD_LETTER_STREAM.to_owned()];
        streams.extend(other_streams(&settings));
        Ok(streams)
    }

    // --- storing ---

    /// Stores the record of an event that was read without a route, unless one of this very event is there.
    pub(crate) async fn store_read(
        &self,
        origin: &Origin,
        prefix: &Subject,
        record: &Message,
    ) -> Result<(), BrokerError> {
        let letter = DeadLetter::decode(record).map_err(|error| BrokerError::Refused(error.to_string()))?;
        let owner = Owner { name: letter.route, prefix: prefix.clone(), reads: origin.stream.clone() };
        let known = self.captured.lock().unwrap_or_else(PoisonError::into_inner).get(prefix).cloned();
        let stream = match known {
            Some(stream) => stream,
            None => {
                let stream = self.prepare(&owner).await?;
                let mut captured = self.captured.lock().unwrap_or_else(PoisonError::into_inner);
                captured.insert(prefix.clone(), stream.clone());
                stream
            }
        };
        let burial = Burial { record, origin, stored: letter.stored, redriven: letter.redriven, of_original: true };
        self.store(&owner, &stream, &burial).await
    }

    /// Stores the record unless one of this very event is there. Durable on `Ok`; may be repeated.
    pub(crate) async fn store(&self, owner: &Owner, stream: &str, burial: &Burial<'_>) -> Result<(), BrokerError> {
        let &Burial { record, redriven, .. } = burial;
        let original_stored = rfc3339(burial.stored);
        let mut expected = 0;
        let mut served = None;
        let mut unheard = 0;
        for _ in 0..ATTEMPTS {
            match self.publish(owner, burial, expected).await {
                Ok(()) => {
                    if let Some(served) = served {
                        stored::delete(&self.connection, stream, served).await?;
                    }
                    return Ok(());
                }
                Err(error @ NatsError::NoResponders { .. }) => {
                    unheard += 1;
                    match unheard {
                        // The server may just have started, or somebody has taken the subject from the list.
                        1 => {
                            tokio::time::sleep(NOBODY_PAUSE).await;
                            drop(self.prepare(owner).await?);
                        }
                        2..=MOST_UNHEARD => self.list_anew(&record.subject).await?,
                        _ => return Err(error.into()),
                    }
                }
                Err(NatsError::Api { error, .. }) if error.is_wrong_last_sequence() => {
                    let subject = record.subject.to_string();
                    let there = stored::last_of_leader(&self.connection, stream, &[subject]).await?.pop().flatten();
                    let same =
                        there.as_ref().filter(|there| there.headers.get(STORED) == Some(original_stored.as_str()));
                    if same.is_some_and(|same| redriven_of(same) >= redriven) {
                        return Ok(());
                    }
                    // The event came back by a redrive and died again: the old record has served.
                    served = same.map(|same| same.sequence);
                    expected = there.map_or(0, |there| there.sequence);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(unavailable(format!("others keep changing the dead letter `{}`", record.subject)))
    }

    async fn publish(&self, owner: &Owner, burial: &Burial<'_>, expected: u64) -> Result<(), NatsError> {
        let &Burial { record, origin, stored, redriven, of_original } = burial;
        let mut headers = HeaderBlock::new(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, &expected.to_string(), OWN_HEADERS);
        headers.push(ROUTE, owner.name.as_str());
        headers.push_number(REDRIVEN, u64::from(redriven));
        headers.push(STORED, &rfc3339(stored));
        let again = Again { message: record, origin: of_original.then_some(origin), stays: is_of_the_record };
        let payload = pack(&mut headers, &again, self.connection.max_payload())?;
        let question = || Outbound {
            subject: WireSubject::from(record.subject.as_str()),
            headers: Some(headers.clone()),
            payload: payload.clone(),
        };
        let what = || format!("publishing the dead letter `{}`", record.subject);
        let answer = self.connection.request(&what(), question, Patience::PUBLISH).await?;
        if is_no_responders(&answer) {
            return Err(NatsError::NoResponders { subject: record.subject.to_string() });
        }
        read_ack(&what, &answer).map(|_| ())
    }

    // --- browsing ---

    pub(crate) async fn list(&self, query: &DeadLetterQuery) -> Result<Vec<StoredDeadLetter>, BrokerError> {
        let mut letters = Vec::new();
        for (place, stream) in self.streams().await?.iter().enumerate() {
            let first = id_of(place, 0);
            if query.after >= id_of(place + 1, 0) || letters.len() >= query.limit {
                continue;
            }
            let mut found = Vec::new();
            let scan = Scan { stream, filter: ">", after: query.after.saturating_sub(first), headers_only: false };
            stored::scan(&self.connection, scan, |stored| {
                let of = stored.headers.get(ROUTE);
                let asked = of.is_some() && query.route.as_ref().is_none_or(|route| of == Some(route.as_str()));
                if asked {
                    found.push(stored);
                }
                letters.len() + found.len() < query.limit
            })
            .await?;
            for stored in found {
                letters.extend(self.letter(place, stored).await?);
            }
        }
        Ok(letters)
    }

    pub(crate) async fn get(&self, id: u64) -> Result<Option<StoredDeadLetter>, BrokerError> {
        let Some((place, stream, sequence)) = self.locate(id).await? else { return Ok(None) };
        match stored::by_sequence(&self.connection, &stream, sequence).await? {
            Some(stored) => self.letter(place, stored).await,
            None => Ok(None),
        }
    }

    /// `None` for a message that is no dead letter of ours: a shared stream may hold others.
    async fn letter(&self, place: usize, stored: Stored) -> Result<Option<StoredDeadLetter>, BrokerError> {
        let subject = stored.headers.get(ROUTE).and_then(|_| Subject::try_new(&stored.subject).ok());
        let Some(subject) = subject else { return Ok(None) };
        let (headers, payload) = unpack(&self.connection, &stored.headers, stored.payload).await?;
        let message = Message { subject, headers, payload };
        Ok(Some(StoredDeadLetter { id: id_of(place, stored.sequence), stored: stored.time, message }))
    }

    /// `false`: it was gone.
    pub(crate) async fn discard(&self, id: u64) -> Result<bool, BrokerError> {
        // Only what is a dead letter: the stream may be shared.
        if self.get(id).await?.is_none() {
            return Ok(false);
        }
        let Some((_, stream, sequence)) = self.locate(id).await? else { return Ok(false) };
        Ok(stored::delete(&self.connection, &stream, sequence).await?)
    }

    async fn locate(&self, id: u64) -> Result<Option<(usize, String, u64)>, BrokerError> {
        let sequence = id & ((1 << SEQUENCE_BITS) - 1);
        let place = usize::try_from(id >> SEQUENCE_BITS).unwrap_or(usize::MAX);
        let stream = self.streams().await?.into_iter().nth(place);
        Ok(stream.filter(|_| sequence > 0).map(|stream| (place, stream, sequence)))
    }
}

fn covers(text: &str, pattern: &SubjectPattern) -> bool {
    SubjectPattern::try_new(text).is_ok_and(|known| known.covers(pattern))
}

fn other_streams(settings: &Settings) -> Vec<String> {
    let listed = settings.get("metadata").and_then(|metadata| metadata.get(OTHER_STREAMS)).and_then(Value::as_str);
    listed.unwrap_or_default().split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// What the host wrote about the failure; it is short. The rest is the original's.
fn is_of_the_record(name: &str) -> bool {
    name.starts_with("Dlq-") && !name.starts_with("Dlq-Original-") && !name.starts_with("Dlq-Escaped-")
}

fn redriven_of(stored: &Stored) -> u32 {
    stored.headers.get(REDRIVEN).and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn id_of(place: usize, sequence: u64) -> u64 {
    (place as u64) << SEQUENCE_BITS | sequence
}
