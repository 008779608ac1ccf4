//! A store of read models in memory: one copy, and faults on demand.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use tidemill_core::name::{CollectionName, ProjectionName};
use tidemill_core::read_model::{
    Batch, Claim, Collection, CopyId, CopyReader, Direction, Document, Fence, Found, IndexValue, Ledger, NewCopy,
    Positions, Query, ReadModelStore, StoreError, Written,
};

/// Documents by collection and key.
type Documents = BTreeMap<(CollectionName, String), Written>;

#[derive(Default)]
pub(crate) struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    documents: Documents,
    positions: Positions,
    /// What every call answers, if it is set.
    fault: Option<StoreError>,
    /// Copies below this number are gone.
    first_copy: u64,
}

impl MemoryStore {
    pub(crate) fn put(&self, collection: &Collection, key: &str, document: &Value) {
        let members = document.as_object().unwrap();
        let index_values = collection.fields().iter().map(|field| IndexValue::of(field.of(members)).unwrap()).collect();
        let written = Written { body: document.to_string().into(), index_values };
        self.inner().documents.insert((collection.name.clone(), key.to_owned()), written);
    }

    pub(crate) fn remove_document(&self, collection: &Collection, key: &str) {
        self.inner().documents.remove(&(collection.name.clone(), key.to_owned()));
    }

    pub(crate) fn stand_at(&self, positions: Positions) {
        self.inner().positions = positions;
    }

    pub(crate) fn standing(&self) -> Positions {
        self.inner().positions.clone()
    }

    pub(crate) fn fail_with(&self, fault: Option<StoreError>) {
        self.inner().fault = fault;
    }

    pub(crate) fn drop_copies_below(&self, number: u64) {
        self.inner().first_copy = number;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, copy: &CopyId) -> Result<MutexGuard<'_, Inner>, StoreError> {
        let inner = self.inner();
        match &inner.fault {
            Some(fault) => Err(fault.clone()),
            None if copy.number < inner.first_copy => Err(StoreError::NoCopy(copy.clone())),
            None => Ok(inner),
        }
    }
}

#[async_trait]
impl CopyReader for MemoryStore {
    async fn read(&self, _copy: &CopyId, _collection: &Collection, _key: &str) -> Result<Option<Bytes>, StoreError> {
        Err(refused())
    }

    async fn find(
        &self,
        _copy: &CopyId,
        _collection: &Collection,
        _column: usize,
        _value: &IndexValue,
        _after: Option<&str>,
        _limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        Err(refused())
    }
}

#[async_trait]
impl ReadModelStore for MemoryStore {
    fn kind(&self) -> &'static str {
        "memory"
    }

    async fn get(
        &self,
        copy: &CopyId,
        collection: &Collection,
        key: &str,
    ) -> Result<(Option<Bytes>, Positions), StoreError> {
        let inner = self.open(copy)?;
        let place = (collection.name.clone(), key.to_owned());
        Ok((inner.documents.get(&place).map(|written| written.body.clone()), inner.positions.clone()))
    }

    async fn query(
        &self,
        copy: &CopyId,
        collection: &Collection,
        query: &Query,
        _timeout: Duration,
    ) -> Result<Found, StoreError> {
        let inner = self.open(copy)?;
        let of_collection = inner.documents.iter().filter(|((name, _), _)| *name == collection.name);
        let fitting = of_collection
            .filter(|(_, written)| query.conditions.iter().all(|condition| condition.holds(&written.index_values)));
        let mut found: Vec<(Vec<IndexValue>, String, Bytes)> = fitting
            .map(|((_, key), written)| {
                let values = query.sort.iter().map(|&column| written.index_values[column].clone()).collect();
                (values, key.clone(), written.body.clone())
            })
            .collect();
        found.sort();
        if query.direction == Direction::Descending {
            found.reverse();
        }
        if let Some((values, key)) = &query.after {
            found.retain(|(its, own, _)| match query.direction {
                Direction::Ascending => (its, own) > (values, key),
                Direction::Descending => (its, own) < (values, key),
            });
        }
        let documents = found.into_iter().take(query.limit).map(|(values, key, body)| (Document { key, body }, values));
        Ok(Found { documents: documents.collect(), positions: inner.positions.clone() })
    }

    async fn positions(&self, copy: &CopyId) -> Result<Positions, StoreError> {
        Ok(self.open(copy)?.positions.clone())
    }

    async fn ledger(&self, _projection: &ProjectionName) -> Result<Ledger, StoreError> {
        Ok(Ledger::default())
    }

    async fn claim(&self, projection: &ProjectionName, _holder: &str) -> Result<Claim, StoreError> {
        Ok(Claim::Granted(Fence { projection: projection.clone(), epoch: 1 }))
    }

    async fn renew(&self, _fence: &Fence) -> Result<(), StoreError> {
        Ok(())
    }

    fn renew_every(&self) -> Option<Duration> {
        None
    }

    async fn release(&self, _fence: &Fence) -> Result<(), StoreError> {
        Ok(())
    }

    async fn create(&self, _fence: &Fence, _copy: NewCopy) -> Result<CopyId, StoreError> {
        Err(refused())
    }

    async fn activate(&self, _fence: &Fence, _copy: &CopyId) -> Result<(), StoreError> {
        Err(refused())
    }

    async fn remove(&self, _fence: &Fence, _copy: &CopyId) -> Result<(), StoreError> {
        Err(refused())
    }

    async fn set_paused(&self, _fence: &Fence, _paused: bool) -> Result<(), StoreError> {
        Err(refused())
    }

    async fn commit(&self, _fence: &Fence, _copy: &CopyId, _batch: Batch) -> Result<(), StoreError> {
        Err(refused())
    }
}

/// The gateway reads and does nothing else.
fn refused() -> StoreError {
    StoreError::Refused("this store is for questions only".to_owned())
}
