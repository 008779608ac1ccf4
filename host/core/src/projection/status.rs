//! How a projection stands, as plain data for people, `status` and the metrics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a projection stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProjectionStatus {
    pub name: String,
    pub state: ProjectionState,
    /// The copy that is queried.
    pub active: Option<CopyStatus>,
    /// The copy that was active before, kept for a rollback.
    pub previous: Option<CopyStatus>,
    /// The copy that is being built.
    pub building: Option<CopyStatus>,
    pub rebuild: Option<RebuildProgress>,
    /// Why the last rebuild of this process came to nothing.
    pub rebuild_failure: Option<String>,
    /// Whether the active copy is without events that could not be folded: `active.dead_lettered` of them.
    pub degraded: bool,
}

/// What a projection is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum ProjectionState {
    /// Events are folded as they come.
    Running,
    /// It has not reached the end of its streams since it began.
    CatchingUp,
    /// A person has paused it.
    Paused,
    /// It waits for a person: for `resume`, a new build, `rebuild` or `reset`.
    Halted(Halt),
    /// The broker or the store is away, or a build is on probation: it goes on by itself.
    Waiting { reason: String },
    /// Another host is active.
    Standby { holder: String },
    /// This process does not run it.
    Stopped,
}

/// What a projection has halted before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// `STREAM:sequence`, if it is an event.
    pub event: Option<String>,
    pub reason: String,
}

/// One copy of a read model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CopyStatus {
    pub number: u64,
    /// The build that began it.
    pub digest: String,
    pub positions: BTreeMap<String, u64>,
    /// By stream; for the copies that are folded.
    pub lag: BTreeMap<String, Lag>,
    /// Events since its beginning.
    pub folded: u64,
    pub dead_lettered: u64,
}

/// How far a copy is behind a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Lag {
    /// Sequences after the position. Some of them may be of other subjects.
    pub events: u64,
    /// The age of the first event that is not folded; 0 when there is none.
    pub seconds: f64,
}

/// How far a rebuild has come, in sequences of all streams together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RebuildProgress {
    pub done: u64,
    pub target: u64,
    pub events_per_second: f64,
    /// `None` while it stands.
    pub eta_seconds: Option<u64>,
}
