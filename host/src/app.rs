//! The composition root: from a configuration to running routes, and on through its changes to the end.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use tidemill_core::config::{BrokerConfig, RuntimeConfig};
use tidemill_core::name::ProjectionName;
use tidemill_core::port::{Broker, BrokerError};
use tidemill_core::projection::{ProjectionState, ProjectionStatus};
use tidemill_embedded::EmbeddedBroker;
use tidemill_engine::{Compiler, Engine, EngineOptions};
use tidemill_gateway::Gateway;
use tidemill_nats::NatsBroker;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::candidate::Candidate;
use crate::control::Remote;
use crate::exit::{self, Coded, Kind};
use crate::provenance::Provenance;
use crate::reload::{Reloader, Request};
use crate::status::Status;
use crate::summary::Summary;
use crate::supervisor::Supervisor;

/// How often `--until-idle` looks. Short against what a person notices, long against what the look costs.
const IDLE_LOOK: Duration = Duration::from_millis(50);

/// How long a start waits for a command that holds the embedded log, and how often it looks.
const TURN: Duration = Duration::from_secs(30);
const TURN_LOOK: Duration = Duration::from_millis(200);

/// A built host: everything read, checked, compiled and connected. Its routes run while [`run`](Self::run) does.
pub struct App {
    broker: Arc<dyn Broker>,
    config: Arc<RuntimeConfig>,
    reloader: Arc<Reloader>,
    requests: mpsc::Sender<Request>,
    began: Instant,
    started: SystemTime,
    /// What `run` begins with; taken by it.
    first: Mutex<Option<(Candidate, mpsc::Receiver<Request>)>>,
    /// Turns true when the first takeover is over.
    running: AtomicBool,
    /// For each projection, the right to ask its plugin.
    pub(crate) questions: Mutex<HashMap<ProjectionName, Arc<Semaphore>>>,
    /// The gateway that listens and does not answer yet; taken by `run`.
    gateway: Mutex<Option<Gateway>>,
}

// === impl App ===

impl App {
    /// Reads, checks and compiles everything, then connects and creates the streams that are missing.
    pub async fn build(path: &Path, compiler: Compiler) -> Result<Arc<Self>> {
        let (began, started) = (Instant::now(), SystemTime::now());
        let file = path.to_owned();
        let prepared = tokio::task::spawn_blocking(move || prepare(&file, compiler)).await;
        let (engine, provenance, candidate) = prepared.context("reading the configuration")??;
        let config = Arc::clone(&candidate.config);
        await_turn(&config).await;
        let broker = connect(&config).await?;
        broker.provision(&config.streams).await.map_err(exit::broker)?;
        let supervisor = Supervisor::new(
            Arc::clone(&broker),
            engine.runtime().clone(),
            Arc::clone(&provenance),
            Arc::clone(&config),
            candidate.schemas.clone(),
        );
        let reloader = Reloader::new(path.to_owned(), engine, provenance, supervisor);
        let (requests, receiver) = mpsc::channel(1);
        let first = Mutex::new(Some((candidate, receiver)));
        let (running, questions, gateway) = Default::default();
        Ok(Arc::new(Self { broker, config, reloader, requests, began, started, first, running, questions, gateway }))
    }

