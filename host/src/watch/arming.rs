//! The thread that keeps watches on the right directories, and what happens when there are no more watches to be had.
//!
//! ```text
//! notify's thread ── concerns a target? ──┬── hint to Watch::changed
//!                                         └── wake ── this thread: targets anew, watches anew ── hint if one was new
//! ```
//!
//! Every hint arms everything again, though most change nothing: to watch a directory twice costs 20 µs and does no harm, while
//! to know which watch a delete, a rename or an overflow has taken away needs the very events that were lost. Arming from
//! within notify's own thread would wait for itself, hence a second one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{ErrorKind, Event, EventKind, RecursiveMode, Watcher};
use tokio::sync::mpsc::Sender;

use super::WatchPlaces;
use super::targets::Targets;

/// Events come in bursts; one arming after a burst does.
const BURST: Duration = Duration::from_millis(30);

/// Called for every event, on notify's thread.
pub(super) type OnEvent = Box<dyn Fn(notify::Result<Event>) + Send>;

/// Makes a watcher. A test's may fail.
pub(super) type Backend = Box<dyn Fn(OnEvent) -> notify::Result<Box<dyn Watcher + Send>> + Send>;

/// What the threads and the [`super::Watch`] have in common.
pub(super) struct Shared {
    hint: Sender<()>,
    polling: AtomicBool,
    targets: RwLock<Targets>,
}

/// Ends the thread when it is dropped.
pub(super) struct Arming {
    stop: Arc<AtomicBool>,
    wake: SyncSender<()>,
}

/// What the thread owns.
struct Arms {
    places: WatchPlaces,
    backend: Backend,
    shared: Arc<Shared>,
    wake: SyncSender<()>,
    watcher: Option<Box<dyn Watcher + Send>>,
    /// Device and inode of what was watched under a path.
    armed: BTreeMap<PathBuf, (u64, u64)>,
}

/// The system's own way.
pub(super) fn recommended() -> Backend {
    Box::new(|on_event| {
        let watcher = notify::RecommendedWatcher::new(on_event, notify::Config::default())?;
        Ok(Box::new(watcher) as Box<dyn Watcher + Send>)
    })
}

/// Whether an event can mean that a watched file changed. Our own reading opens and closes files, which must not wake us.
fn matters(event: &notify::Result<Event>, targets: &Targets) -> bool {
    match event {
        // An error may stand for events that did not come.
        Err(_) => true,
        Ok(event) if event.need_rescan() => true,
        Ok(event) => match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => concerned(event, targets),
            EventKind::Access(_) => false,
            _ => concerned(event, targets),
        },
    }
}

fn concerned(event: &Event, targets: &Targets) -> bool {
    event.paths.is_empty() || event.paths.iter().any(|path| targets.concerns(path))
}

fn identity(dir: &Path) -> Option<(u64, u64)> {
    fs::metadata(dir).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

// === impl Arming ===

impl Arming {
    pub(super) fn start(places: WatchPlaces, rescan: Duration, backend: Backend, shared: Arc<Shared>) -> Self {
        let (wake, woken) = mpsc::sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let arming = Self { stop: Arc::clone(&stop), wake: wake.clone() };
        let mut arms =
            Arms { places, backend, shared: Arc::clone(&shared), wake, watcher: None, armed: BTreeMap::new() };
        let body = move || {
            // Also if notify panics: then the interval is what is left.
            let _last_word = PollingAtLast(Arc::clone(&arms.shared));
            while !stop.load(Ordering::Acquire) {
                arms.pass();
                if let Err(RecvTimeoutError::Disconnected) = woken.recv_timeout(rescan) {
                    break;
                }
                thread::sleep(BURST);
                while woken.try_recv().is_ok() {}
            }
        };
        if let Err(error) = thread::Builder::new().name("file-watch".to_owned()).spawn(body) {
            shared.fall_back(&error.to_string());
        }
        arming
    }
}

impl Drop for Arming {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Full is as good: it wakes up either way.
        let _ = self.wake.try_send(());
    }
}

struct PollingAtLast(Arc<Shared>);

impl Drop for PollingAtLast {
    fn drop(&mut self) {
        self.0.polling.store(true, Ordering::Release);
    }
}

// === impl Arms ===

impl Arms {
    /// Puts watches on what has to be watched now.
    fn pass(&mut self) {
        let targets = Targets::of(&self.places);
        // Before arming, so that the first event of a new watch is known to concern somebody.
        *self.shared.targets.write().unwrap_or_else(PoisonError::into_inner) = targets.clone();
        match self.arm(&targets) {
            Ok(new) => {
                let recovered = self.shared.recover();
                if new || recovered {
                    // What happened before the watch stood was not reported.
                    self.shared.hint();
                }
            }
            Err(error) => {
                // A watcher without watches is made anew: the limit may also be on watchers.
                self.watcher = None;
                self.armed.clear();
                self.shared.fall_back(&error.to_string());
            }
        }
    }

    /// Whether a directory is watched that was not before.
    fn arm(&mut self, targets: &Targets) -> notify::Result<bool> {
        let mut watcher = match self.watcher.take() {
            Some(watcher) => watcher,
            None => (self.backend)(self.on_event())?,
        };
        for gone in self.armed.extract_if(.., |dir, known| !targets.contains(dir) || identity(dir) != Some(*known)) {
            // It is gone by itself if the directory is.
            drop(watcher.unwatch(&gone.0));
        }
        let mut new = false;
        for dir in targets.dirs() {
            let Some(identity) = identity(dir) else { continue };
            match watcher.watch(dir, RecursiveMode::NonRecursive) {
                Ok(()) => new |= self.armed.insert(dir.to_owned(), identity).is_none(),
                // Deleted at this moment; its parent reports it.
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        self.watcher = Some(watcher);
        Ok(new)
    }

    fn on_event(&self) -> OnEvent {
        let (shared, wake) = (Arc::clone(&self.shared), self.wake.clone());
        Box::new(move |event| {
            if matters(&event, &shared.targets.read().unwrap_or_else(PoisonError::into_inner)) {
                shared.hint();
                // Full: the thread is to wake up already.
                let _ = wake.try_send(());
            }
        })
    }
}

fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(hint: Sender<()>) -> Self {
        Self { hint, polling: AtomicBool::new(false), targets: RwLock::default() }
    }

    pub(super) fn is_polling(&self) -> bool {
        self.polling.load(Ordering::Acquire)
    }

    fn hint(&self) {
        // Full: a hint waits already, and says the same.
        let _ = self.hint.try_send(());
    }

    fn fall_back(&self, why: &str) {
        if !self.polling.swap(true, Ordering::AcqRel) {
            tracing::warn!(
                why,
                "Files cannot be watched; they are looked at every `plugins.rescan` instead. On Linux, `sysctl fs.inotify.max_user_watches` and `fs.inotify.max_user_instances` are the usual limits"
            );
        }
    }

    /// Whether watches are back that were missing.
    fn recover(&self) -> bool {
        let was_polling = self.polling.swap(false, Ordering::AcqRel);
        if was_polling {
            tracing::info!("Files are watched again");
        }
        was_polling
    }
}

#[cfg(test)]
mod tests;
