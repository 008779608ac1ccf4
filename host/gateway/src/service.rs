//! One request, from its head to its answer.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tidemill_core::config::HttpConfig;
use tokio::time::Instant;

use crate::access::Access;
use crate::endpoint::Endpoint;
use crate::metrics::{self, Requests};
use crate::problem::{Problem, ProblemKind};
use crate::rate::Rate;
use crate::reply::{self, Answered};
use crate::runtime::Runtime;
use crate::{events, openapi, read};

/// Who asks, as far as the connection tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    /// The address that it connected to.
    pub(crate) local: IpAddr,
    pub(crate) remote: IpAddr,
    /// Whether it showed a certificate, which was found good then.
    pub(crate) certified: bool,
}

/// Everything that answers.
pub(crate) struct Service {
    pub(crate) config: HttpConfig,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) access: Access,
    pub(crate) rate: Option<Rate>,
    pub(crate) counts: Requests,
}

// === impl Service ===

impl Service {
    pub(crate) fn new(config: HttpConfig, runtime: Arc<dyn Runtime>) -> Self {
        let access = Access::new(&config);
        let rate = config.limits.requests_per_second.map(Rate::new);
        Self { config, runtime, access, rate, counts: Requests::default() }
    }

    /// Answers; a problem is an answer too.
    pub(crate) async fn answer(
        &self,
        client: Client,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let begun = Instant::now();
        let endpoint = Endpoint::at(request.uri().path());
        let (number, method) = (endpoint.number(), request.method().clone());
        let answered = match self.admit(client, &endpoint, &request) {
            Ok(()) => self.reply(endpoint, request).await,
            Err(problem) => Err(problem),
        };
        let mut response = answered.unwrap_or_else(Problem::into_response);
        let headers = response.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        self.counts.answered(number, &method, response.status(), begun.elapsed());
        Ok(response)
    }

    async fn reply(&self, endpoint: Endpoint, request: Request<Incoming>) -> Answered {
        match endpoint {
            Endpoint::Live => Ok(reply::with_type(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".into())),
            Endpoint::Ready => self.ready().await,
            Endpoint::Metrics => {
                let text = metrics::encode(&self.runtime.metrics().await, &self.counts);
                Ok(reply::with_type(StatusCode::OK, metrics::MEDIA_TYPE, text.into()))
            }
            Endpoint::OpenApi => {
                reply::json(StatusCode::OK, &openapi::document(&self.runtime.catalogue(), &self.config))
            }
            Endpoint::Events => events::take(self, request).await,
            Endpoint::Stream { stream, subject } => events::take_raw(self, request, &stream, &subject).await,
            Endpoint::Documents { collection } => read::documents(self, &request, &collection).await,
            Endpoint::Document { collection, key } => read::document(self, &request, &collection, key).await,
            Endpoint::Question { projection, name } => read::question(self, &request, &projection, &name).await,
            Endpoint::Unknown => {
                let detail =
                    format!("there is nothing at `{}`; `/openapi.json` lists what there is", request.uri().path());
                Err(Problem::new(ProblemKind::NotFound, detail))
            }
        }
    }

    async fn ready(&self) -> Answered {
        let reasons = self.runtime.health().await.reasons();
        if reasons.is_empty() {
            return Ok(reply::with_type(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".into()));
        }
        let problem = Problem::new(ProblemKind::NotReady, reasons.join("; "));
        Err(problem.with("reasons", reasons.into()).retry_after(1))
    }
}
