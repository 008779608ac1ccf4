//! A store of read models in memory that can be away, do its work and lose the answer, or be claimed by another host.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tidemill_core::name::ProjectionName;
use tidemill_core::read_model::{
    Batch, Claim, Collection, Copy, CopyId, CopyReader, CopyState, Document, Fence, Found, IndexValue, Ledger, NewCopy,
    Positions, Query, ReadModelStore, StoreError, Written,
};

use crate::faulty::Fault;

/// A method that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Room {
    Claim,
    Ledger,
    Create,
    Activate,
    Remove,
    Commit,
    Positions,
    Read,
}

#[derive(Default)]
pub(crate) struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

/// By collection and key.
type Documents = BTreeMap<(String, String), Written>;

#[derive(Default)]
struct Inner {
    copies: BTreeMap<u64, (Copy, Documents)>,
    numbers: u64,
    epoch: u64,
    holder: Option<String>,
    paused: bool,
    faults: HashMap<Room, VecDeque<Fault>>,
    /// The size of each batch, in events and in documents.
    batches: Vec<u64>,
    written: Vec<usize>,
    /// For each of the next commits, whether it is confirmed and then lost.
    lost: VecDeque<bool>,
    /// The copies as they were before the last commit.
    before: BTreeMap<u64, (Copy, Documents)>,
    commit_time: Duration,
    ledger_time: Duration,
    /// So many commits are given up by their caller and reach the store a moment later.
    late: usize,
    renewals: usize,
    renew_every: Option<Duration>,
}

impl MemoryStore {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The next `times` calls end with this fault.
    pub(crate) fn fail(&self, room: Room, fault: Fault, times: usize) {
        self.inner().faults.entry(room).or_default().extend(std::iter::repeat_n(fault, times));
    }

    /// Another host claims the projection, whoever has it.
    pub(crate) fn steal(&self, holder: &str) {
        let mut inner = self.inner();
        inner.epoch += 1;
        inner.holder = Some(holder.to_owned());
    }

    /// And gives it back.
    pub(crate) fn give_back(&self) {
        self.inner().holder = None;
    }

    pub(crate) fn must_renew(&self, every: Duration) {
        self.inner().renew_every = Some(every);
    }

    pub(crate) fn renewals(&self) -> usize {
        self.inner().renewals
    }

    pub(crate) fn holder(&self) -> Option<String> {
        self.inner().holder.clone()
    }

    /// A commit takes so long from now on.
    pub(crate) fn commits_take(&self, time: Duration) {
        self.inner().commit_time = time;
    }

    /// The answer of a ledger is on its way for so long from now on.
    pub(crate) fn ledgers_take(&self, time: Duration) {
        self.inner().ledger_time = time;
    }

    /// The next commits are answered with `Unavailable` and reach the store a moment later: a connection that broke.
    pub(crate) fn commits_land_late(&self, times: usize) {
        self.inner().late = times;
    }

    /// For each of the next commits, whether it is lost after it was confirmed: a failover to a server that had not got it.
    pub(crate) fn lose(&self, commits: impl IntoIterator<Item = bool>) {
        self.inner().lost = commits.into_iter().collect();
    }

    /// The last commit is lost now: a backup takes the place of what was there.
    pub(crate) fn go_back(&self) {
        let mut inner = self.inner();
        inner.copies = inner.before.clone();
    }

    /// The documents of each batch.
    pub(crate) fn written(&self) -> Vec<usize> {
        self.inner().written.clone()
    }

    pub(crate) fn batches(&self) -> Vec<u64> {
        self.inner().batches.clone()
    }

    pub(crate) fn copies(&self) -> Vec<Copy> {
        self.inner().copies.values().map(|(copy, _)| copy.clone()).collect()
    }

    pub(crate) fn in_state(&self, state: CopyState) -> Option<Copy> {
        self.copies().into_iter().find(|copy| copy.state == state)
    }

    pub(crate) fn active(&self) -> Copy {
        self.in_state(CopyState::Active).expect("an active copy")
    }

