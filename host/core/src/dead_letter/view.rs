//! A dead letter for `--output json`. The field names are part of the command line's interface.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::DeadLetter;
use super::record::rfc3339;
use crate::retry::ExhaustedBy;

/// A dead letter as JSON: flat, times in RFC 3339, the payload as text where it is text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetterView<'a> {
    pub id: u64,
    pub route: &'a str,
    pub plugin: &'a str,
    pub digest: &'a str,
    pub reason: &'a str,
    pub error: &'a str,
    pub blame: &'static str,
    pub attempts: u32,
    pub exhausted_by: Option<&'static str>,
    pub stream: &'a str,
    pub sequence: u64,
    pub subject: &'a str,
    pub stored: String,
    pub first_failure: String,
    pub last_failure: String,
    pub host: &'a str,
    pub redriven: u32,
    pub event_id: Option<&'a str>,
    pub event_type: Option<&'a str>,
    pub log: &'a [String],
    /// The original's headers in order; a name may stand there more than once.
    pub headers: Vec<(&'a str, &'a str)>,
    /// The original's payload, if it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<&'a str>,
    /// The original's payload in Base64, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
}

impl<'a> DeadLetterView<'a> {
    pub(super) fn new(letter: &'a DeadLetter, id: u64) -> Self {
        let payload = str::from_utf8(&letter.original.payload).ok();
        Self {
            id,
            route: letter.route.as_str(),
            plugin: letter.plugin.as_str(),
            digest: &letter.digest,
            reason: &letter.reason,
            error: &letter.error,
            blame: letter.blame.as_str(),
            attempts: letter.attempts,
            exhausted_by: letter.exhausted_by.map(ExhaustedBy::as_str),
            stream: letter.origin.stream.as_str(),
            sequence: letter.origin.sequence,
            subject: letter.original.subject.as_str(),
            stored: rfc3339(letter.stored),
            first_failure: rfc3339(letter.first_failure),
            last_failure: rfc3339(letter.last_failure),
            host: &letter.host,
            redriven: letter.redriven,
            event_id: letter.event_id.as_deref(),
            event_type: letter.event_type.as_deref(),
            log: &letter.log_tail,
            headers: letter.original.headers.iter().collect(),
            payload,
            payload_base64: payload.is_none().then(|| STANDARD.encode(&letter.original.payload)),
        }
    }
}
