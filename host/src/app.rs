//! The composition root: from a configuration to running routes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tidemill_core::config::{BrokerConfig, PluginConfig, RouteConfig, RuntimeConfig};
use tidemill_core::grant::Grant;
use tidemill_core::name::PluginName;
use tidemill_core::pipeline::{self, Route};
use tidemill_core::port::{Broker, CallSettings, Handler};
use tidemill_core::schema::Schemas;
use tidemill_core::state::StateSpace;
use tidemill_core::stats::RouteStats;
use tidemill_embedded::EmbeddedBroker;
use tidemill_engine::{Compiler, Engine, EngineOptions, Plugin};
use tidemill_nats::NatsBroker;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::exit::{self, Coded, Kind};
use crate::files;
use crate::summary::Summary;

/// How often `--until-idle` looks. Short against what a person notices, long against what the look costs.
const IDLE_LOOK: Duration = Duration::from_millis(50);

/// A built host: connected, provisioned, compiled, with its routes open.
pub struct App {
    config: Arc<RuntimeConfig>,
    broker: Arc<dyn Broker>,
    engine: Engine,
    routes: Vec<Arc<Route>>,
    spaces: Vec<Arc<StateSpace>>,
}

/// The plugins that a configuration's routes name, loaded.
pub type Plugins = BTreeMap<PluginName, Arc<Plugin>>;

// === impl App ===

impl App {
    /// Connects, provisions, loads and opens. Nothing runs yet; on an error nothing was changed but what `streams:`
    /// declares. `compiler` is for the program to say: see [`crate::cli`].
    pub async fn build(config: RuntimeConfig, compiler: Compiler) -> Result<Self> {
        let config = Arc::new(config);
        let schemas = Arc::new(files::load_schemas(&config)?);
        let engine = engine(&config, compiler)?;
        let plugins = load_plugins(&engine, &config)?;
        let broker = connect(&config).await?;
        broker.provision(&config.streams).await.map_err(exit::broker)?;
        let mut app = Self { config, broker, engine, routes: Vec::new(), spaces: Vec::new() };
        app.open_routes(&plugins, &schemas).await?;
        Ok(app)
    }

    pub fn config(&self) -> &Arc<RuntimeConfig> {
        &self.config
    }

    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.broker
    }

    /// What every route has done so far.
    pub fn summary(&self) -> Summary {
        Summary::of(self.routes.iter().map(|route| (route.config.name.as_str(), route.stats.summary())))
    }

    /// Runs until `stop` turns true and everything in flight is settled, or the grace period is over. Says what was late.
    pub async fn run(&self, stop: watch::Receiver<bool>) -> Result<()> {
        let (stop_spaces, spaces_stop) = watch::channel(false);
        let mut spaces = JoinSet::new();
        for space in &self.spaces {
            spaces.spawn(Arc::clone(space).run(spaces_stop.clone()));
        }
        let mut running = JoinSet::new();
        for route in &self.routes {
            tracing::info!(
                route = %route.config.name, plugin = %route.config.handler, stream = %route.config.stream,
                subjects = %join(&route.config.subjects), max_in_flight = route.config.max_in_flight,
                instances = route.instances, "Route is running"
            );
            let (route, guests, stop) = (Arc::clone(route), self.engine.runtime().clone(), stop.clone());
            running.spawn(async move { pipeline::run(route, &guests, stop).await });
        }
        self.drain(&mut running, stop).await;
        stop_spaces.send_replace(true);
        if tokio::time::timeout(Duration::from_secs(5), async { while spaces.join_next().await.is_some() {} })
            .await
            .is_err()
        {
            tracing::warn!("State is not committed in time; the deliveries come back at the next start");
            spaces.abort_all();
        }
        self.broker.close().await.map_err(exit::broker)?;
        tracing::info!("Stopped; everything that was taken is settled or stays in its stream");
        Ok(())
    }

    async fn drain(&self, running: &mut JoinSet<()>, mut stop: watch::Receiver<bool>) {
        let grace = self.config.shutdown_grace;
        let deadline = async {
            // The sender lives as long as the program; if it is gone, so is everybody who could ask to go on.
            drop(stop.wait_for(|stop| *stop).await);
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            () = async { while running.join_next().await.is_some() {} } => {}
            () = deadline => {
                tracing::warn!(?grace, late = running.len(), "Routes are late; what they hold is delivered again at the next start");
                running.abort_all();
            }
        }
    }

    /// Waits until every route has settled everything there is, also what the routes emit to each other.
    pub async fn idle(&self) -> Result<()> {
        let mut before = None;
        loop {
            let now = self.summary();
            if before.as_ref() == Some(&now) && self.nothing_left().await? {
                return Ok(());
            }
            before = Some(now);
            tokio::time::sleep(IDLE_LOOK).await;
        }
    }

    async fn nothing_left(&self) -> Result<bool> {
        for route in &self.routes {
            match self.broker.backlog(&route.config).await {
                Ok(backlog) if backlog.is_empty() => {}
                Ok(_) => return Ok(false),
                // Not knowing is not being idle.
                Err(tidemill_core::port::BrokerError::Unavailable { .. }) => return Ok(false),
                Err(error) => return Err(exit::broker(error)),
            }
        }
        Ok(true)
    }

    async fn open_routes(&mut self, plugins: &Plugins, schemas: &Arc<Schemas>) -> Result<()> {
        let mut spaces: HashMap<PluginName, Arc<StateSpace>> = HashMap::new();
        let host = host_name();
        for config in &self.config.routes {
            let plugin =
                plugins.get(&config.handler).ok_or_else(|| anyhow!("plugin `{}` is not loaded", config.handler))?;
            let state = plugin.uses_state().then(|| {
                let fresh = || StateSpace::new(config.handler.clone(), Arc::clone(&self.broker));
                Arc::clone(spaces.entry(config.handler.clone()).or_insert_with(fresh))
            });
            let settings = plugin_settings(&self.config, &config.handler);
            let source = self
                .broker
                .open(config)
                .await
                .map_err(exit::broker)
                .with_context(|| format!("opening route `{}`", config.name))?;
            self.routes.push(Arc::new(Route {
                settings: Arc::new(call_settings(config, &settings)),
                handler: Arc::clone(plugin) as Arc<dyn Handler>,
                schemas: Arc::clone(schemas),
                on_missing: self.config.schemas.on_missing,
                instances: settings.instances.unwrap_or_else(|| if state.is_some() { 1 } else { cores() }),
                state,
                broker: Arc::clone(&self.broker),
                source,
                host: host.clone(),
                stats: Arc::new(RouteStats::new()),
                config: config.clone(),
            }));
        }
        self.spaces = spaces.into_values().collect();
        Ok(())
    }
}

