//! What no waiting would change, said in a sentence.

use tidemill_core::read_model::StoreError;
use tidemill_postgres::PostgresStore;

use crate::server::Server;
use crate::world::{config, config_in, connect, new_schema};

async fn refused(config: &tidemill_core::config::PostgresConfig) -> String {
    match PostgresStore::connect(config).await.map(|_| ()) {
        Err(StoreError::Refused(reason)) => reason,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_refused() {
    let reason = refused(&config(&Server::shared().url_of("missing"))).await;
    assert!(reason.contains("\"missing\"") && reason.contains("read_models.postgres.url"), "{reason}");
}

#[tokio::test]
async fn a_database_in_another_encoding_is_refused() {
    let server = Server::shared();
    let sql = "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'";
    server.raw().await.batch_execute(sql).await.unwrap();
    let reason = refused(&config(&server.url_of("latin"))).await;
    assert!(reason.contains("LATIN1") && reason.contains("UTF8"), "{reason}");
}

#[tokio::test]
async fn a_user_that_may_not_make_the_schema_is_refused_until_somebody_made_it() {
    let server = Server::shared();
    let raw = server.raw().await;
    raw.batch_execute("CREATE USER guest").await.unwrap();
    let schema = new_schema();
    let config = config_in(&server.url().replace("tidemill@", "guest@"), &schema);
    let reason = refused(&config).await;
    assert!(reason.contains("permission denied") && reason.contains("read_models.postgres.schema"), "{reason}");
    raw.batch_execute(&format!("CREATE SCHEMA \"{schema}\" AUTHORIZATION guest")).await.unwrap();
    connect(&config).await;
    connect(&config).await;
}

#[tokio::test]
async fn a_schema_of_another_version_is_refused_and_left_alone() {
    let server = Server::shared();
    let config = config(&server.url());
    connect(&config).await;
    let raw = server.raw().await;
    raw.batch_execute(&format!("UPDATE \"{}\".format SET number = 99", config.schema)).await.unwrap();
    let reason = refused(&config).await;
    assert!(reason.contains("99") && reason.contains(&config.schema), "{reason}");
}

#[tokio::test]
async fn a_schema_may_have_the_name_of_a_word() {
    connect(&config_in(&Server::shared().url(), "select")).await;
}

#[tokio::test]
async fn whoever_only_looks_makes_nothing() {
    let server = Server::shared();
    let raw = server.raw().await;
    let config = config(&server.url());
    let made = async || {
        let sql = "SELECT 1 FROM pg_namespace WHERE nspname = $1";
        !raw.query(sql, &[&config.schema]).await.unwrap().is_empty()
    };
    assert!(PostgresStore::connect_to_existing(&config).await.unwrap().is_none());
    assert!(!made().await);
    connect(&config).await;
    assert!(PostgresStore::connect_to_existing(&config).await.unwrap().is_some());
    assert!(made().await);
    raw.batch_execute(&format!("UPDATE \"{}\".format SET number = 99", config.schema)).await.unwrap();
    assert!(matches!(PostgresStore::connect_to_existing(&config).await, Err(StoreError::Refused(_))));
}
