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

/// Opens what a host has made, to look at it; `None` where there is nothing. To look must not make one.
pub async fn open_existing(config: &ReadModelsConfig) -> Result<Option<Arc<dyn ReadModelStore>>> {
    match config {
        ReadModelsConfig::Sqlite { dir } if !SqliteStore::exists(dir) => Ok(None),
        ReadModelsConfig::Sqlite { .. } => open(config).await.map(Some),
        ReadModelsConfig::Postgres(postgres) => {
            let store = PostgresStore::connect_to_existing(postgres).await;
            let store = store.context("opening the read models in PostgreSQL")?;
            Ok(store.map(|store| store as Arc<dyn ReadModelStore>))
        }
    }
}
