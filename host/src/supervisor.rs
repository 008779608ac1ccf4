//! What runs: routes, the plugins behind them, their state; and how one set of them takes over from another.
//!
//! A takeover touches only what has changed. A route whose own settings changed is stopped (what it holds is settled first)
//! and started again; a route whose plugin or schemas changed goes on, and its [`Serving`] is swapped as a whole. Whatever
//! can fail comes first: if a source cannot be opened, the routes that were stopped for it go on as they were, and nothing
//! else has been touched.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use arc_swap::ArcSwap;
use tidemill_core::config::{PluginConfig, RouteConfig, RuntimeConfig};
use tidemill_core::generation::Generation;
use tidemill_core::grant::Grant;
use tidemill_core::name::PluginName;
use tidemill_core::pipeline::{self, Route, Serving};
use tidemill_core::port::{Broker, CallSettings, Source};
use tidemill_core::state::StateSpace;
use tidemill_core::stats::RouteStats;
use tidemill_core::trial::{Grounds, Standing, Trial};
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard, watch};
use tokio::task::JoinHandle;

use crate::candidate::{Candidate, Current, Known, SchemaSet};
use crate::deployment::{Concluded, Deployment, NewBuild};
use crate::exit;
use crate::plugins::Digest;
use crate::provenance::{Provenance, Refused};

/// How long the committers of state have after the last route has ended.
const COMMITTERS_GRACE: Duration = Duration::from_secs(5);

/// Holds everything that runs, and is the only one that starts, swaps and stops it.
pub struct Supervisor {
    broker: Arc<dyn Broker>,
    guests: Handle,
    provenance: Arc<Provenance>,
    host: String,
    running: AsyncMutex<Running>,
}

/// What runs.
pub struct Running {
    pub config: Arc<RuntimeConfig>,
    pub plugins: BTreeMap<PluginName, Deployment>,
    schemas: SchemaSet,
    routes: Vec<RunningRoute>,
    spaces: HashMap<PluginName, Space>,
    stopped: bool,
}

struct RunningRoute {
    route: Arc<Route>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// The keyed state of one plugin, and its committer. It stays until the end, whatever becomes of the plugin.
struct Space {
    space: Arc<StateSpace>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What a takeover did, for the log.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Changes {
    pub started: Vec<String>,
    pub restarted: Vec<String>,
    pub stopped: Vec<String>,
    /// Plugins with another build, and files that were refused.
    pub plugins: Vec<String>,
    pub refused: Vec<String>,
    pub schemas: bool,
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
    /// Nothing runs yet.
    pub fn new(
        broker: Arc<dyn Broker>,
        guests: Handle,
        provenance: Arc<Provenance>,
        config: Arc<RuntimeConfig>,
        schemas: SchemaSet,
    ) -> Arc<Self> {
        let running = Running {
            config: Arc::new(RuntimeConfig { routes: Vec::new(), ..(*config).clone() }),
            plugins: BTreeMap::new(),
            schemas,
            routes: Vec::new(),
            spaces: HashMap::new(),
            stopped: false,
        };
        Arc::new(Self { broker, guests, provenance, host: host_name(), running: AsyncMutex::new(running) })
    }

    /// What runs, held still while the guard lives.
    pub async fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().await
    }

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
        let Candidate { config, schemas, builds, mut remembered, refused } = candidate;
        let mut changes = Changes { schemas: running.schemas.files != schemas.files, ..Changes::default() };

        let mut plugins = running.plugins.clone();
        let mut gone = Vec::new();
        for (name, build) in builds {
            changes.plugins.push(name.to_string());
            let next = match plugins.get(&name) {
                Some(deployment) => {
                    let (next, leaving) = deployment.replace(build, config.plugins.probation);
                    gone.extend(leaving);
                    next
                }
                None => Deployment::first(name.clone(), build, remembered.remove(&name), config.plugins.probation),
            };
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
        for (name, refused) in refused {
            changes.refused.push(name.to_string());
            if let Some(deployment) = plugins.get_mut(&name) {
                tell_refused(&name, &refused, deployment);
                deployment.refused = Some((refused, SystemTime::now()));
            }
        }
        let needed = |name: &PluginName| config.routes.iter().any(|route| route.handler == *name);
        gone.extend(plugins.iter().filter(|(name, _)| !needed(name)).map(|(_, one)| Arc::clone(one.build().current())));
        plugins.retain(|name, _| needed(name));
        running.config = config;
        running.schemas = schemas;
        let before = std::mem::replace(&mut running.plugins, plugins);
        self.serve(&mut running, &plan, sources, &mut changes);
        self.greet(&running, &before);
        self.retire(gone, running.config.plugins.drain_timeout);
        Ok(changes)
    }

