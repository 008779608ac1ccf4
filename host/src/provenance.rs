//! May this file run? Everything that is asked of a plugin's file before the engine sees it, and what is remembered of the
//! builds that ran.
//!
//! The answer depends on the bytes that were read, never on the path: what is checked is what is compiled.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow};
use tidemill_core::config::PluginsConfig;
use tidemill_core::name::PluginName;

use crate::plugins::{Digest, FileProblem, Folder, History, Lock, PluginFile, Quarantined, TrustedKeys};

/// The folder of plugins with its lock, its keys and its history.
pub struct Provenance {
    pub folder: Folder,
    keys: TrustedKeys,
    history: Mutex<History>,
}

/// A file that may not run, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// `None` if the file could not be read.
    pub digest: Option<Digest>,
    pub cause: Cause,
    pub why: String,
}

impl Refused {
    /// Whether this was told before. A rollback tells its quarantine in other words than whoever finds the file later.
    pub fn repeats(&self, before: &Self) -> bool {
        let same = self.digest == before.digest && self.cause == before.cause;
        // A file that is not there is told with the files that are, which is no news about it.
        same && (self.cause == Cause::Quarantine || self.digest.is_none() || self.why == before.why)
    }
}

/// What refused a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The file itself or its signature: what can change while its bytes stay the same, and is cheap to ask again.
    Provenance,
    /// `plugins.lock` names another build.
    Lock,
    /// It was rolled back.
    Quarantine,
    /// Its code, which stays what it is.
    Code,
}

// === impl Provenance ===

impl Provenance {
    pub fn open(config: &PluginsConfig) -> Result<Self> {
        let keys = TrustedKeys::parse(&config.trusted_keys).context("reading `plugins.trusted_keys`")?;
        let history = History::open(&config.cache_dir)
            .with_context(|| format!("opening the plugins' cache `{}`", config.cache_dir.display()))?;
        Ok(Self { folder: Folder::new(&config.dir), keys, history: Mutex::new(history) })
    }

    /// The plugin's file, if it may run. Its code is not looked at.
    pub fn examine(&self, name: &PluginName) -> Result<PluginFile, Refused> {
        let cause = Cause::Provenance;
        let unread = |problem: FileProblem| Refused { digest: None, cause, why: problem.to_string() };
        let file = self.folder.read(name).map_err(unread)?;
        match self.objection(&file) {
            None => Ok(file),
            Some((cause, why)) => Err(Refused { digest: Some(file.digest), cause, why }),
        }
    }

    /// A build that ran before, if it may run still: the lock and the keys may have changed since.
    pub fn examine_remembered(&self, name: &PluginName, digest: &Digest) -> Result<PluginFile> {
        let bytes = self.history().build(digest);
        let bytes = bytes.ok_or_else(|| anyhow!("the build {digest} of `{name}` is not in the cache any more"))?;
        let file = PluginFile { name: name.clone(), path: self.folder.path(name), digest: digest.clone(), bytes };
        match self.objection(&file) {
            None => Ok(file),
            Some((Cause::Lock, _)) if self.locks_a_quarantined_build(name) => Ok(file),
            Some((_, why)) => Err(anyhow!("the build {digest}, which ran before, may not run any more: {why}")),
        }
    }

    /// Whether the lock names a build that was rolled back. Then it cannot keep the one before it from serving: that one served
    /// before the restart, too.
    fn locks_a_quarantined_build(&self, name: &PluginName) -> bool {
        let locked = Lock::read(&self.folder).ok().flatten().and_then(|lock| lock.digest(name).cloned());
        locked.is_some_and(|digest| self.history().quarantined(name, &digest).is_some())
    }

    fn objection(&self, file: &PluginFile) -> Option<(Cause, String)> {
        let locked = Lock::read(&self.folder).and_then(|lock| match lock {
            Some(lock) => lock.check(file),
            None => Ok(()),
        });
        if let Err(problem) = locked {
            return Some((Cause::Lock, problem.to_string()));
        }
        if let Err(problem) = self.keys.check(&self.folder, file) {
            return Some((Cause::Provenance, problem.to_string()));
        }
        let Quarantined { reason, since, .. } = self.history().quarantined(&file.name, &file.digest)?;
        let (path, name) = (file.path.display(), &file.name);
        let why = format!(
            "`{path}` is quarantined since {since}: {reason}; replace the file, or let it run again with `tidemill plugins release {name}`"
        );
        Some((Cause::Quarantine, why))
    }

    /// What is remembered. Writing to it waits for the disk.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
