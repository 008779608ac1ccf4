//! The door to a store of read models: SQLite for one host, PostgreSQL for several.
//!
//! A projection has *copies* of its read model. One of them is active: it is folded and queried. A rebuild fills another from
//! the beginning and activates it in one step; the one that was active before is kept for a while, for a rollback.
//!
//! A copy is written by one host at a time. [`claim`](ReadModelStore::claim) gives a [`Fence`]; every write names it, and is
//! refused in its own transaction once somebody else has claimed the projection. So a host that was paused, or cut off, and
//! does not know that it was replaced, cannot write.
//!
//! `conformance` (a feature) is this text as code; it runs against every store.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::collection::{Collection, Collections};
use super::document::{Document, DocumentWrite};
use super::index_value::IndexValue;
use super::query::Query;
use crate::name::{ProjectionName, StreamName};

/// A copy of a projection's read model. Numbers are given once and never again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CopyId {
    pub projection: ProjectionName,
    pub number: u64,
}

/// The right to write a projection's copies, until somebody else claims it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    pub projection: ProjectionName,
    /// Grows with each claim.
    pub epoch: u64,
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    Granted(Fence),
    /// Somebody else is active, and stays so at least this long unless it releases the projection.
    Held {
        by: String,
        for_at_least: Duration,
    },
}

/// What each stream was folded up to; a stream that is not there was not begun.
pub type Positions = BTreeMap<StreamName, u64>;

/// A copy that shall be made.
#[derive(Debug, Clone)]
pub struct NewCopy {
    /// The build that fills it: `sha256:…`.
    pub digest: String,
    pub collections: Collections,
    /// Where it begins.
    pub positions: Positions,
}

/// What a store knows of a projection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// In the order of their numbers.
    pub copies: Vec<Copy>,
    /// Whether a person has paused it.
    pub paused: bool,
    /// Who is active, if somebody is: the `holder` of its claim.
    pub holder: Option<String>,
}

/// What a store knows of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    pub id: CopyId,
    pub state: CopyState,
    /// The build that began it.
    pub digest: String,
    pub created: SystemTime,
    /// When it was activated, and for the one before, when it was replaced.
    pub changed: SystemTime,
    pub positions: Positions,
    /// Events that it was folded from, since its beginning.
    pub folded: u64,
    /// Events that could not be folded and were dead-lettered, since its beginning.
    pub dead_lettered: u64,
    /// The collections that it has, with their indexes, in a form that is compared only:
    /// see [`shape`](ReadModelStore::create).
    pub shape: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyState {
    /// Being filled, not yet queried.
    Building,
    /// Folded and queried. At most one.
    Active,
    /// Active before the present one; neither folded nor queried. At most one.
    Previous,
}

/// What becomes durable together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Each key at most once.
    pub writes: Vec<DocumentWrite>,
    /// Where the copy stood when this was folded, in every stream: not only in those that were gone on in, because a document
    /// may be made of events of several. A copy that stands elsewhere has lost or won something, and this is not for it.
    pub builds_on: Positions,
    /// The streams that were gone on in, and how far now.
    pub positions: Positions,
    /// Events that were folded, and that were dead-lettered, in this batch.
    pub folded: u64,
    pub dead_lettered: u64,
}

/// A page of an answer.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Each with the values of the query's sorted columns, for the cursor.
    pub documents: Vec<(Document, Vec<IndexValue>)>,
    /// Where the copy stood when this was read; of the same snapshot as the documents.
    pub positions: Positions,
}

/// Why a store did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, is locked, or has no room. Trying again later may help. A commit may have happened or not; the
    /// positions tell.
    #[error("the store of read models ({store}) is unavailable: {reason}")]
    Unavailable { store: &'static str, reason: String },
    /// Somebody else has claimed the projection. Nothing was written.
    #[error("another host has taken over the projection `{0}`; this one must not write any more")]
    Fenced(ProjectionName),
    /// The copy does not stand where the batch builds on: the store has lost commits that it had confirmed, or somebody else
    /// has written. Nothing was written.
    #[error(
        "the copy {copy} of the read model stands at {}, and what was to be written builds on {}",
        Standing(found),
        Standing(expected)
    )]
    Moved { copy: CopyId, expected: Positions, found: Positions },
    /// The copy is gone. Nothing was written or read.
    #[error("the copy {0} of the read model is gone")]
    NoCopy(CopyId),
    /// The question takes longer than it may. Nothing was read.
    #[error(
        "the query was given up after {0:?}; an index over all fields that it filters and sorts by would make it fast"
    )]
    TooSlow(Duration),
    /// It answered, and will never do this.
    #[error("the store of read models refused: {0}")]
    Refused(String),
}

