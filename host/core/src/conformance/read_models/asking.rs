//! `get`, `read`, `find`, `query`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::table::{
    CREATED, PATIENT, STATUS, TOTAL, Table, all, before, condition, expected, index_value, order, positions, put, rows,
    written,
};
use crate::read_model::{Batch, CopyId, Direction, Fence, IndexValue, Operator, Query, StoreError, Written};
use Direction::{Ascending, Descending};

pub(super) async fn a_document_is_found_by_its_key(table: Table) {
    let (fence, copy) = table.copy().await;
    let orders = Table::orders();
    table.write(&fence, &copy, vec![order("o-1", "new", 1)]).await;
    let document = super::table::body(&json!({ "status": "new", "total": 1 }));
    assert_eq!(table.get(&copy, &orders, "o-1").await, Some(document.clone()));
    assert_eq!(table.store.read(&copy, &orders, "o-1").await.unwrap(), Some(document));
    for other in ["o-2", "O-1", "o-1 ", "o"] {
        assert_eq!(table.get(&copy, &orders, other).await, None, "{other}");
    }
    assert_eq!(table.get(&copy, &Table::notes(), "o-1").await, None);
}

pub(super) async fn a_find_answers_in_the_order_of_the_keys(table: Table) {
    let (fence, copy) = table.copy().await;
    let writes = ["d", "a", "c", "b"].map(|key| order(key, "new", 1)).into_iter().chain([order("x", "paid", 1)]);
    table.write(&fence, &copy, writes.collect()).await;
    let find = async |value: Value, after: Option<&str>, limit: usize| {
        let found = table.store.find(&copy, &Table::orders(), STATUS, &index_value(value), after, limit).await.unwrap();
        found.into_iter().map(|document| document.key).collect::<Vec<_>>()
    };
    assert_eq!(find(json!("new"), None, 10).await, ["a", "b", "c", "d"]);
    assert_eq!(find(json!("new"), None, 3).await, ["a", "b", "c"]);
    assert_eq!(find(json!("new"), Some("b"), 10).await, ["c", "d"]);
    assert_eq!(find(json!("new"), Some("bb"), 1).await, ["c"]);
    assert_eq!(find(json!("new"), Some("d"), 1).await, Vec::<String>::new());
    assert_eq!(find(json!("gone"), None, 1).await, Vec::<String>::new());
    assert_eq!(table.find(&copy, TOTAL, json!(1.0)).await, ["a", "b", "c", "d", "x"]);
}

pub(super) async fn an_update_moves_a_document_in_every_index(table: Table) {
    let (fence, copy) = table.copy().await;
    let document =
        |status: &str, created: u64| put(&Table::orders(), "o-1", json!({ "status": status, "created": created }));
    table.write(&fence, &copy, vec![document("new", 1)]).await;
    table.write(&fence, &copy, vec![document("new", 5)]).await;
    let newest = Query { sort: vec![STATUS, CREATED], ..all() };
    assert_eq!(table.ask(&copy, &newest).await.documents[0].1, [index_value("new".into()), index_value(5.into())]);
    table.write(&fence, &copy, vec![document("paid", 5)]).await;
    assert_eq!(table.find(&copy, STATUS, "new".into()).await, Vec::<String>::new());
    assert_eq!(table.find(&copy, STATUS, "paid".into()).await, ["o-1"]);
    assert_eq!(table.find(&copy, CREATED, 5.into()).await, ["o-1"]);
    assert_eq!(table.find(&copy, CREATED, 1.into()).await, Vec::<String>::new());
    table.write(&fence, &copy, vec![put(&Table::orders(), "o-1", json!({}))]).await;
    assert_eq!(table.find(&copy, STATUS, "paid".into()).await, Vec::<String>::new());
    assert_eq!(table.keys(&copy, &newest).await, ["o-1"]);
}

pub(super) async fn each_operator_compares_bytes(table: Table) {
    let (fence, copy) = table.copy().await;
    let documents = mixed(&table, &fence, &copy).await;
    let seven = || index_value(7.into());
    let operators = [
        Operator::In(vec![seven()]),
        Operator::In(vec![seven(), index_value("a".into()), IndexValue::missing(), seven()]),
        Operator::Not(seven()),
        Operator::Not(IndexValue::missing()),
        Operator::Above(seven()),
        Operator::AtLeast(seven()),
        Operator::Below(seven()),
        Operator::AtMost(seven()),
    ];
    for operator in operators {
        for sort in [vec![], vec![STATUS], vec![TOTAL]] {
            let conditions = vec![condition(TOTAL, operator.clone())];
            let query = Query { conditions, sort, ..all() };
            assert_eq!(rows(table.ask(&copy, &query).await), expected(documents.iter(), &query), "{query:?}");
        }
    }
    let between =
        vec![condition(TOTAL, Operator::AtLeast(index_value((-3).into()))), condition(TOTAL, Operator::Below(seven()))];
    let query = Query { conditions: between, sort: vec![TOTAL], ..all() };
    let found = rows(table.ask(&copy, &query).await);
    assert_eq!(found, expected(documents.iter(), &query));
    assert!(!found.is_empty());
}

pub(super) async fn mixed_types_have_one_order(table: Table) {
    let (fence, copy) = table.copy().await;
    let documents = mixed(&table, &fence, &copy).await;
    for direction in [Ascending, Descending] {
        let query = Query { sort: vec![TOTAL], direction, ..all() };
        let found = rows(table.ask(&copy, &query).await);
        assert_eq!(found.len(), documents.len());
        assert_eq!(found, expected(documents.iter(), &query));
    }
}

