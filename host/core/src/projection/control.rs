//! What a person may ask of a projection, and why it may be refused.

use tokio::sync::oneshot;

use crate::name::StreamName;
use crate::read_model::{Positions, StoreError};

/// Why an order was not carried out. Nothing was changed, except where the store was unavailable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ControlError {
    #[error("the projection is active on the host `{holder}`; ask there")]
    NotActive { holder: String },
    #[error("the projection does not run in this process, or has just ended")]
    Stopped,
    #[error("the projection is paused; `resume` it first")]
    Paused,
    #[error("a rebuild is under way (copy {copy}); cancel it first")]
    RebuildRunning { copy: u64 },
    #[error("no rebuild is under way")]
    NoRebuild,
    #[error("there is no previous copy to go back to: it was removed after `retain`, or there never was one")]
    NoPrevious,
    #[error(
        "the previous copy {copy} has other collections or indexes than runtime.yaml declares, so nothing can be folded into \
         it; put `collections` back first"
    )]
    OtherShape { copy: u64 },
    #[error("the projection does not read the stream `{stream}`; it reads {known}")]
    UnknownStream { stream: StreamName, known: String },
    #[error("the stream `{stream}` ends at {last}, so nothing can begin behind {sequence}")]
    Beyond { stream: StreamName, sequence: u64, last: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the streams cannot be looked at: {0}")]
    Broker(String),
}

/// A rebuild that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebuildStarted {
    /// The number of the copy that is built.
    pub copy: u64,
}

/// An order to the runner, and where the answer goes.
pub(super) struct Order {
    pub(super) what: What,
    pub(super) answer: oneshot::Sender<Answer>,
}

pub(super) enum What {
    Rebuild,
    Cancel,
    RollBack,
    Pause,
    Resume,
    Reset(Positions),
}

/// The copy that the order was about, where there is one.
pub(super) type Answer = Result<Option<u64>, ControlError>;
