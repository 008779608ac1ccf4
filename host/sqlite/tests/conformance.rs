//! The suite that every store of read models passes.

use std::sync::Arc;

use tidemill_core::conformance::read_models;
use tidemill_core::read_model::ReadModelStore;
use tidemill_sqlite::SqliteStore;

#[tokio::test(flavor = "multi_thread")]
async fn every_sentence_of_the_port_holds() {
    let root = tempfile::tempdir().expect("a directory for temporary files");
    let root = root.path();
    read_models::run_all(|| {
        let dir = root.join(fastrand::u64(..).to_string());
        Box::pin(async move { SqliteStore::open(&dir).expect("a new folder opens") as Arc<dyn ReadModelStore> })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_survives_a_restart() {
    let root = tempfile::tempdir().expect("a directory for temporary files");
    let dir = root.path().join("read-models");
    read_models::survives_reopening(|| {
        let dir = dir.clone();
        Box::pin(async move { SqliteStore::open(&dir).expect("the folder is free again") as Arc<dyn ReadModelStore> })
    })
    .await;
}
