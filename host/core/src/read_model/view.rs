//! A read model as the events of one batch see it: what is stored, and on top of it what the batch has written so far.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::collection::{Collection, Collections};
use super::document::{Document, DocumentError, DocumentWrite, Written};
use super::index_value::IndexValue;
use super::session::{DocumentSession, DocumentWrites};
use super::store::{CopyId, ReadModelStore, StoreError};
use crate::name::CollectionName;

/// Writes by collection and key; `None` deletes.
pub(super) type Overlay = BTreeMap<(CollectionName, String), Option<Written>>;

/// One copy, seen by the fold that writes it.
pub struct FoldView {
    store: Arc<dyn ReadModelStore>,
    copy: CopyId,
    collections: Collections,
    overlay: Mutex<Overlay>,
}

// === impl FoldView ===

impl FoldView {
    pub fn new(store: Arc<dyn ReadModelStore>, copy: CopyId, collections: Collections) -> Arc<Self> {
        Arc::new(Self { store, copy, collections, overlay: Mutex::default() })
    }

    pub fn copy(&self) -> &CopyId {
        &self.copy
    }

    /// A session for one event; or for a question, which writes nothing.
    pub fn session(self: &Arc<Self>) -> DocumentSession {
        DocumentSession::new(Arc::clone(self), false)
    }

    pub fn read_only_session(self: &Arc<Self>) -> DocumentSession {
        DocumentSession::new(Arc::clone(self), true)
    }

    /// Takes over what an event wrote: later events of the batch see it.
    pub fn accept(&self, writes: DocumentWrites) {
        self.overlay().extend(writes.writes);
    }

    /// Bytes and documents that wait to be committed.
    pub fn pending(&self) -> (usize, usize) {
        let overlay = self.overlay();
        let bytes = |(key, write): (&(CollectionName, String), &Option<Written>)| {
            key.1.len() + write.as_ref().map_or(0, |document| document.body.len())
        };
        (overlay.iter().map(bytes).sum(), overlay.len())
    }

    /// What the batch wrote. It stays visible until [`forget`](Self::forget).
    pub fn writes(&self) -> Vec<DocumentWrite> {
        let write = |((collection, key), document): (&(CollectionName, String), &Option<Written>)| DocumentWrite {
            collection: collection.clone(),
            key: key.clone(),
            document: document.clone(),
        };
        self.overlay().iter().map(write).collect()
    }

    /// Forgets what the batch wrote: it is committed, or shall be folded again.
    pub fn forget(&self) {
        self.overlay().clear();
    }

    pub(super) fn collection(&self, name: &str) -> Result<&Collection, DocumentError> {
        let found = self.collections.iter().find(|collection| collection.name.as_str() == name);
        found.ok_or_else(|| DocumentError::NoCollection(name.chars().take(64).collect()))
    }

    pub(super) async fn read(&self, collection: &Collection, key: &str) -> Result<Option<Bytes>, DocumentError> {
        let written = self.overlay().get(&(collection.name.clone(), key.to_owned())).cloned();
        if let Some(written) = written {
            return Ok(written.map(|document| document.body));
        }
        self.store.read(&self.copy, collection, key).await.map_err(unavailable)
    }

    /// At most `limit` documents whose column equals `value`, in the order of their keys, `own` writes on top of the batch's.
    pub(super) async fn find(
        &self,
        collection: &Collection,
        column: usize,
        value: &IndexValue,
        after: Option<&str>,
        limit: usize,
        own: &Overlay,
    ) -> Result<Vec<Document>, DocumentError> {
        let mut changed: BTreeMap<String, Option<Written>> = BTreeMap::new();
        let of_collection = |overlay: &Overlay, changed: &mut BTreeMap<String, Option<Written>>| {
            let later = overlay
                .iter()
                .filter(|((name, key), _)| *name == collection.name && after.is_none_or(|after| key.as_str() > after));
            changed.extend(later.map(|((_, key), write)| (key.clone(), write.clone())));
        };
        of_collection(&self.overlay(), &mut changed);
        of_collection(own, &mut changed);
        // Whatever was changed may fall out of what is stored.
        let stored = self.store.find(&self.copy, collection, column, value, after, limit + changed.len());
        let stored = stored.await.map_err(unavailable)?;
        let mut found: BTreeMap<String, Bytes> =
            stored.into_iter().filter(|it| !changed.contains_key(&it.key)).map(|it| (it.key, it.body)).collect();
        for (key, written) in changed {
            if let Some(document) = written.filter(|document| document.index_values.get(column) == Some(value)) {
                found.insert(key, document.body);
            }
        }
        Ok(found.into_iter().take(limit).map(|(key, body)| Document { key, body }).collect())
    }

    fn overlay(&self) -> MutexGuard<'_, Overlay> {
        self.overlay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unavailable(error: StoreError) -> DocumentError {
    DocumentError::Unavailable(error.to_string())
}
