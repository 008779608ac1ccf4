//! The part about events that come in.

use serde_json::{Map, Value, json};

use super::{EVERYWHERE, responses};
use tidemill_core::config::StreamConfig;
use tidemill_core::subject::SubjectPattern;

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
    for stream in &catalogue.streams {
        paths.insert(format!("/v1/streams/{}/{{subject}}", stream.name), json!({ "post": raw(stream) }));
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

fn raw(stream: &StreamConfig) -> Value {
    let name = &stream.name;
    let subjects: Vec<String> = stream.subjects.iter().map(subjects).collect();
    let problems: Vec<_> =
        EVERYWHERE.iter().chain(&TAKEN).copied().chain([("404", "There is no such stream.")]).collect();
    json!({
        "operationId": format!("post_{name}"),
        "summary": format!("Publish any body to a subject of the stream `{name}` (scope `ingest`)"),
        "description": "The headers `Content-Type`, `ce-*`, `traceparent` and `tracestate` go with it. Nothing is checked but the address.",
        "parameters": [
            { "name": "subject", "in": "path", "required": true, "description": "A subject that the stream stores.",
              "schema": { "type": "string", "pattern": format!("^({})$", subjects.join("|")) } },
            { "name": "Idempotency-Key", "in": "header", "required": false,
              "schema": { "type": "string", "pattern": "^[!-~]{1,256}$" },
              "description": "What makes sending the body to the same subject twice the same as once." },
        ],
        "requestBody": { "content": { "application/octet-stream": { "schema": { "type": "string", "format": "binary" } } } },
        "responses": responses(json!({ "202": {
            "description": "Stored.",
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Receipt" } } },
        }}), &problems),
    })
}

/// A pattern of subjects as a regular expression.
fn subjects(pattern: &SubjectPattern) -> String {
    let any = r"[^.*>\s\u0000-\u001f\u007f-\u009f]+";
    let token = |token: &str| match token {
        "*" => any.to_owned(),
        ">" => format!(r"{any}(\.{any})*"),
        // The other characters of a subject that mean something to a regular expression.
        plain => plain
            .chars()
            .flat_map(|c| (!c.is_alphanumeric() && c != '-' && c != '_').then_some('\\').into_iter().chain([c]))
            .collect(),
    };
    pattern.as_str().split('.').map(token).collect::<Vec<_>>().join(r"\.")
}
