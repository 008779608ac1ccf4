//! Which copies there are, and which of them is active: what is decided about files as a whole.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::{OptionalExtension as _, Row, Transaction, TransactionBehavior};
use tidemill_core::name::ProjectionName;
use tidemill_core::read_model::{CopyId, CopyState, StoreError};

use crate::file::{DatabaseFile, Use};
use crate::problem::problem;

/// Changes when files of an older version can no longer be read.
const FORMAT: i64 = 1;

const TABLES: &str = "
    CREATE TABLE projections (
        name TEXT NOT NULL PRIMARY KEY, epoch INTEGER NOT NULL, paused INTEGER NOT NULL, copies INTEGER NOT NULL
    );
    CREATE TABLE copies (
        projection TEXT NOT NULL, number INTEGER NOT NULL, state TEXT NOT NULL, digest TEXT NOT NULL, shape TEXT NOT NULL,
        created INTEGER NOT NULL, changed INTEGER NOT NULL, PRIMARY KEY (projection, number)
    );";

/// The open catalogue.
pub(crate) struct Catalogue {
    file: DatabaseFile,
}

/// A copy, as far as the catalogue knows it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: CopyId,
    pub(crate) state: CopyState,
    pub(crate) digest: String,
    pub(crate) shape: String,
    pub(crate) created: SystemTime,
    pub(crate) changed: SystemTime,
}

// === impl Catalogue ===

impl Catalogue {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut catalogue = Self { file: DatabaseFile::open(path, Use::Catalogue)? };
        let found = catalogue.within(|transaction| {
            let found = transaction.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))?;
            if found == 0 {
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "user_version", FORMAT)?;
            }
            Ok(found)
        })?;
        if found != 0 && found != FORMAT {
            return Err(StoreError::Refused(format!(
                "`{}` has the format {found}, this version reads {FORMAT}; use the version that wrote it, or move the folder \
                 away to fold everything anew",
                path.display()
            )));
        }
        Ok(catalogue)
    }

    /// All copies of all projections.
    pub(crate) fn copies(&mut self) -> Result<Vec<CopyId>, StoreError> {
        self.within(|transaction| {
            let mut statement = transaction.prepare("SELECT projection, number FROM copies")?;
            let ids = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
            ids.collect::<rusqlite::Result<Vec<_>>>()
        })?
        .into_iter()
        .map(|(name, number)| Ok(CopyId { projection: projection(&name)?, number }))
        .collect()
    }

    /// The copies of a projection in the order of their numbers, and whether it is paused.
    pub(crate) fn of(&mut self, projection: &ProjectionName) -> Result<(Vec<Entry>, bool), StoreError> {
        self.within(|transaction| {
            let paused = "SELECT paused FROM projections WHERE name = ?1";
            let paused = transaction.query_row(paused, [projection.as_str()], |row| row.get(0)).optional()?;
            Ok((entries(transaction, projection)?, paused.unwrap_or(false)))
        })
    }

    pub(crate) fn has(&mut self, id: &CopyId) -> Result<bool, StoreError> {
        self.within(|transaction| {
            let sql = "SELECT 1 FROM copies WHERE projection = ?1 AND number = ?2";
            Ok(transaction.query_row(sql, (id.projection.as_str(), id.number), |_| Ok(())).optional()?.is_some())
        })
    }

    /// The next epoch of a projection's claims.
    pub(crate) fn next_epoch(&mut self, projection: &ProjectionName) -> Result<u64, StoreError> {
        self.within(|transaction| {
            let sql = "INSERT INTO projections (name, epoch, paused, copies) VALUES (?1, 1, 0, 0)
                       ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1 RETURNING epoch";
            transaction.query_row(sql, [projection.as_str()], |row| row.get(0))
        })
    }

    /// A number that no copy of the projection had.
    pub(crate) fn next_number(&mut self, projection: &ProjectionName) -> Result<u64, StoreError> {
        self.within(|transaction| {
            let sql = "UPDATE projections SET copies = copies + 1 WHERE name = ?1 RETURNING copies";
            transaction.query_row(sql, [projection.as_str()], |row| row.get(0))
        })
    }

    pub(crate) fn set_paused(&mut self, projection: &ProjectionName, paused: bool) -> Result<(), StoreError> {
        self.within(|transaction| {
            let sql = "UPDATE projections SET paused = ?2 WHERE name = ?1";
            transaction.execute(sql, (projection.as_str(), paused)).map(drop)
        })
    }

    pub(crate) fn add(&mut self, entry: &Entry) -> Result<(), StoreError> {
        self.within(|transaction| {
            let sql = "INSERT INTO copies (projection, number, state, digest, shape, created, changed)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let Entry { id, state, digest, shape, created, changed } = entry;
            let times = (millis(*created), millis(*changed));
            let row = (id.projection.as_str(), id.number, word(*state), digest, shape, times.0, times.1);
            transaction.execute(sql, row).map(drop)
        })
    }

    /// Removes a copy that is not active.
    pub(crate) fn remove(&mut self, id: &CopyId) -> Result<(), StoreError> {
        let active = self.within(|transaction| {
            let copies = entries(transaction, &id.projection)?;
            let active = copies.iter().any(|copy| copy.id == *id && copy.state == CopyState::Active);
            if !active {
                remove(transaction, id)?;
            }
            Ok(active)
        })?;
        if active {
            return Err(StoreError::Refused(format!("the copy {id} is active; activate another one first")));
        }
        Ok(())
    }

    /// Makes a copy the active one. Answers the copy that is not kept any more.
    pub(crate) fn activate(&mut self, id: &CopyId, now: SystemTime) -> Result<Option<CopyId>, StoreError> {
        let activated = self.within(|transaction| {
            let copies = entries(transaction, &id.projection)?;
            let Some(wanted) = copies.iter().find(|copy| copy.id == *id) else { return Ok(None) };
            if wanted.state == CopyState::Active {
                return Ok(Some(None));
            }
            let in_state = |state| copies.iter().find(|copy| copy.state == state).map(|copy| &copy.id);
            let dropped = in_state(CopyState::Previous).filter(|previous| *previous != id);
            if let Some(dropped) = dropped {
                remove(transaction, dropped)?;
            }
            if let Some(active) = in_state(CopyState::Active) {
                set_state(transaction, active, CopyState::Previous, now)?;
            }
            set_state(transaction, id, CopyState::Active, now)?;
            Ok(Some(dropped.cloned()))
        })?;
        activated.ok_or_else(|| StoreError::NoCopy(id.clone()))
    }

    fn within<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        if !self.file.is_current()? {
            self.file = DatabaseFile::open(self.file.path(), Use::Catalogue)?;
        }
        let done = self
            .file
            .connection()
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .and_then(|transaction| work(&transaction).and_then(|done| transaction.commit().map(|()| done)));
        done.map_err(|error| problem(self.file.path(), &error))
    }
}

