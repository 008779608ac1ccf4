//! A request's body, whole: so large at most, and within its time.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};

use crate::problem::{Problem, ProblemKind};

/// Reads the body. After a problem the connection is of no more use, since the rest of the body may still come.
pub(crate) async fn read(
    body: Incoming,
    headers: &HeaderMap,
    allowed: u64,
    timeout: Duration,
) -> Result<Bytes, Problem> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        let detail = "expected a body without `Content-Encoding`";
        return Err(last(Problem::new(ProblemKind::UnsupportedMediaType, detail)));
    }
    // What announces itself as too large is not read at all.
    if body.size_hint().lower() > allowed {
        return Err(too_large(allowed));
    }
    let limited = Limited::new(body, usize::try_from(allowed).unwrap_or(usize::MAX));
    match tokio::time::timeout(timeout, limited.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(allowed)),
        Ok(Err(error)) => {
            Err(last(Problem::new(ProblemKind::BadRequest, format!("the body could not be read: {error}"))))
        }
        Err(_) => {
            let detail = format!("expected the whole body within {timeout:?}; `http.limits.timeout` in runtime.yaml");
            Err(last(Problem::new(ProblemKind::BodyTimeout, detail)))
        }
    }
}

fn too_large(allowed: u64) -> Problem {
    let detail = format!("at most {allowed} bytes are taken; `http.limits.body` in runtime.yaml raises it");
    last(Problem::new(ProblemKind::TooLarge, detail))
}

fn last(problem: Problem) -> Problem {
    problem.header(header::CONNECTION, HeaderValue::from_static("close"))
}
