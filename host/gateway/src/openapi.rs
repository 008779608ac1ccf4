//! The gateway described by itself: an OpenAPI 3.1 document, made from what is configured.
//!
//! Each collection has its own address with its own filters, and each type of event its schema, so that a client made from the
//! document knows the words of this host. It is tested from outside: `tools/schemathesis` asks what it describes and compares
//! the answers with it.

mod events;
mod reads;
mod schemas;

use serde_json::{Map, Value, json};
use tidemill_core::config::HttpConfig;

use crate::runtime::Catalogue;

/// The document.
pub(crate) fn document(catalogue: &Catalogue, config: &HttpConfig) -> Value {
    let mut paths = Map::new();
    health(&mut paths);
    events::paths(&mut paths, catalogue);
    reads::paths(&mut paths, catalogue);
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidemill",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Events in, read models out. A problem is told as `application/problem+json` (RFC 9457).",
        },
        "paths": paths,
        "components": { "schemas": schemas::components(catalogue) },
    });
    let mut ways = Vec::new();
    if !config.tokens.is_empty() {
        document["components"]["securitySchemes"]["token"] = json!({ "type": "http", "scheme": "bearer" });
        ways.push(json!({ "token": [] }));
    }
    if config.tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some()) {
        document["components"]["securitySchemes"]["certificate"] = json!({ "type": "mutualTLS" });
        ways.push(json!({ "certificate": [] }));
    }
    if !ways.is_empty() {
        document["security"] = ways.into();
    }
    document
}

fn health(paths: &mut Map<String, Value>) {
    let text = |description: &str| json!({ "description": description, "content": { "text/plain": { "schema": { "type": "string" } } } });
    paths.insert(
        "/livez".to_owned(),
        json!({ "get": {
            "operationId": "live", "summary": "Whether the process answers", "security": [],
            "responses": responses(json!({ "200": text("It does.") }), &[]),
        }}),
    );
    paths.insert(
        "/readyz".to_owned(),
        json!({ "get": {
            "operationId": "ready", "summary": "Whether the host can do its work", "security": [],
            "responses": responses(json!({ "200": text("It can.") }), &[("503", "What keeps it.")]),
        }}),
    );
    paths.insert(
        "/metrics".to_owned(),
        json!({ "get": {
            "operationId": "metrics", "summary": "Metrics for Prometheus (scope `admin`)",
            "responses": responses(json!({ "200": text("In the text format.") }), EVERYWHERE),
        }}),
    );
    paths.insert("/openapi.json".to_owned(), json!({ "get": {
        "operationId": "openapi", "summary": "This document",
        "responses": responses(
            json!({ "200": { "description": "It.", "content": { "application/json": { "schema": { "type": "object" } } } } }),
            EVERYWHERE,
        ),
    }}));
}

/// Problems that the gate may answer everything with.
const EVERYWHERE: &[(&str, &str)] = &[
    ("400", "The request is not understood."),
    ("401", "A token or a client certificate is needed."),
    ("403", "The scope is missing, or the request comes from a page of another site."),
    ("421", "The host name is not served."),
    ("429", "Too many requests from this address."),
];

/// Answers, and the problems that there may be instead.
fn responses(answers: Value, problems: &[(&str, &str)]) -> Value {
    let mut responses = answers;
    for (status, description) in problems {
        let mut response = json!({
            "description": description,
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        });
        if matches!(*status, "429" | "503") {
            response["headers"]["Retry-After"] = json!({ "schema": { "type": "integer" }, "description": "Seconds." });
        }
        responses[*status] = response;
    }
    responses
}
