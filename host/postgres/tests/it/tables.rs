//! What is in the schema.

use tidemill_core::read_model::{CopyReader as _, ReadModelStore as _};

use crate::server::Server;
use crate::world::{commit_in_the_end, config, connect, copy, granted, note};

async fn tables(server: &Server, schema: &str) -> Vec<String> {
    let sql = "SELECT tablename::text FROM pg_tables WHERE schemaname = $1 AND tablename LIKE 'd%' ORDER BY tablename";
    server.raw().await.query(sql, &[&schema]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_copy_that_is_gone_leaves_no_table() {
    let server = Server::shared();
    let config = config(&server.url());
    let store = connect(&config).await;
    let fence = granted(&store, "a").await;
    let (first, second, third) = (copy(&store, &fence).await, copy(&store, &fence).await, copy(&store, &fence).await);
    assert_eq!(tables(server, &config.schema).await, ["d1_0", "d2_0", "d3_0"]);
    store.remove(&fence, &second).await.unwrap();
    assert_eq!(tables(server, &config.schema).await, ["d1_0", "d3_0"]);
    let fourth = copy(&store, &fence).await;
    for copy in [&first, &third, &fourth] {
        store.activate(&fence, copy).await.unwrap();
    }
    assert_eq!(tables(server, &config.schema).await, ["d3_0", "d4_0"]);
}

#[tokio::test]
async fn a_copy_that_another_host_removed_is_gone_here_too() {
    let config = config(&Server::shared().url());
    let (a, b) = (connect(&config).await, connect(&config).await);
    let fence = granted(&a, "a").await;
    let copy = copy(&a, &fence).await;
    a.commit(&fence, &copy, note(1)).await.unwrap();
    crate::world::ask(&b, &copy).await.unwrap();
    b.read(&copy, &crate::world::notes(), "note").await.unwrap().unwrap();
    a.remove(&fence, &copy).await.unwrap();
    let gone = [
        crate::world::ask(&b, &copy).await.map(drop),
        b.read(&copy, &crate::world::notes(), "note").await.map(drop),
        b.get(&copy, &crate::world::notes(), "note").await.map(drop),
        b.commit(&fence, &copy, note(2)).await,
    ];
    for answer in gone {
        assert!(matches!(answer, Err(tidemill_core::read_model::StoreError::NoCopy(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn a_document_that_keeps_its_indexed_fields_is_changed_without_touching_an_index() {
    let server = Server::shared();
    let config = config(&server.url());
    let store = connect(&config).await;
    let fence = granted(&store, "a").await;
    let copy = copy(&store, &fence).await;
    for number in 1..=20 {
        commit_in_the_end(&store, &fence, &copy, number).await;
    }
    // Sessions count what they did when they end.
    drop(store);
    let sql = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE schemaname = $1 AND relname = 'd1_0'";
    let deadline = std::time::Instant::now() + crate::world::PATIENCE;
    loop {
        let row = server.raw().await.query_one(sql, &[&config.schema]).await.unwrap();
        let (updated, within): (i64, i64) = (row.get(0), row.get(1));
        if updated == 19 {
            assert_eq!(within, 19);
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{updated} updates are counted");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
