//! The collections of a projection, as `runtime.yaml` declares them.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::document::DocumentError;
use super::field::FieldPath;
use super::index_value::IndexValue;
use crate::name::CollectionName;

/// A collection of documents: its name, and by what its documents can be found and sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    pub name: CollectionName,
    pub indexes: Vec<Index>,
    /// Each indexed field once, in the order of the indexes: the columns of a store.
    fields: Vec<FieldPath>,
}

/// One entry of `indexes`: one field, or several that are looked at together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    pub fields: Vec<FieldPath>,
}

/// All collections of one projection.
pub type Collections = Arc<[Collection]>;

// === impl Collection ===

impl Collection {
    pub fn new(name: CollectionName, indexes: Vec<Index>) -> Self {
        let mut fields = Vec::new();
        for field in indexes.iter().flat_map(|index| &index.fields) {
            if !fields.contains(field) {
                fields.push(field.clone());
            }
        }
        Self { name, indexes, fields }
    }

    /// Each indexed field once. Its place is the number of its column in a store.
    pub fn fields(&self) -> &[FieldPath] {
        &self.fields
    }

    /// The column of a field; `None` if it is not indexed.
    pub fn column(&self, field: &str) -> Option<usize> {
        self.fields.iter().position(|known| known.as_str() == field)
    }

    /// The values of the indexed fields, in the order of [`fields`](Self::fields).
    pub(crate) fn index_values(&self, document: &Map<String, Value>) -> Result<Box<[IndexValue]>, DocumentError> {
        let value = |field: &FieldPath| {
            IndexValue::of(field.of(document)).map_err(|length| DocumentError::LongIndexedText {
                collection: self.name.to_string(),
                field: field.to_string(),
                length,
            })
        };
        self.fields.iter().map(value).collect()
    }
}
