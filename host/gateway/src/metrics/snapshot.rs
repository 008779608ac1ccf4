//! What the host fills in, as plain data.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tidemill_core::port::Backlog;
use tidemill_core::stats::{Distribution, RouteMeasures, RouteSummary};

/// The host at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub version: String,
    /// The broker's [`kind`](tidemill_core::port::Broker::kind).
    pub broker: String,
    pub broker_connected: bool,
    pub started: SystemTime,
    pub reloads: ReloadMetrics,
    /// Whether the engine's ticker beats.
    pub ticker_alive: bool,
    /// `None`: the system does not tell.
    pub resident_bytes: Option<u64>,
    pub routes: Vec<RouteMetrics>,
    pub plugins: Vec<PluginMetrics>,
    pub projections: Vec<ProjectionMetrics>,
}

#[derive(Debug, Clone, Default)]
pub struct ReloadMetrics {
    pub applied: u64,
    pub refused: u64,
    pub last_success: Option<SystemTime>,
}

#[derive(Debug, Clone, Default)]
pub struct RouteMetrics {
    pub name: String,
    pub counts: RouteSummary,
    pub measures: RouteMeasures,
    /// `None`: the broker did not answer in time.
    pub backlog: Option<Backlog>,
    /// Age of the oldest event that is not settled; `None`: not known.
    pub lag: Option<Duration>,
}

#[derive(Debug, Clone, Default)]
pub struct PluginMetrics {
    pub name: String,
    /// `sha256:…` of the build that serves.
    pub digest: String,
    /// `handler@0.2.0`.
    pub world: String,
    pub generation: u64,
    pub on_probation: bool,
    /// By `taken` and `refused`.
    pub loads: BTreeMap<String, u64>,
    /// By the code of the failure, of those whose [`is_crash`](tidemill_core::failure::FailureKind::is_crash) holds.
    pub traps: BTreeMap<String, u64>,
    /// Of the build that serves.
    pub calls: u64,
    pub busy: Duration,
    pub compile: Duration,
    /// `None`: not measured.
    pub memory_bytes: Option<u64>,
    pub instances: u64,
    pub instances_in_use: Option<u64>,
    pub outgrown: u64,
}

#[derive(Debug, Clone, Default)]
pub struct ProjectionMetrics {
    pub name: String,
    /// A word of a closed list: `running`, `catching-up`, `paused`, `halted`, `waiting`, `standby`.
    pub state: String,
    pub received: u64,
    pub folded: u64,
    pub skipped: u64,
    pub retried: u64,
    pub batches: u64,
    pub dead_lettered: BTreeMap<String, u64>,
    pub durations: Distribution,
    pub degraded: bool,
    pub rebuilding: bool,
    /// One entry for each stream.
    pub lag: Vec<ProjectionLag>,
}

#[derive(Debug, Clone, Default)]
pub struct ProjectionLag {
    pub stream: String,
    pub position: u64,
    pub events: u64,
    pub age: Duration,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            version: String::new(),
            broker: String::new(),
            broker_connected: false,
            started: SystemTime::UNIX_EPOCH,
            reloads: ReloadMetrics::default(),
            ticker_alive: false,
            resident_bytes: None,
            routes: Vec::new(),
            plugins: Vec::new(),
            projections: Vec::new(),
        }
    }
}
