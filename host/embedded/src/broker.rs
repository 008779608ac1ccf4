//! The broker itself: opening, and each call of the ports turned into a job for the writer or a look into the store.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tidemill_core::config::{RouteConfig, StreamConfig};
use tidemill_core::name::PluginName;
use tidemill_core::port::{
    Admin, Backlog, Broker, BrokerError, Commit, DeadLetterQuery, Outgoing, Published, Redrive, Source, StateCommit,
    StateCommitted, StateEntry, StoredDeadLetter,
};
use tokio::time::Instant;

use crate::directory::Directory;
use crate::ledger::Ledger;
use crate::log::{KIND, Log, lock};
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
        let log = Arc::new(Log::new(store));
        let writer = Writer::start(Arc::clone(&log), ledger, directory)?;
        Ok(Arc::new(Self { log, writer: Arc::new(writer) }))
    }

    /// The same broker on maps: for tests, also with a paused clock. Forgets everything at its end.
    pub fn in_memory() -> Arc<Self> {
        let log = Arc::new(Log::new(Store::in_memory()));
        let writer = Writer::inline(Arc::clone(&log), Ledger::empty());
        Arc::new(Self { log, writer: Arc::new(writer) })
    }
}

#[async_trait]
impl Admin for EmbeddedBroker {
    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<Published, BrokerError>> {
        let count = messages.len();
        let job =
            self.writer.submit(move |tx| Ok(messages.iter().map(|message| publish::publish(tx, message)).collect()));
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
        let job = self.writer.submit(move |tx| Ok(commits.iter().map(|one| commit::commit(tx, one)).collect()));
        each(job.await, count)
    }

    async fn commit_state(&self, batch: StateCommit) -> Result<StateCommitted, BrokerError> {
        self.writer.submit(move |tx| commit::commit_state(tx, &batch)).await
    }

    async fn settle_committed(&self, _space: &PluginName, commit: &Commit) -> Result<bool, BrokerError> {
        let commit = commit.clone();
        self.writer.submit(move |tx| commit::was_committed(tx, &commit)).await
    }

    async fn state_get(&self, space: &PluginName, key: &str) -> Result<StateEntry, BrokerError> {
        state::get(&self.log, space, key)
    }

    async fn state_keys(&self, space: &PluginName, prefix: &str) -> Result<Vec<String>, BrokerError> {
        state::list(&self.log, space, prefix)
    }

    async fn close(&self) -> Result<(), BrokerError> {
        self.writer.close().await;
        self.log.check()
    }
}

/// A group that failed fails each of its parts.
fn each<T>(result: Result<Vec<Result<T, BrokerError>>, BrokerError>, count: usize) -> Vec<Result<T, BrokerError>> {
    result.unwrap_or_else(|error| (0..count).map(|_| Err(error.clone())).collect())
}
