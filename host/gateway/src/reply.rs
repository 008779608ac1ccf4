//! Answers.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use tidemill_core::read_model::Positions;

use crate::problem::{Problem, ProblemKind};

/// Where the copy stood that an answer was read from: `ORDERS=123, CUSTOMERS=45`.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("tidemill-position");

/// An answer, or the problem that there is instead.
pub(crate) type Answered = Result<Response<Full<Bytes>>, Problem>;

pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Answered {
    let text = serde_json::to_vec(value)
        .map_err(|error| Problem::new(ProblemKind::StoreRefused, format!("the answer is no JSON: {error}")))?;
    Ok(with_type(status, "application/json", text.into()))
}

pub(crate) fn with_type(status: StatusCode, media_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// The positions as a header value. Names of streams are plain ASCII.
pub(crate) fn position(positions: &Positions) -> HeaderValue {
    let each: Vec<String> = positions.iter().map(|(stream, sequence)| format!("{stream}={sequence}")).collect();
    HeaderValue::try_from(each.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use tidemill_core::name::StreamName;

    use super::*;

    #[test]
    fn a_position_names_every_stream() {
        let stream = |name| StreamName::try_new(name).unwrap();
        let positions = Positions::from([(stream("ORDERS"), 123), (stream("CUSTOMERS"), 4)]);
        assert_eq!(position(&positions), "CUSTOMERS=4, ORDERS=123");
        assert_eq!(position(&Positions::new()), "");
    }
}
