//! The folder on disk: who holds it, and where things are.
//!
//! ```text
//! .tidemill/read-models/
//!   lock                     the process that holds the folder; locked as long as it lives
//!   catalogue.sqlite         which copies there are, and which of them is active
//!   copies/orders.3.sqlite   the third copy of the projection `orders`
//! ```
//!
//! A copy's file exists before the catalogue names it and as long as it does. A file that the catalogue does not name was left
//! by a crash in between, and is removed when the folder is opened.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidemill_core::read_model::{CopyId, StoreError};

use crate::problem::{cannot, unavailable};

/// A process that is just ending may hold the lock a moment longer than its terminal.
const LOCK_ATTEMPTS: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What SQLite keeps beside a database while it is open.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

const CATALOGUE: &str = "catalogue.sqlite";

/// A folder that this process holds, until it is dropped.
pub(crate) struct Directory {
    path: PathBuf,
    /// The lock lives as long as the file is open. It also ends when the process is killed.
    _lock: File,
}

// === impl Directory ===

impl Directory {
    /// Creates the folder if it is missing, for this user only, and takes it.
    pub(crate) fn take(path: &Path) -> Result<Self, StoreError> {
        create(path).map_err(|error| cannot(path, "created", &error))?;
        let lock = take_lock(path)?;
        let directory = Self { path: path.to_owned(), _lock: lock };
        create(&directory.copies()).map_err(|error| cannot(&directory.copies(), "created", &error))?;
        directory.check_catalogue()?;
        Ok(directory)
    }

    /// Whether a folder has been held by somebody. Makes nothing.
    pub(crate) fn is_used(path: &Path) -> bool {
        path.join(CATALOGUE).is_file()
    }

    pub(crate) fn catalogue(&self) -> PathBuf {
        self.path.join(CATALOGUE)
    }

    pub(crate) fn copy(&self, id: &CopyId) -> PathBuf {
        // No name holds a dot.
        self.copies().join(format!("{}.{}.sqlite", id.projection, id.number))
    }

    /// Removes the files of a copy.
    pub(crate) fn remove(&self, id: &CopyId) {
        remove_database(&self.copy(id));
    }

    /// Removes whatever a crash has left of copies that are not among `known`.
    pub(crate) fn sweep(&self, known: &[CopyId]) -> Result<(), StoreError> {
        let copies = self.copies();
        let known: Vec<PathBuf> = known.iter().map(|id| self.copy(id)).collect();
        let entries = fs::read_dir(&copies).map_err(|error| cannot(&copies, "read", &error))?;
        for entry in entries {
            let path = entry.map_err(|error| cannot(&copies, "read", &error))?.path();
            let is_copy = path.extension().is_some_and(|extension| extension == "sqlite");
            if is_copy && !known.contains(&path) {
                tracing::info!(file = %path.display(), "removed a copy of a read model that was never finished");
                remove_database(&path);
            }
        }
        Ok(())
    }

    fn copies(&self) -> PathBuf {
        self.path.join("copies")
    }

    /// Without its catalogue a copy is of an unknown projection and state: nothing is guessed, and nothing removed.
    fn check_catalogue(&self) -> Result<(), StoreError> {
        let copies = self.copies();
        let mut entries = fs::read_dir(&copies).map_err(|error| cannot(&copies, "read", &error))?;
        if self.catalogue().exists() || entries.next().is_none() {
            return Ok(());
        }
        Err(StoreError::Refused(format!(
            "`{}` is missing beside existing copies; restore it from a backup, or move `{}` away: then every projection \
             is folded from its beginning",
            self.catalogue().display(),
            self.path.display()
        )))
    }
}

fn create(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// What stays behind is found by the next [`sweep`](Directory::sweep).
fn remove_database(path: &Path) {
    let companions = COMPANIONS.iter().map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    });
    // The database last: as long as it is there, the sweep sees that something is.
    for file in companions.chain([path.to_owned()]) {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(file = %file.display(), %error, "a removed copy of a read model stays on disk for now");
            }
            _ => {}
        }
    }
}

fn take_lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = file.map_err(|error| cannot(&path, "opened", &error))?;
    for attempt in 1.. {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if attempt < LOCK_ATTEMPTS => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(held(dir, &mut file)),
            Err(TryLockError::Error(error)) => return Err(cannot(&path, "locked", &error)),
        }
    }
    note_holder(&mut file).map_err(|error| cannot(&path, "written", &error))?;
    Ok(file)
}

fn note_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn held(dir: &Path, file: &mut File) -> StoreError {
    let mut text = String::new();
    let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok());
    let holder = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    unavailable(format!(
        "`{}` is held by {holder}; end that process, or give this one a folder of its own with `read_models.sqlite.dir`; \
         several hosts share read models with `read_models.postgres`",
        dir.display()
    ))
}
