//! Routes as they run: made of their configuration and what serves them, started on a task of their own.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tidemill_core::clock::WallClock;
use tidemill_core::config::{PluginConfig, RouteConfig};
use tidemill_core::grant::Grant;
use tidemill_core::name::PluginName;
use tidemill_core::pipeline::{self, Route, Serving};
use tidemill_core::port::{CallSettings, Source};
use tidemill_core::stats::RouteStats;
use tokio::sync::watch;

use super::{Running, RunningRoute, Space, Supervisor};

// === impl Supervisor ===

impl Supervisor {
    /// What serves the routes of a plugin from now on.
    pub(super) fn serving(&self, running: &mut Running, plugin: &PluginName) -> Option<Serving> {
        let (build, uses_state) = running.plugins.get(plugin).map(|one| (one.build().clone(), one.uses_state()))?;
        let state = uses_state.then(|| {
            let fresh = || Space::start(plugin.clone(), &self.broker);
            Arc::clone(&running.spaces.entry(plugin.clone()).or_insert_with(fresh).space)
        });
        let schemas = Arc::clone(&running.schemas.schemas);
        Some(Serving { build, schemas, on_missing: running.config.schemas.on_missing, state })
    }

    pub(super) fn fresh_route(
        &self,
        running: &Running,
        config: &RouteConfig,
        serving: Serving,
        source: Arc<dyn Source>,
    ) -> Arc<Route> {
        let settings = running.config.plugins.of(&config.handler);
        Arc::new(Route {
            settings: Arc::new(call_settings(config, &settings)),
            instances: settings.instances.unwrap_or_else(|| if serving.state.is_some() { 1 } else { cores() }),
            serving: ArcSwap::from_pointee(serving),
            broker: Arc::clone(&self.broker),
            source,
            host: self.host.clone(),
            clock: WallClock::System,
            stats: Arc::new(RouteStats::new()),
            config: config.clone(),
        })
    }

    /// A route as it was, on another source.
    pub(super) fn route_again(&self, like: &Route, source: Arc<dyn Source>) -> Arc<Route> {
        Arc::new(Route {
            config: like.config.clone(),
            settings: Arc::clone(&like.settings),
            serving: ArcSwap::new(like.serving.load_full()),
            broker: Arc::clone(&self.broker),
            source,
            instances: like.instances,
            host: self.host.clone(),
            clock: like.clock,
            stats: Arc::clone(&like.stats),
        })
    }

    pub(super) fn start(&self, route: Arc<Route>) -> RunningRoute {
        let subjects: Vec<&str> = route.config.subjects.iter().map(|subject| subject.as_str()).collect();
        tracing::info!(
            route = %route.config.name, plugin = %route.config.handler, stream = %route.config.stream,
            subjects = subjects.join(","), max_in_flight = route.config.max_in_flight,
            instances = route.instances, "Route is running"
        );
        let (stop, stopped) = watch::channel(false);
        let (running, guests) = (Arc::clone(&route), self.guests.clone());
        let task = tokio::spawn(async move { pipeline::run(running, &guests, stopped).await });
        RunningRoute { route, stop, task }
    }
}

pub(crate) fn call_settings(route: &RouteConfig, plugin: &PluginConfig) -> CallSettings {
    CallSettings {
        route: route.name.clone(),
        plugin: route.handler.clone(),
        max_attempts: route.retry.max_attempts(),
        timeout: route.timeout,
        grant: Grant { emits: route.emits.clone() },
        limits: plugin.limits.clone(),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}
