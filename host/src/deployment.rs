//! One plugin in service: the build that handles its events, the one before it while that may still be needed, and the file
//! that was refused, if the folder holds another one than what runs.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use tidemill_core::config::{PluginConfig, Probation};
use tidemill_core::generation::Generation;
use tidemill_core::name::PluginName;
use tidemill_core::pipeline::Build;
use tidemill_core::port::{Handler, Role};
use tidemill_core::trial::{Standing, Trial};
use tidemill_engine::{Engine, LoadError, Plugin};

use crate::plugins::Digest;
use crate::provenance::{Cause, Refused};

/// A build that was loaded and started, and has not handled anything yet.
pub struct NewBuild {
    pub plugin: Arc<Plugin>,
    pub digest: Digest,
    pub bytes: Arc<[u8]>,
    pub settings: PluginConfig,
}

/// A plugin in service.
#[derive(Clone)]
pub struct Deployment {
    pub name: PluginName,
    pub settings: PluginConfig,
    /// Since when this build serves.
    pub since: SystemTime,
    /// What the folder holds instead of what runs, if that was refused.
    pub refused: Option<(Refused, SystemTime)>,
    /// How many builds this process has put in service.
    issued: u64,
    /// How many files this process has refused.
    refusals: u64,
    newest: Loaded,
    /// Given during a probation.
    previous: Option<Loaded>,
    build: Build,
}

#[derive(Clone)]
struct Loaded {
    number: u64,
    plugin: Arc<Plugin>,
    digest: Digest,
    bytes: Arc<[u8]>,
    settings: PluginConfig,
    generation: Arc<Generation>,
}

/// How a probation ended.
pub struct Concluded {
    /// The build that goes on.
    pub kept: Digest,
    /// Its component, to be remembered.
    pub bytes: Arc<[u8]>,
    /// The build that goes.
    pub gone: Arc<Generation>,
    pub gone_digest: Digest,
}

// === impl NewBuild ===

impl NewBuild {
    /// Compiles and starts a component. Blocks for as long as that takes.
    pub fn load(
        engine: &Engine,
        name: &PluginName,
        (digest, bytes): (Digest, Arc<[u8]>),
        settings: PluginConfig,
        role: Role,
    ) -> Result<Self, LoadError> {
        let plugin = Arc::new(engine.load(name, &bytes, &settings, role)?);
        Ok(Self { plugin, digest, bytes, settings })
    }
}

// === impl Deployment ===

impl Deployment {
    /// The first build in service. With `previous`, a build that ran well before this process began, it is on probation.
    pub fn first(name: PluginName, new: NewBuild, previous: Option<NewBuild>, probation: Probation) -> Self {
        match previous {
            Some(previous) if !probation.is_none() => {
                Self::of(name, Loaded::new(new, 2)).on_trial_beside(Loaded::new(previous, 1), probation)
            }
            _ => Self::of(name, Loaded::new(new, 1)),
        }
    }

    fn of(name: PluginName, newest: Loaded) -> Self {
        Self {
            name,
            settings: newest.settings.clone(),
            issued: newest.number,
            refusals: 0,
            since: SystemTime::now(),
            refused: None,
            build: Build::Trusted(Arc::clone(&newest.generation)),
            newest,
            previous: None,
        }
    }

    fn on_trial_beside(mut self, previous: Loaded, probation: Probation) -> Self {
        let trial = Trial::new(Arc::clone(&self.newest.generation), Arc::clone(&previous.generation), probation);
        self.build = Build::OnTrial(trial);
        self.previous = Some(previous);
        self
    }

    /// Puts another build in service, on probation beside the one that is trusted now. Answers the builds that go.
    ///
    /// With other settings the trusted build must not serve on as it is: it could do what is no longer granted. `behind` is
    /// that build with the settings of now; without it, and where the component is the same, the new build is trusted at once.
    pub fn replace(
        &self,
        new: NewBuild,
        behind: Option<NewBuild>,
        probation: Probation,
    ) -> (Self, Vec<Arc<Generation>>) {
        let trusted = self.trusted().clone();
        let mut gone = Vec::new();
        if trusted.digest != self.newest.digest {
            // It was on probation still; what comes now is compared with what was good before.
            gone.push(Arc::clone(&self.newest.generation));
        }
        let same_settings = new.settings == trusted.settings;
        let next = Self::of(self.name.clone(), Loaded::new(new, self.issued + 1));
        let next = Self { refusals: self.refusals, ..next };
        if probation.is_none() {
            gone.push(trusted.generation);
            return (next, gone);
        }
        if next.newest.digest != trusted.digest && same_settings {
            return (next.on_trial_beside(trusted, probation), gone);
        }
        gone.push(trusted.generation);
        match behind.filter(|behind| behind.digest != next.newest.digest) {
            Some(behind) => (next.on_trial_beside(Loaded::new(behind, trusted.number), probation), gone),
            None => (next, gone),
        }
    }

