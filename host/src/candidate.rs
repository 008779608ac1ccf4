//! Everything that lies on disk (configuration, schemas, plugins), read, checked, compiled and started, ready to take over;
//! or everything that is wrong with it.
//!
//! What belongs together stands or falls together: if the configuration or a schema changed, one plugin file that is bad
//! refuses the whole. If only plugin files changed, each stands for itself: a bad one does not keep a good one out.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, iter, thread};

use anyhow::{Result, anyhow, bail};
use tidemill_core::config::{PluginConfig, RuntimeConfig};
use tidemill_core::name::PluginName;
use tidemill_core::port::Role;
use tidemill_core::schema::{SchemaFile, Schemas};
use tidemill_engine::{Engine, LoadError};

use crate::deployment::NewBuild;
use crate::exit::{Coded, Kind};
use crate::files;
use crate::plugins::Digest;
use crate::provenance::{Cause, Provenance, Refused};

/// What may take over.
pub struct Candidate {
    pub config: Arc<RuntimeConfig>,
    pub schemas: SchemaSet,
    /// The plugins that get another build.
    pub builds: BTreeMap<PluginName, NewBuild>,
    /// Builds to stand behind those while they are on probation, where what runs cannot: at a start, the ones that ran well
    /// before; where the settings have changed too, the ones that run, with the settings of now.
    pub behind: BTreeMap<PluginName, NewBuild>,
    /// Files that were looked at and refused; what runs in their place goes on.
    pub refused: BTreeMap<PluginName, Refused>,
    /// Plugins whose file holds what runs, whatever was refused before.
    pub reconciled: BTreeSet<PluginName>,
}

/// The schemas and the files that they were made of.
#[derive(Clone)]
pub struct SchemaSet {
    pub files: Arc<[SchemaFile]>,
    pub schemas: Arc<Schemas>,
}

/// What runs now, as far as a candidate must know it.
pub struct Current {
    pub config: Arc<RuntimeConfig>,
    pub schemas: SchemaSet,
    pub plugins: BTreeMap<PluginName, Known>,
}

/// A plugin that runs.
pub struct Known {
    pub build: (Digest, Arc<[u8]>),
    /// The same, or the build that stands behind it during a probation.
    pub trusted: (Digest, Arc<[u8]>),
    pub settings: PluginConfig,
    /// The file that was refused last; it is not tried again until it changes.
    pub refused: Option<Refused>,
}

/// What became of one plugin's file.
enum Judged {
    /// The file holds what runs.
    Runs,
    /// The file was refused before.
    Unchanged,
    New(Box<NewBuild>),
    Refused(Refused),
}

/// What the judgement needs.
struct Judge<'a> {
    engine: &'a Engine,
    provenance: &'a Provenance,
    config: &'a RuntimeConfig,
    current: Option<&'a Current>,
}

// === impl Candidate ===

impl Candidate {
    /// Reads and checks everything at once, and compiles and starts what has changed. Blocks for as long as that takes.
    /// Nothing that runs is touched.
    pub fn prepare(path: &Path, engine: &Engine, provenance: &Provenance, current: Option<&Current>) -> Result<Self> {
        let config = Arc::new(files::load_config(path)?.config);
        if let Some(current) = current {
            check_fixed(&current.config, &config)?;
        }
        let schemas = SchemaSet::read(&config, current.map(|current| &current.schemas))?;
        let whole = current.is_none_or(|current| *current.config != *config || current.schemas.files != schemas.files);
        let judge = Judge { engine, provenance, config: &config, current };
        let mut candidate = Self {
            schemas,
            builds: BTreeMap::new(),
            behind: BTreeMap::new(),
            refused: BTreeMap::new(),
            reconciled: BTreeSet::new(),
            config: Arc::clone(&config),
        };
        let mut problems = Vec::new();
        for (name, judged) in judge.all() {
            candidate.sort_in(&judge, name, judged, whole, &mut problems);
        }
        if problems.is_empty() { Ok(candidate) } else { Err(unusable(&problems)).coded(Kind::BadConfiguration) }
    }

    fn sort_in(
        &mut self,
        judge: &Judge<'_>,
        name: PluginName,
        judged: Judged,
        whole: bool,
        problems: &mut Vec<String>,
    ) {
        match judged {
            Judged::Unchanged => {}
            Judged::Runs => drop(self.reconciled.insert(name)),
            Judged::New(build) => {
                let behind = judge.behind(&name, &build);
                self.behind.extend(behind.map(|behind| (name.clone(), behind)));
                self.builds.insert(name, *build);
            }
            // At the start a build that ran well before is better than none.
            Judged::Refused(refused) if judge.current.is_none() => match judge.remembered(&name, None) {
                Some(before) => {
                    self.builds.insert(name.clone(), before);
                    self.refused.insert(name, refused);
                }
                None => problems.push(judge.problem(&name, &refused)),
            },
            Judged::Refused(refused) if whole || !judge.runs(&name) => problems.push(judge.problem(&name, &refused)),
            Judged::Refused(refused) => drop(self.refused.insert(name, refused)),
        }
    }
}

