//! Batches on their way into the store: one is committed while the next one is folded.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::task::JoinHandle;

use super::super::status::Halt;
use super::{End, Fold, Pass, Purpose, Step};
use crate::config::ProjectionConfig;
use crate::failure::FailureKind;
use crate::name::StreamName;
use crate::read_model::{Batch, Positions, StoreError};

/// A batch that has grown to this size is committed, however few its events are.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// What was folded and is not committed.
#[derive(Default)]
pub(super) struct Pending {
    /// By the number of the source.
    reached: Vec<Option<Reached>>,
    pub(super) folded: u64,
    pub(super) skipped: u64,
    pub(super) bytes: usize,
    pub(super) dead_lettered: Vec<FailureKind>,
    /// When events arrived, and how many.
    arrivals: Vec<(Instant, u64)>,
}

/// How far a source was gone on in.
#[derive(Clone, Copy)]
struct Reached {
    sequence: u64,
    /// When the event after it was stored, if one is there.
    next: Option<SystemTime>,
}

/// A batch on its way into the store.
pub(super) struct Committing {
    /// Not aborted when it is dropped: a commit runs to its end, or is fenced.
    task: JoinHandle<Result<(), StoreError>>,
    pub(super) batch: Pending,
}

impl Fold {
    /// Hands what is pending to the store, after the batch before it is there.
    pub(super) async fn begin_commit(&self, pass: &mut Pass) -> Step {
        if pass.committing.is_some() {
            let result = Committing::done(&mut pass.committing).await;
            self.finish_commit(pass, result)?;
        }
        if pass.pending.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut pass.pending);
        let written = Batch {
            writes: self.view.seal(),
            // The batch before is committed by now, and nothing else is under way.
            builds_on: self.track.positions(),
            positions: batch.positions(&self.projection.config),
            folded: batch.folded,
            dead_lettered: batch.dead_lettered.len() as u64,
        };
        let (store, fence, copy) = (Arc::clone(&self.projection.store), self.fence.clone(), self.track.copy.clone());
        let task = self.host.spawn(async move { store.commit(&fence, &copy, written).await });
        pass.committing = Some(Committing { task, batch });
        Ok(())
    }

    /// Commits everything and waits for it.
    pub(super) async fn commit_all(&self, pass: &mut Pass) -> Step {
        self.begin_commit(pass).await?;
        if pass.committing.is_some() {
            let result = Committing::done(&mut pass.committing).await;
            self.finish_commit(pass, result)?;
        }
        Ok(())
    }

    pub(super) fn finish_commit(&self, pass: &mut Pass, result: Result<(), StoreError>) -> Step {
        let Some(Committing { batch, .. }) = pass.committing.take() else { return Ok(()) };
        match result {
            Ok(()) => {}
            Err(StoreError::Fenced(_)) => return Err(End::Fenced),
            Err(StoreError::Refused(reason)) => return Err(End::Halted(Halt { event: None, reason })),
            Err(StoreError::Moved { expected, found, .. }) => return Err(self.moved(&expected, &found)),
            Err(error) => return Err(End::Doubtful(error.to_string())),
        }
        self.view.settle();
        pass.committed = Instant::now();
        let dead_lettered = batch.dead_lettered.len() as u64;
        let positions = batch.positions(&self.projection.config);
        self.track.committed(&positions, dead_lettered, &batch.oldest(&self.projection.config));
        match self.purpose {
            Purpose::Live => {
                let stats = &self.projection.stats;
                stats.committed(batch.folded, batch.skipped, &batch.dead_lettered);
                stats.took(batch.arrivals.iter().map(|(arrived, count)| (arrived.elapsed(), *count)));
                self.projection.board.advance(&self.track.copy, &positions);
            }
            Purpose::Building { .. } => self.projection.stats.rebuilt(batch.folded),
        }
        Ok(())
    }
}

// === impl Pending ===

impl Pending {
    /// Everything of the source up to this sequence is folded or passed; `next` is when the event after it was stored.
    pub(super) fn reach(&mut self, source: usize, sequence: u64, next: Option<SystemTime>) {
        if self.reached.len() <= source {
            self.reached.resize(source + 1, None);
        }
        self.reached[source] = Some(Reached { sequence, next });
    }

    /// An event of a stretch that arrived then was passed.
    pub(super) fn count(&mut self, arrived: Instant) {
        match self.arrivals.last_mut() {
            Some((known, count)) if *known == arrived => *count += 1,
            _ => self.arrivals.push((arrived, 1)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.reached.iter().all(Option::is_none)
    }

    pub(super) fn positions(&self, config: &ProjectionConfig) -> Positions {
        self.by_stream(config).map(|(stream, reached)| (stream.clone(), reached.sequence)).collect()
    }

    fn oldest(&self, config: &ProjectionConfig) -> BTreeMap<StreamName, Option<SystemTime>> {
        self.by_stream(config).map(|(stream, reached)| (stream.clone(), reached.next)).collect()
    }

    fn by_stream<'a>(&'a self, config: &'a ProjectionConfig) -> impl Iterator<Item = (&'a StreamName, Reached)> {
        let reached = config.sources.iter().zip(&self.reached);
        reached.filter_map(|(source, reached)| Some((&source.stream, (*reached)?)))
    }

    pub(super) fn has_events(&self) -> bool {
        self.folded > 0 || !self.dead_lettered.is_empty()
    }

    pub(super) fn is_full(&self, batch: usize) -> bool {
        self.folded + self.skipped + self.dead_lettered.len() as u64 >= batch as u64 || self.bytes >= BATCH_BYTES
    }
}

// === impl Committing ===

impl Committing {
    /// Waits for the end of the commit; for ever if there is none. Cancel-safe, as long as the answer is taken.
    pub(super) async fn done(this: &mut Option<Self>) -> Result<(), StoreError> {
        match this {
            Some(committing) => Pin::new(&mut committing.task).await.unwrap_or_else(|error| {
                Err(StoreError::Unavailable { store: "store", reason: format!("the commit broke: {error}") })
            }),
            None => std::future::pending().await,
        }
    }
}
