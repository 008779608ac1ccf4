//! A broker that can be away, refuse, or do its work and lose the answer; it remembers what it was asked.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tidemill_core::config::{RouteConfig, StreamConfig};
use tidemill_core::message::Message;
use tidemill_core::name::{PluginName, StreamName};
use tidemill_core::port::{
    Admin, Backlog, Broker, BrokerError, Commit, DeadLetterQuery, Delivery, Origin, Outgoing, Published, ReadFrom,
    Reader, Receipt, Recorded, Redrive, Source, StateCommit, StateCommitted, StateEntry, StoredDeadLetter,
    StreamBounds, Stretch,
};
use tidemill_core::subject::Subject;
use tidemill_embedded::EmbeddedBroker;
use tokio::sync::Semaphore;

/// A method that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Door {
    Pull,
    Commit,
    CommitState,
    SettleCommitted,
    StateGet,
    StateKeys,
    Park,
    DeadLetter,
    /// Opening a reader.
    Read,
    /// A reader's next stretch.
    Next,
    DeadLetterRead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing happened.
    Unavailable,
    /// It happened; the answer was lost.
    AnswerLost,
    /// It will never happen.
    Refused,
    /// What was there is another now.
    Incompatible,
    /// The call goes through: something between two faults.
    Works,
}

/// What the doors share: the faults to come and the calls so far.
#[derive(Default)]
pub(crate) struct Plan {
    faults: Mutex<HashMap<Door, VecDeque<Fault>>>,
    calls: Mutex<HashMap<Door, usize>>,
    /// An answer of such a door waits for a permit before it is given.
    held: Mutex<HashMap<Door, Arc<Semaphore>>>,
}

pub(crate) struct Faulty {
    pub(crate) inner: Arc<EmbeddedBroker>,
    pub(crate) plan: Arc<Plan>,
    /// The batches that reached `commit_state`, as the number of their commits.
    pub(crate) state_batches: Mutex<Vec<usize>>,
}

/// How a source differs from the embedded one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SourceTraits {
    pub(crate) ack_wait: Option<Duration>,
    pub(crate) hold_limit: Duration,
}

pub(crate) struct FaultySource {
    inner: Arc<dyn Source>,
    plan: Arc<Plan>,
    traits: SourceTraits,
    /// Deliveries that the next pulls give once more, whatever became of them.
    pub(crate) again: Mutex<VecDeque<Delivery>>,
    /// Everything that was ever pulled.
    pub(crate) pulled: Mutex<Vec<Delivery>>,
    /// The largest `max` of a pull.
    pub(crate) largest_pull: AtomicUsize,
    /// Attempt and delay of each successful parking.
    pub(crate) parked: Mutex<Vec<(u32, Duration)>>,
    /// When `in_progress` was called, with how many receipts.
    pub(crate) heartbeats: Mutex<Vec<(tokio::time::Instant, usize)>>,
}

struct FaultyReader {
    inner: Box<dyn Reader>,
    plan: Arc<Plan>,
}

// === impl Plan ===

impl Plan {
    /// The next `times` calls of this door end with this fault.
    pub(crate) fn fail(&self, door: Door, fault: Fault, times: usize) {
        self.faults.lock().unwrap().entry(door).or_default().extend(std::iter::repeat_n(fault, times));
    }

    pub(crate) fn calls(&self, door: Door) -> usize {
        self.calls.lock().unwrap().get(&door).copied().unwrap_or_default()
    }

    /// From now on this door asks for a permit after it has done its work and before it answers.
    pub(crate) fn hold_answers(&self, door: Door) -> Arc<Semaphore> {
        let permits = Arc::new(Semaphore::new(0));
        self.held.lock().unwrap().insert(door, Arc::clone(&permits));
        permits
    }

    async fn through<T>(
        &self,
        door: Door,
        work: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<T, BrokerError> {
        *self.calls.lock().unwrap().entry(door).or_default() += 1;
        let fault = self.faults.lock().unwrap().get_mut(&door).and_then(VecDeque::pop_front);
        let away = || BrokerError::Unavailable { broker: "test", reason: "the cable is out".to_owned() };
        match fault {
            Some(Fault::Unavailable) => Err(away()),
            Some(Fault::Refused) => Err(BrokerError::Refused("never".to_owned())),
            Some(Fault::Incompatible) => Err(BrokerError::Incompatible("another one".to_owned())),
            Some(Fault::AnswerLost) => work.await.and(Err(away())),
            None | Some(Fault::Works) => {
                let answer = work.await;
                let held = self.held.lock().unwrap().get(&door).cloned();
                if let Some(permits) = held {
                    permits.acquire().await.unwrap().forget();
                }
                answer
            }
        }
    }
}

// === impl Faulty ===

impl Faulty {
    pub(crate) fn new() -> Arc<Self> {
        Self::beside(EmbeddedBroker::in_memory())
    }

    /// Another host's connection to the same broker.
    pub(crate) fn beside(inner: Arc<EmbeddedBroker>) -> Arc<Self> {
        Arc::new(Self { inner, plan: Arc::default(), state_batches: Mutex::default() })
    }

    pub(crate) async fn source(&self, route: &RouteConfig, traits: SourceTraits) -> Arc<FaultySource> {
        Arc::new(FaultySource {
            inner: self.inner.open(route).await.unwrap(),
            plan: Arc::clone(&self.plan),
            traits,
            again: Mutex::default(),
            pulled: Mutex::default(),
            largest_pull: AtomicUsize::new(0),
            parked: Mutex::default(),
            heartbeats: Mutex::default(),
        })
    }
}

#[async_trait]
impl Admin for Faulty {
    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<Published, BrokerError>> {
        self.inner.publish(messages).await
    }

    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<StoredDeadLetter>, BrokerError> {
        self.inner.dead_letters(query).await
    }