    /// A document of a copy, as text.
    pub(crate) fn document(&self, number: u64, collection: &str, key: &str) -> Option<String> {
        let inner = self.inner();
        let (_, documents) = inner.copies.get(&number)?;
        let written = documents.get(&(collection.to_owned(), key.to_owned()))?;
        Some(String::from_utf8(written.body.to_vec()).unwrap())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Yields, so that a call is a place where a test can cut, and then does or does not do the work.
    async fn through<T>(
        &self,
        room: Room,
        work: impl FnOnce(&mut Inner) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        tokio::task::yield_now().await;
        let answer = {
            let mut inner = self.inner();
            let away = || StoreError::Unavailable { store: "memory", reason: "the disk is out".to_owned() };
            match inner.faults.get_mut(&room).and_then(VecDeque::pop_front) {
                Some(Fault::Unavailable) => Err(away()),
                Some(Fault::Refused | Fault::Incompatible) => Err(StoreError::Refused("never".to_owned())),
                Some(Fault::AnswerLost) => work(&mut inner).and(Err(away())),
                None | Some(Fault::Works) => work(&mut inner),
            }
        };
        tokio::task::yield_now().await;
        answer
    }
}

impl Inner {
    fn check(&self, fence: &Fence) -> Result<(), StoreError> {
        if self.epoch == fence.epoch { Ok(()) } else { Err(StoreError::Fenced(fence.projection.clone())) }
    }

    fn commit(&mut self, fence: &Fence, copy: &CopyId, batch: Batch) -> Result<(), StoreError> {
        self.check(fence)?;
        let found = self.copy(copy)?.0.positions.clone();
        if found != batch.builds_on {
            return Err(StoreError::Moved { copy: copy.clone(), expected: batch.builds_on, found });
        }
        self.before = self.copies.clone();
        self.write(copy, batch)?;
        if self.lost.pop_front() == Some(true) {
            self.copies = self.before.clone();
        }
        Ok(())
    }

    fn write(&mut self, copy: &CopyId, batch: Batch) -> Result<(), StoreError> {
        self.batches.push(batch.folded);
        self.written.push(batch.writes.len());
        let (copy, documents) = self.copy(copy)?;
        for (stream, position) in &batch.positions {
            let before = copy.positions.insert(stream.clone(), *position);
            assert!(before.is_none_or(|before| before <= *position), "a position goes back");
        }
        copy.folded += batch.folded;
        copy.dead_lettered += batch.dead_lettered;
        for write in batch.writes {
            let place = (write.collection.to_string(), write.key);
            match write.document {
                Some(document) => drop(documents.insert(place, document)),
                None => drop(documents.remove(&place)),
            }
        }
        Ok(())
    }

    fn copy(&mut self, id: &CopyId) -> Result<&mut (Copy, Documents), StoreError> {
        self.copies.get_mut(&id.number).ok_or_else(|| StoreError::NoCopy(id.clone()))
    }
}

#[async_trait]
impl CopyReader for MemoryStore {
    async fn read(&self, copy: &CopyId, collection: &Collection, key: &str) -> Result<Option<Bytes>, StoreError> {
        let place = (collection.name.to_string(), key.to_owned());
        self.through(Room::Read, |inner| Ok(inner.copy(copy)?.1.get(&place).map(|written| written.body.clone()))).await
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
        let mut inner = self.inner();
        let (_, documents) = inner.copy(copy)?;
        let found = documents.iter().filter(|((name, key), written)| {
            *name == collection.name.as_str()
                && after.is_none_or(|after| key.as_str() > after)
                && written.index_values.get(column) == Some(value)
        });
        Ok(found
            .take(limit)
            .map(|((_, key), written)| Document { key: key.clone(), body: written.body.clone() })
            .collect())
    }
}

#[async_trait]
impl ReadModelStore for MemoryStore {
    fn kind(&self) -> &'static str {
        "memory"
    }

    async fn ledger(&self, _: &ProjectionName) -> Result<Ledger, StoreError> {
        let answer = self
            .through(Room::Ledger, |inner| {
                let copies = inner.copies.values().map(|(copy, _)| copy.clone()).collect();
                Ok(Ledger { copies, paused: inner.paused, holder: inner.holder.clone() })
            })
            .await;
        let time = self.inner().ledger_time;
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        answer
    }

    async fn claim(&self, projection: &ProjectionName, holder: &str) -> Result<Claim, StoreError> {
        let (projection, holder) = (projection.clone(), holder.to_owned());
        self.through(Room::Claim, |inner| {
            match &inner.holder {
                Some(by) if *by != holder => {
                    return Ok(Claim::Held { by: by.clone(), for_at_least: Duration::from_millis(300) });
                }
                _ => inner.holder = Some(holder),
            }
            inner.epoch += 1;
            Ok(Claim::Granted(Fence { projection, epoch: inner.epoch }))
        })
        .await
    }

    async fn renew(&self, fence: &Fence) -> Result<(), StoreError> {
        let mut inner = self.inner();
        inner.renewals += 1;
        inner.check(fence)
    }

