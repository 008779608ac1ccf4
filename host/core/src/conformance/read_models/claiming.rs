//! `claim`, `renew`, `release`, `set_paused` and what they leave in the ledger.

use super::table::{Table, order, positions};
use crate::read_model::{Batch, Claim, CopyState, Fence, Ledger, NewCopy, Positions, StoreError};

pub(super) async fn a_projection_that_never_ran_has_an_empty_ledger(table: Table) {
    assert_eq!(table.ledger().await, Ledger::default());
}

pub(super) async fn a_claim_is_in_the_ledger_until_it_is_released(table: Table) {
    let fence = table.claim("host-a").await;
    assert_eq!(fence.projection, table.projection);
    assert_eq!(table.ledger().await.holder.as_deref(), Some("host-a"));
    table.store.renew(&fence).await.unwrap();
    table.store.release(&fence).await.unwrap();
    table.store.release(&fence).await.unwrap();
    assert_eq!(table.ledger().await.holder, None);
    let claim = table.store.claim(&table.projection, "host-b").await.unwrap();
    assert!(matches!(claim, Claim::Granted(_)), "nobody has it, and still: {claim:?}");
    assert_eq!(table.ledger().await.holder.as_deref(), Some("host-b"));
}

pub(super) async fn each_claim_has_a_higher_epoch(table: Table) {
    let mut before = table.claim("a").await.epoch;
    for _ in 0..3 {
        let fence = table.claim("a").await;
        assert!(fence.epoch > before, "{} after {before}", fence.epoch);
        before = fence.epoch;
    }
}

pub(super) async fn an_older_fence_changes_nothing(table: Table) {
    let (old, active) = table.copy().await;
    table.write(&old, &active, vec![order("o-1", "new", 1)]).await;
    table.store.activate(&old, &active).await.unwrap();
    let building = table.create(&old).await;
    let fence = table.claim("b").await;
    let before = table.ledger().await;

    let batch =
        Batch { writes: vec![order("o-1", "stolen", 2)], positions: positions(&[("S", 9)]), ..Batch::default() };
    refuses(table.store.commit(&old, &active, batch).await, &old);
    refuses(table.store.activate(&old, &building).await, &old);
    refuses(table.store.remove(&old, &building).await, &old);
    refuses(table.store.set_paused(&old, true).await, &old);
    refuses(table.store.renew(&old).await, &old);
    refuses(table.store.release(&old).await, &old);
    let copy = NewCopy { digest: "d".to_owned(), collections: Table::collections(), positions: Positions::new() };
    refuses(table.store.create(&old, copy).await.map(drop), &old);

    assert_eq!(table.ledger().await, before);
    let stored = table.get(&active, &Table::orders(), "o-1").await.unwrap();
    assert_eq!(stored, super::table::body(&serde_json::json!({ "status": "new", "total": 1 })));
    table.write(&fence, &active, vec![order("o-1", "sent", 3)]).await;
}

pub(super) async fn a_claim_concerns_one_projection(table: Table) {
    let neighbour = table.neighbour();
    let (fence, copy) = table.copy().await;
    let (other, _) = neighbour.copy().await;
    assert_eq!(neighbour.ledger().await.holder.as_deref(), Some("a"));
    neighbour.store.release(&other).await.unwrap();
    neighbour.claim("c").await;
    table.write(&fence, &copy, vec![order("o-1", "new", 1)]).await;
    assert_eq!(table.ledger().await.copies.len(), 1);
}

pub(super) async fn a_fence_of_another_projection_is_refused(table: Table) {
    let (_, copy) = table.copy().await;
    let (other, _) = table.neighbour().copy().await;
    let batch = Batch { writes: vec![order("o-1", "new", 1)], ..Batch::default() };
    let refused = |it: Result<(), StoreError>| assert!(matches!(it, Err(StoreError::Refused(_))), "{it:?}");
    refused(table.store.commit(&other, &copy, batch).await);
    refused(table.store.activate(&other, &copy).await);
    refused(table.store.remove(&other, &copy).await);
    assert_eq!(table.get(&copy, &Table::orders(), "o-1").await, None);
    assert_eq!(table.ledger().await.copies[0].state, CopyState::Building);
}

pub(super) async fn a_pause_is_remembered(table: Table) {
    let fence = table.claim("a").await;
    table.store.set_paused(&fence, true).await.unwrap();
    assert!(table.ledger().await.paused);
    table.store.release(&fence).await.unwrap();
    let fence = table.claim("b").await;
    assert!(table.ledger().await.paused, "a pause is of the projection, not of its holder");
    table.store.set_paused(&fence, false).await.unwrap();
    assert!(!table.ledger().await.paused);
}

fn refuses(answer: Result<(), StoreError>, fence: &Fence) {
    assert!(matches!(&answer, Err(StoreError::Fenced(name)) if *name == fence.projection), "{answer:?}");
}
