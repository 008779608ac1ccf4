//! The folder: who has it, and what is in it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use tidemill_core::name::{CollectionName, ProjectionName, StreamName};
use tidemill_core::read_model::{
    Batch, Claim, Collection, CopyId, CopyReader, DocumentWrite, Fence, NewCopy, Positions, ReadModelStore, StoreError,
    Written,
};
use tidemill_sqlite::SqliteStore;

#[tokio::test]
async fn a_held_folder_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let held = SqliteStore::open(dir.path()).unwrap();
    let Err(StoreError::Unavailable { store: "sqlite", reason }) = SqliteStore::open(dir.path()) else {
        panic!("two stores in one folder")
    };
    let folder = dir.path().display().to_string();
    for part in [folder.as_str(), &std::process::id().to_string(), "read_models.sqlite.dir", "read_models.postgres"] {
        assert!(reason.contains(part), "`{part}` is missing: {reason}");
    }
    drop(held);
    SqliteStore::open(dir.path()).unwrap();
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_unavailable_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "no folder").unwrap();
    for path in [file.join("read-models"), Path::new("/proc/read-models").to_owned()] {
        let Err(StoreError::Unavailable { reason, .. }) = SqliteStore::open(&path) else {
            panic!("{}", path.display())
        };
        assert!(reason.contains(&path.display().to_string()), "{reason}");
    }
}

#[tokio::test]
async fn copies_without_a_catalogue_are_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let (_, copy) = copy(&store).await;
    drop(store);
    let catalogue = dir.path().join("catalogue.sqlite");
    std::fs::rename(&catalogue, dir.path().join("elsewhere")).unwrap();
    let Err(StoreError::Refused(reason)) = SqliteStore::open(dir.path()) else { panic!("opened without a catalogue") };
    assert!(reason.contains("catalogue.sqlite"), "{reason}");
    assert!(!catalogue.exists());
    std::fs::rename(dir.path().join("elsewhere"), &catalogue).unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    assert_eq!(store.positions(&copy).await.unwrap(), Positions::new());
}

#[tokio::test]
async fn what_a_crash_left_unfinished_is_removed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let (_, copy) = copy(&store).await;
    drop(store);
    let orphan = dir.path().join("copies/p.99.sqlite");
    for suffix in ["", "-wal", "-shm"] {
        std::fs::write(format!("{}{suffix}", orphan.display()), "half").unwrap();
    }
    let store = SqliteStore::open(dir.path()).unwrap();
    store.positions(&copy).await.unwrap();
    assert_eq!(copies(dir.path()), ["p.1.sqlite"]);
}

#[tokio::test]
async fn a_removed_copy_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let (fence, copy) = copy(&store).await;
    store.commit(&fence, &copy, one("a")).await.unwrap();
    assert!(!copies(dir.path()).is_empty());
    store.remove(&fence, &copy).await.unwrap();
    assert_eq!(copies(dir.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_commit_survives_a_killed_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let (fence, copy) = copy(&store).await;
    store.commit(&fence, &copy, one("a")).await.unwrap();
    // What a killed process leaves: the files as they are now, the log not yet moved into the database.
    let left = tempfile::tempdir().unwrap();
    std::fs::create_dir(left.path().join("copies")).unwrap();
    for name in ["catalogue.sqlite", "catalogue.sqlite-wal", "copies/p.1.sqlite", "copies/p.1.sqlite-wal"] {
        std::fs::copy(dir.path().join(name), left.path().join(name)).unwrap();
    }
    let store = SqliteStore::open(left.path()).unwrap();
    assert_eq!(read(&store, &copy, "a").await.unwrap(), Some("{}".into()));
}

#[tokio::test]
async fn a_copy_that_was_moved_away_is_unavailable_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let (fence, copy) = copy(&store).await;
    store.commit(&fence, &copy, one("a")).await.unwrap();
    let (there, away) = (dir.path().join("copies"), dir.path().join("away"));
    std::fs::rename(&there, &away).unwrap();
    let Err(StoreError::Unavailable { reason, .. }) = store.commit(&fence, &copy, one("b")).await else {
        panic!("committed to a file that is gone")
    };
    assert!(reason.contains("p.1.sqlite") && reason.contains("is gone"), "{reason}");
    let asked = store.positions(&copy).await;
    assert!(matches!(asked, Err(StoreError::Unavailable { .. })), "{asked:?}");
    std::fs::rename(&away, &there).unwrap();
    store.commit(&fence, &copy, one("c")).await.unwrap();
    let found = [read(&store, &copy, "a").await, read(&store, &copy, "b").await, read(&store, &copy, "c").await];
    assert_eq!(found.map(|it| it.unwrap().is_some()), [true, false, true]);
}

