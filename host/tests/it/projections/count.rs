//! A separate count of what the shop's documents have to be: the stored events grouped by order and customer, all at once.
//! The plugin goes from document to document; nothing here does.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::harness::Home;

const STAGES: [&str; 4] = ["pending", "paid", "shipped", "cancelled"];

/// What there is of an order.
#[derive(Default)]
struct Story {
    customer: String,
    created: Option<Value>,
    amount: Option<Value>,
    currency: Option<Value>,
    created_at: Option<String>,
    /// How far it has come, of [`STAGES`].
    stage: usize,
    times: Vec<String>,
}

/// The documents of `order-view`.
#[derive(Debug, PartialEq)]
pub(super) struct Shop {
    pub(super) orders: BTreeMap<String, Value>,
    pub(super) totals: BTreeMap<String, Value>,
}

// === impl Shop ===

impl Shop {
    /// That both are the same, and otherwise which documents are not.
    pub(super) fn assert_is(&self, expected: &Shop) {
        for (name, found, expected) in
            [("orders", &self.orders, &expected.orders), ("customer-totals", &self.totals, &expected.totals)]
        {
            let wrong: Vec<_> = expected.iter().filter(|(key, value)| found.get(*key) != Some(*value)).collect();
            if let Some((key, value)) = wrong.first() {
                panic!("{} of {name} are wrong; {key}: found {:?}, expected {value}", wrong.len(), found.get(*key));
            }
            assert_eq!(found.len(), expected.len(), "{name} has documents that nothing was folded into");
        }
    }
}

/// The count of what is stored; no host may run on the embedded log.
pub(super) fn of(home: &Home) -> Shop {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let broker = home.broker().await;
        let mut events = home.events(&broker, "ORDERS").await;
        events.extend(home.events(&broker, "PAYMENTS").await);
        broker.close().await.unwrap();
        let mut stories = BTreeMap::new();
        for event in events {
            let data: Value = serde_json::from_slice(&event.data).unwrap();
            learn(&mut stories, &event.kind, event.time.unwrap(), data);
        }
        Shop { totals: totals(&stories), orders: stories.iter().map(|(id, it)| (id.clone(), order(it))).collect() }
    })
}

fn learn(stories: &mut BTreeMap<String, Story>, kind: &str, time: String, data: Value) {
    if data["total"].as_f64().is_some_and(|total| total < 0.0) {
        return;
    }
    let story = stories.entry(data["order_id"].as_str().unwrap().to_owned()).or_default();
    story.customer = data["customer_id"].as_str().unwrap().to_owned();
    match kind {
        "OrderCreated" => {
            let time = data["placed_at"].as_str().map_or(time, str::to_owned);
            story.times.push(time.clone());
            story.created_at = Some(time);
            story.amount = Some(data["total"].clone());
            story.currency = Some(data.get("currency").cloned().unwrap_or_else(|| json!("USD")));
            story.created = Some(data);
        }
        "PaymentCaptured" => {
            story.stage = story.stage.max(1);
            story.times.push(time);
            if story.created.is_none() {
                (story.amount, story.currency) = (Some(data["amount"].clone()), Some(data["currency"].clone()));
            }
        }
        "OrderShipped" => (story.stage, _) = (story.stage.max(2), story.times.push(time)),
        "OrderCancelled" => (story.stage, _) = (3, story.times.push(time)),
        other => panic!("an event of type {other}"),
    }
}

fn order(story: &Story) -> Value {
    let items = story.created.iter().flat_map(|created| created["items"].as_array().unwrap());
    let mut document = json!({
        "customer_id": story.customer,
        "status": STAGES[story.stage],
        "items": items.map(|item| item["quantity"].as_u64().unwrap()).sum::<u64>(),
        "updated_at": story.times.iter().max(),
    });
    let mut put = |name: &str, value: Option<Value>| value.map(|value| document[name] = value);
    put("total", story.amount.as_ref().map(|amount| json!(amount.as_f64())));
    put("currency", story.currency.clone());
    put("created_at", story.created_at.clone().map(Value::from));
    put("created_day", story.created_at.as_ref().map(|time| json!(time[..10])));
    document
}

fn totals(stories: &BTreeMap<String, Story>) -> BTreeMap<String, Value> {
    let mut customers: BTreeMap<String, Vec<(&String, &Story)>> = BTreeMap::new();
    for (id, story) in stories.iter().filter(|(_, story)| story.created.is_some()) {
        customers.entry(story.customer.clone()).or_default().push((id, story));
    }
    let one = |orders: Vec<(&String, &Story)>| {
        let mut cents: BTreeMap<&str, i64> = BTreeMap::new();
        for (_, story) in &orders {
            let amount = (story.amount.as_ref().unwrap().as_f64().unwrap() * 100.0).round() as i64;
            let of_currency = cents.entry(story.currency.as_ref().unwrap().as_str().unwrap()).or_default();
            *of_currency += if story.stage == 3 { 0 } else { amount };
        }
        let spent: Map<String, Value> =
            cents.into_iter().map(|(currency, cents)| (currency.to_owned(), json!(cents as f64 / 100.0))).collect();
        let last = orders.iter().map(|(id, story)| (story.created_at.as_ref().unwrap(), *id)).max().unwrap();
        json!({
            "orders": orders.len(),
            "cancelled": orders.iter().filter(|(_, story)| story.stage == 3).count(),
            "spent": spent,
            "last_order": { "created_at": last.0, "order_id": last.1 },
        })
    };
    customers.into_iter().map(|(customer, orders)| (customer, one(orders))).collect()
}
