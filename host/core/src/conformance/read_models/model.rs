//! Random batches and questions beside a plain map.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::table::{Table, before, condition, expected, index_value, positions, rows, written};
use crate::read_model::{Batch, Collection, Direction, Document, DocumentWrite, IndexValue, Operator, Query, Written};

const ROUNDS: u64 = 40;
const QUESTIONS: usize = 8;

type Model = BTreeMap<String, Written>;

pub(super) async fn random_batches_and_queries_agree_with_a_map(table: Table) {
    let seed = fastrand::u64(..);
    let mut rng = Rng::with_seed(seed);
    let (fence, copy) = table.copy().await;
    let orders = Table::orders();
    let mut model = Model::new();
    for round in 1..=ROUNDS {
        let writes = random_batch(&mut rng, &orders);
        for write in &writes {
            match &write.document {
                Some(document) => model.insert(write.key.clone(), document.clone()),
                None => model.remove(&write.key),
            };
        }
        let (builds_on, reached) = (before(round), positions(&[("S", round)]));
        let batch = Batch { writes, builds_on, positions: reached, folded: 1, dead_lettered: 0 };
        table.store.commit(&fence, &copy, batch).await.unwrap();
        for _ in 0..QUESTIONS {
            let query = random_query(&mut rng, &model);
            let found = table.ask(&copy, &query).await;
            assert_eq!(found.positions, positions(&[("S", round)]));
            assert_eq!(rows(found), expected(model.iter(), &query), "seed {seed}, round {round}: {query:?}");
        }
        let key = random_key(&mut rng);
        let stored = table.store.read(&copy, &orders, &key).await.unwrap();
        assert_eq!(stored, model.get(&key).map(|it| it.body.clone()), "seed {seed}, round {round}: {key:?}");
        let (column, value, limit) = (rng.usize(..3), random_value(&mut rng), rng.usize(1..8));
        let after = rng.bool().then(|| random_key(&mut rng));
        let found = table.store.find(&copy, &orders, column, &value, after.as_deref(), limit).await.unwrap();
        let wanted = find(&model, column, &value, after.as_deref(), limit);
        assert_eq!(found, wanted, "seed {seed}, round {round}: column {column}, {value:?}, after {after:?}");
    }
}

fn find(model: &Model, column: usize, value: &IndexValue, after: Option<&str>, limit: usize) -> Vec<Document> {
    model
        .iter()
        .filter(|(key, it)| it.index_values[column] == *value && after.is_none_or(|after| key.as_str() > after))
        .take(limit)
        .map(|(key, it)| Document { key: key.clone(), body: it.body.clone() })
        .collect()
}

fn random_batch(rng: &mut Rng, orders: &Collection) -> Vec<DocumentWrite> {
    let mut writes = BTreeMap::new();
    for number in 0..rng.usize(1..30) {
        let document = (rng.usize(..4) > 0).then(|| written(orders, random_document(rng, number)));
        writes.insert(random_key(rng), document);
    }
    let write = |(key, document)| DocumentWrite { collection: orders.name.clone(), key, document };
    writes.into_iter().map(write).collect()
}

fn random_document(rng: &mut Rng, number: usize) -> Value {
    let mut document = Map::new();
    document.insert("number".to_owned(), number.into());
    for field in ["status", "total", "created"] {
        if let Some(value) = random_json(rng) {
            document.insert(field.to_owned(), value);
        }
    }
    document.into()
}

fn random_query(rng: &mut Rng, model: &Model) -> Query {
    let conditions = (0..rng.usize(..3)).map(|_| condition(rng.usize(..3), random_operator(rng))).collect();
    let mut sort = vec![0, 1, 2];
    rng.shuffle(&mut sort);
    sort.truncate(rng.usize(..4));
    // After a document that is there, one that is not, or from the beginning.
    let after = rng.bool().then(|| {
        let there = model.iter().nth(rng.usize(..model.len().max(1)));
        let of = |values: &dyn Fn(usize) -> IndexValue| sort.iter().map(|column| values(*column)).collect();
        match there.filter(|_| rng.bool()) {
            Some((key, it)) => (of(&|column| it.index_values[column].clone()), key.clone()),
            None => {
                let values: Vec<_> = (0..3).map(|_| random_value(rng)).collect();
                (of(&|column| values[column].clone()), random_key(rng))
            }
        }
    });
    let direction = if rng.bool() { Direction::Ascending } else { Direction::Descending };
    Query { conditions, sort, direction, after, limit: rng.usize(1..50) }
}

fn random_operator(rng: &mut Rng) -> Operator {
    let value = random_value(rng);
    match rng.usize(..6) {
        0 => Operator::In((0..rng.usize(..4)).map(|_| random_value(rng)).chain([value]).collect()),
        1 => Operator::Not(value),
        2 => Operator::Above(value),
        3 => Operator::AtLeast(value),
        4 => Operator::Below(value),
        _ => Operator::AtMost(value),
    }
}

fn random_value(rng: &mut Rng) -> IndexValue {
    random_json(rng).map_or_else(IndexValue::missing, index_value)
}

/// Few values, so that many documents are alike; `None` for a field that is not there.
fn random_json(rng: &mut Rng) -> Option<Value> {
    Some(match rng.usize(..10) {
        0 => return None,
        1 => Value::Null,
        2 => rng.bool().into(),
        3 | 4 => rng.i32(-2..3).into(),
        5 => json!(f64::from(rng.i32(-20..20)) / 8.0),
        6..9 => (*rng.choice(&["", "a", "A", "ab", "ä", "a\u{0}", "a\u{0}b", "it's", "z"]).unwrap_or(&"")).into(),
        _ => json!([1]),
    })
}

fn random_key(rng: &mut Rng) -> String {
    let stem = rng.choice(&["a", "A", "ä", "it's", "k%", "k_", "k"]).copied().unwrap_or("k");
    format!("{stem}{}", rng.u8(..12))
}
