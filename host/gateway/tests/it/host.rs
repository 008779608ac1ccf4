//! A host around the gateway: the embedded broker in memory, a store in memory, and what a test wants to go wrong.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use tidemill_core::config::{self, MapLookup, OnMissing, RuntimeConfig};
use tidemill_core::failure::{Failure, FailureKind};
use tidemill_core::message::Message;
use tidemill_core::name::{ProjectionName, StreamName};
use tidemill_core::port::{Admin, Broker, BrokerError, Outgoing, Published, ReadFrom};
use tidemill_core::read_model::{Collection, CopyId, Positions, WaitFor};
use tidemill_core::schema::{SchemaFile, Schemas};
use tidemill_embedded::EmbeddedBroker;
use tidemill_gateway::metrics::Snapshot;
use tidemill_gateway::{Answer, Catalogue, Health, ReadModel, Runtime, Waited};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::store::MemoryStore;

/// What the host is configured as; `http` is put behind it.
pub(crate) const SHOP: &str = r#"
version: 1
streams:
  - { name: ORDERS, subjects: ["orders.>"] }
  - { name: CUSTOMERS, subjects: ["customers.>"] }
projections:
  - name: orders
    sources: [{ stream: ORDERS }]
    plugin: order-view
    collections: { orders: { indexes: [status, total, [customer_id, created_at]] } }
  - name: customers
    sources: [{ stream: CUSTOMERS }]
    plugin: customer-view
    collections: { registrations: { indexes: [status] } }
"#;

/// `http` as most tests want it.
pub(crate) const HTTP: &str = r#"
http:
  listen: "127.0.0.1:0"
  ingest:
    - { type: [OrderCreated, Note], subject: orders.created }
    - { type: [CustomerRegistered], subject: customers.registered, track: registrations }
"#;

pub(crate) struct Host {
    catalogue: Arc<Catalogue>,
    /// The same without projections.
    empty: Arc<Catalogue>,
    broker: Arc<EmbeddedBroker>,
    pub(crate) store: Arc<MemoryStore>,
    collections: Vec<(ProjectionName, Collection)>,
    positions: watch::Sender<Positions>,
    /// The copies that answer, one look after the other; the last stays. None: no copy is active yet.
    pub(crate) copies: Mutex<VecDeque<u64>>,
    pub(crate) health: Mutex<Health>,
    /// While it is true nothing of the projections is known.
    pub(crate) starting: AtomicBool,
    /// What the broker answers instead of storing anything.
    pub(crate) broker_fault: Mutex<Option<BrokerError>>,
}

pub(crate) fn stream(name: &str) -> StreamName {
    StreamName::try_new(name).unwrap()
}

/// The configuration that the texts say together.
pub(crate) fn configured(http: &str) -> RuntimeConfig {
    let lookup = MapLookup::default();
    config::load(&format!("{SHOP}{http}"), &lookup).unwrap_or_else(|report| panic!("{report}"))
}

fn schemas() -> Schemas {
    let order = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["order_id", "total"],
        "properties": {
            "order_id": { "type": "string", "pattern": "^o-[0-9]+$" },
            "total": { "type": "number", "minimum": 0 },
        },
    });
    let customer = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["email"],
        "properties": { "email": { "type": "string", "minLength": 3 } },
    });
    let file = |path: &str, schema: &Value| SchemaFile { path: path.to_owned(), text: schema.to_string() };
    Schemas::compile(vec![
        file("OrderCreated.json", &order),
        file("CustomerRegistered.json", &customer),
        file("Note.json", &json!(true)),
    ])
    .unwrap()
}

impl Host {
    pub(crate) async fn new(config: &RuntimeConfig) -> Arc<Self> {
        let broker = EmbeddedBroker::in_memory();
        broker.provision(&config.streams).await.unwrap();
        let ingest = config.http.as_ref().map_or(Vec::new(), |http| http.ingest.clone());
        let (streams, projections) = (config.streams.clone(), config.projections.clone());
        let of = |it: &config::ProjectionConfig| {
            it.collections.iter().map(|collection| (it.name.clone(), collection.clone())).collect::<Vec<_>>()
        };
        let collections = projections.iter().flat_map(of).collect();
        let catalogue = |projections| {
            let (streams, ingest) = (streams.clone(), ingest.clone());
            Arc::new(Catalogue::new(streams, projections, Arc::new(schemas()), OnMissing::Reject, ingest))
        };
        let host = Arc::new(Self {
            catalogue: catalogue(projections),
            empty: catalogue(Vec::new()),
            broker,
            store: Arc::default(),
            collections,
            positions: watch::channel(Positions::new()).0,
            copies: Mutex::new(VecDeque::from([1])),
            health: Mutex::default(),
            starting: AtomicBool::new(false),
            broker_fault: Mutex::default(),
        });
        host.fold_to(0);
        host
    }

