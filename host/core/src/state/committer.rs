//! One committer per plugin's state: takes what was submitted while its last write was under way and writes it as one batch.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot, watch};

use crate::name::PluginName;
use crate::port::{Admin, Broker, BrokerError, Commit, StateCommit, StateCommitted, StateWrite};
use crate::state::session::{StateError, StateSession, StateWrites};
use crate::state::view::{Lookup, View};

/// JetStream's atomic batch takes 1000 messages; a batch of this many keys and markers stays below it.
const MAX_BATCH_MESSAGES: usize = 900;

/// And its bytes are bounded too: the batch is kept in memory by everybody until it is committed.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The state of one plugin in this host. Without a committer ([`run`](StateSpace::run)) it is to look at only.
pub struct StateSpace {
    plugin: PluginName,
    /// Where what is not known here is read.
    stored: Arc<dyn Admin>,
    inner: Mutex<Inner>,
    submitted: Notify,
}

/// How a submitted commit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateOutcome {
    /// Durable: the state, the emits, the settlement. Also when an earlier attempt had done it.
    Committed,
    /// Nothing happened; the call must run again on what the state is now.
    Conflict,
    /// The broker will never take this: too large, no stream for an emit. Nothing happened.
    Refused(String),
}

struct Inner {
    view: View,
    queue: VecDeque<Submitted>,
    /// How many of the next batches hold one commit only, after a refusal, to find the one that is refused.
    singly: usize,
}

struct Submitted {
    commit: Commit,
    writes: BTreeMap<String, Option<Bytes>>,
    done: oneshot::Sender<StateOutcome>,
}

// === impl StateSpace ===

impl StateSpace {
    pub fn new(plugin: PluginName, stored: Arc<dyn Admin>) -> Arc<Self> {
        let inner = Inner { view: View::default(), queue: VecDeque::new(), singly: 0 };
        Arc::new(Self { plugin, stored, inner: Mutex::new(inner), submitted: Notify::new() })
    }

    pub fn plugin(&self) -> &PluginName {
        &self.plugin
    }

    /// The state for one call.
    pub fn session(self: &Arc<Self>) -> StateSession {
        let epoch = self.lock().view.epoch;
        StateSession::new(Arc::clone(self), epoch)
    }

    /// Hands in a successful call. `None`: something it read has changed meanwhile, run it again. Otherwise its writes are
    /// visible to later calls from now on, and the receiver tells how the commit ended; a closed receiver means that the
    /// committer was stopped and the delivery comes back.
    pub fn submit(&self, commit: Commit, state: StateWrites) -> Option<oneshot::Receiver<StateOutcome>> {
        let mut inner = self.lock();
        if !inner.view.still_holds(&state) {
            return None;
        }
        inner.view.apply(&state);
        let (done, outcome) = oneshot::channel();
        inner.queue.push_back(Submitted { commit, writes: state.writes, done });
        drop(inner);
        self.submitted.notify_one();
        Some(outcome)
    }

    /// Writes batch after batch to the broker that holds what is read here, until told to stop *and* nothing is queued, or until `abandon`ed by dropping the future:
    /// then what was not written is delivered again. Runs once per space.
    pub async fn run(self: Arc<Self>, broker: Arc<dyn Broker>, mut stop: watch::Receiver<bool>) {
        // A sender that is gone can tell nothing any more: that ends the committer like its word.
        let mut stopping = *stop.borrow();
        loop {
            let batch = self.take_batch();
            if !batch.is_empty() {
                self.write(&*broker, batch).await;
            } else if stopping {
                return;
            } else {
                tokio::select! {
                    () = self.submitted.notified() => {}
                    _ = stop.wait_for(|stop| *stop) => stopping = true,
                }
            }
        }
    }

