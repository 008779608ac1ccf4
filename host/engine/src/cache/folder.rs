//! A folder that only the host's user can write to, and files in it that are there whole or not at all.
//!
//! Everything goes through one handle of the folder, opened without following a link, so that swapping the folder for
//! another one later changes nothing. A file is written under another name, forced to disk, and renamed.

use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

/// Somebody other than the owner may write.
const OTHERS_WRITE: u32 = 0o022;

/// How the names of files end that are not finished.
const UNFINISHED: &str = ".tmp";

/// An unfinished file of this age has no writer any more.
const ABANDONED: Duration = Duration::from_secs(3600);

pub(super) struct Folder {
    path: PathBuf,
    handle: OwnedFd,
}

/// A file of the folder.
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// When it was read or written last.
    pub(super) used: SystemTime,
}

// === impl Folder ===

impl Folder {
    /// Opens `parent/name`, both created if need be. Refused unless both are ours and nobody else may write there.
    pub(super) fn open(parent: &Path, name: &str) -> Result<Self, String> {
        let create = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
        create(parent).map_err(|why| format!("`{}` cannot be created: {why}", parent.display()))?;
        let parent = parent.canonicalize().map_err(|why| format!("`{}`: {why}", parent.display()))?;
        let path = parent.join(name);
        let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let above = rustix::fs::open(&parent, directory, Mode::empty()).map_err(|why| said(&parent, why))?;
        check_ours(&parent, above.as_fd())?;
        match rustix::fs::mkdirat(&above, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(why) => return Err(said(&path, why)),
        }
        let handle = rustix::fs::openat(&above, name, directory, Mode::empty()).map_err(|why| match why {
            Errno::LOOP | Errno::NOTDIR => format!("`{}` is a link or no folder; remove it", path.display()),
            why => said(&path, why),
        })?;
        check_ours(&path, handle.as_fd())?;
        Ok(Self { path, handle })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The content of a file that is ours alone, and notes that it was used; `None` if there is none.
    pub(super) fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, String> {
        // Neither a link nor a pipe is waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.handle, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err("it is a link".to_owned()),
            Err(why) => return Err(format!("it cannot be opened: {why}")),
        };
        let metadata = file.metadata().map_err(|why| format!("it cannot be looked at: {why}"))?;
        if !metadata.is_file() {
            return Err("it is not a regular file".to_owned());
        }
        if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
            return Err("it is not ours alone; expected a file of this user with mode 0600".to_owned());
        }
        if metadata.len() > most {
            return Err(format!("it has {} bytes; at most {most} were expected", metadata.len()));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        (&file).take(most).read_to_end(&mut bytes).map_err(|why| format!("it cannot be read: {why}"))?;
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        // An entry that does not become the newest is pruned too early, no more.
        let _ = rustix::fs::futimens(&file, &Timestamps { last_access: now, last_modification: now });
        Ok(Some(bytes))
    }

    /// Writes a file, replacing what has its name. After a crash it is there whole, or not at all.
    pub(super) fn write(&self, name: &str, parts: &[&[u8]]) -> Result<(), String> {
        let unfinished = format!("{:016x}{UNFINISHED}", fastrand::u64(..));
        let written = self.write_unfinished(&unfinished, parts).and_then(|()| {
            rustix::fs::renameat(&self.handle, &unfinished, &self.handle, name)?;
            rustix::fs::fsync(&self.handle)?;
            Ok(())
        });
        written.map_err(|why: std::io::Error| {
            self.remove(&unfinished);
            format!("`{}` cannot be written: {why}", self.path.join(name).display())
        })
    }

    fn write_unfinished(&self, name: &str, parts: &[&[u8]]) -> std::io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&self.handle, name, flags, Mode::RUSR | Mode::WUSR)?);
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_all()
    }

    /// The files whose names end like this.
    pub(super) fn files(&self, suffix: &str) -> Vec<Listed> {
        let entries = rustix::fs::Dir::read_from(&self.handle).into_iter().flatten().flatten();
        entries.filter_map(|entry| self.list(entry.file_name().to_str().ok()?, suffix)).collect()
    }

    fn list(&self, name: &str, suffix: &str) -> Option<Listed> {
        if !name.ends_with(suffix) {
            return None;
        }
        let stat = rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let seconds = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
        let nanos = Duration::from_nanos(stat.st_mtime_nsec);
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        Some(Listed { name: name.to_owned(), bytes, used: SystemTime::UNIX_EPOCH + seconds + nanos })
    }

    pub(super) fn remove(&self, name: &str) {
        // What cannot be removed now is tried again with the next entry.
        let _ = rustix::fs::unlinkat(&self.handle, name, AtFlags::empty());
    }

    /// Removes what a host that was killed left unfinished.
    pub(super) fn remove_abandoned(&self) {
        for file in self.files(UNFINISHED) {
            if file.used.elapsed().is_ok_and(|age| age > ABANDONED) {
                self.remove(&file.name);
            }
        }
    }
}

fn check_ours(path: &Path, handle: impl AsFd) -> Result<(), String> {
    let stat = rustix::fs::fstat(handle).map_err(|why| said(path, why))?;
    let ours = rustix::process::geteuid().as_raw();
    if stat.st_uid != ours {
        return Err(format!(
            "`{}` belongs to user {}, and the host runs as user {ours}; `chown` it, or name another `plugins.cache_dir`",
            path.display(),
            stat.st_uid
        ));
    }
    if stat.st_mode & OTHERS_WRITE != 0 {
        return Err(format!(
            "others than its owner may write to `{}` (mode {:o}), and what lies there becomes machine code; \
             `chmod go-w` it, and remove what is in it",
            path.display(),
            stat.st_mode & 0o7777
        ));
    }
    Ok(())
}

fn said(path: &Path, why: Errno) -> String {
    format!("`{}` cannot be used: {why}", path.display())
}
