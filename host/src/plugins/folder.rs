//! The plugins folder as what it is: a place where anybody with a shell may put anything under any name.
//!
//! ```text
//! Folder::new(dir: impl Into<PathBuf>) -> Folder
//! Folder::read(&self, name: &PluginName) -> Result<PluginFile, FileProblem>
//! Folder::signature(&self, name: &PluginName) -> Result<Option<Vec<u8>>, FileProblem>
//! Folder::names(&self) -> Vec<PluginName>          Folder::others(&self) -> Vec<Other>
//! ```
//!
//! A plugin is a regular file `<plugin>.wasm` whose resolved place is below the resolved folder. Links inside the folder are
//! followed, because Kubernetes mounts consist of them (`a.wasm -> ..data/a.wasm`, `..data -> ..2026_01_01`); a link that leads
//! out is refused. `..data` gets no exception of its own: Kubernetes keeps its target inside, and if it could lead out, so
//! could every plugin through it. The place is compared after opening, by device and inode, so that a swap between the two is
//! noticed and not used.
//!
//! Nothing else is ever opened, also not `<plugin>.wasm.dwp`, which a debugger would read.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tidemill_core::name::PluginName;

use super::digest::Digest;
use super::regular::{self, Reading, Unread};

/// A component above this size is not read.
pub const MAX_PLUGIN_BYTES: u64 = 64 * 1024 * 1024;

/// A signature has 300 bytes; its comments may be long.
const MAX_SIGNATURE_BYTES: u64 = 16 * 1024;

/// How often a file that was replaced while it was read is read again at once.
const READINGS: usize = 5;

/// `plugins.dir`.
#[derive(Debug, Clone)]
pub struct Folder {
    dir: PathBuf,
}

/// What one reading of a plugin's file gave.
#[derive(Clone, PartialEq, Eq)]
pub struct PluginFile {
    pub name: PluginName,
    /// `<plugins.dir>/<plugin>.wasm`, as a person would name it.
    pub path: PathBuf,
    pub bytes: Vec<u8>,
    pub digest: Digest,
}

/// A `.wasm` file that cannot be a plugin because of its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Other {
    pub file: String,
    pub why: String,
}

/// Why a plugin's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    #[error("there is no `{}`; {}", .path.display(), present(.plugins))]
    Missing { path: PathBuf, plugins: Vec<PluginName> },
    #[error("`{}` is {found}; expected a regular file", .path.display())]
    NotAFile { path: PathBuf, found: &'static str },
    #[error(
        "`{}` is a link to `{}`, which is outside of the plugins folder; put the file itself into `{}`",
        .path.display(), .target.display(), .folder.display()
    )]
    Outside { path: PathBuf, target: PathBuf, folder: PathBuf },
    #[error("`{}` is larger than {limit} bytes, the most that is read; a release build without debug info is smaller", .path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("`{}` changes while it is read; it is read again when it is complete", .path.display())]
    Changing { path: PathBuf },
    #[error("`{}` cannot be read: {error}; the user that runs Tidemill needs the right to read it", .path.display())]
    Unreadable { path: PathBuf, error: io::Error },
}

// === impl Folder ===

impl Folder {
    /// The folder need not exist yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the plugin's file is, or would be.
    pub fn path(&self, name: &PluginName) -> PathBuf {
        self.dir.join(format!("{name}.wasm"))
    }

    /// Reads a plugin's file once, whole. Does not look at what is in it. Never waits for another process.
    pub fn read(&self, name: &PluginName) -> Result<PluginFile, FileProblem> {
        let path = self.path(name);
        let bytes = self.read_inside(&path, MAX_PLUGIN_BYTES)?;
        Ok(PluginFile { name: name.clone(), digest: Digest::of(&bytes), path, bytes })
    }

