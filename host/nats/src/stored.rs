//! Reading what a stream holds, by subject, by sequence, or one message after the other.
//!
//! Single messages are read directly where a stream has one replica, and from its leader otherwise: a direct read may be
//! answered by a replica that is behind, and state must see what was committed before. Many messages are read through a
//! short-lived consumer without acknowledgements: a page costs one round trip, and headers alone can be asked for.

use std::time::{Duration, SystemTime};

use async_nats::{Message, StatusCode, Subject};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_core::message::Headers;
use tokio::time::timeout;

use crate::connection::{Connection, Patience};
use crate::consumers::ConsumerInfo;
use crate::error::{ApiError, NatsError};
use crate::wire::{AckSubject, Outbound, headers_in, parse_headers, parse_rfc3339};

/// A message as its stream keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) subject: String,
    pub(crate) sequence: u64,
    pub(crate) time: SystemTime,
    pub(crate) headers: Headers,
    pub(crate) payload: Bytes,
}

/// A message whose headers nobody has looked into.
#[derive(Debug, Clone)]
pub(crate) struct Unparsed {
    pub(crate) subject: String,
    pub(crate) sequence: u64,
    pub(crate) time: SystemTime,
    pub(crate) headers: Bytes,
    pub(crate) payload: Bytes,
}

#[derive(Deserialize)]
struct GetResponse {
    message: StoredJson,
}

#[derive(Deserialize)]
struct StoredJson {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    #[serde(default)]
    time: String,
}

/// Which messages to read one after the other.
pub(crate) struct Scan<'a> {
    pub(crate) stream: &'a str,
    pub(crate) filter: &'a str,
    /// Only messages after this sequence.
    pub(crate) after: u64,
    pub(crate) headers_only: bool,
}

/// Messages of one page, and how long it may take.
const PAGE: usize = 256;
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);

// --- one message ------------------------------------------------------------------------------------------------------

/// The last message of each subject, pipelined; `None` where there is none. Any replica may answer.
pub(crate) async fn last_direct(
    connection: &Connection,
    stream: &str,
    subjects: &[String],
) -> Result<Vec<Option<Stored>>, NatsError> {
    let question = |index: usize| Outbound {
        subject: Subject::from(format!("$JS.API.DIRECT.GET.{stream}.{}", subjects[index])),
        headers: None,
        payload: Bytes::new(),
    };
    let answers = connection.exchange(subjects.len(), question, Patience::API).await;
    answers.into_iter().zip(subjects).map(|(answer, subject)| read_direct(answer, stream, subject)).collect()
}

fn read_direct(answer: Option<Message>, stream: &str, subject: &str) -> Result<Option<Stored>, NatsError> {
    let what = || format!("reading `{subject}` from the stream `{stream}`");
    let answer = answer.ok_or_else(|| NatsError::Silent { what: what(), seconds: Patience::API.total.as_secs() })?;
    match answer.status {
        None => {}
        Some(StatusCode::NOT_FOUND) => return Ok(None),
        Some(StatusCode::NO_RESPONDERS) => return Err(NatsError::NoResponders { subject: answer.subject.to_string() }),
        Some(status) => {
            let description = answer.description.unwrap_or_default();
            let error = ApiError { code: status.as_u16(), err_code: 0, description };
            return Err(NatsError::Api { what: what(), error });
        }
    }
    let headers = headers_in(answer.headers.as_ref());
    let sequence = headers.get("Nats-Sequence").and_then(|text| text.parse().ok());
    let time = headers.get("Nats-Time-Stamp").and_then(parse_rfc3339).unwrap_or(SystemTime::UNIX_EPOCH);
    let sequence = sequence
        .ok_or_else(|| NatsError::Unreadable { what: what(), reason: "it has no `Nats-Sequence`".to_owned() })?;
    Ok(Some(Stored { subject: subject.to_owned(), sequence, time, headers, payload: answer.payload }))
}

/// The last message of each subject, from the stream's leader.
pub(crate) async fn last_of_leader(
    connection: &Connection,
    stream: &str,
    subjects: &[String],
) -> Result<Vec<Option<Stored>>, NatsError> {
    let reads = subjects.iter().map(|subject| get(connection, stream, json!({ "last_by_subj": subject })));
    futures_util::future::join_all(reads).await.into_iter().collect()
}

/// The message with this sequence, from the stream's leader.
pub(crate) async fn by_sequence(
    connection: &Connection,
    stream: &str,
    sequence: u64,
) -> Result<Option<Stored>, NatsError> {
    get(connection, stream, json!({ "seq": sequence })).await
}

async fn get(connection: &Connection, stream: &str, query: Value) -> Result<Option<Stored>, NatsError> {
    let found = get_unparsed(connection, stream, query).await?;
    Ok(found.map(|Unparsed { subject, sequence, time, headers, payload }| {
        let headers = if headers.is_empty() { Headers::new() } else { parse_headers(&headers) };
        Stored { subject, sequence, time, headers, payload }
    }))
}

/// The messages with these sequences that exist, as they are.
pub(crate) async fn unparsed(
    connection: &Connection,
    stream: &str,
    sequences: Vec<u64>,
) -> Result<Vec<Unparsed>, NatsError> {
    let mut found = Vec::new();
    for some in sequences.chunks(PAGE) {
        let reads = some.iter().map(|sequence| get_unparsed(connection, stream, json!({ "seq": sequence })));
        for message in futures_util::future::join_all(reads).await {
            found.extend(message?);
        }
    }
    Ok(found)
}

