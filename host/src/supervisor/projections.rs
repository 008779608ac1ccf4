//! Projections as they run. Like routes, they are stopped and started again when their own settings change, and only what
//! serves them is swapped when their plugin or the schemas do.

use std::sync::Arc;
use std::time::Duration;

use tidemill_core::clock::WallClock;
use tidemill_core::config::{PluginConfig, ProjectionConfig, RuntimeConfig};
use tidemill_core::grant::Grant;
use tidemill_core::name::{PluginName, ProjectionName, RouteName};
use tidemill_core::port::CallSettings;
use tidemill_core::projection::{self, Projection, ProjectionStats};
use tidemill_core::read_model::ReadModelStore;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::takeover::Changes;
use super::{Running, Supervisor};
use crate::exit::{Coded, Kind};
use crate::stores;

pub(super) struct RunningProjection {
    pub(super) projection: Arc<Projection>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) task: JoinHandle<()>,
}

// === impl Supervisor ===

impl Supervisor {
    /// The store of read models, opened when the first projection needs it.
    pub(super) async fn store(&self, config: &RuntimeConfig) -> anyhow::Result<Option<Arc<dyn ReadModelStore>>> {
        if config.projections.is_empty() {
            return Ok(None);
        }
        let opened =
            self.store.get_or_try_init(|| async { stores::open(&config.read_models).await.coded(Kind::Unavailable) });
        opened.await.map(|store| Some(Arc::clone(store)))
    }

    /// Stops the projections that leave or change. What they have not committed is folded again.
    pub(super) async fn stop_projections(&self, running: &mut Running, config: &RuntimeConfig, changes: &mut Changes) {
        let goes_on = |one: &RunningProjection| {
            let wanted = &one.projection.config;
            config.projections.contains(wanted)
                && config.max_hops == one.projection.max_hops
                && running.config.plugins.of(&wanted.plugin) == config.plugins.of(&wanted.plugin)
        };
        let (stay, leave): (Vec<_>, Vec<_>) =
            std::mem::take(&mut running.projections).into_iter().partition(|one| goes_on(one));
        running.projections = stay;
        for one in &leave {
            let name = &one.projection.config.name;
            let stays = config.projections.iter().any(|projection| projection.name == *name);
            changes.projections.ended(name.to_string(), stays);
        }
        end(leave, config.plugins.drain_timeout).await;
    }

    /// Swaps what serves the projections that go on, and starts the others.
    pub(super) fn serve_projections(
        &self,
        running: &mut Running,
        store: Option<Arc<dyn ReadModelStore>>,
        changes: &mut Changes,
    ) {
        let Some(store) = store else { return };
        let config = Arc::clone(&running.config);
        for wanted in &config.projections {
            let Some(serving) = self.serving(running, &wanted.plugin) else { continue };
            match running.projections.iter().find(|one| one.projection.config.name == wanted.name) {
                Some(one) => one.projection.serving.store(Arc::new(serving)),
                None => {
                    let settings = Arc::new(call_settings(wanted, &config.plugins.of(&wanted.plugin)));
                    let projection = Projection::new(
                        wanted.clone(),
                        settings,
                        serving,
                        Arc::clone(&self.broker),
                        Arc::clone(&store),
                        // Two hosts on one machine are two holders.
                        format!("{}/{}", self.host, std::process::id()),
                        config.max_hops,
                        WallClock::System,
                        Arc::new(ProjectionStats::new()),
                    );
                    running.projections.push(self.start_projection(projection));
                    changes.projections.began(wanted.name.to_string());
                }
            }
        }
    }

    fn start_projection(&self, projection: Arc<Projection>) -> RunningProjection {
        let config = &projection.config;
        let streams: Vec<&str> = config.sources.iter().map(|source| source.stream.as_str()).collect();
        tracing::info!(
            projection = %config.name, plugin = %config.plugin, streams = streams.join(","),
            store = projection.store.kind(), "Projection is running"
        );
        let (stop, stopped) = watch::channel(false);
        let (running, guests) = (Arc::clone(&projection), self.guests.clone());
        let task = tokio::spawn(async move { projection::run(running, &guests, stopped).await });
        RunningProjection { projection, stop, task }
    }

    /// Swaps what serves the projections of one plugin.
    pub(super) fn reserve_projections(&self, running: &mut Running, plugin: &PluginName) {
        let projections: Vec<_> = running.projections.iter().map(|one| Arc::clone(&one.projection)).collect();
        for projection in projections.iter().filter(|projection| projection.config.plugin == *plugin) {
            if let Some(serving) = self.serving(running, plugin) {
                projection.serving.store(Arc::new(serving));
            }
        }
    }

    /// A projection that runs.
    pub async fn projection(&self, name: &ProjectionName) -> Option<Arc<Projection>> {
        let running = self.running.lock().await;
        running.projections().find(|projection| projection.config.name == *name).cloned()
    }
}

// === impl Running ===

impl Running {
    pub fn projections(&self) -> impl Iterator<Item = &Arc<Projection>> {
        self.projections.iter().map(|one| &one.projection)
    }
}

/// Asks all to stop, waits for them together, and gives up on those that are late: what they wrote is whole.
pub(super) async fn end(leaving: Vec<RunningProjection>, grace: Duration) {
    for one in &leaving {
        one.stop.send_replace(true);
    }
    let deadline = tokio::time::Instant::now() + grace;
    for mut one in leaving {
        if tokio::time::timeout_at(deadline, &mut one.task).await.is_err() {
            tracing::warn!(
                projection = %one.projection.config.name, ?grace,
                "A projection is late to stop; what it has not committed is folded again"
            );
            one.task.abort();
        }
    }
}

/// A projection's name is no route's name, so it can stand where a route's does: in logs, dead letters and stable ids.
pub(crate) fn call_settings(projection: &ProjectionConfig, plugin: &PluginConfig) -> CallSettings {
    #[allow(clippy::expect_used, reason = "both names have the same alphabet, and a test holds them together")]
    let route = RouteName::try_new(projection.name.as_str()).expect("a projection's name is a route's");
    CallSettings {
        route,
        plugin: projection.plugin.clone(),
        max_attempts: projection.retry.max_attempts(),
        timeout: projection.timeout,
        grant: Grant { emits: Vec::new() },
        limits: plugin.limits.clone(),
    }
}
