//! Creating the streams that are missing, and refusing those that stand there otherwise.
//!
//! An existing stream belongs to somebody: it is never changed, except that the dead-letter stream, which is Tidemill's
//! own, gets the subjects of new routes, one host at a time (see [`turn`](crate::turn)). The configuration that the
//! server returns is compared with the one that was asked for, because a server that does not know a field may ignore
//! it. Two hosts may start at the same time: whoever comes second finds the first one's stream and compares.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_core::config::StreamConfig;
use tidemill_core::name::PluginName;
use tidemill_core::port::{BrokerError, StreamBounds};

use crate::connection::Connection;
use crate::error::NatsError;
use crate::settings::{Settings, differences};
use crate::subjects;
use crate::wire::parse_rfc3339;

/// A crash between parking and settling is repaired within this time without a second retry. It costs the server about
/// 234 bytes per retry.
const RETRY_DUPLICATE_WINDOW: Duration = Duration::from_secs(3600);

#[derive(Deserialize)]
struct StreamInfo {
    config: Settings,
    #[serde(default)]
    created: String,
    #[serde(default)]
    state: StreamState,
}

/// Which stream of its name it is, and what it holds.
pub(crate) struct Standing {
    /// When it was made. One that was removed and made anew has another time.
    pub(crate) created: Option<SystemTime>,
    pub(crate) bounds: StreamBounds,
}

#[derive(Default, Deserialize)]
struct StreamState {
    #[serde(default)]
    messages: u64,
    #[serde(default)]
    first_seq: u64,
    #[serde(default)]
    last_seq: u64,
}

// --- what is wanted ---------------------------------------------------------------------------------------------------

/// A stream that `runtime.yaml` declares.
pub(crate) fn declared(stream: &StreamConfig) -> Settings {
    let patterns: Vec<&str> = stream.subjects.iter().map(|pattern| pattern.as_str()).collect();
    // The server refuses a window that is longer than the messages live.
    let window = stream.max_age.map_or(stream.duplicate_window, |age| stream.duplicate_window.min(age));
    let mut settings = object(json!({
        "name": stream.name.as_str(),
        "subjects": patterns,
        "retention": "limits",
        "storage": "file",
        "num_replicas": stream.replicas,
        "max_age": nanoseconds(stream.max_age.unwrap_or_default()),
        "max_bytes": stream.max_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        "duplicate_window": nanoseconds(window),
    }));
    if stream.max_bytes.is_some() {
        // A full stream refuses, and the publisher feels it; dropping the oldest would lose events silently.
        settings.insert("discard".to_owned(), json!("new"));
    }
    settings
}

/// Parked and redriven events. A work queue: what its route has settled is removed by the server, so it does not grow,
/// and what was not settled stays, even while the route's consumer does not exist.
pub(crate) fn retry(replicas: usize) -> Settings {
    object(json!({
        "name": subjects::RETRY_STREAM,
        "subjects": subjects::RETRY_SUBJECTS,
        "retention": "workqueue",
        "storage": "file",
        "num_replicas": replicas,
        "duplicate_window": nanoseconds(RETRY_DUPLICATE_WINDOW),
        "allow_msg_schedules": true,
        "allow_msg_ttl": true,
        "allow_direct": true,
    }))
}

/// Dead letters. Limits retention, so that they can be browsed; the subjects are compared apart, because they grow.
pub(crate) fn dead_letters(replicas: usize) -> Settings {
    object(json!({
        "name": subjects::DEAD_LETTER_STREAM,
        "retention": "limits",
        "storage": "file",
        "num_replicas": replicas,
        "allow_direct": true,
    }))
}

/// A plugin's state and the markers of what was committed. One message per key; the revision is its sequence.
pub(crate) fn state(space: &PluginName, replicas: usize) -> Settings {
    object(json!({
        "name": subjects::state_stream(space),
        "subjects": [subjects::state(space)],
        "retention": "limits",
        "storage": "file",
        "num_replicas": replicas,
        "max_msgs_per_subject": 1,
        "discard": "old",
        "allow_atomic": true,
        "allow_msg_ttl": true,
        "allow_direct": true,
    }))
}

// --- making it so -----------------------------------------------------------------------------------------------------

