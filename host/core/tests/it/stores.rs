//! The store of read models in memory passes the suite that every store passes.

use std::sync::Arc;

use tidemill_core::clock::WallClock;
use tidemill_core::conformance::read_models;
use tidemill_core::read_model::{MemoryStore, ReadModelStore};

#[tokio::test(flavor = "multi_thread")]
async fn every_sentence_of_the_port_holds_in_memory() {
    let make = || Box::pin(async { MemoryStore::new(WallClock::System) as Arc<dyn ReadModelStore> }) as _;
    read_models::run_all(make).await;
}
