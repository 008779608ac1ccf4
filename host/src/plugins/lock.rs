//! `<plugins.dir>/plugins.lock`: which build of each plugin may run, written down by a person or by a deployment.
//!
//! ```text
//! Lock::read(folder: &Folder) -> Result<Option<Lock>, LockProblem>      None: there is no such file, everything may run
//! Lock::check(&self, file: &PluginFile) -> Result<(), LockProblem>
//! lock::write(folder: &Folder, names: &[PluginName]) -> Result<Lock, WriteProblem>
//! ```
//!
//! The format is that of `sha256sum`, so that `sha256sum --check plugins.lock` says the same as the host, and so that a
//! person can read the difference between two versions. A list is complete: when the file exists, a plugin that it does not
//! name is refused, since otherwise a new file would be the way around it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use tidemill_core::name::PluginName;

use super::digest::Digest;
use super::durable;
use super::folder::{FileProblem, Folder, PluginFile};
use super::regular::{self, Unread};

const FILE: &str = "plugins.lock";
const HEADER: &str =
    "# The builds that may run here. Written by `tidemill plugins lock`, checked by `sha256sum --check` too.\n";

/// Thousands of plugins; more is a mistake.
const MAX_BYTES: u64 = 1024 * 1024;

/// What `plugins.lock` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    path: PathBuf,
    digests: BTreeMap<PluginName, Digest>,
}

/// Why a plugin may not run, or why nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum LockProblem {
    #[error("`{}` cannot be read: {why}; correct it, or remove it to run plugins without a lock", .path.display())]
    Unreadable { path: PathBuf, why: String },
    #[error("`{}`, line {line}: found `{found}`; expected {expected}", .path.display())]
    Malformed { path: PathBuf, line: usize, found: String, expected: &'static str },
    #[error(
        "plugin `{plugin}` is not in `{}`, the file has {found}; if this build is wanted, `tidemill plugins lock` adds it",
        .path.display()
    )]
    NotListed { path: PathBuf, plugin: PluginName, found: Digest },
    #[error(
        "`{}` locks plugin `{plugin}` to {locked}, the file has {found}; if this build is wanted, `tidemill plugins lock` updates it",
        .path.display()
    )]
    Different { path: PathBuf, plugin: PluginName, locked: Digest, found: Digest },
}

/// Why `plugins.lock` was not written. The old one is untouched.
#[derive(Debug, thiserror::Error)]
pub enum WriteProblem {
    #[error(transparent)]
    Plugin(#[from] FileProblem),
    #[error("`{}` cannot be written: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// Locks exactly these plugins to the builds that lie in the folder now. Replaces the file as a whole, comments included.
pub fn write(folder: &Folder, names: &[PluginName]) -> Result<Lock, WriteProblem> {
    let mut digests = BTreeMap::new();
    for name in names {
        digests.insert(name.clone(), folder.read(name)?.digest);
    }
    let lock = Lock { path: folder.dir().join(FILE), digests };
    match durable::replace(&lock.path, lock.text().as_bytes(), 0o644) {
        Ok(()) => Ok(lock),
        Err(error) => Err(WriteProblem::Io { path: lock.path, error }),
    }
}

// === impl Lock ===

impl Lock {
    /// Reads the folder's lock, if it has one.
    pub fn read(folder: &Folder) -> Result<Option<Self>, LockProblem> {
        let path = folder.dir().join(FILE);
        let unreadable = |why: String| Err(LockProblem::Unreadable { path: path.clone(), why });
        let reading = match regular::read(&path, MAX_BYTES) {
            Ok(reading) => reading,
            // A link that leads nowhere is not an absent file: without its target everything would be allowed.
            Err(Unread::Io(error)) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => {
                return Ok(None);
            }
            Err(Unread::Io(error)) => return unreadable(error.to_string()),
            Err(Unread::NotAFile(found)) => return unreadable(format!("it is {found}")),
            Err(Unread::TooLarge) => return unreadable(format!("it has more than {MAX_BYTES} bytes")),
            Err(Unread::Changed) => return unreadable("it changes while it is read".to_owned()),
        };
        match String::from_utf8(reading.bytes) {
            Ok(text) => Self::parse(&path, &text).map(Some),
            Err(_) => unreadable("it is not UTF-8 text".to_owned()),
        }
    }

    /// Whether this build may run.
    pub fn check(&self, file: &PluginFile) -> Result<(), LockProblem> {
        let (path, plugin, found) = (self.path.clone(), file.name.clone(), file.digest.clone());
        match self.digests.get(&file.name) {
            Some(locked) if *locked == file.digest => Ok(()),
            Some(locked) => Err(LockProblem::Different { path, plugin, locked: locked.clone(), found }),
            None => Err(LockProblem::NotListed { path, plugin, found }),
        }
    }

    /// The digest that a plugin is locked to.
    pub fn digest(&self, name: &PluginName) -> Option<&Digest> {
        self.digests.get(name)
    }

    /// The plugins that are locked, in order.
    pub fn names(&self) -> impl Iterator<Item = &PluginName> {
        self.digests.keys()
    }

    fn parse(path: &Path, text: &str) -> Result<Self, LockProblem> {
        let mut digests = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let malformed = |expected| LockProblem::Malformed {
                path: path.to_owned(),
                line: index + 1,
                found: line.chars().filter(|c| !c.is_control()).take(100).collect(),
                expected,
            };
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let (digest, name) = parse_line(line).map_err(malformed)?;
            if digests.insert(name, digest).is_some() {
                return Err(malformed("each plugin once"));
            }
        }
        Ok(Self { path: path.to_owned(), digests })
    }

    fn text(&self) -> String {
        let lines = self.digests.iter().map(|(name, digest)| format!("{}  {name}.wasm\n", digest.hex()));
        std::iter::once(HEADER.to_owned()).chain(lines).collect()
    }
}

/// `<64 hex>`, two blanks (or a blank and the `*` of binary mode), `<plugin>.wasm`.
fn parse_line(line: &str) -> Result<(Digest, PluginName), &'static str> {
    const SHAPE: &str = "64 hexadecimal digits, two blanks and `<plugin>.wasm`, as `sha256sum` writes them";
    let (hex, rest) = line.split_once(' ').ok_or(SHAPE)?;
    let digest = Digest::from_hex(hex).ok_or("64 hexadecimal digits at the beginning")?;
    let file = rest.strip_prefix([' ', '*']).ok_or(SHAPE)?.trim_end();
    let name = file.strip_prefix("./").unwrap_or(file).strip_suffix(".wasm");
    let name = name.and_then(|name| PluginName::try_new(name).ok());
    Ok((digest, name.ok_or("a plugin's file `<plugin>.wasm` of this folder behind the digest")?))
}

#[cfg(test)]
mod tests;