/// Creates the stream, or checks the one that is there. `asked_by` begins the sentence that tells a difference.
pub(crate) async fn ensure(
    connection: &Connection,
    wanted: &Settings,
    asked_by: &str,
) -> Result<Settings, BrokerError> {
    let name = name_of(wanted);
    let found = match info(connection, name).await? {
        Some(found) => found,
        None => match create(connection, wanted).await? {
            Some(created) => created,
            None => info(connection, name).await?.ok_or_else(|| {
                BrokerError::Incompatible(format!("the stream `{name}` was created and removed at the same time"))
            })?,
        },
    };
    compare(wanted, &found, asked_by)?;
    Ok(found)
}

fn compare(wanted: &Settings, found: &Settings, asked_by: &str) -> Result<(), BrokerError> {
    let name = name_of(wanted);
    let differences: Vec<String> =
        differences(wanted, found).iter().map(|difference| difference.describe(asked_by, "stream")).collect();
    if differences.is_empty() {
        return Ok(());
    }
    Err(BrokerError::Incompatible(format!(
        "the stream `{name}` exists with other settings: {}. Nothing was changed: make runtime.yaml say what the stream \
         has, or change the stream with `nats stream edit {name}`",
        differences.join("; ")
    )))
}

/// The settings of a stream, or `None` if it does not exist.
pub(crate) async fn info(connection: &Connection, name: &str) -> Result<Option<Settings>, NatsError> {
    let call = format!("STREAM.INFO.{name}");
    match connection.api::<StreamInfo>(&call, &json!({})).await? {
        Ok(info) => Ok(Some(info.config)),
        Err(error) if error.is_stream_not_found() => Ok(None),
        Err(error) => Err(NatsError::Api { what: call, error }),
    }
}

/// How a stream stands.
pub(crate) async fn standing(connection: &Connection, name: &str) -> Result<Standing, BrokerError> {
    let call = format!("STREAM.INFO.{name}");
    match connection.api::<StreamInfo>(&call, &json!({})).await? {
        Ok(StreamInfo { created, state: StreamState { messages, first_seq, last_seq }, .. }) => {
            let first = if messages == 0 { last_seq + 1 } else { first_seq };
            Ok(Standing { created: parse_rfc3339(&created), bounds: StreamBounds { first, last: last_seq } })
        }
        Err(error) if error.is_stream_not_found() => Err(BrokerError::Refused(format!(
            "there is no stream `{name}`; declare it under `streams:` in runtime.yaml, or create it"
        ))),
        Err(error) => Err(NatsError::Api { what: call, error }.into()),
    }
}

/// `None`: somebody else was faster, with other settings.
async fn create(connection: &Connection, wanted: &Settings) -> Result<Option<Settings>, BrokerError> {
    let name = name_of(wanted);
    let call = format!("STREAM.CREATE.{name}");
    let mut request = wanted.clone();
    // Wished for, not required of a stream that somebody else has made.
    request.insert("allow_direct".to_owned(), json!(true));
    if !request.contains_key("subjects") {
        request.insert("subjects".to_owned(), json!([subjects::DEAD_LETTER_BASE]));
    }
    match connection.api::<StreamInfo>(&call, &request).await? {
        Ok(info) => {
            tracing::info!(stream = name, "created the stream");
            Ok(Some(info.config))
        }
        Err(error) if error.is_already_there() => Ok(None),
        Err(error) if error.is_overlap() => Err(BrokerError::Incompatible(format!(
            "the stream `{name}` cannot be created: another stream already captures one of its subjects ({}); \
             `nats stream ls --subjects` shows which",
            error.description
        ))),
        Err(error) => Err(NatsError::Api { what: call, error }.into()),
    }
}

/// Replaces the subjects of a stream that is Tidemill's own.
pub(crate) async fn set_subjects(
    connection: &Connection,
    mut settings: Settings,
    subjects: &[String],
) -> Result<(), NatsError> {
    let call = format!("STREAM.UPDATE.{}", name_of(&settings));
    settings.insert("subjects".to_owned(), json!(subjects));
    connection.api_ok::<Value>(&call, &settings).await.map(|_| ())
}

pub(crate) fn texts(settings: &Settings, field: &str) -> Vec<String> {
    let values = settings.get(field).and_then(Value::as_array);
    values.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn name_of(settings: &Settings) -> &str {
    settings.get("name").and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn object(value: Value) -> Settings {
    match value {
        Value::Object(settings) => settings,
        _ => Settings::new(),
    }
}