    pub(super) async fn read(&self, key: &str) -> Result<(Option<Bytes>, u64), StateError> {
        let looked_up = self.lock().view.lookup(key);
        match looked_up {
            Lookup::Known { value, version } => Ok((value, version)),
            Lookup::Unknown { asked } => {
                let found = self.stored.state_get(&self.plugin, key).await.map_err(unavailable)?;
                Ok(self.lock().view.learn(key, found, asked))
            }
        }
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<(BTreeSet<String>, u64), StateError> {
        // Taken before the broker is asked: what is committed while it answers would otherwise be in neither.
        let (pending, keys_version) = {
            let inner = self.lock();
            (inner.view.pending_keys(prefix), inner.view.keys_version)
        };
        let stored = self.stored.state_keys(&self.plugin, prefix).await.map_err(unavailable)?;
        let mut keys: BTreeSet<String> = stored.into_iter().collect();
        for (key, exists) in pending {
            if exists {
                keys.insert(key);
            } else {
                keys.remove(&key);
            }
        }
        Ok((keys, keys_version))
    }

    fn take_batch(&self) -> Vec<Submitted> {
        let mut inner = self.lock();
        let most = if inner.singly > 0 { 1 } else { usize::MAX };
        inner.singly = inner.singly.saturating_sub(1);
        let (mut batch, mut messages, mut bytes) = (Vec::new(), 0, 0);
        while let Some(next) = inner.queue.front() {
            messages += 1 + next.writes.len();
            bytes += next.bytes();
            let full = messages > MAX_BATCH_MESSAGES || bytes > MAX_BATCH_BYTES || batch.len() >= most;
            if full && !batch.is_empty() {
                break;
            }
            batch.extend(inner.queue.pop_front());
        }
        batch
    }

    /// Writes one batch, as often as it takes, and tells everybody in it how it ended.
    async fn write(&self, broker: &dyn Broker, batch: Vec<Submitted>) {
        let (request, times) = self.request(&batch);
        match self.commit_until_answered(broker, &request).await {
            Ok(StateCommitted::Done { revisions }) => {
                let mut inner = self.lock();
                for (write, revision) in request.writes.iter().zip(revisions) {
                    inner.view.committed(&write.key, revision, times[&write.key]);
                }
                inner.view.shrink();
                drop(inner);
                batch.into_iter().for_each(|one| one.end(StateOutcome::Committed));
            }
            Ok(StateCommitted::Conflict { already_committed }) => {
                let rest = self.start_over(0);
                for (index, one) in batch.into_iter().enumerate() {
                    let done = already_committed.contains(&index);
                    one.end(if done { StateOutcome::Committed } else { StateOutcome::Conflict });
                }
                rest.into_iter().for_each(|one| one.end(StateOutcome::Conflict));
            }
            Err(reason) => {
                let alone = batch.len() == 1;
                let rest = self.start_over(if alone { 0 } else { batch.len() });
                for one in batch {
                    one.end(if alone { StateOutcome::Refused(reason.clone()) } else { StateOutcome::Conflict });
                }
                rest.into_iter().for_each(|one| one.end(StateOutcome::Conflict));
            }
        }
    }

    /// The batch as the broker takes it, and how many submitted writes each key stands for.
    fn request(&self, batch: &[Submitted]) -> (StateCommit, BTreeMap<String, u32>) {
        let mut last: BTreeMap<&str, &Option<Bytes>> = BTreeMap::new();
        let mut times: BTreeMap<String, u32> = BTreeMap::new();
        for (key, value) in batch.iter().flat_map(|one| &one.writes) {
            last.insert(key, value);
            *times.entry(key.clone()).or_default() += 1;
        }
        let inner = self.lock();
        let writes = last
            .into_iter()
            .map(|(key, value)| StateWrite {
                key: key.to_owned(),
                value: value.clone(),
                expected: inner.view.revision(key),
            })
            .collect();
        let commits = batch.iter().map(|one| one.commit.clone()).collect();
        (StateCommit { space: self.plugin.clone(), commits, writes }, times)
    }

    async fn commit_until_answered(
        &self,
        broker: &dyn Broker,
        request: &StateCommit,
    ) -> Result<StateCommitted, String> {
        let mut pause = FIRST_PAUSE;
        loop {
            match broker.commit_state(request.clone()).await {
                Ok(committed) => return Ok(committed),
                Err(BrokerError::Unavailable { broker, reason }) => {
                    tracing::warn!(plugin = %self.plugin, broker, %reason, "State cannot be committed; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(BrokerError::Refused(reason) | BrokerError::Incompatible(reason)) => return Err(reason),
            }
        }
    }

    /// Empties the view and hands out everything that was built on it.
    fn start_over(&self, singly: usize) -> Vec<Submitted> {
        let mut inner = self.lock();
        inner.view.start_over();
        inner.singly = singly;
        inner.queue.drain(..).collect()
    }

    /// No code below the lock can panic half way, so a poisoned lock still guards a consistent view.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Submitted ===

impl Submitted {
    fn bytes(&self) -> usize {
        let state: usize =
            self.writes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len)).sum();
        let emits: usize = self.commit.emits.iter().map(|emit| emit.message.payload.len()).sum();
        state + emits
    }

    /// Tells the waiting call. If nobody waits any more the delivery comes back by itself, so that is no error.
    fn end(self, outcome: StateOutcome) {
        self.done.send(outcome).ok();
    }
}

fn unavailable(error: BrokerError) -> StateError {
    StateError::Unavailable(error.to_string())
}