    /// What a candidate is compared with.
    pub async fn current(&self) -> Current {
        let running = self.running.lock().await;
        let known = |deployment: &Deployment| Known {
            digest: deployment.digest().clone(),
            bytes: Arc::clone(deployment.bytes()),
            settings: deployment.settings.clone(),
            refused: deployment.refused.as_ref().map(|(refused, _)| refused.clone()),
        };
        Current {
            config: Arc::clone(&running.config),
            schemas: running.schemas.clone(),
            plugins: running.plugins.iter().map(|(name, one)| (name.clone(), known(one))).collect(),
        }
    }

    // --- the parts of a takeover ---------------------------------------------------------------------------------------

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
        for one in &mut stopped {
            let name = one.route.config.name.to_string();
            if tokio::time::timeout(grace, &mut one.task).await.is_err() {
                tracing::warn!(route = name, ?grace, "A route is late to stop; what it holds is delivered again");
                one.task.abort();
            }
            let stays = plan.routes.iter().any(|(route, _)| route.name == one.route.config.name);
            if stays { changes.restarted.push(name) } else { changes.stopped.push(name) }
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
                    let again = self.route(&route.config, Arc::clone(&route.settings), source, &one.route);
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
        let restarted = changes.restarted.clone();
        for (config, _) in &plan.routes {
            let name = config.name.to_string();
            let Some(serving) = self.serving(running, &config.handler) else { continue };
            if let Some(one) = before.remove(&name) {
                one.route.serving.store(Arc::new(serving));
                running.routes.push(one);
            } else if let Some(source) = sources.remove(&name) {
                let route = self.fresh_route(running, config, serving, source);
                running.routes.push(self.start(route));
                if !restarted.contains(&name) {
                    changes.started.push(name);
                }
            }
        }
    }

    /// What serves the routes of a plugin from now on.
    fn serving(&self, running: &mut Running, plugin: &PluginName) -> Option<Serving> {
        let (build, uses_state) = running.plugins.get(plugin).map(|one| (one.build().clone(), one.uses_state()))?;
        let state = uses_state.then(|| {
            let fresh = || Space::start(StateSpace::new(plugin.clone(), Arc::clone(&self.broker)));
            Arc::clone(&running.spaces.entry(plugin.clone()).or_insert_with(fresh).space)
        });
        let schemas = Arc::clone(&running.schemas.schemas);
        Some(Serving { build, schemas, on_missing: running.config.schemas.on_missing, state })
    }

