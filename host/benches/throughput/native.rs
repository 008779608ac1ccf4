//! The same work as a plain Rust consumer on async-nats' API: pull consumer, 256 in flight, in-order window of futures.

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::{self, AckKind, consumer, stream};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};

use super::orders;
use super::server::Server;

const IN_FLIGHT: usize = 256;

#[derive(Deserialize)]
struct Order {
    order_id: String,
    customer_id: String,
    total: f64,
}

pub(crate) fn run(events: usize) -> Duration {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(consume(events))
}

async fn consume(events: usize) -> Duration {
    let server = Server::start();
    let client = async_nats::connect(&server.url).await.unwrap();
    let context = jetstream::new(client);
    for (name, subject) in [("ORDERS", "orders.>"), ("FRAUD", "fraud.>")] {
        let config = stream::Config { name: name.into(), subjects: vec![subject.into()], ..Default::default() };
        context.create_stream(config).await.unwrap();
    }
    publish(&context, events).await;
    let stream = context.get_stream("ORDERS").await.unwrap();
    let config = consumer::pull::Config {
        durable_name: Some("native".into()),
        max_ack_pending: IN_FLIGHT as i64 * 2,
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await.unwrap();
    let schema = jsonschema::validator_for(&serde_json::from_str(orders::SCHEMA).unwrap()).unwrap();

    let started = Instant::now();
    let messages = consumer.stream().max_messages_per_batch(IN_FLIGHT).messages().await.unwrap().take(events);
    let (context, schema) = (&context, &schema);
    messages
        .map(|message| async move {
            let message = message.unwrap();
            let data: Value = serde_json::from_slice(&message.payload).unwrap();
            assert!(schema.is_valid(&data));
            if data["total"].as_f64().unwrap() >= 1000.0 {
                let order: Order = serde_json::from_slice(&message.payload).unwrap();
                let sequence = message.info().unwrap().stream_sequence;
                let mut headers = HeaderMap::new();
                headers.insert("Nats-Msg-Id", format!("native-{sequence}"));
                headers.insert("ce-specversion", "1.0");
                headers.insert("ce-id", format!("native-{sequence}"));
                headers.insert("ce-source", "/native");
                headers.insert("ce-type", "FraudChecked");
                headers.insert("ce-time", "2026-01-01T00:00:00Z");
                headers.insert("ce-causationid", message.headers.as_ref().unwrap().get("ce-id").unwrap().as_str());
                headers.insert("content-type", "application/json");
                let body = json!({ "order_id": order.order_id, "customer_id": order.customer_id, "total": order.total, "risk": "medium" });
                let body = serde_json::to_vec(&body).unwrap();
                context.publish_with_headers("fraud.checked", headers, body.into()).await.unwrap().await.unwrap();
            }
            message.ack_with(AckKind::Ack).await.unwrap();
        })
        .buffered(IN_FLIGHT)
        .for_each(|()| async {})
        .await;
    started.elapsed()
}

/// Publishes the orders, pipelined.
pub(crate) async fn publish(context: &jetstream::Context, events: usize) {
    let mut acks = futures_util::stream::iter(0..events)
        .map(|number| async move {
            let mut headers = HeaderMap::new();
            for (name, value) in orders::headers(number) {
                headers.insert(name, value);
            }
            context
                .publish_with_headers("orders.created", headers, orders::data(number).into())
                .await
                .unwrap()
                .await
                .unwrap();
        })
        .buffered(1000);
    while acks.next().await.is_some() {}
}
