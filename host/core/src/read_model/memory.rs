//! A store of read models on maps, which forgets everything at its end: for tests, also with a paused clock.
//!
//! It passes the same suite as the others (`conformance::read_models`). Nothing here waits, so whoever asks is answered at once;
//! and each step happens under one lock, so it happens as a whole.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;

use super::collection::{Collection, Collections};
use super::document::{Document, DocumentWrite, Written};
use super::index_value::IndexValue;
use super::query::{Direction, Query};
use super::store::{
    Batch, Claim, Copy, CopyId, CopyReader, CopyState, Fence, Found, Ledger, NewCopy, Positions, ReadModelStore,
    StoreError,
};
use crate::clock::WallClock;
use crate::name::{CollectionName, ProjectionName};

/// A word for messages.
const KIND: &str = "memory";

/// Read models in memory.
#[derive(Default)]
pub struct MemoryStore {
    clock: WallClock,
    projections: Mutex<BTreeMap<ProjectionName, Shelf>>,
}

/// What is known of one projection.
#[derive(Default)]
struct Shelf {
    copies: BTreeMap<u64, Filled>,
    /// Numbers and epochs that were given.
    numbers: u64,
    epoch: u64,
    holder: Option<String>,
    paused: bool,
}

struct Filled {
    copy: Copy,
    collections: Collections,
    documents: BTreeMap<(CollectionName, String), Written>,
}

// === impl MemoryStore ===

impl MemoryStore {
    /// Copies are made at the time that this clock tells.
    pub fn new(clock: WallClock) -> Arc<Self> {
        Arc::new(Self { clock, projections: Mutex::default() })
    }

    /// Everything that a projection's active copy holds, in the order of collection and key.
    pub fn documents(&self, projection: &ProjectionName) -> Vec<(CollectionName, String, Bytes)> {
        let projections = self.lock();
        let copies = projections.get(projection).into_iter().flat_map(|shelf| shelf.copies.values());
        let active = copies.filter(|filled| filled.copy.state == CopyState::Active);
        let documents = active.flat_map(|filled| &filled.documents);
        documents.map(|((name, key), written)| (name.clone(), key.clone(), written.body.clone())).collect()
    }

    /// Does something to a projection for whoever has claimed it.
    fn allowed<T>(
        &self,
        fence: &Fence,
        work: impl FnOnce(&mut Shelf) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut projections = self.lock();
        let shelf = projections.entry(fence.projection.clone()).or_default();
        if shelf.epoch != fence.epoch {
            return Err(StoreError::Fenced(fence.projection.clone()));
        }
        work(shelf)
    }

