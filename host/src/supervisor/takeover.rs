//! How a candidate takes over. Whatever can fail comes first; what runs is swapped only when nothing can fail any more.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tidemill_core::config::{RouteConfig, RuntimeConfig};
use tidemill_core::name::PluginName;
use tidemill_core::port::Source;

use super::{Running, RunningRoute, Supervisor};
use crate::candidate::Candidate;
use crate::deployment::Deployment;
use crate::exit;
use crate::provenance::Refused;

/// What a takeover did, for the log.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Changes {
    pub routes: Moves,
    pub projections: Moves,
    /// Plugins with another build, and files that were refused.
    pub plugins: Vec<String>,
    pub refused: Vec<String>,
    pub schemas: bool,
}

/// What began and ended, by name.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Moves {
    pub started: Vec<String>,
    pub restarted: Vec<String>,
    pub stopped: Vec<String>,
}

/// The routes of a candidate, sorted by what has to happen to them.
struct Plan {
    /// In the order of the configuration: the route, and whether it goes on as it is.
    routes: Vec<(RouteConfig, bool)>,
    /// Indexes of what runs and must stop.
    leaving: Vec<usize>,
}

// === impl Supervisor ===

impl Supervisor {
    /// Lets a candidate take over. On an error everything runs as before, except that streams may have been created. Not
    /// cancel-safe: run to completion.
    pub async fn apply(self: &Arc<Self>, candidate: Candidate) -> Result<Changes> {
        let mut running = self.running.lock().await;
        if running.stopped {
            bail!("the host is stopping");
        }
        if running.config.streams != candidate.config.streams {
            self.broker.provision(&candidate.config.streams).await.map_err(exit::broker)?;
        }
        let store = self.store(&candidate.config).await?;
        let Candidate { config, schemas, builds, mut behind, refused, reconciled } = candidate;
        let mut changes = Changes { schemas: running.schemas.files != schemas.files, ..Changes::default() };

        let mut plugins = running.plugins.clone();
        let mut gone = Vec::new();
        for (name, build) in builds {
            let behind = behind.remove(&name);
            let next = match plugins.get(&name) {
                // It was rolled back while the candidate was made.
                Some(deployment) if deployment.has_rolled_back(&build.digest) => continue,
                Some(deployment) => {
                    let (next, leaving) = deployment.replace(build, behind, config.plugins.probation);
                    gone.extend(leaving);
                    next
                }
                None => Deployment::first(name.clone(), build, behind, config.plugins.probation),
            };
            changes.plugins.push(name.to_string());
            plugins.insert(name, next);
        }
        let plan = Plan::new(&running, &config, &plugins);
        let stopped = self.stop_routes(&mut running, &plan, &mut changes).await;
        let sources = match self.open(&plan).await {
            Ok(sources) => sources,
            Err(error) => {
                self.resume(&mut running, stopped).await;
                return Err(error);
            }
        };

        // Nothing below can fail.
        self.stop_projections(&mut running, &config, &mut changes).await;
        for (_, deployment) in plugins.iter_mut().filter(|(name, _)| reconciled.contains(*name)) {
            deployment.refused = None;
        }
        for (name, refused) in refused {
            changes.refused.push(name.to_string());
            if let Some(deployment) = plugins.get_mut(&name) {
                tell_refused(&name, &refused, deployment);
                deployment.refuse(refused);
            }
        }
        let used = config.used_plugins();
        let needed = |name: &PluginName| used.contains_key(name);
        gone.extend(plugins.iter().filter(|(name, _)| !needed(name)).map(|(_, one)| Arc::clone(one.build().current())));
        plugins.retain(|name, _| needed(name));
        drop(used);
        running.config = config;
        running.schemas = schemas;
        let before = std::mem::replace(&mut running.plugins, plugins);
        self.serve(&mut running, &plan, sources, &mut changes);
        self.serve_projections(&mut running, store, &mut changes);
        self.show(&running);
        self.greet(&running, &before);
        self.retire(gone, running.config.plugins.drain_timeout);
        Ok(changes)
    }

    /// Stops the routes that leave or change; what they hold is settled first. What is late comes back when its source is
    /// opened again.
    async fn stop_routes(&self, running: &mut Running, plan: &Plan, changes: &mut Changes) -> Vec<RunningRoute> {
        let mut stopped = Vec::new();
        for &index in plan.leaving.iter().rev() {
            stopped.push(running.routes.remove(index));
        }
        for one in &stopped {
            one.stop.send_replace(true);
        }
        let grace = running.config.plugins.drain_timeout;
        let deadline = tokio::time::Instant::now() + grace;
        for one in &mut stopped {
            let name = one.route.config.name.to_string();
            if tokio::time::timeout_at(deadline, &mut one.task).await.is_err() {
                tracing::warn!(route = name, ?grace, "A route is late to stop; what it holds is delivered again");
                one.task.abort();
            }
            let stays = plan.routes.iter().any(|(route, _)| route.name == one.route.config.name);
            changes.routes.ended(name, stays);
        }
        stopped
    }

