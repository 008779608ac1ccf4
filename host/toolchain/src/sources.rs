//! What a project looks like at one moment, to notice when it changes.
//!
//! Looking again and again is dull and right: a project has some tens of files, a look costs less than a millisecond, and there is
//! no file system and no editor's way of saving on which it fails. The host's own folder is watched in another way, because there a
//! look means hashing megabytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Folders that hold what tools make, not what people write: at the top of a project, where further down they may be a package's name.
const MADE: [&str; 4] = ["target", "build", "zig-out", "dist"];

/// The same, wherever they are.
const MADE_ANYWHERE: [&str; 2] = ["node_modules", "__pycache__"];

/// A folder with more files is no plugin project; a link that leads to the whole disk must not be walked.
const MAX_FILES: usize = 10_000;

/// The files of a project: sizes and times.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources(BTreeMap<PathBuf, (u64, Option<SystemTime>)>);

// === impl Sources ===

impl Sources {
    /// Looks at a project's folder. What cannot be read is as good as absent.
    pub fn look(dir: &Path) -> Self {
        let mut sources = Self::default();
        sources.walk(dir, &MADE);
        sources
    }

    fn walk(&mut self, dir: &Path, made: &[&str]) {
        let is_made = |name: &str| made.contains(&name) || MADE_ANYWHERE.contains(&name);
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // Hidden: caches, environments, an editor's own files.
            if name.starts_with('.') || is_lock(&name) || self.0.len() >= MAX_FILES {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !is_made(&name) => self.walk(&entry.path(), &[]),
                Ok(kind) if kind.is_file() => {
                    if let Ok(meta) = entry.metadata() {
                        self.0.insert(entry.path(), (meta.len(), meta.modified().ok()));
                    }
                }
                _ => {}
            }
        }
    }
}

/// Lock files: tools write them while they build, and who changes one by hand changes what it locks, too.
fn is_lock(name: &str) -> bool {
    name.ends_with(".lock") || name == "package-lock.json" || name == "go.sum"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_noticed_and_what_tools_make_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("src/lib.rs", "one");
        let first = Sources::look(dir.path());
        assert_eq!(first, Sources::look(dir.path()));
        for made in [
            "target/release/a.wasm",
            "build/a.wasm",
            "node_modules/x/index.js",
            ".venv/bin/python",
            ".lib.rs.swp",
            "Cargo.lock",
        ] {
            write(made, "made");
            assert_eq!(first, Sources::look(dir.path()), "{made}");
        }
        write("src/build/plan.rs", "written");
        let written = Sources::look(dir.path());
        assert_ne!(first, written);
        write("src/build/__pycache__/plan.pyc", "made");
        assert_eq!(written, Sources::look(dir.path()));
        fs::remove_dir_all(dir.path().join("src/build")).unwrap();
        write("src/lib.rs", "three");
        let second = Sources::look(dir.path());
        assert_ne!(first, second);
        write("src/more.rs", "");
        assert_ne!(second, Sources::look(dir.path()));
        fs::remove_file(dir.path().join("src/more.rs")).unwrap();
        assert_eq!(second, Sources::look(dir.path()));
    }
}
