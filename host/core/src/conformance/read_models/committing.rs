//! `commit`: what becomes durable, and that it does so as a whole.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::table::{STATUS, Table, all, before, body, delete, index_value, order, positions, put};
use crate::limits::Limits;
use crate::name::CollectionName;
use crate::read_model::{
    Batch, DocumentError, DocumentWrite, FoldView, IndexValue, Operator, Query, StoreError, Written,
};

pub(super) async fn documents_positions_and_counts_come_together(table: Table) {
    let (fence, copy) = table.copy().await;
    let batch = Batch {
        writes: vec![order("o-1", "new", 10), put(&Table::notes(), "o-1", json!({ "text": "a note" }))],
        builds_on: positions(&[]),
        positions: positions(&[("ORDERS", 7), ("LEGACY", 3)]),
        folded: 5,
        dead_lettered: 2,
    };
    table.store.commit(&fence, &copy, batch).await.unwrap();
    let batch = Batch {
        writes: vec![order("o-1", "paid", 10)],
        builds_on: positions(&[("ORDERS", 7), ("LEGACY", 3)]),
        positions: positions(&[("ORDERS", 9)]),
        folded: 1,
        dead_lettered: 1,
    };
    table.store.commit(&fence, &copy, batch).await.unwrap();

    let stands = positions(&[("ORDERS", 9), ("LEGACY", 3)]);
    let (document, at) = table.store.get(&copy, &Table::orders(), "o-1").await.unwrap();
    assert_eq!(document.unwrap(), body(&json!({ "status": "paid", "total": 10 })));
    assert_eq!(at, stands);
    assert_eq!(table.get(&copy, &Table::notes(), "o-1").await.unwrap(), body(&json!({ "text": "a note" })));
    assert_eq!(table.store.positions(&copy).await.unwrap(), stands);
    assert_eq!(table.ask(&copy, &all()).await.positions, stands);
    let ledger = table.ledger().await;
    let known = ledger.building().unwrap();
    assert_eq!((known.folded, known.dead_lettered, &known.positions), (6, 3, &stands));
}

/// A store that went back, by a failover or a backup, looks like this to whoever has folded on.
pub(super) async fn a_batch_that_builds_on_another_position_changes_nothing_and_says_so(table: Table) {
    let (fence, copy) = table.copy().await;
    let stands = positions(&[("ORDERS", 7), ("LEGACY", 3)]);
    let first = Batch {
        writes: vec![order("o-1", "new", 1)],
        positions: stands.clone(),
        folded: 10,
        dead_lettered: 1,
        ..Batch::default()
    };
    table.store.commit(&fence, &copy, first).await.unwrap();
    let before = table.ledger().await;
    let next = |builds_on| Batch {
        writes: vec![order("o-1", "paid", 2), order("o-2", "new", 2)],
        builds_on,
        positions: positions(&[("ORDERS", 9)]),
        folded: 2,
        dead_lettered: 1,
    };
    for elsewhere in [
        positions(&[]),
        positions(&[("ORDERS", 7)]),
        positions(&[("ORDERS", 8), ("LEGACY", 3)]),
        positions(&[("ORDERS", 6), ("LEGACY", 3)]),
        // The batch does not go on in these streams, but may be made of what they held.
        positions(&[("ORDERS", 7), ("LEGACY", 4)]),
        positions(&[("ORDERS", 7), ("LEGACY", 3), ("OTHER", 1)]),
    ] {
        let answer = table.store.commit(&fence, &copy, next(elsewhere.clone())).await;
        let Err(StoreError::Moved { copy: moved, expected, found }) = answer else {
            panic!("{elsewhere:?}: {answer:?}")
        };
        assert_eq!((moved, expected, found), (copy.clone(), elsewhere, stands.clone()));
    }
    assert_eq!(table.ledger().await, before);
    assert_eq!(table.keys(&copy, &all()).await, ["o-1"]);
    let stored = table.get(&copy, &Table::orders(), "o-1").await.unwrap();
    assert_eq!(stored, body(&json!({ "status": "new", "total": 1 })));

    table.store.commit(&fence, &copy, next(stands)).await.unwrap();
    assert_eq!(table.keys(&copy, &all()).await, ["o-1", "o-2"]);
    assert_eq!(table.store.positions(&copy).await.unwrap(), positions(&[("ORDERS", 9), ("LEGACY", 3)]));
}

