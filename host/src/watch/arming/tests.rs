//! Which events count, without files.

use std::collections::HashSet;
use std::sync::Mutex;

use notify::event::{CreateKind, DataChange, Flag, ModifyKind};

use super::*;

fn targets() -> (tempfile::TempDir, Targets) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    for folder in ["schemas", "plugins"] {
        fs::create_dir(root.join(folder)).unwrap();
    }
    let places =
        WatchPlaces { config: root.join("runtime.yaml"), schemas: root.join("schemas"), plugins: root.join("plugins") };
    let targets = Targets::of(&places);
    (dir, targets)
}

#[test]
fn only_what_can_change_a_watched_file_matters() {
    let (dir, targets) = targets();
    let root = dir.path().canonicalize().unwrap();
    let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
    let cases = [
        ("runtime.yaml", written, true),
        ("runtime.yaml", closed, true),
        ("runtime.yaml", EventKind::Access(AccessKind::Open(AccessMode::Any)), false),
        ("runtime.yaml", EventKind::Access(AccessKind::Close(AccessMode::Read)), false),
        ("runtime.yaml.log", written, false),
        (".tidemill", EventKind::Create(CreateKind::Folder), false),
        (".tidemill/journal", written, false),
        ("plugins", EventKind::Create(CreateKind::Folder), true),
        ("plugins/anything", written, true),
        ("plugins/below/anything", written, false),
        ("schemas/order.json", closed, true),
    ];
    for (path, kind, expected) in cases {
        let event = Event::new(kind).add_path(root.join(path));
        assert_eq!(matters(&Ok(event), &targets), expected, "{path} {kind:?}");
    }
}

#[test]
fn an_overflow_of_the_queue_and_an_error_matter_always() {
    let (_dir, targets) = targets();
    let overflow = Event::new(EventKind::Other).set_flag(Flag::Rescan);
    assert!(matters(&Ok(overflow), &targets));
    assert!(matters(&Err(notify::Error::new(ErrorKind::MaxFilesWatch)), &targets));
}

/// Counts lines by level, on the thread that logs.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_lasting_lack_of_watches_is_one_warning() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let (hint, _hints) = tokio::sync::mpsc::channel(1);
    let shared = Shared::new(hint);
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..3 {
            shared.fall_back("OS file watch limit reached.");
        }
        assert!(shared.recover());
        assert!(!shared.recover());
        shared.fall_back("OS file watch limit reached.");
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.matches(" WARN ").count(), 2, "{text}");
    assert_eq!(text.matches("Files are watched again").count(), 1, "{text}");
    assert!(text.contains("fs.inotify.max_user_watches"), "{text}");
}

#[test]
fn a_link_is_watched_where_it_lies_and_where_it_leads() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    for folder in ["links", "real", "real/v1"] {
        fs::create_dir(root.join(folder)).unwrap();
    }
    std::os::unix::fs::symlink("v1", root.join("real/current")).unwrap();
    std::os::unix::fs::symlink("../real/current", root.join("links/plugins")).unwrap();
    let targets = Targets::of(&WatchPlaces {
        config: root.join("runtime.yaml"),
        schemas: root.join("missing/schemas"),
        plugins: root.join("links/plugins"),
    });
    let dirs: HashSet<_> = targets.dirs().map(Path::to_owned).collect();
    assert_eq!(dirs, HashSet::from([root.clone(), root.join("links"), root.join("real"), root.join("real/v1")]));
    for (path, expected) in [
        ("links/plugins", true),
        ("links/other", false),
        ("real/current", true),
        ("real/v1", true),
        ("real/v1/shop.wasm", true),
        ("missing", true),
        ("runtime.yaml", true),
    ] {
        assert_eq!(targets.concerns(&root.join(path)), expected, "{path}");
    }
}
