//! The record in `Dlq-*` headers.
//!
//! Values are printable ASCII: everything else, and `%`, is percent-encoded. Spaces stay, so that an error can be read
//! with any NATS client. Times are RFC 3339 in UTC. Every header is listed in `docs/dead-letters.md`.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{DeadLetter, MAX_ERROR_BYTES, clean_log};
use crate::failure::Blame;
use crate::message::{Headers, Message};
use crate::name::{PluginName, RouteName, StreamName};
use crate::port::Origin;
use crate::retry::ExhaustedBy;
use crate::subject::Subject;
use crate::text::clean_text;

const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

pub(super) const ROUTE: &str = "Dlq-Route";
pub(super) const PLUGIN: &str = "Dlq-Plugin";
pub(super) const DIGEST: &str = "Dlq-Digest";
pub(super) const REASON: &str = "Dlq-Reason";
pub(super) const ERROR: &str = "Dlq-Error";
pub(super) const BLAME: &str = "Dlq-Blame";
pub(super) const ATTEMPTS: &str = "Dlq-Attempts";
pub(super) const EXHAUSTED_BY: &str = "Dlq-Exhausted-By";
pub(super) const STREAM: &str = "Dlq-Stream";
pub(super) const SEQUENCE: &str = "Dlq-Sequence";
pub(super) const SUBJECT: &str = "Dlq-Subject";
pub(super) const STORED: &str = "Dlq-Stored";
pub(super) const FIRST_FAILED: &str = "Dlq-First-Failed";
pub(super) const LAST_FAILED: &str = "Dlq-Last-Failed";
pub(super) const HOST: &str = "Dlq-Host";
pub(super) const REDRIVEN: &str = "Dlq-Redriven";
pub(super) const EVENT_ID: &str = "Dlq-Event-Id";
pub(super) const EVENT_TYPE: &str = "Dlq-Event-Type";
pub(super) const LOG: &str = "Dlq-Log";

/// Why a message is not a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the message is no dead letter: header `{0}` is missing")]
    Missing(&'static str),
    #[error("the message is no dead letter: header `{header}` should be {expected}, found `{found}`")]
    Bad { header: String, expected: &'static str, found: String },
}

pub(super) fn write(letter: &DeadLetter, headers: &mut Headers) {
    let mut set = |name: &str, value: &str| {
        // Clients lose an empty value; left out means the same.
        if !value.is_empty() {
            headers.append(name, escape(value));
        }
    };
    set(ROUTE, letter.route.as_str());
    set(PLUGIN, letter.plugin.as_str());
    set(DIGEST, &letter.digest);
    set(REASON, &letter.reason);
    set(ERROR, &clean_text(&letter.error, MAX_ERROR_BYTES));
    set(BLAME, letter.blame.as_str());
    set(ATTEMPTS, &letter.attempts.to_string());
    set(EXHAUSTED_BY, letter.exhausted_by.map_or("", ExhaustedBy::as_str));
    set(STREAM, letter.origin.stream.as_str());
    set(SEQUENCE, &letter.origin.sequence.to_string());
    set(SUBJECT, letter.original.subject.as_str());
    set(STORED, &rfc3339(letter.stored));
    set(FIRST_FAILED, &rfc3339(letter.first_failure));
    set(LAST_FAILED, &rfc3339(letter.last_failure));
    set(HOST, &letter.host);
    set(REDRIVEN, &letter.redriven.to_string());
    set(EVENT_ID, letter.event_id.as_deref().unwrap_or_default());
    set(EVENT_TYPE, letter.event_type.as_deref().unwrap_or_default());
    for line in clean_log(&letter.log_tail) {
        // An empty line is a lone `%`, which no escaped text is: the lines around it are not neighbours.
        headers.append(LOG, if line.is_empty() { "%".to_owned() } else { escape(&line).into_owned() });
    }
}

pub(super) fn route(message: &Message) -> Result<RouteName, RecordError> {
    Record(&message.headers).parse(ROUTE, "a route name", |text| RouteName::try_new(text).ok())
}

pub(super) fn read(message: &Message, original: Headers) -> Result<DeadLetter, RecordError> {
    let record = Record(&message.headers);
    let subject = record.parse(SUBJECT, "a subject", |text| Subject::try_new(text).ok())?;
    Ok(DeadLetter {
        original: Message { subject, headers: original, payload: message.payload.clone() },
        origin: Origin {
            stream: record.parse(STREAM, "a stream name", |text| StreamName::try_new(text).ok())?,
            sequence: record.parse(SEQUENCE, "a number", |text| text.parse().ok())?,
        },
        stored: record.parse(STORED, TIME, time)?,
        route: route(message)?,
        plugin: record.parse(PLUGIN, "a plugin name", |text| PluginName::try_new(text).ok())?,
        digest: record.text(DIGEST)?.unwrap_or_default().into_owned(),
        reason: record.text(REASON)?.unwrap_or_default().into_owned(),
        error: record.text(ERROR)?.unwrap_or_default().into_owned(),
        blame: record.parse(BLAME, "`event`, `plugin` or `host`", blame)?,
        attempts: record.parse(ATTEMPTS, "a number", |text| text.parse().ok())?,
        exhausted_by: match record.text(EXHAUSTED_BY)? {
            None => None,
            Some(_) => Some(record.parse(EXHAUSTED_BY, "`attempts` or `age`", exhausted_by)?),
        },
        first_failure: record.parse(FIRST_FAILED, TIME, time)?,
        last_failure: record.parse(LAST_FAILED, TIME, time)?,
        host: record.text(HOST)?.unwrap_or_default().into_owned(),
        redriven: record.parse(REDRIVEN, "a number", |text| text.parse().ok())?,
        event_id: record.text(EVENT_ID)?.map(Cow::into_owned),
        event_type: record.text(EVENT_TYPE)?.map(Cow::into_owned),
        log_tail: record.log()?,
    })
}

const TIME: &str = "a time such as `2026-01-31T12:00:00Z`";

/// The headers of a dead letter, read.
struct Record<'a>(&'a Headers);

