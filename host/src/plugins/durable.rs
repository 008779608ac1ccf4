//! Writing a file so that a crash leaves the old content or the new one, never a part.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

/// What a crash may leave behind ends like this, and may be removed by whoever holds the folder.
pub(super) const TEMPORARY: &str = ".tmp";

/// Replaces `path`: temporary file, fsync, rename, fsync of the folder. When it returns `Ok`, a power cut cannot undo it.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = beside(path);
    let written = write(&temporary, bytes, mode).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to tell; a file that stays is removed at the next start.
        drop(fs::remove_file(&temporary));
    }
    written?;
    File::open(folder_of(path))?.sync_all()
}

/// Removes what crashes have left of [`replace`] of this path, where nobody holds the folder: what is an hour old is nobody's any more.
pub(crate) fn remove_leftovers(path: &Path) {
    const OLD: Duration = Duration::from_secs(3600);
    let prefix = format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy());
    for entry in fs::read_dir(folder_of(path)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|modified| modified.elapsed().ok());
        if name.starts_with(&prefix) && name.ends_with(TEMPORARY) && age.is_some_and(|age| age > OLD) {
            // Whoever builds next tries again.
            drop(fs::remove_file(entry.path()));
        }
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    folder_of(path).join(format!(".{name}.{}{TEMPORARY}", Uuid::now_v7().simple()))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_leftovers_of_the_same_file_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let old = std::time::SystemTime::now() - Duration::from_secs(7200);
        for (name, is_old) in
            [(".a.wasm.1.tmp", true), (".a.wasm.2.tmp", false), (".b.wasm.1.tmp", true), ("a.wasm", true)]
        {
            let file = File::create(dir.path().join(name)).unwrap();
            if is_old {
                file.set_modified(old).unwrap();
            }
        }
        remove_leftovers(&dir.path().join("a.wasm"));
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".a.wasm.2.tmp", ".b.wasm.1.tmp", "a.wasm"]);
    }

    #[test]
    fn a_replacement_that_fails_leaves_the_folder_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "").unwrap();

        assert!(replace(&path, b"new", 0o600).is_err());

        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["taken"]);
    }
}
