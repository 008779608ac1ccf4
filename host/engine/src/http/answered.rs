//! A request that never leaves: on a stage its answer is given, and what was asked is written down.
//!
//! Everything that is asked before a request leaves was asked: a plugin that is not granted a host is not answered for it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tidemill_core::outbound::Target;
use wasmtime_wasi_http::{Error, WasiBody};

use super::Notes;
use super::refused::Refused;
use crate::stage::{Answer, Answers, Props, Request};

/// A request that is answered on the stage.
pub(super) struct Answered {
    pub(super) answers: Arc<dyn Answers>,
    pub(super) props: Arc<Props>,
    pub(super) target: Target,
    pub(super) notes: Notes,
}

// === impl Answered ===

impl Answered {
    /// Waits until the guest has written the whole body.
    pub(super) async fn run(self, request: http::Request<WasiBody>) -> Result<Response<WasiBody>, Error> {
        let asked = described(&self.target, &request);
        let body = request.into_body().collect().await?.to_bytes();
        let asked = Request { body, ..asked };
        let answer = self.answers.answer(&asked);
        let refused = || Refused::Unanswered { request: asked.line() };
        let answer = answer.ok_or_else(|| self.notes.note(&refused()));
        self.props.asked(asked);
        Ok(response(answer?))
    }
}

/// The request without its body.
pub(super) fn described(target: &Target, request: &http::Request<WasiBody>) -> Request {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    Request { method: request.method().to_string(), url: format!("{target}{path}"), body: Bytes::new() }
}

/// What is no header is left out: whoever gives an answer has been told before.
fn response(Answer { status, headers, body }: Answer) -> Response<WasiBody> {
    // An infallible body has no error to turn into one of HTTP's.
    let mut response = Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}
