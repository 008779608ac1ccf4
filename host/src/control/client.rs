//! The other process's side of the control socket.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use tidemill_core::config::RouteConfig;
use tidemill_core::name::{PluginName, ProjectionName, StreamName};
use tidemill_core::port::{
    Admin, Backlog, BrokerError, DeadLetterQuery, Outgoing, Published, Recorded, Redrive, Revision, StateEntry,
    StoredDeadLetter,
};
use tidemill_core::read_model::{Collection, CopyId, CopyReader, Document, IndexValue, StoreError};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use super::{Order, pointer, socket_path};
use crate::status::Status;

use super::wire::{self, Answer, Request, WireDeadLetter, WireOutgoing, WireRecorded};

/// A running host, reached through its socket. One request at a time.
pub struct Remote {
    stream: Mutex<BufReader<UnixStream>>,
}

// === impl Remote ===

impl Remote {
    /// The host that holds this folder; `None` if none is running.
    pub async fn connect(dir: &Path) -> Option<Self> {
        let stream = UnixStream::connect(socket_path(dir)).await.ok()?;
        Some(Self { stream: Mutex::new(BufReader::new(stream)) })
    }

    /// The host that runs with this configuration file, found without reading it; `None` if none is running.
    pub async fn behind(configuration: &Path) -> Option<Self> {
        let pointer = pointer(configuration);
        // The temporary folder is everybody's: a link of somebody else's leads to somebody else's host.
        let link = fs::symlink_metadata(&pointer).ok()?;
        if !link.is_symlink() || link.uid() != rustix::process::getuid().as_raw() {
            return None;
        }
        let stream = UnixStream::connect(fs::read_link(&pointer).ok()?).await.ok()?;
        Some(Self { stream: Mutex::new(BufReader::new(stream)) })
    }

    pub async fn status(&self) -> Result<Status, BrokerError> {
        match self.ask(Request::Status).await? {
            Answer::Status(status) => Ok(*status),
            _ => Err(unexpected()),
        }
    }

    /// Lets the host look at what lies on disk. Answers what it did, in a sentence.
    pub async fn reload(&self) -> Result<String, BrokerError> {
        told(self.ask(Request::Reload).await?)
    }

    pub async fn roll_back(&self, plugin: &PluginName) -> Result<String, BrokerError> {
        told(self.ask(Request::RollBack { plugin: plugin.to_string() }).await?)
    }

    pub async fn release(&self, plugin: &PluginName) -> Result<String, BrokerError> {
        told(self.ask(Request::Release { plugin: plugin.to_string() }).await?)
    }

    /// Asks something of a projection. Answers what was done, in a sentence.
    pub async fn order(&self, projection: &ProjectionName, order: Order) -> Result<String, BrokerError> {
        told(self.ask(Request::Projection { name: projection.to_string(), order: order.into() }).await?)
    }

    /// A document, or a page of documents; the parameters are those of the gateway's URL.
    pub async fn documents(
        &self,
        collection: String,
        key: Option<String>,
        params: Vec<(String, String)>,
    ) -> Result<serde_json::Value, BrokerError> {
        match self.ask(Request::Documents { collection, key, params }).await? {
            Answer::Documents(answer) => Ok(answer),
            _ => Err(unexpected()),
        }
    }

    async fn ask(&self, request: Request) -> Result<Answer, BrokerError> {
        match self.exchange(&request).await {
            Ok(Answer::Error(error)) => Err(error.into()),
            Ok(answer) => Ok(answer),
            Err(error) => Err(lost(&format!("{error:#}"))),
        }
    }

    async fn exchange(&self, request: &Request) -> anyhow::Result<Answer> {
        let mut stream = self.stream.lock().await;
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        stream.get_mut().write_all(&text).await.context("asking the running host")?;
        let mut line = String::new();
        if stream.read_line(&mut line).await.context("reading the running host's answer")? == 0 {
            anyhow::bail!("the running host hung up");
        }
        serde_json::from_str(&line).context("reading the running host's answer")
    }
}

#[async_trait]
impl Admin for Remote {
    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<Published, BrokerError>> {
        let count = messages.len();
        let request = Request::Publish(messages.iter().map(WireOutgoing::from).collect());
        match self.ask(request).await {
            Ok(Answer::Published(results)) => results
                .into_iter()
                .map(|result| result.map_err(BrokerError::from).and_then(|stored| stored.into_published().map_err(odd)))
                .collect(),
            Ok(_) => vec![Err(unexpected()); count],
            Err(error) => vec![Err(error); count],
        }
    }

    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<StoredDeadLetter>, BrokerError> {
        match self.ask(query.into()).await? {
            Answer::DeadLetters(found) => found.into_iter().map(|one| one.into_stored().map_err(odd)).collect(),
            _ => Err(unexpected()),
        }
    }