pub(super) async fn pages_meet_each_document_once_however_many_are_alike(table: Table) {
    let (fence, copy) = table.copy().await;
    let document = |number: usize| json!({ "status": number % 2, "total": number % 3, "created": number % 5 / 2 });
    let documents: BTreeMap<String, Written> =
        (0..60).map(|number| (format!("{number:02}"), written(&Table::orders(), document(number)))).collect();
    let writes = (0..60).map(|number| put(&Table::orders(), &format!("{number:02}"), document(number)));
    table.write(&fence, &copy, writes.collect()).await;
    for sort in [vec![], vec![TOTAL], vec![STATUS, CREATED], vec![CREATED, STATUS, TOTAL], vec![TOTAL, TOTAL]] {
        for direction in [Ascending, Descending] {
            for limit in [1, 7, 60] {
                let mut query = Query { sort: sort.clone(), direction, limit, ..Query::default() };
                let mut met = Vec::new();
                loop {
                    let page = rows(table.ask(&copy, &query).await);
                    assert!(page.len() <= limit);
                    let Some((key, _, values)) = page.last() else { break };
                    query.after = Some((values.clone(), key.clone()));
                    met.extend(page);
                }
                let whole = Query { sort: sort.clone(), direction, limit: 60, ..Query::default() };
                assert_eq!(met, expected(documents.iter(), &whole), "{whole:?} in pages of {limit}");
            }
        }
    }
}

pub(super) async fn an_answer_and_its_positions_are_of_one_moment(table: Table) {
    let (fence, copy) = table.copy().await;
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (table, copy, done) = (table.clone(), copy.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            for number in 1..=150 {
                let writes = vec![order("a", "new", number), order("b", "new", number)];
                let (builds_on, positions) = (before(number), positions(&[("S", number)]));
                let batch = Batch { writes, builds_on, positions, ..Batch::default() };
                table.store.commit(&fence, &copy, batch).await.unwrap();
            }
            done.store(true, Ordering::Release);
        })
    };
    let mut moments = std::collections::BTreeSet::new();
    while !done.load(Ordering::Acquire) {
        // A store that answers at once would never let the writer run.
        tokio::task::yield_now().await;
        let found = table.ask(&copy, &Query { sort: vec![TOTAL], ..all() }).await;
        let (document, at) = table.store.get(&copy, &Table::orders(), "a").await.unwrap();
        let Some(stands) = found.positions.values().next() else { continue };
        let total = index_value((*stands).into());
        assert!(found.documents.iter().all(|(_, values)| values[0] == total), "{found:?}");
        let stands = at.values().next().unwrap();
        assert_eq!(document.unwrap(), super::table::body(&json!({ "status": "new", "total": stands })));
        moments.insert(*stands);
    }
    writer.await.unwrap();
    assert!(!moments.is_empty());
}

pub(super) async fn a_query_that_takes_too_long_is_given_up(table: Table) {
    let (fence, copy) = table.copy().await;
    for tenth in 0..10 {
        let writes = (0..3000).map(|number| order(&format!("{tenth}-{number}"), &format!("s{}", number % 7), number));
        table.write(&fence, &copy, writes.collect()).await;
    }
    // No index is in this order, so all documents are looked at.
    let query = Query { sort: vec![TOTAL, CREATED, STATUS], limit: 10, ..Query::default() };
    let little = Duration::from_millis(1);
    let answer = table.store.query(&copy, &Table::orders(), &query, little).await;
    assert!(matches!(answer, Err(StoreError::TooSlow(after)) if after == little), "{answer:?}");
    assert_eq!(table.keys(&copy, &query).await.len(), 10, "with more time it is answered");
    table.write(&fence, &copy, vec![order("later", "new", 1)]).await;
}

pub(super) async fn a_query_that_does_not_fit_is_refused(table: Table) {
    let (_, copy) = table.copy().await;
    let misfits = [
        Query { sort: vec![3], ..all() },
        Query { conditions: vec![condition(9, Operator::Not(IndexValue::missing()))], ..all() },
        Query { sort: vec![TOTAL], after: Some((vec![], "a".to_owned())), ..all() },
    ];
    for query in misfits {
        let answer = table.store.query(&copy, &Table::orders(), &query, PATIENT).await;
        assert!(matches!(answer, Err(StoreError::Refused(_))), "{query:?}: {answer:?}");
    }
}

/// Orders whose totals are of every type.
async fn mixed(table: &Table, fence: &Fence, copy: &CopyId) -> BTreeMap<String, Written> {
    let totals = [
        json!({}),
        json!({ "total": null }),
        json!({ "total": false }),
        json!({ "total": true }),
        json!({ "total": -3 }),
        json!({ "total": -2.5 }),
        json!({ "total": 0 }),
        json!({ "total": 7 }),
        json!({ "total": 7.0, "status": "float" }),
        json!({ "total": 10 }),
        json!({ "total": 1e300 }),
        json!({ "total": "" }),
        json!({ "total": "10" }),
        json!({ "total": "7" }),
        json!({ "total": "Z" }),
        json!({ "total": "a" }),
        json!({ "total": "ä" }),
        json!({ "total": [1] }),
        json!({ "total": { "a": 1 } }),
    ];
    let orders = Table::orders();
    // Keys that are in no order with the totals.
    let key = |place: usize| format!("{:02}", place * 7 % 19);
    let writes = totals.iter().enumerate().map(|(place, total)| put(&orders, &key(place), total.clone()));
    table.write(fence, copy, writes.collect()).await;
    totals.iter().enumerate().map(|(place, total)| (key(place), written(&orders, total.clone()))).collect()
}
