//! Real files, the real watcher, and every way in which people and tools write files (cases E2 to E5).

mod ways_to_write;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use notify::{ErrorKind, EventHandler, RecursiveMode, Watcher, WatcherKind};
use tempfile::TempDir;
use tidemill_core::name::PluginName;
use tokio::time::timeout;

use super::*;
use crate::plugins::Folder;

/// So long that only hints wake.
const NEVER: Duration = Duration::from_secs(3600);
/// What a noisy machine may need for anything.
const PATIENCE: Duration = Duration::from_secs(60);
const OLD: &[u8] = b"old build";
const NEW: &[u8] = b"new build, which is longer";

/// Something that happens to a [`Home`].
type Step = fn(&Home);

/// A folder as a host has it, with one plugin.
struct Home {
    dir: TempDir,
    places: WatchPlaces,
}

impl Home {
    fn new() -> Self {
        let home = Self::empty();
        fs::create_dir(home.path("schemas")).unwrap();
        fs::create_dir(home.path("plugins")).unwrap();
        fs::create_dir(home.path(".tidemill")).unwrap();
        fs::write(home.path("runtime.yaml"), "version: 1").unwrap();
        fs::write(home.plugin(), OLD).unwrap();
        home
    }

    fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name| dir.path().join(name);
        let places = WatchPlaces { config: at("runtime.yaml"), schemas: at("schemas"), plugins: at("plugins") };
        Self { dir, places }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn plugin(&self) -> PathBuf {
        self.path("plugins/shop.wasm")
    }

    fn read(&self) -> Option<Vec<u8>> {
        Folder::new(self.path("plugins")).read(&PluginName::try_new("shop").unwrap()).ok().map(|file| file.bytes)
    }

    /// A watch by notifications alone, that stands and is quiet.
    async fn watch(&self) -> Watch {
        quiet(Watch::start(self.places.clone(), NEVER)).await
    }
}

/// The watch, after its first hint and all that belong to it.
async fn quiet(mut watch: Watch) -> Watch {
    timeout(PATIENCE, watch.changed()).await.expect("a hint when the watches stand");
    while timeout(Duration::from_millis(400), watch.changed()).await.is_ok() {}
    watch
}

/// What a host does: it is woken, waits until writers are finished, reads. The contents that it saw, until `last`.
async fn generations(home: &Home, watch: &mut Watch, quiet: Duration, last: &[u8]) -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    let host = async {
        loop {
            watch.changed().await;
            settled(&home.places, quiet).await;
            let Some(bytes) = home.read() else { continue };
            if seen.last() != Some(&bytes) {
                seen.push(bytes);
            }
            if seen.last().is_some_and(|bytes| bytes == last) {
                break;
            }
        }
    };
    let in_time = timeout(PATIENCE, host).await;
    assert!(in_time.is_ok(), "the last content was not seen, only {seen:?}");
    seen
}

