//! Commits what succeeded and carries out the [`Disposition`] of what failed. The one dull place that acts.
//!
//! Everything here runs to completion: no commit, no parking and no dead letter stands in a `select!` branch. While the
//! broker is away these tasks wait with their places taken, so the tap runs dry and nothing piles up.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_channel::Sender;
use futures_util::future::join_all;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::Route;
use super::attempt::{self, Attempted, Job, Named, Outcome};
use crate::EVENTS_TARGET;
use crate::dead_letter::DeadLetter;
use crate::disposition::{Disposition, Progress, decide};
use crate::failure::{Blame, Failure, FailureKind};
use crate::port::{BrokerError, Commit};
use crate::retry::ExhaustedBy;
use crate::state::StateOutcome;
use crate::stats::Took;
use crate::text::clean_text;

/// Most deliveries of one commit.
const MAX_COMMIT: usize = 512;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A delivery whose dead letter the broker refuses is looked at again after this time.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

/// After so many conflicts with another host in a row an event waits a moment, so that they do not meet for ever.
const RERUNS_AT_ONCE: u32 = 3;

/// Bytes of an error in a dead letter that has to be short.
const SHORT_ERROR_BYTES: usize = 120;

/// Bytes of an error that a log line shows.
const LOGGED_ERROR_BYTES: usize = 300;

struct Settler {
    route: Arc<Route>,
    work: Sender<Job>,
    /// Retries that may wait in the host. A quarter of the places: waiting must not keep new events out.
    waiting: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

/// Settles until the workers are gone and everything is settled.
pub(super) async fn run(
    route: Arc<Route>,
    work: Sender<Job>,
    mut inbox: mpsc::Receiver<Vec<Attempted>>,
    stop: watch::Receiver<bool>,
) {
    let waiting = Arc::new(Semaphore::new((route.config.max_in_flight / 4).max(1)));
    let settler = Arc::new(Settler { route, work, waiting, stop });
    let mut tasks = JoinSet::new();
    while let Some(mut batch) = inbox.recv().await {
        while batch.len() < MAX_COMMIT {
            match inbox.try_recv() {
                Ok(more) => batch.extend(more),
                Err(_) => break,
            }
        }
        settler.dispatch(batch, &mut tasks);
        while tasks.try_join_next().is_some() {}
    }
    while tasks.join_next().await.is_some() {}
}

// === impl Settler ===

impl Settler {
    /// Sorts a batch by outcome and starts what has to be done.
    fn dispatch(self: &Arc<Self>, batch: Vec<Attempted>, tasks: &mut JoinSet<()>) {
        let mut commits = Vec::new();
        let mut submitted = Vec::new();
        for Attempted { job, outcome, event } in batch {
            match outcome {
                Outcome::Skipped => commits.push((job, None, event)),
                Outcome::Handled(emits) => commits.push((job, Some(emits), event)),
                Outcome::Submitted { emitted, committed } => submitted.push((job, emitted, committed, event)),
                Outcome::AlreadyCommitted => self.finish_one(job, Some(0), event.as_ref()),
                Outcome::Failed(failure) => {
                    tasks.spawn(Arc::clone(self).fail(job, failure, event));
                }
            }
        }
        if !commits.is_empty() {
            tasks.spawn(Arc::clone(self).commit(commits));
        }
        if !submitted.is_empty() {
            tasks.spawn(Arc::clone(self).await_state(submitted));
        }
    }