    fn fresh_route(
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
            stats: Arc::new(RouteStats::new()),
            config: config.clone(),
        })
    }

    /// A route as it was, on another source.
    fn route(
        &self,
        config: &RouteConfig,
        settings: Arc<CallSettings>,
        source: Arc<dyn Source>,
        like: &Route,
    ) -> Arc<Route> {
        Arc::new(Route {
            config: config.clone(),
            settings,
            serving: ArcSwap::new(like.serving.load_full()),
            broker: Arc::clone(&self.broker),
            source,
            instances: like.instances,
            host: self.host.clone(),
            stats: Arc::clone(&like.stats),
        })
    }

    fn start(&self, route: Arc<Route>) -> RunningRoute {
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

    // --- builds come and go --------------------------------------------------------------------------------------------

    /// Says which builds are new, remembers those that nothing stands beside, and watches the probation of the others.
    fn greet(self: &Arc<Self>, running: &Running, before: &BTreeMap<PluginName, Deployment>) {
        for (name, deployment) in &running.plugins {
            if before.get(name).is_some_and(|before| before.number == deployment.number) {
                continue;
            }
            let (digest, generation) = (deployment.digest(), deployment.number);
            match deployment.trial() {
                Some(trial) => {
                    let probation = running.config.plugins.probation;
                    tracing::info!(
                        plugin = %name, %digest, generation,
                        previous = deployment.previous_digest().map(tracing::field::display),
                        calls = probation.calls, time = ?probation.time,
                        "A new build serves, on probation"
                    );
                    let (supervisor, name, trial) = (Arc::clone(self), name.clone(), Arc::clone(trial));
                    tokio::spawn(async move { supervisor.watch_trial(name, trial).await });
                }
                None => {
                    let build = deployment.plugin().describe();
                    tracing::info!(
                        plugin = %name, %digest, generation, cached = build.cached, compiled_in = ?build.compile_time,
                        "A build serves"
                    );
                    self.remember(name.clone(), deployment);
                }
            }
        }
    }

    fn remember(&self, name: PluginName, deployment: &Deployment) {
        let (digest, bytes) = (deployment.digest().clone(), Arc::clone(deployment.bytes()));
        let provenance = Arc::clone(&self.provenance);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = provenance.history().remember_good(&name, &digest, &bytes) {
                tracing::warn!(plugin = %name, %digest, %error, "The build cannot be remembered; a start with a bad file would have none to fall back to");
            }
        });
    }

    /// Waits for the end of a probation and carries it out.
    async fn watch_trial(self: Arc<Self>, name: PluginName, trial: Arc<Trial>) {
        let standing = trial.concluded().await;
        let mut running = self.running.lock().await;
        let Running { plugins, config, .. } = &mut *running;
        let Some(deployment) = plugins.get_mut(&name) else { return };
        // Another build may have come meanwhile, with a probation of its own.
        if !deployment.trial().is_some_and(|current| Arc::ptr_eq(current, &trial)) {
            return;
        }
        let Some(concluded) = deployment.conclude() else { return };
        let drain = config.plugins.drain_timeout;
        self.tell_concluded(&name, deployment, &concluded, &standing);
        self.reserve(&mut running, &name);
        drop(running);
        self.retire(vec![Arc::clone(&concluded.gone)], drain);
        let provenance = Arc::clone(&self.provenance);
        let written = tokio::task::spawn_blocking(move || record(&provenance, &name, &concluded, &standing)).await;
        if let Err(error) = written {
            tracing::warn!(%error, "The end of a probation cannot be remembered");
        }
    }

    fn tell_concluded(
        &self,
        name: &PluginName,
        deployment: &mut Deployment,
        concluded: &Concluded,
        standing: &Standing,
    ) {
        let Concluded { kept, gone_digest, .. } = concluded;
        match standing {
            Standing::RolledBack(grounds) => {
                tracing::error!(
                    plugin = %name, digest = %gone_digest, reason = %grounds, serving = %kept,
                    "A build is rolled back and quarantined; the build before it serves again, and no event was dead-lettered for it"
                );
                let why = format!("it was rolled back and is quarantined: {grounds}");
                deployment.refused = Some((Refused { digest: Some(gone_digest.clone()), why }, SystemTime::now()));
            }
            _ => {
                deployment.refused = None;
                tracing::info!(plugin = %name, digest = %kept, "A build has passed its probation");
            }
        }
    }

    /// Swaps what serves the routes of one plugin.
    fn reserve(&self, running: &mut Running, plugin: &PluginName) {
        let routes: Vec<Arc<Route>> = running.routes.iter().map(|one| Arc::clone(&one.route)).collect();
        for route in routes.iter().filter(|route| route.config.handler == *plugin) {
            if let Some(serving) = self.serving(running, plugin) {
                route.serving.store(Arc::new(serving));
            }
        }
    }

    /// Interrupts the calls that are still under way on builds that serve nobody any more, after the drain.
    fn retire(&self, gone: Vec<Arc<Generation>>, drain: Duration) {
        if gone.is_empty() {
            return;
        }
        tokio::spawn(async move {
            tokio::time::sleep(drain).await;
            for generation in gone {
                generation.interrupt();
            }
        });
    }

    /// Ends a probation against the new build, if there is one. Answers the digest that serves then.
    pub async fn roll_back_trial(&self, name: &PluginName) -> Result<Option<Digest>> {
        let running = self.running.lock().await;
        let Some(deployment) = running.plugins.get(name) else { bail!("no plugin `{name}` is running") };
        let Some(trial) = deployment.trial() else { return Ok(None) };
        // The watcher of the trial does the rest.
        trial.roll_back();
        Ok(deployment.previous_digest().cloned())
    }

    /// Puts an older build in service again, trusted, in the place of the present one. Answers the digest that goes.
    pub async fn put_back(&self, name: &PluginName, build: NewBuild) -> Result<Digest> {
        let mut running = self.running.lock().await;
        let Running { plugins, config, .. } = &mut *running;
        let Some(deployment) = plugins.get_mut(name) else { bail!("no plugin `{name}` is running") };
        let bad = deployment.digest().clone();
        tracing::warn!(plugin = %name, digest = %bad, serving = %build.digest, "A build is rolled back by hand and quarantined");
        let gone = Arc::clone(deployment.build().current());
        *deployment = deployment.put_back(build);
        let why = format!("it was rolled back and is quarantined: {}", Grounds::Asked);
        deployment.refused = Some((Refused { digest: Some(bad.clone()), why }, SystemTime::now()));
        let drain = config.plugins.drain_timeout;
        self.reserve(&mut running, name);
        self.retire(vec![gone], drain);
        Ok(bad)
    }

    /// Forgets that a file was refused, so that the next look tries it again.
    pub async fn forget_refusal(&self, name: &PluginName) {
        if let Some(deployment) = self.running.lock().await.plugins.get_mut(name) {
            deployment.refused = None;
        }
    }

    // --- the end -------------------------------------------------------------------------------------------------------

    /// Stops reading, lets what runs finish within the grace period, and says what was late.
    pub async fn stop(&self) {
        let mut running = self.running.lock().await;
        running.stopped = true;
        let grace = running.config.shutdown_grace;
        for one in &running.routes {
            one.stop.send_replace(true);
        }
        let deadline = tokio::time::Instant::now() + grace;
        let mut late = 0;
        for one in &mut running.routes {
            if tokio::time::timeout_at(deadline, &mut one.task).await.is_err() {
                late += 1;
                one.task.abort();
            }
        }
        if late > 0 {
            tracing::warn!(?grace, late, "Routes are late; what they hold is delivered again at the next start");
        }
        for space in running.spaces.values() {
            space.stop.send_replace(true);
        }
        let deadline = tokio::time::Instant::now() + COMMITTERS_GRACE;
        for (plugin, space) in &mut running.spaces {
            if tokio::time::timeout_at(deadline, &mut space.task).await.is_err() {
                tracing::warn!(%plugin, "State is not committed in time; the deliveries come back at the next start");
                space.task.abort();
            }
        }
    }
}

