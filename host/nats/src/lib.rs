//! Everything NATS JetStream: provisioning, pulling, committing and dead letters behind Tidemill's broker port.
//!
//! [`NatsBroker`] is the only door; nothing here decides what should happen to an event, it
//! turns the port's calls into JetStream's protocol and JetStream's errors into the port's.
//!
//! What Tidemill creates on a server, besides the streams that `runtime.yaml` declares:
//!
//! | name | what | subjects |
//! |---|---|---|
//! | `TIDEMILL_RETRY` | events that wait for their next attempt, or were redriven; whose turn it is (`turn.rs`) | `tidemill.sched.>`, `tidemill.retry.>` |
//! | `TIDEMILL_DLQ` | dead letters | `<dead_letter>.>` of each route |
//! | `TIDEMILL_STATE_<plugin>` | a plugin's state and the markers of what was committed | `tidemill.state.<plugin>.>` |
//! | consumer `tidemill-<route>` | the route's position in its stream | the route's `subjects` |
//! | consumer `tidemill-<route>-retry` | the route's retries | `tidemill.retry.<route>.>` |
//! | consumer `tidemill-read-<random>` | a projection reads; in memory, gone half a minute after it stops | its `subjects` |

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

// The connection and the protocol.
mod connect;
mod connection;
mod error;
mod mailbox;
mod subjects;
mod wire;

// What stands on the server.
mod consumers;
mod provision;
mod settings;
mod stored;
mod turn;

// In.
mod puller;
mod reader;
mod rescue;
mod source;

// Out, and done.
mod commit;
mod marker;
mod publisher;
mod state;

// What fails.
mod dead_letters;
mod repack;
mod retry;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;
use tidemill_core::config::{NatsConfig, RouteConfig, StreamConfig};
use tidemill_core::message::Message;
use tidemill_core::name::{PluginName, StreamName};
use tidemill_core::port::{
    Admin, Backlog, Broker, BrokerError, Commit, DeadLetterQuery, Origin, Outgoing, Published, ReadFrom, Reader,
    Recorded, Redrive, Source, StateCommit, StateCommitted, StateEntry, StoredDeadLetter, StreamBounds,
};
use tidemill_core::subject::Subject;

use crate::commit::Committer;
use crate::connection::Connection;
use crate::dead_letters::{DeadLetters, Owner};
use crate::error::NatsError;
use crate::publisher::Publisher;
use crate::reader::NatsReader;
use crate::source::NatsSource;
use crate::state::StateStore;

/// How long a delivery may stay unsettled; the host says "in progress" every third of it.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// JetStream as Tidemill's broker. Reconnects by itself; while the server is away every call ends within its own
/// timeout, with `Unavailable`.
pub struct NatsBroker {
    connection: Arc<Connection>,
    publisher: Arc<Publisher>,
    committer: Committer,
    state: StateStore,
    dead_letters: Arc<DeadLetters>,
    replicas: usize,
    ack_wait: Duration,
    /// To give back at the end what was pulled and not handed out.
    sources: Mutex<Vec<Weak<NatsSource>>>,
}

// === impl NatsBroker ===

impl NatsBroker {
    /// Connects and checks that the server is one that Tidemill can work with.
    ///
    /// `Unavailable`: no server answers within about 10 s. `Refused`: it does not take the credentials. `Incompatible`:
    /// it is too old, or JetStream is not enabled. Needs a tokio runtime with time and network.
    pub async fn connect(config: &NatsConfig) -> Result<Arc<Self>, BrokerError> {
        Self::connect_with_ack_wait(config, ACK_WAIT).await
    }

    /// [`NatsBroker::connect`] with another acknowledgement wait than the 30 s that suit every handler: for tests that
    /// cannot wait so long for a redelivery.
    pub async fn connect_with_ack_wait(config: &NatsConfig, ack_wait: Duration) -> Result<Arc<Self>, BrokerError> {
        let connection = connect::connect(config).await?;
        let publisher = Arc::new(Publisher::new(Arc::clone(&connection)));
        let replicas = config.replicas.max(1);
        Ok(Arc::new(Self {
            committer: Committer::new(Arc::clone(&connection), Arc::clone(&publisher)),
            state: StateStore::new(Arc::clone(&connection), replicas),
            dead_letters: Arc::new(DeadLetters::new(Arc::clone(&connection), Arc::clone(&publisher), replicas)),
            connection,
            publisher,
            replicas,
            ack_wait,
            sources: Mutex::new(Vec::new()),
        }))
    }

    async fn parked(&self, route: &RouteConfig) -> Result<u64, NatsError> {
        #[derive(Deserialize)]
        struct Info {
            state: State,
        }
        #[derive(Deserialize)]
        struct State {
            #[serde(default)]
            subjects: std::collections::HashMap<String, u64>,
        }
        // The server answers 100,000 subjects at a time.
        const PAGE: usize = 100_000;
        let mut parked = 0;
        for offset in (0..).step_by(PAGE) {
            let call = format!("STREAM.INFO.{}", subjects::RETRY_STREAM);
            let query = json!({ "subjects_filter": subjects::all_parked(&route.name), "offset": offset });
            let page = match self.connection.api::<Info>(&call, &query).await? {
                Ok(info) => info.state.subjects,
                Err(error) if error.is_stream_not_found() => break,
                Err(error) => return Err(NatsError::Api { what: call, error }),
            };
            parked += page.values().sum::<u64>();
            if page.len() < PAGE {
                break;
            }
        }
        Ok(parked)
    }

