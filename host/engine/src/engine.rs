//! The engine: one per process, shared by all plugins.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tidemill_core::config::PluginConfig;
use tidemill_core::name::PluginName;
use tidemill_core::port::Role;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::audit::Recorder;
use crate::code::{Cast, Foundry};
use crate::compiler::Compiler;
use crate::component::{self, LoadError};
use crate::exports::Linked;
use crate::http::Network;
use crate::imports::Linkers;
use crate::instance::{Blueprint, Instance};
use crate::plugin::{self, Description, Plugin};
use crate::reach::Reach;
use crate::ticker::Ticker;
use crate::{imports, settings};

/// What the engine needs to know of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// Threads that run guests, and calls at the same time of a plugin that does not say how many.
    pub cores: usize,
    /// How long a guest may hold a thread before others get their turn.
    pub tick: Duration,
    /// Whether to take instances from a preallocated pool. It needs about a terabyte of addresses; where there is less,
    /// the engine says so and does without.
    pub pooling: bool,
    /// Who compiles plugins.
    pub compiler: Compiler,
    /// The host's folder for what it makes of plugins; compiled code is kept in `compiled` below it. Nobody but the host's
    /// user may write there. `None`: every load compiles.
    pub cache_dir: Option<PathBuf>,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the Wasm engine cannot be set up on this machine: {0}")]
    Setup(String),
    #[error("the threads of the Wasm engine cannot be started: {0}")]
    Threads(#[from] std::io::Error),
}

/// Compiles and runs plugins. Dropping it stops the calls that are under way.
pub struct Engine {
    wasm: wasmtime::Engine,
    linkers: Linkers,
    network: Arc<Network>,
    ticker: Ticker,
    foundry: Foundry,
    options: EngineOptions,
    handle: Handle,
    /// `None` only while the engine is dropped.
    runtime: Option<Runtime>,
}

// === impl EngineOptions ===

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            tick: Duration::from_millis(5),
            pooling: true,
            compiler: Compiler::default(),
            cache_dir: None,
        }
    }
}

// === impl Engine ===

impl Engine {
    /// Sets up the engine, its clock and its threads.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let wasm = settings::engine(options.pooling).map_err(|why| EngineError::Setup(format!("{why:#}")))?;
        let linkers = imports::linkers(&wasm).map_err(|why| EngineError::Setup(format!("{why:#}")))?;
        let foundry = Foundry::new(options.compiler.clone(), options.cache_dir.clone(), options.cores);
        let ticker = Ticker::start(wasm.weak(), options.tick)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(options.cores.max(1))
            .thread_name("guest")
            .enable_all()
            .build()?;
        let network = Arc::new(Network::default());
        let handle = runtime.handle().clone();
        Ok(Self { wasm, linkers, network, ticker, foundry, options, handle, runtime: Some(runtime) })
    }

    /// Sends the requests of plugins that are loaded from now on through another network.
    pub fn with_network(mut self, network: Network) -> Self {
        self.network = Arc::new(network);
        self
    }

    /// Where calls of plugins belong. It is apart from the runtime of the brokers, so that guests which compute never
    /// delay a heartbeat.
    pub fn runtime(&self) -> &Handle {
        &self.handle
    }

    /// Whether guests can still be interrupted. False means that the process should be replaced.
    pub fn ticker_alive(&self) -> bool {
        self.ticker.is_alive()
    }

    /// Lets the clock that interrupts guests die, to see what happens then.
    #[cfg(feature = "failpoints")]
    pub fn kill_ticker(&self) {
        self.ticker.kill();
    }

    /// Gives up whatever is being loaded, for good: each [`load`](Self::load) that waits for a compiler ends at once. For a
    /// host that stops and does not want to wait for minutes.
    pub fn stop_loading(&self) {
        self.foundry.stop();
    }

    /// Compiles a component, checks that it is of this role and can be run by this host, and starts its first instance.
    ///
    /// Blocks for as long as that takes: milliseconds with its code in the cache, else a tenth of a second for a Rust plugin
    /// and seconds for one that holds an interpreter. Asynchronous code calls it from `spawn_blocking`, and never on a thread of [`runtime`](Self::runtime),
    /// where the instance is started.
    pub fn load(
        &self,
        name: &PluginName,
        bytes: &[u8],
        settings: &PluginConfig,
        role: Role,
    ) -> Result<Plugin, LoadError> {
        self.build(name, bytes, settings, role, None)
    }

    /// Like [`load`](Self::load), but the plugin may import what is not granted, and what it tries is recorded.
    pub fn load_recorded(
        &self,
        name: &PluginName,
        bytes: &[u8],
        settings: &PluginConfig,
        role: Role,
        recorder: Arc<Recorder>,
    ) -> Result<Plugin, LoadError> {
        self.build(name, bytes, settings, role, Some(recorder))
    }

    fn build(
        &self,
        name: &PluginName,
        bytes: &[u8],
        settings: &PluginConfig,
        role: Role,
        recorder: Option<Arc<Recorder>>,
    ) -> Result<Plugin, LoadError> {
        component::check_format(bytes)?;
        let Cast { component: compiled, digest, time: compile_time, cached } =
            self.foundry.cast(&self.wasm, name, bytes)?;
        let grants = recorder.is_none().then_some(component::Grants { plugin: name, settings });
        let names = component::check_world(&compiled, &self.wasm, role, grants)?;
        let linked = self.linkers.of(&names).instantiate_pre(&compiled);
        let linked = linked.and_then(|pre| Linked::new(pre, role, &names));
        let linked = linked.map_err(|why| LoadError::Mismatch(format!("{why:#}")))?;
        let settings = Arc::new(settings.clone());
        let reach = Arc::new(Reach::new(name, &settings, &self.network, recorder));
        let blueprint = Arc::new(Blueprint::new(name.clone(), linked, Arc::clone(&settings), reach));
        let begun = Instant::now();
        let first = self.start(Arc::clone(&blueprint))?;
        let uses_state = names.use_state();
        let description = Description {
            role,
            digest: named(&digest),
            size: bytes.len(),
            imports: names.imports,
            exports: names.exports,
            compile_time,
            cached,
            start_time: begun.elapsed(),
            instances: settings.instances.unwrap_or(self.usual_instances(role, uses_state)).max(1),
        };
        Ok(Plugin::new(blueprint, first, description, uses_state))
    }

    /// Calls at the same time of a plugin that does not say how many.
    fn usual_instances(&self, role: Role, uses_state: bool) -> usize {
        match role {
            // Calls that share state mostly conflict with each other.
            Role::Handler if uses_state => 1,
            Role::Handler => self.options.cores,
            // Events come one by one; the others are for questions, which must not hold up the events.
            Role::Projection => self.options.cores.max(2),
        }
    }

    /// A guest runs on the guests' threads only, its start included; so it cannot hold up the caller's runtime, and the
    /// caller may be on any thread.
    fn start(&self, blueprint: Arc<Blueprint>) -> Result<Instance, LoadError> {
        let name = blueprint.name.clone();
        let (send, started) = mpsc::sync_channel(1);
        self.handle.spawn(async move {
            // Nobody waits any more if the caller is gone.
            let _ = send.send(Instance::start(&blueprint).await);
        });
        match started.recv() {
            Ok(instance) => instance.map_err(|failure| LoadError::Start(plugin::named(failure, &name))),
            Err(_) => Err(LoadError::Host("the guests' threads have stopped".to_owned())),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for the threads would block, which is forbidden on a thread of another runtime.
            runtime.shutdown_background();
        }
    }
}

fn named(digest: &[u8; 32]) -> String {
    digest.iter().fold("sha256:".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}
