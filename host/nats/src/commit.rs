//! Effects become durable, then the delivery is settled.
//!
//! The host may die after any step. What the redelivery does then, and why nothing is lost or doubled:
//!
//! | the host dies after | without state | with state |
//! |---|---|---|
//! | the guest returned | the guest runs again | the guest runs again |
//! | a part of the batch was sent | – | the server drops an incomplete batch; the guest runs again |
//! | the state and the markers are written | – | the marker is found: the guest is not called, the recorded emits are published, acknowledged |
//! | some emits are published | the guest runs again; the same ids are stored once within the stream's duplicate window | the marker is found: all recorded emits again under the same ids, stored once within the stream's duplicate window |
//! | all emits are published | as above | as above |
//! | the acknowledgement was sent and lost | as above | as above |
//! | the acknowledgement arrived | nothing comes again | nothing comes again |
//!
//! The same table holds for the server being killed instead: a batch it did not answer is sent again, an emit it did not
//! answer is sent again under the same id, and its last 60 ms or so of acknowledgements are lost and redelivered.
//!
//! What cannot be stored is refused before anything is written. A stream that changes its mind afterwards leaves a marker
//! with an emit that nobody takes: its delivery stays unsettled and comes back, the others go on.
//!
//! A plain emit is not put into an atomic batch: each costs the server about 2 ms on file storage, whatever its size.
//! An acknowledgement is fire-and-forget (waiting for each would cost a round trip); [`Committer::flush`] waits once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tidemill_core::name::{PluginName, RouteName};
use tidemill_core::port::{BrokerError, Commit, Outgoing, Receipt, StateCommit, StateCommitted};

use crate::connection::{Connection, Patience};
use crate::publisher::Publisher;
use crate::state::{StateStore, Written};
use crate::subjects;
use crate::wire::{Outbound, ack_of};

const ACK: Bytes = Bytes::from_static(b"+ACK");
/// How often an emit that is recorded and refused is tried before its delivery is left for later. A stream that is being
/// changed or replaced refuses for a moment.
const RECORDED_TRIES: usize = 3;
const RECORDED_PAUSE: Duration = Duration::from_millis(200);

/// Makes effects durable.
pub(crate) struct Committer {
    connection: Arc<Connection>,
    publisher: Arc<Publisher>,
    /// The last acknowledgement sent on each consumer: when the server has answered to it, it has seen all before.
    last_acks: Mutex<HashMap<RouteName, [Option<Receipt>; 2]>>,
}

// === impl Committer ===

impl Committer {
    pub(crate) fn new(connection: Arc<Connection>, publisher: Arc<Publisher>) -> Self {
        Self { connection, publisher, last_acks: Mutex::new(HashMap::new()) }
    }

    /// All emits of the batch are on their way at once; each delivery is acknowledged when its own are confirmed.
    pub(crate) async fn commit(&self, commits: &[Commit]) -> Vec<Result<(), BrokerError>> {
        let mut results = Vec::with_capacity(commits.len());
        for commit in commits {
            // Nothing of a commit may leave when a part of it is impossible.
            results.push(self.publisher.check_all(commit.emits.iter()).await);
        }
        let possible = commits.iter().zip(&results).filter(|(_, result)| result.is_ok());
        let emits: Vec<&Outgoing> = possible.flat_map(|(commit, _)| commit.emits.iter()).collect();
        let mut published =
            if emits.is_empty() { Vec::new() } else { self.publisher.publish(&emits).await }.into_iter();
        for (commit, result) in commits.iter().zip(&mut results) {
            if result.is_ok() {
                let own: Vec<_> = published.by_ref().take(commit.emits.len()).collect();
                *result = own.into_iter().try_for_each(|emit| emit.map(drop));
            }
        }
        let settled: Vec<&Commit> =
            commits.iter().zip(&results).filter(|(_, result)| result.is_ok()).map(|(commit, _)| commit).collect();
        if let Err(error) = self.acknowledge(&settled).await {
            results.iter_mut().filter(|result| result.is_ok()).for_each(|result| *result = Err(error.clone()));
        }
        results
    }

    pub(crate) async fn commit_state(
        &self,
        store: &StateStore,
        batch: &StateCommit,
    ) -> Result<StateCommitted, BrokerError> {
        for commit in &batch.commits {
            self.publisher.check_all(commit.emits.iter()).await?;
        }
        match store.write(batch).await? {
            Written::Done { revisions } => {
                let settled: Vec<_> = batch.commits.iter().map(|commit| (commit, &commit.emits[..])).collect();
                self.publish_and_acknowledge(&settled).await?;
                Ok(StateCommitted::Done { revisions })
            }
            Written::Refused { markers } => {
                let found = markers.iter().enumerate().filter_map(|(index, marker)| Some((index, marker.as_ref()?)));
                let (already_committed, settled): (Vec<usize>, Vec<_>) =
                    found.map(|(index, marker)| (index, (&batch.commits[index], &marker.emits[..]))).unzip();
                self.publish_and_acknowledge(&settled).await?;
                Ok(StateCommitted::Conflict { already_committed })
            }
        }
    }

