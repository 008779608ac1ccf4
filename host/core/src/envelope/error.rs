//! Why a message is not an event.

use crate::json::JsonError;
use crate::text::clean_text;

/// Found values are shown up to this many bytes.
const SHOWN_BYTES: usize = 80;

/// Why a message is not an event. Texts from the message are cleaned and shortened, so that the error can be shown and
/// stored as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error(
        "the message is no CloudEvent: expected a `ce-specversion` header or a JSON object with `specversion`, found {found}; \
         for plain messages set `envelope: raw` on the stream"
    )]
    NotCloudEvent { found: String },
    #[error("attribute `{attribute}` is missing: expected {expected}")]
    Missing { attribute: &'static str, expected: &'static str },
    #[error("attribute `{attribute}` is empty: expected {expected}")]
    Empty { attribute: String, expected: &'static str },
    #[error("attribute `{attribute}` is too long: expected at most {allowed} bytes, found {bytes}")]
    TooLong { attribute: String, allowed: usize, bytes: usize },
    #[error("attribute `{attribute}` holds a control character: expected printable text, found `{found}`")]
    ControlCharacter { attribute: String, found: String },
    #[error("attribute `{attribute}` is badly escaped: expected `%` and two hexadecimal digits, found `{found}`")]
    BadEscape { attribute: String, found: String },
    #[error("attribute `{attribute}` is not UTF-8 after unescaping, found `{found}`")]
    NotUtf8 { attribute: String, found: String },
    #[error("attribute `{attribute}` is given twice")]
    Repeated { attribute: String },
    #[error("attribute `{attribute}` has the wrong type: expected {expected}, found {found}")]
    WrongType { attribute: String, expected: &'static str, found: String },
    #[error("attribute `{attribute}` is no time: expected RFC 3339 like `2026-01-31T12:00:00Z`, found `{found}`")]
    BadTime { attribute: &'static str, found: String },
    #[error("attribute `specversion` is not supported: expected `1.0`, found `{found}`")]
    BadSpecVersion { found: String },
    #[error("`{found}` is not an attribute name: expected 1 to 64 of `a-z` and `0-9`")]
    BadName { found: String },
    #[error("there are too many extension attributes: expected at most {allowed}")]
    TooManyExtensions { allowed: usize },
    #[error("`data` and `data_base64` are both given: expected one of them")]
    TwoData,
    #[error("attribute `data_base64` is not Base64: {reason}")]
    BadBase64 { reason: String },
    #[error(
        "content type `{found}` is not supported: expected binary mode or `application/cloudevents+json`, one event per message"
    )]
    UnsupportedFormat { found: String },
    #[error("the payload is not usable JSON: {reason}")]
    BadJson { reason: String },
    #[error("the payload is not an event: expected a JSON object, found {found}")]
    NotAnObject { found: &'static str },
}

/// Shortens and cleans a text from a message for an error.
pub(super) fn shown(text: &str) -> String {
    clean_text(text, SHOWN_BYTES)
}

impl From<JsonError> for DecodeError {
    fn from(error: JsonError) -> Self {
        DecodeError::BadJson { reason: clean_text(&error.to_string(), 512) }
    }
}
