//! Reading a file that somebody else controls: it may be a FIFO, a device or a directory, may grow without end, or may be
//! replaced at this moment.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// A file's content, and which file it was.
pub(super) struct Reading {
    pub(super) bytes: Vec<u8>,
    /// Device and inode.
    pub(super) identity: (u64, u64),
}

/// Why there is no content.
#[derive(Debug)]
pub(super) enum Unread {
    /// What it is instead of a regular file.
    NotAFile(&'static str),
    /// It has more bytes than the cap.
    TooLarge,
    /// Its size or time changed while it was read.
    Changed,
    Io(io::Error),
}

/// Reads a regular file to its end, at most `cap` bytes. Follows links; never waits for a writer.
pub(super) fn read(path: &Path, cap: u64) -> Result<Reading, Unread> {
    // Asked before opening too, because opening alone can have an effect: a FIFO's writer goes on, a tape rewinds.
    regular(&fs::metadata(path).map_err(Unread::Io)?)?;
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path).map_err(Unread::Io)?;
    read_opened(&file, cap)
}

fn read_opened(mut file: &File, cap: u64) -> Result<Reading, Unread> {
    let before = file.metadata().map_err(Unread::Io)?;
    regular(&before)?;
    if before.len() > cap {
        return Err(Unread::TooLarge);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(before.len()).unwrap_or_default());
    file.by_ref().take(cap + 1).read_to_end(&mut bytes).map_err(Unread::Io)?;
    if bytes.len() as u64 > cap {
        return Err(Unread::TooLarge);
    }
    let after = file.metadata().map_err(Unread::Io)?;
    if stamp(&before) != stamp(&after) || after.len() != bytes.len() as u64 {
        return Err(Unread::Changed);
    }
    Ok(Reading { bytes, identity: identity(&after) })
}

/// Device and inode.
pub(super) fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn stamp(metadata: &Metadata) -> (u64, i64, i64) {
    (metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

fn regular(metadata: &Metadata) -> Result<(), Unread> {
    if metadata.is_file() { Ok(()) } else { Err(Unread::NotAFile(kind(metadata.file_type()))) }
}

fn kind(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else {
        "no regular file"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_cap_and_not_a_byte_further() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, [7; 100]).unwrap();

        assert_eq!(read(&path, 100).ok().unwrap().bytes, [7; 100]);
        assert!(matches!(read(&path, 99), Err(Unread::TooLarge)));
    }

    #[test]
    fn what_says_it_is_empty_and_is_not_is_not_trusted() {
        // A file of /proc has size 0 and content all the same.
        assert!(matches!(read(Path::new("/proc/self/status"), 1 << 20), Err(Unread::Changed)));
    }
}