    pub(crate) async fn settle_committed(
        &self,
        store: &StateStore,
        space: &PluginName,
        commit: &Commit,
    ) -> Result<bool, BrokerError> {
        let markers = store.markers(space, std::slice::from_ref(commit)).await?;
        let Some(marker) = markers.into_iter().next().flatten() else { return Ok(false) };
        self.publish_and_acknowledge(&[(commit, &marker.emits)]).await?;
        Ok(true)
    }

    /// What is recorded in a marker must come out, so a refusal here is no refusal of the commit. Nor may it hold up the
    /// other commits: the delivery is left unsettled, comes back after `ack_wait`, and its marker publishes again, until
    /// the stream takes it.
    async fn publish_and_acknowledge(&self, settled: &[(&Commit, &[Outgoing])]) -> Result<(), BrokerError> {
        let emits: Vec<&Outgoing> = settled.iter().flat_map(|(_, emits)| emits.iter()).collect();
        let mut published = self.publish_recorded(&emits).await?.into_iter();
        let mut complete = Vec::with_capacity(settled.len());
        for (commit, emits) in settled {
            // Not `all`: it would stop at the first refusal and leave the rest to the next commit.
            if published.by_ref().take(emits.len()).filter(|stored| !stored).count() == 0 {
                complete.push(*commit);
            }
        }
        self.acknowledge(&complete).await
    }

    /// Whether each is stored; `false` for one that was refused again and again.
    async fn publish_recorded(&self, emits: &[&Outgoing]) -> Result<Vec<bool>, BrokerError> {
        let mut stored = vec![false; emits.len()];
        for left in (0..RECORDED_TRIES).rev() {
            let open: Vec<usize> = (0..emits.len()).filter(|index| !stored[*index]).collect();
            if open.is_empty() {
                break;
            }
            let again: Vec<&Outgoing> = open.iter().map(|index| emits[*index]).collect();
            for (index, result) in open.iter().zip(self.publisher.publish(&again).await) {
                match result {
                    Ok(_) => stored[*index] = true,
                    Err(error @ BrokerError::Unavailable { .. }) => return Err(error),
                    Err(error) if left == 0 => tracing::error!(
                        subject = emits[*index].message.subject.as_str(), id = emits[*index].id, %error,
                        "an emit of a committed event is refused; the event stays unsettled until the stream takes it"
                    ),
                    Err(_) => {}
                }
            }
            if left > 0 && stored.contains(&false) {
                tokio::time::sleep(RECORDED_PAUSE).await;
            }
        }
        Ok(stored)
    }

    async fn acknowledge(&self, commits: &[&Commit]) -> Result<(), BrokerError> {
        for commit in commits {
            self.connection.send(ack_of(&commit.receipt), ACK).await?;
        }
        self.remember(commits);
        Ok(())
    }

    /// Keeps the last receipt of each consumer in the batch. Batches are of one route nearly always, so the map is touched
    /// once or twice.
    fn remember(&self, commits: &[&Commit]) {
        let mut last: [Option<&Commit>; 2] = [None, None];
        let mut last_acks = self.last_acks.lock().unwrap_or_else(PoisonError::into_inner);
        for commit in commits {
            let from_retry = usize::from(commit.receipt.as_str().contains(subjects::RETRY_STREAM));
            let before = last[from_retry].replace(commit);
            if let Some(before) = before.filter(|before| before.route != commit.route) {
                last_acks.entry(before.route.clone()).or_default()[from_retry] = Some(before.receipt.clone());
            }
        }
        for (from_retry, commit) in last.into_iter().enumerate() {
            if let Some(commit) = commit {
                last_acks.entry(commit.route.clone()).or_default()[from_retry] = Some(commit.receipt.clone());
            }
        }
    }

    /// Returns when the server has processed every acknowledgement sent so far.
    pub(crate) async fn flush(&self) -> Result<(), BrokerError> {
        let receipts: Vec<Receipt> = {
            let last_acks = self.last_acks.lock().unwrap_or_else(PoisonError::into_inner);
            last_acks.values().flatten().flatten().cloned().collect()
        };
        let question = |index: usize| Outbound {
            subject: async_nats::Subject::from(ack_of(&receipts[index])),
            headers: None,
            payload: ACK,
        };
        let answers = self.connection.exchange(receipts.len(), question, Patience::API).await;
        if answers.iter().any(Option::is_none) {
            return Err(crate::error::unavailable("the last acknowledgements were not confirmed"));
        }
        Ok(())
    }
}
