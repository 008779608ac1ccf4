//! What runs: routes, the plugins behind them, their state; and how one set of them takes over from another.
//!
//! A takeover touches only what has changed. A route whose own settings changed is stopped (what it holds is settled first)
//! and started again; a route whose plugin or schemas changed goes on, and what
//! [serves](tidemill_core::pipeline::Serving) it is swapped as a whole. Whatever can fail comes first: if a source cannot be
//! opened, the routes that were stopped for it go on as they were, and nothing else has been touched.

mod builds;
mod routes;
mod takeover;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tidemill_core::config::RuntimeConfig;
use tidemill_core::name::PluginName;
use tidemill_core::pipeline::Route;
use tidemill_core::port::Broker;
use tidemill_core::state::StateSpace;
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard, watch};
use tokio::task::JoinHandle;

use crate::candidate::{Current, Known, SchemaSet};
use crate::deployment::Deployment;
use crate::provenance::Provenance;

pub use takeover::Changes;

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

    /// What a candidate is compared with.
    pub async fn current(&self) -> Current {
        let running = self.running.lock().await;
        let known = |deployment: &Deployment| Known {
            build: (deployment.digest().clone(), Arc::clone(deployment.bytes())),
            trusted: deployment.trusted_build(),
            settings: deployment.settings.clone(),
            refused: deployment.refused.as_ref().map(|(refused, _)| refused.clone()),
        };
        Current {
            config: Arc::clone(&running.config),
            schemas: running.schemas.clone(),
            plugins: running.plugins.iter().map(|(name, one)| (name.clone(), known(one))).collect(),
        }
    }

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

// === impl Space ===

impl Space {
    fn start(space: Arc<StateSpace>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(Arc::clone(&space).run(stopped));
        Self { space, stop, task }
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}
