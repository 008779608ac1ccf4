//! A small world: one projection with one collection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_core::config::{PostgresConfig, Secret};
use tidemill_core::name::{CollectionName, ProjectionName, StreamName};
use tidemill_core::read_model::{
    Batch, Claim, Collection, CopyId, DocumentWrite, Fence, NewCopy, Positions, Query, ReadModelStore, StoreError,
    Written,
};
use tidemill_postgres::PostgresStore;

/// Short enough to be sat out.
pub(crate) const LEASE: Duration = Duration::from_secs(1);

/// Far more than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn config(url: &str) -> PostgresConfig {
    config_in(url, &new_schema())
}

pub(crate) fn config_in(url: &str, schema: &str) -> PostgresConfig {
    PostgresConfig { url: Secret::new(url.to_owned()), schema: schema.to_owned(), lease: LEASE }
}

pub(crate) fn new_schema() -> String {
    format!("t{:016x}", fastrand::u64(..))
}

pub(crate) async fn connect(config: &PostgresConfig) -> Arc<PostgresStore> {
    PostgresStore::connect(config).await.unwrap()
}

pub(crate) fn projection() -> ProjectionName {
    ProjectionName::try_new("orders").unwrap()
}

pub(crate) fn notes() -> Collection {
    Collection::new(CollectionName::try_new("notes").unwrap(), Vec::new())
}

pub(crate) async fn granted(store: &PostgresStore, holder: &str) -> Fence {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match store.claim(&projection(), holder).await.unwrap() {
            Claim::Granted(fence) => return fence,
            Claim::Held { .. } => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        assert!(Instant::now() < deadline, "the claim was not granted");
    }
}

pub(crate) async fn copy(store: &PostgresStore, fence: &Fence) -> CopyId {
    let new = NewCopy { digest: "d".to_owned(), collections: [notes()].into(), positions: Positions::new() };
    store.create(fence, new).await.unwrap()
}

/// A note, and its number as the position. The first one of its copy.
pub(crate) fn note(number: u64) -> Batch {
    let document = Some(Written { body: format!(r#"{{"number":{number}}}"#).into(), index_values: [].into() });
    let writes = vec![DocumentWrite { collection: notes().name, key: "note".to_owned(), document }];
    Batch { writes, positions: at(number), folded: 1, ..Batch::default() }
}

/// A note after that of another number.
pub(crate) fn note_after(before: u64, number: u64) -> Batch {
    Batch { builds_on: at(before), ..note(number) }
}

pub(crate) fn at(number: u64) -> Positions {
    [(StreamName::try_new("S").unwrap(), number)].into()
}

/// The note's text and the copy's position.
pub(crate) async fn stored(store: &PostgresStore, copy: &CopyId) -> (String, Positions) {
    let (body, positions) = store.get(copy, &notes(), "note").await.unwrap();
    (body.map(|body| String::from_utf8(body.to_vec()).unwrap()).unwrap_or_default(), positions)
}

pub(crate) async fn ask(store: &PostgresStore, copy: &CopyId) -> Result<usize, StoreError> {
    let query = Query { limit: 10, ..Query::default() };
    store.query(copy, &notes(), &query, Duration::from_secs(10)).await.map(|found| found.documents.len())
}

pub(crate) fn unavailable<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(StoreError::Unavailable { store: "postgres", reason }) => reason,
        other => panic!("expected an unavailable store, found {other:?}"),
    }
}

/// Commits again until the store is there again, as the fold does.
pub(crate) async fn commit_in_the_end(store: &PostgresStore, fence: &Fence, copy: &CopyId, number: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let committed = match store.positions(copy).await {
            Ok(builds_on) => store.commit(fence, copy, Batch { builds_on, ..note(number) }).await,
            Err(error) => Err(error),
        };
        match committed {
            Ok(()) => return,
            Err(StoreError::Unavailable { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}