    /// Commits deliveries together, as often as it takes. Run to completion.
    async fn commit(self: Arc<Self>, batch: Vec<(Job, Option<Vec<crate::port::Outgoing>>, Option<Named>)>) {
        let mut open: Vec<(Job, Option<usize>, Option<Named>, Commit)> = batch
            .into_iter()
            .map(|(job, emits, event)| {
                let emitted = emits.as_ref().map(Vec::len);
                let commit = attempt::commit(&self.route, &job.delivery, emits.unwrap_or_default());
                (job, emitted, event, commit)
            })
            .collect();
        let mut pause = FIRST_PAUSE;
        let mut refused = Vec::new();
        while !open.is_empty() {
            let commits = open.iter().map(|(.., commit)| commit.clone()).collect();
            let results = self.route.broker.commit(commits).await;
            let mut unavailable = None;
            let mut left = Vec::new();
            let mut done = Vec::new();
            for ((job, emitted, event, commit), result) in open.into_iter().zip(results) {
                match result {
                    Ok(()) => done.push((job, emitted, event)),
                    Err(error @ BrokerError::Unavailable { .. }) => {
                        unavailable = Some(error);
                        left.push((job, emitted, event, commit));
                    }
                    Err(error) => refused.push(self.refused(job, event, error.to_string())),
                }
            }
            self.finish(done);
            open = left;
            if let Some(error) = unavailable {
                tracing::warn!(route = %self.route.config.name, %error, "Effects cannot be committed; trying again");
                self.pause(&mut pause).await;
            }
        }
        join_all(refused).await;
    }

    /// Waits for the committer of the plugin's state.
    async fn await_state(
        self: Arc<Self>,
        batch: Vec<(Job, usize, tokio::sync::oneshot::Receiver<StateOutcome>, Option<Named>)>,
    ) {
        for (mut job, emitted, committed, event) in batch {
            match committed.await {
                Ok(StateOutcome::Committed) => self.finish_one(job, Some(emitted), event.as_ref()),
                Ok(StateOutcome::Conflict) => {
                    self.route.stats.conflict();
                    job.host_faults += 1;
                    if job.host_faults <= RERUNS_AT_ONCE {
                        self.requeue(job).await;
                    } else {
                        let failure =
                            Failure::new(FailureKind::StateConflict, "another host keeps changing the same state");
                        tokio::spawn(Arc::clone(&self).fail(job, failure, event));
                    }
                }
                Ok(StateOutcome::Refused(reason)) => drop(tokio::spawn(self.refused(job, event, reason))),
                // The committer was stopped: the delivery comes back.
                Err(_) => drop(job),
            }
        }
    }

    /// The broker will never take these effects: the plugin wanted something impossible.
    fn refused(
        self: &Arc<Self>,
        job: Job,
        event: Option<Named>,
        reason: String,
    ) -> impl Future<Output = ()> + Send + use<> {
        let failure = Failure::new(FailureKind::EffectRefused, reason);
        // Nobody can say whether the build before would have wanted the same: that shows when the probation is over.
        let provisional = job.trial.as_ref().is_some_and(|trial| {
            trial.undecided(&failure);
            true
        });
        Arc::clone(self).fail(job, Failure { provisional, ..failure }, event)
    }

    /// Decides about a failed attempt and does it. Run to completion.
    async fn fail(self: Arc<Self>, mut job: Job, failure: Failure, event: Option<Named>) {
        self.route.stats.failed(failure.kind);
        let now = self.now();
        if failure.kind.blame() != Blame::Host && !failure.provisional {
            job.delivery.first_failure.get_or_insert(now);
        }
        let age = job.delivery.first_failure.map(|first| now.duration_since(first).unwrap_or_default());
        let progress = Progress {
            attempt: job.delivery.attempt,
            // While nothing but the host has failed, nothing grows old.
            age: age.unwrap_or_default(),
            host_faults: job.host_faults,
        };
        match decide(&failure, progress, &self.route.config.retry, fastrand::f64()) {
            Disposition::Ack => self.finish_one(job, None, event.as_ref()),
            Disposition::Retry { after, counted } => {
                self.log_retry(&job, &failure, event.as_ref(), after, counted);
                if counted {
                    self.route.stats.retried();
                    job.host_faults = 0;
                } else {
                    job.host_faults += 1;
                }
                self.retry(job, after, counted).await;
            }
            Disposition::DeadLetter { exhausted_by } => self.dead_letter(job, failure, event, exhausted_by).await,
        }
    }

