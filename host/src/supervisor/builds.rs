//! Builds come and go: probations are watched to their end, rolled back by hand, remembered, retired.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Result, bail};
use tidemill_core::generation::Generation;
use tidemill_core::name::PluginName;
use tidemill_core::pipeline::Route;
use tidemill_core::trial::{Grounds, Standing, Trial};

use super::{Running, Supervisor};
use crate::deployment::{Concluded, Deployment, NewBuild};
use crate::plugins::Digest;
use crate::provenance::Provenance;

// === impl Supervisor ===

impl Supervisor {
    /// Says which builds are new, remembers those that nothing stands beside, and watches the probation of the others.
    pub(super) fn greet(self: &Arc<Self>, running: &Running, before: &BTreeMap<PluginName, Deployment>) {
        for (name, deployment) in &running.plugins {
            if before.get(name).is_some_and(|before| before.issued() == deployment.issued()) {
                continue;
            }
            let (digest, generation) = (deployment.digest(), deployment.number());
            match deployment.trial() {
                Some(trial) => {
                    let probation = running.config.plugins.probation;
                    tracing::info!(
                        plugin = %name, %digest, generation,
                        previous = deployment.previous_digest().map(tracing::field::display),
                        calls = probation.calls, time = ?probation.time,
                        "A new build serves, on probation"
                    );
                    // It stays to fall back to, but what began on it before must not stay for ever.
                    self.retire(vec![Arc::clone(&trial.previous)], running.config.plugins.drain_timeout);
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
        // Another build may have come meanwhile, with a probation of its own. What was found out about this one stays true.
        if !deployment.trial().is_some_and(|current| Arc::ptr_eq(current, &trial)) {
            drop(running);
            return self.quarantine(name, &trial, standing).await;
        }
        let Some(concluded) = deployment.conclude() else { return };
        let drain = config.plugins.drain_timeout;
        self.tell_concluded(&name, deployment, &concluded, &standing);
        self.reserve(&mut running, &name);
        self.show(&running);
        drop(running);
        self.retire(vec![Arc::clone(&concluded.gone)], drain);
        let provenance = Arc::clone(&self.provenance);
        let written = tokio::task::spawn_blocking(move || record(&provenance, &name, &concluded, &standing)).await;
        if let Err(error) = written {
            tracing::warn!(%error, "The end of a probation cannot be remembered");
        }
    }

    /// Remembers that a build was rolled back, although another one has taken its place by now.
    async fn quarantine(&self, name: PluginName, trial: &Trial, standing: Standing) {
        let Standing::RolledBack(grounds) = standing else { return };
        let digest = trial.new.digest();
        tracing::error!(plugin = %name, %digest, reason = grounds.to_string(), "A build that was replaced meanwhile is quarantined");
        let Ok(digest) = Digest::parse(digest) else { return };
        let provenance = Arc::clone(&self.provenance);
        let written =
            tokio::task::spawn_blocking(move || provenance.history().quarantine(&name, &digest, &grounds.to_string()));
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "The quarantine cannot be remembered"),
            Err(error) => tracing::warn!(%error, "The quarantine cannot be remembered"),
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
                    plugin = %name, digest = %gone_digest, reason = grounds.to_string(), serving = %kept,
                    "A build is rolled back and quarantined; the build before it serves again, and no event was dead-lettered for it"
                );
                deployment.refuse_gone(gone_digest, &grounds.to_string());
            }
            _ => {
                tracing::info!(plugin = %name, digest = %kept, "A build has passed its probation");
            }
        }
    }

    /// Swaps what serves the routes and projections of one plugin.
    pub(super) fn reserve(&self, running: &mut Running, plugin: &PluginName) {
        self.reserve_projections(running, plugin);
        let routes: Vec<Arc<Route>> = running.routes.iter().map(|one| Arc::clone(&one.route)).collect();
        for route in routes.iter().filter(|route| route.config.handler == *plugin) {
            if let Some(serving) = self.serving(running, plugin) {
                route.serving.store(Arc::new(serving));
            }
        }
    }

    /// Interrupts the calls that are still under way on builds that serve nobody any more, after the drain.
    pub(super) fn retire(&self, gone: Vec<Arc<Generation>>, drain: Duration) {
        if gone.is_empty() {
            return;
        }
        // A build that nobody calls any more goes at once, and its memory with it.
        let gone: Vec<_> = gone.iter().map(Arc::downgrade).collect();
        tokio::spawn(async move {
            tokio::time::sleep(drain).await;
            for generation in gone.iter().filter_map(Weak::upgrade) {
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
        deployment.refuse_gone(&bad, &Grounds::Asked.to_string());
        let drain = config.plugins.drain_timeout;
        self.reserve(&mut running, name);
        self.show(&running);
        self.retire(vec![gone], drain);
        Ok(bad)
    }

    /// Forgets that a file was refused, so that the next look tries it again.
    pub async fn forget_refusal(&self, name: &PluginName) {
        let mut running = self.running.lock().await;
        if let Some(deployment) = running.plugins.get_mut(name) {
            deployment.refused = None;
        }
        self.show(&running);
    }
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
