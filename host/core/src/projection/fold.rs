//! The fold of one copy: event after event into the view, batch after batch into the store.
//!
//! What must stay true:
//! - Events of a stream are folded in the order of their sequences, one at a time.
//! - A batch's documents, the positions that it reaches and its counts are one transaction. Nothing else says how far a copy is.
//! - While a batch is committed the next one is folded on top of it (`sealed` and `open` in the [view](FoldView)); a third
//!   one waits. If the commit is not known to have happened, everything that was folded on top of it is forgotten.
//! - A batch names the positions that it builds on, and the store compares them. If it stands elsewhere (a failover or a backup
//!   has taken back what it had confirmed), nothing that is known of it here is true any more: it is begun anew from there.
//! - An event's writes reach the view only when its call succeeded. So a failed event leaves nothing behind, and there is
//!   nothing to roll back.
//! - A dead letter is confirmed before the commit that passes its event.

mod committing;
mod failing;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::sleep;

use super::apply::{self, Death};
use super::intake::{self, Arrived, Chunk, Found, Intake, Item, Obstacle};
use super::status::Halt;
use super::track::Track;
use super::{Projection, turned};
use crate::disposition::{Disposition, Progress, decide};
use crate::failure::{Blame, Failure};
use crate::pipeline::Serving;
use crate::read_model::{Fence, FoldView, Positions, Standing, StoreError};
use crate::text::clean_text;

use committing::{Committing, Pending};

/// Progress without documents (events that are not wanted) is committed at most this often.
const PROGRESS_PAUSE: Duration = Duration::from_millis(100);

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Bytes of an error in a log line.
const LOGGED_ERROR_BYTES: usize = 300;

/// One copy on its way.
pub(super) struct Fold {
    pub(super) projection: Arc<Projection>,
    pub(super) fence: Fence,
    pub(super) view: Arc<FoldView>,
    pub(super) track: Arc<Track>,
    pub(super) purpose: Purpose,
    /// Where reading and commits run.
    pub(super) host: Handle,
}

/// What a fold is for.
#[derive(Clone)]
pub(super) enum Purpose {
    /// The active copy.
    Live,
    /// A copy that shall replace it, if it has no more dead letters than this one.
    Building { rival: Option<Arc<Track>> },
}

/// Why a fold has ended. Everything before is committed, unless it says otherwise.
pub(super) enum End {
    /// It was asked to.
    Held,
    /// It has reached its goal.
    Reached,
    /// An event stands in the way, or something that a person must put right.
    Halted(Halt),
    /// A rebuild has more dead letters than what it would replace.
    Worse(String),
    /// Somebody else has claimed the projection.
    Fenced,
    /// Whether the last batch was committed is not known, or the copy is gone or stands elsewhere: what is in the store must be
    /// looked at again.
    Doubtful(String),
}

/// One run of a fold.
struct Pass {
    pending: Pending,
    committing: Option<Committing>,
    hold: watch::Receiver<bool>,
    goal: Option<Positions>,
    committed: Instant,
}

/// Whether a pass goes on.
type Step<T = ()> = Result<T, End>;

// === impl Fold ===

