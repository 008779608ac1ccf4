//! A read model as the events of one batch see it: what is stored, and on top of it what the batch has written so far.
//!
//! While a batch is committed the next one is folded already. So what is written lies in two layers: `sealed` is on its way
//! to the store and is not changed any more, `open` is what the events after it have written. Below them lies what is
//! [known](Known) of the store.
//!
//! Questions have a view of their own, which looks at the copy as people's queries do: what the fold needs of the store is left
//! to the fold.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::collection::{Collection, Collections};
use super::document::{Document, DocumentError, DocumentWrite, Written};
use super::index_value::IndexValue;
use super::known::Known;
use super::query::{Condition, Operator, Query};
use super::session::{DocumentSession, DocumentWrites};
use super::store::{CopyId, CopyReader, ReadModelStore, StoreError};
use crate::name::CollectionName;

/// Writes by collection and key; `None` deletes.
pub(super) type Overlay = BTreeMap<(CollectionName, String), Option<Written>>;

/// One copy, seen by the fold that writes it.
pub struct FoldView {
    copy: CopyId,
    collections: Collections,
    looks: Looks,
    layers: Mutex<Layers>,
}

/// How the store is read.
enum Looks {
    /// As the fold that writes the copy.
    Fold(Arc<dyn CopyReader>),
    /// As a query: beside the fold, each look within this time.
    Question(Arc<dyn ReadModelStore>, Duration),
}

#[derive(Default)]
struct Layers {
    sealed: Overlay,
    open: Overlay,
    known: Known,
    /// Grows with each commit and whenever something is forgotten: an answer of the store that was asked for before may be
    /// older than what is known since.
    epoch: u64,
}

// === impl FoldView ===

impl FoldView {
    pub fn new(store: Arc<dyn CopyReader>, copy: CopyId, collections: Collections) -> Arc<Self> {
        Arc::new(Self { copy, collections, looks: Looks::Fold(store), layers: Mutex::default() })
    }

    /// For a question, which sees what is committed and holds up no fold, however much it looks at. Each look may take so long.
    pub fn of_question(
        store: Arc<dyn ReadModelStore>,
        copy: CopyId,
        collections: Collections,
        timeout: Duration,
    ) -> Arc<Self> {
        Arc::new(Self { copy, collections, looks: Looks::Question(store, timeout), layers: Mutex::default() })
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
        self.layers().open.extend(writes.writes);
    }

    /// Bytes and documents that wait to be sealed.
    pub fn pending(&self) -> (usize, usize) {
        let layers = self.layers();
        let bytes = |(key, write): (&(CollectionName, String), &Option<Written>)| {
            key.1.len() + write.as_ref().map_or(0, |document| document.body.len())
        };
        (layers.open.iter().map(bytes).sum(), layers.open.len())
    }

    /// What was written since the last seal.
    pub fn writes(&self) -> Vec<DocumentWrite> {
        document_writes(&self.layers().open)
    }

    /// What the batch wrote, to be committed. It stays visible until [`settle`](Self::settle) or [`forget`](Self::forget). A
    /// batch that was sealed before must have been settled.
    pub fn seal(&self) -> Vec<DocumentWrite> {
        let mut layers = self.layers();
        let open = std::mem::take(&mut layers.open);
        layers.sealed.extend(open);
        document_writes(&layers.sealed)
    }

    /// What was sealed is committed.
    pub fn settle(&self) {
        let mut layers = self.layers();
        layers.epoch += 1;
        for (place, written) in std::mem::take(&mut layers.sealed) {
            layers.known.put(place, written.map(|document| document.body));
        }
    }

    /// Forgets everything that is not committed, or not known to be: it shall be folded again.
    pub fn forget(&self) {
        let mut layers = self.layers();
        *layers = Layers { epoch: layers.epoch + 1, ..Layers::default() };
    }

    pub(super) fn collection(&self, name: &str) -> Result<&Collection, DocumentError> {
        let found = self.collections.iter().find(|collection| collection.name.as_str() == name);
        found.ok_or_else(|| DocumentError::NoCollection(name.chars().take(64).collect()))
    }

    pub(super) async fn read(&self, collection: &Collection, key: &str) -> Result<Option<Bytes>, DocumentError> {
        let place = (collection.name.clone(), key.to_owned());
        let epoch = {
            let mut layers = self.layers();
            if let Some(written) = layers.open.get(&place).or_else(|| layers.sealed.get(&place)) {
                return Ok(written.as_ref().map(|document| document.body.clone()));
            }
            if let Some(known) = layers.known.get(&place) {
                return Ok(known);
            }
            layers.epoch
        };
        let stored = self.stored(collection, key).await.map_err(unavailable)?;
        let mut layers = self.layers();
        if layers.epoch == epoch {
            layers.known.put(place, stored.clone());
        }
        Ok(stored)
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
        {
            let layers = self.layers();
            of_collection(&layers.sealed, &mut changed);
            of_collection(&layers.open, &mut changed);
        }
        of_collection(own, &mut changed);
        // Whatever was changed may fall out of what is stored.
        let stored = self.stored_with(collection, column, value, after, limit + changed.len());
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

    async fn stored(&self, collection: &Collection, key: &str) -> Result<Option<Bytes>, StoreError> {
        match &self.looks {
            Looks::Fold(store) => store.read(&self.copy, collection, key).await,
            Looks::Question(store, timeout) => {
                let got = tokio::time::timeout(*timeout, store.get(&self.copy, collection, key)).await;
                Ok(got.unwrap_or(Err(StoreError::TooSlow(*timeout)))?.0)
            }
        }
    }

    /// Documents whose column equals `value`, in the order of their keys.
    async fn stored_with(
        &self,
        collection: &Collection,
        column: usize,
        value: &IndexValue,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let (store, timeout) = match &self.looks {
            Looks::Fold(store) => return store.find(&self.copy, collection, column, value, after, limit).await,
            Looks::Question(store, timeout) => (store, *timeout),
        };
        let query = Query {
            conditions: vec![Condition { column, operator: Operator::In(vec![value.clone()]) }],
            after: after.map(|key| (Vec::new(), key.to_owned())),
            limit,
            ..Query::default()
        };
        let found = store.query(&self.copy, collection, &query, timeout).await?;
        Ok(found.documents.into_iter().map(|(document, _)| document).collect())
    }

    fn layers(&self) -> MutexGuard<'_, Layers> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn document_writes(overlay: &Overlay) -> Vec<DocumentWrite> {
    let write = |((collection, key), document): (&(CollectionName, String), &Option<Written>)| DocumentWrite {
        collection: collection.clone(),
        key: key.clone(),
        document: document.clone(),
    };
    overlay.iter().map(write).collect()
}

fn unavailable(error: StoreError) -> DocumentError {
    DocumentError::Unavailable(error.to_string())
}
