//! The broker itself: opening, and each call of the ports turned into a job for the writer or a look into the store.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tidemill_core::clock::WallClock;
use tidemill_core::config::{RouteConfig, StreamConfig};
use tidemill_core::message::Message;
use tidemill_core::name::{PluginName, StreamName};
use tidemill_core::port::{
    Admin, Backlog, Broker, BrokerError, Commit, DeadLetterQuery, Origin, Outgoing, Published, ReadFrom, Reader,
    Recorded, Redrive, Source, StateCommit, StateCommitted, StateEntry, StoredDeadLetter, StreamBounds,
};
use tidemill_core::subject::Subject;
use tokio::time::Instant;

use crate::directory::{self, Directory};
use crate::ledger::Ledger;
use crate::log::{KIND, Log, lock};
use crate::reader::{self, EmbeddedReader};
use crate::source::EmbeddedSource;
use crate::store::Store;
use crate::stream::{self, Settings};
use crate::writer::Writer;
use crate::{commit, dead_letters, opening, publish, state};

/// Streams, routes' positions, retries, state and dead letters of one process. See the [crate](crate) for how.
pub struct EmbeddedBroker {
    log: Arc<Log>,
    writer: Arc<Writer>,
}

impl EmbeddedBroker {
    /// Opens a directory, creating it for this user only if it is missing. What an earlier process was acknowledged is
    /// there. Blocks while the storage engine replays its journal: some hundred milliseconds after a crash under load.
    ///
    /// # Errors
    /// `Unavailable` if another process holds the directory, naming it, or if it cannot be read or written;
    /// `Incompatible` if it was written in a format that this version does not know.
    pub fn open(dir: &Path) -> Result<Arc<Self>, BrokerError> {
        let directory = Directory::take(dir)?;
        let store = Store::open(&directory.storage())?;
        let ledger = Ledger::load(&store)?;
        let log = Arc::new(Log::new(store, WallClock::System));
        let writer = Writer::start(Arc::clone(&log), ledger, directory)?;
        Ok(Arc::new(Self { log, writer: Arc::new(writer) }))
    }

    /// Whether a log was ever kept in a directory. Opening would make one.
    pub fn exists(dir: &Path) -> bool {
        directory::storage(dir).exists()
    }

    /// Whether some process holds a directory at this moment: a host, or a command that works without one.
    pub fn is_held(dir: &Path) -> bool {
        directory::is_held(dir)
    }

    /// The same broker on maps: for tests, also with a paused clock. Forgets everything at its end.
    pub fn in_memory() -> Arc<Self> {
        Self::in_memory_by(WallClock::System)
    }

    /// On maps, and everything is stored at the time that this clock tells.
    pub fn in_memory_by(clock: WallClock) -> Arc<Self> {
        let log = Arc::new(Log::new(Store::in_memory(), clock));
        let writer = Writer::inline(Arc::clone(&log), Ledger::empty(clock.now()));
        Arc::new(Self { log, writer: Arc::new(writer) })
    }
}

#[async_trait]
impl Admin for EmbeddedBroker {
    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<Published, BrokerError>> {
        let count = messages.len();
        let job = self.writer.submit(move |tx| {
            let results = messages.iter().map(|message| publish::publish(tx, message)).collect();
            Ok((results, messages))
        });
        each(job.await, count)
    }

    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<StoredDeadLetter>, BrokerError> {
        dead_letters::list(&self.log, &query)
    }

    async fn dead_letter(&self, id: u64) -> Result<Option<StoredDeadLetter>, BrokerError> {
        dead_letters::get(&self.log, id)
    }

    async fn redrive(&self, redrive: Redrive) -> Result<bool, BrokerError> {
        self.writer.submit(move |tx| dead_letters::redrive(tx, redrive)).await
    }

    async fn discard(&self, id: u64) -> Result<bool, BrokerError> {
        self.writer.submit(move |tx| dead_letters::discard(tx, id)).await
    }

    async fn backlog(&self, route: &RouteConfig) -> Result<Backlog, BrokerError> {
        if let Some(open) = self.log.route(&route.name) {
            self.log.check()?;
            return Ok(lock(&open.position).backlog(Instant::now()));
        }
        let route = route.clone();
        self.writer.submit(move |tx| opening::backlog_of_closed(tx, &route)).await
    }

