//! Reading what one has written: `wait_for=ORDERS:123`.
//!
//! The wait looks at one copy, the answer may come from another: a rollback or a reset puts one in its place that is behind. So
//! what counts is the positions that came with the answer; where they are before the target, it is waited and read once more.

use std::time::Duration;

use tidemill_core::name::ProjectionName;
use tidemill_core::read_model::{Positions, QueryOptions, WaitFor};
use tokio::time::{Instant, sleep};

use crate::problem::{Problem, ProblemKind};
use crate::reply::{self, POSITION};
use crate::runtime::Waited;
use crate::service::Service;

/// After an answer from a copy that is behind, until the next is asked for.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a question may take: what it says, and no longer than the configuration allows.
pub(super) fn timeout(service: &Service, options: &QueryOptions) -> Duration {
    let longest = service.config.limits.query_timeout;
    options.timeout.map_or(longest, |timeout| timeout.min(longest))
}

/// How fresh an answer must be, and how long it is waited for.
pub(super) struct Freshness<'a> {
    service: &'a Service,
    projection: &'a ProjectionName,
    target: Option<&'a WaitFor>,
    stale: bool,
    timeout: Duration,
    deadline: Instant,
}

// === impl Freshness ===

impl<'a> Freshness<'a> {
    /// What the question says; refused if the projection does not fold the stream. The time runs from now on.
    pub(super) fn new(
        service: &'a Service,
        projection: &'a ProjectionName,
        options: &'a QueryOptions,
    ) -> Result<Self, Problem> {
        let target = options.wait_for.as_ref();
        if let Some(WaitFor { stream, .. }) = target {
            let catalogue = service.runtime.catalogue();
            let sources = catalogue.sources(projection);
            if !sources.contains(&stream) {
                let known: Vec<String> = sources.iter().map(|stream| format!("`{stream}`")).collect();
                let detail = format!(
                    "`wait_for={stream}:…` is refused: the projection `{projection}` folds {}, not `{stream}`",
                    known.join(", ")
                );
                return Err(Problem::new(ProblemKind::BadQuery, detail));
            }
        }
        let timeout = timeout(service, options);
        Ok(Self { service, projection, target, stale: options.stale, timeout, deadline: Instant::now() + timeout })
    }

    /// Waits until the read model holds what the question wants to see. With `stale=allow` it ends well in any case.
    pub(super) async fn wait(&self) -> Result<(), Problem> {
        let Some(target) = self.target else { return Ok(()) };
        match self.service.runtime.wait_for(self.projection, target, self.deadline).await {
            Waited::Fresh => Ok(()),
            Waited::Behind(_) if self.stale => Ok(()),
            Waited::Behind(positions) => Err(self.missed(target, &positions)),
        }
    }

    /// Whether an answer with these positions is given. `false`: there is time to wait and read again.
    pub(super) async fn accepts(&self, positions: &Positions) -> Result<bool, Problem> {
        match self.target {
            Some(target) if !target.is_reached(positions) => {
                if Instant::now() < self.deadline {
                    sleep(PAUSE).await;
                    return Ok(false);
                }
                if self.stale { Ok(true) } else { Err(self.missed(target, positions)) }
            }
            _ => Ok(true),
        }
    }

    fn missed(&self, target: &WaitFor, positions: &Positions) -> Problem {
        let (Self { projection, timeout, .. }, WaitFor { stream, sequence }) = (self, target);
        let reached = positions.get(stream).copied().unwrap_or_default();
        let detail = format!(
            "after {timeout:?} the projection `{projection}` stands at {stream}:{reached}, before {stream}:{sequence}; \
             `stale=allow` answers with what there is"
        );
        Problem::new(ProblemKind::NotFresh, detail).header(POSITION, reply::position(positions))
    }
}
