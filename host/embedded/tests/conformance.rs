//! The suite that every broker passes, on the disk and in memory.

use std::sync::Arc;

use tidemill_core::conformance;
use tidemill_core::port::Broker;
use tidemill_embedded::EmbeddedBroker;

#[tokio::test(flavor = "multi_thread")]
async fn in_memory_every_sentence_of_the_ports_holds() {
    conformance::run_all(|| Box::pin(async { EmbeddedBroker::in_memory() as Arc<dyn Broker> })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_disk_every_sentence_of_the_ports_holds() {
    let root = tempfile::tempdir().expect("a directory for temporary files");
    let root = root.path();
    conformance::run_all(|| {
        let dir = root.join(fastrand::u64(..).to_string());
        Box::pin(async move { EmbeddedBroker::open(&dir).expect("a new directory opens") as Arc<dyn Broker> })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_disk_everything_survives_a_restart() {
    let root = tempfile::tempdir().expect("a directory for temporary files");
    let dir = root.path().join("log");
    conformance::survives_restart(|| {
        let dir = dir.clone();
        Box::pin(async move { EmbeddedBroker::open(&dir).expect("the directory is free again") as Arc<dyn Broker> })
    })
    .await;
}
