//! What everybody folds: orders in the embedded log, and the configuration of the shop's read model.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tidemill_core::config::{self, MapLookup, RuntimeConfig};
use tidemill_core::message::Message;
use tidemill_core::port::{Broker, Outgoing};
use tidemill_core::schema::{SchemaFile, Schemas};
use tidemill_core::subject::Subject;
use tidemill_embedded::EmbeddedBroker;

use super::orders;

const BATCH: usize = 500;

/// As the shop's `runtime.yaml` has it.
pub(crate) const CONFIG: &str = r#"version: 1
schemas: { dir: ./schemas, on_missing: allow }
streams: [{ name: ORDERS, subjects: ["orders.>"] }]
routes: []
projections:
  - name: orders
    sources: [{ stream: ORDERS }]
    plugin: order-view
    collections:
      orders: { indexes: [created_at, created_day, total, [status, created_at], [customer_id, created_at]] }
      customer-totals: { indexes: [orders] }
"#;

/// A log with so many orders.
pub(crate) struct Stage {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) config: RuntimeConfig,
    pub(crate) schemas: Arc<Schemas>,
    pub(crate) events: usize,
    _home: tempfile::TempDir,
}

// === impl Stage ===

impl Stage {
    pub(crate) async fn set(events: usize) -> Self {
        let home = tempfile::tempdir().unwrap();
        let config = config::load(CONFIG, &MapLookup::default()).unwrap();
        let broker = fill(&home.path().join("broker"), &config, events).await;
        let file = SchemaFile { path: "OrderCreated.json".into(), text: orders::SCHEMA.into() };
        let schemas = Arc::new(Schemas::compile(vec![file]).unwrap());
        Self { broker, config, schemas, events, _home: home }
    }
}

/// Opens a log and publishes the orders to it.
pub(crate) async fn fill(dir: &Path, config: &RuntimeConfig, events: usize) -> Arc<dyn Broker> {
    let broker: Arc<dyn Broker> = EmbeddedBroker::open(dir).unwrap();
    broker.provision(&config.streams).await.unwrap();
    for first in (0..events).step_by(BATCH) {
        let orders = (first..events.min(first + BATCH)).map(order).collect();
        for result in broker.publish(orders).await {
            result.unwrap();
        }
    }
    broker
}

/// An order of the throughput bench, with the time at which it was placed: ten a second.
fn order(number: usize) -> Outgoing {
    let (second, tenth) = (number / 10, number % 10);
    let (day, hour, minute) = (second / 86_400, second / 3600 % 24, second / 60 % 60);
    let time = format!("2026-01-{:02}T{hour:02}:{minute:02}:{:02}.{tenth}Z", 1 + day, second % 60);
    let headers = orders::headers(number).into_iter().chain([("ce-time", time)]);
    Outgoing {
        id: format!("evt-{number:08}"),
        message: Message {
            subject: Subject::try_new("orders.created").unwrap(),
            headers: headers.collect(),
            payload: Bytes::from(orders::data(number)),
        },
    }
}
