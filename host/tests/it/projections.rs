//! Projections as their users meet them: a running host, the shop's `order-view`, events that flow, and everything that
//! happens to a host. Whatever happens, the documents are what a separate count of the streams says.

mod conservation;
mod count;
mod halting;
mod postgres;
mod reload;
mod story;
mod verbs;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use serde_json::{Value, json};

use crate::harness::{Home, Host, On, root};

/// A probation that ends soon.
const SHORT: &str = "{ probation: { calls: 30, time: 1s } }";

const COLLECTIONS: &str = "{ orders: { indexes: [status, total, [customer_id, created_at]] }, customer-totals: {} }";

/// Every hundredth order violates its schema.
const INVALID_EVERY: usize = 100;

/// The orders' streams and their projection, with a gateway; `more` are lines of the projection.
fn config(more: &str) -> String {
    let schemas = root().join("examples/shop/schemas").display().to_string();
    format!(
        r#"version: 1
schemas: {{ dir: "{schemas}" }}
streams:
  - {{ name: ORDERS, subjects: ["orders.>"] }}
  - {{ name: PAYMENTS, subjects: ["payments.>"] }}
plugins: {SHORT}
projections:
  - name: orders
    sources: [{{ stream: ORDERS }}, {{ stream: PAYMENTS }}]
    plugin: order-view
    collections: {COLLECTIONS}
{more}
http:
  listen: 127.0.0.1:0
  ingest: [{{ type: [OrderCreated], subject: orders.created }}]
  limits: {{ query_timeout: 30s }}
"#
    )
}

fn home(on: On, more: &str) -> Home {
    let home = Home::new(on, &config(more));
    home.install(&["order-view"]);
    home
}

// --- events --------------------------------------------------------------------------------------------------------------

/// What there is of an order depends on its number, so that each comes about in several ways.
fn events_of(number: usize) -> Vec<Value> {
    let (order, customer) = (format!("o-{number:05}"), format!("c-{:04}", number % 97));
    let dollars = (1000 + number * 37 % 5000) as f64 / 100.0;
    let total = if number.is_multiple_of(INVALID_EVERY) { -1.0 } else { dollars };
    let stamp = |minutes: usize| {
        format!("2026-01-{:02}T{:02}:{:02}:00Z", 1 + minutes / 1440 % 28, minutes / 60 % 24, minutes % 60)
    };
    let event = |subject: &str, kind: &str, minutes: usize, data: Value| {
        let id = format!("{kind}-{number:05}");
        let event = json!({ "specversion": "1.0", "id": id, "source": "/test", "type": kind, "time": stamp(minutes), "data": data });
        json!({ "subject": subject, "event": event })
    };
    let items = json!([{ "sku": "MUG-001", "quantity": 1 + number % 3, "unit_price": 10 }]);
    let mut created = json!({ "order_id": order, "customer_id": customer, "total": total, "items": items });
    let (currency, version) = if number.is_multiple_of(3) { ("EUR", 2) } else { ("USD", 1) };
    match version {
        1 => created["country"] = json!("US"),
        _ => {
            created["currency"] = json!(currency);
            created["shipping"] = json!({ "country": "DE", "method": "standard" });
            created["placed_at"] = json!(stamp(number + 1));
        }
    }
    let mut created = event("orders.created", "OrderCreated", number, created);
    created["event"]["dataschema"] = json!(format!("https://shop.example/schemas/OrderCreated/{version}"));
    let mut events = vec![created];
    if number.is_multiple_of(2) {
        let paid = json!({ "payment_id": "6f9619ff-8b86-d011-b42d-00c04fc964ff", "order_id": order, "customer_id": customer,
            "amount": dollars, "currency": currency, "attempt": 1 });
        events.push(event("payments.captured", "PaymentCaptured", number + 5, paid));
    }
    if number % 4 == 1 {
        let shipped = json!({ "order_id": order, "customer_id": customer, "carrier": "UPS", "tracking_number": "ABCDEF012345",
            "destination": { "country": "US", "postal_code": "27103" }, "declared_value": dollars, "currency": currency,
            "weight_grams": 500, "shipped_at": stamp(number + 60) });
        events.push(event("orders.shipped", "OrderShipped", number + 60, shipped));
    }
    if number % 10 == 3 {
        let cancelled = json!({ "order_id": order, "customer_id": customer, "reason": "customer-request", "refund": dollars,
            "currency": currency });
        events.push(event("orders.cancelled", "OrderCancelled", number + 90, cancelled));
    }
    events
}

/// Publishes what there is of these orders. Answers how many events that are.
fn emit(home: &Home, orders: Range<usize>) -> usize {
    let file = format!("orders-{}.jsonl", orders.start);
    let events: Vec<Value> = orders.flat_map(events_of).collect();
    let mut lines = String::new();
    events.iter().for_each(|event| writeln!(lines, "{event}").unwrap());
    home.write(&file, &lines);
    assert_eq!(home.json(&["emit", &file, "--no-validate"])["published"], events.len());
    events.len()
}

/// Posts an order's `OrderCreated`. Answers the token to wait for.
fn post(host: &Host, number: usize) -> String {
    let event = events_of(number)[0]["event"].to_string();
    let answer = host.post("/v1/events", "application/cloudevents+json", &event);
    assert_eq!(answer.status, 202, "{answer:?}");
    let receipt = answer.json();
    format!("{}:{}", receipt["stream"].as_str().unwrap(), receipt["sequence"])
}

// --- documents -----------------------------------------------------------------------------------------------------------

/// Every document of a collection, page by page.
fn documents(host: &Host, collection: &str) -> BTreeMap<String, Value> {
    let (mut documents, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let answer = host.get(&format!("/v1/read-models/{collection}?limit=500{cursor}"));
        if answer.status == 410 {
            // Another copy serves since the page before.
            (documents, cursor) = (BTreeMap::new(), String::new());
            continue;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        let page = answer.json();
        for item in page["items"].as_array().unwrap() {
            let key = item["key"].as_str().unwrap().to_owned();
            assert!(documents.insert(key, item["document"].clone()).is_none(), "given twice: {item}");
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return documents,
        }
    }
}

/// Both collections of a host that has folded everything.
fn read_models(host: &Host) -> count::Shop {
    count::Shop { orders: documents(host, "orders"), totals: documents(host, "customer-totals") }
}

/// Ends the host and compares what it answered with a separate count of the streams.
fn stop_and_compare(home: &Home, host: Host) {
    host.until_folded("orders");
    let found = read_models(&host);
    host.stop();
    let expected = count::of(home);
    assert!(!expected.orders.is_empty());
    found.assert_is(&expected);
}