// === impl Running ===

impl Running {
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter().map(|one| &one.route)
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

// === impl Space ===

impl Space {
    fn start(space: Arc<StateSpace>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(Arc::clone(&space).run(stopped));
        Self { space, stop, task }
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
        let lists = [
            ("routes started", &self.started),
            ("routes restarted", &self.restarted),
            ("routes stopped", &self.stopped),
            ("plugins with another build", &self.plugins),
            ("plugin files refused", &self.refused),
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
    tracing::error!(
        plugin = %name, digest = refused.digest.as_ref().map(tracing::field::display), reason = refused.why,
        serving = %deployment.digest(), "A plugin file is refused; the build that runs goes on"
    );
}

/// Writes down how a probation ended.
fn record(provenance: &Provenance, name: &PluginName, concluded: &Concluded, standing: &Standing) {
    let mut history = provenance.history();
    let quarantined = match standing {
        Standing::RolledBack(grounds) => history.quarantine(name, &concluded.gone_digest, &grounds.to_string()),
        _ => Ok(()),
    };
    let remembered = history.remember_good(name, &concluded.kept, &concluded.bytes);
    if let Err(error) = quarantined.and(remembered) {
        tracing::warn!(plugin = %name, %error, "The end of a probation cannot be remembered");
    }
}

fn call_settings(route: &RouteConfig, plugin: &PluginConfig) -> CallSettings {
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

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}
