//! The host as the gateway sees it.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tidemill_core::config::{Ingest, OnMissing, ProjectionConfig, StreamConfig};
use tidemill_core::failure::Failure;
use tidemill_core::name::{ProjectionName, StreamName};
use tidemill_core::port::{BrokerError, Outgoing, Published};
use tidemill_core::read_model::{Collection, CopyId, Positions, ReadModelStore, WaitFor};
use tidemill_core::schema::Schemas;
use tokio::time::Instant;

use crate::metrics::Snapshot;

/// What the gateway needs of the host. Every method may be called at any time, from many requests at once, and may be
/// dropped at any await.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// What is configured at this moment. A request takes it once and keeps it, so it meets all of a reload or nothing.
    fn catalogue(&self) -> Arc<Catalogue>;

    /// As [`Admin::publish`](tidemill_core::port::Admin::publish): each message on its own, results in their order.
    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<Published, BrokerError>>;

    /// Whether the host has begun its work. Before that it knows of no projection, whatever is configured.
    fn has_begun(&self) -> bool;

    /// The collection of that name and the copy of it that answers now; `None` if no projection has one.
    fn read_model(&self, collection: &str) -> Option<ReadModel>;

    /// Waits until the copy that answers has folded what is stored up to `target`, at most until `deadline`.
    async fn wait_for(&self, projection: &ProjectionName, target: &WaitFor, deadline: Instant) -> Waited;

    /// Asks the plugin of a projection a question; `params` is a JSON object.
    async fn ask(&self, projection: &ProjectionName, name: &str, params: Bytes) -> Result<Answer, Failure>;

    /// Whether the host can do its work. Asked by probes every few seconds; must answer fast.
    async fn health(&self) -> Health;

    /// What is counted and measured now.
    async fn metrics(&self) -> Snapshot;
}

/// What is configured, as far as the gateway needs it.
pub struct Catalogue {
    pub streams: Vec<StreamConfig>,
    pub projections: Vec<ProjectionConfig>,
    pub schemas: Arc<Schemas>,
    pub on_missing: OnMissing,
    pub ingest: Vec<Ingest>,
    rules: HashMap<String, usize>,
}

/// A collection, and the copy that answers.
#[derive(Clone)]
pub struct ReadModel {
    pub projection: ProjectionName,
    /// As the copy has it.
    pub collection: Collection,
    pub store: Arc<dyn ReadModelStore>,
    /// `None`: no copy is active yet.
    pub copy: Option<CopyId>,
}

/// How a wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waited {
    Fresh,
    /// The deadline came first; this is where the copy stands.
    Behind(Positions),
}

/// What a plugin answered, and where the copy stood that it read.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub body: Bytes,
    pub positions: Positions,
}

/// What keeps the host from its work. Empty lists are good.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Why the broker cannot be reached.
    pub broker: Option<String>,
    /// Required plugins that are not loaded, each with the reason.
    pub plugins: Vec<String>,
    /// Routes and projections that do not read their streams, each with the reason.
    pub unbound: Vec<String>,
}

// === impl Catalogue ===

impl Catalogue {
    pub fn new(
        streams: Vec<StreamConfig>,
        projections: Vec<ProjectionConfig>,
        schemas: Arc<Schemas>,
        on_missing: OnMissing,
        ingest: Vec<Ingest>,
    ) -> Self {
        let mut rules = HashMap::new();
        for (index, rule) in ingest.iter().enumerate() {
            for kind in &rule.types {
                // The first entry that names a type counts.
                rules.entry(kind.clone()).or_insert(index);
            }
        }
        Self { streams, projections, schemas, on_missing, ingest, rules }
    }

    /// Where events of a type go.
    pub(crate) fn rule(&self, kind: &str) -> Option<&Ingest> {
        self.rules.get(kind).map(|&index| &self.ingest[index])
    }

    pub(crate) fn stream(&self, name: &str) -> Option<&StreamConfig> {
        self.streams.iter().find(|stream| stream.name.as_str() == name)
    }

    pub(crate) fn projection(&self, name: &str) -> Option<&ProjectionConfig> {
        self.projections.iter().find(|projection| projection.name.as_str() == name)
    }

    /// The streams that a projection folds.
    pub(crate) fn sources(&self, projection: &ProjectionName) -> Vec<&StreamName> {
        let found = self.projection(projection.as_str());
        found.map_or(Vec::new(), |it| it.sources.iter().map(|source| &source.stream).collect())
    }
}

// === impl Health ===

impl Health {
    /// Each thing that is wrong, as a sentence.
    pub fn reasons(&self) -> Vec<String> {
        let broker = self.broker.iter().map(|why| format!("the broker is not connected: {why}"));
        let plugins = self.plugins.iter().map(|why| format!("a plugin is not loaded: {why}"));
        let unbound = self.unbound.iter().map(|why| format!("a stream is not read: {why}"));
        broker.chain(plugins).chain(unbound).collect()
    }
}
