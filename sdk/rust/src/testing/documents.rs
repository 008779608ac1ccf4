//! The read model of a native build: collections in a map, with the host's rules about them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::stand_in::{Call, Refused, Role, check_key, with_call};
use crate::read_model::ReadModelError;

/// The largest document that a default host accepts, and the longest text that it indexes.
const MAX_DOCUMENT_BYTES: usize = 512 * 1024;
const MAX_INDEXED_BYTES: usize = 512;

/// Most documents that one `find` gives.
const MAX_FOUND: u32 = 1000;

/// One collection: the fields that it is indexed by, and its documents by key.
#[derive(Debug, Clone, Default)]
pub(super) struct Collection {
    pub(super) indexes: BTreeSet<String>,
    pub(super) documents: BTreeMap<String, Value>,
}

// --- imports ---------------------------------------------------------------------------------------------------------

pub(crate) fn document_get(collection: &str, key: &str) -> Result<Option<Vec<u8>>, ReadModelError> {
    with_call(|call| {
        check_document_key(key)?;
        let found = open(call, collection)?.documents.get(key);
        Ok(found.map(|document| document.to_string().into_bytes()))
    })
}

pub(crate) fn document_put(collection: &str, key: &str, body: &[u8]) -> Result<(), ReadModelError> {
    write(collection, |collection, name| {
        check_document_key(key)?;
        let document = check_document(name, body, &collection.indexes)?;
        collection.documents.insert(key.to_owned(), document);
        Ok(())
    })
}

pub(crate) fn document_delete(collection: &str, key: &str) -> Result<(), ReadModelError> {
    write(collection, |collection, _| {
        check_document_key(key)?;
        collection.documents.remove(key);
        Ok(())
    })
}

pub(crate) fn document_find(
    collection: &str,
    field: &str,
    value: &[u8],
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<(String, Vec<u8>)>, ReadModelError> {
    with_call(|call| {
        let name = collection;
        let collection = open(call, collection)?;
        if !collection.indexes.contains(field) {
            return Err(ReadModelError::NoIndex(format!(
                "the field `{field}` of the collection `{name}` is not indexed; \
                 `projections[].collections.{name}.indexes: [{field}]` in runtime.yaml would index it"
            )));
        }
        let value: Value = serde_json::from_slice(value).map_err(|error| {
            ReadModelError::Invalid(format!(
                "a value to search for is refused: expected JSON that can be indexed, found no JSON: {error}"
            ))
        })?;
        let later = collection.documents.iter().filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        let found = later.filter(|(_, document)| at(document, field).is_some_and(|found| is_same(found, &value)));
        let found = found.map(|(key, document)| (key.clone(), document.to_string().into_bytes()));
        Ok(found.take(limit.min(MAX_FOUND) as usize).collect())
    })
}

// --- the host's rules ------------------------------------------------------------------------------------------------

fn open<'a>(call: &'a mut Call, name: &str) -> Result<&'a mut Collection, ReadModelError> {
    assert!(
        call.world.role == Role::Projection,
        "only a projection has a read model; the host refuses a handler that uses it"
    );
    if call.world.unavailable {
        return Err(ReadModelError::Unavailable("the read model is unavailable: the harness says so".to_owned()));
    }
    call.world.collections.get_mut(name).ok_or_else(|| {
        ReadModelError::NoCollection(format!(
            "the collection `{name}` is not declared; `projections[].collections.{name}` in runtime.yaml would declare it"
        ))
    })
}

/// Writes, or remembers the refusal: it fails the call, whatever the plugin makes of it.
fn write(
    name: &str,
    write: impl FnOnce(&mut Collection, &str) -> Result<(), ReadModelError>,
) -> Result<(), ReadModelError> {
    with_call(|call| {
        let is_query = call.is_query();
        let done = open(call, name).and_then(|collection| {
            if is_query {
                return Err(ReadModelError::ReadOnly("a query reads documents and writes none".to_owned()));
            }
            write(collection, name)
        });
        if let Err(error) = &done
            && !matches!(error, ReadModelError::Unavailable(_))
        {
            call.refused.get_or_insert_with(|| Refused::Write(error.clone()));
        }
        done
    })
}

fn check_document_key(key: &str) -> Result<(), ReadModelError> {
    check_key(key, "a document's key").map_err(ReadModelError::Invalid)
}

fn check_document(collection: &str, body: &[u8], indexes: &BTreeSet<String>) -> Result<Value, ReadModelError> {
    if body.len() > MAX_DOCUMENT_BYTES {
        return Err(ReadModelError::Limit(format!("the limit `document` of {MAX_DOCUMENT_BYTES} is used up")));
    }
    let refused =
        |why: String| ReadModelError::Invalid(format!("a document of the collection `{collection}` is refused: {why}"));
    let document: Value = serde_json::from_slice(body)
        .map_err(|error| refused(format!("expected a JSON object, found no JSON: {error}")))?;
    if !document.is_object() {
        return Err(refused(format!("expected a JSON object, found {document}")));
    }
    for field in indexes {
        let length = at(&document, field).and_then(Value::as_str).map_or(0, str::len);
        if length > MAX_INDEXED_BYTES {
            return Err(refused(format!(
                "its indexed field `{field}` holds a text of {length} bytes, at most {MAX_INDEXED_BYTES} can be indexed"
            )));
        }
    }
    Ok(document)
}

/// The value at a path like `address.city`.
fn at<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(document, |value, name| value.as_object()?.get(name))
}

/// Whether an index takes two values for the same: numbers as 64-bit floats, and all lists and objects alike.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(_) | Value::Object(_), Value::Array(_) | Value::Object(_)) => true,
        _ => one == other,
    }
}
