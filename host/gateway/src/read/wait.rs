//! Reading what one has written: `wait_for=ORDERS:123`.

use std::time::Duration;

use tidemill_core::name::ProjectionName;
use tidemill_core::read_model::QueryOptions;
use tokio::time::Instant;

use crate::problem::{Problem, ProblemKind};
use crate::reply::{self, POSITION};
use crate::runtime::Waited;
use crate::service::Service;

/// How long a question may take: what it says, and no longer than the configuration allows.
pub(super) fn timeout(service: &Service, options: &QueryOptions) -> Duration {
    let longest = service.config.limits.query_timeout;
    options.timeout.map_or(longest, |timeout| timeout.min(longest))
}

/// Waits until the read model holds what the question wants to see. With `stale=allow` it ends well in any case.
pub(super) async fn until_fresh(
    service: &Service,
    projection: &ProjectionName,
    options: &QueryOptions,
) -> Result<(), Problem> {
    let Some(target) = &options.wait_for else { return Ok(()) };
    let catalogue = service.runtime.catalogue();
    let sources = catalogue.sources(projection);
    if !sources.contains(&&target.stream) {
        let known: Vec<String> = sources.iter().map(|stream| format!("`{stream}`")).collect();
        let stream = &target.stream;
        let detail = format!(
            "`wait_for={stream}:…` is refused: the projection `{projection}` folds {}, not `{stream}`",
            known.join(", ")
        );
        return Err(Problem::new(ProblemKind::BadQuery, detail));
    }
    let timeout = timeout(service, options);
    match service.runtime.wait_for(projection, target, Instant::now() + timeout).await {
        Waited::Fresh => Ok(()),
        Waited::Behind(_) if options.stale => Ok(()),
        Waited::Behind(positions) => {
            let (stream, wanted) = (&target.stream, target.sequence);
            let reached = positions.get(stream).copied().unwrap_or_default();
            let detail = format!(
                "after {timeout:?} the projection `{projection}` stands at {stream}:{reached}, before {stream}:{wanted}; \
                 `stale=allow` answers with what there is"
            );
            Err(Problem::new(ProblemKind::NotFresh, detail).header(POSITION, reply::position(&positions)))
        }
    }
}
