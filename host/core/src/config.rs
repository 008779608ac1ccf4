//! `runtime.yaml`: what was written (`file`) and what it means (the types here, which `compile` makes).
//!
//! ```text
//! text ── yaml ── read ── file ── compile ── RuntimeConfig
//!        (tree)  (shape)         (meaning)
//! ```
//!
//! Every step goes on after a mistake, so that all of them come out at once, each with its place. The core reads no files
//! and no environment: text comes in as an argument, values of references through [`Lookup`].

pub mod cases;
mod compile;
mod diagnostic;
mod file;
mod interpolate;
mod leaf;
pub mod manifest;
mod read;
mod show;
#[cfg(test)]
mod tests;
mod words;
mod yaml;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::envelope::Envelope;
use crate::filter::Filter;
use crate::limits::Limits;
use crate::name::{CollectionName, PluginName, ProjectionName, RouteName, StreamName};
use crate::outbound::OutboundHost;
use crate::port::Role;
use crate::read_model::Collections;
use crate::retry::RetryPolicy;
use crate::subject::{Subject, SubjectPattern};

pub use diagnostic::{Diagnostic, Diagnostics};
pub use interpolate::{Lookup, MapLookup};

/// The configuration that `text` says, or everything that is wrong with it.
///
/// Paths are returned as they were written; a relative one is meant from the folder of `runtime.yaml`.
pub fn load(text: &str, lookup: &dyn Lookup) -> Result<RuntimeConfig, Diagnostics> {
    compiled(text, lookup).map(|compiled| compiled.config)
}

/// The effective configuration in the words of `runtime.yaml`: every default filled in, every retry policy in place, every
/// secret masked. For people; a text that holds `${` is shown as it is.
pub fn show(text: &str, lookup: &dyn Lookup) -> Result<serde_json::Value, Diagnostics> {
    compiled(text, lookup).map(|compiled| show::show(&compiled))
}

/// The JSON Schema (draft 2020-12) of `runtime.yaml`, for editors.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(file::Runtime).to_value()
}

fn compiled(text: &str, lookup: &dyn Lookup) -> Result<compile::Compiled, Diagnostics> {
    let mut report = diagnostic::Report::default();
    let compiled = yaml::parse(text, &mut report)
        .and_then(|root| read::Reader { lookup, report: &mut report }.read::<file::Runtime>(&root))
        .and_then(|file| compile::compile(file.value, &mut report));
    match compiled {
        Some(compiled) if report.is_empty() => Ok(compiled),
        _ => Err(report.finish()),
    }
}

/// Everything that `runtime.yaml` says, checked and ready to use.
#[derive(Debug, Clone, PartialEq)]
pub struct RuntimeConfig {
    pub broker: BrokerConfig,
    pub streams: Vec<StreamConfig>,
    pub schemas: SchemasConfig,
    pub plugins: PluginsConfig,
    pub routes: Vec<RouteConfig>,
    pub read_models: ReadModelsConfig,
    pub projections: Vec<ProjectionConfig>,
    /// `None`: there is no gateway.
    pub http: Option<HttpConfig>,
    /// How often an event may be emitted in answer to another; every route holds it too.
    pub max_hops: u32,
    /// How long running calls may finish after a stop signal.
    pub shutdown_grace: Duration,
}

/// Where events are kept.
#[derive(Debug, Clone, PartialEq)]
pub enum BrokerConfig {
    Embedded { dir: PathBuf },
    Nats(NatsConfig),
}

/// How to reach NATS. Secrets are resolved already and never shown: see the `Debug` of [`Secret`].
#[derive(Debug, Clone, PartialEq)]
pub struct NatsConfig {
    pub servers: Vec<String>,
    /// The text of a `.creds` file.
    pub credentials: Option<Secret>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub token: Option<Secret>,
    pub tls: Option<TlsConfig>,
    /// Replicas of the streams that the host creates for itself.
    pub replicas: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub required: bool,
}

/// A text that no log, dead letter or `config show` may print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// One entry of `streams`.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamConfig {
    pub name: StreamName,
    pub subjects: Vec<SubjectPattern>,
    pub envelope: Envelope,
    /// Messages older than this are removed. `None`: never.
    pub max_age: Option<Duration>,
    /// Publishing is refused above this size, so that publishers feel the back pressure. `None`: no limit.
    pub max_bytes: Option<u64>,
    /// How long a message id is remembered.
    pub duplicate_window: Duration,
    pub replicas: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemasConfig {
    pub dir: PathBuf,
    pub on_missing: OnMissing,
}

/// What to do with an event whose type has no schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMissing {
    Reject,
    Warn,
    Allow,
}

/// Where plugins come from, and how a new build takes over.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginsConfig {
    /// The folder that is watched for `<plugin>.wasm`.
    pub dir: PathBuf,
    /// Compiled code, the last good builds, and what is quarantined. Nobody but the host writes there.
    pub cache_dir: PathBuf,
    /// How often the folder is read although nothing was reported: file systems forget to tell.
    pub rescan: Duration,
    /// How long calls may finish on a build that was replaced.
    pub drain_timeout: Duration,
    pub probation: Probation,
    /// Minisign public keys. Unless empty, every plugin needs a signature by one of them.
    pub trusted_keys: Vec<String>,
    /// Settings of the plugins that are named under `plugins.settings`; a plugin without has the defaults.
    pub settings: BTreeMap<PluginName, PluginConfig>,
    /// Folders of sources, for `tidemill dev`.
    pub projects: BTreeMap<PluginName, PathBuf>,
}

