//! Publishing with an id and waiting for the server's word that it is stored.
//!
//! A batch goes out pipelined; an answer that is missing after two seconds, or when the connection is back, is asked for
//! again under the same `Nats-Msg-Id`, so nothing is stored twice within the stream's duplicate window.
//!
//! "Refused" promises that nothing took effect. So what can be known before is asked before: sizes, headers, and whether
//! any stream captures the subject. Patterns of streams that were found are remembered; a handler that emits pays a few
//! string comparisons for it.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use async_nats::{Message, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tidemill_core::name::StreamName;
use tidemill_core::port::{BrokerError, Outgoing, Published};
use tidemill_core::subject::SubjectPattern;

use crate::connection::{Connection, Patience};
use crate::error::{NatsError, unavailable};
use crate::wire::{HeaderBlock, Outbound, PubAck, check_headers, headers_len};

/// `NATS/1.0`, the line breaks, and the id's header name: what stands around the headers.
const FRAMING: usize = 40;
/// Streams answer a moment late after a server's start; nats.go waits as long.
const NO_RESPONDERS_PAUSE: Duration = Duration::from_millis(250);
/// Enough for every stream with a few subjects each; beyond it the memory is begun anew.
const REMEMBERED_PATTERNS: usize = 4096;

/// Publishes messages that carry an id.
pub(crate) struct Publisher {
    connection: std::sync::Arc<Connection>,
    /// Patterns that some stream is known to capture.
    captured: RwLock<Vec<SubjectPattern>>,
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
                if !no_responders {
                    results[*index] = Some(read(messages[*index], answer));
                }
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
        let size = message.payload.len() + headers_len(&message.headers) + id.len() + FRAMING;
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
            self.check_captured(message.message.subject.as_str()).await?;
        }
        Ok(())
    }

    async fn check_captured(&self, subject: &str) -> Result<(), BrokerError> {
        let known = |captured: &[SubjectPattern]| captured.iter().any(|pattern| pattern.matches(subject));
        if known(&self.captured.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let Some(stream) = self.capturing_streams(subject).await?.into_iter().next() else {
            return Err(nobody_captures(subject));
        };
        let patterns = crate::provision::subjects_of(&self.connection, &stream).await?;
        let mut captured = self.captured.write().unwrap_or_else(PoisonError::into_inner);
        if captured.len() > REMEMBERED_PATTERNS {
            captured.clear();
        }
        captured.extend(patterns.iter().filter_map(|pattern| SubjectPattern::try_new(pattern).ok()));
        Ok(())
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
