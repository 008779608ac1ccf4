//! From a change on disk to what runs: watch, wait until it is quiet, read and check everything, take over or refuse.
//!
//! It is level-triggered: what lies on disk is what is wanted, and every look compares all of it with what runs. A hint that
//! was lost, doubled or came too early costs a look, never a wrong state. Nothing here decides about events.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use tidemill_core::config::RuntimeConfig;
use tidemill_core::name::PluginName;
use tidemill_core::trial::Grounds;
use tidemill_engine::Engine;
use tokio::sync::{mpsc, oneshot, watch};

use crate::candidate::Candidate;
use crate::deployment::NewBuild;
use crate::exit;
use crate::plugins::Digest;
use crate::provenance::{Cause, Provenance};
use crate::status;
use crate::supervisor::{Changes, Supervisor};
use crate::watch::{Snapshot, Watch, WatchPlaces, settled};

/// Nothing may change for so long before what lies there is taken for finished.
const QUIET: Duration = Duration::from_millis(150);

/// Lets what lies on disk take over from what runs.
pub struct Reloader {
    pub path: PathBuf,
    pub engine: Arc<Engine>,
    pub provenance: Arc<Provenance>,
    pub supervisor: Arc<Supervisor>,
    report: Mutex<Report>,
    succeeded: Mutex<Option<SystemTime>>,
    /// What was told not to be used.
    told: Mutex<BTreeSet<String>>,
}

/// How the reloads went since the start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    pub applied: u64,
    pub refused: u64,
    /// Whether changes are only found by looking every `plugins.rescan`.
    pub polling: bool,
    /// The last one that did or refused something.
    pub last: Option<LastReload>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LastReload {
    /// RFC 3339.
    pub at: String,
    pub ok: bool,
    pub text: String,
}

/// Asks for a look although nothing was seen to change; answered with what came of it.
pub type Request = oneshot::Sender<Result<Changes, String>>;

// === impl Reloader ===

impl Reloader {
    pub fn new(
        path: PathBuf,
        engine: Arc<Engine>,
        provenance: Arc<Provenance>,
        supervisor: Arc<Supervisor>,
    ) -> Arc<Self> {
        let (report, succeeded, told) = Default::default();
        Arc::new(Self { path, engine, provenance, supervisor, report, succeeded, told })
    }

