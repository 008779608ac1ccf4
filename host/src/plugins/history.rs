//! What the host remembers about builds, below `plugins.cache_dir`.
//!
//! ```text
//! <cache_dir>/                0700
//!   builds/<sha256>.wasm      the bytes of good builds: up to 3 for each plugin
//!   generations.json          which of them is live, which was before, and which builds are quarantined
//!   generations.lock          held while one of both is written; two hosts may share the folder
//!
//! History::open(dir: &Path) -> Result<History, HistoryProblem>
//! History::remember_good(&mut self, &PluginName, &Digest, bytes: &[u8]) -> Result<(), HistoryProblem>
//! History::live(&self, &PluginName) -> Option<Digest>       History::previous(&self, &PluginName) -> Option<Digest>
//! History::build(&self, &Digest) -> Option<Vec<u8>>
//! History::quarantine(&mut self, &PluginName, &Digest, reason: &str) -> Result<(), HistoryProblem>
//! History::quarantined(&self, &PluginName, &Digest) -> Option<Quarantined>
//! History::release(&mut self, &PluginName, &Digest) -> Result<bool, HistoryProblem>
//! History::refresh(&mut self)
//! ```
//!
//! The order of a write is what a crash cannot break: the bytes are on disk before the record names them, and are removed
//! after it no longer does. So the record never names what was not written whole:
//!
//! | the process dies after | what the next start finds |
//! |---|---|
//! | the temporary file of a build | the old record; the rest is removed |
//! | the build is in its place | the old record; the build is removed with the next write |
//! | the temporary file of the record | the same |
//! | the record is in its place | the new record; a build too many is removed with the next write |
//!
//! Memory of the past is never a reason not to start: a damaged record is set aside, a damaged build is no build. There is no
//! database here, because a person must be able to read and repair it with an editor.

mod record;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tidemill_core::name::PluginName;

use self::record::Record;
use super::digest::Digest;
use super::durable::{self, TEMPORARY};
use super::folder::MAX_PLUGIN_BYTES;
use super::regular;

pub use self::record::Quarantined;

const RECORD: &str = "generations.json";
const DAMAGED: &str = "generations.damaged.json";
const LOCK: &str = "generations.lock";
const BUILDS: &str = "builds";

const MAX_RECORD_BYTES: u64 = 16 * 1024 * 1024;

/// Others hold the lock for as long as it takes to write one build.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The host's memory of builds. What is asked for is answered as of the last opening, writing or [`History::refresh`].
#[derive(Debug)]
pub struct History {
    dir: PathBuf,
    record: Record,
}

/// Why something was not remembered. What was remembered before still is.
#[derive(Debug, thiserror::Error)]
pub enum HistoryProblem {
    #[error("`{}` cannot be {verb}: {error}; `plugins.cache_dir` in runtime.yaml names a folder that Tidemill may write to", .path.display())]
    Io { path: PathBuf, verb: &'static str, error: io::Error },
    #[error(
        "others may write to `{}` (mode {mode:03o}), and may have put builds of their own there; remove it, or let `plugins.cache_dir` in runtime.yaml name a folder that belongs to Tidemill's user alone",
        .path.display()
    )]
    NotPrivate { path: PathBuf, mode: u32 },
    #[error("`{}` is held by another process for more than {} s; is another host stuck?", .path.display(), LOCK_PATIENCE.as_secs())]
    Busy { path: PathBuf },
    #[error("the bytes have digest {found}, not {expected}; this is a defect of Tidemill")]
    WrongDigest { expected: Digest, found: Digest },
}

// === impl History ===

impl History {
    /// Opens the memory of `cache_dir`, or begins one. Removes what a crash left behind.
    pub fn open(dir: &Path) -> Result<Self, HistoryProblem> {
        make_private(dir)?;
        make_private(&dir.join(BUILDS))?;
        let mut history = Self { dir: dir.to_owned(), record: Record::default() };
        // Whoever holds the lock now is writing, and cleans up after itself.
        let lock = history.open_lock()?;
        if lock.try_lock().is_ok() {
            history.remove_temporaries();
        }
        history.refresh();
        Ok(history)
    }

    /// Reads again what another host may have written.
    pub fn refresh(&mut self) {
        self.record = self.read_record();
    }

    /// The build that ran well last.
    pub fn live(&self, plugin: &PluginName) -> Option<Digest> {
        self.record.plugin(plugin)?.live.clone()
    }

    /// The good build before the live one.
    pub fn previous(&self, plugin: &PluginName) -> Option<Digest> {
        self.record.plugin(plugin)?.previous.clone()
    }

    /// The bytes of a remembered build. `None`: never remembered, too old, or damaged, which is warned of.
    pub fn build(&self, digest: &Digest) -> Option<Vec<u8>> {
        let path = self.build_path(digest);
        // Links are not followed: nothing that the host wrote is one.
        if !fs::symlink_metadata(&path).ok()?.is_file() {
            tracing::warn!(path = %path.display(), "A remembered build is no regular file; it is not used");
            return None;
        }
        match regular::read(&path, MAX_PLUGIN_BYTES) {
            Ok(reading) if Digest::of(&reading.bytes) == *digest => Some(reading.bytes),
            Ok(_) => {
                tracing::warn!(path = %path.display(), "A remembered build is damaged: its bytes have another digest; it is not used");
                None
            }
            Err(problem) => {
                tracing::warn!(path = %path.display(), ?problem, "A remembered build cannot be read");
                None
            }
        }
    }