impl<'a> Record<'a> {
    fn text(&self, header: &'static str) -> Result<Option<Cow<'a, str>>, RecordError> {
        self.0.get(header).map(|value| unescape(header, value)).transpose()
    }

    fn parse<T>(
        &self,
        header: &'static str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, RecordError> {
        let text = self.text(header)?.ok_or(RecordError::Missing(header))?;
        read(&text).ok_or_else(|| bad(header, expected, &text))
    }

    fn log(&self) -> Result<Vec<String>, RecordError> {
        let lines = self.0.iter().filter(|(name, _)| *name == LOG);
        lines
            .map(|(name, line)| if line == "%" { Ok(String::new()) } else { unescape(name, line).map(Cow::into_owned) })
            .collect()
    }
}

/// A text as a header value. Spaces at the ends are escaped too, since they would be lost.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    let escaped: Cow<'_, str> = utf8_percent_encode(text, ESCAPED).into();
    let inner = escaped.trim_matches(' ');
    if inner.len() == escaped.len() {
        return escaped;
    }
    let start = escaped.len() - escaped.trim_start_matches(' ').len();
    let end = escaped.len() - start - inner.len();
    Cow::Owned(format!("{}{inner}{}", "%20".repeat(start), "%20".repeat(end)))
}

pub(super) fn unescape<'a>(header: &str, value: &'a str) -> Result<Cow<'a, str>, RecordError> {
    percent_decode_str(value).decode_utf8().map_err(|_| bad(header, "percent-encoded UTF-8", value))
}

fn bad(header: &str, expected: &'static str, found: &str) -> RecordError {
    RecordError::Bad { header: clean_text(header, 80), expected, found: clean_text(found, 80) }
}

fn blame(text: &str) -> Option<Blame> {
    [Blame::Event, Blame::Plugin, Blame::Host].into_iter().find(|blame| blame.as_str() == text)
}

fn exhausted_by(text: &str) -> Option<ExhaustedBy> {
    [ExhaustedBy::Attempts, ExhaustedBy::Age].into_iter().find(|limit| limit.as_str() == text)
}

/// RFC 3339 in UTC, exact to the nanosecond. A clock outside of the years 1970 to 9999 shows the nearer end.
pub(super) fn rfc3339(time: SystemTime) -> String {
    /// 9999-12-31T23:59:59Z.
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().min(LAST);
    let time = OffsetDateTime::UNIX_EPOCH + since;
    time.format(&Rfc3339).unwrap_or_default()
}

fn time(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}
