//! The CloudEvents HTTP binding 1.0.2: which mode a request is in, and the event that it holds.
//!
//! Source: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>. The content type
//! alone tells the mode. An event is decoded by the core, which reads the same attributes from a broker's messages; here they
//! are only put into the form that it knows.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, header};
use tidemill_core::envelope::{self, Envelope};
use tidemill_core::event::Event;
use tidemill_core::message::{Headers, Message};
use tidemill_core::name::StreamName;
use tidemill_core::port::Origin;
use tidemill_core::read_model::Parameter;
use tidemill_core::subject::Subject;
use tidemill_core::text::clean_text;

use crate::problem::{Problem, ProblemKind};

const STRUCTURED: &str = "application/cloudevents+json";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Attributes in `ce-*` headers, the body is the data.
    Binary,
    /// One JSON object.
    Structured,
    /// A JSON array of such.
    Batch,
}

/// The mode of a request.
pub(super) fn mode(headers: &HeaderMap) -> Result<Mode, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).map_or(Ok(""), |value| value.to_str());
    let content_type = content_type.map_err(|_| media_type("a `Content-Type` that is not ASCII"))?;
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let mode = match essence.as_str() {
        STRUCTURED => Mode::Structured,
        "application/cloudevents-batch+json" => Mode::Batch,
        other if other.starts_with("application/cloudevents") => return Err(media_type(&format!("`{content_type}`"))),
        _ if headers.contains_key("ce-specversion") => return Ok(Mode::Binary),
        _ if headers.keys().any(|name| name.as_str().starts_with("ce-")) => {
            let detail = "the header `ce-specversion` is missing: expected `ce-specversion: 1.0` beside the other `ce-*` headers";
            return Err(Problem::new(ProblemKind::MalformedEvent, detail));
        }
        _ => return Err(media_type("neither")),
    };
    let charset = parts.find_map(|part| part.strip_prefix("charset=")).map(|charset| charset.trim_matches('"'));
    match charset {
        Some(charset) if !charset.eq_ignore_ascii_case("utf-8") => Err(media_type(&format!("`{content_type}`"))),
        _ => Ok(mode),
    }
}

fn media_type(found: &str) -> Problem {
    let detail = format!(
        "expected a CloudEvent: its attributes as headers (`ce-specversion: 1.0`, `ce-id`, `ce-source`, `ce-type`), or \
         `Content-Type: {STRUCTURED}` or `application/cloudevents-batch+json` in UTF-8; found {}",
        clean_text(found, 100)
    );
    Problem::new(ProblemKind::UnsupportedMediaType, detail)
}

/// The event of a request in binary mode.
pub(super) fn binary(headers: &HeaderMap, body: Bytes) -> Result<Event, Problem> {
    let mut carried = Headers::with_capacity(headers.len());
    for (name, value) in headers {
        let name = name.as_str();
        // `Content-Type` is the attribute `datacontenttype` here, and no other header is.
        let counts = name.starts_with("ce-") && name != "ce-datacontenttype";
        if !counts && !matches!(name, "content-type" | "traceparent" | "tracestate") {
            continue;
        }
        // Bytes above ASCII should be escaped; who sends UTF-8 as it is means it.
        let value = str::from_utf8(value.as_bytes())
            .map_err(|_| Problem::new(ProblemKind::MalformedEvent, format!("the header `{name}` is not UTF-8")))?;
        carried.append(name, value);
    }
    decode(carried, body)
}

/// The event of a JSON object.
pub(super) fn structured(body: Bytes) -> Result<Event, Problem> {
    decode(Headers::from_iter([("content-type", STRUCTURED)]), body)
}

fn decode(headers: Headers, payload: Bytes) -> Result<Event, Problem> {
    let message = Message { subject: HERE.subject.clone(), headers, payload };
    envelope::decode(&Envelope::CloudEvents, &message, &HERE.origin)
        .map_err(|error| Problem::new(ProblemKind::MalformedEvent, error.to_string()))
}

/// Whether a batch shall be refused as a whole when one of its events is: `?atomic=true`.
pub(super) fn atomic(params: &[Parameter]) -> Result<bool, Problem> {
    let mut atomic = false;
    for (name, value) in params {
        atomic = match (name.as_str(), value.as_str()) {
            ("atomic", "true") => true,
            ("atomic", "false") => false,
            _ => {
                let detail = format!("`{name}={value}` is refused: expected `atomic=true`, `atomic=false` or nothing");
                return Err(Problem::new(ProblemKind::BadRequest, detail));
            }
        };
    }
    Ok(atomic)
}

/// Where a message would stand. The core makes ids from it for envelopes that have none; a CloudEvent has its own.
struct Here {
    subject: Subject,
    origin: Origin,
}

#[allow(clippy::expect_used, reason = "both are constants, and every test decodes an event")]
static HERE: LazyLock<Here> = LazyLock::new(|| Here {
    subject: Subject::try_new("http").expect("a constant subject"),
    origin: Origin { stream: StreamName::try_new("HTTP").expect("a constant name"), sequence: 0 },
});
