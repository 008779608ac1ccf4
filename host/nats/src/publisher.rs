//! Publishing with an id and waiting for the server's word that it is stored.
//!
//! A batch goes out pipelined; an answer that is missing after two seconds, or when the connection is back, is asked for
//! again under the same `Nats-Msg-Id`, so nothing is stored twice within the stream's duplicate window.
//!
//! "Refused" promises that nothing took effect. So what can be known before is asked before: sizes, headers, and whether
//! any stream captures the subject and takes a message so large. What was found out about streams is remembered until one
//! of them refuses; a handler that emits pays a few string comparisons for it.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use async_nats::{Message, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_core::name::StreamName;
use tidemill_core::port::{BrokerError, Outgoing, Published};
use tidemill_core::subject::SubjectPattern;

use crate::connection::{Connection, Patience};
use crate::error::{NatsError, unavailable};
use crate::provision;
use crate::wire::{HeaderBlock, MAX_HEADER_BYTES, Outbound, PubAck, check_headers, headers_len};

/// `NATS/1.0`, the line breaks, and the id's header name: what stands around the headers.
const FRAMING: usize = 27;
/// Streams answer a moment late after a server's start; nats.go waits as long.
const NO_RESPONDERS_PAUSE: Duration = Duration::from_millis(250);
/// Enough for every stream with a few subjects each; beyond it the memory is begun anew.
const REMEMBERED_PATTERNS: usize = 4096;

/// Publishes messages that carry an id.
pub(crate) struct Publisher {
    connection: std::sync::Arc<Connection>,
    /// What some stream is known to capture.
    captured: RwLock<Vec<Captured>>,
}

/// A pattern of a stream, and the largest message that it takes, headers included (its `max_msg_size`).
struct Captured {
    pattern: SubjectPattern,
    largest: Option<usize>,
}

#[derive(Deserialize)]
struct StreamNames {
    streams: Option<Vec<String>>,
}

// === impl Publisher ===

impl Publisher {
    pub(crate) fn new(connection: std::sync::Arc<Connection>) -> Self {
        Self { connection, captured: RwLock::new(Vec::new()) }
    }

    /// Publishes each message on its own; answers in their order. May be repeated.
    pub(crate) async fn publish(&self, messages: &[&Outgoing]) -> Vec<Result<Published, BrokerError>> {
        let mut results: Vec<Option<Result<Published, BrokerError>>> = Vec::with_capacity(messages.len());
        for message in messages {
            results.push(self.check(message).err().map(|error| Err(error.into())));
        }
        // A second round for what nobody took the first time: the server may just have started.
        for round in 0..2 {
            let open: Vec<usize> = (0..messages.len()).filter(|index| results[*index].is_none()).collect();
            if open.is_empty() {
                break;
            }
            if round > 0 {
                tokio::time::sleep(NO_RESPONDERS_PAUSE).await;
            }
            let answers = self.connection.exchange(open.len(), |at| outbound(messages[open[at]]), Patience::PUBLISH);
            for (index, answer) in open.iter().zip(answers.await) {
                let no_responders = answer.as_ref().is_some_and(is_no_responders);
                let result = (!no_responders).then(|| read(messages[*index], answer));
                if matches!(result, None | Some(Err(BrokerError::Refused(_)))) {
                    // The stream is gone, or has other settings now.
                    self.forget(messages[*index].message.subject.as_str());
                }
                results[*index] = result;
            }
        }
        let mut finished = Vec::with_capacity(results.len());
        for (result, message) in results.into_iter().zip(messages) {
            finished.push(match result {
                Some(result) => result,
                None => Err(self.why_nobody_took(message.message.subject.as_str()).await),
            });
        }
        finished
    }

    /// Whether this message can be sent at all.
    pub(crate) fn check(&self, outgoing: &Outgoing) -> Result<(), NatsError> {
        let Outgoing { id, message } = outgoing;
        check_headers(&message.headers)?;
        if id.is_empty() || id.contains(['\r', '\n']) {
            return Err(NatsError::Unsendable("a message id must not be empty or hold a line break".to_owned()));
        }
        let headers = headers_len(&message.headers) + id.len() + FRAMING;
        if headers > MAX_HEADER_BYTES {
            return Err(NatsError::Unsendable(format!(
                "the message to `{}` has {headers} bytes of headers; JetStream takes {MAX_HEADER_BYTES}",
                message.subject
            )));
        }
        let size = size_of(outgoing);
        let allowed = self.connection.max_payload();
        if size > allowed {
            return Err(NatsError::Unsendable(format!(
                "the message to `{}` has {size} bytes with its headers; the server takes {allowed} (its `max_payload`)",
                message.subject
            )));
        }
        Ok(())
    }