    fn renew_every(&self) -> Option<Duration> {
        self.inner().renew_every
    }

    async fn release(&self, fence: &Fence) -> Result<(), StoreError> {
        let mut inner = self.inner();
        if inner.check(fence).is_ok() {
            inner.holder = None;
        }
        Ok(())
    }

    async fn create(&self, fence: &Fence, copy: NewCopy) -> Result<CopyId, StoreError> {
        self.through(Room::Create, |inner| {
            inner.check(fence)?;
            inner.numbers += 1;
            let id = CopyId { projection: fence.projection.clone(), number: inner.numbers };
            let now = SystemTime::now();
            let copy = Copy {
                id: id.clone(),
                state: CopyState::Building,
                digest: copy.digest,
                created: now,
                changed: now,
                positions: copy.positions,
                folded: 0,
                dead_lettered: 0,
                shape: NewCopy::shape(&copy.collections),
            };
            inner.copies.insert(id.number, (copy, BTreeMap::new()));
            Ok(id)
        })
        .await
    }

    async fn activate(&self, fence: &Fence, copy: &CopyId) -> Result<(), StoreError> {
        self.through(Room::Activate, |inner| {
            inner.check(fence)?;
            if inner.copy(copy)?.0.state == CopyState::Active {
                return Ok(());
            }
            inner.copies.retain(|number, (it, _)| it.state != CopyState::Previous || *number == copy.number);
            for (it, _) in inner.copies.values_mut().filter(|(it, _)| it.state == CopyState::Active) {
                (it.state, it.changed) = (CopyState::Previous, SystemTime::now());
            }
            let (it, _) = inner.copy(copy)?;
            (it.state, it.changed) = (CopyState::Active, SystemTime::now());
            Ok(())
        })
        .await
    }

    async fn remove(&self, fence: &Fence, copy: &CopyId) -> Result<(), StoreError> {
        self.through(Room::Remove, |inner| {
            inner.check(fence)?;
            inner.copies.remove(&copy.number);
            Ok(())
        })
        .await
    }

    async fn set_paused(&self, fence: &Fence, paused: bool) -> Result<(), StoreError> {
        let mut inner = self.inner();
        inner.check(fence)?;
        inner.paused = paused;
        Ok(())
    }

    async fn commit(&self, fence: &Fence, copy: &CopyId, batch: Batch) -> Result<(), StoreError> {
        let time = self.inner().commit_time;
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        let late = {
            let mut inner = self.inner();
            inner.late = inner.late.saturating_sub(1);
            inner.late > 0
        };
        if late {
            let (inner, fence, copy) = (Arc::clone(&self.inner), fence.clone(), copy.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(70)).await;
                inner.lock().unwrap().commit(&fence, &copy, batch).ok();
            });
            return Err(StoreError::Unavailable { store: "memory", reason: "the connection broke".to_owned() });
        }
        self.through(Room::Commit, |inner| inner.commit(fence, copy, batch)).await
    }

    async fn positions(&self, copy: &CopyId) -> Result<Positions, StoreError> {
        self.through(Room::Positions, |inner| Ok(inner.copy(copy)?.0.positions.clone())).await
    }

    async fn get(
        &self,
        copy: &CopyId,
        collection: &Collection,
        key: &str,
    ) -> Result<(Option<Bytes>, Positions), StoreError> {
        // Not through the fold's room: whoever asks stands beside the fold.
        let place = (collection.name.to_string(), key.to_owned());
        let mut inner = self.inner();
        let (copy, documents) = inner.copy(copy)?;
        Ok((documents.get(&place).map(|written| written.body.clone()), copy.positions.clone()))
    }

    /// Knows conditions and keys; nobody sorts in these tests.
    async fn query(
        &self,
        copy: &CopyId,
        collection: &Collection,
        query: &Query,
        _: Duration,
    ) -> Result<Found, StoreError> {
        let mut inner = self.inner();
        let (copy, documents) = inner.copy(copy)?;
        let found = documents.iter().filter(|((name, key), written)| {
            *name == collection.name.as_str()
                && query.after.as_ref().is_none_or(|(_, after)| key > after)
                && query.conditions.iter().all(|condition| condition.holds(&written.index_values))
        });
        let document = |((_, key), written): (&(String, String), &Written)| {
            (Document { key: key.clone(), body: written.body.clone() }, Vec::new())
        };
        Ok(Found { documents: found.take(query.limit).map(document).collect(), positions: copy.positions.clone() })
    }
}