/// Positions, for people.
pub(crate) struct Standing<'p>(pub(crate) &'p Positions);

/// The documents of a copy, as whoever folds into it reads them.
#[async_trait]
pub trait CopyReader: Send + Sync {
    /// One document, for the fold that writes the copy: what was committed before is seen. No position is read.
    async fn read(&self, copy: &CopyId, collection: &Collection, key: &str) -> Result<Option<Bytes>, StoreError>;

    /// Documents whose column equals `value`, in the order of their keys, after the key `after`; for the fold.
    async fn find(
        &self,
        copy: &CopyId,
        collection: &Collection,
        column: usize,
        value: &IndexValue,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError>;
}

/// A store of read models.
#[async_trait]
pub trait ReadModelStore: CopyReader {
    /// A word for messages: `sqlite`, `postgres`.
    fn kind(&self) -> &'static str;

    /// What is known of a projection; empty for one that never ran.
    async fn ledger(&self, projection: &ProjectionName) -> Result<Ledger, StoreError>;

    /// Claims the right to write for `holder`, a name for people. Whoever had it before is fenced from then on.
    async fn claim(&self, projection: &ProjectionName, holder: &str) -> Result<Claim, StoreError>;

    /// Says that the holder lives. To be repeated at least every [`renew_every`](Self::renew_every).
    async fn renew(&self, fence: &Fence) -> Result<(), StoreError>;

    /// Half of the time or less after which a silent holder may be replaced. `None`: it need not renew.
    fn renew_every(&self) -> Option<Duration>;

    /// Gives the claim back, so that another need not wait. May be repeated.
    async fn release(&self, fence: &Fence) -> Result<(), StoreError>;

    /// Makes an empty copy, `Building`. Its shape is the collections' names and indexes.
    async fn create(&self, fence: &Fence, copy: NewCopy) -> Result<CopyId, StoreError>;

    /// Makes a copy the active one, in one step; the one that was active becomes the previous one, and a copy that was
    /// that before is removed, unless it is the one that is activated. May be repeated.
    async fn activate(&self, fence: &Fence, copy: &CopyId) -> Result<(), StoreError>;

    /// Removes a copy that is not active. May be repeated.
    async fn remove(&self, fence: &Fence, copy: &CopyId) -> Result<(), StoreError>;

    /// Remembers whether a person has paused the projection.
    async fn set_paused(&self, fence: &Fence, paused: bool) -> Result<(), StoreError>;

    /// Writes a batch in one transaction, in which it is looked whether the copy stands where the batch builds on. On
    /// `Unavailable` it happened as a whole or not at all.
    async fn commit(&self, fence: &Fence, copy: &CopyId, batch: Batch) -> Result<(), StoreError>;

    /// Where a copy stands.
    async fn positions(&self, copy: &CopyId) -> Result<Positions, StoreError>;

    /// One document, and where the copy stood.
    async fn get(
        &self,
        copy: &CopyId,
        collection: &Collection,
        key: &str,
    ) -> Result<(Option<Bytes>, Positions), StoreError>;

    /// Answers a query, from one snapshot, within `timeout`.
    async fn query(
        &self,
        copy: &CopyId,
        collection: &Collection,
        query: &Query,
        timeout: Duration,
    ) -> Result<Found, StoreError>;
}

// === impl CopyId ===

impl fmt::Display for CopyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.projection, self.number)
    }
}

// === impl Standing ===

impl fmt::Display for Standing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the beginning");
        }
        for (number, (stream, position)) in self.0.iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}{stream}:{position}")?;
        }
        Ok(())
    }
}

// === impl Ledger ===

impl Ledger {
    pub fn active(&self) -> Option<&Copy> {
        self.in_state(CopyState::Active)
    }

    pub fn previous(&self) -> Option<&Copy> {
        self.in_state(CopyState::Previous)
    }

    pub fn building(&self) -> Option<&Copy> {
        self.in_state(CopyState::Building)
    }

    fn in_state(&self, state: CopyState) -> Option<&Copy> {
        self.copies.iter().find(|copy| copy.state == state)
    }
}

// === impl NewCopy ===

impl NewCopy {
    /// The collections and their indexes as a text, to compare with what a copy was made with.
    pub fn shape(collections: &[Collection]) -> String {
        let index = |fields: &[super::FieldPath]| fields.iter().map(|it| it.as_str()).collect::<Vec<_>>().join("+");
        let collection = |it: &Collection| {
            let indexes: Vec<String> = it.indexes.iter().map(|it| index(&it.fields)).collect();
            format!("{}({})", it.name, indexes.join(","))
        };
        collections.iter().map(collection).collect::<Vec<_>>().join(" ")
    }
}
