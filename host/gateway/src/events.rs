//! Events that come in: CloudEvents by `POST /v1/events`, anything by `POST /v1/streams/{stream}/{subject}`.
//!
//! An event is answered with 202 once it is stored. Its message id is made from its source and its id, so sending it again, after
//! an answer that was lost, stores nothing new. Nothing is claimed that did not happen: where it is not known whether the broker
//! took an event, the answer is 503, and sending it again is right.

mod batch;
mod binding;
mod checked;
mod raw;

use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use tidemill_core::config::Ingest;
use tidemill_core::port::{BrokerError, Outgoing, Published};

use crate::body;
use crate::parameters;
use crate::problem::{Problem, ProblemKind};
use crate::reply::{self, Answered};
use crate::service::Service;

use binding::Mode;
use checked::Checked;

pub(crate) use raw::take_raw;

/// After a broker that is away, a client may try again.
const RETRY_SECONDS: u64 = 2;

/// What may stand in a segment of a path as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What the sender of an event is told: where it is stored, which is also the token for `wait_for`.
#[derive(Debug, Serialize)]
struct Receipt {
    id: String,
    stream: String,
    sequence: u64,
    /// Whether it had been stored before.
    duplicate: bool,
}

/// `POST /v1/events`.
pub(crate) async fn take(service: &Service, request: Request<Incoming>) -> Answered {
    let atomic = binding::atomic(&parameters::parse(request.uri().query())?)?;
    let (head, body) = request.into_parts();
    let mode = binding::mode(&head.headers)?;
    let limits = &service.config.limits;
    let body = body::read(body, &head.headers, limits.body, limits.timeout).await?;
    let catalogue = service.runtime.catalogue();
    let event = match mode {
        Mode::Batch => return batch::take(service, &catalogue, &body, atomic).await,
        Mode::Structured => binding::structured(body)?,
        Mode::Binary => binding::binary(&head.headers, body)?,
    };
    let checked = Checked::of(event, &catalogue)?;
    let (id, track) = (checked.id.clone(), checked.rule.track.is_some().then(|| location(checked.rule, &checked.id)));
    let published = publish_one(service, checked.outgoing).await?;
    let mut response = reply::json(StatusCode::ACCEPTED, &Receipt::new(id, &published))?;
    if let Some(location) = track.flatten() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

async fn publish_one(service: &Service, outgoing: Outgoing) -> Result<Published, Problem> {
    let results = publish(service, vec![outgoing]).await;
    results.into_iter().next().unwrap_or_else(|| Err(silent()))
}

/// Publishes, and waits no longer than a client is made to wait for anything else.
async fn publish(service: &Service, messages: Vec<Outgoing>) -> Vec<Result<Published, Problem>> {
    let count = messages.len();
    match tokio::time::timeout(service.config.limits.timeout, service.runtime.publish(messages)).await {
        Ok(results) => results.into_iter().map(|result| result.map_err(not_published)).collect(),
        Err(_) => (0..count).map(|_| Err(silent())).collect(),
    }
}

fn not_published(error: BrokerError) -> Problem {
    match error {
        BrokerError::Unavailable { .. } => {
            let detail = format!("{error}; whether the event was stored is not known, sending it again is safe");
            Problem::new(ProblemKind::BrokerUnavailable, detail).retry_after(RETRY_SECONDS)
        }
        BrokerError::Refused(_) | BrokerError::Incompatible(_) => Problem::new(ProblemKind::Refused, error.to_string()),
    }
}

fn silent() -> Problem {
    let detail = "the broker does not answer; whether the event was stored is not known, sending it again is safe";
    Problem::new(ProblemKind::BrokerUnavailable, detail).retry_after(RETRY_SECONDS)
}

/// Where the document will be that tells what became of an event.
fn location(rule: &Ingest, id: &str) -> Option<HeaderValue> {
    let collection = rule.track.as_ref()?;
    HeaderValue::try_from(format!("/v1/read-models/{collection}/{}", utf8_percent_encode(id, SEGMENT))).ok()
}

// === impl Receipt ===

impl Receipt {
    fn new(id: String, published: &Published) -> Self {
        let Published { stream, sequence, duplicate } = published;
        Self { id, stream: stream.to_string(), sequence: *sequence, duplicate: *duplicate }
    }
}
