//! What the watched files look like from outside: size, times, identity. It tells when writers are finished, not what they
//! wrote.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::WatchPlaces;

/// How long nothing may happen before files count as written: longer than the pauses of a copy, shorter than a person's patience.
pub const DEFAULT_QUIET: Duration = Duration::from_millis(150);

/// Whoever writes longer than this is not waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Below the schemas folder. Deeper is a mistake, or a loop of links.
pub(super) const MAX_DEPTH: usize = 8;

/// The state of every watched file at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    files: BTreeMap<PathBuf, Seen>,
}

/// A file as seen through all links, or why it cannot be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    File(Stamp),
    /// A directory where a file was expected; its own times say nothing.
    Directory,
    Unreadable(io::ErrorKind),
}

/// All of it, because each alone has a hole: a rename keeps the size and may keep the time, `cp -p` sets the time back, an
/// inode number is used again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    inode: u64,
    device: u64,
}

/// Waits until two snapshots that are `quiet` apart are equal, and returns the second. After 20 seconds of continuous change
/// it returns the last one anyway, so that one restless file does not hold up all others.
///
/// Cancel-safe: it changes nothing.
pub async fn settled(places: &WatchPlaces, quiet: Duration) -> Snapshot {
    settle(quiet, || take(places)).await
}

async fn settle<S: PartialEq, F: Future<Output = S>>(quiet: Duration, mut look: impl FnMut() -> F) -> S {
    let deadline = Instant::now() + LONGEST_WAIT;
    let mut before = look().await;
    loop {
        tokio::time::sleep(quiet).await;
        let now = look().await;
        if now == before || Instant::now() >= deadline {
            return now;
        }
        before = now;
    }
}

/// Off the asynchronous threads: a slow network file system must not hold up timers.
async fn take(places: &WatchPlaces) -> Snapshot {
    let places = places.clone();
    match tokio::task::spawn_blocking(move || Snapshot::take(&places)).await {
        Ok(snapshot) => snapshot,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down, and with it whoever waits.
        Err(_) => std::future::pending().await,
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// Looks at the configuration, every file below the schemas folder (to a depth of 8) and every file in the plugins folder,
    /// following links. What cannot be read or vanished meanwhile is part of the answer, not an error. Blocks on the file system.
    pub fn take(places: &WatchPlaces) -> Self {
        let mut snapshot = Self { files: BTreeMap::new() };
        snapshot.add(&places.config);
        snapshot.add_folder(&places.schemas, MAX_DEPTH, &mut Vec::new());
        snapshot.add_folder(&places.plugins, 0, &mut Vec::new());
        snapshot
    }

    fn add(&mut self, path: &Path) {
        let seen = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Seen::Directory,
            Ok(metadata) => Seen::File(Stamp::of(&metadata)),
            Err(error) => Seen::Unreadable(error.kind()),
        };
        self.files.insert(path.to_owned(), seen);
    }

    /// `above` are the folders on the way here, so that a loop of links ends.
    fn add_folder(&mut self, dir: &Path, depth: usize, above: &mut Vec<(u64, u64)>) {
        let entries = match fs::metadata(dir).and_then(|metadata| Ok((metadata, fs::read_dir(dir)?))) {
            Ok((metadata, entries)) => {
                let identity = (metadata.dev(), metadata.ino());
                if above.contains(&identity) {
                    return;
                }
                above.push(identity);
                entries
            }
            Err(error) => {
                self.files.insert(dir.to_owned(), Seen::Unreadable(error.kind()));
                return;
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if is_mount_internal(&path) {
                continue;
            }
            if depth > 0 && path.is_dir() {
                self.add_folder(&path, depth - 1, above);
            } else {
                self.add(&path);
            }
        }
        above.pop();
    }
}

/// `..data` and `..2026_01_01` of a Kubernetes mount: their files are seen through the links beside them.
pub(crate) fn is_mount_internal(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."))
}

// === impl Stamp ===

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn two_equal_looks_in_a_row_are_needed() {
        let start = Instant::now();
        let mut looks = [1, 2, 1, 3, 3, 4].into_iter();
        let settled = settle(SECOND, || std::future::ready(looks.next())).await;
        assert_eq!((settled, start.elapsed().as_secs()), (Some(3), 4));
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_rests_is_waited_for_20_seconds_and_answered_by_the_last_look() {
        let start = Instant::now();
        let mut looks = 0..;
        let settled = settle(SECOND, || std::future::ready(looks.next())).await;
        assert_eq!((settled, start.elapsed().as_secs()), (Some(20), 20));
    }

    #[test]
    fn waiting_can_be_spawned() {
        fn is_send(_: impl Send) {}
        let places = WatchPlaces { config: PathBuf::new(), schemas: PathBuf::new(), plugins: PathBuf::new() };
        is_send(settled(&places, SECOND));
    }
}