/// Examines, compiles and starts every plugin that a route or a projection names, whatever ran before. Answers those that are well, and what
/// is wrong with the others.
pub fn check_plugins(
    config: &RuntimeConfig,
    engine: &Engine,
    provenance: &Provenance,
) -> (Vec<PluginName>, Option<anyhow::Error>) {
    let judge = Judge { engine, provenance, config, current: None };
    let (mut well, mut problems) = (Vec::new(), Vec::new());
    for (name, judged) in judge.all() {
        match judged {
            Judged::Refused(refused) => problems.push(judge.problem(&name, &refused)),
            Judged::New(_) | Judged::Runs | Judged::Unchanged => well.push(name),
        }
    }
    (well, (!problems.is_empty()).then(|| unusable(&problems)))
}

/// What a running host cannot exchange under itself.
fn check_fixed(now: &RuntimeConfig, wanted: &RuntimeConfig) -> Result<()> {
    let places = |config: &RuntimeConfig| {
        let plugins = &config.plugins;
        (plugins.dir.clone(), plugins.cache_dir.clone(), plugins.trusted_keys.clone(), plugins.rescan)
    };
    let field = if now.broker != wanted.broker {
        "broker"
    } else if now.read_models != wanted.read_models {
        "read_models"
    } else if now.http != wanted.http {
        "http"
    } else if places(now) != places(wanted) {
        "plugins.dir`, `plugins.cache_dir`, `plugins.rescan` or `plugins.trusted_keys"
    } else if now.schemas.dir != wanted.schemas.dir {
        "schemas.dir"
    } else {
        return Ok(());
    };
    bail!("`{field}` has changed, and a running host cannot change it; restart it")
}

fn unusable(problems: &[String]) -> anyhow::Error {
    let count = files::counted(problems.len(), "unusable plugin");
    anyhow!("{}\n{count}. Nothing was changed.", problems.join("\n"))
}

// === impl SchemaSet ===

impl SchemaSet {
    /// Reads the schemas; compiles them unless they are what is there already.
    fn read(config: &RuntimeConfig, current: Option<&Self>) -> Result<Self> {
        let files = files::read_schemas(config)?;
        match current {
            Some(current) if *current.files == *files => Ok(current.clone()),
            _ => {
                let schemas = Arc::new(files::compile_schemas(config, files.clone())?);
                Ok(Self { files: files.into(), schemas })
            }
        }
    }
}

// === impl Judge ===

