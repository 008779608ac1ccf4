//! The host as the HTTP gateway sees it: what may be asked by anybody, at any time, without waiting for a takeover.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use tidemill_core::failure::{Failure, FailureKind};
use tidemill_core::name::ProjectionName;
use tidemill_core::pipeline::Route;
use tidemill_core::port::{BrokerError, Outgoing, Published};
use tidemill_core::projection::{self, Projection};
use tidemill_core::read_model::WaitFor;
use tidemill_gateway::metrics::{
    PluginMetrics, ProjectionLag, ProjectionMetrics, ReloadMetrics, RouteMetrics, Snapshot,
};
use tidemill_gateway::{Answer, Catalogue, Health, ReadModel, Runtime, Waited};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::app::App;
use crate::deployment::Deployment;
use crate::status;
use crate::supervisor::View;

/// A probe or a scrape must end although the broker or a store does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

#[async_trait]
impl Runtime for App {
    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.reloader().supervisor.view().catalogue)
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<Published, BrokerError>> {
        self.broker().publish(messages).await
    }

    fn has_begun(&self) -> bool {
        self.runs()
    }

    fn read_model(&self, collection: &str) -> Option<ReadModel> {
        let view = self.reloader().supervisor.view();
        let find = |projection: &Arc<Projection>| {
            let declared = projection.config.collections.iter().find(|it| it.name.as_str() == collection)?;
            let active = projection.view();
            let has = active.as_ref().and_then(|active| active.collections.iter().find(|it| it.name == declared.name));
            Some(ReadModel {
                projection: projection.config.name.clone(),
                collection: has.unwrap_or(declared).clone(),
                store: Arc::clone(&projection.store),
                copy: active.as_ref().filter(|_| has.is_some()).map(|active| active.copy.clone()),
            })
        };
        view.projections.iter().find_map(find)
    }

    async fn wait_for(&self, projection: &ProjectionName, target: &WaitFor, deadline: Instant) -> Waited {
        let Some(projection) = self.projection(projection) else { return Waited::Behind(BTreeMap::new()) };
        match projection.wait_for(&target.stream, target.sequence, deadline).await {
            projection::Waited::Fresh => Waited::Fresh,
            projection::Waited::Behind { positions } => Waited::Behind(positions),
        }
    }

    async fn ask(&self, projection: &ProjectionName, name: &str, params: Bytes) -> Result<Answer, Failure> {
        let gone = || Failure::new(FailureKind::Unavailable, format!("the projection `{projection}` does not run"));
        let projection = self.projection(projection).ok_or_else(gone)?;
        // One instance is left to the fold, however many ask.
        let places = self.question_places(&projection);
        let _place = places.acquire().await;
        // Guests run on their own threads. Whoever is gone is not answered: dropping the set ends the call.
        let (mut asked, name) = (JoinSet::new(), name.to_owned());
        let question = async move { projection.ask(&name, &params).await };
        asked.spawn_on(question, self.reloader().engine.runtime());
        let ended = asked.join_next().await.transpose();
        let answered = ended.map_err(|error| Failure::new(FailureKind::Trap, error.to_string()))?;
        let (body, positions) =
            answered.ok_or_else(|| Failure::new(FailureKind::Unavailable, "the question was not asked"))??;
        Ok(Answer { body, positions })
    }

    async fn health(&self) -> Health {
        let mut health = Health { broker: self.broker_fault().await, ..Health::default() };
        if !self.reloader().engine.ticker_alive() {
            health.plugins.push("the engine's clock stands still, no guest can be interrupted".to_owned());
        }
        // Until the first takeover is over.
        if !self.runs() {
            health.unbound.push("the host is starting, no route and no projection has begun".to_owned());
        }
        // Nobody can be answered before there is a first copy, be it an empty one.
        let view = self.reloader().supervisor.view();
        let copyless = view.projections.iter().filter(|projection| projection.view().is_none());
        health.unbound.extend(copyless.map(|one| format!("projection `{}` has no copy yet", one.config.name)));
        health.unbound.extend(self.reloader().supervisor.idle_against_will());
        health
    }

    async fn metrics(&self) -> Snapshot {
        let view = self.reloader().supervisor.view();
        let (routes, projections, broker_fault) = tokio::join!(
            join_all(view.routes.iter().map(|route| self.route_metrics(route))),
            join_all(view.projections.iter().map(|projection| projection_metrics(projection))),
            self.broker_fault(),
        );
        let report = self.reloader().report();
        let plugins = view.plugins.iter().map(|one| plugin_metrics(one, &view)).collect();
        Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            broker: self.broker().kind().to_owned(),
            broker_connected: broker_fault.is_none(),
            started: self.started(),
            reloads: ReloadMetrics {
                applied: report.applied,
                refused: report.refused,
                last_success: self.reloader().last_success(),
            },
            ticker_alive: self.reloader().engine.ticker_alive(),
            resident_bytes: resident_bytes(),
            routes,
            plugins,
            projections,
        }
    }
}

