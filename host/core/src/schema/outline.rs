//! A second form of a schema, for explaining failures at a bounded cost.
//!
//! For a value that fits none of the alternatives of an `anyOf` or `oneOf` the validator collects the errors of all
//! alternatives. In a recursive schema that doubles with every level of the data: measured, an event of 18 levels takes
//! three seconds and one of 30 would take hours. Asking for validity alone stays fast, because results are remembered.
//!
//! So where a schema has references and alternatives both, errors are collected from its outline, in which every
//! `anyOf: […]` is `not: { not: { anyOf: […] } }`. That admits the same values, and a `not` only asks for validity. The
//! outline says which value fits no alternative, and not why; the schema that decides is always the original.

use serde_json::{Map, Value, json};

const ALTERNATIVES: [&str; 2] = ["anyOf", "oneOf"];
/// Keywords that look at what other keywords have matched; a `not` would hide it from them.
const UNEVALUATED: [&str; 2] = ["unevaluatedProperties", "unevaluatedItems"];
/// Keywords whose value is data or names, not a schema.
const NOT_SCHEMAS: [&str; 5] = ["const", "enum", "default", "examples", "required"];

/// Whether collecting errors may take for ever: `documents` are all files that the schema can reach.
pub(super) fn is_needed<'a>(mut documents: impl Iterator<Item = &'a Value>) -> bool {
    documents.any(|document| mentions(document, &ALTERNATIVES))
}

/// Whether the document refers to anything.
pub(super) fn has_references(document: &Value) -> bool {
    mentions(document, &["$ref", "$dynamicRef", "$recursiveRef"])
}

fn mentions(value: &Value, keywords: &[&str]) -> bool {
    match value {
        Value::Object(members) => {
            members.iter().any(|(name, value)| keywords.contains(&name.as_str()) || mentions(value, keywords))
        }
        Value::Array(items) => items.iter().any(|value| mentions(value, keywords)),
        _ => false,
    }
}

/// The outline of a document.
pub(super) fn outline(document: &Value) -> Value {
    match document {
        Value::Object(members) => Value::Object(outline_members(members)),
        Value::Array(items) => items.iter().map(outline).collect(),
        other => other.clone(),
    }
}

fn outline_members(members: &Map<String, Value>) -> Map<String, Value> {
    let mut outlined = Map::new();
    let mut moved = Vec::new();
    for (name, value) in members {
        if NOT_SCHEMAS.contains(&name.as_str()) {
            outlined.insert(name.clone(), value.clone());
        } else if ALTERNATIVES.contains(&name.as_str()) && value.is_array() {
            let alternatives: Value = outline(value);
            moved.push(json!({ "not": { "not": { (name.as_str()): alternatives } } }));
        } else if !UNEVALUATED.contains(&name.as_str()) {
            outlined.insert(name.clone(), outline(value));
        }
    }
    if !moved.is_empty() {
        match outlined.entry("allOf").or_insert_with(|| json!([])) {
            Value::Array(all) => all.extend(moved),
            // Not a schema after all, but a property that is called `allOf`.
            _ => return members.clone(),
        }
    }
    outlined
}

/// The alternatives of a `not` that stands for an `anyOf` or `oneOf`: the keyword and how many there are.
pub(super) fn alternatives(negated: &Value) -> Option<(&'static str, usize)> {
    let inner = negated.get("not")?;
    ALTERNATIVES.iter().find_map(|keyword| Some((*keyword, inner.get(keyword)?.as_array()?.len())))
}
