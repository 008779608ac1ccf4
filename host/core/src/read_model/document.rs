//! Documents, and the rules that each must keep.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::collection::Collection;
use super::index_value::IndexValue;
use crate::json::{self, JsonLimits};
use crate::name::CollectionName;

/// A document as a store gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub key: String,
    /// A JSON object.
    pub body: Bytes,
}

/// What a batch leaves behind of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentWrite {
    pub collection: CollectionName,
    pub key: String,
    /// `None` deletes.
    pub document: Option<Written>,
}

/// A checked document and the values of its indexed fields, in the order of [`Collection::fields`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub body: Bytes,
    pub index_values: Arc<[IndexValue]>,
}

/// Why a document function did not do what was asked. The last is the host's doing, the others the plugin's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    #[error("the collection `{0}` is not declared; `projections[].collections.{0}` in runtime.yaml would declare it")]
    NoCollection(String),
    #[error(
        "the field `{field}` of the collection `{collection}` is not indexed; `projections[].collections.{collection}.indexes: [{field}]` in runtime.yaml would index it"
    )]
    NoIndex { collection: String, field: String },
    #[error("`{0}` is not a document's key: expected 1 to 256 bytes without control characters")]
    BadKey(String),
    #[error("a document of the collection `{collection}` is refused: expected a JSON object, found {found}")]
    NoObject { collection: String, found: String },
    #[error(
        "a document of the collection `{collection}` is refused: its indexed field `{field}` holds a text of {length} bytes, at most {} can be indexed",
        IndexValue::MAX_TEXT_BYTES
    )]
    LongIndexedText { collection: String, field: String, length: usize },
    #[error("a value to search for is refused: expected JSON that can be indexed, found {0}")]
    BadValue(String),
    #[error("a query reads documents and writes none")]
    ReadOnly,
    #[error(
        "the limit `{limit}` of {allowed} is used up; `plugins.settings.<plugin>.limits.{limit}` in runtime.yaml raises it"
    )]
    Limit { limit: &'static str, allowed: u64 },
    #[error("the read model is unavailable: {0}")]
    Unavailable(String),
}

/// The longest key of a document, in bytes.
pub(super) const MAX_KEY_BYTES: usize = 256;

// === impl Written ===

impl Written {
    /// Checks a document of a guest, or of a person who says what was there before.
    pub fn check(collection: &Collection, body: Bytes) -> Result<Self, DocumentError> {
        let no_object = |found: String| DocumentError::NoObject { collection: collection.name.to_string(), found };
        let limits = JsonLimits { bytes: body.len(), ..JsonLimits::default() };
        let value = json::parse(&body, &limits).map_err(|error| no_object(format!("no JSON: {error}")))?;
        let object = match &value {
            Value::Object(object) => object,
            other => return Err(no_object(kind(other).to_owned())),
        };
        let index_values = collection.index_values(object)?.into();
        Ok(Self { body, index_values })
    }
}

impl DocumentError {
    /// Whether the store could not be reached; then the event is folded again, whatever the guest makes of it.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

pub(super) fn check_key(key: &str) -> Result<(), DocumentError> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES || key.chars().any(char::is_control) {
        return Err(DocumentError::BadKey(key.chars().filter(|c| !c.is_control()).take(64).collect()));
    }
    Ok(())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
