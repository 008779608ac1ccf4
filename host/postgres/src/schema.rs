//! The tables that are there before any copy is.

use tidemill_core::read_model::StoreError;
use tokio_postgres::Error;

use crate::problem::problem;
use crate::session::Session;

/// Changes when the tables of an older version can no longer be used.
const FORMAT: i32 = 1;

/// PostgreSQL 15.
const MINIMUM_VERSION: i32 = 150_000;

/// The schema that holds everything. Its name needs no quoting, but may be a word of SQL.
#[derive(Debug, Clone)]
pub(crate) struct Schema(String);

// === impl Schema ===

impl Schema {
    pub(crate) fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Who may write, by projection.
    pub(crate) fn projections(&self) -> String {
        self.table("projections")
    }

    pub(crate) fn copies(&self) -> String {
        self.table("copies")
    }

    pub(crate) fn table(&self, name: &str) -> String {
        format!("\"{}\".{name}", self.0)
    }

    /// Checks the server, and makes what is missing. Several hosts may do so at once.
    pub(crate) async fn prepare(&self, session: &Session) -> Result<(), StoreError> {
        check_server(session).await?;
        self.check_format(self.make(session).await.map_err(|error| problem(&error))?)
    }

    /// Whether a host has made it. Makes nothing.
    pub(crate) async fn is_there(&self, session: &Session) -> Result<bool, StoreError> {
        check_server(session).await?;
        match self.found(session).await.map_err(|error| problem(&error))? {
            Some(found) => self.check_format(found).map(|()| true),
            None => Ok(false),
        }
    }

    fn check_format(&self, found: i32) -> Result<(), StoreError> {
        if found == FORMAT {
            return Ok(());
        }
        Err(StoreError::Refused(format!(
            "the schema `{}` has the format {found}, this version uses {FORMAT}; use the version that made it, or another \
             schema with `read_models.postgres.schema` to fold everything anew",
            self.0
        )))
    }

    async fn make(&self, session: &Session) -> Result<i32, Error> {
        session.run("BEGIN").await?;
        // Two who make the same schema at once would both find it missing.
        session.row("SELECT pg_advisory_xact_lock(hashtext('tidemill ' || $1))", &[&self.0]).await?;
        let exists = session.row("SELECT 1 FROM pg_namespace WHERE nspname = $1", &[&self.0]).await?;
        if exists.is_none() {
            session.run(&format!("CREATE SCHEMA \"{}\"", self.0)).await?;
        }
        let found = match self.found(session).await? {
            Some(found) => found,
            None => {
                session.run(&self.definition()).await?;
                FORMAT
            }
        };
        session.run("COMMIT").await?;
        Ok(found)
    }

    /// The format of what is there.
    async fn found(&self, session: &Session) -> Result<Option<i32>, Error> {
        let table = "SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = 'format'";
        if session.row(table, &[&self.0]).await?.is_none() {
            return Ok(None);
        }
        let found = session.row(&format!("SELECT number FROM {}", self.table("format")), &[]).await?;
        found.map_or(Ok(0), |row| row.try_get(0)).map(Some)
    }

    fn definition(&self) -> String {
        let (format, projections, copies) = (self.table("format"), self.projections(), self.copies());
        format!(
            "CREATE TABLE {format} (number integer NOT NULL);
             INSERT INTO {format} VALUES ({FORMAT});
             CREATE TABLE {projections} (
                 name text PRIMARY KEY, epoch bigint NOT NULL, holder text, expires timestamptz NOT NULL,
                 paused boolean NOT NULL, copies bigint NOT NULL
             );
             CREATE TABLE {copies} (
                 id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, projection text NOT NULL, number bigint NOT NULL,
                 state text NOT NULL, digest text NOT NULL, shape text NOT NULL, created timestamptz NOT NULL,
                 changed timestamptz NOT NULL, positions jsonb NOT NULL, folded bigint NOT NULL,
                 dead_lettered bigint NOT NULL, collections text[] NOT NULL, columns integer[] NOT NULL,
                 UNIQUE (projection, number)
             );"
        )
    }
}

async fn check_server(session: &Session) -> Result<(), StoreError> {
    let sql = "SELECT current_setting('server_version_num')::integer, current_setting('server_version'),
                      current_setting('server_encoding')";
    let row = session.row(sql, &[]).await.map_err(|error| problem(&error))?;
    let Some(row) = row else { return Err(StoreError::Refused("the server does not say its version".to_owned())) };
    let (number, version, encoding): (i32, String, String) = (row.get(0), row.get(1), row.get(2));
    if number < MINIMUM_VERSION {
        return Err(StoreError::Refused(format!("the server is PostgreSQL {version}; 15 or newer is needed")));
    }
    if encoding != "UTF8" {
        return Err(StoreError::Refused(format!(
            "the database has the encoding {encoding}, in which not every key can be stored; make one with \
             `CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`"
        )));
    }
    Ok(())
}
