//! What a client is told when it does not get what it asked for: problem details (RFC 9457).
//!
//! The kind is a closed list; `docs/http.md` has all of them, and a test keeps it complete. The text is for a person, and may
//! hold what the client sent: it is cleaned and bounded here.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Map, Value, json};
use tidemill_core::schema::Violations;
use tidemill_core::text::clean_text;

/// Texts are cut here.
const MAX_DETAIL_BYTES: usize = 1000;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:literal $code:literal $title:literal,)*) => {
        /// What kind of problem there is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ProblemKind {
            $($(#[$doc])* $name,)*
        }

        /// All kinds: code, status and title.
        pub const CODES: &[(&str, u16, &str)] = &[$(($code, $status, $title),)*];

        impl ProblemKind {
            fn entry(self) -> (&'static str, u16, &'static str) {
                CODES[self as usize]
            }
        }
    };
}

kinds! {
    BadRequest = 400 "bad-request" "The request is not understood",
    BadQuery = 400 "bad-query" "The question is not understood",
    UnindexedSort = 400 "unindexed-sort" "Too many documents to sort without an index",
    MalformedEvent = 400 "malformed-event" "The body is no event",
    Unauthorized = 401 "unauthorized" "A token or a client certificate is needed",
    Forbidden = 403 "forbidden" "This client may not do that",
    CrossOrigin = 403 "cross-origin" "Requests from other web sites are refused",
    NotFound = 404 "not-found" "There is nothing at this address",
    NoCollection = 404 "no-collection" "There is no such collection",
    NoDocument = 404 "no-document" "There is no such document",
    NoProjection = 404 "no-projection" "There is no such projection",
    NoStream = 404 "no-stream" "There is no such stream",
    MethodNotAllowed = 405 "method-not-allowed" "This method is not for this address",
    BodyTimeout = 408 "body-timeout" "The body did not arrive in time",
    CursorExpired = 410 "cursor-expired" "The cursor belongs to another copy of the read model",
    TooLarge = 413 "too-large" "The body is too large",
    UnsupportedMediaType = 415 "unsupported-media-type" "The body's media type is not taken here",
    WrongHost = 421 "wrong-host" "This host name is not served here",
    InvalidEvent = 422 "invalid-event" "The event's data does not match its schema",
    SchemaMissing = 422 "schema-missing" "There is no schema for the event",
    UnknownType = 422 "unknown-type" "Events of this type are not taken",
    BatchRefused = 422 "batch-refused" "Events of the batch are refused",
    Refused = 422 "refused" "The broker refuses this",
    QueryRefused = 422 "query-refused" "The plugin refuses this question",
    TooManyRequests = 429 "too-many-requests" "Too many requests from this address",
    PluginFailed = 500 "plugin-failed" "The plugin failed",
    StoreRefused = 500 "store-refused" "The store of read models refuses this",
    BrokerUnavailable = 503 "broker-unavailable" "The broker is unavailable",
    StoreUnavailable = 503 "store-unavailable" "The store of read models is unavailable",
    NotReady = 503 "not-ready" "Not ready yet",
    NotFresh = 504 "not-fresh" "The read model is not that far yet",
    TooSlow = 504 "too-slow" "The question takes too long",
}

/// An answer that is none.
#[derive(Debug)]
pub(crate) struct Problem {
    kind: ProblemKind,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

// === impl Problem ===

impl Problem {
    pub(crate) fn new(kind: ProblemKind, detail: impl AsRef<str>) -> Self {
        let detail = clean_text(detail.as_ref(), MAX_DETAIL_BYTES);
        Self { kind, detail, members: Map::new(), headers: Vec::new() }
    }

    /// With what is wrong with the data, each thing with its place.
    pub(crate) fn violations(kind: ProblemKind, violations: &Violations) -> Self {
        let error = |pointer: &str, message: String| json!({ "pointer": pointer, "message": message });
        let errors: Vec<Value> = violations
            .iter()
            .map(|it| error(&it.pointer, format!("expected {}, found {}", it.expected, it.found)))
            .collect();
        Self::new(kind, violations.to_string()).with("errors", Value::from(errors))
    }

    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Says when it is worth trying again.
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    pub(crate) fn kind(&self) -> ProblemKind {
        self.kind
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.entry().1).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The problem as a JSON object.
    pub(crate) fn to_json(&self) -> Value {
        let (code, status, title) = self.kind.entry();
        let mut object = Map::new();
        object.insert("type".to_owned(), format!("urn:tidemill:problem:{code}").into());
        object.insert("title".to_owned(), title.into());
        object.insert("status".to_owned(), status.into());
        object.insert("detail".to_owned(), self.detail.as_str().into());
        object.extend(self.members.clone());
        Value::Object(object)
    }

    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from(self.to_json().to_string()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.headers.into_iter().map(|(name, value)| (Some(name), value)));
        response
    }
}
