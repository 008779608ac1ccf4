//! What went wrong, and whose fault it is. Decisions are made on the kind, never on the text.

use std::sync::Arc;
use std::time::Duration;

/// Whose fault a failure is. It decides whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    Event,
    Plugin,
    Host,
}

/// One failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// One or a few sentences for a person. May hold guest text: it is cleaned and shortened where it is shown.
    pub text: String,
    /// The last lines that the plugin logged in this attempt, for the dead letter.
    pub log_tail: Vec<String>,
    /// The build that failed, where one was called: `sha256:…`.
    pub digest: Option<Arc<str>>,
    /// Whether the build was on probation. What only such a build failed at is not dead-lettered.
    pub provisional: bool,
}

/// The closed list of what can go wrong between source and settle. The codes are documented in `docs/dead-letters.md`;
/// a test keeps that complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The message could not be decoded into an event.
    Malformed,
    /// The event's data does not match its schema.
    Invalid,
    /// There is no schema for the event's type and version, and `schemas.on_missing` is `reject`.
    SchemaMissing,
    /// The event is one of too many that plugins emitted in answer to each other; see [`hops`](crate::hops). The event's fault
    /// and not the plugin's: no build was called, calling one again cannot help, and which of the plugins in the circle is to
    /// blame nobody knows.
    Loop,
    /// The plugin said `reject`.
    Rejected,
    /// The plugin said `retry`, perhaps naming a delay.
    RetryRequested { after: Option<Duration> },
    /// The guest trapped: a panic, an abort, a broken contract.
    Trap,
    /// The guest used up its time.
    Timeout,
    /// The guest wanted more memory than its limit.
    OutOfMemory,
    /// The guest wanted something that is not granted or exceeds a limit.
    EffectRefused,
    /// The guest emitted an event that its own schema refuses.
    EmitInvalid,
    /// Somebody else changed the state that this attempt had read.
    StateConflict,
    /// The broker or the state store could not be reached.
    Unavailable,
}

// === impl Failure ===

impl Failure {
    pub fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), log_tail: Vec::new(), digest: None, provisional: false }
    }
}

// === impl FailureKind ===

impl FailureKind {
    /// One of each kind, for tables and for the test that keeps the documentation complete.
    pub const ALL: [FailureKind; 13] = [
        FailureKind::Malformed,
        FailureKind::Invalid,
        FailureKind::SchemaMissing,
        FailureKind::Loop,
        FailureKind::Rejected,
        FailureKind::RetryRequested { after: None },
        FailureKind::Trap,
        FailureKind::Timeout,
        FailureKind::OutOfMemory,
        FailureKind::EffectRefused,
        FailureKind::EmitInvalid,
        FailureKind::StateConflict,
        FailureKind::Unavailable,
    ];

    /// The code that stands in dead letters, logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            FailureKind::Malformed => "malformed",
            FailureKind::Invalid => "invalid",
            FailureKind::SchemaMissing => "schema-missing",
            FailureKind::Loop => "loop",
            FailureKind::Rejected => "rejected",
            FailureKind::RetryRequested { .. } => "retry-requested",
            FailureKind::Trap => "trap",
            FailureKind::Timeout => "timeout",
            FailureKind::OutOfMemory => "out-of-memory",
            FailureKind::EffectRefused => "effect-refused",
            FailureKind::EmitInvalid => "emit-invalid",
            FailureKind::StateConflict => "state-conflict",
            FailureKind::Unavailable => "unavailable",
        }
    }

    /// Whether a plugin broke, which no build is meant to do. Saying `reject` or `retry` is not breaking.
    pub fn is_defect(self) -> bool {
        self.blame() == Blame::Plugin && !matches!(self, FailureKind::RetryRequested { .. })
    }

    /// Whether the guest itself came to an end that no build is meant to have, whatever it is granted.
    pub fn is_crash(self) -> bool {
        matches!(self, FailureKind::Trap | FailureKind::Timeout | FailureKind::OutOfMemory)
    }

    pub fn blame(self) -> Blame {
        match self {
            FailureKind::Malformed
            | FailureKind::Invalid
            | FailureKind::SchemaMissing
            | FailureKind::Loop
            | FailureKind::Rejected => Blame::Event,
            FailureKind::RetryRequested { .. }
            | FailureKind::Trap
            | FailureKind::Timeout
            | FailureKind::OutOfMemory
            | FailureKind::EffectRefused
            | FailureKind::EmitInvalid => Blame::Plugin,
            FailureKind::StateConflict | FailureKind::Unavailable => Blame::Host,
        }
    }
}

// === impl Blame ===

impl Blame {
    pub fn as_str(self) -> &'static str {
        match self {
            Blame::Event => "event",
            Blame::Plugin => "plugin",
            Blame::Host => "host",
        }
    }
}
