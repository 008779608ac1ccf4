//! One copy of a read model: its documents, and where they stand.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tidemill_core::name::{CollectionName, NameError, StreamName};
use tidemill_core::read_model::{Batch, Collection, Collections, CopyId, Positions, StoreError};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::file::{DatabaseFile, Use};
use crate::problem::problem;
use crate::readers::Readers;
use crate::table::Table;

/// Connections for queries, and others for single documents, which need not wait behind a slow query.
const QUERIES: usize = 4;
const LOOK_UPS: usize = 2;

/// How long a look-up may take: it reads a few pages.
const LOOK_UP: Duration = Duration::from_secs(10);

const TABLES: &str = "
    CREATE TABLE collections (number INTEGER PRIMARY KEY, name TEXT NOT NULL, columns INTEGER NOT NULL);
    CREATE TABLE positions (stream TEXT NOT NULL PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE counts (folded INTEGER NOT NULL, dead_lettered INTEGER NOT NULL);
    INSERT INTO counts VALUES (0, 0);";

/// A copy that exists.
pub(crate) struct CopyFile {
    pub(crate) id: CopyId,
    path: PathBuf,
    tables: Vec<Table>,
    removed: AtomicBool,
    fold: Arc<Mutex<Fold>>,
    /// Reads for the fold while its own connection commits: they see what was committed before.
    beside: Mutex<Fold>,
    queries: Arc<Readers>,
    look_ups: Arc<Readers>,
}

/// A connection of the fold. Without one until it is needed, and after a failure.
pub(crate) struct Fold {
    file: Option<DatabaseFile>,
    purpose: Use,
}

/// How far a copy is.
pub(crate) struct Progress {
    pub(crate) positions: Positions,
    pub(crate) folded: u64,
    pub(crate) dead_lettered: u64,
}

// === impl CopyFile ===

impl CopyFile {
    /// Makes the file of a new copy.
    pub(crate) fn create(path: &Path, collections: &Collections, positions: &Positions) -> Result<(), StoreError> {
        let mut file = DatabaseFile::open(path, Use::Create)?;
        let made = file.connection().transaction().and_then(|transaction| {
            transaction.execute_batch(TABLES)?;
            for (number, collection) in collections.iter().enumerate() {
                let table = Table::new(number, collection.name.clone(), collection.fields().len());
                transaction.execute_batch(&table.definition(collection))?;
                let row = (number, collection.name.as_str(), table.columns);
                transaction.execute("INSERT INTO collections VALUES (?1, ?2, ?3)", row)?;
            }
            set_positions(&transaction, positions)?;
            transaction.commit()
        });
        made.map_err(|error| problem(path, &error))
    }

    pub(crate) fn open(id: CopyId, path: PathBuf) -> Result<Self, StoreError> {
        let mut file = DatabaseFile::open(&path, Use::Fold)?;
        let tables = tables(file.connection()).map_err(|error| problem(&path, &error))?;
        Ok(Self {
            id,
            tables,
            removed: AtomicBool::new(false),
            fold: Arc::new(Mutex::new(Fold { file: Some(file), purpose: Use::Fold })),
            beside: Mutex::new(Fold { file: None, purpose: Use::Read }),
            queries: Readers::new(path.clone(), QUERIES),
            look_ups: Readers::new(path.clone(), LOOK_UPS),
            path,
        })
    }

    pub(crate) fn table(&self, name: &CollectionName) -> Result<&Table, StoreError> {
        self.tables
            .iter()
            .find(|table| table.collection == *name)
            .ok_or_else(|| StoreError::Refused(format!("the copy {} has no collection `{name}`", self.id)))
    }

    /// Runs on the thread of whoever asks, at once: on the fold's own connection, whose pages are warm, unless that commits.
    pub(crate) async fn reading<T>(
        &self,
        collection: &Collection,
        read: impl FnOnce(&Table, &Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let table = self.table(&collection.name)?;
        if let Ok(mut fold) = self.fold.try_lock() {
            self.check_there()?;
            return fold.run(&self.path, |connection| read(table, connection));
        }
        let mut beside = self.beside.lock().await;
        self.check_there()?;
        beside.check_current()?;
        beside.run(&self.path, |connection| read(table, connection))
    }

    /// The right to commit, which is waited for without blocking a thread.
    pub(crate) async fn writer(&self) -> OwnedMutexGuard<Fold> {
        Arc::clone(&self.fold).lock_owned().await
    }

    pub(crate) fn commit(&self, fold: &mut Fold, batch: &Batch) -> Result<(), StoreError> {
        self.check_there()?;
        self.check_fits(batch)?;
        fold.check_current()?;
        let moved = fold.run(&self.path, |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let found = positions(&transaction)?;
            if found != batch.builds_on {
                return Ok(Some(found));
            }
            self.write(&transaction, batch)?;
            transaction.commit()?;
            Ok(None)
        })?;
        match moved {
            Some(found) => Err(StoreError::Moved { copy: self.id.clone(), expected: batch.builds_on.clone(), found }),
            None => Ok(()),
        }
    }

    /// Asks in one snapshot together with the positions.
    pub(crate) async fn query<T: Send + 'static>(
        &self,
        timeout: Duration,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<(T, Positions), StoreError> {
        self.check_there()?;
        self.queries.ask(timeout, move |connection| Ok((question(connection)?, positions(connection)?))).await
    }

    pub(crate) async fn get(
        &self,
        collection: &Collection,
        key: &str,
    ) -> Result<(Option<Vec<u8>>, Positions), StoreError> {
        self.check_there()?;
        let (table, key) = (self.table(&collection.name)?.clone(), key.to_owned());
        let read = move |connection: &Connection| Ok((table.read(connection, &key)?, positions(connection)?));
        self.look_ups.ask(LOOK_UP, read).await
    }

    pub(crate) async fn progress(&self) -> Result<Progress, StoreError> {
        self.check_there()?;
        let read = |connection: &Connection| {
            let counts = "SELECT folded, dead_lettered FROM counts";
            let (folded, dead_lettered) = connection.query_row(counts, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(Progress { positions: positions(connection)?, folded, dead_lettered })
        };
        self.look_ups.ask(LOOK_UP, read).await
    }

    /// From now on the fold reads from the file that is there now, if it was replaced. To be done after the positions were
    /// read: a batch of what another file held builds on other positions.
    pub(crate) async fn read_current(&self) -> Result<(), StoreError> {
        self.fold.lock().await.check_current()
    }

    /// From now on the copy is gone, for whoever still holds it too. Waits for a commit.
    pub(crate) fn close(&self) {
        self.removed.store(true, Ordering::Release);
        self.fold.blocking_lock().file = None;
        self.beside.blocking_lock().file = None;
        self.queries.close();
        self.look_ups.close();
    }

    fn check_there(&self) -> Result<(), StoreError> {
        if self.removed.load(Ordering::Acquire) { Err(StoreError::NoCopy(self.id.clone())) } else { Ok(()) }
    }

    fn check_fits(&self, batch: &Batch) -> Result<(), StoreError> {
        for write in &batch.writes {
            let table = self.table(&write.collection)?;
            let columns = write.document.as_ref().map_or(table.columns, |document| document.index_values.len());
            if columns != table.columns {
                return Err(StoreError::Refused(format!(
                    "a document of the collection `{}` has {columns} indexed fields, the copy {} has {}",
                    write.collection, self.id, table.columns
                )));
            }
        }
        Ok(())
    }

    fn write(&self, transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
        for write in &batch.writes {
            let Some(table) = self.tables.iter().find(|table| table.collection == write.collection) else { continue };
            match &write.document {
                Some(document) => table.write(transaction, &write.key, document)?,
                None => table.delete(transaction, &write.key)?,
            }
        }
        set_positions(transaction, &batch.positions)?;
        let counts = "UPDATE counts SET folded = folded + ?1, dead_lettered = dead_lettered + ?2";
        transaction.prepare_cached(counts)?.execute((batch.folded, batch.dead_lettered)).map(drop)
    }
}

// === impl Fold ===

impl Fold {
    /// Opens the file again if another one is there now.
    fn check_current(&mut self) -> Result<(), StoreError> {
        if let Some(file) = &self.file
            && !file.is_current()?
        {
            self.file = None;
        }
        Ok(())
    }

    /// After an error the connection is not trusted any more. Whatever its transaction did is rolled back by then.
    fn run<T>(
        &mut self,
        path: &Path,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => DatabaseFile::open(path, self.purpose)?,
        };
        let done = work(file.connection()).map_err(|error| problem(path, &error))?;
        self.file = Some(file);
        Ok(done)
    }
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<Table>> {
    let mut statement = connection.prepare("SELECT number, name, columns FROM collections ORDER BY number")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?)))?;
    rows.map(|row| {
        let (number, name, columns) = row?;
        let name = CollectionName::try_new(&name).map_err(not_ours)?;
        Ok(Table::new(number, name, columns))
    })
    .collect()
}

