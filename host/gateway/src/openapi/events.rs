//! The part about events that come in.

use serde_json::{Map, Value, json};

use super::{EVERYWHERE, responses};
use crate::runtime::Catalogue;

const TAKEN: [(&str, &str); 5] = [
    ("408", "The body did not arrive in time."),
    ("413", "The body is too large, or the batch is."),
    ("415", "The body is of another media type."),
    ("422", "The event, or the batch, is refused."),
    ("503", "The broker is unavailable."),
];

pub(super) fn paths(paths: &mut Map<String, Value>, catalogue: &Catalogue) {
    if !catalogue.ingest.is_empty() {
        paths.insert("/v1/events".to_owned(), json!({ "post": events() }));
    }
    if !catalogue.streams.is_empty() {
        paths.insert("/v1/streams/{stream}/{subject}".to_owned(), json!({ "post": raw(catalogue) }));
    }
}

fn events() -> Value {
    let problems: Vec<_> = EVERYWHERE.iter().chain(&TAKEN).copied().collect();
    json!({
        "operationId": "postEvents",
        "summary": "Publish CloudEvents (scope `ingest`)",
        "description": "One event in structured mode, or several in batch mode, as the CloudEvents HTTP binding 1.0.2 has it. In \
            binary mode the attributes are headers (`ce-specversion`, `ce-id`, `ce-source`, `ce-type`, …) and the body is the data.",
        "parameters": [{
            "name": "atomic", "in": "query", "required": false, "schema": { "enum": ["true", "false"] },
            "description": "Whether a batch is refused as a whole when one of its events is.",
        }],
        "requestBody": { "required": true, "content": {
            "application/cloudevents+json": { "schema": { "$ref": "#/components/schemas/Event" } },
            "application/cloudevents-batch+json": {
                "schema": { "type": "array", "items": { "$ref": "#/components/schemas/Event" } },
            },
        }},
        "responses": responses(json!({ "202": {
            "description": "Stored. `stream` and `sequence` are the token for `wait_for`.",
            "headers": { "Location": {
                "schema": { "type": "string" }, "required": false,
                "description": "The document that tells what became of the event, where `http.ingest[].track` names a collection.",
            }},
            "content": { "application/json": { "schema": { "anyOf": [
                { "$ref": "#/components/schemas/Receipt" }, { "$ref": "#/components/schemas/BatchReceipt" },
            ]}}},
        }}), &problems),
    })
}

fn raw(catalogue: &Catalogue) -> Value {
    let names: Vec<&str> = catalogue.streams.iter().map(|stream| stream.name.as_str()).collect();
    let problems: Vec<_> =
        EVERYWHERE.iter().chain(&TAKEN).copied().chain([("404", "There is no such stream.")]).collect();
    json!({
        "operationId": "postRaw",
        "summary": "Publish any body to a subject of a stream (scope `ingest`)",
        "description": "The headers `Content-Type`, `ce-*`, `traceparent` and `tracestate` go with it. Nothing is checked but the address.",
        "parameters": [
            { "name": "stream", "in": "path", "required": true, "schema": { "enum": names } },
            { "name": "subject", "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 },
              "description": "A subject that the stream stores." },
            { "name": "Idempotency-Key", "in": "header", "required": false,
              "schema": { "type": "string", "pattern": "^[!-~]{1,256}$" },
              "description": "What makes sending the body twice the same as once." },
        ],
        "requestBody": { "content": { "application/octet-stream": { "schema": { "type": "string", "format": "binary" } } } },
        "responses": responses(json!({ "202": {
            "description": "Stored.",
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Receipt" } } },
        }}), &problems),
    })
}
