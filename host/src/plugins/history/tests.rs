//! What is remembered, and what a crash or a meddler can do to it (case E10).

use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

fn plugin() -> PluginName {
    PluginName::try_new("shop").unwrap()
}

fn build(n: usize) -> (Digest, Vec<u8>) {
    let bytes = format!("build {n}").into_bytes();
    (Digest::of(&bytes), bytes)
}

fn good(history: &mut History, n: usize) {
    let (digest, bytes) = build(n);
    history.remember_good(&plugin(), &digest, &bytes).unwrap();
}

fn open(dir: &TempDir) -> History {
    History::open(&dir.path().join("cache")).unwrap()
}

fn digests(numbers: impl IntoIterator<Item = usize>) -> Vec<Digest> {
    let mut digests: Vec<_> = numbers.into_iter().map(|n| build(n).0).collect();
    digests.sort();
    digests
}

/// The builds whose bytes are on disk.
fn kept(history: &History) -> Vec<Digest> {
    let of = |path: PathBuf| Digest::from_hex(path.file_stem().unwrap().to_str().unwrap()).expect("only builds");
    let mut kept: Vec<_> = files(&history.dir.join(BUILDS)).map(of).collect();
    kept.sort();
    kept
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_memory_is_empty_and_private() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(&dir);
    assert_eq!((history.live(&plugin()), history.previous(&plugin())), (None, None));
    assert_eq!(history.build(&build(1).0), None);

    good(&mut history, 1);
    for (path, expected) in [("", 0o700), ("builds", 0o700), (RECORD, 0o600), (LOCK, 0o600)] {
        assert_eq!(mode(&history.dir.join(path)), expected, "{path}");
    }
    assert_eq!(mode(&history.build_path(&build(1).0)), 0o600);
}

#[test]
fn a_folder_that_others_may_read_is_closed_and_one_that_they_may_write_to_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    fs::create_dir(&cache).unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).unwrap();
    open(&dir);
    assert_eq!(mode(&cache), 0o700);
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o770)).unwrap();
    assert!(matches!(History::open(&cache), Err(HistoryProblem::NotPrivate { mode: 0o770, .. })));
}

#[test]
fn the_last_good_build_is_live_and_the_one_before_is_previous_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(&dir);
    good(&mut history, 1);
    good(&mut history, 2);
    for history in [history, open(&dir)] {
        assert_eq!(history.live(&plugin()), Some(build(2).0));
        assert_eq!(history.previous(&plugin()), Some(build(1).0));
        assert_eq!(history.build(&build(1).0), Some(build(1).1));
        assert_eq!(history.build(&build(2).0), Some(build(2).1));
    }
}

#[test]
fn remembering_the_live_build_again_keeps_the_previous_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(&dir);
    for n in [1, 2, 2, 2] {
        good(&mut history, n);
    }
    assert_eq!(history.previous(&plugin()), Some(build(1).0));
}

#[test]
fn three_builds_are_kept_and_always_those_that_are_live_and_previous() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(&dir);
    for n in 1..=5 {
        good(&mut history, n);
    }
    assert_eq!(kept(&history), digests([3, 4, 5]));
    // Back and forth: the previous one is the older of both.
    for n in [3, 5, 3, 9] {
        good(&mut history, n);
    }
    assert_eq!((history.live(&plugin()), history.previous(&plugin())), (Some(build(9).0), Some(build(3).0)));
    assert_eq!(kept(&history), digests([3, 5, 9]));
}

#[test]
fn a_build_that_two_plugins_share_stays_as_long_as_one_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(&dir);
    let (digest, bytes) = build(1);
    history.remember_good(&PluginName::try_new("twin").unwrap(), &digest, &bytes).unwrap();
    for n in 1..=5 {
        good(&mut history, n);
    }
    assert_eq!(kept(&history), digests([1, 3, 4, 5]));
}

#[test]
fn bytes_that_are_not_the_build_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(&dir);
    let problem = history.remember_good(&plugin(), &build(1).0, b"other").unwrap_err();
    assert!(matches!(problem, HistoryProblem::WrongDigest { .. }), "{problem}");
    assert_eq!((history.live(&plugin()), kept(&history)), (None, vec![]));
}