fn set_positions(transaction: &Transaction<'_>, positions: &Positions) -> rusqlite::Result<()> {
    let sql = "INSERT INTO positions VALUES (?1, ?2) ON CONFLICT (stream) DO UPDATE SET sequence = excluded.sequence";
    let mut statement = transaction.prepare_cached(sql)?;
    for (stream, sequence) in positions {
        statement.execute((stream.as_str(), sequence))?;
    }
    Ok(())
}

pub(crate) fn positions(connection: &Connection) -> rusqlite::Result<Positions> {
    let mut statement = connection.prepare_cached("SELECT stream, sequence FROM positions")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    rows.map(|row| {
        let (stream, sequence) = row?;
        let stream = StreamName::try_new(&stream).map_err(not_ours)?;
        Ok((stream, sequence))
    })
    .collect()
}

fn not_ours(error: NameError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_core::name::ProjectionName;
    use tidemill_core::read_model::{DocumentWrite, Written};

    fn notes() -> Collection {
        Collection::new(CollectionName::try_new("notes").unwrap(), Vec::new())
    }

    fn batch(sequence: u64, documents: usize) -> Batch {
        let write = |number: usize| DocumentWrite {
            collection: notes().name,
            key: format!("{sequence}-{number}"),
            document: Some(Written { body: vec![b' '; 4000].into(), index_values: [].into() }),
        };
        let at = |sequence: u64| (StreamName::try_new("S").unwrap(), sequence);
        Batch {
            writes: (0..documents).map(write).collect(),
            builds_on: (1..sequence).last().map(at).into_iter().collect(),
            positions: [at(sequence)].into(),
            folded: 1,
            dead_lettered: 0,
        }
    }

    #[tokio::test]
    async fn while_a_batch_is_committed_the_fold_reads_what_was_committed_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("copy.sqlite");
        CopyFile::create(&path, &[notes()].into(), &Positions::new()).unwrap();
        let id = CopyId { projection: ProjectionName::try_new("p").unwrap(), number: 1 };
        let copy = CopyFile::open(id, path).unwrap();
        let read = async |key: &str| {
            let notes = notes();
            let read = copy.reading(&notes, |table, connection| table.read(connection, key));
            tokio::time::timeout(Duration::from_secs(20), read).await.expect("it waits for the commit").unwrap()
        };
        // Held as long as a commit takes.
        let mut fold = copy.writer().await;
        for sequence in 1..=3 {
            assert!(read(&format!("{sequence}-0")).await.is_none());
            copy.commit(&mut fold, &batch(sequence, 1)).unwrap();
            assert!(read(&format!("{sequence}-0")).await.is_some());
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_unavailable_writes_nothing_and_is_gone_on_from_when_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("copy.sqlite");
        CopyFile::create(&path, &[notes()].into(), &Positions::new()).unwrap();
        let id = CopyId { projection: ProjectionName::try_new("p").unwrap(), number: 1 };
        let copy = CopyFile::open(id, path).unwrap();
        let mut fold = copy.writer().await;
        copy.commit(&mut fold, &batch(1, 1)).unwrap();
        // As SQLite finds a disk without room: not at the first page of a transaction, but somewhere inside.
        let connection = fold.file.as_mut().unwrap().connection();
        connection.pragma_update_and_check(None, "max_page_count", 20, |_| Ok(())).unwrap();
        let Err(StoreError::Unavailable { reason, .. }) = copy.commit(&mut fold, &batch(2, 50)) else {
            panic!("50 documents of a page each found room in 20 pages")
        };
        assert!(reason.contains("no room for") && reason.contains("copy.sqlite"), "{reason}");
        drop(fold);
        let before = copy.progress().await.unwrap();
        assert_eq!((before.positions, before.folded), (batch(1, 0).positions, 1));
        assert!(copy.get(&notes(), "2-0").await.unwrap().0.is_none());

        copy.commit(&mut *copy.writer().await, &batch(2, 50)).unwrap();
        assert_eq!(copy.progress().await.unwrap().folded, 2);
        assert!(copy.get(&notes(), "2-49").await.unwrap().0.is_some());
    }
}