    async fn dead_letter(&self, id: u64) -> Result<Option<StoredDeadLetter>, BrokerError> {
        match self.ask(Request::DeadLetter(id)).await? {
            Answer::DeadLetter(found) => found.map(WireDeadLetter::into_stored).transpose().map_err(odd),
            _ => Err(unexpected()),
        }
    }

    async fn redrive(&self, redrive: Redrive) -> Result<bool, BrokerError> {
        done(self.ask(Request::Redrive((&redrive).into())).await?)
    }

    async fn discard(&self, id: u64) -> Result<bool, BrokerError> {
        done(self.ask(Request::Discard(id)).await?)
    }

    async fn backlog(&self, route: &RouteConfig) -> Result<Backlog, BrokerError> {
        match self.ask(Request::Backlog { route: route.name.as_str().to_owned() }).await? {
            Answer::Backlog { undelivered, in_flight, parked } => Ok(Backlog { undelivered, in_flight, parked }),
            _ => Err(unexpected()),
        }
    }

    async fn state_get(&self, space: &PluginName, key: &str) -> Result<StateEntry, BrokerError> {
        match self.ask(Request::State { plugin: space.to_string(), key: key.to_owned() }).await? {
            Answer::State(value, revision) => {
                let value = value.map(|text| wire::decode(&text)).transpose().map_err(odd)?;
                Ok(StateEntry { value, revision: Revision(revision) })
            }
            _ => Err(unexpected()),
        }
    }

    async fn state_keys(&self, space: &PluginName, prefix: &str) -> Result<Vec<String>, BrokerError> {
        match self.ask(Request::StateKeys { plugin: space.to_string(), prefix: prefix.to_owned() }).await? {
            Answer::Keys(keys) => Ok(keys),
            _ => Err(unexpected()),
        }
    }

    async fn message(&self, stream: &StreamName, sequence: u64) -> Result<Option<Recorded>, BrokerError> {
        match self.ask(Request::Message { stream: stream.to_string(), sequence }).await? {
            Answer::Message(found) => found.map(WireRecorded::into_recorded).transpose().map_err(odd),
            _ => Err(unexpected()),
        }
    }
}

/// The copy that answers at the host, whichever is named.
#[async_trait]
impl CopyReader for Remote {
    async fn read(&self, _: &CopyId, collection: &Collection, key: &str) -> Result<Option<Bytes>, StoreError> {
        let request = Request::ReadDocument { collection: collection.name.to_string(), key: key.to_owned() };
        match self.ask(request).await {
            Ok(Answer::Document(body)) => Ok(body.map(|text| wire::decode(&text)).transpose().map_err(unread)?),
            Ok(_) => Err(unread(unexpected())),
            Err(error) => Err(unread(error)),
        }
    }

    async fn find(
        &self,
        _: &CopyId,
        collection: &Collection,
        column: usize,
        value: &IndexValue,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let (collection, value) = (collection.name.to_string(), wire::encode(value.as_bytes()));
        let after = after.map(str::to_owned);
        match self.ask(Request::FindDocuments { collection, column, value, after, limit }).await {
            Ok(Answer::Found(found)) => {
                let document = |(key, text): (String, String)| Ok(Document { key, body: wire::decode(&text)? });
                found.into_iter().map(document).collect::<anyhow::Result<_>>().map_err(unread)
            }
            Ok(_) => Err(unread(unexpected())),
            Err(error) => Err(unread(error)),
        }
    }
}

fn unread(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable { store: "of the running host", reason: error.to_string() }
}

fn told(answer: Answer) -> Result<String, BrokerError> {
    match answer {
        Answer::Told(text) => Ok(text),
        _ => Err(unexpected()),
    }
}

fn done(answer: Answer) -> Result<bool, BrokerError> {
    match answer {
        Answer::Done(done) => Ok(done),
        _ => Err(unexpected()),
    }
}

fn lost(reason: &str) -> BrokerError {
    BrokerError::Unavailable { broker: "the running host", reason: reason.to_owned() }
}

fn odd(error: anyhow::Error) -> BrokerError {
    lost(&format!("{error:#}"))
}

fn unexpected() -> BrokerError {
    lost("it answered something else; is it another version of tidemill?")
}