    /// Waits in the host or parks in the broker.
    async fn retry(&self, mut job: Job, after: Duration, counted: bool) {
        let next_attempt = job.delivery.attempt + u32::from(counted);
        let may_wait = if after <= self.route.source.hold_limit() { self.waiting.try_acquire().ok() } else { None };
        if may_wait.is_none() {
            return self.park(job, next_attempt, after).await;
        }
        tokio::select! {
            () = tokio::time::sleep(after) => {
                job.delivery.attempt = next_attempt;
                self.requeue(job).await;
            }
            // Whoever restarts the host must not wait for this timer, and the attempt must not be forgotten.
            () = self.stopped() => self.park(job, next_attempt, after).await,
        }
    }

    async fn stopped(&self) {
        drop(self.stop.clone().wait_for(|stop| *stop).await);
    }

    async fn requeue(&self, job: Job) {
        // The queue has room for every place; it is closed only when no place is taken.
        self.work.send(job).await.ok();
    }

    async fn park(&self, job: Job, attempt: u32, after: Duration) {
        let first_failure = job.delivery.first_failure.unwrap_or_else(|| self.now());
        // Before the broker knows: it may deliver again at once.
        job.place.will_return();
        let mut pause = FIRST_PAUSE;
        loop {
            match self.route.source.park(&job.delivery, attempt, after, first_failure).await {
                Ok(()) => return,
                Err(error @ BrokerError::Unavailable { .. }) => {
                    tracing::warn!(route = %self.route.config.name, %error, "A retry cannot be parked; trying again");
                    self.pause(&mut pause).await;
                }
                Err(error) => return self.wait_unparked(job, attempt, after, error).await,
            }
        }
    }

    /// A retry that the broker will never take waits here on its place, however long. At a stop it is left to the broker,
    /// which delivers it again.
    async fn wait_unparked(&self, mut job: Job, attempt: u32, after: Duration, error: BrokerError) {
        tracing::warn!(route = %self.route.config.name, %error, ?after, "A retry is refused; it waits in the host");
        job.place.will_not_return();
        job.delivery.attempt = attempt;
        tokio::select! {
            () = tokio::time::sleep(after) => self.requeue(job).await,
            () = self.stopped() => {}
        }
    }

    async fn dead_letter(&self, job: Job, failure: Failure, event: Option<Named>, exhausted_by: Option<ExhaustedBy>) {
        let mut letter = self.letter(&job, &failure, event.as_ref(), exhausted_by);
        let mut pause = FIRST_PAUSE;
        loop {
            let record = match letter.encode(&self.route.config.dead_letter) {
                Ok(record) => record,
                Err(error) => return self.keep(job, error).await,
            };
            match self.route.source.dead_letter(&job.delivery, record).await {
                Ok(()) => break,
                Err(error @ BrokerError::Unavailable { .. }) => {
                    tracing::warn!(route = %self.route.config.name, %error, "A dead letter is not confirmed; trying again");
                    self.pause(&mut pause).await;
                }
                // An original close to the broker's size limit leaves no room for the whole story: the event comes first.
                Err(_) if letter.error.len() > SHORT_ERROR_BYTES || !letter.log_tail.is_empty() => {
                    letter.error = clean_text(&letter.error, SHORT_ERROR_BYTES);
                    letter.log_tail.clear();
                }
                Err(error) => return self.keep(job, error).await,
            }
        }
        tracing::warn!(
            route = %self.route.config.name, plugin = %self.route.config.handler, origin = %job.delivery.origin,
            event.id = event.as_ref().map(|event| event.id.as_str()), attempt = job.delivery.attempt,
            reason = failure.kind.code(), blame = failure.kind.blame().as_str(),
            error = clean_text(&failure.text, LOGGED_ERROR_BYTES), "Dead-lettered"
        );
        self.route.stats.dead_lettered(failure.kind);
        self.route.stats.took([took(&job, self.now())]);
    }

    /// An event that can be neither handled nor set aside is not given up: it stays, and a person must act.
    async fn keep(&self, job: Job, error: impl Display) {
        tracing::error!(
            route = %self.route.config.name, origin = %job.delivery.origin, %error,
            "A dead letter is refused; the event stays in its stream and is tried again in a minute"
        );
        let attempt = job.delivery.attempt;
        self.park(job, attempt, REFUSED_PAUSE).await;
    }