/// A Kubernetes mount: `<dir>/<file> -> ..data/<file>`, `..data -> ..<version>`.
fn mount(dir: &Path, version: &str, files: &[(&str, &[u8])]) {
    let folder = dir.join(format!("..{version}"));
    fs::create_dir_all(&folder).unwrap();
    for (file, content) in files {
        fs::write(folder.join(file), content).unwrap();
        drop(symlink(Path::new("..data").join(file), dir.join(file)));
    }
    let old = fs::read_link(dir.join("..data")).ok();
    symlink(format!("..{version}"), dir.join("..data_tmp")).unwrap();
    fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    if let Some(old) = old {
        fs::remove_dir_all(dir.join(old)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kubernetes_swap_of_plugins_is_one_generation() {
    let home = Home::empty();
    mount(&home.path("plugins"), "v1", &[("shop.wasm", OLD)]);
    let mut watch = home.watch().await;
    assert_eq!(home.read().unwrap(), OLD);
    for (version, content) in [("v2", NEW), ("v3", OLD), ("v4", NEW)] {
        mount(&home.path("plugins"), version, &[("shop.wasm", content)]);
        let seen = generations(&home, &mut watch, DEFAULT_QUIET, content).await;
        assert_eq!(seen.last().unwrap(), content, "{version}");
    }
    assert!(!watch.is_polling());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kubernetes_swap_of_configuration_and_schemas_is_seen() {
    let home = Home::empty();
    mount(home.dir.path(), "v1", &[("runtime.yaml", b"one")]);
    mount(&home.path("schemas"), "v1", &[("order.json", b"one")]);
    let mut watch = home.watch().await;
    for (dir, file) in [("", "runtime.yaml"), ("schemas", "order.json")] {
        let before = Snapshot::take(&home.places);
        mount(&home.path(dir), "v2", &[(file, b"two")]);
        changed_from(&home, &mut watch, &before).await;
    }
}

/// Waits for a hint after which the files look different.
async fn changed_from(home: &Home, watch: &mut Watch, before: &Snapshot) -> Snapshot {
    let different = async {
        loop {
            watch.changed().await;
            let now = settled(&home.places, DEFAULT_QUIET).await;
            if now != *before {
                return now;
            }
        }
    };
    timeout(PATIENCE, different).await.expect("a hint, and another snapshot")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_watched_place_wakes_and_shows_in_the_snapshot() {
    let home = Home::new();
    fs::create_dir_all(home.path("schemas/a/b")).unwrap();
    fs::create_dir(home.path("elsewhere")).unwrap();
    fs::write(home.path("elsewhere/shared.json"), "1").unwrap();
    symlink("../elsewhere/shared.json", home.path("schemas/shared.json")).unwrap();
    let mut watch = home.watch().await;
    let mut before = Snapshot::take(&home.places);
    let steps: [(&str, Step); 7] = [
        ("the configuration", |home| fs::write(home.path("runtime.yaml"), "version: 2").unwrap()),
        ("a schema", |home| fs::write(home.path("schemas/a/b/order.json"), "{}").unwrap()),
        ("a new schema folder", |home| {
            fs::create_dir_all(home.path("schemas/new/deep")).unwrap();
            fs::write(home.path("schemas/new/deep/x.json"), "{}").unwrap();
        }),
        ("a file in the new folder", |home| fs::write(home.path("schemas/new/deep/x.json"), "{ }").unwrap()),
        ("the target of a link", |home| fs::write(home.path("elsewhere/shared.json"), "22").unwrap()),
        ("the lock of the plugins", |home| fs::write(home.path("plugins/plugins.lock"), "#").unwrap()),
        ("a removed plugin", |home| fs::remove_file(home.plugin()).unwrap()),
    ];
    for (what, step) in steps {
        step(&home);
        println!("{what}");
        before = changed_from(&home, &mut watch, &before).await;
    }
    assert!(!watch.is_polling());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_and_the_hosts_own_writes_wake_nobody() {
    let home = Home::new();
    let mut watch = home.watch().await;
    // On a loaded machine a hint of the folder's making may be late.
    while timeout(Duration::from_secs(2), watch.changed()).await.is_ok() {}
    for n in 0..20 {
        settled(&home.places, Duration::from_millis(5)).await;
        assert_eq!(home.read().unwrap(), OLD);
        fs::write(home.path(".tidemill/journal"), n.to_string()).unwrap();
        fs::write(home.path("tidemill.log"), n.to_string()).unwrap();
        fs::read_to_string(home.path("runtime.yaml")).unwrap();
    }
    assert!(timeout(Duration::from_millis(500), watch.changed()).await.is_err(), "woken by what is no change");

    // And it was not deaf.
    fs::write(home.path("runtime.yaml"), "version: 2").unwrap();
    timeout(PATIENCE, watch.changed()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_removed_and_made_again_is_watched_again() {
    let home = Home::new();
    let mut watch = home.watch().await;
    for round in 0..3 {
        let content = format!("round {round}").into_bytes();
        fs::remove_dir_all(home.path("plugins")).unwrap();
        fs::create_dir(home.path("plugins")).unwrap();
        fs::write(home.plugin(), "first").unwrap();
        generations(&home, &mut watch, DEFAULT_QUIET, b"first").await;
        // By the new folder's watch alone: nothing happens to the folder itself.
        fs::write(home.plugin(), &content).unwrap();
        generations(&home, &mut watch, DEFAULT_QUIET, &content).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_renamed_away_and_replaced_is_watched_again() {
    let home = Home::new();
    let mut watch = home.watch().await;
    fs::create_dir(home.path("next")).unwrap();
    fs::write(home.path("next/shop.wasm"), "first").unwrap();
    fs::rename(home.path("plugins"), home.path("before")).unwrap();
    fs::rename(home.path("next"), home.path("plugins")).unwrap();
    generations(&home, &mut watch, DEFAULT_QUIET, b"first").await;
    fs::write(home.plugin(), NEW).unwrap();
    generations(&home, &mut watch, DEFAULT_QUIET, NEW).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_to_a_folder_can_be_pointed_elsewhere() {
    let home = Home::empty();
    for (folder, content) in [("v1", OLD), ("v2", NEW)] {
        fs::create_dir(home.path(folder)).unwrap();
        fs::write(home.path(folder).join("shop.wasm"), content).unwrap();
    }
    symlink("v1", home.path("plugins")).unwrap();
    let mut watch = home.watch().await;
    symlink("v2", home.path("link")).unwrap();
    fs::rename(home.path("link"), home.path("plugins")).unwrap();
    generations(&home, &mut watch, DEFAULT_QUIET, NEW).await;
    fs::write(home.path("v2/shop.wasm"), "later").unwrap();
    generations(&home, &mut watch, DEFAULT_QUIET, b"later").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_that_do_not_exist_yet_are_noticed_when_they_appear() {
    let mut home = Home::empty();
    home.places.plugins = home.path("not/yet/plugins");
    let mut watch = home.watch().await;
    let mut before = Snapshot::take(&home.places);
    for step in [
        (|home| fs::write(home.path("runtime.yaml"), "version: 1").unwrap()) as Step,
        |home| fs::create_dir_all(home.path("not/yet/plugins")).unwrap(),
        |home| fs::write(home.path("not/yet/plugins/shop.wasm"), OLD).unwrap(),
        |home| fs::create_dir(home.path("schemas")).unwrap(),
        |home| fs::write(home.path("schemas/order.json"), "{}").unwrap(),
    ] {
        step(&home);
        before = changed_from(&home, &mut watch, &before).await;
    }
    assert!(!watch.is_polling());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_files_at_once_end_in_the_right_snapshot() {
    let home = Home::new();
    let mut watch = home.watch().await;
    let home = Arc::new(home);
    let writer = tokio::task::spawn_blocking({
        let home = Arc::clone(&home);
        move || {
            for n in 0..10_000 {
                fs::write(home.path("plugins").join(format!("p{n}.wasm")), "x").unwrap();
            }
            fs::write(home.plugin(), NEW).unwrap();
        }
    });
    let seen = generations(&home, &mut watch, DEFAULT_QUIET, NEW).await;
    writer.await.unwrap();
    assert_eq!(seen.last().unwrap(), NEW);
    assert_eq!(Folder::new(home.path("plugins")).names().len(), 10_001);
    assert_eq!(settled(&home.places, DEFAULT_QUIET).await, Snapshot::take(&home.places));
    // The watch survived: one more change is a hint.
    while timeout(Duration::from_millis(400), watch.changed()).await.is_ok() {}
    fs::write(home.plugin(), OLD).unwrap();
    generations(&home, &mut watch, DEFAULT_QUIET, OLD).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_one_of_many_changes_is_a_hint() {
    let home = Home::new();
    let mut watch = home.watch().await;
    for n in 0..40 {
        let next = home.path("plugins/.next");
        fs::write(&next, n.to_string()).unwrap();
        fs::rename(&next, home.plugin()).unwrap();
        generations(&home, &mut watch, Duration::from_millis(1), n.to_string().as_bytes()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hint_outlives_a_cancelled_wait() {
    let home = Home::new();
    let mut watch = home.watch().await;
    assert!(timeout(Duration::from_millis(1), watch.changed()).await.is_err());
    fs::write(home.plugin(), NEW).unwrap();
    // Nobody waits while the hint comes; waits that are given up at once take nothing away.
    let arrived = async {
        while watch.hints.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, arrived).await.unwrap();
    for _ in 0..10 {
        drop(watch.changed());
    }
    timeout(PATIENCE, watch.changed()).await.unwrap();
}

/// What a system without watches to spare answers.
fn exhausted(left: Arc<AtomicBool>, at_start: bool) -> Backend {
    let real = arming::recommended();
    Box::new(move |on_event| {
        if left.load(Ordering::Acquire) {
            real(on_event)
        } else if at_start {
            Err(notify::Error::io(std::io::Error::other("Too many open files")))
        } else {
            Ok(Box::new(Full) as Box<dyn Watcher + Send>)
        }
    })
}

struct Full;

impl Watcher for Full {
    fn new<F: EventHandler>(_: F, _: notify::Config) -> notify::Result<Self> {
        Ok(Self)
    }

    fn watch(&mut self, _: &Path, _: RecursiveMode) -> notify::Result<()> {
        Err(notify::Error::new(ErrorKind::MaxFilesWatch))
    }

    fn unwatch(&mut self, _: &Path) -> notify::Result<()> {
        Ok(())
    }

    fn kind() -> WatcherKind {
        WatcherKind::NullWatcher
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_watches_the_interval_finds_changes_and_watches_come_back() {
    for at_start in [true, false] {
        let home = Home::new();
        let left = Arc::new(AtomicBool::new(false));
        let rescan = Duration::from_millis(100);
        let mut watch = Watch::start_with(home.places.clone(), rescan, exhausted(Arc::clone(&left), at_start));
        until(|| watch.is_polling()).await;

        fs::write(home.plugin(), NEW).unwrap();
        generations(&home, &mut watch, DEFAULT_QUIET, NEW).await;
        assert!(watch.is_polling());

        left.store(true, Ordering::Release);
        until(|| !watch.is_polling()).await;
        // From here on by hints alone.
        (watch.rescan, watch.next_rescan) = (NEVER, Instant::now() + NEVER);
        let mut watch = quiet(watch).await;
        fs::write(home.plugin(), OLD).unwrap();
        generations(&home, &mut watch, DEFAULT_QUIET, OLD).await;
    }
}

async fn until(condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, met).await.expect("the condition");
}

#[tokio::test(start_paused = true)]
async fn the_interval_wakes_also_when_nothing_happens() {
    let home = Home::empty();
    let never: Backend = Box::new(|_| Err(notify::Error::generic("no notifications here")));
    let rescan = Duration::from_secs(5);
    let mut watch = Watch::start_with(home.places.clone(), rescan, never);
    let start = Instant::now();
    for round in 1..=3 {
        watch.changed().await;
        let passed = start.elapsed();
        assert!(passed >= rescan * round && passed < rescan * round + Duration::from_secs(1), "{passed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_watch_ends_its_threads() {
    let home = Home::new();
    let watch = home.watch().await;
    let shared = Arc::downgrade(&watch.shared);
    drop(watch);
    // The thread and notify's own hold it; both are gone when nobody does.
    until(|| shared.upgrade().is_none()).await;
}

#[test]
fn a_snapshot_is_equal_to_itself_and_to_nothing_else() {
    let home = Home::new();
    fs::write(home.path("schemas/order.json"), "{}").unwrap();
    let mut before = Snapshot::take(&home.places);
    assert_eq!(Snapshot::take(&home.places), before);
    let steps: [Step; 6] = [
        |home| fs::write(home.path("runtime.yaml"), "version: 22").unwrap(),
        |home| {
            OpenOptions::new().write(true).open(home.plugin()).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap()
        },
        |home| fs::write(home.path("plugins/other"), "").unwrap(),
        |home| fs::remove_file(home.path("schemas/order.json")).unwrap(),
        |home| fs::remove_dir(home.path("schemas")).unwrap(),
        |home| fs::remove_file(home.path("runtime.yaml")).unwrap(),
    ];
    for (step, change) in steps.into_iter().enumerate() {
        change(&home);
        let now = Snapshot::take(&home.places);
        assert_ne!(now, before, "step {step}");
        before = now;
    }
}

#[test]
fn loops_of_links_and_depth_end() {
    let home = Home::new();
    symlink(".", home.path("schemas/self")).unwrap();
    symlink("../schemas", home.path("schemas/parent")).unwrap();
    fs::create_dir_all(home.path("schemas/1/2/3/4/5/6/7/8/9/10")).unwrap();
    fs::write(home.path("schemas/1/2/3/4/5/6/7/8/in.json"), "").unwrap();
    fs::write(home.path("schemas/1/2/3/4/5/6/7/8/9/out.json"), "").unwrap();
    let before = Snapshot::take(&home.places);
    fs::write(home.path("schemas/1/2/3/4/5/6/7/8/9/out.json"), "changed").unwrap();
    assert_eq!(Snapshot::take(&home.places), before);
    fs::write(home.path("schemas/1/2/3/4/5/6/7/8/in.json"), "changed").unwrap();
    assert_ne!(Snapshot::take(&home.places), before);
}