#[tokio::test]
async fn a_copy_that_was_restored_from_a_backup_is_gone_on_with_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let (fence, copy) = copy(&store).await;
    store.commit(&fence, &copy, at("old", None, 1)).await.unwrap();
    drop(store);
    let (file, backup) = (dir.path().join("copies/p.1.sqlite"), dir.path().join("backup"));
    std::fs::copy(&file, &backup).unwrap();

    let store = SqliteStore::open(dir.path()).unwrap();
    let Claim::Granted(fence) = store.claim(&fence.projection, "b").await.unwrap() else { panic!("held") };
    store.commit(&fence, &copy, at("lost", Some(1), 2)).await.unwrap();
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(format!("{}{suffix}", file.display())).unwrap();
    }
    std::fs::rename(&backup, &file).unwrap();
    let answer = store.commit(&fence, &copy, at("new", Some(2), 3)).await;
    let Err(StoreError::Moved { expected, found, .. }) = &answer else { panic!("{answer:?}") };
    assert_eq!((expected, found), (&position(2), &position(1)));
    assert!(answer.unwrap_err().to_string().contains("the copy p/1 of the read model stands at S:1"));
    let found = [read(&store, &copy, "old").await, read(&store, &copy, "lost").await, read(&store, &copy, "new").await];
    assert_eq!(found.map(|it| it.unwrap().is_some()), [true, false, false]);

    assert_eq!(store.positions(&copy).await.unwrap(), position(1));
    store.commit(&fence, &copy, at("lost", Some(1), 2)).await.unwrap();
    store.commit(&fence, &copy, at("new", Some(2), 3)).await.unwrap();
    drop(store);
    let store = SqliteStore::open(dir.path()).unwrap();
    let found = [read(&store, &copy, "old").await, read(&store, &copy, "lost").await, read(&store, &copy, "new").await];
    assert_eq!(found.map(|it| it.unwrap().is_some()), [true, true, true]);
}

/// Positions of one file and documents of another would fit together nowhere but in the commit.
#[tokio::test]
async fn whoever_has_read_the_positions_of_a_restored_copy_reads_its_documents() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    copy(&store).await;
    drop(store);
    let (file, backup) = (dir.path().join("copies/p.1.sqlite"), dir.path().join("backup"));
    std::fs::copy(&file, &backup).unwrap();

    let store = SqliteStore::open(dir.path()).unwrap();
    let Claim::Granted(fence) = store.claim(&ProjectionName::try_new("p").unwrap(), "b").await.unwrap() else {
        panic!("held")
    };
    let copy = CopyId { projection: fence.projection.clone(), number: 1 };
    store.commit(&fence, &copy, at("lost", None, 1)).await.unwrap();
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(format!("{}{suffix}", file.display())).unwrap();
    }
    std::fs::rename(&backup, &file).unwrap();
    assert_eq!(store.positions(&copy).await.unwrap(), Positions::new());
    assert_eq!(read(&store, &copy, "lost").await.unwrap(), None);
}

#[tokio::test]
async fn a_damaged_copy_is_unavailable_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let (_, copy) = copy(&store).await;
    drop(store);
    std::fs::write(dir.path().join("copies/p.1.sqlite"), [b'x'; 8192]).unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let Err(StoreError::Unavailable { reason, .. }) = read(&store, &copy, "a").await else {
        panic!("read a damaged file")
    };
    assert!(reason.contains("p.1.sqlite") && reason.contains("damaged"), "{reason}");
}

#[tokio::test]
async fn a_copy_that_another_program_locks_is_unavailable_until_it_lets_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let (fence, copy) = copy(&store).await;
    let other = rusqlite::Connection::open(dir.path().join("copies/p.1.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let Err(StoreError::Unavailable { reason, .. }) = store.commit(&fence, &copy, one("a")).await else {
        panic!("committed beside another writer")
    };
    assert!(reason.contains("locked by another program"), "{reason}");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(read(&store, &copy, "a").await.unwrap(), None);
    store.commit(&fence, &copy, one("a")).await.unwrap();
    assert!(read(&store, &copy, "a").await.unwrap().is_some());
}

// --- one projection with one collection ---------------------------------------------------------------------------------

fn notes() -> Collection {
    Collection::new(CollectionName::try_new("notes").unwrap(), Vec::new())
}

async fn copy(store: &Arc<SqliteStore>) -> (Fence, CopyId) {
    let projection = ProjectionName::try_new("p").unwrap();
    let Claim::Granted(fence) = store.claim(&projection, "a").await.unwrap() else { panic!("a single host waits") };
    let new = NewCopy { digest: "d".to_owned(), collections: [notes()].into(), positions: Positions::new() };
    let copy = store.create(&fence, new).await.unwrap();
    (fence, copy)
}

fn one(key: &str) -> Batch {
    let document = Some(Written { body: "{}".into(), index_values: [].into() });
    let writes = vec![DocumentWrite { collection: notes().name, key: key.to_owned(), document }];
    Batch { writes, ..Batch::default() }
}

/// The same, as the batch that goes on from one position to another.
fn at(key: &str, before: Option<u64>, after: u64) -> Batch {
    let builds_on = before.map(position).unwrap_or_default();
    Batch { builds_on, positions: position(after), ..one(key) }
}

fn position(sequence: u64) -> Positions {
    [(StreamName::try_new("S").unwrap(), sequence)].into()
}

async fn read(store: &SqliteStore, copy: &CopyId, key: &str) -> Result<Option<bytes::Bytes>, StoreError> {
    store.read(copy, &notes(), key).await
}

fn copies(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("copies")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    // Open databases have companions.
    names.retain(|name| name.ends_with(".sqlite") || name.contains("99"));
    names.sort();
    names
}
