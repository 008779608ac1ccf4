//! A few connections for questions to one copy, each given up when its time is over or nobody waits for it any more.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction};
use tidemill_core::read_model::StoreError;
use tokio::sync::Semaphore;

use crate::file::{DatabaseFile, Use};
use crate::problem::{answer_problem, on_thread, problem, unavailable};

/// Steps of SQLite's machine between two looks at the clock: some tens of microseconds.
const STEPS: i32 = 4096;

/// The connections.
pub(crate) struct Readers {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<DatabaseFile>>,
}

/// Ends the question when whoever asked goes away.
struct Asker(Arc<AtomicBool>);

// === impl Readers ===

impl Readers {
    pub(crate) fn new(path: PathBuf, count: usize) -> Arc<Self> {
        Arc::new(Self { path, permits: Arc::new(Semaphore::new(count)), idle: Mutex::default() })
    }

    /// Asks within one snapshot and `timeout`, which includes waiting for a connection.
    pub(crate) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        timeout: Duration,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + timeout;
        let permit = tokio::time::timeout(timeout, Arc::clone(&self.permits).acquire_owned()).await;
        let permit = permit.map_err(|_| StoreError::TooSlow(timeout))?;
        let permit = permit.map_err(|_| unavailable("the store is closed"))?;
        let asker = Asker(Arc::default());
        let (readers, gone) = (Arc::clone(self), Arc::clone(&asker.0));
        let answer = on_thread(move || {
            let _permit = permit;
            let mut file = readers.take()?;
            let over = move || gone.load(Ordering::Relaxed) || Instant::now() >= deadline;
            file.connection().progress_handler(STEPS, Some(over)).map_err(|error| problem(&readers.path, &error))?;
            let answer = file
                .connection()
                .transaction()
                .and_then(|transaction| within(&transaction, question))
                .map_err(|error| answer_problem(&readers.path, timeout, &error));
            // One that failed otherwise may have lost its footing: the next question opens another.
            if matches!(answer, Ok(_) | Err(StoreError::TooSlow(_))) {
                readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(file);
            }
            answer
        });
        let answer = answer.await;
        drop(asker);
        answer
    }

    /// Forgets the connections, so that the file can be removed.
    pub(crate) fn close(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn take(&self) -> Result<DatabaseFile, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(file) if file.is_current()? => Ok(file),
            _ => DatabaseFile::open(&self.path, Use::Read),
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads only, so that dropping the transaction is its end.
fn within<T>(
    transaction: &Transaction<'_>,
    question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    question(transaction)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

    fn readers(dir: &tempfile::TempDir) -> Arc<Readers> {
        let path = dir.path().join("copy.sqlite");
        DatabaseFile::open(&path, Use::Create).unwrap();
        Readers::new(path, 1)
    }

    fn count(connection: &Connection, sql: &str) -> rusqlite::Result<i64> {
        connection.query_row(sql, [], |row| row.get(0))
    }

    #[tokio::test]
    async fn a_question_ends_at_its_deadline_and_leaves_a_connection_that_works() {
        let dir = tempfile::tempdir().unwrap();
        let readers = readers(&dir);
        let timeout = Duration::from_millis(50);
        let answer = readers.ask(timeout, |connection| count(connection, ENDLESS)).await;
        assert!(matches!(answer, Err(StoreError::TooSlow(after)) if after == timeout), "{answer:?}");
        assert_eq!(readers.ask(Duration::from_secs(20), |it| count(it, "SELECT 7")).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn waiting_for_a_connection_counts() {
        let dir = tempfile::tempdir().unwrap();
        let readers = readers(&dir);
        let long = Duration::from_secs(60);
        let slow = tokio::spawn({
            let readers = Arc::clone(&readers);
            async move { readers.ask(long, |connection| count(connection, ENDLESS)).await }
        });
        while readers.permits.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let answer = readers.ask(Duration::from_millis(20), |it| count(it, "SELECT 7")).await;
        assert!(matches!(answer, Err(StoreError::TooSlow(_))), "{answer:?}");
        // Nobody waits for the slow one any more: it ends long before its time, and gives the connection back.
        slow.abort();
        assert_eq!(readers.ask(Duration::from_secs(20), |it| count(it, "SELECT 7")).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_question_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let answer = readers(&dir).ask(Duration::from_secs(20), |it| it.execute_batch("CREATE TABLE t (c)")).await;
        assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
    }
}