/// How long a new build is watched before it is trusted. What is reached first ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probation {
    pub calls: u64,
    pub time: Duration,
}

impl Probation {
    /// A new build is trusted at once.
    pub fn is_none(self) -> bool {
        self.calls == 0
    }
}

/// Settings of one plugin.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PluginConfig {
    /// Values for the `config` import. A string is itself, anything else is its JSON text.
    pub config: BTreeMap<String, String>,
    /// Granted secrets for the `config` import.
    pub secrets: BTreeMap<String, Secret>,
    /// Environment variables that the plugin sees; it sees no others.
    pub env: BTreeMap<String, String>,
    /// Whether the plugin may use keyed state.
    pub state: bool,
    /// Where the plugin may send HTTP requests. Empty: nowhere, and `wasi:http` is not linked.
    pub allowed_outbound_hosts: Vec<OutboundHost>,
    pub limits: Limits,
    pub instance: InstancePolicy,
    /// Calls at the same time. `None`: one per core, and one for a plugin that uses state, whose calls would mostly
    /// conflict with each other.
    pub instances: Option<usize>,
}

/// Whether an instance serves more than one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InstancePolicy {
    #[default]
    Reuse,
    Fresh,
}

/// One entry of `routes`.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteConfig {
    pub name: RouteName,
    pub stream: StreamName,
    /// Subset of the stream's subjects; all of them when left out.
    pub subjects: Vec<SubjectPattern>,
    pub start: Start,
    pub filter: Option<Filter>,
    pub handler: PluginName,
    pub emits: Vec<SubjectPattern>,
    pub envelope: Envelope,
    pub timeout: Duration,
    pub max_in_flight: usize,
    pub retry: RetryPolicy,
    /// The dead letter of stream `S`, sequence `n` goes to `<dead_letter>.S.n`.
    pub dead_letter: Subject,
    /// An event with more hops than this is dead-lettered. The same for all routes: it is here because it is a part of what a
    /// route does, so that a change of it is seen as a change of the routes.
    pub max_hops: u32,
}

/// Where the documents of projections are kept.
#[derive(Debug, Clone, PartialEq)]
pub enum ReadModelsConfig {
    Sqlite { dir: PathBuf },
    Postgres(PostgresConfig),
}

#[derive(Debug, Clone, PartialEq)]
pub struct PostgresConfig {
    pub url: Secret,
    /// The database schema.
    pub schema: String,
    /// After a holder has been silent for so long, another may take over.
    pub lease: Duration,
}

/// One entry of `projections`.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectionConfig {
    pub name: ProjectionName,
    /// Each stream once.
    pub sources: Vec<ProjectionSource>,
    pub filter: Option<Filter>,
    pub plugin: PluginName,
    pub collections: Collections,
    pub batch: usize,
    pub timeout: Duration,
    pub retry: RetryPolicy,
    pub on_failure: OnFailure,
    /// As of a route.
    pub dead_letter: Subject,
    pub rebuild: RebuildWhen,
    pub retain: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ProjectionSource {
    pub stream: StreamName,
    pub subjects: Vec<SubjectPattern>,
    pub envelope: Envelope,
}

/// What happens to an event that cannot be folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    DeadLetter,
    Halt,
}

/// When a new copy of a read model is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebuildWhen {
    Manual,
    OnChange,
}

/// The HTTP gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpConfig {
    pub listen: SocketAddr,
    pub tls: Option<HttpTls>,
    pub tokens: Vec<HttpToken>,
    /// In lower case.
    pub hosts: Vec<String>,
    pub ingest: Vec<Ingest>,
    pub limits: HttpLimits,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpTls {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    pub client_ca_file: Option<PathBuf>,
    pub client_scopes: Vec<Scope>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpToken {
    pub token: Secret,
    pub scopes: Vec<Scope>,
}

/// What a client of the gateway may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Read,
    Ingest,
    Admin,
}

/// Which events come in over HTTP, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingest {
    pub types: Vec<String>,
    pub subject: Subject,
    pub track: Option<CollectionName>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpLimits {
    /// Bytes.
    pub body: u64,
    /// Of one batch.
    pub events: usize,
    pub connections: usize,
    /// Of one client address. `None`: no limit.
    pub requests_per_second: Option<u32>,
    /// For the head of a request, for its body, and for each write of an answer.
    pub timeout: Duration,
    pub query_timeout: Duration,
}

/// Where a new route begins to read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start {
    New,
    All,
    Sequence(u64),
    Time(SystemTime),
}

// === impl RuntimeConfig ===

impl RuntimeConfig {
    /// Every plugin that a route or a projection names, and for what. None is named for both.
    pub fn used_plugins(&self) -> BTreeMap<&PluginName, Role> {
        let handlers = self.routes.iter().map(|route| (&route.handler, Role::Handler));
        let projections = self.projections.iter().map(|projection| (&projection.plugin, Role::Projection));
        handlers.chain(projections).collect()
    }
}

// === impl PluginsConfig ===

impl PluginsConfig {
    /// The settings of a plugin; the defaults if it has none.
    pub fn of(&self, plugin: &PluginName) -> PluginConfig {
        self.settings.get(plugin).cloned().unwrap_or_default()
    }
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            // What a NATS server accepts as one message.
            body: 1024 * 1024,
            events: 1000,
            connections: 1024,
            requests_per_second: None,
            timeout: Duration::from_secs(10),
            query_timeout: Duration::from_secs(5),
        }
    }
}

impl Default for Probation {
    fn default() -> Self {
        Self { calls: 100, time: Duration::from_secs(30) }
    }
}

// === impl Secret ===

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one who needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