#[test]
fn a_quarantined_build_is_named_with_reason_and_time_until_it_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(&dir);
    let bad = build(7).0;
    assert_eq!(history.quarantined(&plugin(), &bad), None);
    history.quarantine(&plugin(), &bad, "traps on every event").unwrap();

    let mut history = open(&dir);
    let found = history.quarantined(&plugin(), &bad).unwrap();
    assert_eq!((found.digest, found.reason.as_str()), (bad.clone(), "traps on every event"));
    let since = time::OffsetDateTime::parse(&found.since, &time::format_description::well_known::Rfc3339).unwrap();
    assert!((time::OffsetDateTime::now_utc() - since).whole_minutes().abs() < 5, "{since}");
    assert_eq!(history.quarantined(&PluginName::try_new("tax").unwrap(), &bad), None);

    assert!(history.release(&plugin(), &bad).unwrap());
    assert!(!history.release(&plugin(), &bad).unwrap());
    assert_eq!(open(&dir).quarantined(&plugin(), &bad), None);
}

#[test]
fn quarantining_the_live_build_makes_the_previous_one_live() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(&dir);
    for n in 1..=3 {
        good(&mut history, n);
    }
    history.quarantine(&plugin(), &build(3).0, "leaks").unwrap();
    assert_eq!((history.live(&plugin()), history.previous(&plugin())), (Some(build(2).0), Some(build(1).0)));
    assert_eq!(kept(&history), digests([1, 2]));
    history.quarantine(&plugin(), &build(1).0, "leaks too").unwrap();
    assert_eq!((history.live(&plugin()), history.previous(&plugin())), (Some(build(2).0), None));
}

#[test]
fn the_quarantine_is_bounded_and_forgets_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(&dir);
    for n in 0..70 {
        history.quarantine(&plugin(), &build(n).0, &"x".repeat(5000)).unwrap();
    }
    assert_eq!(history.quarantined(&plugin(), &build(5).0), None);
    assert_eq!(history.quarantined(&plugin(), &build(6).0).unwrap().reason.len(), 2000);
    assert!(history.quarantined(&plugin(), &build(69).0).is_some());
}

/// Every state that a crash can leave, made by hand from a memory in which build 2 is live and 1 is previous.
#[test]
fn whatever_a_crash_leaves_behind_a_good_build_is_found() {
    type Crash = fn(&History);
    let crashes: [(&str, Crash); 6] = [
        ("a part of a build's temporary file", |history| {
            fs::write(history.dir.join(BUILDS).join(".3.wasm.0190.tmp"), "bui").unwrap();
        }),
        ("a build that the record does not name", |history| {
            fs::write(history.build_path(&build(3).0), build(3).1).unwrap();
        }),
        ("a build in its place that was not written whole", |history| {
            fs::write(history.build_path(&build(3).0), "bui").unwrap();
        }),
        ("a part of the record's temporary file", |history| {
            fs::write(history.dir.join(".generations.json.0190.tmp"), "{\"vers").unwrap();
        }),
        ("a build that the record no longer names", |history| {
            fs::write(history.build_path(&build(0).0), build(0).1).unwrap();
        }),
        ("a lock file", |history| fs::write(history.dir.join(LOCK), "1234").unwrap()),
    ];
    for (what, crash) in crashes {
        let dir = tempfile::tempdir().unwrap();
        let mut history = open(&dir);
        good(&mut history, 1);
        good(&mut history, 2);
        crash(&history);

        let mut history = open(&dir);
        assert_eq!(history.live(&plugin()), Some(build(2).0), "{what}");
        assert_eq!(history.build(&build(2).0), Some(build(2).1), "{what}");
        assert!(!files(&history.dir).any(|path| path.to_string_lossy().ends_with(".tmp")), "{what}");
        // And it goes on as if nothing had been.
        good(&mut history, 3);
        assert_eq!(history.build(&build(3).0), Some(build(3).1), "{what}");
        assert_eq!(kept(&history), digests([1, 2, 3]), "{what}");
    }
}

