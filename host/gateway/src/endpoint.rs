//! What an address means: the nine endpoints, each with its methods, its scope and its name in the metrics.

use http::Method;
use percent_encoding::percent_decode_str;
use tidemill_core::config::Scope;

/// What is at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Live,
    Ready,
    Metrics,
    OpenApi,
    Events,
    Stream { stream: String, subject: String },
    Documents { collection: String },
    Document { collection: String, key: String },
    Question { projection: String, name: String },
    Unknown,
}

/// What a client needs to be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    /// Any scope.
    Any,
    Scope(Scope),
}

/// The addresses, as the metrics and the OpenAPI document write them.
pub(crate) const TEMPLATES: [&str; 10] = [
    "/livez",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/v1/events",
    "/v1/streams/{stream}/{subject}",
    "/v1/read-models/{collection}",
    "/v1/read-models/{collection}/{key}",
    "/v1/queries/{projection}/{name}",
    "unknown",
];

// === impl Endpoint ===

impl Endpoint {
    /// What is at a path. A segment that is not UTF-8 after unescaping names nothing.
    pub(crate) fn at(path: &str) -> Self {
        let decoded: Option<Vec<String>> = path
            .strip_prefix('/')
            .unwrap_or_default()
            .split('/')
            .map(|segment| percent_decode_str(segment).decode_utf8().ok().map(String::from))
            .collect();
        let Some(decoded) = decoded else { return Self::Unknown };
        let segments: Vec<&str> = decoded.iter().map(String::as_str).collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            return Self::Unknown;
        }
        let own = |text: &str| text.to_owned();
        match segments[..] {
            ["livez"] => Self::Live,
            ["readyz"] => Self::Ready,
            ["metrics"] => Self::Metrics,
            ["openapi.json"] => Self::OpenApi,
            ["v1", "events"] => Self::Events,
            ["v1", "streams", stream, subject] => Self::Stream { stream: own(stream), subject: own(subject) },
            ["v1", "read-models", collection] => Self::Documents { collection: own(collection) },
            ["v1", "read-models", collection, key] => Self::Document { collection: own(collection), key: own(key) },
            ["v1", "queries", projection, name] => Self::Question { projection: own(projection), name: own(name) },
            _ => Self::Unknown,
        }
    }

    /// Its place in [`TEMPLATES`].
    pub(crate) fn number(&self) -> usize {
        match self {
            Self::Live => 0,
            Self::Ready => 1,
            Self::Metrics => 2,
            Self::OpenApi => 3,
            Self::Events => 4,
            Self::Stream { .. } => 5,
            Self::Documents { .. } => 6,
            Self::Document { .. } => 7,
            Self::Question { .. } => 8,
            Self::Unknown => 9,
        }
    }

    pub(crate) fn takes(&self, method: &Method) -> bool {
        match self.allow() {
            "POST" => method == Method::POST,
            _ => method == Method::GET || method == Method::HEAD,
        }
    }

    /// The methods that it has, as the header `Allow` lists them.
    pub(crate) fn allow(&self) -> &'static str {
        match self {
            Self::Events | Self::Stream { .. } => "POST",
            _ => "GET, HEAD",
        }
    }

    pub(crate) fn need(&self) -> Need {
        match self {
            Self::Live | Self::Ready => Need::Nothing,
            Self::Metrics => Need::Scope(Scope::Admin),
            Self::OpenApi | Self::Unknown => Need::Any,
            Self::Events | Self::Stream { .. } => Need::Scope(Scope::Ingest),
            Self::Documents { .. } | Self::Document { .. } | Self::Question { .. } => Need::Scope(Scope::Read),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_to_endpoints() {
        let document =
            |collection: &str, key: &str| Endpoint::Document { collection: collection.into(), key: key.into() };
        for (path, endpoint) in [
            ("/livez", Endpoint::Live),
            ("/v1/events", Endpoint::Events),
            ("/v1/read-models/orders/o-1", document("orders", "o-1")),
            ("/v1/read-models/orders/a%2Fb%20%C3%A4", document("orders", "a/b ä")),
            ("/v1/read-models/orders/..", document("orders", "..")),
            ("/v1/read-models/orders", Endpoint::Documents { collection: "orders".into() }),
            ("/v1/read-models/orders/", Endpoint::Unknown),
            ("/v1/read-models/orders/a/b", Endpoint::Unknown),
            ("/v1/read-models/orders/%ff", Endpoint::Unknown),
            ("//livez", Endpoint::Unknown),
            ("/", Endpoint::Unknown),
            ("*", Endpoint::Unknown),
        ] {
            assert_eq!(Endpoint::at(path), endpoint, "{path}");
        }
    }

    #[test]
    fn each_template_is_the_address_of_its_endpoint() {
        for (number, template) in TEMPLATES.iter().enumerate() {
            assert_eq!(Endpoint::at(template).number(), number, "{template}");
        }
    }
}