impl Fold {
    /// Folds until `hold` turns true or the copy is at least at `goal`. Dropping it leaves what was committed.
    pub(super) async fn run(self, goal: Option<Positions>, hold: watch::Receiver<bool>) -> (Self, End) {
        let mut pause = FIRST_PAUSE;
        let end = loop {
            let before = self.track.positions();
            match self.pass(goal.clone(), hold.clone()).await {
                Ok(reason) => {
                    if self.track.positions() != before {
                        pause = FIRST_PAUSE;
                    }
                    self.track.cannot_fold(Some(reason));
                    let mut hold = hold.clone();
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = turned(&mut hold) => break End::Held,
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(end) => break end,
            }
        };
        self.view.forget();
        (self, end)
    }

    /// One run from what is committed. `Ok`: something cannot be reached, and nothing was under way; begin again later.
    async fn pass(&self, goal: Option<Positions>, hold: watch::Receiver<bool>) -> Result<String, End> {
        let positions = match self.projection.store.positions(&self.track.copy).await {
            Ok(positions) => positions,
            Err(StoreError::Fenced(_)) => return Err(End::Fenced),
            Err(error @ StoreError::NoCopy(_)) => return Err(End::Doubtful(error.to_string())),
            Err(error) => return Ok(error.to_string()),
        };
        let expected = self.track.positions();
        if positions != expected {
            return Err(self.moved(&expected, &positions));
        }
        self.track.stands_at(&positions);
        let intake = match Intake::open(&self.projection, &positions, &self.track, &self.host).await {
            Ok(intake) => intake,
            Err(Obstacle::Unavailable(reason)) => return Ok(reason),
            Err(Obstacle::Lost(reason)) => return Err(End::Halted(Halt { event: None, reason })),
        };
        let pass = Pass { pending: Pending::default(), committing: None, hold, goal, committed: Instant::now() };
        self.track.cannot_fold(None);
        self.fold_all(pass, intake).await
    }

    async fn fold_all(&self, mut pass: Pass, mut intake: Intake) -> Result<String, End> {
        loop {
            if pass.is_held() {
                self.commit_all(&mut pass).await?;
                return Err(End::Held);
            }
            if self.has_reached(&pass) {
                self.commit_all(&mut pass).await?;
                return Err(End::Reached);
            }
            if let Some(arrived) = intake.ready() {
                self.take(arrived, &mut pass).await?;
                continue;
            }
            // Nothing is there: what was folded shall be seen now.
            if pass.committing.is_none() && (pass.pending.has_events() || self.would_reach(&pass)) {
                self.begin_commit(&mut pass).await?;
                continue;
            }
            let progress_is_due = pass.committing.is_none() && !pass.pending.is_empty();
            let due = PROGRESS_PAUSE.saturating_sub(pass.committed.elapsed());
            let mut hold = pass.hold.clone();
            tokio::select! {
                arrived = intake.next() => match arrived {
                    Some(arrived) => self.take(arrived, &mut pass).await?,
                    None => {
                        self.commit_all(&mut pass).await?;
                        return Ok("the reader of the events broke".to_owned());
                    }
                },
                result = Committing::done(&mut pass.committing) => self.finish_commit(&mut pass, result)?,
                () = sleep(due), if progress_is_due => self.begin_commit(&mut pass).await?,
                () = turned(&mut hold) => {}
            }
        }
    }

    async fn take(&self, arrived: Arrived, pass: &mut Pass) -> Step {
        match arrived {
            Ok(chunk) => self.fold_chunk(chunk, pass).await,
            Err(reason) => {
                self.commit_all(pass).await?;
                Err(End::Halted(Halt { event: None, reason }))
            }
        }
    }

    async fn fold_chunk(&self, chunk: Chunk, pass: &mut Pass) -> Step {
        let Chunk { source, items, through, last, serving, arrived } = chunk;
        let stream = &self.projection.config.sources[source].stream;
        self.track.heard(stream, last, items.first().map(|item| item.recorded.stored));
        let stored: Vec<SystemTime> = items.iter().map(|item| item.recorded.stored).collect();
        for (number, item) in items.into_iter().enumerate() {
            if pass.is_held() {
                return Ok(());
            }
            let sequence = item.origin.sequence;
            self.fold_item(item, source, &serving, pass).await?;
            let pending = &mut pass.pending;
            pending.reach(source, sequence, stored.get(number + 1).copied());
            pending.count(arrived);
            if pending.is_full(self.projection.config.batch) {
                self.begin_commit(pass).await?;
            }
        }
        pass.pending.reach(source, through, None);
        if through >= last {
            self.track.caught_up(stream);
        }
        Ok(())
    }

    /// Folds one event, as often as it takes. On `Ok` it is passed: folded, not wanted, or dead-lettered.
    async fn fold_item(&self, item: Item, source: usize, checked: &Arc<Serving>, pass: &mut Pass) -> Step {
        let Item { recorded, origin, mut found } = item;
        let mut checked = Arc::clone(checked);
        let mut progress = Progress { attempt: 1, age: Duration::ZERO, host_faults: 0 };
        let mut first_failure = None;
        loop {
            let serving = self.projection.serving.load_full();
            if !Arc::ptr_eq(&serving, &checked) {
                // A reload came in between: the event meets all of it.
                let config = &self.projection.config.sources[source];
                found = intake::look(&self.projection, config, &serving, &recorded, &origin);
                checked = Arc::clone(&serving);
            }
            let (failure, event) = match &found {
                Found::Unwanted => {
                    pass.pending.skipped += 1;
                    return Ok(());
                }
                Found::Bad(failure, event) => (failure.clone(), event.as_ref()),
                Found::Wanted(event) => {
                    let at = (&recorded, &origin);
                    match apply::apply(&self.projection, &serving, &self.view, event, at, progress.attempt).await {
                        Ok(writes) => {
                            pass.pending.bytes += writes.bytes();
                            pass.pending.folded += 1;
                            self.view.accept(writes);
                            tracing::debug!(
                                target: crate::EVENTS_TARGET, projection = %self.projection.config.name,
                                event.id = event.id, event.r#type = event.kind, attempt = progress.attempt, "Folded"
                            );
                            return Ok(());
                        }
                        Err(failure) => (failure, Some(event)),
                    }
                }
            };
            self.projection.stats.failed(failure.kind);
            let now = self.projection.clock.now();
            if failure.kind.blame() != Blame::Host && !failure.provisional {
                first_failure.get_or_insert(now);
            }
            progress.age = first_failure.map_or(Duration::ZERO, |first| now.duration_since(first).unwrap_or_default());
            match decide(&failure, progress, &self.projection.config.retry, fastrand::f64()) {
                Disposition::Ack => return Ok(()),
                Disposition::Retry { after, counted } => {
                    self.tell_retry(&failure, event, progress.attempt, after, counted);
                    if counted {
                        self.projection.stats.retried();
                        progress.attempt += 1;
                        progress.host_faults = 0;
                    } else {
                        progress.host_faults += 1;
                    }
                    self.wait(after, &failure, counted, pass).await?;
                }
                Disposition::DeadLetter { exhausted_by } => {
                    let first_failure = first_failure.unwrap_or(now);
                    let death = Death { failure: &failure, attempts: progress.attempt, exhausted_by, first_failure };
                    return self.set_aside((&recorded, &origin), event, &death, pass).await;
                }
            }
        }
    }

    /// Waits before the next attempt. What came before is committed first: nobody shall wait for it, too.
    async fn wait(&self, after: Duration, failure: &Failure, counted: bool, pass: &mut Pass) -> Step {
        self.commit_all(pass).await?;
        if !counted {
            let reason = format!("{}: {}", failure.kind.code(), clean_text(&failure.text, LOGGED_ERROR_BYTES));
            self.track.cannot_fold(Some(reason));
        }
        tokio::select! {
            () = sleep(after) => Ok(()),
            () = turned(&mut pass.hold) => Err(End::Held),
        }
    }

    /// The store does not have what it had confirmed, or has what this fold knows nothing of.
    fn moved(&self, expected: &Positions, found: &Positions) -> End {
        let (expected, found) = (Standing(expected), Standing(found));
        tracing::warn!(
            projection = %self.projection.config.name, copy = self.track.copy.number, %expected, %found,
            "The store of read models does not stand where it was left, after a failover or from a backup; events that it has \
             lost are folded again"
        );
        End::Doubtful(format!("the copy {} stands at {found}, and not at {expected}", self.track.copy))
    }

    fn has_reached(&self, pass: &Pass) -> bool {
        pass.goal.as_ref().is_some_and(|goal| reaches(&self.track.positions(), goal))
    }

    /// Whether the goal is reached as soon as what is pending is committed.
    fn would_reach(&self, pass: &Pass) -> bool {
        let Some(goal) = pass.goal.as_ref().filter(|_| !pass.pending.is_empty()) else { return false };
        let mut positions = self.track.positions();
        positions.extend(pass.pending.positions(&self.projection.config));
        reaches(&positions, goal)
    }
}

/// Whether every stream of the goal is at least there.
pub(super) fn reaches(positions: &Positions, goal: &Positions) -> bool {
    goal.iter().all(|(stream, wanted)| positions.get(stream).copied().unwrap_or(0) >= *wanted)
}

// === impl Pass ===

impl Pass {
    fn is_held(&self) -> bool {
        *self.hold.borrow() || self.hold.has_changed().is_err()
    }

    /// Dead letters that are not in a committed batch.
    fn in_doubt(&self) -> u64 {
        let committing = self.committing.as_ref().map_or(0, |committing| committing.batch.dead_lettered.len());
        (committing + self.pending.dead_lettered.len()) as u64
    }
}