#[test]
fn a_record_cut_at_any_byte_is_the_whole_one_or_set_aside_and_never_a_reason_not_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(&dir);
    good(&mut history, 1);
    history.quarantine(&plugin(), &build(2).0, "traps").unwrap();
    let path = history.dir.join(RECORD);
    let whole = fs::read(&path).unwrap();
    for end in 0..whole.len() - 1 {
        fs::write(&path, &whole[..end]).unwrap();
        let history = open(&dir);
        assert_eq!(history.live(&plugin()), None, "{end}");
        assert_eq!(fs::read(history.dir.join(DAMAGED)).unwrap(), &whole[..end]);
        assert!(!path.exists());
    }
    for damaged in
        ["[]", "{\"version\": 2, \"plugins\": {}}", "{\"version\":1,\"plugins\":{\"shop\":{\"live\":\"../x\"}}}"]
    {
        fs::write(&path, damaged).unwrap();
        let mut history = open(&dir);
        assert_eq!(history.live(&plugin()), None, "{damaged}");
        good(&mut history, 4);
        assert_eq!(open(&dir).live(&plugin()), Some(build(4).0), "{damaged}");
    }
}

#[test]
fn a_record_that_is_no_file_is_set_aside_without_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(&dir).dir;
    symlink("/dev/zero", cache.join(RECORD)).unwrap();
    let mut history = open(&dir);
    good(&mut history, 1);
    assert_eq!(open(&dir).live(&plugin()), Some(build(1).0));
}

#[test]
fn a_damaged_build_is_no_build_and_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(&dir);
    good(&mut history, 1);
    let path = history.build_path(&build(1).0);

    fs::write(&path, "build 2").unwrap();
    assert_eq!(history.build(&build(1).0), None);
    good(&mut history, 1);
    assert_eq!(history.build(&build(1).0), Some(build(1).1));

    // A link is none either, even to the right bytes: the host never writes one.
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert_eq!(history.build(&build(1).0), None);
    good(&mut history, 1);
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
}

#[test]
fn two_hosts_on_one_folder_lose_nothing_of_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["shop", "tax", "cart", "mail"];
    thread::scope(|scope| {
        for plugin in names {
            let mut history = open(&dir);
            scope.spawn(move || {
                let plugin = PluginName::try_new(plugin).unwrap();
                for n in 0..10 {
                    let bytes = format!("{plugin} {n}").into_bytes();
                    history.remember_good(&plugin, &Digest::of(&bytes), &bytes).unwrap();
                    history.quarantine(&plugin, &build(n).0, "traps").unwrap();
                }
            });
        }
    });
    let history = open(&dir);
    for plugin in names {
        let name = PluginName::try_new(plugin).unwrap();
        let of = |n: usize| Digest::of(format!("{plugin} {n}").as_bytes());
        assert_eq!((history.live(&name), history.previous(&name)), (Some(of(9)), Some(of(8))));
        assert!((0..10).all(|n| history.quarantined(&name, &build(n).0).is_some()));
        assert!((7..10).all(|n| history.build(&of(n)).is_some()));
    }
    assert_eq!(kept(&history).len(), 12);
}

#[test]
fn what_another_host_wrote_is_seen_after_a_refresh() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, mut other) = (open(&dir), open(&dir));
    good(&mut one, 1);
    assert_eq!(other.live(&plugin()), None);
    other.refresh();
    assert_eq!(other.live(&plugin()), Some(build(1).0));
}

#[test]
fn a_full_disk_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(&dir);
    good(&mut history, 1);
    // A folder in the record's place makes its rename fail, as a full disk makes its write fail; tests may run as root.
    let record = history.dir.join(RECORD);
    let mut blocked = History { dir: history.dir.clone(), record: history.record.clone() };
    fs::rename(&record, dir.path().join("record")).unwrap();
    fs::create_dir_all(record.join("inside")).unwrap();
    let problem = blocked.write_record(Record::default()).unwrap_err().to_string();
    assert!(problem.contains("generations.json` cannot be written: "), "{problem}");
    assert!(problem.contains("`plugins.cache_dir` in runtime.yaml"), "{problem}");
    assert_eq!(blocked.live(&plugin()), Some(build(1).0));
    assert_eq!(kept(&blocked), digests([1]));
}