pub(super) async fn a_batch_that_does_not_fit_writes_nothing(table: Table) {
    let (fence, copy) = table.copy().await;
    let unknown = CollectionName::try_new("unknown").unwrap();
    let written = |columns: usize| Written {
        body: Bytes::from_static(b"{}"),
        index_values: (0..columns).map(|_| IndexValue::missing()).collect::<Vec<_>>().into(),
    };
    let misfits = [
        DocumentWrite { collection: unknown, key: "x".to_owned(), document: Some(written(0)) },
        DocumentWrite { collection: Table::orders().name, key: "x".to_owned(), document: Some(written(2)) },
        DocumentWrite { collection: Table::notes().name, key: "x".to_owned(), document: Some(written(1)) },
    ];
    for misfit in misfits {
        let writes = vec![order("o-1", "new", 1), misfit, order("o-2", "new", 2)];
        let batch = Batch { writes, positions: positions(&[("ORDERS", 5)]), folded: 3, ..Batch::default() };
        let answer = table.store.commit(&fence, &copy, batch).await;
        assert!(matches!(answer, Err(StoreError::Refused(_))), "{answer:?}");
    }
    assert_eq!(table.keys(&copy, &all()).await, Vec::<String>::new());
    assert_eq!(table.store.positions(&copy).await.unwrap(), positions(&[]));
    assert_eq!(table.ledger().await.copies[0].folded, 0);
    table.write(&fence, &copy, vec![order("o-1", "new", 1)]).await;
    assert_eq!(table.keys(&copy, &all()).await, ["o-1"]);
}

pub(super) async fn a_deleted_document_is_gone(table: Table) {
    let (fence, copy) = table.copy().await;
    let orders = Table::orders();
    table.write(&fence, &copy, vec![order("o-1", "new", 1), order("o-2", "new", 2)]).await;
    table.write(&fence, &copy, vec![delete(&orders, "o-1"), delete(&orders, "never there")]).await;
    assert_eq!(table.get(&copy, &orders, "o-1").await, None);
    assert_eq!(table.store.read(&copy, &orders, "o-1").await.unwrap(), None);
    assert_eq!(table.find(&copy, STATUS, "new".into()).await, ["o-2"]);
    assert_eq!(table.keys(&copy, &all()).await, ["o-2"]);
    table.write(&fence, &copy, vec![order("o-1", "again", 3)]).await;
    assert_eq!(table.find(&copy, STATUS, "again".into()).await, ["o-1"]);
}

pub(super) async fn a_large_document_comes_back_whole(table: Table) {
    let (fence, copy) = table.copy().await;
    let text: String = (0..64 * 1024).map(|number| format!("{number:08x}")).collect();
    let large = json!({ "status": "new", "text": text });
    table.write(&fence, &copy, vec![put(&Table::orders(), "o-1", large.clone()), order("o-2", "new", 1)]).await;
    assert_eq!(table.get(&copy, &Table::orders(), "o-1").await.unwrap(), body(&large));
    assert_eq!(table.store.read(&copy, &Table::orders(), "o-1").await.unwrap().unwrap(), body(&large));
    assert_eq!(table.ask(&copy, &all()).await.documents[0].0.body, body(&large));
}

pub(super) async fn a_large_batch_is_one_commit(table: Table) {
    let (fence, copy) = table.copy().await;
    let keys: Vec<String> = (0..3000).map(|number| format!("o-{number:05}")).collect();
    let half = |first: bool| keys.iter().enumerate().filter(move |(place, _)| (place % 2 == 0) == first);
    table.write(&fence, &copy, half(true).map(|(_, key)| order(key, "new", 1)).collect()).await;
    let changed = half(true).map(|(_, key)| delete(&Table::orders(), key));
    let writes = changed.chain(half(false).map(|(_, key)| order(key, "new", 2))).collect();
    table.write(&fence, &copy, writes).await;
    let found = table.keys(&copy, &Query { limit: 5000, ..all() }).await;
    assert!(found.iter().eq(half(false).map(|(_, key)| key)), "{} found", found.len());
}