// === impl App ===

impl App {
    fn projection(&self, name: &ProjectionName) -> Option<Arc<Projection>> {
        let view = self.reloader().supervisor.view();
        view.projections.iter().find(|projection| projection.config.name == *name).cloned()
    }

    /// How many questions a projection's plugin answers at once.
    fn question_places(&self, projection: &Projection) -> Arc<Semaphore> {
        let view = self.reloader().supervisor.view();
        let plugin = view.plugins.iter().find(|plugin| plugin.name == projection.config.plugin);
        let instances = plugin.map_or(1, |plugin| plugin.plugin().describe().instances);
        let mut places = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(Semaphore::new(instances.saturating_sub(1).max(1)));
        Arc::clone(places.entry(projection.config.name.clone()).or_insert_with(fresh))
    }

    /// Why the broker does not answer, if it does not. Without a stream there is nothing to ask it for.
    async fn broker_fault(&self) -> Option<String> {
        let stream = &self.config().streams.first()?.name;
        match timeout(PATIENCE, self.broker().bounds(stream)).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("it has not answered for {PATIENCE:?}")),
        }
    }

    async fn route_metrics(&self, route: &Route) -> RouteMetrics {
        let backlog = timeout(PATIENCE, self.broker().backlog(&route.config)).await.ok().and_then(Result::ok);
        let measures = route.stats.measures();
        RouteMetrics {
            name: route.config.name.to_string(),
            counts: route.stats.summary(),
            // What is parked has a time to wait for and is not late.
            lag: measures.oldest.or_else(|| backlog.filter(|it| it.undelivered == 0).map(|_| Duration::ZERO)),
            measures,
            backlog,
        }
    }
}

fn plugin_metrics(deployment: &Deployment, view: &View) -> PluginMetrics {
    let description = deployment.plugin().describe();
    let vitals = deployment.generation().vitals();
    let routes = view.routes.iter().filter(|route| route.config.handler == deployment.name);
    let projections = view.projections.iter().filter(|projection| projection.config.plugin == deployment.name);
    let failed = routes.map(|route| route.stats.measures().failed).chain(projections.map(|it| it.stats.failures()));
    let mut traps = BTreeMap::new();
    for (code, count) in failed.flatten() {
        if FailureKind::ALL.iter().any(|kind| kind.is_crash() && kind.code() == code) {
            *traps.entry(code).or_default() += count;
        }
    }
    PluginMetrics {
        name: deployment.name.to_string(),
        digest: deployment.digest().to_string(),
        world: description.world(),
        generation: deployment.number(),
        on_probation: deployment.trial().is_some_and(|trial| trial.is_open()),
        loads: BTreeMap::from([
            ("taken".to_owned(), deployment.issued()),
            ("refused".to_owned(), deployment.refusals()),
        ]),
        traps,
        calls: vitals.calls,
        busy: vitals.busy,
        compile: description.compile_time,
        memory_bytes: Some(deployment.plugin().memory()),
        instances: description.instances as u64,
        instances_in_use: Some(deployment.plugin().calls_in_flight() as u64),
        outgrown: vitals.outgrown,
    }
}

async fn projection_metrics(projection: &Projection) -> ProjectionMetrics {
    let counts = projection.stats.summary();
    let status = timeout(PATIENCE, projection.status()).await.ok().and_then(Result::ok);
    let active = status.as_ref().and_then(|status| status.active.as_ref());
    let lag = active.iter().flat_map(|copy| {
        copy.lag.iter().map(|(stream, lag)| ProjectionLag {
            stream: stream.clone(),
            position: copy.positions.get(stream).copied().unwrap_or(0),
            events: lag.events,
            age: Duration::try_from_secs_f64(lag.seconds).unwrap_or_default(),
        })
    });
    ProjectionMetrics {
        name: projection.config.name.to_string(),
        state: status::word(&projection.state()).to_owned(),
        received: counts.received,
        folded: counts.folded,
        skipped: counts.skipped,
        retried: counts.retried,
        batches: counts.batches,
        dead_lettered: counts.dead_lettered_by_reason,
        durations: projection.stats.durations(),
        degraded: status.as_ref().is_some_and(|status| status.degraded),
        rebuilding: status.as_ref().is_some_and(|status| status.building.is_some()),
        lag: lag.collect(),
    }
}

/// What the process has in memory; `None` where the system does not tell.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