    async fn dead_letter(&self, id: u64) -> Result<Option<StoredDeadLetter>, BrokerError> {
        self.inner.dead_letter(id).await
    }

    async fn redrive(&self, redrive: Redrive) -> Result<bool, BrokerError> {
        self.inner.redrive(redrive).await
    }

    async fn discard(&self, id: u64) -> Result<bool, BrokerError> {
        self.inner.discard(id).await
    }

    async fn backlog(&self, route: &RouteConfig) -> Result<Backlog, BrokerError> {
        self.inner.backlog(route).await
    }

    async fn state_get(&self, space: &PluginName, key: &str) -> Result<StateEntry, BrokerError> {
        self.plan.through(Door::StateGet, self.inner.state_get(space, key)).await
    }

    async fn state_keys(&self, space: &PluginName, prefix: &str) -> Result<Vec<String>, BrokerError> {
        self.plan.through(Door::StateKeys, self.inner.state_keys(space, prefix)).await
    }

    async fn message(&self, stream: &StreamName, sequence: u64) -> Result<Option<Recorded>, BrokerError> {
        self.inner.message(stream, sequence).await
    }
}

#[async_trait]
impl Broker for Faulty {
    fn kind(&self) -> &'static str {
        "test"
    }

    async fn provision(&self, streams: &[StreamConfig]) -> Result<(), BrokerError> {
        self.inner.provision(streams).await
    }

    async fn open(&self, route: &RouteConfig) -> Result<Arc<dyn Source>, BrokerError> {
        self.inner.open(route).await
    }

    /// A fault hits all commits of a call.
    async fn commit(&self, commits: Vec<Commit>) -> Vec<Result<(), BrokerError>> {
        let count = commits.len();
        match self.plan.through(Door::Commit, async { Ok(self.inner.commit(commits).await) }).await {
            Ok(results) => results,
            Err(error) => vec![Err(error); count],
        }
    }

    async fn commit_state(&self, batch: StateCommit) -> Result<StateCommitted, BrokerError> {
        self.state_batches.lock().unwrap().push(batch.commits.len());
        self.plan.through(Door::CommitState, self.inner.commit_state(batch)).await
    }

    async fn settle_committed(&self, space: &PluginName, commit: &Commit) -> Result<bool, BrokerError> {
        self.plan.through(Door::SettleCommitted, self.inner.settle_committed(space, commit)).await
    }

    async fn read(&self, from: ReadFrom) -> Result<Box<dyn Reader>, BrokerError> {
        let inner = self.plan.through(Door::Read, self.inner.read(from)).await?;
        Ok(Box::new(FaultyReader { inner, plan: Arc::clone(&self.plan) }))
    }

    async fn bounds(&self, stream: &StreamName) -> Result<StreamBounds, BrokerError> {
        self.inner.bounds(stream).await
    }

    async fn dead_letter_read(&self, origin: &Origin, subject: &Subject, record: Message) -> Result<(), BrokerError> {
        self.plan.through(Door::DeadLetterRead, self.inner.dead_letter_read(origin, subject, record)).await
    }

    async fn close(&self) -> Result<(), BrokerError> {
        self.inner.close().await
    }
}

// === impl FaultyReader ===

#[async_trait]
impl Reader for FaultyReader {
    /// A lost answer loses no message: the embedded reader goes on behind it, so the fault comes before.
    async fn next(&mut self, max: usize) -> Result<Stretch, BrokerError> {
        self.plan.through(Door::Next, async { Ok(()) }).await?;
        self.inner.next(max).await
    }
}

// === impl FaultySource ===

#[async_trait]
impl Source for FaultySource {
    async fn pull(&self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        self.largest_pull.fetch_max(max, SeqCst);
        let again = self.again.lock().unwrap().pop_front();
        if let Some(again) = again {
            return Ok(vec![again]);
        }
        let pulled = self.plan.through(Door::Pull, self.inner.pull(max)).await?;
        self.pulled.lock().unwrap().extend(pulled.iter().cloned());
        Ok(pulled)
    }

    fn ack_wait(&self) -> Option<Duration> {
        self.traits.ack_wait
    }

    fn hold_limit(&self) -> Duration {
        self.traits.hold_limit
    }

    async fn in_progress(&self, receipts: &[Receipt]) -> Result<(), BrokerError> {
        self.heartbeats.lock().unwrap().push((tokio::time::Instant::now(), receipts.len()));
        Ok(())
    }

    async fn park(
        &self,
        delivery: &Delivery,
        attempt: u32,
        after: Duration,
        first_failure: SystemTime,
    ) -> Result<(), BrokerError> {
        self.plan.through(Door::Park, self.inner.park(delivery, attempt, after, first_failure)).await?;
        self.parked.lock().unwrap().push((attempt, after));
        Ok(())
    }

    async fn dead_letter(&self, delivery: &Delivery, record: Message) -> Result<(), BrokerError> {
        self.plan.through(Door::DeadLetter, self.inner.dead_letter(delivery, record)).await
    }

    async fn release(&self, deliveries: &[Delivery]) -> Result<(), BrokerError> {
        self.inner.release(deliveries).await
    }
}
