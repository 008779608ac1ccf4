//! The read model of one projection during one event.

use std::sync::Arc;

use bytes::Bytes;

use super::document::{Document, DocumentError, DocumentWrite, Written, check_key};
use super::index_value::IndexValue;
use super::view::{FoldView, Overlay, document_writes};
use crate::json::{self, JsonLimits};
use crate::limits::Limits;
use crate::name::CollectionName;

/// Most documents that one `find` answers.
const MAX_FOUND: usize = 1000;

/// The documents as one event sees them. Dropping it forgets everything that the event wrote.
pub struct DocumentSession {
    view: Arc<FoldView>,
    read_only: bool,
    writes: DocumentWrites,
    written_bytes: u64,
}

/// What one event wrote.
#[derive(Debug, Default)]
pub struct DocumentWrites {
    pub(super) writes: Overlay,
}

// === impl DocumentSession ===

impl DocumentSession {
    pub(super) fn new(view: Arc<FoldView>, read_only: bool) -> Self {
        Self { view, read_only, writes: DocumentWrites::default(), written_bytes: 0 }
    }

    /// A session that has written nothing, for another run of the same event.
    pub fn again(&self) -> Self {
        Self::new(Arc::clone(&self.view), self.read_only)
    }

    /// A document; this event's and earlier events' writes are seen.
    pub async fn get(&mut self, collection: &str, key: &str) -> Result<Option<Bytes>, DocumentError> {
        check_key(key)?;
        let collection = self.view.collection(collection)?;
        if let Some(written) = self.writes.writes.get(&(collection.name.clone(), key.to_owned())) {
            return Ok(written.as_ref().map(|document| document.body.clone()));
        }
        self.view.read(collection, key).await
    }

    /// Sets a document, a JSON object.
    pub fn put(&mut self, collection: &str, key: &str, body: Bytes, limits: &Limits) -> Result<(), DocumentError> {
        if body.len() as u64 > limits.document {
            return Err(DocumentError::Limit { limit: "document", allowed: limits.document });
        }
        let document = Written::check(self.view.collection(collection)?, body)?;
        self.write(collection, key, Some(document), limits)
    }

    /// Removes a document. Removing what is not there is no error.
    pub fn delete(&mut self, collection: &str, key: &str, limits: &Limits) -> Result<(), DocumentError> {
        self.write(collection, key, None, limits)
    }

    /// At most `limit` (and 1000) documents whose indexed `field` equals `value`, a JSON value, in the order of their keys,
    /// after the key `after`. Numbers are equal as 64-bit floats.
    pub async fn find(
        &mut self,
        collection: &str,
        field: &str,
        value: &[u8],
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, DocumentError> {
        let collection = self.view.collection(collection)?;
        let column = collection.column(field).ok_or_else(|| DocumentError::NoIndex {
            collection: collection.name.to_string(),
            field: field.chars().take(128).collect(),
        })?;
        let value = json::parse(value, &JsonLimits::default())
            .map_err(|error| DocumentError::BadValue(format!("no JSON: {error}")))?;
        let value = IndexValue::of(Some(&value))
            .map_err(|length| DocumentError::BadValue(format!("a text of {length} bytes")))?;
        self.view.find(collection, column, &value, after, limit.min(MAX_FOUND), &self.writes.writes).await
    }

    /// What the event wrote.
    pub fn finish(self) -> DocumentWrites {
        self.writes
    }

    fn write(
        &mut self,
        collection: &str,
        key: &str,
        document: Option<Written>,
        limits: &Limits,
    ) -> Result<(), DocumentError> {
        if self.read_only {
            return Err(DocumentError::ReadOnly);
        }
        check_key(key)?;
        let name = self.view.collection(collection)?.name.clone();
        let bytes = (key.len() + document.as_ref().map_or(0, |document| document.body.len())) as u64;
        if self.written_bytes + bytes > limits.document_bytes {
            return Err(DocumentError::Limit { limit: "document_bytes", allowed: limits.document_bytes });
        }
        let (writes, place) = (&mut self.writes.writes, (name, key.to_owned()));
        let allowed = u64::from(limits.document_writes);
        if !writes.contains_key(&place) && writes.len() as u64 >= allowed {
            return Err(DocumentError::Limit { limit: "document_writes", allowed });
        }
        self.written_bytes += bytes;
        writes.insert(place, document);
        Ok(())
    }
}

// === impl DocumentWrites ===

impl DocumentWrites {
    /// Each document that was written, in the order of collection and key.
    pub fn list(&self) -> Vec<DocumentWrite> {
        document_writes(&self.writes)
    }

    /// Keys and documents together.
    pub fn bytes(&self) -> usize {
        let bytes = |(place, written): (&(CollectionName, String), &Option<Written>)| {
            place.1.len() + written.as_ref().map_or(0, |document| document.body.len())
        };
        self.writes.iter().map(bytes).sum()
    }
}