    async fn state_get(&self, space: &PluginName, key: &str) -> Result<StateEntry, BrokerError> {
        state::get(&self.log, space, key)
    }

    async fn state_keys(&self, space: &PluginName, prefix: &str) -> Result<Vec<String>, BrokerError> {
        state::list(&self.log, space, prefix)
    }

    async fn message(&self, stream: &StreamName, sequence: u64) -> Result<Option<Recorded>, BrokerError> {
        let stream = stream.clone();
        match self.writer.submit(move |tx| Ok(reader::messages_of(tx, &stream))).await? {
            Some(messages) => reader::message(&self.log, messages, sequence),
            None => Ok(None),
        }
    }
}

#[async_trait]
impl Broker for EmbeddedBroker {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn provision(&self, streams: &[StreamConfig]) -> Result<(), BrokerError> {
        let wanted: Vec<_> = streams.iter().map(Settings::of).collect();
        self.writer.submit(move |tx| stream::provision(tx, wanted)).await
    }

    async fn open(&self, route: &RouteConfig) -> Result<Arc<dyn Source>, BrokerError> {
        let (config, now) = (route.clone(), Instant::now());
        let route = self.writer.submit(move |tx| opening::open(tx, &config, now)).await?;
        Ok(Arc::new(EmbeddedSource { log: Arc::clone(&self.log), writer: Arc::clone(&self.writer), route }))
    }

    async fn commit(&self, commits: Vec<Commit>) -> Vec<Result<(), BrokerError>> {
        let count = commits.len();
        let job = self.writer.submit(move |tx| {
            let results = commits.iter().map(|one| commit::commit(tx, one)).collect();
            Ok((results, commits))
        });
        each(job.await, count)
    }

    async fn commit_state(&self, batch: StateCommit) -> Result<StateCommitted, BrokerError> {
        self.writer.submit(move |tx| commit::commit_state(tx, &batch)).await
    }

    async fn settle_committed(&self, _space: &PluginName, commit: &Commit) -> Result<bool, BrokerError> {
        let commit = commit.clone();
        self.writer.submit(move |tx| commit::was_committed(tx, &commit)).await
    }

    async fn read(&self, from: ReadFrom) -> Result<Box<dyn Reader>, BrokerError> {
        let after = from.after;
        let (tail, interest) = self.writer.submit(move |tx| reader::open(tx, &from)).await?;
        Ok(Box::new(EmbeddedReader::new(Arc::clone(&self.log), tail, interest, after)))
    }

    async fn bounds(&self, stream: &StreamName) -> Result<StreamBounds, BrokerError> {
        let stream = stream.clone();
        self.writer.submit(move |tx| reader::bounds(tx, &stream)).await
    }

    /// The record itself says where it goes.
    async fn dead_letter_read(&self, origin: &Origin, _subject: &Subject, record: Message) -> Result<(), BrokerError> {
        let route = dead_letters::route_of(&record)?;
        let origin = origin.clone();
        self.writer.submit(move |tx| dead_letters::bury_read(tx, route, &origin, record)).await
    }

    async fn close(&self) -> Result<(), BrokerError> {
        self.writer.close().await;
        self.log.check()
    }
}

