//! What is known of a fold while it runs, for those who ask: how far it is, whether something is in its way.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::time::Instant;

use crate::name::StreamName;
use crate::port::Origin;
use crate::read_model::{Copy, CopyId, Positions};

/// One copy as its fold sees it. Locked for moments, once per batch or stretch.
pub(super) struct Track {
    pub(super) copy: CopyId,
    pub(super) digest: String,
    inner: Mutex<Inner>,
}

struct Inner {
    /// What is committed.
    positions: Positions,
    dead_lettered: u64,
    /// Of a copy that is built: dead letters of events that the active copy had not met.
    not_compared: u64,
    sources: BTreeMap<StreamName, Source>,
    /// Why nothing can be read, or folded, at the moment.
    unread: Option<String>,
    unfolded: Option<String>,
    /// When this process began to fold it, and how far it was then.
    begun: (Instant, u64),
}

#[derive(Clone, Copy, Default)]
struct Source {
    last: u64,
    /// When the first event that is not committed was stored.
    oldest: Option<SystemTime>,
    caught_up: bool,
}

/// How far behind a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Behind {
    pub(super) last: u64,
    pub(super) oldest: Option<SystemTime>,
}

// === impl Track ===

impl Track {
    pub(super) fn of(copy: &Copy) -> Self {
        Self {
            copy: copy.id.clone(),
            digest: copy.digest.clone(),
            inner: Mutex::new(Inner {
                positions: copy.positions.clone(),
                dead_lettered: copy.dead_lettered,
                not_compared: 0,
                sources: BTreeMap::new(),
                unread: None,
                unfolded: None,
                begun: (Instant::now(), copy.positions.values().sum()),
            }),
        }
    }

    pub(super) fn positions(&self) -> Positions {
        self.inner().positions.clone()
    }

    pub(super) fn dead_lettered(&self) -> u64 {
        self.inner().dead_lettered
    }

    /// Whether what is committed goes beyond an event.
    pub(super) fn has_passed(&self, event: &Origin) -> bool {
        self.inner().positions.get(&event.stream).is_some_and(|position| *position >= event.sequence)
    }

    pub(super) fn cannot_compare(&self) {
        self.inner().not_compared += 1;
    }

    pub(super) fn not_compared(&self) -> u64 {
        self.inner().not_compared
    }

    /// The positions are what the store says, whatever was thought before.
    pub(super) fn stands_at(&self, positions: &Positions) {
        let mut inner = self.inner();
        inner.positions = positions.clone();
        for source in inner.sources.values_mut() {
            *source = Source { last: source.last, ..Source::default() };
        }
    }

    /// A stretch came: the stream's last sequence, and when its first event was stored.
    pub(super) fn heard(&self, stream: &StreamName, last: u64, first: Option<SystemTime>) {
        let mut inner = self.inner();
        let source = inner.sources.entry(stream.clone()).or_default();
        source.last = source.last.max(last);
        source.oldest = source.oldest.or(first);
        inner.unread = None;
    }

    /// Everything that came so far of this stream is folded.
    pub(super) fn caught_up(&self, stream: &StreamName) {
        let mut inner = self.inner();
        inner.sources.entry(stream.clone()).or_default().caught_up = true;
    }

    /// A batch was committed. `oldest` is when the event that is folded next was stored, by stream, where there is one.
    pub(super) fn committed(
        &self,
        positions: &Positions,
        dead_lettered: u64,
        oldest: &BTreeMap<StreamName, Option<SystemTime>>,
    ) {
        let mut inner = self.inner();
        inner.dead_lettered += dead_lettered;
        inner.unfolded = None;
        for (stream, position) in positions {
            inner.positions.insert(stream.clone(), *position);
            let source = inner.sources.entry(stream.clone()).or_default();
            source.last = source.last.max(*position);
            source.oldest = oldest.get(stream).copied().flatten();
        }
    }

    pub(super) fn cannot_read(&self, reason: String) {
        self.inner().unread = Some(reason);
    }

    pub(super) fn cannot_fold(&self, reason: Option<String>) {
        self.inner().unfolded = reason;
    }

    /// What it waits for, if it does.
    pub(super) fn trouble(&self) -> Option<String> {
        let inner = self.inner();
        inner.unfolded.clone().or_else(|| inner.unread.clone())
    }

    /// Whether each of the streams was folded to its end once since the fold began.
    pub(super) fn is_caught_up<'a>(&self, mut streams: impl Iterator<Item = &'a StreamName>) -> bool {
        let inner = self.inner();
        streams.all(|stream| inner.sources.get(stream).is_some_and(|source| source.caught_up))
    }

    pub(super) fn behind(&self, stream: &StreamName) -> Option<Behind> {
        let inner = self.inner();
        inner.sources.get(stream).map(|source| Behind { last: source.last, oldest: source.oldest })
    }

    /// Sequences that were passed per second since this process folds the copy.
    pub(super) fn rate(&self) -> f64 {
        let inner = self.inner();
        let (since, before) = inner.begun;
        let done = inner.positions.values().sum::<u64>().saturating_sub(before);
        done as f64 / since.elapsed().as_secs_f64().max(0.001)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
