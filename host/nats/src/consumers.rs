//! A route's durable positions: one consumer on its stream, one on the retry stream.
//!
//! `max_deliver` stays unlimited and there is no `backoff`: the server would skip a message silently at the limit, and
//! its backoff does not apply to negative acknowledgements. The host counts and decides.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_core::config::{RouteConfig, Start};
use tidemill_core::port::BrokerError;
use tidemill_core::subject::SubjectPattern;

use crate::connection::Connection;
use crate::error::NatsError;
use crate::provision::{nanoseconds, object, texts};
use crate::settings::{Settings, differences};
use crate::subjects;
use crate::wire::{parse_rfc3339, rfc3339};

/// How a consumer stands.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ConsumerInfo {
    pub(crate) config: Settings,
    /// The last message that was delivered.
    #[serde(default)]
    pub(crate) delivered: Position,
    /// Everything up to here is settled.
    #[serde(default)]
    pub(crate) ack_floor: Position,
    #[serde(default)]
    pub(crate) num_pending: u64,
    #[serde(default)]
    pub(crate) num_ack_pending: u64,
}

/// A place in the stream.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct Position {
    #[serde(default)]
    pub(crate) stream_seq: u64,
}

/// What may be changed on an existing consumer: it does not touch the position.
const TUNABLE: [&str; 2] = ["ack_wait", "max_ack_pending"];

/// The route's position in its stream.
pub(crate) fn route(route: &RouteConfig, ack_wait: Duration) -> Settings {
    let mut settings = common(&subjects::consumer(&route.name), route.max_in_flight, ack_wait);
    let patterns: Vec<&str> = route.subjects.iter().map(|pattern| pattern.as_str()).collect();
    settings.insert("filter_subjects".to_owned(), json!(patterns));
    let policy = match route.start {
        Start::New => "new",
        Start::All => "all",
        Start::Sequence(sequence) => {
            settings.insert("opt_start_seq".to_owned(), json!(sequence));
            "by_start_sequence"
        }
        Start::Time(time) => {
            settings.insert("opt_start_time".to_owned(), json!(rfc3339(time)));
            "by_start_time"
        }
    };
    settings.insert("deliver_policy".to_owned(), json!(policy));
    settings
}

/// What comes back to the route.
pub(crate) fn retries(route: &RouteConfig, ack_wait: Duration) -> Settings {
    let mut settings = common(&subjects::retry_consumer(&route.name), route.max_in_flight, ack_wait);
    settings.insert("filter_subjects".to_owned(), json!([subjects::retries(&route.name)]));
    settings.insert("deliver_policy".to_owned(), json!("all"));
    settings
}

/// A consumer for one reader, without acknowledgements, in memory. It goes by itself after `inactive` without a pull.
pub(crate) fn reader(name: &str, subjects: &[SubjectPattern], after: u64, inactive: Duration) -> Settings {
    let patterns: Vec<&str> = subjects.iter().map(|pattern| pattern.as_str()).collect();
    object(json!({
        "name": name,
        "ack_policy": "none",
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": after.saturating_add(1),
        "filter_subjects": patterns,
        "replay_policy": "instant",
        "inactive_threshold": nanoseconds(inactive),
        "mem_storage": true,
        "num_replicas": 1,
    }))
}

/// Creates a reader's consumer. Its name is random, so one that is there already is ours: the first answer was lost.
pub(crate) async fn create_reader(connection: &Connection, stream: &str, wanted: &Settings) -> Result<(), BrokerError> {
    let name = wanted.get("name").and_then(Value::as_str).unwrap_or_default();
    put(connection, stream, name, wanted, "create").await.map(|_| ())
}

fn common(name: &str, max_in_flight: usize, ack_wait: Duration) -> Settings {
    object(json!({
        "name": name,
        "durable_name": name,
        "ack_policy": "explicit",
        "ack_wait": nanoseconds(ack_wait),
        "max_deliver": -1,
        "max_ack_pending": max_in_flight,
        "replay_policy": "instant",
    }))
}

/// Creates the consumer, or checks the one that is there. A consumer with another filter or another start is refused:
/// changing it would skip or repeat events.
pub(crate) async fn ensure(connection: &Connection, stream: &str, wanted: &Settings) -> Result<(), BrokerError> {
    let name = wanted.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let found = match info(connection, stream, &name).await? {
        Some(found) => found,
        None => match put(connection, stream, &name, wanted, "create").await? {
            Some(created) => created,
            None => info(connection, stream, &name)
                .await?
                .ok_or_else(|| NatsError::NoResponders { subject: format!("consumer `{name}`") })?,
        },
    };
    let (tunable, fixed): (Vec<_>, Vec<_>) = differences(&normal(wanted), &normal(&found.config))
        .into_iter()
        .partition(|difference| TUNABLE.contains(&difference.field.as_str()));
    if !fixed.is_empty() {
        let texts: Vec<String> =
            fixed.iter().map(|difference| difference.describe("runtime.yaml asks for", "consumer")).collect();
        return Err(BrokerError::Incompatible(format!(
            "the route's consumer `{name}` on the stream `{stream}` exists with other settings: {}. Nothing was changed: \
             give the route its old settings back or a new name, or remove its position with `nats consumer rm {stream} \
             {name}`",
            texts.join("; ")
        )));
    }
    if !tunable.is_empty() {
        let mut changed = found.config;
        for field in TUNABLE {
            if let Some(value) = wanted.get(field) {
                changed.insert(field.to_owned(), value.clone());
            }
        }
        put(connection, stream, &name, &changed, "update").await?;
    }
    Ok(())
}

/// How the consumer stands, or `None` if it or its stream does not exist.
pub(crate) async fn info(connection: &Connection, stream: &str, name: &str) -> Result<Option<ConsumerInfo>, NatsError> {
    let call = format!("CONSUMER.INFO.{stream}.{name}");
    match connection.api::<ConsumerInfo>(&call, &json!({})).await? {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(NatsError::Api { what: call, error }),
    }
}

/// `None`: it exists with other settings.
async fn put(
    connection: &Connection,
    stream: &str,
    name: &str,
    settings: &Settings,
    action: &str,
) -> Result<Option<ConsumerInfo>, BrokerError> {
    let call = format!("CONSUMER.CREATE.{stream}.{name}");
    let request = json!({ "stream_name": stream, "config": settings, "action": action });
    match connection.api::<ConsumerInfo>(&call, &request).await? {
        Ok(info) => {
            tracing::debug!(stream, consumer = name, action, "the consumer is ready");
            Ok(Some(info))
        }
        Err(error) if error.is_already_there() => Ok(None),
        Err(error) if error.is_stream_not_found() => Err(BrokerError::Refused(format!(
            "there is no stream `{stream}`; declare it under `streams:` in runtime.yaml, or create it"
        ))),
        Err(error) => Err(NatsError::Api { what: call, error }.into()),
    }
}

/// The two ways to write a filter as one, and times as the server writes them.
fn normal(settings: &Settings) -> Settings {
    let mut normal = settings.clone();
    let mut filters = texts(settings, "filter_subjects");
    filters.extend(settings.get("filter_subject").and_then(Value::as_str).filter(|f| !f.is_empty()).map(str::to_owned));
    normal.remove("filter_subject");
    normal.insert("filter_subjects".to_owned(), json!(filters));
    if let Some(time) = settings.get("opt_start_time").and_then(Value::as_str).and_then(parse_rfc3339) {
        normal.insert("opt_start_time".to_owned(), json!(rfc3339(time)));
    }
    normal
}
