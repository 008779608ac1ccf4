//! Any body to any subject of a stream.
//!
//! Nothing is checked here but the address: what stands in the stream is checked by the routes that read it, as if any other
//! producer had published it. Of the headers only those go on that say what the body is; those that command a NATS server
//! (`Nats-*`) or the host (`Tidemill-*`) are not a client's to send.

use http::{HeaderMap, Request, StatusCode};
use hyper::body::Incoming;
use tidemill_core::config::StreamConfig;
use tidemill_core::envelope;
use tidemill_core::grant;
use tidemill_core::message::{Headers, Message};
use tidemill_core::name::StreamName;
use tidemill_core::port::Outgoing;
use tidemill_core::subject::Subject;
use uuid::Uuid;

use super::{Receipt, publish_one};
use crate::body;
use crate::problem::{Problem, ProblemKind};
use crate::reply::{self, Answered};
use crate::runtime::Catalogue;
use crate::service::Service;

/// Longer than any id that is in use.
const MAX_KEY_BYTES: usize = 256;

/// `POST /v1/streams/{stream}/{subject}`.
pub(crate) async fn take_raw(service: &Service, request: Request<Incoming>, stream: &str, subject: &str) -> Answered {
    let catalogue = service.runtime.catalogue();
    let (stream, subject) = address(&catalogue, stream, subject)?;
    let (head, body) = request.into_parts();
    let id = match key(&head.headers)? {
        Some(key) => envelope::posted_id(stream, &subject, key),
        None => Uuid::now_v7(),
    };
    let (id, headers) = (id.to_string(), carried(&head.headers)?);
    let limits = &service.config.limits;
    let payload = body::read(body, &head.headers, limits.body, limits.timeout).await?;
    let outgoing = Outgoing { id: id.clone(), message: Message { subject, headers, payload } };
    let published = publish_one(service, outgoing).await?;
    reply::json(StatusCode::ACCEPTED, &Receipt::new(id, &published))
}

/// The stream, and the subject if it is one of the stream's.
fn address<'c>(catalogue: &'c Catalogue, stream: &str, subject: &str) -> Result<(&'c StreamName, Subject), Problem> {
    let bad = |detail: String| Problem::new(ProblemKind::BadRequest, detail);
    let StreamConfig { name, subjects, .. } = catalogue.stream(stream).ok_or_else(|| {
        let detail = format!("there is no stream `{stream}`; `streams` in runtime.yaml declares streams");
        Problem::new(ProblemKind::NoStream, detail)
    })?;
    let subject = Subject::try_new(subject).map_err(|error| bad(error.to_string()))?;
    if grant::is_reserved(subject.as_str()) {
        return Err(bad(format!("`{subject}` belongs to the server or to the host")));
    }
    if !subjects.iter().any(|pattern| pattern.matches(subject.as_str())) {
        let known: Vec<String> = subjects.iter().map(|pattern| format!("`{pattern}`")).collect();
        return Err(bad(format!(
            "`{subject}` is no subject of the stream `{name}`, which stores {}",
            known.join(", ")
        )));
    }
    Ok((name, subject))
}

/// What makes sending the body to the same subject twice the same as once, where the client names it.
fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get("idempotency-key").or_else(|| headers.get("nats-msg-id")) else { return Ok(None) };
    let fits =
        |text: &&str| (1..=MAX_KEY_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    value.to_str().ok().filter(fits).map(Some).ok_or_else(|| {
        let detail = format!("`Idempotency-Key` is refused: expected 1 to {MAX_KEY_BYTES} visible ASCII characters");
        Problem::new(ProblemKind::BadRequest, detail)
    })
}

fn carried(headers: &HeaderMap) -> Result<Headers, Problem> {
    let mut carried = Headers::new();
    for (name, value) in headers {
        let name = name.as_str();
        if name.starts_with("ce-") || matches!(name, "content-type" | "traceparent" | "tracestate") {
            let value = value
                .to_str()
                .map_err(|_| Problem::new(ProblemKind::BadRequest, format!("the header `{name}` is not ASCII")))?;
            carried.append(name, value);
        }
    }
    Ok(carried)
}