    fn with<T>(&self, copy: &CopyId, look: impl FnOnce(&Filled) -> T) -> Result<T, StoreError> {
        let projections = self.lock();
        let filled = projections.get(&copy.projection).and_then(|shelf| shelf.copies.get(&copy.number));
        filled.map(look).ok_or_else(|| StoreError::NoCopy(copy.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ProjectionName, Shelf>> {
        self.projections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl CopyReader for MemoryStore {
    async fn read(&self, copy: &CopyId, collection: &Collection, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.with(copy, |filled| filled.get(collection, key))
    }

    async fn find(
        &self,
        copy: &CopyId,
        collection: &Collection,
        column: usize,
        value: &IndexValue,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.with(copy, |filled| {
            let later = filled.of(collection).filter(|(key, _)| after.is_none_or(|after| *key > after));
            let equal = later.filter(|(_, written)| written.index_values.get(column) == Some(value));
            equal.take(limit).map(|(key, written)| document(key, written)).collect()
        })
    }
}

#[async_trait]
impl ReadModelStore for MemoryStore {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn ledger(&self, projection: &ProjectionName) -> Result<Ledger, StoreError> {
        let projections = self.lock();
        let Some(shelf) = projections.get(projection) else { return Ok(Ledger::default()) };
        let copies = shelf.copies.values().map(|filled| filled.copy.clone()).collect();
        Ok(Ledger { copies, paused: shelf.paused, holder: shelf.holder.clone() })
    }

    async fn claim(&self, projection: &ProjectionName, holder: &str) -> Result<Claim, StoreError> {
        let mut projections = self.lock();
        let shelf = projections.entry(projection.clone()).or_default();
        shelf.epoch += 1;
        shelf.holder = Some(holder.to_owned());
        Ok(Claim::Granted(Fence { projection: projection.clone(), epoch: shelf.epoch }))
    }

    async fn renew(&self, fence: &Fence) -> Result<(), StoreError> {
        self.allowed(fence, |_| Ok(()))
    }

    fn renew_every(&self) -> Option<Duration> {
        None
    }

    async fn release(&self, fence: &Fence) -> Result<(), StoreError> {
        self.allowed(fence, |shelf| {
            shelf.holder = None;
            Ok(())
        })
    }

    async fn create(&self, fence: &Fence, copy: NewCopy) -> Result<CopyId, StoreError> {
        let now = self.clock.now();
        self.allowed(fence, |shelf| {
            shelf.numbers += 1;
            let id = CopyId { projection: fence.projection.clone(), number: shelf.numbers };
            let NewCopy { digest, collections, positions } = copy;
            let copy = Copy {
                id: id.clone(),
                state: CopyState::Building,
                digest,
                created: now,
                changed: now,
                positions,
                folded: 0,
                dead_lettered: 0,
                shape: NewCopy::shape(&collections),
            };
            shelf.copies.insert(id.number, Filled { copy, collections, documents: BTreeMap::new() });
            Ok(id)
        })
    }

    async fn activate(&self, fence: &Fence, copy: &CopyId) -> Result<(), StoreError> {
        same_projection(fence, copy)?;
        let now = self.clock.now();
        self.allowed(fence, |shelf| {
            if shelf.filled(copy)?.copy.state == CopyState::Active {
                return Ok(());
            }
            shelf.copies.retain(|number, it| it.copy.state != CopyState::Previous || *number == copy.number);
            for it in shelf.copies.values_mut().filter(|it| it.copy.state == CopyState::Active) {
                (it.copy.state, it.copy.changed) = (CopyState::Previous, now);
            }
            let it = shelf.filled(copy)?;
            (it.copy.state, it.copy.changed) = (CopyState::Active, now);
            Ok(())
        })
    }

    async fn remove(&self, fence: &Fence, copy: &CopyId) -> Result<(), StoreError> {
        same_projection(fence, copy)?;
        self.allowed(fence, |shelf| match shelf.copies.get(&copy.number) {
            Some(filled) if filled.copy.state == CopyState::Active => {
                Err(StoreError::Refused(format!("the copy {copy} is active")))
            }
            _ => {
                shelf.copies.remove(&copy.number);
                Ok(())
            }
        })
    }

    async fn set_paused(&self, fence: &Fence, paused: bool) -> Result<(), StoreError> {
        self.allowed(fence, |shelf| {
            shelf.paused = paused;
            Ok(())
        })
    }

    async fn commit(&self, fence: &Fence, copy: &CopyId, batch: Batch) -> Result<(), StoreError> {
        same_projection(fence, copy)?;
        self.allowed(fence, |shelf| shelf.filled(copy)?.commit(batch))
    }

    async fn positions(&self, copy: &CopyId) -> Result<Positions, StoreError> {
        self.with(copy, |filled| filled.copy.positions.clone())
    }

    async fn get(
        &self,
        copy: &CopyId,
        collection: &Collection,
        key: &str,
    ) -> Result<(Option<Bytes>, Positions), StoreError> {
        self.with(copy, |filled| (filled.get(collection, key), filled.copy.positions.clone()))
    }

    async fn query(
        &self,
        copy: &CopyId,
        collection: &Collection,
        query: &Query,
        timeout: Duration,
    ) -> Result<Found, StoreError> {
        check_query(collection, query)?;
        let begun = Instant::now();
        let found = self.with(copy, |filled| filled.query(collection, query))?;
        // Nothing interrupts a sort; an answer that took too long is none.
        if begun.elapsed() > timeout { Err(StoreError::TooSlow(timeout)) } else { Ok(found) }
    }
}

// === impl Shelf ===

impl Shelf {
    fn filled(&mut self, copy: &CopyId) -> Result<&mut Filled, StoreError> {
        self.copies.get_mut(&copy.number).ok_or_else(|| StoreError::NoCopy(copy.clone()))
    }
}

// === impl Filled ===

impl Filled {
    fn commit(&mut self, batch: Batch) -> Result<(), StoreError> {
        batch.writes.iter().try_for_each(|write| self.check(write))?;
        if self.copy.positions != batch.builds_on {
            let (copy, found) = (self.copy.id.clone(), self.copy.positions.clone());
            return Err(StoreError::Moved { copy, expected: batch.builds_on, found });
        }
        self.copy.positions.extend(batch.positions);
        self.copy.folded += batch.folded;
        self.copy.dead_lettered += batch.dead_lettered;
        for DocumentWrite { collection, key, document } in batch.writes {
            match document {
                Some(written) => drop(self.documents.insert((collection, key), written)),
                None => drop(self.documents.remove(&(collection, key))),
            }
        }
        Ok(())
    }

    fn check(&self, write: &DocumentWrite) -> Result<(), StoreError> {
        let id = &self.copy.id;
        let known = self.collections.iter().find(|collection| collection.name == write.collection);
        let known = known
            .ok_or_else(|| StoreError::Refused(format!("the copy {id} has no collection `{}`", write.collection)))?;
        let columns = write.document.as_ref().map(|written| written.index_values.len());
        match columns.filter(|columns| *columns != known.fields().len()) {
            Some(columns) => Err(StoreError::Refused(format!(
                "a document of `{}` has {columns} indexed values, expected {}",
                known.name,
                known.fields().len()
            ))),
            None => Ok(()),
        }
    }

    fn of<'f>(&'f self, collection: &'f Collection) -> impl Iterator<Item = (&'f str, &'f Written)> {
        let from = (collection.name.clone(), String::new());
        let documents = self.documents.range(from..).take_while(|((name, _), _)| *name == collection.name);
        documents.map(|((_, key), written)| (key.as_str(), written))
    }

    fn get(&self, collection: &Collection, key: &str) -> Option<Bytes> {
        let found = self.documents.get(&(collection.name.clone(), key.to_owned()));
        found.map(|written| written.body.clone())
    }

    fn query(&self, collection: &Collection, query: &Query) -> Found {
        let place = |written: &Written| -> Vec<IndexValue> {
            query.sort.iter().filter_map(|column| written.index_values.get(*column).cloned()).collect()
        };
        let wanted = self.of(collection);
        let wanted = wanted.filter(|(_, it)| query.conditions.iter().all(|it_is| it_is.holds(&it.index_values)));
        let mut rows: Vec<(Vec<IndexValue>, &str, &Written)> =
            wanted.map(|(key, written)| (place(written), key, written)).collect();
        rows.sort_by(|(a, key, _), (b, other, _)| (a, key).cmp(&(b, other)));
        if query.direction == Direction::Descending {
            rows.reverse();
        }
        if let Some((values, last)) = &query.after {
            rows.retain(|(place, key, _)| match query.direction {
                Direction::Ascending => (place, *key) > (values, last.as_str()),
                Direction::Descending => (place, *key) < (values, last.as_str()),
            });
        }
        let rows = rows.into_iter().take(query.limit);
        let documents = rows.map(|(place, key, written)| (document(key, written), place)).collect();
        Found { documents, positions: self.copy.positions.clone() }
    }
}

fn document(key: &str, written: &Written) -> Document {
    Document { key: key.to_owned(), body: written.body.clone() }
}

fn check_query(collection: &Collection, query: &Query) -> Result<(), StoreError> {
    let columns = collection.fields().len();
    let named = query.sort.iter().chain(query.conditions.iter().map(|condition| &condition.column));
    if let Some(column) = named.into_iter().find(|column| **column >= columns) {
        return Err(StoreError::Refused(format!("`{}` has no column {column}", collection.name)));
    }
    match &query.after {
        Some((values, _)) if values.len() != query.sort.len() => {
            Err(StoreError::Refused("the place to go on from is of another order".to_owned()))
        }
        _ => Ok(()),
    }
}

fn same_projection(fence: &Fence, copy: &CopyId) -> Result<(), StoreError> {
    if fence.projection == copy.projection {
        return Ok(());
    }
    Err(StoreError::Refused(format!("a claim of `{}` does not allow to write the copy {copy}", fence.projection)))
}
