//! Which directories have to be watched, and which names in them matter.
//!
//! A path like `conf/runtime.yaml` depends on more than its folder: every link on the way can be pointed elsewhere, and a
//! folder that is missing can appear. So the path is walked as the system walks it, and each step that could lead elsewhere
//! is noted as a directory and a name. Names keep everything else quiet: the configuration's folder may also hold a log file
//! or `.tidemill`, whose writes must wake nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::WatchPlaces;
use super::snapshot::MAX_DEPTH;

/// As many links as Linux follows in one path.
const MAX_LINKS: usize = 40;

/// Directories, by their resolved paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Targets {
    dirs: BTreeMap<PathBuf, Names>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    All,
    Only(BTreeSet<OsString>),
}

// === impl Targets ===

impl Targets {
    /// What has to be watched as of now.
    pub(super) fn of(places: &WatchPlaces) -> Self {
        let mut targets = Self::default();
        targets.follow(&places.config);
        targets.add_folder(&places.schemas, MAX_DEPTH);
        targets.add_folder(&places.plugins, 0);
        targets
    }

    pub(super) fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.dirs.keys().map(PathBuf::as_path)
    }

    pub(super) fn contains(&self, dir: &Path) -> bool {
        self.dirs.contains_key(dir)
    }

    /// Whether something that happened to `path` can matter.
    pub(super) fn concerns(&self, path: &Path) -> bool {
        let as_entry = || {
            let names = self.dirs.get(path.parent()?)?;
            Some(names.has(path.file_name()?))
        };
        self.contains(path) || as_entry().unwrap_or(false)
    }

    fn add_folder(&mut self, dir: &Path, depth: usize) {
        let Some(dir) = self.follow(dir) else { return };
        // Met before: by another link, or because links form a loop.
        if matches!(self.dirs.insert(dir.clone(), Names::All), Some(Names::All)) {
            return;
        }
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if depth > 0 && (kind.is_dir() || (kind.is_symlink() && entry.path().is_dir())) {
                self.add_folder(&entry.path(), depth - 1);
            } else if kind.is_symlink() {
                self.follow(&entry.path());
            }
        }
    }

    /// Walks a path. The place it leads to, if there is one.
    fn follow(&mut self, path: &Path) -> Option<PathBuf> {
        let path = std::path::absolute(path).ok()?;
        let mut rest = steps(&path);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(step) = rest.pop() {
            if step == "/" {
                at = PathBuf::from("/");
            } else if step == ".." {
                at.pop();
            } else {
                let next = at.join(&step);
                let Ok(metadata) = fs::symlink_metadata(&next) else {
                    self.note(&at, step);
                    return None;
                };
                if metadata.is_symlink() {
                    links += 1;
                    self.note(&at, step);
                    let target = fs::read_link(&next).ok().filter(|_| links <= MAX_LINKS)?;
                    rest.extend(steps(&target));
                } else {
                    if rest.is_empty() {
                        self.note(&at, step);
                    }
                    at = next;
                }
            }
        }
        Some(at)
    }

    fn note(&mut self, dir: &Path, name: OsString) {
        match self.dirs.entry(dir.to_owned()).or_insert_with(|| Names::Only(BTreeSet::new())) {
            Names::All => {}
            Names::Only(names) => drop(names.insert(name)),
        }
    }
}

// === impl Names ===

impl Names {
    fn has(&self, name: &OsStr) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
        }
    }
}

/// The steps of a path, the first one last.
fn steps(path: &Path) -> Vec<OsString> {
    let kept = path.components().filter(|step| !matches!(step, Component::CurDir | Component::Prefix(_)));
    kept.rev().map(|step| step.as_os_str().to_owned()).collect()
}