    pub(crate) fn put(&self, collection: &str, key: &str, document: &Value) {
        self.store.put(&self.collection(collection).1, key, document);
    }

    pub(crate) fn remove(&self, collection: &str, key: &str) {
        self.store.remove_document(&self.collection(collection).1, key);
    }

    /// Sets where the read models stand, on both streams.
    pub(crate) fn fold_to(&self, sequence: u64) {
        let positions: Positions = BTreeMap::from([(stream("ORDERS"), sequence), (stream("CUSTOMERS"), sequence)]);
        self.store.stand_at(positions.clone());
        self.positions.send_replace(positions);
    }

    /// What a stream holds.
    pub(crate) async fn stored(&self, name: &str) -> Vec<Message> {
        let subjects = self.catalogue.streams.iter().find(|it| it.name.as_str() == name).unwrap().subjects.clone();
        let mut reader = self.broker.read(ReadFrom { stream: stream(name), subjects, after: 0 }).await.unwrap();
        reader.next(1000).await.unwrap().messages.into_iter().map(|recorded| recorded.message).collect()
    }

    fn collection(&self, name: &str) -> &(ProjectionName, Collection) {
        self.collections.iter().find(|(_, collection)| collection.name.as_str() == name).unwrap()
    }
}

#[async_trait]
impl Runtime for Host {
    fn catalogue(&self) -> Arc<Catalogue> {
        if self.has_begun() { Arc::clone(&self.catalogue) } else { Arc::clone(&self.empty) }
    }

    fn has_begun(&self) -> bool {
        !self.starting.load(SeqCst)
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<Published, BrokerError>> {
        let fault = self.broker_fault.lock().unwrap().clone();
        match fault {
            Some(fault) => messages.iter().map(|_| Err(fault.clone())).collect(),
            None => self.broker.publish(messages).await,
        }
    }

    fn read_model(&self, collection: &str) -> Option<ReadModel> {
        if !self.has_begun() {
            return None;
        }
        let found = self.collections.iter().find(|(_, it)| it.name.as_str() == collection)?;
        let (projection, collection) = found.clone();
        let mut copies = self.copies.lock().unwrap();
        let number = if copies.len() > 1 { copies.pop_front() } else { copies.front().copied() };
        let copy = number.map(|number| CopyId { projection: projection.clone(), number });
        Some(ReadModel { projection, collection, store: self.store.clone(), copy })
    }

    async fn wait_for(&self, _projection: &ProjectionName, target: &WaitFor, deadline: Instant) -> Waited {
        let mut positions = self.positions.subscribe();
        let reached = |it: &Positions| it.get(&target.stream).is_some_and(|at| *at >= target.sequence);
        match timeout_at(deadline, async { drop(positions.wait_for(reached).await) }).await {
            Ok(()) => Waited::Fresh,
            Err(_) => Waited::Behind(self.positions.borrow().clone()),
        }
    }

    async fn ask(&self, _projection: &ProjectionName, name: &str, params: Bytes) -> Result<Answer, Failure> {
        let positions = self.store.standing();
        match name {
            "echo" => Ok(Answer { body: params, positions }),
            "bytes" => Ok(Answer { body: Bytes::from_static(b"\xff\x00"), positions }),
            "crash" => Err(Failure::new(FailureKind::Trap, "the guest panicked: no orders")),
            "slow" => Err(Failure::new(FailureKind::Timeout, "the call took more than 5s")),
            other => Err(Failure::new(FailureKind::Rejected, format!("there is no query `{other}`"))),
        }
    }

    async fn health(&self) -> Health {
        self.health.lock().unwrap().clone()
    }

    async fn metrics(&self) -> Snapshot {
        Snapshot { version: "0.1.0".to_owned(), broker: "embedded".to_owned(), ..Snapshot::default() }
    }
}
