//! An open database file, and whether it is still the one at its path.
//!
//! SQLite holds on to a file that was removed or replaced under it, and what it writes there is lost without a word. So before
//! each transaction that matters the path is looked at again: a file that is gone is `Unavailable`, one that was restored is
//! opened anew.
//!
//! Commits are `synchronous = NORMAL` in a copy and `FULL` in the catalogue. NORMAL syncs when the log is moved into the
//! database, not at each commit. A killed process loses nothing by that. A power failure may take the last commits, those
//! that the system had not written back (Linux writes back within some 30 seconds), but always whole ones from the end, the
//! position with the documents: they are folded again from the stream. That would go wrong only with a stream that
//! keeps its events for less than that, which no catch-up reader survives anyway. A sync per commit would cost a projection
//! that is up to date, whose batches are small, most of its speed. Who is active, paused or claimed is in no stream: FULL.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tidemill_core::read_model::StoreError;

use crate::problem::{cannot, problem, unavailable};

/// How long another program's lock is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 64;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Everything is synced.
    Catalogue,
    /// A copy that is made, synced like the catalogue that will name it.
    Create,
    /// The fold of a copy.
    Fold,
    /// Questions.
    Read,
}

/// A connection to the database file at a path.
pub(crate) struct DatabaseFile {
    path: PathBuf,
    connection: Connection,
    identity: Identity,
}

/// Which file it is, whatever its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity(u64, u64);

// === impl DatabaseFile ===

impl DatabaseFile {
    pub(crate) fn open(path: &Path, purpose: Use) -> Result<Self, StoreError> {
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if matches!(purpose, Use::Catalogue | Use::Create) {
            flags |= OpenFlags::SQLITE_OPEN_CREATE;
        } else {
            identity(path)?;
        }
        let failed = |error: rusqlite::Error| problem(path, &error);
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        configure(&connection, purpose).map_err(failed)?;
        let identity = identity(path)?;
        Ok(Self { path: path.to_owned(), connection, identity })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Whether the path still leads to this file.
    ///
    /// # Errors
    ///
    /// `Unavailable`, if it leads nowhere.
    pub(crate) fn is_current(&self) -> Result<bool, StoreError> {
        Ok(identity(&self.path)? == self.identity)
    }
}

fn configure(connection: &Connection, purpose: Use) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    if purpose == Use::Read {
        return connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -8192;");
    }
    let synchronous = if purpose == Use::Fold { "NORMAL" } else { "FULL" };
    // 64 MiB of log before it is moved into the database: a page that many batches change is moved once.
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA cache_size = -32768;
         PRAGMA wal_autocheckpoint = 16384; PRAGMA journal_size_limit = 67108864;"
    ))
}

fn identity(path: &Path) -> Result<Identity, StoreError> {
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => unavailable(format!(
            "`{}` is gone; put it back, or move the whole folder away and start again: then every projection is folded \
             from its beginning",
            path.display()
        )),
        _ => cannot(path, "read", &error),
    })?;
    #[cfg(unix)]
    return Ok(Identity(
        std::os::unix::fs::MetadataExt::dev(&metadata),
        std::os::unix::fs::MetadataExt::ino(&metadata),
    ));
    #[cfg(not(unix))]
    return Ok(Identity(0, metadata.len().min(1)));
}
