//! Where a call stands.

use std::time::Duration;

/// Where this call stands: which route, which attempt, how much time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Context {
    /// The route of `runtime.yaml` that delivers the event, or the projection that folds it.
    pub route: String,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// After this attempt fails the event is dead-lettered.
    pub max_attempts: u32,
    /// The stream of the original message. With `sequence` it names the event for ever, also after a retry or a redrive.
    pub stream: String,
    /// The sequence of the original message in its stream, as decimal text.
    pub sequence: String,
    /// How long the call may take, counted from its start. A call that takes longer is interrupted.
    pub time_limit: Duration,
}

impl Context {
    /// Whether a failure of this call dead-letters the event.
    pub fn is_last_attempt(&self) -> bool {
        self.attempt >= self.max_attempts
    }
}
