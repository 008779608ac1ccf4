//! The same fold as a plain Rust loop over the broker's reader and the store: the same reads, documents, indexed values and
//! commits of 500 events. Events are read, decoded and validated ahead, and a batch is committed while the next one is folded.
//! Documents of a batch stay typed; what was committed is read again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidemill_core::envelope::{self, Envelope};
use tidemill_core::event::Event;
use tidemill_core::port::{Origin, ReadFrom};
use tidemill_core::read_model::{
    Batch, Claim, Collection, CopyId, DocumentWrite, IndexValue, NewCopy, Positions, ReadModelStore, Written,
};
use tokio::sync::mpsc;

use super::order_view::{Created, Order, Totals};
use super::orders;
use super::stage::Stage;

const BATCH: usize = 500;

struct Loop {
    store: Arc<dyn ReadModelStore>,
    copy: CopyId,
    orders: Collection,
    totals: Collection,
}

/// What a batch has written.
#[derive(Default)]
struct Layer {
    orders: BTreeMap<String, Order>,
    totals: BTreeMap<String, Totals>,
}

pub(crate) async fn fold(stage: &Stage, store: Arc<dyn ReadModelStore>) -> Duration {
    let config = &stage.config.projections[0];
    let started = Instant::now();
    let Claim::Granted(fence) = store.claim(&config.name, "native").await.unwrap() else { panic!("claimed") };
    let collections = Arc::clone(&config.collections);
    let new = NewCopy { digest: "native".into(), collections: collections.clone(), positions: Positions::new() };
    let copy = store.create(&fence, new).await.unwrap();
    store.activate(&fence, &copy).await.unwrap();
    let find = |name: &str| collections.iter().find(|it| it.name.as_str() == name).unwrap().clone();
    let native = Loop { store, copy, orders: find("orders"), totals: find("customer-totals") };

    let mut events = read_ahead(stage);
    let (mut sealed, mut open) = (Layer::default(), Layer::default());
    let (mut count, mut through) = (0, 0);
    let mut builds_on = Positions::new();
    let mut committing: Option<tokio::task::JoinHandle<()>> = None;
    while through < stage.events as u64 {
        for (sequence, event) in events.recv().await.unwrap() {
            native.fold(&event, &mut open, &sealed).await;
            (count, through) = (count + 1, sequence);
        }
        if count >= BATCH || through == stage.events as u64 {
            if let Some(before) = committing.take() {
                before.await.unwrap();
            }
            sealed = std::mem::take(&mut open);
            let positions = Positions::from([(config.sources[0].stream.clone(), through)]);
            let writes = native.writes(&sealed);
            let builds_on = std::mem::replace(&mut builds_on, positions.clone());
            let batch = Batch { writes, builds_on, positions, folded: count as u64, dead_lettered: 0 };
            let (store, fence, copy) = (Arc::clone(&native.store), fence.clone(), native.copy.clone());
            committing = Some(tokio::spawn(async move { store.commit(&fence, &copy, batch).await.unwrap() }));
            count = 0;
        }
    }
    committing.unwrap().await.unwrap();
    let took = started.elapsed();
    native.store.release(&fence).await.unwrap();
    took
}

type Events = Vec<(u64, Event)>;

fn read_ahead(stage: &Stage) -> mpsc::Receiver<Events> {
    let source = &stage.config.projections[0].sources[0];
    let from = ReadFrom { stream: source.stream.clone(), subjects: source.subjects.clone(), after: 0 };
    let (broker, events) = (Arc::clone(&stage.broker), stage.events as u64);
    let schema = jsonschema::validator_for(&serde_json::from_str(orders::SCHEMA).unwrap()).unwrap();
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut reader = broker.read(from.clone()).await.unwrap();
        let mut through = 0;
        while through < events {
            let stretch = reader.next(BATCH).await.unwrap();
            through = stretch.through;
            let mut decoded = Vec::with_capacity(stretch.messages.len());
            for recorded in stretch.messages {
                let origin = Origin { stream: from.stream.clone(), sequence: recorded.sequence };
                let event = envelope::decode(&Envelope::CloudEvents, &recorded.message, &origin).unwrap();
                assert!(schema.is_valid(&serde_json::from_slice::<Value>(&event.data).unwrap()));
                decoded.push((recorded.sequence, event));
            }
            if sender.send(decoded).await.is_err() {
                return;
            }
        }
    });
    receiver
}

// === impl Loop ===

impl Loop {
    async fn fold(&self, event: &Event, open: &mut Layer, sealed: &Layer) {
        let (created, time) = (Created::of(event), event.time.as_deref().unwrap());
        let (id, customer) = (&created.order_id, &created.customer_id);
        assert!(!open.orders.contains_key(id) && !sealed.orders.contains_key(id));
        assert!(self.store.read(&self.copy, &self.orders, id).await.unwrap().is_none());
        let before = match open.totals.get(customer).or_else(|| sealed.totals.get(customer)) {
            Some(totals) => Some(totals.clone()),
            None => {
                let body = self.store.read(&self.copy, &self.totals, customer).await.unwrap();
                body.map(|body| serde_json::from_slice(&body).unwrap())
            }
        };
        open.totals.insert(customer.clone(), created.totals(before, time));
        open.orders.insert(id.clone(), created.order(time));
    }

    fn writes(&self, layer: &Layer) -> Vec<DocumentWrite> {
        let write = |collection: &Collection, key: &String, body: Vec<u8>, index_values: Arc<[IndexValue]>| {
            let document = Some(Written { body: body.into(), index_values });
            DocumentWrite { collection: collection.name.clone(), key: key.clone(), document }
        };
        let totals = layer.totals.iter().map(|(key, totals)| {
            let values = [index(totals.orders.into())].into();
            write(&self.totals, key, serde_json::to_vec(totals).unwrap(), values)
        });
        let orders = layer.orders.iter().map(|(key, order)| {
            let fields = [
                order.created_at.as_str().into(),
                order.created_day.as_str().into(),
                order.total.into(),
                order.status.as_str().into(),
                order.customer_id.as_str().into(),
            ];
            write(&self.orders, key, serde_json::to_vec(order).unwrap(), fields.map(index).into())
        });
        totals.chain(orders).collect()
    }
}

fn index(value: Value) -> IndexValue {
    IndexValue::of(Some(&value)).unwrap()
}