pub(super) async fn every_key_and_text_is_kept_as_it_is(table: Table) {
    let (fence, copy) = table.copy().await;
    let orders = Table::orders();
    let long = "k".repeat(256);
    // In the order of their bytes: no collation puts `Z` behind `a`, or `ä` next to it.
    let keys = [
        " ",
        "\"; DROP TABLE orders; --",
        "$1",
        "%",
        "'quoted'",
        "?1",
        "A",
        "Z",
        "\\x00",
        "_",
        "a",
        &long,
        "z",
        "ä",
        "€",
        "🦀",
    ];
    assert!(keys.is_sorted());
    let text = |key: &str| format!("{key:.64}\u{0}\n'\"{key:.64}");
    let writes = keys.iter().map(|key| put(&orders, key, json!({ "status": text(key), "total": key })));
    table.write(&fence, &copy, writes.collect()).await;
    assert_eq!(table.keys(&copy, &all()).await, keys);
    let by_total = Query { sort: vec![super::table::TOTAL], ..all() };
    assert_eq!(table.keys(&copy, &by_total).await, keys);
    for key in keys {
        let document = body(&json!({ "status": text(key), "total": key }));
        assert_eq!(table.get(&copy, &orders, key).await.unwrap(), document);
        assert_eq!(table.store.read(&copy, &orders, key).await.unwrap().unwrap(), document);
        assert_eq!(table.find(&copy, STATUS, text(key).into()).await, [key]);
        let wanted = super::table::condition(STATUS, Operator::In(vec![index_value(text(key).into())]));
        assert_eq!(table.keys(&copy, &Query { conditions: vec![wanted], ..all() }).await, [key]);
    }
    table.write(&fence, &copy, keys.iter().map(|key| delete(&orders, key)).collect()).await;
    assert_eq!(table.keys(&copy, &all()).await, Vec::<String>::new());
}

pub(super) async fn a_key_with_control_characters_reaches_no_store(table: Table) {
    let (_, copy) = table.copy().await;
    let view = FoldView::new(Arc::clone(&table.store) as _, copy, Table::collections());
    let mut session = view.session();
    for key in ["", "\0", "a\0b", "line\nbreak", &"k".repeat(257)] {
        let answer = session.put("orders", key, Bytes::from_static(b"{}"), &Limits::default());
        assert!(matches!(answer, Err(DocumentError::BadKey(_))), "{key:?}: {answer:?}");
        let answer = session.get("orders", key).await;
        assert!(matches!(answer, Err(DocumentError::BadKey(_))), "{key:?}: {answer:?}");
    }
    assert_eq!(session.get("orders", "o-1").await, Ok(None));
}

pub(super) async fn commits_to_two_copies_at_once_both_happen(table: Table) {
    let (fence, first) = table.copy().await;
    let second = table.create(&fence).await;
    let commit = |copy| {
        let (table, fence) = (table.clone(), fence.clone());
        tokio::spawn(async move {
            for number in 1..=20 {
                let writes = vec![order("last", "new", number), order(&format!("o-{number}"), "new", number)];
                let (builds_on, positions) = (before(number), positions(&[("S", number)]));
                let batch = Batch { writes, builds_on, positions, folded: 1, dead_lettered: 0 };
                table.store.commit(&fence, &copy, batch).await.unwrap();
            }
        })
    };
    let (one, other) = (commit(first.clone()), commit(second.clone()));
    one.await.unwrap();
    other.await.unwrap();
    for copy in [first, second] {
        assert_eq!(table.keys(&copy, &all()).await.len(), 21);
        assert_eq!(table.store.positions(&copy).await.unwrap(), positions(&[("S", 20)]));
    }
    assert_eq!(table.ledger().await.copies.iter().map(|copy| copy.folded).collect::<Vec<_>>(), [20, 20]);
}
