//! What the gateway is measured against: the same work by hand, and nothing else. axum takes an event in structured mode,
//! jsonschema validates its data, async-nats publishes it with a message id and waits for the acknowledgement.
//!
//! `bare ADDRESS NATS_URL SCHEMA_FILE SUBJECT`, for example
//! `bare 127.0.0.1:8081 nats://127.0.0.1:4222 examples/shop/schemas/OrderCreated/1.json orders.created`.
//! A stream must store the subject.

use std::sync::Arc;

use anyhow::Context as _;
use async_nats::jetstream;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use serde_json::{Value, json};

struct Publisher {
    jetstream: jetstream::Context,
    schema: jsonschema::Validator,
    subject: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, url, schema, subject] = arguments.as_slice() else {
        anyhow::bail!("usage: bare ADDRESS NATS_URL SCHEMA_FILE SUBJECT");
    };
    let text = std::fs::read(schema).with_context(|| format!("reading `{schema}`"))?;
    let schema = jsonschema::options().should_validate_formats(true).build(&serde_json::from_slice(&text)?);
    let client = async_nats::connect(url).await.with_context(|| format!("connecting to `{url}`"))?;
    let publisher = Publisher {
        jetstream: jetstream::new(client),
        schema: schema.context("compiling the schema")?,
        subject: subject.clone(),
    };
    let router = axum::Router::new().route("/v1/events", post(take)).with_state(Arc::new(publisher));
    let listener = tokio::net::TcpListener::bind(address).await.with_context(|| format!("listening on `{address}`"))?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}

async fn take(State(publisher): State<Arc<Publisher>>, body: Bytes) -> axum::response::Response {
    let refused = |status: StatusCode, text: String| (status, text).into_response();
    let event: Value = match serde_json::from_slice(&body) {
        Ok(event) => event,
        Err(error) => return refused(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let attribute = |name: &str| event[name].as_str().filter(|text| !text.is_empty());
    let (Some(id), Some(source), Some(kind)) = (attribute("id"), attribute("source"), attribute("type")) else {
        return refused(StatusCode::BAD_REQUEST, "expected `id`, `source` and `type`".to_owned());
    };
    if let Err(error) = publisher.schema.validate(&event["data"]) {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
    }
    let mut headers = async_nats::HeaderMap::new();
    for (name, value) in [("ce-specversion", "1.0"), ("ce-id", id), ("ce-source", source), ("ce-type", kind)] {
        headers.insert(name, value);
    }
    headers.insert("Nats-Msg-Id", format!("{source}/{id}"));
    let data = event["data"].to_string();
    let published = publisher.jetstream.publish_with_headers(publisher.subject.clone(), headers, data.into()).await;
    let acknowledged = match published {
        Ok(acknowledgement) => acknowledgement.await,
        Err(error) => return refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    };
    match acknowledged {
        Ok(stored) => {
            let receipt = json!({ "id": id, "stream": stored.stream, "sequence": stored.sequence, "duplicate": stored.duplicate });
            (StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "application/json")], receipt.to_string()).into_response()
        }
        Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}