    /// Opens the sources of the routes that begin or change.
    async fn open(&self, plan: &Plan) -> Result<HashMap<String, Arc<dyn Source>>> {
        let mut sources = HashMap::new();
        for (route, _) in plan.routes.iter().filter(|(_, goes_on)| !goes_on) {
            let source = self.broker.open(route).await.map_err(exit::broker);
            let source = source.with_context(|| format!("opening route `{}`", route.name))?;
            sources.insert(route.name.to_string(), source);
        }
        Ok(sources)
    }

    /// Puts back what was stopped for a takeover that failed.
    async fn resume(&self, running: &mut Running, stopped: Vec<RunningRoute>) {
        for one in stopped {
            let route = &one.route;
            match self.broker.open(&route.config).await {
                Ok(source) => {
                    let again = self.route_again(route, source);
                    running.routes.push(self.start(again));
                }
                // It was open a moment ago; the broker is away or was changed by others.
                Err(error) => tracing::error!(
                    route = %route.config.name, %error,
                    "A route could not be started again; its events wait in the stream until the next reload or start"
                ),
            }
        }
    }

    /// Swaps what serves the routes that go on, and starts the others.
    fn serve(
        &self,
        running: &mut Running,
        plan: &Plan,
        mut sources: HashMap<String, Arc<dyn Source>>,
        changes: &mut Changes,
    ) {
        let mut before: HashMap<String, RunningRoute> =
            running.routes.drain(..).map(|one| (one.route.config.name.to_string(), one)).collect();
        for (config, _) in &plan.routes {
            let name = config.name.to_string();
            let Some(serving) = self.serving(running, &config.handler) else { continue };
            if let Some(one) = before.remove(&name) {
                one.route.serving.store(Arc::new(serving));
                running.routes.push(one);
            } else if let Some(source) = sources.remove(&name) {
                let route = self.fresh_route(running, config, serving, source);
                running.routes.push(self.start(route));
                changes.routes.began(name);
            }
        }
    }
}

// === impl Plan ===

impl Plan {
    fn new(running: &Running, config: &RuntimeConfig, plugins: &BTreeMap<PluginName, Deployment>) -> Self {
        let goes_on = |wanted: &RouteConfig| {
            running.routes.iter().any(|one| {
                *wanted == one.route.config
                    && running.config.plugins.of(&wanted.handler) == config.plugins.of(&wanted.handler)
                    && plugins.get(&wanted.handler).is_some_and(|plugin| {
                        // A plugin that begins to keep state needs another number of workers.
                        plugin.uses_state() == one.route.serving.load().state.is_some()
                    })
            })
        };
        let routes: Vec<(RouteConfig, bool)> =
            config.routes.iter().map(|route| (route.clone(), goes_on(route))).collect();
        let stays = |one: &RunningRoute| routes.iter().any(|(route, goes_on)| *goes_on && *route == one.route.config);
        let leaving = (0..running.routes.len()).filter(|&index| !stays(&running.routes[index])).collect();
        Self { routes, leaving }
    }
}

// === impl Moves ===

impl Moves {
    /// Something ended; `stays` if it begins again.
    pub(super) fn ended(&mut self, name: String, stays: bool) {
        if stays { self.restarted.push(name) } else { self.stopped.push(name) }
    }

    /// Something began that had not just ended.
    pub(super) fn began(&mut self, name: String) {
        if !self.restarted.contains(&name) {
            self.started.push(name);
        }
    }
}

// === impl Changes ===

impl Changes {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { routes, projections, plugins, refused, schemas: _ } = self;
        let lists = [
            ("routes started", &routes.started),
            ("routes restarted", &routes.restarted),
            ("routes stopped", &routes.stopped),
            ("projections started", &projections.started),
            ("projections restarted", &projections.restarted),
            ("projections stopped", &projections.stopped),
            ("plugins loaded", plugins),
            ("plugin files refused", refused),
        ];
        let mut parts: Vec<String> = lists
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}: {}", names.join(", ")))
            .collect();
        if self.schemas {
            parts.push("schemas".to_owned());
        }
        f.write_str(&parts.join("; "))
    }
}

fn tell_refused(name: &PluginName, refused: &Refused, deployment: &Deployment) {
    let (serving, reason) = (deployment.digest(), &refused.why);
    match &refused.digest {
        Some(digest) => {
            tracing::error!(plugin = %name, %digest, reason, %serving, "A plugin file is refused; the good build serves")
        }
        None => {
            tracing::error!(plugin = %name, reason, %serving, "A plugin file cannot be read; the good build serves")
        }
    }
}