    /// The quarantine of a build, if it is in one.
    pub fn quarantined(&self, plugin: &PluginName, digest: &Digest) -> Option<Quarantined> {
        self.record.plugin(plugin)?.quarantine(digest).cloned()
    }

    /// Makes `digest` the live build of `plugin`; what was live becomes the previous one. The last 3 builds are kept.
    ///
    /// When it returns `Ok`, bytes and record are on disk. On an error nothing changed.
    pub fn remember_good(&mut self, plugin: &PluginName, digest: &Digest, bytes: &[u8]) -> Result<(), HistoryProblem> {
        let found = Digest::of(bytes);
        if found != *digest {
            return Err(HistoryProblem::WrongDigest { expected: digest.clone(), found });
        }
        let _lock = self.lock()?;
        self.refresh();
        self.write_build(digest, bytes)?;
        let mut record = self.record.clone();
        record.plugin_mut(plugin).good(digest);
        self.write_record(record)
    }

    /// Remembers that a build must not run again until it is released. If it is live, the previous one becomes live.
    pub fn quarantine(&mut self, plugin: &PluginName, digest: &Digest, reason: &str) -> Result<(), HistoryProblem> {
        let _lock = self.lock()?;
        self.refresh();
        let mut record = self.record.clone();
        record.plugin_mut(plugin).quarantine_now(digest, reason);
        self.write_record(record)
    }

    /// Lets a build run again. `false`: it was not in quarantine.
    pub fn release(&mut self, plugin: &PluginName, digest: &Digest) -> Result<bool, HistoryProblem> {
        let _lock = self.lock()?;
        self.refresh();
        let mut record = self.record.clone();
        if !record.plugin_mut(plugin).release(digest) {
            return Ok(false);
        }
        self.write_record(record)?;
        Ok(true)
    }

    fn build_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(BUILDS).join(format!("{}.wasm", digest.hex()))
    }

    fn open_lock(&self) -> Result<File, HistoryProblem> {
        let path = self.dir.join(LOCK);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        opened.map_err(|error| HistoryProblem::Io { path, verb: "opened", error })
    }

    /// The right to write, until the file is dropped. It also ends when the process is killed.
    fn lock(&self) -> Result<File, HistoryProblem> {
        let file = self.open_lock()?;
        let path = self.dir.join(LOCK);
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(HistoryProblem::Io { path, verb: "locked", error }),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                    return Err(HistoryProblem::Busy { path });
                }
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            }
        }
    }

    fn write_build(&self, digest: &Digest, bytes: &[u8]) -> Result<(), HistoryProblem> {
        let path = self.build_path(digest);
        if path.exists() && self.build(digest).is_some() {
            return Ok(());
        }
        durable::replace(&path, bytes, 0o600).map_err(|error| HistoryProblem::Io { path, verb: "written", error })
    }

    fn write_record(&mut self, record: Record) -> Result<(), HistoryProblem> {
        let path = self.dir.join(RECORD);
        durable::replace(&path, &record.to_json(), 0o600).map_err(|error| HistoryProblem::Io {
            path,
            verb: "written",
            error,
        })?;
        self.record = record;
        self.remove_forgotten();
        Ok(())
    }

    fn read_record(&self) -> Record {
        let path = self.dir.join(RECORD);
        if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Record::default();
        }
        let why = match regular::read(&path, MAX_RECORD_BYTES) {
            Ok(reading) => match Record::from_json(&reading.bytes) {
                Ok(record) => return record,
                Err(why) => why,
            },
            // What cannot be read now may be well: what is known stays known.
            Err(problem) => {
                tracing::warn!(path = %path.display(), ?problem, "The record of builds cannot be read");
                return self.record.clone();
            }
        };
        let aside = self.dir.join(DAMAGED);
        let moved = fs::rename(&path, &aside);
        tracing::warn!(
            path = %path.display(), aside = %aside.display(), moved = moved.is_ok(), why,
            "The record of builds is damaged and set aside; rollback and quarantine begin anew"
        );
        Record::default()
    }

    /// A build that stays is only a waste of space, so nothing here is an error.
    fn remove_forgotten(&self) {
        for path in files(&self.dir.join(BUILDS)) {
            let hex = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if Digest::from_hex(hex).is_some_and(|digest| !self.record.names(&digest)) {
                drop(fs::remove_file(path));
            }
        }
    }

    fn remove_temporaries(&self) {
        // The compile cache has files of its own in this folder.
        for (dir, prefix) in [(self.dir.clone(), ".generations."), (self.dir.join(BUILDS), ".")] {
            let left_behind = |name: &str| name.starts_with(prefix) && name.ends_with(TEMPORARY);
            for path in files(&dir) {
                if path.file_name().is_some_and(|name| left_behind(&name.to_string_lossy())) {
                    drop(fs::remove_file(path));
                }
            }
        }
    }
}

fn files(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Creates the folder for this user only, or closes it to others.
fn make_private(dir: &Path) -> Result<(), HistoryProblem> {
    let io = |error| HistoryProblem::Io { path: dir.to_owned(), verb: "created", error };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
    let mode = fs::metadata(dir).map_err(io)?.permissions().mode() & 0o777;
    // Closing it now would be too late: what lies in it may be somebody else's.
    if mode & 0o022 != 0 {
        return Err(HistoryProblem::NotPrivate { path: dir.to_owned(), mode });
    }
    // To be read by others is no danger, so it may stay as it is if it must.
    if mode & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).ok();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
