//! The port on top of the catalogue and the copies' files.
//!
//! Locks are taken in one order: the copy's writer, the projection's claim, the catalogue.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tidemill_core::name::ProjectionName;
use tidemill_core::read_model::{
    Batch, Claim, Collection, Copy, CopyId, CopyReader, CopyState, Document, Fence, Found, IndexValue, Ledger, NewCopy,
    Positions, Query, ReadModelStore, StoreError,
};

use crate::catalogue::{Catalogue, Entry};
use crate::claims::Claims;
use crate::copy_file::CopyFile;
use crate::directory::Directory;
use crate::problem::{KIND, on_thread};
use crate::question::Question;

/// Read models in a folder that this process holds.
pub struct SqliteStore {
    inner: Arc<Inner>,
}

struct Inner {
    // Before the directory: files are closed before the lock is given back.
    copies: Mutex<HashMap<CopyId, Arc<CopyFile>>>,
    catalogue: Mutex<Catalogue>,
    claims: Claims,
    directory: Directory,
}

// === impl SqliteStore ===

impl SqliteStore {
    /// Whether a host keeps read models in the folder. Makes nothing.
    pub fn exists(dir: &Path) -> bool {
        Directory::is_used(dir)
    }

    /// Opens the folder, or makes it. It is this process's until the store is dropped. Waits for the disk.
    ///
    /// # Errors
    ///
    /// `Unavailable` if another process has it or it cannot be written, `Refused` if it is not of this version.
    pub fn open(dir: &Path) -> Result<Arc<Self>, StoreError> {
        let directory = Directory::take(dir)?;
        let mut catalogue = Catalogue::open(&directory.catalogue())?;
        directory.sweep(&catalogue.copies()?)?;
        let inner =
            Inner { copies: Mutex::default(), catalogue: Mutex::new(catalogue), claims: Claims::default(), directory };
        Ok(Arc::new(Self { inner: Arc::new(inner) }))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.inner);
        on_thread(move || work(&inner)).await
    }

    /// A write to the catalogue that a fence allows.
    async fn decide<T: Send + 'static>(
        &self,
        fence: &Fence,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let fence = fence.clone();
        self.run(move |inner| inner.allowed(&fence, || work(inner))).await
    }

    async fn copy(&self, id: &CopyId) -> Result<Arc<CopyFile>, StoreError> {
        if let Some(copy) = self.inner.open_copy(id) {
            return Ok(copy);
        }
        let id = id.clone();
        self.run(move |inner| inner.open(id)).await
    }
}

#[async_trait]
impl CopyReader for SqliteStore {
    async fn read(&self, copy: &CopyId, collection: &Collection, key: &str) -> Result<Option<Bytes>, StoreError> {
        let copy = self.copy(copy).await?;
        let body = copy.reading(collection, |table, connection| table.read(connection, key)).await?;
        Ok(body.map(Bytes::from))
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
        let copy = self.copy(copy).await?;
        copy.reading(collection, |table, connection| table.find(connection, column, value, after, limit)).await
    }
}