    /// Takes the gateway's address, if the configuration declares one. It is answered there as soon as the host runs.
    pub async fn listen(&self) -> Result<()> {
        let Some(http) = &self.config.http else { return Ok(()) };
        let gateway = Gateway::bind(http.clone()).await.coded(Kind::BadConfiguration)?;
        tracing::info!(address = %gateway.address(), tls = http.tls.is_some(), "The gateway listens");
        *self.gateway.lock().unwrap_or_else(PoisonError::into_inner) = Some(gateway);
        Ok(())
    }

    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// The configuration of the start. What a running host follows is [`Supervisor::running`].
    pub fn config(&self) -> &Arc<RuntimeConfig> {
        &self.config
    }

    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.broker
    }

    pub fn reloader(&self) -> &Arc<Reloader> {
        &self.reloader
    }

    /// Asks for a look at what lies on disk.
    pub fn requests(&self) -> &mpsc::Sender<Request> {
        &self.requests
    }

    /// What every route and projection has done so far.
    pub fn summary(&self) -> Summary {
        let view = self.reloader.supervisor.view();
        Summary::of(
            view.routes.iter().map(|route| (route.config.name.as_str(), route.stats.summary())),
            view.projections.iter().map(|one| (one.config.name.as_str(), one.stats.summary())),
        )
    }

    pub async fn status(&self) -> Status {
        Status::of(&self.reloader, self.broker.kind(), self.started).await
    }

    /// Starts the routes, follows what changes on disk, and ends when `stop` turns true and everything in flight is
    /// settled, or the grace period is over. To be called once.
    pub async fn run(self: &Arc<Self>, mut stop: watch::Receiver<bool>) -> Result<()> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (candidate, requests) = first.context("a host runs once")?;
        let gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner).take();
        let gateway = gateway.map(|gateway| tokio::spawn(gateway.serve(Arc::clone(self) as _, stop.clone())));
        let supervisor = &self.reloader.supervisor;
        supervisor.apply(candidate).await?;
        self.running.store(true, Relaxed);
        tracing::info!(
            broker = self.broker.kind(), routes = self.config.routes.len(),
            projections = self.config.projections.len(), ready_in = ?self.began.elapsed(),
            "Tidemill is ready"
        );
        let reloads = Arc::clone(&self.reloader).run(Arc::clone(&self.config), requests, stop.clone());
        let reloads = tokio::spawn(reloads);
        // The sender lives as long as the program; if it is gone, so is everybody who could ask to go on.
        drop(stop.wait_for(|stop| *stop).await);
        self.reloader.engine.stop_loading();
        // A takeover that is under way must not leave a route behind that nobody stops.
        reloads.await.context("following the changes on disk")?;
        supervisor.stop().await;
        if let Some(gateway) = gateway {
            gateway.await.context("answering over HTTP")?;
        }
        self.broker.close().await.map_err(exit::broker)?;
        tracing::info!("Stopped; everything that was taken is settled or stays in its stream");
        Ok(())
    }

    /// Waits until every route has settled everything there is, also what the routes emit to each other.
    pub async fn idle(&self) -> Result<()> {
        let mut before = None;
        loop {
            let now = self.summary();
            if before.as_ref() == Some(&now) && self.runs() && self.nothing_left().await? {
                return Ok(());
            }
            before = Some(now);
            tokio::time::sleep(IDLE_LOOK).await;
        }
    }

    /// Whether the first takeover is over.
    pub fn runs(&self) -> bool {
        self.running.load(Relaxed)
    }

    async fn nothing_left(&self) -> Result<bool> {
        let config = Arc::clone(&self.reloader.supervisor.running().await.config);
        // Routes first: what they emit last is still to be folded.
        for route in &config.routes {
            match self.broker.backlog(route).await {
                Ok(backlog) if backlog.is_empty() => {}
                Ok(_) => return Ok(false),
                // Not knowing is not being idle.
                Err(BrokerError::Unavailable { .. }) => return Ok(false),
                Err(error) => return Err(exit::broker(error)),
            }
        }
        for projection in &self.reloader.supervisor.view().projections {
            // Not knowing is not being idle here either.
            if !projection.status().await.is_ok_and(|status| is_idle(&status)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether a projection has folded everything, or goes on only when a person or another host acts.
pub(crate) fn is_idle(status: &ProjectionStatus) -> bool {
    match status.state {
        ProjectionState::Running => {
            let lag = status.active.iter().flat_map(|copy| copy.lag.values()).all(|lag| lag.events == 0);
            lag && status.building.is_none()
        }
        ProjectionState::Paused | ProjectionState::Halted(_) | ProjectionState::Standby { .. } => true,
        ProjectionState::CatchingUp | ProjectionState::Waiting { .. } | ProjectionState::Stopped => false,
    }
}

fn prepare(path: &Path, compiler: Compiler) -> Result<(Arc<Engine>, Arc<Provenance>, Candidate)> {
    let config = crate::files::load_config(path)?.config;
    let engine = engine(&config, compiler)?;
    let provenance = Provenance::open(&config.plugins).coded(Kind::BadConfiguration)?;
    let candidate = Candidate::prepare(path, &engine, &provenance, None)?;
    Ok((Arc::new(engine), Arc::new(provenance), candidate))
}

/// The engine, with the cache of compiled code that the configuration names.
pub fn engine(config: &RuntimeConfig, compiler: Compiler) -> Result<Engine> {
    let cache_dir = Some(config.plugins.cache_dir.clone());
    Engine::new(EngineOptions { compiler, cache_dir, ..EngineOptions::default() }).context("starting the Wasm engine")
}

/// A command that publishes or looks without a host holds the embedded log for a while, and would otherwise keep a host from starting,
/// or from coming back after a crash. Another host is not waited for.
async fn await_turn(config: &RuntimeConfig) {
    let BrokerConfig::Embedded { dir } = &config.broker else { return };
    let (begun, mut told) = (Instant::now(), false);
    while EmbeddedBroker::is_held(dir) && begun.elapsed() < TURN && Remote::connect(dir).await.is_none() {
        // A process that is just ending is no news.
        if !told && begun.elapsed() > Duration::from_secs(1) {
            tracing::warn!(dir = %dir.display(), "Another process holds the embedded log; waiting for up to 30 s until it ends");
            told = true;
        }
        tokio::time::sleep(TURN_LOOK).await;
    }
}

/// Connects to the broker that the configuration names.
pub async fn connect(config: &RuntimeConfig) -> Result<Arc<dyn Broker>> {
    Ok(match &config.broker {
        BrokerConfig::Embedded { dir } => EmbeddedBroker::open(dir).map_err(exit::broker)?,
        BrokerConfig::Nats(nats) => NatsBroker::connect(nats).await.map_err(exit::broker)?,
    })
}
