//! The contestants that are projections of Tidemill: with the shop's `order-view`, and with the same logic as a closure.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tidemill_core::clock::WallClock;
use tidemill_core::config::{OnMissing, PluginConfig};
use tidemill_core::effect::Effects;
use tidemill_core::failure::Failure;
use tidemill_core::generation::Generation;
use tidemill_core::grant::Grant;
use tidemill_core::limits::Limits;
use tidemill_core::name::RouteName;
use tidemill_core::pipeline::{Build, Serving};
use tidemill_core::port::{Call, CallSettings, Handler, Role};
use tidemill_core::projection::{self, Projection, ProjectionStats, Waited};
use tidemill_core::read_model::ReadModelStore;
use tidemill_engine::{Engine, EngineOptions};
use tokio::sync::watch;

use super::order_view::{Created, Totals};
use super::server::root;
use super::stage::Stage;

/// Longer than any run takes.
const PATIENCE: Duration = Duration::from_secs(3600);

/// An engine with `order-view`, loaded once for all runs.
pub(crate) struct Guests {
    engine: Engine,
    plugin: Arc<Generation>,
    closure: Arc<Generation>,
}

// === impl Guests ===

impl Guests {
    pub(crate) fn load(stage: &Stage) -> Self {
        let engine = Engine::new(EngineOptions::default()).unwrap();
        let bytes = std::fs::read(root().join("plugins/order-view.wasm")).unwrap();
        let name = &stage.config.projections[0].plugin;
        let plugin = engine.load(name, &bytes, &PluginConfig::default(), Role::Projection).unwrap();
        Self { engine, plugin: Generation::new(Arc::new(plugin)), closure: Generation::new(Arc::new(Native)) }
    }

    pub(crate) fn plugin(&self, stage: &Stage, store: Arc<dyn ReadModelStore>) -> impl Future<Output = Duration> {
        fold(stage, store, Arc::clone(&self.plugin), &self.engine)
    }

    pub(crate) fn closure(&self, stage: &Stage, store: Arc<dyn ReadModelStore>) -> impl Future<Output = Duration> {
        fold(stage, store, Arc::clone(&self.closure), &self.engine)
    }
}

/// Folds everything with a projection as the host starts it.
async fn fold(stage: &Stage, store: Arc<dyn ReadModelStore>, build: Arc<Generation>, engine: &Engine) -> Duration {
    let config = stage.config.projections[0].clone();
    let settings = CallSettings {
        route: RouteName::try_new(config.name.as_str()).unwrap(),
        plugin: config.plugin.clone(),
        max_attempts: config.retry.max_attempts(),
        timeout: config.timeout,
        grant: Grant { emits: Vec::new() },
        limits: Limits::default(),
    };
    let schemas = Arc::clone(&stage.schemas);
    let serving = Serving { build: Build::Trusted(build), schemas, on_missing: OnMissing::Allow, state: None };
    let stream = config.sources[0].stream.clone();
    let projection = Projection::new(
        config,
        Arc::new(settings),
        serving,
        Arc::clone(&stage.broker),
        store,
        "bench".to_owned(),
        tidemill_core::hops::DEFAULT_MAX,
        WallClock::System,
        Arc::new(ProjectionStats::new()),
    );
    let (stop, stopped) = watch::channel(false);
    let (running, guests) = (Arc::clone(&projection), engine.runtime().clone());
    let started = Instant::now();
    let task = tokio::spawn(async move { projection::run(running, &guests, stopped).await });
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let waited = projection.wait_for(&stream, stage.events as u64, deadline).await;
    let took = started.elapsed();
    assert_eq!(waited, Waited::Fresh);
    stop.send_replace(true);
    task.await.unwrap();
    let counts = projection.stats.summary();
    assert_eq!((counts.folded, counts.dead_lettered, counts.retried), (stage.events as u64, 0, 0));
    took
}

/// The logic of `order-view` without a sandbox.
struct Native;

#[async_trait]
impl Handler for Native {
    async fn handle(&self, call: Call<'_>) -> Result<Effects, Failure> {
        let (mut documents, limits) = (call.documents.unwrap(), &call.route.limits);
        let (created, time) = (Created::of(call.event), call.event.time.as_deref().unwrap());
        assert!(documents.get("orders", &created.order_id).await.unwrap().is_none());
        let before = documents.get("customer-totals", &created.customer_id).await.unwrap();
        let before: Option<Totals> = before.map(|body| serde_json::from_slice(&body).unwrap());
        let totals = serde_json::to_vec(&created.totals(before, time)).unwrap();
        documents.put("customer-totals", &created.customer_id, totals.into(), limits).unwrap();
        let order = serde_json::to_vec(&created.order(time)).unwrap();
        documents.put("orders", &created.order_id, order.into(), limits).unwrap();
        Ok(Effects { documents: documents.finish(), ..Effects::default() })
    }

    fn digest(&self) -> String {
        "closure".to_owned()
    }

    fn uses_state(&self) -> bool {
        false
    }
}