#[async_trait]
impl ReadModelStore for SqliteStore {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn ledger(&self, projection: &ProjectionName) -> Result<Ledger, StoreError> {
        let name = projection.clone();
        let (entries, paused) = self.run(move |inner| inner.catalogue(|catalogue| catalogue.of(&name))).await?;
        let mut copies = Vec::new();
        for entry in entries {
            match self.copy(&entry.id).await {
                Ok(copy) => copies.push(known(entry, &copy).await?),
                // Removed since the catalogue was read.
                Err(StoreError::NoCopy(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let holder = self.inner.claims.of(projection).read().holder.clone();
        Ok(Ledger { copies, paused, holder })
    }

    async fn claim(&self, projection: &ProjectionName, holder: &str) -> Result<Claim, StoreError> {
        let (projection, holder) = (projection.clone(), holder.to_owned());
        self.run(move |inner| {
            let next = || inner.catalogue(|catalogue| catalogue.next_epoch(&projection));
            let epoch = inner.claims.of(&projection).take(&holder, next)?;
            Ok(Claim::Granted(Fence { projection, epoch }))
        })
        .await
    }

    async fn renew(&self, fence: &Fence) -> Result<(), StoreError> {
        self.decide(fence, |_| Ok(())).await
    }

    fn renew_every(&self) -> Option<Duration> {
        None
    }

    async fn release(&self, fence: &Fence) -> Result<(), StoreError> {
        let fence = fence.clone();
        self.run(move |inner| inner.claims.of(&fence.projection).release(&fence)).await
    }

    async fn create(&self, fence: &Fence, copy: NewCopy) -> Result<CopyId, StoreError> {
        let projection = fence.projection.clone();
        self.decide(fence, move |inner| {
            let number = inner.catalogue(|catalogue| catalogue.next_number(&projection))?;
            let id = CopyId { projection, number };
            let made = CopyFile::create(&inner.directory.copy(&id), &copy.collections, &copy.positions);
            made.inspect_err(|_| inner.directory.remove(&id))?;
            let (created, shape) = (SystemTime::now(), NewCopy::shape(&copy.collections));
            let NewCopy { digest, .. } = copy;
            let entry = Entry { id: id.clone(), state: CopyState::Building, digest, shape, created, changed: created };
            inner.catalogue(|catalogue| catalogue.add(&entry))?;
            Ok(id)
        })
        .await
    }

    async fn activate(&self, fence: &Fence, copy: &CopyId) -> Result<(), StoreError> {
        same_projection(fence, copy)?;
        let (fence, id) = (fence.clone(), copy.clone());
        self.run(move |inner| {
            let activate = || inner.catalogue(|catalogue| catalogue.activate(&id, SystemTime::now()));
            let dropped = inner.allowed(&fence, activate)?;
            dropped.iter().for_each(|dropped| inner.forget(dropped));
            Ok(())
        })
        .await
    }

    async fn remove(&self, fence: &Fence, copy: &CopyId) -> Result<(), StoreError> {
        same_projection(fence, copy)?;
        let (fence, id) = (fence.clone(), copy.clone());
        self.run(move |inner| {
            inner.allowed(&fence, || inner.catalogue(|catalogue| catalogue.remove(&id)))?;
            inner.forget(&id);
            Ok(())
        })
        .await
    }

    async fn set_paused(&self, fence: &Fence, paused: bool) -> Result<(), StoreError> {
        let projection = fence.projection.clone();
        self.decide(fence, move |inner| inner.catalogue(|catalogue| catalogue.set_paused(&projection, paused))).await
    }

    async fn commit(&self, fence: &Fence, copy: &CopyId, batch: Batch) -> Result<(), StoreError> {
        same_projection(fence, copy)?;
        let copy = self.copy(copy).await?;
        let mut writer = copy.writer().await;
        self.decide(fence, move |_| copy.commit(&mut writer, &batch)).await
    }

    async fn positions(&self, copy: &CopyId) -> Result<Positions, StoreError> {
        let copy = self.copy(copy).await?;
        let positions = copy.progress().await?.positions;
        copy.read_current().await?;
        Ok(positions)
    }

    async fn get(
        &self,
        copy: &CopyId,
        collection: &Collection,
        key: &str,
    ) -> Result<(Option<Bytes>, Positions), StoreError> {
        let (body, positions) = self.copy(copy).await?.get(collection, key).await?;
        Ok((body.map(Bytes::from), positions))
    }

    async fn query(
        &self,
        copy: &CopyId,
        collection: &Collection,
        query: &Query,
        timeout: Duration,
    ) -> Result<Found, StoreError> {
        let copy = self.copy(copy).await?;
        let question = Question::new(copy.table(&collection.name)?, query).map_err(StoreError::Refused)?;
        let (documents, positions) = copy.query(timeout, |connection| question.ask(connection)).await?;
        Ok(Found { documents, positions })
    }
}

// === impl Inner ===

impl Inner {
    fn catalogue<T>(&self, work: impl FnOnce(&mut Catalogue) -> Result<T, StoreError>) -> Result<T, StoreError> {
        work(&mut self.catalogue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Does what a fence allows; nobody else's claim is granted meanwhile.
    fn allowed<T>(&self, fence: &Fence, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let claimed = self.claims.of(&fence.projection);
        let _claim = claimed.check(fence)?;
        work()
    }

    /// Closes and removes what the catalogue does not name any more. The claim is not held here: a commit that waits for it
    /// has the writer, which is waited for.
    fn forget(&self, id: &CopyId) {
        let open = self.copies.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        open.iter().for_each(|copy| copy.close());
        self.directory.remove(id);
    }

    fn open_copy(&self, id: &CopyId) -> Option<Arc<CopyFile>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Opens a copy that the catalogue names. The catalogue is held meanwhile, so that it is not removed in between, and not
    /// opened twice.
    fn open(&self, id: CopyId) -> Result<Arc<CopyFile>, StoreError> {
        self.catalogue(|catalogue| {
            if let Some(copy) = self.open_copy(&id) {
                return Ok(copy);
            }
            if !catalogue.has(&id)? {
                return Err(StoreError::NoCopy(id));
            }
            let copy = Arc::new(CopyFile::open(id.clone(), self.directory.copy(&id))?);
            self.copies.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&copy));
            Ok(copy)
        })
    }
}

async fn known(entry: Entry, copy: &CopyFile) -> Result<Copy, StoreError> {
    let progress = copy.progress().await?;
    let Entry { id, state, digest, shape, created, changed } = entry;
    let (positions, folded, dead_lettered) = (progress.positions, progress.folded, progress.dead_lettered);
    Ok(Copy { id, state, digest, created, changed, positions, folded, dead_lettered, shape })
}

fn same_projection(fence: &Fence, copy: &CopyId) -> Result<(), StoreError> {
    if fence.projection == copy.projection {
        return Ok(());
    }
    Err(StoreError::Refused(format!("a claim of `{}` does not allow to write the copy {copy}", fence.projection)))
}
