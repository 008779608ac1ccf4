//! What the cases share: a projection of their own, documents from JSON, and the plain answer to a question.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::conformance::bench::SOON;
use crate::name::{CollectionName, ProjectionName, StreamName};
use crate::read_model::{
    Batch, Claim, Collection, Collections, Condition, CopyId, Direction, DocumentWrite, Fence, FieldPath, Found, Index,
    IndexValue, Ledger, NewCopy, Operator, Positions, Query, ReadModelStore, Written,
};

/// Far more than a question of these cases takes.
pub(super) const PATIENT: Duration = Duration::from_secs(30);

/// The columns of [`Table::orders`].
pub(super) const STATUS: usize = 0;
pub(super) const TOTAL: usize = 1;
pub(super) const CREATED: usize = 2;

/// A store and a projection that no other case has.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) store: Arc<dyn ReadModelStore>,
    pub(super) projection: ProjectionName,
}

// === impl Table ===

impl Table {
    pub(super) fn new(store: Arc<dyn ReadModelStore>) -> Self {
        Self { store, projection: ProjectionName::try_new(&format!("c{}", Uuid::now_v7().simple())).unwrap() }
    }

    /// Another projection on the same store.
    pub(super) fn neighbour(&self) -> Self {
        Self::new(Arc::clone(&self.store))
    }

    /// Found by status, by total, and by status and creation together.
    pub(super) fn orders() -> Collection {
        collection("orders", &[&["status"], &["total"], &["status", "created"]])
    }

    /// Found by key alone.
    pub(super) fn notes() -> Collection {
        collection("notes", &[])
    }

    pub(super) fn collections() -> Collections {
        [Self::orders(), Self::notes()].into()
    }

    /// Claims the projection, waiting until whoever has it may be replaced.
    pub(super) async fn claim(&self, holder: &str) -> Fence {
        let deadline = Instant::now() + SOON;
        loop {
            match self.store.claim(&self.projection, holder).await.unwrap() {
                Claim::Granted(fence) => return fence,
                Claim::Held { for_at_least, .. } => {
                    assert!(Instant::now() < deadline, "a silent holder was not replaced");
                    sleep(for_at_least.clamp(Duration::from_millis(20), Duration::from_secs(1))).await;
                }
            }
        }
    }

    pub(super) async fn create(&self, fence: &Fence) -> CopyId {
        let copy =
            NewCopy { digest: "sha256:aa".to_owned(), collections: Self::collections(), positions: Positions::new() };
        self.store.create(fence, copy).await.unwrap()
    }

    /// A claimed projection with one empty copy.
    pub(super) async fn copy(&self) -> (Fence, CopyId) {
        let fence = self.claim("a").await;
        let copy = self.create(&fence).await;
        (fence, copy)
    }

    /// Writes documents; the copy stays where it stands.
    pub(super) async fn write(&self, fence: &Fence, copy: &CopyId, writes: Vec<DocumentWrite>) {
        let builds_on = self.store.positions(copy).await.unwrap();
        self.store.commit(fence, copy, Batch { writes, builds_on, ..Batch::default() }).await.unwrap();
    }

    pub(super) async fn ledger(&self) -> Ledger {
        self.store.ledger(&self.projection).await.unwrap()
    }

    pub(super) async fn get(&self, copy: &CopyId, collection: &Collection, key: &str) -> Option<Bytes> {
        self.store.get(copy, collection, key).await.unwrap().0
    }

    pub(super) async fn ask(&self, copy: &CopyId, query: &Query) -> Found {
        self.store.query(copy, &Self::orders(), query, PATIENT).await.unwrap()
    }

    /// The keys of the answer, in its order.
    pub(super) async fn keys(&self, copy: &CopyId, query: &Query) -> Vec<String> {
        self.ask(copy, query).await.documents.into_iter().map(|(document, _)| document.key).collect()
    }

    pub(super) async fn find(&self, copy: &CopyId, column: usize, value: Value) -> Vec<String> {
        let found = self.store.find(copy, &Self::orders(), column, &index_value(value), None, 1000).await.unwrap();
        found.into_iter().map(|document| document.key).collect()
    }
}

fn collection(name: &str, indexes: &[&[&str]]) -> Collection {
    let fields = |names: &&[&str]| Index { fields: names.iter().map(|it| FieldPath::try_new(it).unwrap()).collect() };
    Collection::new(CollectionName::try_new(name).unwrap(), indexes.iter().map(fields).collect())
}

pub(super) fn put(collection: &Collection, key: &str, document: Value) -> DocumentWrite {
    DocumentWrite {
        collection: collection.name.clone(),
        key: key.to_owned(),
        document: Some(written(collection, document)),
    }
}

pub(super) fn delete(collection: &Collection, key: &str) -> DocumentWrite {
    DocumentWrite { collection: collection.name.clone(), key: key.to_owned(), document: None }
}

pub(super) fn order(key: &str, status: &str, total: u64) -> DocumentWrite {
    put(&Table::orders(), key, json!({ "status": status, "total": total }))
}

pub(super) fn written(collection: &Collection, document: Value) -> Written {
    let index_values = collection.index_values(document.as_object().unwrap()).unwrap().into();
    Written { body: body(&document), index_values }
}

pub(super) fn body(document: &Value) -> Bytes {
    serde_json::to_vec(document).unwrap().into()
}

pub(super) fn index_value(value: Value) -> IndexValue {
    IndexValue::of(Some(&value)).unwrap()
}

pub(super) fn positions(of: &[(&str, u64)]) -> Positions {
    of.iter().map(|(stream, sequence)| (StreamName::try_new(stream).unwrap(), *sequence)).collect()
}

/// Where a copy stands before the batch of this number, of which each goes on by one.
pub(super) fn before(number: u64) -> Positions {
    if number > 1 { positions(&[("S", number - 1)]) } else { Positions::new() }
}

/// A question that finds everything, by key.
pub(super) fn all() -> Query {
    Query { limit: 1000, ..Query::default() }
}

pub(super) fn condition(column: usize, operator: Operator) -> Condition {
    Condition { column, operator }
}

/// The answer, computed without an index and without SQL.
pub(super) fn expected<'d>(
    documents: impl Iterator<Item = (&'d String, &'d Written)>,
    query: &Query,
) -> Vec<(String, Bytes, Vec<IndexValue>)> {
    let place = |written: &Written| -> Vec<IndexValue> {
        query.sort.iter().map(|column| written.index_values[*column].clone()).collect()
    };
    let wanted = documents.filter(|(_, it)| query.conditions.iter().all(|condition| condition.holds(&it.index_values)));
    let mut rows: Vec<_> = wanted.map(|(key, it)| (place(it), key.clone(), it.body.clone())).collect();
    rows.sort();
    if query.direction == Direction::Descending {
        rows.reverse();
    }
    let is_later = |values: &Vec<IndexValue>, key: &String| match (&query.after, query.direction) {
        (None, _) => true,
        (Some((after, last)), Direction::Ascending) => (values, key) > (after, last),
        (Some((after, last)), Direction::Descending) => (values, key) < (after, last),
    };
    rows.retain(|(values, key, _)| is_later(values, key));
    rows.truncate(query.limit);
    rows.into_iter().map(|(values, key, body)| (key, body, values)).collect()
}

/// An answer in the form of [`expected`].
pub(super) fn rows(found: Found) -> Vec<(String, Bytes, Vec<IndexValue>)> {
    found.documents.into_iter().map(|(document, values)| (document.key, document.body, values)).collect()
}
