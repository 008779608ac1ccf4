//! What runs: routes, projections, the plugins behind them, their state; and how one set of them takes over from another.
//!
//! A takeover touches only what has changed. A route whose own settings changed is stopped (what it holds is settled first)
//! and started again; a route whose plugin or schemas changed goes on, and what
//! [serves](tidemill_core::pipeline::Serving) it is swapped as a whole. Whatever can fail comes first: if a source cannot be
//! opened, the routes that were stopped for it go on as they were, and nothing else has been touched.

mod builds;
mod projections;
mod routes;
mod takeover;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tidemill_core::config::RuntimeConfig;
use tidemill_core::name::PluginName;
use tidemill_core::pipeline::Route;
use tidemill_core::port::{Admin, Broker};
use tidemill_core::projection::Projection;
use tidemill_core::read_model::ReadModelStore;
use tidemill_core::state::StateSpace;
use tidemill_gateway::Catalogue;
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard, OnceCell, watch};
use tokio::task::JoinHandle;

use crate::candidate::{Current, Known, SchemaSet};
use crate::deployment::Deployment;
use crate::provenance::Provenance;

use projections::RunningProjection;

pub(crate) use projections::call_settings as projection_settings;
pub(crate) use routes::call_settings as route_settings;
pub use takeover::Changes;

/// How long the committers of state have after the last route has ended.
const COMMITTERS_GRACE: Duration = Duration::from_secs(5);

/// How long projections have at least, when routes have used up the grace period.
const LAST_COMMIT: Duration = Duration::from_secs(1);

/// Holds everything that runs, and is the only one that starts, swaps and stops it.
pub struct Supervisor {
    broker: Arc<dyn Broker>,
    guests: Handle,
    provenance: Arc<Provenance>,
    host: String,
    store: OnceCell<Arc<dyn ReadModelStore>>,
    view: ArcSwap<View>,
    running: AsyncMutex<Running>,
}

/// What runs.
pub struct Running {
    pub config: Arc<RuntimeConfig>,
    pub plugins: BTreeMap<PluginName, Deployment>,
    schemas: SchemaSet,
    routes: Vec<RunningRoute>,
    projections: Vec<RunningProjection>,
    spaces: HashMap<PluginName, Space>,
    stopped: bool,
}

/// What runs, for those who ask often and must not wait for a takeover.
pub struct View {
    pub config: Arc<RuntimeConfig>,
    pub catalogue: Arc<Catalogue>,
    pub plugins: Vec<Deployment>,
    pub routes: Vec<Arc<Route>>,
    pub projections: Vec<Arc<Projection>>,
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
            config: Arc::new(RuntimeConfig { routes: Vec::new(), projections: Vec::new(), ..(*config).clone() }),
            plugins: BTreeMap::new(),
            schemas,
            routes: Vec::new(),
            projections: Vec::new(),
            spaces: HashMap::new(),
            stopped: false,
        };
        let (host, store, view) = (host_name(), OnceCell::new(), ArcSwap::from_pointee(View::of(&running)));
        Arc::new(Self { broker, guests, provenance, host, store, view, running: AsyncMutex::new(running) })
    }

    /// What runs, held still while the guard lives.
    pub async fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().await
    }

    /// What ran when something was changed last. Waits for nobody.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// To be called after every change.
    fn show(&self, running: &Running) {
        self.view.store(Arc::new(View::of(running)));
    }

    /// Routes and projections that do not do their work although nobody stopped them, each as a sentence; nothing while something
    /// is being changed.
    pub fn idle_against_will(&self) -> Vec<String> {
        let Ok(running) = self.running.try_lock() else { return Vec::new() };
        if running.stopped {
            return vec!["the host is stopping".to_owned()];
        }
        let routes = running.routes.iter().filter_map(|one| {
            let name = &one.route.config.name;
            if one.task.is_finished() {
                return Some(format!("route `{name}` has ended"));
            }
            one.route.stats.obstacle().map(|obstacle| format!("route `{name}` cannot read events: {obstacle}"))
        });
        let absent = running.config.routes.iter().map(|route| &route.name);
        let absent = absent.filter(|name| !running.routes.iter().any(|one| one.route.config.name == **name));
        let absent = absent.map(|name| format!("route `{name}` does not run; the log says why"));
        let routes = routes.chain(absent);
        let projections = running.projections.iter().filter(|one| one.task.is_finished());
        routes.chain(projections.map(|one| format!("projection `{}` has ended", one.projection.config.name))).collect()
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
        for one in &running.projections {
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
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        projections::end(std::mem::take(&mut running.projections), left.max(LAST_COMMIT)).await;
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

// === impl View ===

impl View {
    fn of(running: &Running) -> Self {
        let Running { config, schemas, .. } = running;
        let ingest = config.http.as_ref().map_or(Vec::new(), |http| http.ingest.clone());
        let catalogue = Catalogue::new(
            config.streams.clone(),
            config.projections.clone(),
            Arc::clone(&schemas.schemas),
            config.schemas.on_missing,
            ingest,
        );
        Self {
            config: Arc::clone(config),
            catalogue: Arc::new(catalogue),
            plugins: running.plugins.values().cloned().collect(),
            routes: running.routes().cloned().collect(),
            projections: running.projections().cloned().collect(),
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
    fn start(plugin: PluginName, broker: &Arc<dyn Broker>) -> Self {
        let space = StateSpace::new(plugin, Arc::clone(broker) as Arc<dyn Admin>);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(Arc::clone(&space).run(Arc::clone(broker), stopped));
        Self { space, stop, task }
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}
