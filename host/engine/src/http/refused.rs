//! Why a request did not succeed: a sentence for the person, a code for the guest.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tidemill_core::outbound::{OutboundDenial, Target};
use tokio_rustls::rustls;
use wasmtime_wasi_http::Error;

#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("a request was denied: {0}")]
    Denied(#[from] OutboundDenial),
    #[error("a request to `{0}` was denied: expected `HOST` or `HOST:PORT`, without user, password or escapes")]
    Authority(String),
    #[error("a request was denied: the plugin may send one only while it handles an event, not while it starts")]
    NoCall,
    #[error(
        "the request to `{target}` was not sent, because this call is only tried; `tidemill invoke --send-requests` sends it"
    )]
    NotSent { target: Target },
    #[error("the request `{request}` has no answer in this case; `http` gives it one")]
    Unanswered { request: String },
    #[error("a `CONNECT` request was denied: a tunnel could lead anywhere")]
    Tunnel,
    #[error(
        "a request was refused: the limit `http_requests` of {allowed} at the same time is used up; \
         `plugins.settings.<plugin>.limits.http_requests` in runtime.yaml raises it"
    )]
    TooMany { allowed: u32 },
    #[error(
        "the request to `{target}` was ended: the limit `http_timeout` of {allowed:?} is used up; \
         `plugins.settings.<plugin>.limits.http_timeout` in runtime.yaml raises it"
    )]
    TimedOut { target: Target, allowed: Duration },
    #[error(
        "the request to `{target}` was ended: its body exceeds the limit `http_body` of {allowed} bytes; \
         `plugins.settings.<plugin>.limits.http_body` in runtime.yaml raises it"
    )]
    RequestTooLarge { target: Target, allowed: u64 },
    #[error(
        "the request to `{target}` was ended: the answer's body exceeds the limit `http_body` of {allowed} bytes; \
         `plugins.settings.<plugin>.limits.http_body` in runtime.yaml raises it"
    )]
    AnswerTooLarge { target: Target, allowed: u64 },
    #[error("the request to `{target}` failed: its name cannot be resolved: {why}")]
    Unresolved { target: Target, why: String },
    #[error("the request to `{target}` failed: {address} does not take the connection: {why}")]
    Unconnected { target: Target, address: IpAddr, why: io::Error },
    #[error("the request to `{target}` failed: nobody took the connection within {allowed:?}")]
    ConnectTimedOut { target: Target, allowed: Duration },
    #[error("the request to `{target}` failed: no TLS connection: {why}")]
    Tls { target: Target, why: io::Error },
    #[error("the request to `{target}` failed: no answer within {allowed:?}, which is what the plugin would wait")]
    Silent { target: Target, allowed: Duration },
    #[error("the request to `{target}` failed: {why}")]
    Broken { target: Target, why: String },
    #[error("the request to `{target}` was ended with the call that had sent it")]
    CallEnded { target: Target },
}

// === impl Refused ===

impl Refused {
    /// Whether a line of `runtime.yaml` or another request would help, and not another time.
    pub(super) fn is_by_grant_or_limit(&self) -> bool {
        matches!(
            self,
            Refused::Denied(_)
                | Refused::Authority(_)
                | Refused::NoCall
                | Refused::NotSent { .. }
                | Refused::Unanswered { .. }
                | Refused::Tunnel
                | Refused::TooMany { .. }
                | Refused::TimedOut { .. }
                | Refused::RequestTooLarge { .. }
                | Refused::AnswerTooLarge { .. }
        )
    }

    /// The guest learns what kind of thing happened, and nothing about the network behind it.
    pub(super) fn code(&self) -> Error {
        match self {
            Refused::Denied(_)
            | Refused::Authority(_)
            | Refused::NoCall
            | Refused::NotSent { .. }
            | Refused::Unanswered { .. } => Error::HttpRequestDenied,
            Refused::Tunnel => Error::HttpRequestMethodInvalid,
            Refused::TooMany { .. } => Error::ConnectionLimitReached,
            Refused::TimedOut { .. } | Refused::Silent { .. } => Error::HttpResponseTimeout,
            Refused::RequestTooLarge { allowed, .. } => Error::HttpRequestBodySize(Some(*allowed)),
            Refused::AnswerTooLarge { allowed, .. } => Error::HttpResponseBodySize(Some(*allowed)),
            Refused::Unresolved { .. } => Error::DnsError { rcode: None, info_code: None },
            Refused::Unconnected { .. } => Error::ConnectionRefused,
            Refused::ConnectTimedOut { .. } => Error::ConnectionTimeout,
            Refused::Tls { why, .. } if is_about_certificate(why) => Error::TlsCertificateError,
            Refused::Tls { .. } => Error::TlsProtocolError,
            Refused::Broken { .. } => Error::HttpProtocolError,
            Refused::CallEnded { .. } => Error::ConnectionTerminated,
        }
    }
}

/// A server that does not prove who it is, in contrast to one that does not speak TLS.
fn is_about_certificate(why: &io::Error) -> bool {
    let why = why.get_ref().and_then(|why| why.downcast_ref());
    matches!(why, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented))
}
