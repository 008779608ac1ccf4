//! May this file run? Everything that is asked of a plugin's file before the engine sees it, and what is remembered of the
//! builds that ran.
//!
//! The answer depends on the bytes that were read, never on the path: what is checked is what is compiled.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use tidemill_core::config::PluginsConfig;
use tidemill_core::name::PluginName;

use crate::plugins::{Digest, Folder, History, Lock, PluginFile, Quarantined, TrustedKeys};

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
    pub why: String,
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
        let file = self.folder.read(name).map_err(|problem| Refused { digest: None, why: problem.to_string() })?;
        match self.objection(&file) {
            None => Ok(file),
            Some(why) => Err(Refused { digest: Some(file.digest), why }),
        }
    }

    fn objection(&self, file: &PluginFile) -> Option<String> {
        let locked = Lock::read(&self.folder).and_then(|lock| match lock {
            Some(lock) => lock.check(file),
            None => Ok(()),
        });
        if let Err(problem) = locked {
            return Some(problem.to_string());
        }
        if let Err(problem) = self.keys.check(&self.folder, file) {
            return Some(problem.to_string());
        }
        let Quarantined { reason, since, .. } = self.history().quarantined(&file.name, &file.digest)?;
        let (path, name) = (file.path.display(), &file.name);
        Some(format!(
            "`{path}` is quarantined since {since}: {reason}; replace the file, or let it run again with `tidemill plugins release {name}`"
        ))
    }

    /// What is remembered. Writing to it waits for the disk.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