    fn letter(
        &self,
        job: &Job,
        failure: &Failure,
        event: Option<&Named>,
        exhausted_by: Option<ExhaustedBy>,
    ) -> DeadLetter {
        let now = self.now();
        let serving = self.route.serving.load();
        DeadLetter {
            original: job.delivery.message.clone(),
            route: self.route.config.name.clone(),
            plugin: self.route.config.handler.clone(),
            digest: failure.digest.as_deref().unwrap_or_else(|| serving.build.current().digest()).to_owned(),
            reason: failure.kind.code().to_owned(),
            error: failure.text.clone(),
            blame: failure.kind.blame(),
            attempts: job.delivery.attempt,
            exhausted_by,
            origin: job.delivery.origin.clone(),
            stored: job.delivery.stored,
            first_failure: job.delivery.first_failure.unwrap_or(now),
            last_failure: now,
            host: self.route.host.clone(),
            redriven: job.delivery.redriven,
            event_id: event.map(|event| event.id.clone()),
            event_type: event.map(|event| event.kind.clone()),
            log_tail: failure.log_tail.clone(),
        }
    }

    fn log_retry(&self, job: &Job, failure: &Failure, event: Option<&Named>, after: Duration, counted: bool) {
        let (route, plugin) = (&self.route.config.name, &self.route.config.handler);
        let id = event.map(|event| event.id.as_str());
        let (attempt, reason) = (job.delivery.attempt, failure.kind.code());
        let error = clean_text(&failure.text, LOGGED_ERROR_BYTES);
        if counted {
            let of = self.route.config.retry.max_attempts();
            tracing::warn!(%route, %plugin, event.id = id, attempt, of, reason, ?after, error, "Attempt failed; trying again");
        } else {
            tracing::debug!(%route, %plugin, event.id = id, attempt, reason, ?after, error, "Not the event's fault; trying again");
        }
    }

    fn finish_one(&self, job: Job, emitted: Option<usize>, event: Option<&Named>) {
        self.route.stats.took([took(&job, self.now())]);
        self.settled(job, emitted, event);
    }

    /// Counts settled deliveries and frees their places. `None` emitted: skipped.
    fn finish(&self, done: Vec<(Job, Option<usize>, Option<Named>)>) {
        let now = self.now();
        self.route.stats.took(done.iter().map(|(job, ..)| took(job, now)));
        for (job, emitted, event) in done {
            self.settled(job, emitted, event.as_ref());
        }
    }

    fn settled(&self, job: Job, emitted: Option<usize>, event: Option<&Named>) {
        let (route, plugin) = (&self.route.config.name, &self.route.config.handler);
        let (id, kind) = (event.map(|event| event.id.as_str()), event.map(|event| event.kind.as_str()));
        let attempt = job.delivery.attempt;
        match emitted {
            Some(emits) => {
                self.route.stats.done(emits);
                let took = job.arrived.elapsed();
                tracing::debug!(target: EVENTS_TARGET, %route, %plugin, event.id = id, event.r#type = kind, attempt, emits, ?took, "Done");
            }
            None => {
                self.route.stats.skipped();
                tracing::debug!(target: EVENTS_TARGET, %route, event.id = id, event.r#type = kind, "Not for this route: its filter does not admit it");
            }
        }
        drop(job.place);
    }

    fn now(&self) -> SystemTime {
        self.route.clock.now()
    }

    async fn pause(&self, pause: &mut Duration) {
        tokio::time::sleep(*pause).await;
        *pause = (*pause * 2).min(LONGEST_PAUSE);
    }
}

/// How long a job took, that is settled now. Clocks of two machines may differ: an event is not younger than now.
fn took(job: &Job, now: SystemTime) -> Took {
    let end_to_end = now.duration_since(job.delivery.stored).unwrap_or_default();
    Took { in_host: job.arrived.elapsed(), end_to_end }
}
