//! The shapes that the document refers to.

use serde_json::{Map, Value, json};

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
    let name = json!({ "type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[ -~]*$" });
    let mut shape = json!({
        "type": "object",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": { "const": "1.0" },
            "id": name.clone(),
            "source": name,
            "type": { "const": kind },
            "time": { "type": ["string", "null"], "format": "date-time" },
            "subject": { "type": ["string", "null"], "minLength": 1, "maxLength": 200, "pattern": "^[ -~]*$" },
            "datacontenttype": { "enum": ["application/json", null] },
        },
        // Extensions: their names, and what they may hold.
        "propertyNames": { "pattern": "^[a-z0-9]{1,20}$" },
        "additionalProperties": { "type": ["string", "boolean"], "pattern": "^[ -~]{0,200}$" },
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

/// Inside of another document a schema is no document of its own.
fn remove_names(schema: &mut Map<String, Value>) {
    schema.remove("$schema");
    schema.remove("$id");
}