async fn get_unparsed(connection: &Connection, stream: &str, query: Value) -> Result<Option<Unparsed>, NatsError> {
    let call = format!("STREAM.MSG.GET.{stream}");
    let found = match connection.api::<GetResponse>(&call, &query).await? {
        Ok(response) => response.message,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(NatsError::Api { what: call, error }),
    };
    let decode = |text: &str| match STANDARD.decode(text) {
        Ok(bytes) => Ok(Bytes::from(bytes)),
        Err(error) => Err(NatsError::Unreadable { what: call.clone(), reason: error.to_string() }),
    };
    Ok(Some(Unparsed {
        headers: decode(&found.hdrs)?,
        payload: decode(&found.data)?,
        time: parse_rfc3339(&found.time).unwrap_or(SystemTime::UNIX_EPOCH),
        subject: found.subject,
        sequence: found.seq,
    }))
}

/// The next message with one of these subjects after a sequence, as it is; from the stream's leader.
pub(crate) async fn next_unparsed(
    connection: &Connection,
    stream: &str,
    subjects: &[String],
    after: u64,
) -> Result<Option<Unparsed>, NatsError> {
    let reads = subjects.iter().map(|subject| {
        get_unparsed(connection, stream, json!({ "seq": after.saturating_add(1), "next_by_subj": subject }))
    });
    let mut found: Option<Unparsed> = None;
    for message in futures_util::future::join_all(reads).await {
        let message = message?.filter(|message| found.as_ref().is_none_or(|found| message.sequence < found.sequence));
        found = message.or(found);
    }
    Ok(found)
}

/// Removes a message. `false`: it was gone, or the stream is.
pub(crate) async fn delete(connection: &Connection, stream: &str, sequence: u64) -> Result<bool, NatsError> {
    let call = format!("STREAM.MSG.DELETE.{stream}");
    match connection.api::<Value>(&call, &json!({ "seq": sequence })).await? {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(NatsError::Api { what: call, error }),
    }
}

// --- one after the other ----------------------------------------------------------------------------------------------

/// Reads the messages in the order of their sequences and shows each to `visit`, until it answers `false` or none is
/// left. A stream that does not exist has none.
pub(crate) async fn scan(
    connection: &Connection,
    scan: Scan<'_>,
    mut visit: impl FnMut(Stored) -> bool + Send,
) -> Result<(), NatsError> {
    let name = format!("tidemill-scan-{:016x}", fastrand::u64(..));
    let call = format!("CONSUMER.CREATE.{}.{name}", scan.stream);
    let settings = json!({
        "name": name,
        "ack_policy": "none",
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": scan.after + 1,
        "filter_subjects": [scan.filter],
        "replay_policy": "instant",
        "headers_only": scan.headers_only,
        "inactive_threshold": 30_000_000_000_u64,
        "mem_storage": true,
        "num_replicas": 1,
    });
    let request = json!({ "stream_name": scan.stream, "config": settings, "action": "create" });
    let mut pending = match connection.api::<ConsumerInfo>(&call, &request).await? {
        Ok(info) => info.num_pending,
        // Sent twice because the first answer was lost: it is ours, and nothing was read from it.
        Err(error) if error.is_already_there() => u64::MAX,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(NatsError::Api { what: call, error }),
    };
    let mut wanted = true;
    while pending > 0 && wanted {
        for (stored, left) in page(connection, scan.stream, &name, &mut pending).await? {
            pending = left;
            wanted = wanted && visit(stored);
        }
    }
    // Best effort: it goes by itself after 30 s.
    let _ = connection.send(&format!("$JS.API.CONSUMER.DELETE.{}.{name}", scan.stream), Bytes::new()).await;
    Ok(())
}

/// The next messages, each with the number of those behind it. Sets `pending` to 0 when the server says that none is left.
async fn page(
    connection: &Connection,
    stream: &str,
    consumer: &str,
    pending: &mut u64,
) -> Result<Vec<(Stored, u64)>, NatsError> {
    let what = || format!("reading the stream `{stream}`");
    let silent = || NatsError::Silent { what: what(), seconds: PAGE_TIMEOUT.as_secs() };
    let inbox = connection.client().new_inbox();
    let mut answers = timeout(PAGE_TIMEOUT, connection.client().subscribe(inbox.clone()))
        .await
        .map_err(|_| silent())?
        .map_err(|error| NatsError::Unreadable { what: what(), reason: error.to_string() })?;
    let request = Bytes::from(json!({ "batch": PAGE, "no_wait": true }).to_string());
    let next = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
    connection.send_with_reply(&next, &inbox, request).await.map_err(|_| silent())?;
    let mut page = Vec::new();
    while page.len() < PAGE {
        let Ok(Some(message)) = timeout(PAGE_TIMEOUT, answers.next()).await else { return Err(silent()) };
        match message.reply.as_deref().and_then(AckSubject::parse) {
            Some(ack) => {
                let stored = Stored {
                    subject: message.subject.to_string(),
                    sequence: ack.sequence,
                    time: ack.stored,
                    headers: headers_in(message.headers.as_ref()),
                    payload: message.payload.clone(),
                };
                page.push((stored, ack.pending));
                if ack.pending == 0 {
                    break;
                }
            }
            None if message.status == Some(StatusCode::NO_RESPONDERS) => {
                return Err(NatsError::NoResponders { subject: next });
            }
            None => {
                *pending = 0;
                break;
            }
        }
    }
    Ok(page)
}
