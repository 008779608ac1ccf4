//! A server that is away, silent or short of something, and comes back.

use std::time::{Duration, Instant};

use tidemill_core::read_model::{Batch, CopyReader as _, ReadModelStore as _, StoreError};
use tidemill_postgres::PostgresStore;

use crate::server::{Server, free_address};
use crate::world::{
    PATIENCE, ask, at, commit_in_the_end, config, connect, copy, granted, note, note_after, notes, projection, stored,
    unavailable,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_silent_is_unavailable_and_then_gone_on_with() {
    let server = Server::start();
    let store = connect(&config(&server.url())).await;
    let fence = granted(&store, "a").await;
    let copy = copy(&store, &fence).await;
    store.commit(&fence, &copy, note(1)).await.unwrap();
    ask(&store, &copy).await.unwrap();
    server.freeze();
    let (begun, notes) = (Instant::now(), notes());
    let (commit, read, asked) = tokio::join!(
        store.commit(&fence, &copy, note_after(1, 2)),
        store.read(&copy, &notes, "note"),
        ask(&store, &copy)
    );
    assert!(begun.elapsed() < PATIENCE, "the waiting has an end");
    let reason = unavailable(commit);
    assert!(reason.contains("did not answer"), "{reason}");
    unavailable(read);
    unavailable(asked);
    server.thaw();
    commit_in_the_end(&store, &fence, &copy, 3).await;
    assert_eq!(stored(&store, &copy).await, (r#"{"number":3}"#.to_owned(), at(3)));
    assert_eq!(ask(&store, &copy).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_is_unavailable_and_then_gone_on_with() {
    let mut server = Server::start();
    let store = connect(&config(&server.url())).await;
    let fence = granted(&store, "a").await;
    let copy = copy(&store, &fence).await;
    store.commit(&fence, &copy, note(1)).await.unwrap();
    ask(&store, &copy).await.unwrap();
    server.stop();
    unavailable(store.commit(&fence, &copy, note_after(1, 2)).await);
    unavailable(store.claim(&projection(), "b").await);
    unavailable(ask(&store, &copy).await);
    server.run();
    commit_in_the_end(&store, &fence, &copy, 3).await;
    assert_eq!(stored(&store, &copy).await, (r#"{"number":3}"#.to_owned(), at(3)));
    let ledger = store.ledger(&projection()).await.unwrap();
    assert_eq!(ledger.copies[0].folded, 2, "the commit that failed did not happen");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_are_replaced() {
    let server = Server::start();
    let store = connect(&config(&server.url())).await;
    let fence = granted(&store, "a").await;
    let copy = copy(&store, &fence).await;
    ask(&store, &copy).await.unwrap();
    let broken = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidemill'";
    assert!(!server.raw().await.query(broken, &[]).await.unwrap().is_empty());
    commit_in_the_end(&store, &fence, &copy, 1).await;
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = ask(&store, &copy).await {
        assert!(matches!(error, StoreError::Unavailable { .. }) && Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let config = config(&format!("postgresql://u:hunter2@{}/d", free_address()));
    let reason = unavailable(PostgresStore::connect(&config).await.map(|_| ()));
    assert!(reason.contains("refused") && !reason.contains("hunter2"), "{reason}");
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_unavailable_until_it_does() {
    let server = Server::start();
    let config = config(&server.url());
    let store = connect(&config).await;
    let fence = granted(&store, "a").await;
    let copy = copy(&store, &fence).await;
    let raw = server.raw().await;
    let read_only = async |on: &str| {
        let sql = format!("ALTER SYSTEM SET default_transaction_read_only = {on}");
        raw.batch_execute("SET default_transaction_read_only = off").await.unwrap();
        raw.batch_execute(&sql).await.unwrap();
        raw.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    };
    read_only("on").await;
    let deadline = Instant::now() + PATIENCE;
    let reason = loop {
        let batch = Batch { builds_on: store.positions(&copy).await.unwrap(), ..note(1) };
        match store.commit(&fence, &copy, batch).await {
            Ok(()) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(20)).await,
            answer => break unavailable(answer),
        }
    };
    assert!(reason.contains("takes no writes") && reason.contains("read_models.postgres.url"), "{reason}");
    read_only("off").await;
    commit_in_the_end(&store, &fence, &copy, 2).await;
}
