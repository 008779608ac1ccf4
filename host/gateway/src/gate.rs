//! The gate: what every request must pass before anybody looks at what it wants.

use http::{HeaderValue, Request, header};
use tokio::time::Instant;

use crate::endpoint::{Endpoint, Need};
use crate::problem::{Problem, ProblemKind};
use crate::service::{Client, Service};

impl Service {
    /// Lets a request in, or says why not. Health is for everybody: whoever probes it knows neither names nor tokens.
    pub(crate) fn admit<B>(&self, client: Client, endpoint: &Endpoint, request: &Request<B>) -> Result<(), Problem> {
        let need = endpoint.need();
        if need != Need::Nothing {
            self.access.check_host(client, request.uri(), request.headers())?;
            self.access.check_origin(client, request.headers())?;
            // Before the tokens, so that nobody can try many.
            self.check_rate(client)?;
            self.access.check(need, client, request.headers())?;
        }
        if *endpoint != Endpoint::Unknown && !endpoint.takes(request.method()) {
            let detail = format!("`{}` is not for this address; {} are", request.method(), endpoint.allow());
            let problem = Problem::new(ProblemKind::MethodNotAllowed, detail);
            return Err(problem.header(header::ALLOW, HeaderValue::from_static(endpoint.allow())));
        }
        Ok(())
    }

    fn check_rate(&self, client: Client) -> Result<(), Problem> {
        let Some(rate) = &self.rate else { return Ok(()) };
        if rate.allows(client.remote, Instant::now()) {
            return Ok(());
        }
        let detail = "more requests than `http.limits.requests_per_second` in runtime.yaml allows one address";
        Err(Problem::new(ProblemKind::TooManyRequests, detail).retry_after(1))
    }
}