fn entries(transaction: &Transaction<'_>, projection: &ProjectionName) -> rusqlite::Result<Vec<Entry>> {
    let sql = "SELECT number, state, digest, shape, created, changed FROM copies WHERE projection = ?1 ORDER BY number";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([projection.as_str()], |row| entry(projection, row))?;
    rows.collect()
}

fn entry(projection: &ProjectionName, row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        id: CopyId { projection: projection.clone(), number: row.get(0)? },
        state: state(&row.get::<_, String>(1)?),
        digest: row.get(2)?,
        shape: row.get(3)?,
        created: time(row.get(4)?),
        changed: time(row.get(5)?),
    })
}

fn remove(transaction: &Transaction<'_>, id: &CopyId) -> rusqlite::Result<()> {
    let sql = "DELETE FROM copies WHERE projection = ?1 AND number = ?2";
    transaction.execute(sql, (id.projection.as_str(), id.number)).map(drop)
}

fn set_state(transaction: &Transaction<'_>, id: &CopyId, state: CopyState, now: SystemTime) -> rusqlite::Result<()> {
    let sql = "UPDATE copies SET state = ?3, changed = ?4 WHERE projection = ?1 AND number = ?2";
    transaction.execute(sql, (id.projection.as_str(), id.number, word(state), millis(now))).map(drop)
}

fn word(state: CopyState) -> &'static str {
    match state {
        CopyState::Building => "building",
        CopyState::Active => "active",
        CopyState::Previous => "previous",
    }
}

fn state(word: &str) -> CopyState {
    match word {
        "active" => CopyState::Active,
        "previous" => CopyState::Previous,
        _ => CopyState::Building,
    }
}

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn time(millis: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis.unsigned_abs())
}

fn projection(name: &str) -> Result<ProjectionName, StoreError> {
    ProjectionName::try_new(name).map_err(|error| StoreError::Refused(format!("the catalogue is not ours: {error}")))
}