    /// When a change was applied last.
    pub fn last_success(&self) -> Option<SystemTime> {
        *self.succeeded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn report(&self) -> Report {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks whenever something may have changed, and when it is asked to. Ends when `stop` turns true; a takeover that is
    /// under way then runs to its end.
    pub async fn run(
        self: Arc<Self>,
        config: Arc<RuntimeConfig>,
        mut requests: mpsc::Receiver<Request>,
        stop: watch::Receiver<bool>,
    ) {
        let places = WatchPlaces {
            config: self.path.clone(),
            schemas: config.schemas.dir.clone(),
            plugins: config.plugins.dir.clone(),
        };
        let mut watch = Watch::start(places.clone(), config.plugins.rescan);
        // What lay there while the host started may have changed since it was read, so the first look is not skipped.
        let mut seen: Option<Snapshot> = None;
        loop {
            let request = tokio::select! {
                () = stopped(stop.clone()) => return,
                () = watch.changed() => None,
                Some(request) = requests.recv() => Some(request),
            };
            self.note(|report| report.polling = watch.is_polling());
            let now = tokio::select! {
                () = stopped(stop.clone()) => return,
                now = settled(&places, QUIET) => now,
            };
            if request.is_none() && seen.as_ref() == Some(&now) {
                continue;
            }
            let result = self.look(request.is_some(), stop.clone()).await;
            self.tell_unused().await;
            // While the broker is away the next look tries again; anything else stays as it is until a file changes.
            let again = result.as_ref().is_err_and(exit::is_unavailable);
            seen = (!again).then_some(now);
            if let Some(request) = request {
                // Whoever asked may be gone.
                drop(request.send(result.map_err(|error| exit::text(&error))));
            }
        }
    }

    /// Reads everything and lets it take over, or says what is wrong with it. What runs is touched only on success.
    /// `afresh`: what was refused before is tried again, because somebody asked.
    async fn look(&self, afresh: bool, stop: watch::Receiver<bool>) -> Result<Changes> {
        let result = self.try_look(afresh, stop).await;
        match &result {
            Ok(changes) if changes.is_empty() => {}
            Ok(changes) => {
                let text = changes.to_string();
                if changes.refused.is_empty() {
                    tracing::info!(changes = text, "Changes on disk are in effect");
                } else {
                    tracing::warn!(changes = text, "Changes on disk are in effect, but not all of them");
                }
                self.tell(changes.refused.is_empty(), text);
            }
            Err(error) => {
                let text = exit::text(error);
                let text = text.strip_prefix("error: ").unwrap_or(&text).to_owned();
                tracing::error!(error = text, "Changes on disk are refused as a whole; everything goes on as it was");
                self.tell(false, text);
            }
        }
        result
    }

    async fn try_look(&self, afresh: bool, stop: watch::Receiver<bool>) -> Result<Changes> {
        let mut current = self.supervisor.current().await;
        if afresh {
            for known in current.plugins.values_mut() {
                known.refused.take_if(|refused| refused.cause == Cause::Code);
            }
        }
        let (path, engine, provenance) = (self.path.clone(), Arc::clone(&self.engine), Arc::clone(&self.provenance));
        let preparing = tokio::task::spawn_blocking(move || {
            // Another host may share the folder.
            provenance.history().refresh();
            Candidate::prepare(&path, &engine, &provenance, Some(&current))
        });
        let prepared = tokio::select! {
            prepared = preparing => prepared.context("reading the changes")?,
            // Compiling may take longer than anybody wants to wait for a stop.
            () = stopped(stop) => bail!("the host is stopping"),
        };
        let candidate = prepared?;
        self.supervisor.apply(candidate).await
    }

    /// What lies in the plugins folder and is not run, each with the reason.
    pub async fn unused(&self) -> Result<Vec<String>> {
        let served: BTreeSet<PluginName> = self.supervisor.running().await.plugins.keys().cloned().collect();
        self.blocking(move |Provenance { folder, .. }| {
            let without_route = folder.names().into_iter().filter(|name| !served.contains(name));
            let without_route = without_route.map(|name| {
                format!("`{name}.wasm`: no route names it as its `handler`, and no projection as its `plugin`")
            });
            let others = folder.others().into_iter().map(|other| format!("`{}`: {}", other.file, other.why));
            without_route.chain(others).collect()
        })
        .await
    }

    /// Says what is new among what is not run: a name with a typo would be waited for in vain.
    async fn tell_unused(&self) {
        // Nobody asked; whoever asks for the status is told the error.
        let unused: BTreeSet<String> = self.unused().await.unwrap_or_default().into_iter().collect();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for file in unused.difference(&told) {
            tracing::warn!(file, "A file in the plugins folder is not used");
        }
        *told = unused;
    }

    /// Puts the build before the present one in service again, and quarantines the present one. Answers which serves then.
    pub async fn roll_back(&self, name: &PluginName) -> Result<Digest> {
        if let Some(kept) = self.supervisor.roll_back_trial(name).await? {
            return Ok(kept);
        }
        let config = Arc::clone(&self.supervisor.running().await.config);
        let build = self.blocking({
            let (engine, name) = (Arc::clone(&self.engine), name.clone());
            move |provenance| previous_build(provenance, &engine, &name, &config)
        });
        let build = build.await??;
        let (kept, bytes) = (build.digest.clone(), Arc::clone(&build.bytes));
        let bad = self.supervisor.put_back(name, build).await?;
        let (plugin, good) = (name.clone(), kept.clone());
        let written = self.blocking(move |provenance| {
            let mut history = provenance.history();
            history.quarantine(&plugin, &bad, &Grounds::Asked.to_string())?;
            history.remember_good(&plugin, &good, &bytes)
        });
        written.await?.context("the build serves again, but that cannot be written down for the next start")?;
        Ok(kept)
    }

    /// Lets a quarantined file of a plugin run again, from the next look on. Answers which, or nothing if none was
    /// quarantined.
    pub async fn release(&self, name: &PluginName) -> Result<Option<Digest>> {
        let plugin = name.clone();
        let released = self.blocking(move |provenance| -> Result<Option<Digest>> {
            let file = provenance.folder.read(&plugin)?;
            Ok(provenance.history().release(&plugin, &file.digest)?.then_some(file.digest))
        });
        let released = released.await??;
        if released.is_some() {
            self.supervisor.forget_refusal(name).await;
        }
        Ok(released)
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Provenance) -> T + Send + 'static) -> Result<T> {
        let provenance = Arc::clone(&self.provenance);
        tokio::task::spawn_blocking(move || work(&provenance)).await.context("reading the plugins' files")
    }

    fn tell(&self, ok: bool, text: String) {
        if ok {
            *self.succeeded.lock().unwrap_or_else(PoisonError::into_inner) = Some(SystemTime::now());
        }
        self.note(|report| {
            if ok {
                report.applied += 1
            } else {
                report.refused += 1
            }
            report.last = Some(LastReload { at: status::rfc3339(SystemTime::now()), ok, text });
        });
    }

    fn note(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // Without a sender nobody is left who could want the host to go on.
    drop(stop.wait_for(|stop| *stop).await);
}

fn previous_build(
    provenance: &Provenance,
    engine: &Engine,
    name: &PluginName,
    config: &RuntimeConfig,
) -> Result<NewBuild> {
    let previous = provenance.history().previous(name);
    let digest = previous.ok_or_else(|| anyhow!("no build of `{name}` before the present one is remembered"))?;
    let file = provenance.examine_remembered(name, &digest)?;
    let build = (file.digest, file.bytes.into());
    let role = config.used_plugins().get(name).copied();
    let role = role.ok_or_else(|| anyhow!("nothing uses the plugin `{name}`"))?;
    NewBuild::load(engine, name, build, config.plugins.of(name), role)
        .map_err(|why| anyhow!("the build {digest} {why}"))
}