/// The engine of a host with this configuration.
pub fn engine(config: &RuntimeConfig, compiler: Compiler) -> Result<Engine> {
    let cache_dir = Some(config.plugins.cache_dir.clone());
    Engine::new(EngineOptions { compiler, cache_dir, ..EngineOptions::default() }).context("starting the Wasm engine")
}

/// Connects to the broker that the configuration names.
pub async fn connect(config: &RuntimeConfig) -> Result<Arc<dyn Broker>> {
    Ok(match &config.broker {
        BrokerConfig::Embedded { dir } => EmbeddedBroker::open(dir).map_err(exit::broker)?,
        BrokerConfig::Nats(nats) => NatsBroker::connect(nats).await.map_err(exit::broker)?,
    })
}

/// Loads every plugin that a route names; all that cannot be used are reported together.
pub fn load_plugins(engine: &Engine, config: &RuntimeConfig) -> Result<Plugins> {
    let mut plugins = Plugins::new();
    let mut problems = Vec::new();
    for (route, loaded) in load_at_once(engine, config) {
        match loaded {
            Ok(plugin) => drop(plugins.insert(route.handler.clone(), Arc::new(plugin))),
            Err(error) => {
                problems.push(format!("error: plugin `{}` of route `{}`: {error:#}", route.handler, route.name))
            }
        }
    }
    if !problems.is_empty() {
        return Err(anyhow!(
            "{}\n{}. Nothing was started.",
            problems.join("\n"),
            files::counted(problems.len(), "unusable plugin")
        ))
        .coded(Kind::BadConfiguration);
    }
    Ok(plugins)
}

/// One thread per core loads what is left to load; each plugin with the first route that names it, in their order.
fn load_at_once<'a>(engine: &Engine, config: &'a RuntimeConfig) -> Vec<(&'a RouteConfig, Result<Plugin>)> {
    let mut seen = BTreeSet::new();
    let routes: Vec<&RouteConfig> = config.routes.iter().filter(|route| seen.insert(&route.handler)).collect();
    let next = AtomicUsize::new(0);
    let load_the_rest = || {
        let mut loaded = Vec::new();
        while let Some((index, route)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|index| routes.get(index).map(|route| (index, *route)))
        {
            loaded.push((index, route, load_plugin(engine, config, &route.handler)));
        }
        loaded
    };
    let mut loaded = thread::scope(|scope| {
        let others: Vec<_> = (1..cores().min(routes.len())).map(|_| scope.spawn(load_the_rest)).collect();
        let mut loaded = load_the_rest();
        for other in others {
            // Loading does not panic; if it does, it is this thread's panic, too.
            loaded.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        loaded
    });
    loaded.sort_by_key(|(index, ..)| *index);
    loaded.into_iter().map(|(_, route, plugin)| (route, plugin)).collect()
}

fn load_plugin(engine: &Engine, config: &RuntimeConfig, name: &PluginName) -> Result<Plugin> {
    let path = config.plugins.dir.join(format!("{name}.wasm"));
    if !path.exists() {
        bail!("there is no `{}`; {}", path.display(), present(&config.plugins.dir));
    }
    let bytes = files::read_plugin(&path)?;
    let plugin = engine.load(name, &bytes, &plugin_settings(config, name));
    let plugin = plugin.with_context(|| format!("`{}`", path.display()))?;
    let build = plugin.describe();
    tracing::info!(
        plugin = %name, digest = build.digest, size = build.size, cached = build.cached,
        compiled_in = ?build.compile_time, started_in = ?build.start_time, "Plugin is loaded"
    );
    Ok(plugin)
}

/// Which plugins there are, for somebody who named another one.
fn present(dir: &Path) -> String {
    let mut names: Vec<String> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .filter_map(|path| path.file_stem().map(|stem| format!("`{}`", stem.to_string_lossy())))
        .collect();
    names.sort();
    if names.is_empty() {
        "the folder holds no plugin".to_owned()
    } else {
        format!("the folder holds {}", names.join(", "))
    }
}

fn plugin_settings(config: &RuntimeConfig, name: &PluginName) -> PluginConfig {
    config.plugins.of(name)
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
    fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

fn join(patterns: &[tidemill_core::subject::SubjectPattern]) -> String {
    patterns.iter().map(|pattern| pattern.as_str()).collect::<Vec<_>>().join(",")
}