impl Judge<'_> {
    /// Every plugin that a route or a projection names. As many at a time as there are cores: most of the time goes to compilers, which are
    /// processes of their own, and a thousand plugins must not be a thousand threads.
    fn all(&self) -> BTreeMap<PluginName, Judged> {
        let left = Mutex::new(self.config.used_plugins().into_keys());
        let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
        let judge_the_rest = || iter::from_fn(next).map(|name| (name.clone(), self.judge(name))).collect::<Vec<_>>();
        thread::scope(|scope| {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(judge_the_rest)).collect();
            let judged = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
            judged.flatten().collect()
        })
    }

    fn judge(&self, name: &PluginName) -> Judged {
        let known = self.current.and_then(|current| current.plugins.get(name));
        let settings = self.config.plugins.of(name);
        let refused = match self.provenance.examine(name) {
            Ok(file) if known.is_some_and(|known| known.runs(&file.digest, &settings)) => return Judged::Runs,
            Ok(file) if known.is_some_and(|known| known.has_refused(&file.digest, &settings)) => {
                return Judged::Unchanged;
            }
            // The disk did not take the quarantine; it holds for as long as this process lives.
            Ok(file) if known.is_some_and(|known| known.has_rolled_back(&file.digest)) => {
                let (digest, why) = (Some(file.digest), "it is quarantined".to_owned());
                Refused { digest, cause: Cause::Quarantine, why }
            }
            Ok(file) => {
                let (digest, path) = (Some(file.digest.clone()), file.path);
                match self.load(name, (file.digest, file.bytes.into()), settings) {
                    Ok(build) => return Judged::New(Box::new(build)),
                    Err(why) => Refused { digest, cause: Cause::Code, why: format!("`{}` {why}", path.display()) },
                }
            }
            Err(refused) => refused,
        };
        match known {
            // That was told before. What runs goes on, with the settings of now.
            Some(known) if known.refused.as_ref().is_some_and(|before| refused.repeats(before)) => {
                self.resettle(name, known)
            }
            _ => Judged::Refused(refused),
        }
    }

    /// The running build, with the settings of now if those are others.
    fn resettle(&self, name: &PluginName, known: &Known) -> Judged {
        let settings = self.config.plugins.of(name);
        if known.settings == settings {
            return Judged::Unchanged;
        }
        match self.load(name, known.build.clone(), settings) {
            Ok(build) => Judged::New(Box::new(build)),
            Err(why) => {
                let (digest, why) = (Some(known.build.0.clone()), format!("the running build {why}"));
                Judged::Refused(Refused { digest, cause: Cause::Code, why })
            }
        }
    }

    /// The build that shall stand behind a new one, where what runs cannot do that as it is: at a start nothing runs, and with
    /// other settings it could do what is no longer granted.
    fn behind(&self, name: &PluginName, new: &NewBuild) -> Option<NewBuild> {
        let Some(current) = self.current else {
            return self.remembered(name, Some(&new.digest));
        };
        let known = current.plugins.get(name).filter(|known| known.settings != new.settings)?;
        if known.trusted.0 == new.digest {
            return None;
        }
        let loaded = self.load(name, known.trusted.clone(), new.settings.clone());
        loaded.map_err(|why| self.tell_unusable(name, &known.trusted.0, &why)).ok()
    }

    /// The build that ran last before this process began, if it still can, and unless it is the one that is there already.
    fn remembered(&self, name: &PluginName, there: Option<&Digest>) -> Option<NewBuild> {
        let digest = self.provenance.history().live(name).filter(|digest| there != Some(digest))?;
        let loaded = self.provenance.examine_remembered(name, &digest).and_then(|file| {
            let build = (file.digest, file.bytes.into());
            self.load(name, build, self.config.plugins.of(name)).map_err(|why| anyhow!("it {why}"))
        });
        loaded.map_err(|error| self.tell_unusable(name, &digest, &error)).ok()
    }

    fn load(
        &self,
        name: &PluginName,
        build: (Digest, Arc<[u8]>),
        settings: PluginConfig,
    ) -> Result<NewBuild, LoadError> {
        // Only plugins that are used are judged.
        let role = self.config.used_plugins().get(name).copied().unwrap_or(Role::Handler);
        NewBuild::load(self.engine, name, build, settings, role)
    }

    fn tell_unusable(&self, name: &PluginName, digest: &Digest, why: &dyn fmt::Display) {
        tracing::warn!(plugin = %name, %digest, reason = why.to_string(), "The build before cannot be used any more");
    }

    fn runs(&self, name: &PluginName) -> bool {
        self.current.is_some_and(|current| current.plugins.contains_key(name))
    }

    fn problem(&self, name: &PluginName, refused: &Refused) -> String {
        let routes = self.config.routes.iter().filter(|route| route.handler == *name).map(|route| route.name.as_str());
        let routes: Vec<String> = routes.map(|route| format!("`{route}`")).collect();
        let projections = self.config.projections.iter().filter(|projection| projection.plugin == *name);
        let projections: Vec<String> = projections.map(|projection| format!("`{}`", projection.name)).collect();
        let noun = match (routes.len(), projections.len()) {
            (0, 1) => "projection",
            (0, _) => "projections",
            (1, _) => "route",
            _ => "routes",
        };
        let makes = self.what_makes(name).unwrap_or_default();
        format!(
            "error: plugin `{name}` of {noun} {}: {}{makes}",
            [routes, projections].concat().join(", "),
            refused.why
        )
    }

    /// What to type where the file is only not built yet.
    fn what_makes(&self, name: &PluginName) -> Option<String> {
        let project = self.config.plugins.projects.get(name)?;
        let is_missing = !self.provenance.folder.path(name).exists();
        is_missing.then(|| {
            format!("; `tidemill build {}` makes it, and `tidemill dev` whenever it is saved", project.display())
        })
    }
}

// === impl Known ===

impl Known {
    fn runs(&self, digest: &Digest, settings: &PluginConfig) -> bool {
        self.settings == *settings && self.build.0 == *digest
    }

    fn has_rolled_back(&self, digest: &Digest) -> bool {
        let quarantined = self.refused.as_ref().filter(|refused| refused.cause == Cause::Quarantine);
        quarantined.is_some_and(|refused| refused.digest.as_ref() == Some(digest))
    }

    /// Whether the file's code was refused before, with the same settings. Compiling it again would change nothing.
    fn has_refused(&self, digest: &Digest, settings: &PluginConfig) -> bool {
        let code = self.refused.as_ref().filter(|refused| refused.cause == Cause::Code);
        self.settings == *settings && code.is_some_and(|refused| refused.digest.as_ref() == Some(digest))
    }
}
