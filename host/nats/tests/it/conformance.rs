//! The suite that every broker passes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tidemill_core::conformance;
use tidemill_core::port::Broker;
use tidemill_nats::NatsBroker;

use crate::server::Server;

/// Much longer than the suite's silences, short enough to be sat out.
const ACK_WAIT: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_passes_the_suite() {
    let server = Server::start();
    let config = server.config();
    conformance::run_all(|| {
        let config = config.clone();
        async move { NatsBroker::connect_with_ack_wait(&config, ACK_WAIT).await.unwrap() as Arc<dyn Broker> }.boxed()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_again() {
    let server = Server::start();
    let config = server.config();
    conformance::survives_restart(|| {
        let config = config.clone();
        async move { NatsBroker::connect_with_ack_wait(&config, ACK_WAIT).await.unwrap() as Arc<dyn Broker> }.boxed()
    })
    .await;
}