    /// Refuses what could not be published later: call it before anything else becomes durable.
    pub(crate) async fn check_all<'a>(&self, messages: impl Iterator<Item = &'a Outgoing>) -> Result<(), BrokerError> {
        for message in messages {
            self.check(message)?;
            let (subject, size) = (&message.message.subject, size_of(message));
            let Some(largest) = self.largest(subject.as_str()).await? else { continue };
            if size > largest {
                // It may have been allowed more meanwhile: the next one asks again.
                self.forget(subject.as_str());
                return Err(BrokerError::Refused(format!(
                    "the message to `{subject}` has {size} bytes with its headers; its stream takes {largest} (its \
                     `max_msg_size`)"
                )));
            }
        }
        Ok(())
    }

    /// The largest message that the stream behind this subject takes, if it has a limit of its own.
    async fn largest(&self, subject: &str) -> Result<Option<usize>, BrokerError> {
        if let Some(largest) = self.known(subject) {
            return Ok(largest);
        }
        let Some(stream) = self.capturing_streams(subject).await?.into_iter().next() else {
            return Err(nobody_captures(subject));
        };
        let Some(settings) = provision::info(&self.connection, &stream).await? else {
            return Err(nobody_captures(subject));
        };
        let largest = settings.get("max_msg_size").and_then(Value::as_i64).and_then(|size| usize::try_from(size).ok());
        let mut captured = self.captured.write().unwrap_or_else(PoisonError::into_inner);
        if captured.len() > REMEMBERED_PATTERNS {
            captured.clear();
        }
        let patterns = provision::texts(&settings, "subjects");
        let patterns = patterns.iter().filter_map(|pattern| SubjectPattern::try_new(pattern).ok());
        captured.extend(patterns.map(|pattern| Captured { pattern, largest }));
        Ok(largest)
    }

    fn known(&self, subject: &str) -> Option<Option<usize>> {
        let captured = self.captured.read().unwrap_or_else(PoisonError::into_inner);
        captured.iter().find(|known| known.pattern.matches(subject)).map(|known| known.largest)
    }

    fn forget(&self, subject: &str) {
        let mut captured = self.captured.write().unwrap_or_else(PoisonError::into_inner);
        captured.retain(|known| !known.pattern.matches(subject));
    }

    /// The streams whose subjects overlap with this subject or pattern.
    pub(crate) async fn capturing_streams(&self, subject: &str) -> Result<Vec<String>, NatsError> {
        let names: StreamNames = self.connection.api_ok("STREAM.NAMES", &json!({ "subject": subject })).await?;
        Ok(names.streams.unwrap_or_default())
    }

    async fn why_nobody_took(&self, subject: &str) -> BrokerError {
        match self.capturing_streams(subject).await {
            Ok(streams) if streams.is_empty() => nobody_captures(subject),
            Ok(streams) => unavailable(format!("the stream `{}` does not answer; it may have no leader", streams[0])),
            Err(error) => error.into(),
        }
    }
}

fn nobody_captures(subject: &str) -> BrokerError {
    BrokerError::Refused(format!(
        "no stream captures the subject `{subject}`; add it to a stream's `subjects` in runtime.yaml"
    ))
}

pub(crate) fn is_no_responders(answer: &Message) -> bool {
    answer.status == Some(StatusCode::NO_RESPONDERS)
}

/// As the server counts it.
fn size_of(Outgoing { id, message }: &Outgoing) -> usize {
    message.payload.len() + headers_len(&message.headers) + id.len() + FRAMING
}

fn outbound(outgoing: &Outgoing) -> Outbound {
    let Outgoing { id, message } = outgoing;
    let mut headers = HeaderBlock::new(
        async_nats::header::NATS_MESSAGE_ID,
        id,
        headers_len(&message.headers) + message.headers.len(),
    );
    for (name, value) in message.headers.iter() {
        if name != "Nats-Msg-Id" {
            headers.push(name, value);
        }
    }
    Outbound {
        subject: async_nats::Subject::from(message.subject.as_str()),
        headers: Some(headers),
        payload: message.payload.clone(),
    }
}

fn read(outgoing: &Outgoing, answer: Option<Message>) -> Result<Published, BrokerError> {
    let what = || format!("publishing to `{}`", outgoing.message.subject);
    let answer =
        answer.ok_or_else(|| NatsError::Silent { what: what(), seconds: Patience::PUBLISH.total.as_secs() })?;
    let ack = read_ack(&what, &answer)?;
    let stream = StreamName::try_new(&ack.stream)
        .map_err(|error| NatsError::Unreadable { what: what(), reason: error.to_string() })?;
    Ok(Published { stream, sequence: ack.sequence, duplicate: ack.duplicate })
}

/// Reads a publish acknowledgement; the server's refusal becomes [`NatsError::Api`].
pub(crate) fn read_ack(what: &impl Fn() -> String, answer: &Message) -> Result<PubAck, NatsError> {
    match PubAck::parse(&answer.payload) {
        Ok(Ok(ack)) => Ok(ack),
        Ok(Err(error)) => Err(NatsError::Api { what: what(), error }),
        Err(error) => Err(NatsError::Unreadable { what: what(), reason: error.to_string() }),
    }
}
