//! The suite that every store of read models passes.

use std::sync::Arc;

use tidemill_core::conformance::read_models;
use tidemill_core::read_model::ReadModelStore;

use crate::server::Server;
use crate::world;

#[tokio::test(flavor = "multi_thread")]
async fn every_sentence_of_the_port_holds() {
    // One schema, which all of them make at once.
    let config = world::config(&Server::shared().url());
    read_models::run_all(|| {
        let config = config.clone();
        Box::pin(async move { world::connect(&config).await as Arc<dyn ReadModelStore> })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_again_for_the_next_host() {
    let config = world::config(&Server::shared().url());
    read_models::survives_reopening(|| {
        let config = config.clone();
        Box::pin(async move { world::connect(&config).await as Arc<dyn ReadModelStore> })
    })
    .await;
}