    fn open_sources(&self) -> Vec<Arc<NatsSource>> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.iter().filter_map(Weak::upgrade).collect()
    }
}

#[async_trait]
impl Admin for NatsBroker {
    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<Published, BrokerError>> {
        self.publisher.publish(&messages.iter().collect::<Vec<_>>()).await
    }

    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<StoredDeadLetter>, BrokerError> {
        self.dead_letters.list(&query).await
    }

    async fn dead_letter(&self, id: u64) -> Result<Option<StoredDeadLetter>, BrokerError> {
        self.dead_letters.get(id).await
    }

    async fn redrive(&self, redrive: Redrive) -> Result<bool, BrokerError> {
        if self.dead_letters.get(redrive.dead_letter).await?.is_none() {
            return Ok(false);
        }
        // First the event, then the record: if this ends in between, doing it again stores nothing new.
        retry::redrive(&self.connection, &redrive).await?;
        self.dead_letters.discard(redrive.dead_letter).await
    }

    async fn discard(&self, id: u64) -> Result<bool, BrokerError> {
        self.dead_letters.discard(id).await
    }

    async fn backlog(&self, route: &RouteConfig) -> Result<Backlog, BrokerError> {
        // What waits is counted first: a retry whose time comes in between is counted twice rather than not at all.
        let parked = self.parked(route).await?;
        let main = subjects::consumer(&route.name);
        let retry = subjects::retry_consumer(&route.name);
        let main = consumers::info(&self.connection, route.stream.as_str(), &main).await?;
        let retry = consumers::info(&self.connection, subjects::RETRY_STREAM, &retry).await?;
        let mut backlog = Backlog { parked, ..Backlog::default() };
        for info in [main, retry].into_iter().flatten() {
            backlog.undelivered += info.num_pending;
            backlog.in_flight += info.num_ack_pending;
        }
        Ok(backlog)
    }

    async fn state_get(&self, space: &PluginName, key: &str) -> Result<StateEntry, BrokerError> {
        self.state.get(space, key).await
    }

    async fn state_keys(&self, space: &PluginName, prefix: &str) -> Result<Vec<String>, BrokerError> {
        self.state.keys(space, prefix).await
    }

    async fn message(&self, stream: &StreamName, sequence: u64) -> Result<Option<Recorded>, BrokerError> {
        let found = stored::by_sequence(&self.connection, stream.as_str(), sequence).await?;
        Ok(found.map(reader::recorded))
    }
}

#[async_trait]
impl Broker for NatsBroker {
    fn kind(&self) -> &'static str {
        "nats"
    }

    async fn provision(&self, streams: &[StreamConfig]) -> Result<(), BrokerError> {
        for stream in streams {
            provision::ensure(&self.connection, &provision::declared(stream), "runtime.yaml says").await?;
        }
        provision::ensure(&self.connection, &provision::retry(self.replicas), "Tidemill needs").await?;
        self.dead_letters.stream().await?;
        Ok(())
    }

    async fn open(&self, route: &RouteConfig) -> Result<Arc<dyn Source>, BrokerError> {
        let wanted = consumers::route(route, self.ack_wait);
        consumers::ensure(&self.connection, route.stream.as_str(), &wanted).await?;
        provision::ensure(&self.connection, &provision::retry(self.replicas), "Tidemill needs").await?;
        let wanted = consumers::retries(route, self.ack_wait);
        consumers::ensure(&self.connection, subjects::RETRY_STREAM, &wanted).await?;
        let dead_letter_stream = self.dead_letters.prepare(&Owner::of(route)).await?;
        let (connection, dead_letters) = (Arc::clone(&self.connection), Arc::clone(&self.dead_letters));
        let source =
            Arc::new(NatsSource::new(connection, dead_letters, route.clone(), self.ack_wait, dead_letter_stream));
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.retain(|source| source.strong_count() > 0);
        sources.push(Arc::downgrade(&source));
        Ok(source)
    }

    async fn commit(&self, commits: Vec<Commit>) -> Vec<Result<(), BrokerError>> {
        self.committer.commit(&commits).await
    }

    async fn commit_state(&self, batch: StateCommit) -> Result<StateCommitted, BrokerError> {
        self.committer.commit_state(&self.state, &batch).await
    }

    async fn settle_committed(&self, space: &PluginName, commit: &Commit) -> Result<bool, BrokerError> {
        self.committer.settle_committed(&self.state, space, commit).await
    }

    async fn read(&self, from: ReadFrom) -> Result<Box<dyn Reader>, BrokerError> {
        Ok(Box::new(NatsReader::open(Arc::clone(&self.connection), from).await?))
    }

    async fn bounds(&self, stream: &StreamName) -> Result<StreamBounds, BrokerError> {
        Ok(provision::standing(&self.connection, stream.as_str()).await?.bounds)
    }

    async fn dead_letter_read(&self, origin: &Origin, subject: &Subject, record: Message) -> Result<(), BrokerError> {
        self.dead_letters.store_read(origin, subject, &record).await
    }

    async fn close(&self) -> Result<(), BrokerError> {
        for source in self.open_sources() {
            source.give_back().await?;
        }
        self.committer.flush().await?;
        // What nobody answers to (the deliveries given back) has reached the server when it answers to something behind.
        self.connection.api::<serde_json::Value>("INFO", &json!({})).await?.ok();
        self.connection
            .client()
            .drain()
            .await
            .map_err(|error| error::unavailable(format!("the connection was not closed in order: {error}")))
    }
}
