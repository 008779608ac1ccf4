//! The directory on disk: who holds it, and which format it has.
//!
//! ```text
//! .tidemill/
//!   lock       the process that holds the directory; locked as long as it lives
//!   format     the number of the format, as text
//!   log/       the storage engine's files
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidemill_core::port::BrokerError;

use crate::log::unavailable;

/// Changes when rows of an older version can no longer be read.
const FORMAT: &str = "tidemill embedded log 1";

/// A process that is just ending may hold the lock a moment longer than its port or its terminal.
const LOCK_ATTEMPTS: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// A directory that this process holds, until it is dropped.
pub(crate) struct Directory {
    path: PathBuf,
    /// The lock lives as long as the file is open. It also ends when the process is killed.
    _lock: File,
}

/// Where the storage engine keeps its files below a directory.
pub(crate) fn storage(path: &Path) -> PathBuf {
    path.join("log")
}

impl Directory {
    /// Creates the directory if it is missing, for this user only, and takes it.
    pub(crate) fn take(path: &Path) -> Result<Self, BrokerError> {
        create(path).map_err(|error| cannot(path, "created", &error))?;
        let lock = take_lock(path)?;
        let directory = Self { path: path.to_owned(), _lock: lock };
        directory.check_format()?;
        Ok(directory)
    }

    /// Where the storage engine keeps its files.
    pub(crate) fn storage(&self) -> PathBuf {
        storage(&self.path)
    }

    fn check_format(&self) -> Result<(), BrokerError> {
        let file = self.path.join("format");
        match fs::read_to_string(&file) {
            Ok(text) if text.trim_end() == FORMAT => Ok(()),
            Ok(text) => {
                let found: String = text.chars().take(60).filter(|c| !c.is_control()).collect();
                Err(BrokerError::Incompatible(format!(
                    "`{}` says `{found}`, this version reads `{FORMAT}`; use the version that wrote it, or move the \
                     directory away to begin anew",
                    file.display()
                )))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.storage().exists() => {
                Err(BrokerError::Incompatible(format!(
                    "`{}` is missing beside existing data, so the format is unknown; restore it from a backup, or move \
                     the directory away to begin anew",
                    file.display()
                )))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                write_format(&self.path, &file).map_err(|error| cannot(&file, "written", &error))
            }
            Err(error) => Err(BrokerError::Incompatible(format!("`{}` cannot be read: {error}", file.display()))),
        }
    }
}

/// In one step: a crash leaves either no file or the whole.
fn write_format(dir: &Path, file: &Path) -> std::io::Result<()> {
    let draft = dir.join("format.new");
    let mut out = File::create(&draft)?;
    writeln!(out, "{FORMAT}")?;
    out.sync_all()?;
    fs::rename(&draft, file)?;
    File::open(dir)?.sync_all()
}

fn create(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Whether some process holds the directory. Whoever takes it at this moment is not disturbed: it tries for a while.
pub(crate) fn is_held(dir: &Path) -> bool {
    File::open(lock_file(dir)).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

fn lock_file(dir: &Path) -> PathBuf {
    dir.join("lock")
}

fn take_lock(dir: &Path) -> Result<File, BrokerError> {
    let path = lock_file(dir);
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

fn held(dir: &Path, file: &mut File) -> BrokerError {
    let mut text = String::new();
    let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok());
    let holder = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    unavailable(format!(
        "`{}` is held by {holder}; end that process, or give this one a directory of its own with `broker.embedded.dir`",
        dir.display()
    ))
}

fn cannot(path: &Path, what: &str, error: &std::io::Error) -> BrokerError {
    unavailable(format!("`{}` cannot be {what}: {error}", path.display()))
}