/// A group that failed fails each of its parts. What was worked on comes home to be dropped: freeing the many small
/// pieces of a message is work that the one writer has no time for.
fn each<T, W>(
    answer: Result<(Vec<Result<T, BrokerError>>, W), BrokerError>,
    count: usize,
) -> Vec<Result<T, BrokerError>> {
    match answer {
        Ok((results, _worked_on)) => results,
        Err(error) => (0..count).map(|_| Err(error.clone())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use bytes::Bytes;
    use tidemill_core::config::Start;
    use tidemill_core::envelope::Envelope;
    use tidemill_core::message::Headers;
    use tidemill_core::name::RouteName;
    use tidemill_core::port::Delivery;
    use tidemill_core::retry::RetryPolicy;
    use tidemill_core::subject::SubjectPattern;

    use super::*;
    use crate::retention;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn stream() -> StreamConfig {
        StreamConfig {
            name: StreamName::try_new("IN").unwrap(),
            subjects: vec![SubjectPattern::try_new("in.>").unwrap()],
            envelope: Envelope::default(),
            max_age: None,
            max_bytes: None,
            duplicate_window: Duration::from_secs(120),
            replicas: 1,
        }
    }

    fn route() -> RouteConfig {
        RouteConfig {
            name: RouteName::try_new("route").unwrap(),
            stream: StreamName::try_new("IN").unwrap(),
            subjects: vec![],
            start: Start::All,
            filter: None,
            handler: PluginName::try_new("handler").unwrap(),
            emits: vec![],
            envelope: Envelope::default(),
            timeout: Duration::from_secs(5),
            max_in_flight: 16,
            retry: RetryPolicy::default(),
            dead_letter: Subject::try_new("dlq.route").unwrap(),
            max_hops: tidemill_core::hops::DEFAULT_MAX,
        }
    }

    fn outgoing(id: &str, size: usize) -> Outgoing {
        let subject = Subject::try_new("in.a").unwrap();
        let message = Message { subject, headers: Headers::new(), payload: Bytes::from(vec![b'x'; size]) };
        Outgoing { id: id.to_owned(), message }
    }

    fn settle(delivery: &Delivery) -> Commit {
        let (origin, receipt) = (delivery.origin.clone(), delivery.receipt.clone());
        Commit { route: RouteName::try_new("route").unwrap(), origin, receipt, emits: Arc::default() }
    }

    async fn with(streams: &[StreamConfig]) -> Arc<EmbeddedBroker> {
        let broker = EmbeddedBroker::in_memory();
        broker.provision(streams).await.unwrap();
        broker
    }

    async fn publish(broker: &EmbeddedBroker, id: &str, size: usize) -> Result<Published, BrokerError> {
        broker.publish(vec![outgoing(id, size)]).await.remove(0)
    }

    /// How many messages a stream holds.
    async fn held(broker: &EmbeddedBroker) -> u64 {
        let extent = |tx: &mut crate::transaction::Transaction<'_>| Ok(tx.ledger.streams[0].extent);
        let extent = broker.writer.submit(extent).await.unwrap();
        extent.end - extent.first
    }

    /// Tends the streams as if it were that much later.
    async fn tend_after(broker: &EmbeddedBroker, later: Duration) {
        let tend = move |tx: &mut crate::transaction::Transaction<'_>| {
            tx.now += later;
            retention::tend(tx)
        };
        broker.writer.submit(tend).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_makes_waiting_free() {
        let broker = with(&[stream()]).await;
        let source = broker.open(&route()).await.unwrap();
        publish(&broker, "1", 10).await.unwrap();
        let first = source.pull(1).await.unwrap().remove(0);
        let begun = (Instant::now(), std::time::Instant::now());
        source.park(&first, 2, DAY, SystemTime::now()).await.unwrap();
        let back = loop {
            if let Some(delivery) = source.pull(1).await.unwrap().pop() {
                break delivery;
            }
        };
        assert_eq!(back.attempt, 2);
        assert_eq!(begun.0.elapsed().as_secs(), DAY.as_secs());
        assert!(begun.1.elapsed() < Duration::from_secs(60));
    }

    #[tokio::test]
    async fn after_a_failed_write_nothing_is_acknowledged_any_more() {
        let broker = with(&[stream()]).await;
        let source = broker.open(&route()).await.unwrap();
        publish(&broker, "1", 10).await.unwrap();
        let delivery = source.pull(1).await.unwrap().remove(0);
        let break_down = |store: &Store| {
            match store {
                Store::Memory(memory) => memory.break_down(),
                Store::Disk(_) => unreachable!("the broker is in memory"),
            }
            Ok(())
        };
        broker.log.read(break_down).unwrap();

        for _ in 0..2 {
            let answers =
                [broker.commit(vec![settle(&delivery)]).await.remove(0), publish(&broker, "2", 10).await.map(|_| ())];
            for answer in answers {
                let text = answer.unwrap_err().to_string();
                assert!(text.contains("could not be written: broken by a test; restart"), "{text}");
            }
        }
        assert!(source.pull(1).await.is_err(), "nothing is handed out that could not be settled");
        assert!(broker.close().await.is_err());
    }

    #[tokio::test]
    async fn old_messages_go_but_not_those_that_a_route_still_needs() {
        let broker = with(&[StreamConfig { max_age: Some(DAY), ..stream() }]).await;
        let source = broker.open(&route()).await.unwrap();
        for id in ["1", "2", "3"] {
            publish(&broker, id, 10).await.unwrap();
        }
        let deliveries = source.pull(2).await.unwrap();
        broker.commit(vec![settle(&deliveries[0])]).await.remove(0).unwrap();

        tend_after(&broker, DAY / 2).await;
        assert_eq!(held(&broker).await, 3, "none is old");
        tend_after(&broker, DAY * 2).await;
        assert_eq!(held(&broker).await, 2, "the second is under way, the third not delivered yet");
        source.release(&deliveries[1..]).await.unwrap();
        assert_eq!(source.pull(9).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn what_has_gone_is_passed_over_by_readers() {
        let broker = with(&[StreamConfig { max_age: Some(DAY), ..stream() }]).await;
        for id in ["1", "2", "3"] {
            publish(&broker, id, 10).await.unwrap();
        }
        tend_after(&broker, DAY * 2).await;
        publish(&broker, "4", 10).await.unwrap();
        let from = ReadFrom { stream: stream().name, subjects: vec![], after: 1 };
        let stretch = broker.read(from).await.unwrap().next(10).await.unwrap();
        let sequences: Vec<u64> = stretch.messages.iter().map(|recorded| recorded.sequence).collect();
        assert_eq!((sequences.as_slice(), stretch.through, stretch.last), ([4].as_slice(), 4, 4));
        assert_eq!(broker.bounds(&stream().name).await.unwrap(), StreamBounds { first: 4, last: 4 });
    }

    #[tokio::test]
    async fn a_full_stream_gives_up_what_its_routes_have_settled() {
        let broker = with(&[StreamConfig { max_bytes: Some(10_000), ..stream() }]).await;
        let source = broker.open(&route()).await.unwrap();
        for id in ["1", "2", "3"] {
            publish(&broker, id, 3000).await.unwrap();
        }
        let full = publish(&broker, "4", 3000).await.unwrap_err();
        assert!(matches!(full, BrokerError::Unavailable { .. }), "{full:?}");
        let delivery = source.pull(1).await.unwrap().remove(0);
        broker.commit(vec![settle(&delivery)]).await.remove(0).unwrap();
        publish(&broker, "4", 3000).await.unwrap();
        assert_eq!(held(&broker).await, 3);
    }

    #[tokio::test]
    async fn an_id_is_forgotten_after_the_duplicate_window_and_not_before() {
        let broker = with(&[stream()]).await;
        publish(&broker, "1", 10).await.unwrap();
        let again = |after: u64| {
            let broker = Arc::clone(&broker);
            async move {
                let job = move |tx: &mut crate::transaction::Transaction<'_>| {
                    tx.now += Duration::from_secs(after);
                    retention::tend(tx)?;
                    publish::publish(tx, &outgoing("1", 10))
                };
                broker.writer.submit(job).await.unwrap().duplicate
            }
        };
        assert!(again(119).await);
        assert!(!again(121).await);
        assert!(again(125).await, "it is known again, in the next generation");
        assert!(!again(1000).await);
    }

    #[tokio::test]
    async fn names_and_subjects_that_would_clash_are_refused() {
        let broker = with(&[stream()]).await;
        let reserved = StreamConfig { name: StreamName::try_new("Tidemill_retry").unwrap(), ..stream() };
        assert!(matches!(broker.provision(&[reserved]).await, Err(BrokerError::Refused(_))));
        let overlapping = StreamConfig { name: StreamName::try_new("OTHER").unwrap(), ..stream() };
        let text = broker.provision(&[overlapping]).await.unwrap_err().to_string();
        assert_eq!(
            text,
            "the stream `OTHER` cannot capture `in.>`: `in.>` of the stream `IN` captures some of it already"
        );
    }

    #[tokio::test]
    async fn opening_a_route_again_hands_out_what_its_first_source_had() {
        let broker = with(&[stream()]).await;
        let first = broker.open(&route()).await.unwrap();
        publish(&broker, "1", 10).await.unwrap();
        let before = first.pull(1).await.unwrap().remove(0);
        drop(first);
        let again = broker.open(&route()).await.unwrap().pull(1).await.unwrap().remove(0);
        assert_eq!(again.origin, before.origin);
    }
}
