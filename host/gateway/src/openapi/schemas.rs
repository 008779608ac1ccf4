//! The shapes that the document refers to.

use serde_json::{Map, Value, json};
use tidemill_core::envelope::{MAX_ATTRIBUTE_BYTES, MAX_NAME_BYTES};

use crate::runtime::Catalogue;

pub(super) fn components(catalogue: &Catalogue) -> Value {
    let receipt = json!({
        "type": "object",
        "required": ["id", "stream", "sequence", "duplicate"],
        "properties": {
            "id": { "type": "string" },
            "stream": { "type": "string" },
            "sequence": { "type": "integer", "minimum": 1 },
            "duplicate": { "type": "boolean", "description": "Whether it had been stored before." },
        },
    });
    json!({
        "Event": event(catalogue),
        "Receipt": receipt,
        "BatchReceipt": {
            "type": "object",
            "required": ["accepted", "items"],
            "properties": {
                "accepted": { "type": "integer", "minimum": 0 },
                "items": { "type": "array", "items": { "$ref": "#/components/schemas/BatchLine" } },
            },
        },
        "BatchLine": {
            "type": "object",
            "required": ["index", "status"],
            "properties": {
                "index": { "type": "integer", "minimum": 0 },
                "status": { "type": "integer" },
                "error": { "$ref": "#/components/schemas/Problem" },
            },
        },
        "Item": {
            "type": "object",
            "required": ["key", "document"],
            "properties": { "key": { "type": "string" }, "document": { "type": "object" } },
        },
        "Page": {
            "type": "object",
            "required": ["items", "next", "positions"],
            "properties": {
                "items": { "type": "array", "maxItems": 500, "items": { "$ref": "#/components/schemas/Item" } },
                "next": { "type": ["string", "null"] },
                "positions": { "type": "object", "additionalProperties": { "type": "integer" } },
            },
        },
        "Problem": {
            "type": "object",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": { "type": "string" },
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "detail": { "type": "string" },
                "errors": { "type": "array", "items": {
                    "type": "object",
                    "required": ["pointer", "message"],
                    "properties": { "pointer": { "type": "string" }, "message": { "type": "string" } },
                }},
            },
        },
    })
}

/// One of the types that are taken, with the schema of its data where that stands for itself.
fn event(catalogue: &Catalogue) -> Value {
    let kinds = catalogue.ingest.iter().flat_map(|rule| &rule.types);
    let mut shapes: Vec<Value> = Vec::new();
    let mut seen: Vec<&String> = Vec::new();
    for kind in kinds {
        if seen.contains(&kind) {
            continue;
        }
        seen.push(kind);
        shapes.push(one(kind, catalogue.schemas.standalone(kind)));
    }
    json!({ "oneOf": shapes })
}

fn one(kind: &str, data: Option<&Value>) -> Value {
    let mut shape = json!({
        "type": "object",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": { "const": "1.0" },
            "id": text(1, MAX_NAME_BYTES),
            "source": text(1, MAX_NAME_BYTES),
            "type": { "const": kind },
            "time": { "type": ["string", "null"], "format": "date-time" },
            "subject": optional(text(1, MAX_ATTRIBUTE_BYTES)),
            "dataschema": optional(text(1, MAX_ATTRIBUTE_BYTES)),
            "datacontenttype": { "enum": ["application/json", null] },
        },
        // Extensions: their names, and what they may hold. (`1.0` is no integer, although JSON Schema takes it for one.)
        "propertyNames": { "pattern": "^[a-z0-9]{1,64}$" },
        "additionalProperties": { "anyOf": [
            text(0, MAX_ATTRIBUTE_BYTES),
            { "type": "boolean" },
            { "type": "integer", "minimum": i64::MIN, "maximum": u64::MAX },
            { "type": "null" },
        ]},
    });
    if let Some(data) = data {
        let mut data = data.clone();
        if let Some(members) = data.as_object_mut() {
            remove_names(members);
        }
        shape["properties"]["data"] = data;
        if let Some(required) = shape["required"].as_array_mut() {
            required.push("data".into());
        }
    }
    shape
}

fn text(shortest: usize, longest: usize) -> Value {
    let no_control = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$";
    json!({ "type": "string", "minLength": shortest, "maxLength": longest, "pattern": no_control })
}

/// A member that is `null` counts as left out.
fn optional(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

/// Inside of another document a schema is no document of its own.
fn remove_names(schema: &mut Map<String, Value>) {
    schema.remove("$schema");
    schema.remove("$id");
}
