//! One connection to the server.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::task::AbortHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, Row, Statement};

use crate::tls::Tls;

/// Statements that a session keeps prepared. Tables come and go with the copies, so what is kept is forgotten now and then.
const STATEMENTS: usize = 256;

pub(crate) type Parameters<'p> = &'p [&'p (dyn ToSql + Sync)];

/// A connection. Requests that are made before others are answered are sent at once, and answered in order.
pub(crate) struct Session {
    client: Client,
    statements: Mutex<HashMap<String, Statement>>,
    connection: AbortHandle,
}

// === impl Session ===

impl Session {
    pub(crate) async fn open(config: &Config, tls: &Tls, settings: &str) -> Result<Self, Error> {
        let (client, connection) = config.connect(tls.clone()).await?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to PostgreSQL ended");
            }
        });
        let session = Self { client, statements: Mutex::default(), connection: task.abort_handle() };
        session.run(settings).await?;
        Ok(session)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Statements without parameters.
    pub(crate) async fn run(&self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql).await
    }

    pub(crate) async fn rows(&self, sql: &str, parameters: Parameters<'_>) -> Result<Vec<Row>, Error> {
        let statement = self.prepare(sql).await?;
        self.client.query(&statement, parameters).await
    }

    pub(crate) async fn row(&self, sql: &str, parameters: Parameters<'_>) -> Result<Option<Row>, Error> {
        let statement = self.prepare(sql).await?;
        self.client.query_opt(&statement, parameters).await
    }

    /// How many rows were changed.
    pub(crate) async fn execute(&self, sql: &str, parameters: Parameters<'_>) -> Result<u64, Error> {
        let statement = self.prepare(sql).await?;
        self.client.execute(&statement, parameters).await
    }

    /// Makes sure that a statement is prepared, so that running it is one message.
    pub(crate) async fn prepare(&self, sql: &str) -> Result<Statement, Error> {
        let known = self.statements.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        let mut statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        if statements.len() >= STATEMENTS {
            statements.clear();
        }
        statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl Drop for Session {
    /// Whatever the session was doing is rolled back by the server.
    fn drop(&mut self) {
        self.connection.abort();
    }
}
