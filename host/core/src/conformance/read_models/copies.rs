//! `create`, `activate`, `remove`.

use std::time::{Duration, SystemTime};

use super::table::{PATIENT, Table, all, index_value, order, positions};
use crate::conformance::bench::same_millisecond;
use crate::read_model::{Batch, CopyId, CopyState, NewCopy, StoreError};
use CopyState::{Active, Building, Previous};

pub(super) async fn a_new_copy_is_empty_and_begins_where_it_was_told(table: Table) {
    let fence = table.claim("a").await;
    let begins = positions(&[("ORDERS", 41), ("LEGACY", 0)]);
    let new =
        NewCopy { digest: "sha256:cafe".to_owned(), collections: Table::collections(), positions: begins.clone() };
    let id = table.store.create(&fence, new).await.unwrap();
    assert_eq!(id.projection, table.projection);

    let ledger = table.ledger().await;
    let copy = ledger.building().unwrap();
    assert_eq!((copy.id.clone(), copy.digest.as_str()), (id.clone(), "sha256:cafe"));
    assert_eq!((copy.positions.clone(), copy.folded, copy.dead_lettered), (begins.clone(), 0, 0));
    assert_eq!(copy.shape, NewCopy::shape(&Table::collections()));
    assert!(same_millisecond(copy.created, copy.changed));
    let age = SystemTime::now().duration_since(copy.created).unwrap_or_default();
    assert!(age < Duration::from_secs(300), "made {age:?} ago");
    assert_eq!(table.store.positions(&id).await.unwrap(), begins);
    assert_eq!(table.keys(&id, &all()).await, Vec::<String>::new());
}

pub(super) async fn a_number_is_never_given_again(table: Table) {
    let (fence, first) = table.copy().await;
    table.store.remove(&fence, &first).await.unwrap();
    let second = table.create(&fence).await;
    assert!(second.number > first.number, "{second} after {first}");
    let third = table.create(&fence).await;
    assert!(third.number > second.number, "{third} after {second}");
}

pub(super) async fn activating_keeps_the_copy_before_and_no_other(table: Table) {
    let (fence, first) = table.copy().await;
    table.store.activate(&fence, &first).await.unwrap();
    assert_eq!(states(&table).await, [(first.number, Active)]);
    let second = table.create(&fence).await;
    let third = table.create(&fence).await;
    table.store.activate(&fence, &second).await.unwrap();
    assert_eq!(states(&table).await, [(first.number, Previous), (second.number, Active), (third.number, Building)]);
    table.store.activate(&fence, &third).await.unwrap();
    assert_eq!(states(&table).await, [(second.number, Previous), (third.number, Active)]);
    let gone = table.store.positions(&first).await;
    assert!(matches!(&gone, Err(StoreError::NoCopy(id)) if *id == first), "{gone:?}");
}

pub(super) async fn activating_the_previous_copy_switches_back(table: Table) {
    let (fence, first) = table.copy().await;
    table.write(&fence, &first, vec![order("o-1", "of the first", 1)]).await;
    table.store.activate(&fence, &first).await.unwrap();
    let second = table.create(&fence).await;
    table.store.activate(&fence, &second).await.unwrap();
    let switched = table.ledger().await.active().unwrap().changed;
    table.store.activate(&fence, &first).await.unwrap();
    assert_eq!(states(&table).await, [(first.number, Active), (second.number, Previous)]);
    assert_eq!(table.keys(&first, &all()).await, ["o-1"]);
    assert!(table.ledger().await.active().unwrap().changed >= switched);
}

pub(super) async fn activating_twice_changes_nothing(table: Table) {
    let (fence, first) = table.copy().await;
    table.store.activate(&fence, &first).await.unwrap();
    let second = table.create(&fence).await;
    table.store.activate(&fence, &second).await.unwrap();
    let before = table.ledger().await;
    table.store.activate(&fence, &second).await.unwrap();
    assert_eq!(table.ledger().await, before);
}

pub(super) async fn an_active_copy_is_not_removed(table: Table) {
    let (fence, copy) = table.copy().await;
    table.store.activate(&fence, &copy).await.unwrap();
    let answer = table.store.remove(&fence, &copy).await;
    assert!(matches!(answer, Err(StoreError::Refused(_))), "{answer:?}");
    assert_eq!(states(&table).await, [(copy.number, Active)]);
}

pub(super) async fn a_removed_copy_is_gone_for_every_question(table: Table) {
    let (fence, copy) = table.copy().await;
    table.write(&fence, &copy, vec![order("o-1", "new", 1)]).await;
    // Once asked, so that whatever a store keeps of a copy is kept.
    table.store.read(&copy, &Table::orders(), "o-1").await.unwrap().unwrap();
    table.keys(&copy, &all()).await;
    table.store.remove(&fence, &copy).await.unwrap();
    table.store.remove(&fence, &copy).await.unwrap();

    let (store, orders) = (&table.store, Table::orders());
    gone(store.positions(&copy).await, &copy);
    gone(store.get(&copy, &orders, "o-1").await, &copy);
    gone(store.read(&copy, &orders, "o-1").await, &copy);
    gone(store.find(&copy, &orders, 0, &index_value("new".into()), None, 1).await, &copy);
    gone(store.query(&copy, &orders, &all(), PATIENT).await, &copy);
    gone(store.commit(&fence, &copy, Batch::default()).await, &copy);
    gone(store.activate(&fence, &copy).await, &copy);
    assert_eq!(table.ledger().await.copies, []);
    let never = CopyId { number: 4711, ..copy };
    gone(store.positions(&never).await, &never);
}

pub(super) async fn copies_do_not_share_documents(table: Table) {
    let (fence, first) = table.copy().await;
    let second = table.create(&fence).await;
    table.write(&fence, &first, vec![order("o-1", "first", 1), order("o-2", "first", 2)]).await;
    table.write(&fence, &second, vec![order("o-1", "second", 1)]).await;
    assert_eq!(table.find(&first, 0, "first".into()).await, ["o-1", "o-2"]);
    assert_eq!(table.find(&second, 0, "first".into()).await, Vec::<String>::new());
    table.store.activate(&fence, &second).await.unwrap();
    table.store.remove(&fence, &first).await.unwrap();
    assert_eq!(table.keys(&second, &all()).await, ["o-1"]);
}

async fn states(table: &Table) -> Vec<(u64, CopyState)> {
    table.ledger().await.copies.iter().map(|copy| (copy.id.number, copy.state)).collect()
}

fn gone<T: std::fmt::Debug>(answer: Result<T, StoreError>, copy: &CopyId) {
    assert!(matches!(&answer, Err(StoreError::NoCopy(id)) if id == copy), "{answer:?}");
}
