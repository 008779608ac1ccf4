//! The store of read models that the configuration names.

use std::sync::Arc;

use anyhow::{Context, Result};
use tidemill_core::config::ReadModelsConfig;
use tidemill_core::read_model::ReadModelStore;
use tidemill_postgres::PostgresStore;
use tidemill_sqlite::SqliteStore;

/// Opens it, and creates what it keeps for itself.
pub async fn open(config: &ReadModelsConfig) -> Result<Arc<dyn ReadModelStore>> {
    Ok(match config {
        ReadModelsConfig::Sqlite { dir } => {
            SqliteStore::open(dir).with_context(|| format!("opening the read models in `{}`", dir.display()))?
        }
        ReadModelsConfig::Postgres(postgres) => {
            PostgresStore::connect(postgres).await.context("opening the read models in PostgreSQL")?
        }
    })
}