    /// An older build in its place, trusted.
    pub fn put_back(&self, build: NewBuild) -> Self {
        let newest = Loaded::new(build, self.issued + 1);
        Self { refused: self.refused.clone(), refusals: self.refusals, ..Self::of(self.name.clone(), newest) }
    }

    /// Whether this build was rolled back since the folder was looked at last.
    pub fn has_rolled_back(&self, digest: &Digest) -> bool {
        let quarantined = self.refused.as_ref().filter(|(refused, _)| refused.cause == Cause::Quarantine);
        quarantined.is_some_and(|(refused, _)| refused.digest.as_ref() == Some(digest))
    }

    /// The folder holds a file that was refused.
    pub fn refuse(&mut self, refused: Refused) {
        self.refusals += 1;
        self.refused = Some((refused, SystemTime::now()));
    }

    /// How many files this process has refused.
    pub fn refusals(&self) -> u64 {
        self.refusals
    }

    /// Says that the folder holds a build that was rolled back; unless it holds another one by now, which was refused too.
    pub fn refuse_gone(&mut self, gone: &Digest, grounds: &str) {
        if self.refused.is_none() {
            let (digest, why) = (Some(gone.clone()), format!("it is quarantined: {grounds}"));
            self.refused = Some((Refused { digest, cause: Cause::Quarantine, why }, SystemTime::now()));
        }
    }

    /// Ends the probation as it was decided. `None` while it lasts, and if there is none.
    pub fn conclude(&mut self) -> Option<Concluded> {
        let Build::OnTrial(trial) = &self.build else { return None };
        let standing = trial.standing();
        if standing == Standing::Open {
            return None;
        }
        let previous = self.previous.take()?;
        let (kept, gone) = if standing == Standing::Passed {
            (self.newest.clone(), previous)
        } else {
            (previous, self.newest.clone())
        };
        self.build = Build::Trusted(Arc::clone(&kept.generation));
        self.settings = kept.settings.clone();
        self.newest = kept;
        self.since = SystemTime::now();
        let Loaded { digest, bytes, .. } = &self.newest;
        Some(Concluded {
            kept: digest.clone(),
            bytes: Arc::clone(bytes),
            gone: gone.generation,
            gone_digest: gone.digest,
        })
    }

    /// The number of the build that serves, among those that this process has put in service.
    pub fn number(&self) -> u64 {
        self.newest.number
    }

    /// How many builds this process has put in service.
    pub fn issued(&self) -> u64 {
        self.issued
    }

    pub fn build(&self) -> &Build {
        &self.build
    }

    /// The newest build as it serves.
    pub fn generation(&self) -> &Arc<Generation> {
        &self.newest.generation
    }

    pub fn trial(&self) -> Option<&Arc<Trial>> {
        match &self.build {
            Build::OnTrial(trial) => Some(trial),
            Build::Trusted(_) => None,
        }
    }

    /// The newest build that was put in service: the one on probation, if there is one.
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.newest.plugin
    }

    pub fn digest(&self) -> &Digest {
        &self.newest.digest
    }

    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.newest.bytes
    }

    /// The build that nothing stands behind: the one before, during a probation.
    pub fn trusted_build(&self) -> (Digest, Arc<[u8]>) {
        let Loaded { digest, bytes, .. } = self.trusted();
        (digest.clone(), Arc::clone(bytes))
    }

    /// The digest of the build that stands behind the one on probation.
    pub fn previous_digest(&self) -> Option<&Digest> {
        self.previous.as_ref().map(|previous| &previous.digest)
    }

    /// Whether any of its builds can touch state.
    pub fn uses_state(&self) -> bool {
        self.newest.plugin.uses_state() || self.previous.as_ref().is_some_and(|previous| previous.plugin.uses_state())
    }

    fn trusted(&self) -> &Loaded {
        self.previous.as_ref().unwrap_or(&self.newest)
    }
}

impl Loaded {
    fn new(new: NewBuild, number: u64) -> Self {
        let NewBuild { plugin, digest, bytes, settings } = new;
        let generation = Generation::new(Arc::clone(&plugin) as Arc<dyn Handler>);
        Self { number, plugin, digest, bytes, settings, generation }
    }
}

impl fmt::Debug for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} #{}", self.name, self.newest.digest, self.newest.number)
    }
}
