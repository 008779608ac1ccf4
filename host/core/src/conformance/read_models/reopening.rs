//! What a store holds after it was dropped and opened again.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::json;

use super::table::{CREATED, STATUS, Table, all, body, delete, order, positions};
use crate::read_model::{Batch, CopyState, Query, ReadModelStore, StoreError};

pub(super) async fn everything_committed_is_there_again<F>(open: F)
where
    F: Fn() -> BoxFuture<'static, Arc<dyn ReadModelStore>>,
{
    let table = Table::new(open().await);
    let (fence, first) = table.copy().await;
    table.store.activate(&fence, &first).await.unwrap();
    let second = table.create(&fence).await;
    let batch = Batch {
        writes: vec![order("o-1", "new", 1), order("o-2", "paid", 2), order("o-3", "new", 3)],
        builds_on: positions(&[]),
        positions: positions(&[("ORDERS", 17), ("LEGACY", 2)]),
        folded: 18,
        dead_lettered: 1,
    };
    table.store.commit(&fence, &second, batch).await.unwrap();
    table.write(&fence, &second, vec![order("o-1", "paid", 1), delete(&Table::orders(), "o-3")]).await;
    table.store.activate(&fence, &second).await.unwrap();
    let third = table.create(&fence).await;
    let removed = table.create(&fence).await;
    table.store.remove(&fence, &removed).await.unwrap();
    table.store.set_paused(&fence, true).await.unwrap();
    let before = table.ledger().await;
    table.store.release(&fence).await.unwrap();
    // The store lives until its last holder lets go.
    let Table { store, projection } = table;
    drop(store);

    let table = Table { projection, store: open().await };
    let after = table.ledger().await;
    assert_eq!(after.copies, before.copies);
    assert_eq!((after.paused, after.holder), (true, None));
    let states: Vec<_> = after.copies.iter().map(|copy| copy.state).collect();
    assert_eq!(states, [CopyState::Previous, CopyState::Active, CopyState::Building]);
    assert_eq!(after.copies[1].positions, positions(&[("ORDERS", 17), ("LEGACY", 2)]));

    assert_eq!(table.keys(&second, &Query { sort: vec![STATUS, CREATED], ..all() }).await, ["o-1", "o-2"]);
    assert_eq!(table.find(&second, STATUS, "new".into()).await, Vec::<String>::new());
    let stored = table.store.read(&second, &Table::orders(), "o-1").await.unwrap().unwrap();
    assert_eq!(stored, body(&json!({ "status": "paid", "total": 1 })));

    let nothing = || Batch { builds_on: after.copies[1].positions.clone(), ..Batch::default() };
    let old = table.store.commit(&fence, &second, nothing()).await;
    let later = table.claim("b").await;
    assert!(later.epoch > fence.epoch, "epochs go on where they were");
    assert!(matches!(old, Ok(()) | Err(StoreError::Fenced(_))), "{old:?}");
    let old = table.store.commit(&fence, &second, nothing()).await;
    assert!(matches!(old, Err(StoreError::Fenced(_))), "{old:?}");
    assert!(table.create(&later).await.number > removed.number, "so do numbers");
    table.write(&later, &third, vec![order("o-9", "new", 9)]).await;
}