    /// The bytes of `<plugin>.wasm.minisig`, under the same rules. `None`: there is no such file.
    pub fn signature(&self, name: &PluginName) -> Result<Option<Vec<u8>>, FileProblem> {
        match self.read_inside(&self.signature_path(name), MAX_SIGNATURE_BYTES) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(FileProblem::Missing { .. }) => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// Where the plugin's signature is, or would be.
    pub fn signature_path(&self, name: &PluginName) -> PathBuf {
        self.dir.join(format!("{name}.wasm.minisig"))
    }

    /// The plugins that lie in the folder, sorted. A name here may still be refused by [`Folder::read`].
    pub fn names(&self) -> Vec<PluginName> {
        let mut names: Vec<_> = self.wasm_files().iter().filter_map(|file| plugin_of(file)).collect();
        names.sort();
        names
    }

    /// The `.wasm` files that are no plugins because of their names, for a warning. Sorted.
    pub fn others(&self) -> Vec<Other> {
        let names = self.names();
        let mut others: Vec<_> = self
            .wasm_files()
            .into_iter()
            .filter(|file| plugin_of(file).is_none())
            .map(|file| Other { why: why_other(&file, &names), file })
            .collect();
        others.sort();
        others
    }

    fn wasm_files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|file| is_wasm(file)).collect()
    }

    fn read_inside(&self, path: &Path, cap: u64) -> Result<Vec<u8>, FileProblem> {
        let mut problem = FileProblem::Changing { path: path.to_owned() };
        for _ in 0..READINGS {
            match self.read_once(path, cap) {
                Ok(Some(bytes)) => return Ok(bytes),
                Ok(None) => {}
                // Between a delete and the create that follows it; a `..data` swap has no such gap.
                Err(vanished @ FileProblem::Missing { .. }) if path.exists() => problem = vanished,
                Err(final_problem) => return Err(final_problem),
            }
        }
        Err(problem)
    }

    /// `None` if the file was replaced or written meanwhile.
    fn read_once(&self, path: &Path, cap: u64) -> Result<Option<Vec<u8>>, FileProblem> {
        let io = |error| self.io_problem(path, error);
        let (root, target) = (fs::canonicalize(&self.dir).map_err(io)?, fs::canonicalize(path).map_err(io)?);
        if !target.starts_with(&root) {
            return Err(FileProblem::Outside { path: path.to_owned(), target, folder: self.dir.clone() });
        }
        let Reading { bytes, identity } = match regular::read(&target, cap) {
            Ok(reading) => reading,
            Err(Unread::Changed) => return Ok(None),
            Err(Unread::NotAFile(found)) => return Err(FileProblem::NotAFile { path: path.to_owned(), found }),
            Err(Unread::TooLarge) => return Err(FileProblem::TooLarge { path: path.to_owned(), limit: cap }),
            Err(Unread::Io(error)) => return Err(io(error)),
        };
        Ok(self.still_there(path, &target, identity).then_some(bytes))
    }

    /// Whether what was opened is still what the path leads to, so that nothing outside can have been read.
    fn still_there(&self, path: &Path, target: &Path, identity: (u64, u64)) -> bool {
        let same_place = fs::canonicalize(path).is_ok_and(|now| now == target);
        same_place && fs::symlink_metadata(target).is_ok_and(|now| regular::identity(&now) == identity)
    }

    fn io_problem(&self, path: &Path, error: io::Error) -> FileProblem {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound => FileProblem::Missing { path, plugins: self.names() },
            _ => FileProblem::Unreadable { path, error },
        }
    }
}

impl fmt::Debug for PluginFile {
    /// Without the bytes, which nobody wants to read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PluginFile({} of {} bytes, {})", self.path.display(), self.bytes.len(), self.digest)
    }
}

fn is_wasm(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("wasm"))
}

fn plugin_of(file: &str) -> Option<PluginName> {
    file.strip_suffix(".wasm").and_then(|name| PluginName::try_new(name).ok())
}

fn why_other(file: &str, names: &[PluginName]) -> String {
    let small = file.to_lowercase();
    match plugin_of(&small) {
        Some(twin) if names.contains(&twin) => {
            format!("differs from `{small}` only in case; plugins are named in small letters, remove one of the two")
        }
        Some(_) => format!("is not read: plugins are named in small letters; rename it to `{small}`"),
        None => match PluginName::try_new(small.strip_suffix(".wasm").unwrap_or(&small)) {
            Err(error) => format!("is not read: {error}"),
            Ok(_) => "is not read: its name is no plugin's".to_owned(),
        },
    }
}

/// Which plugins there are, for somebody who named another one.
fn present(plugins: &[PluginName]) -> String {
    if plugins.is_empty() {
        return "the folder holds no plugin".to_owned();
    }
    let names: Vec<_> = plugins.iter().map(|name| format!("`{name}`")).collect();
    format!("the folder holds {}", names.join(", "))
}

#[cfg(test)]
mod tests;
