//! Projections: streams folded into read models, in order and exactly once.
//!
//! ```text
//! claim ─▶ holding ─▶ live fold ─────▶ active copy ◀── queries
//!             │          ▲ (switch)
//!             └──▶ building fold ────▶ new copy
//!
//! fold:  reader ─▶ feeder ─▶ apply ─▶ view ─▶ commit
//!        (stream)  (decode)  (guest)  (batch) (documents + positions)
//! ```
//!
//! A projection keeps its position with what it writes, so there is nothing to settle and no event can be lost or doubled:
//! whatever a crash leaves behind, the positions say from where to fold on. One process folds a projection at a time; the
//! store fences every other. `ARCHITECTURE.md`, section "Projections", has the crash table.
//!
//! Decided here, because a document store cannot unfold:
//! - [`reset`](Projection::reset) makes a new, empty copy that begins at the given positions and activates it at once.
//! - A copy whose collections or indexes are not those of `runtime.yaml` is folded no more. It answers queries of the
//!   collections that are unchanged, while a new copy is built and then takes its place.
//! - Attempts are counted in memory. A restart begins to count an event's attempts anew.
//!
//! Redriving a dead letter into a projection is refused elsewhere: it would fold the event out of its order. A rebuild does
//! what is meant.

mod apply;
mod board;
mod claiming;
mod control;
mod fold;
mod holding;
mod intake;
mod stats;
mod status;
mod survey;
mod track;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::clock::WallClock;
use crate::config::ProjectionConfig;
use crate::failure::{Failure, FailureKind};
use crate::name::StreamName;
use crate::pipeline::Serving;
use crate::port::{Broker, CallSettings, Question};
use crate::read_model::{Fence, FoldView, Positions, ReadModelStore, StoreError};

use board::{Board, Phase};
use control::{Answer, Order, What};
use holding::{Holding, Over};

pub use board::ActiveCopy;
pub use control::{ControlError, RebuildStarted};
pub use stats::{ProjectionStats, ProjectionSummary};
pub use status::{CopyStatus, Halt, Lag, ProjectionState, ProjectionStatus, RebuildProgress};

/// Orders that may wait for the runner.
const ORDERS: usize = 16;

/// How often a host on standby looks how far the active one is, while somebody waits for it.
const STANDBY_LOOK: Duration = Duration::from_millis(50);

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A holding that lasted so long was no failed start: the next one begins without waiting long.
const HELD_WELL: Duration = Duration::from_secs(10);

/// Everything that one projection needs to run, and what others may ask of it.
pub struct Projection {
    pub config: ProjectionConfig,
    /// Its `route` is the projection's name.
    pub settings: Arc<CallSettings>,
    /// Swapped by a reload while events are under way.
    pub serving: ArcSwap<Serving>,
    pub broker: Arc<dyn Broker>,
    pub store: Arc<dyn ReadModelStore>,
    /// Names this host in claims and dead letters. Two hosts must not have the same.
    pub host: String,
    pub max_hops: u32,
    pub clock: WallClock,
    pub stats: Arc<ProjectionStats>,
    board: Board,
    orders: mpsc::Sender<Order>,
    /// Held by whoever runs the projection.
    inbox: tokio::sync::Mutex<mpsc::Receiver<Order>>,
    /// A build whose copy nobody wants: a rebuild with it was cancelled, was given up, or rolled back.
    declined: Mutex<Option<String>>,
}

/// What waiting for a position came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waited {
    /// The active copy is there, or further.
    Fresh,
    /// It is not, and this is where it is.
    Behind { positions: Positions },
}

/// Runs a projection until `stop` turns true, the event that is being folded is committed and the claim is given back. Guests
/// are called on `guests`. Dropping the future abandons what is not committed. One process runs a projection once.
pub async fn run(projection: Arc<Projection>, guests: &Handle, mut stop: watch::Receiver<bool>) {
    let Ok(inbox) = projection.inbox.try_lock() else {
        tracing::error!(projection = %projection.config.name, "A projection was started twice; the second start is ignored");
        return;
    };
    let mut attended = Attended { projection: &projection, inbox };
    let mut pause = FIRST_PAUSE;
    while let Some(fence) = claiming::claim(&projection, &mut attended.inbox, &mut stop).await {
        let since = Instant::now();
        let over = tokio::select! {
            over = Holding::run(&projection, guests, fence.clone(), &mut attended.inbox, stop.clone()) => over,
            () = claiming::keep(&projection, &fence) => Over::Fenced,
        };
        match over {
            Over::Stopped => return release(&projection, &fence).await,
            Over::Fenced => {
                tracing::warn!(projection = %projection.config.name, "Another host has taken over the projection");
            }
            Over::Doubtful(reason) => {
                tracing::warn!(projection = %projection.config.name, reason, "The read model cannot be written; beginning anew");
                projection.board.show_folds(None, None);
                projection.board.show(Phase::Waiting(reason));
                release(&projection, &fence).await;
                pause = if since.elapsed() > HELD_WELL { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
                rest(&projection, &mut attended.inbox, pause, &mut stop).await;
            }
        }
    }
}

/// Best effort: a claim that is not given back ends by itself.
async fn release(projection: &Projection, fence: &Fence) {
    if let Err(error) = projection.store.release(fence).await {
        tracing::warn!(projection = %projection.config.name, %error, "The claim could not be given back");
    }
}

/// Waits, and refuses orders meanwhile.
async fn rest(
    projection: &Projection,
    inbox: &mut mpsc::Receiver<Order>,
    pause: Duration,
    stop: &mut watch::Receiver<bool>,
) {
    let mut pause = std::pin::pin!(sleep(pause));
    loop {
        tokio::select! {
            () = &mut pause => return,
            Some(order) = inbox.recv() => claiming::refuse(projection, order),
            () = turned(stop) => return,
        }
    }
}

/// Waits until a signal is true, or nobody is left who could say so. Cancel-safe.
async fn turned(signal: &mut watch::Receiver<bool>) {
    drop(signal.wait_for(|signal| *signal).await);
}

/// Somebody runs the projection. When that ends, whoever waits for an answer is told.
struct Attended<'a> {
    projection: &'a Projection,
    inbox: tokio::sync::MutexGuard<'a, mpsc::Receiver<Order>>,
}

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        self.projection.board.show_folds(None, None);
        self.projection.board.show(Phase::Stopped);
        while let Ok(order) = self.inbox.try_recv() {
            claiming::refuse(self.projection, order);
        }
    }
}

// === impl Projection ===

impl Projection {
    #[allow(clippy::too_many_arguments, reason = "the parts of a projection, each of another kind")]
    pub fn new(
        config: ProjectionConfig,
        settings: Arc<CallSettings>,
        serving: Serving,
        broker: Arc<dyn Broker>,
        store: Arc<dyn ReadModelStore>,
        host: String,
        max_hops: u32,
        clock: WallClock,
        stats: Arc<ProjectionStats>,
    ) -> Arc<Self> {
        let (orders, inbox) = mpsc::channel(ORDERS);
        Arc::new(Self {
            config,
            settings,
            serving: ArcSwap::from_pointee(serving),
            broker,
            store,
            host,
            max_hops,
            clock,
            stats,
            board: Board::new(),
            orders,
            inbox: tokio::sync::Mutex::new(inbox),
            declined: Mutex::default(),
        })
    }

    // --- orders ---------------------------------------------------------------------------------------------------------

    /// Begins to fill a new copy from the beginning. It becomes the active one when it has caught up.
    pub async fn rebuild(&self) -> Result<RebuildStarted, ControlError> {
        let copy = self.order(What::Rebuild).await?.ok_or(ControlError::Stopped)?;
        Ok(RebuildStarted { copy })
    }

    /// Ends a rebuild and removes its copy. The active one is not touched. With `rebuild: on_change` the same build does not
    /// begin again by itself while this process runs.
    pub async fn cancel(&self) -> Result<(), ControlError> {
        self.order(What::Cancel).await.map(drop)
    }

    /// Activates the copy that was active before; it then catches up. With `rebuild: on_change` the build that was rolled
    /// back does not begin again by itself.
    pub async fn roll_back(&self) -> Result<(), ControlError> {
        self.order(What::RollBack).await.map(drop)
    }

    /// Stops folding, also over restarts, until [`resume`](Self::resume). Queries are answered.
    pub async fn pause(&self) -> Result<(), ControlError> {
        self.order(What::Pause).await.map(drop)
    }

    /// Goes on after a pause, or once more with the event before which the projection has halted.
    pub async fn resume(&self) -> Result<(), ControlError> {
        self.order(What::Resume).await.map(drop)
    }

    /// Begins anew after these positions, with a new and empty copy, which is active at once. A stream that is not named is
    /// read from its beginning. The copy that was active is the previous one then.
    pub async fn reset(&self, from: Positions) -> Result<(), ControlError> {
        let is_read = |stream: &&StreamName| self.reads(stream);
        if let Some(stream) = from.keys().find(|stream| !is_read(stream)) {
            let known: Vec<String> = self.config.sources.iter().map(|source| format!("`{}`", source.stream)).collect();
            return Err(ControlError::UnknownStream { stream: stream.clone(), known: known.join(", ") });
        }
        for (stream, &sequence) in &from {
            let bounds = self.broker.bounds(stream).await.map_err(|error| ControlError::Broker(error.to_string()))?;
            if sequence > bounds.last {
                return Err(ControlError::Beyond { stream: stream.clone(), sequence, last: bounds.last });
            }
        }
        self.order(What::Reset(from)).await.map(drop)
    }

    async fn order(&self, what: What) -> Answer {
        if self.inbox.try_lock().is_ok() {
            return Err(ControlError::Stopped);
        }
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order { what, answer }).await.map_err(|_| ControlError::Stopped)?;
        answered.await.unwrap_or(Err(ControlError::Stopped))
    }

    // --- questions ------------------------------------------------------------------------------------------------------

    /// How it stands. Asks the store and, for the lag, the broker; while the broker is away the lag is what was known last.
    pub async fn status(&self) -> Result<ProjectionStatus, StoreError> {
        survey::status(self).await
    }

    /// What it is doing at this moment, without asking anybody.
    pub fn state(&self) -> ProjectionState {
        self.board.state(&self.config)
    }

    /// The copy that answers queries; `None` before the first one is there. On a host that is on standby what it knew within
    /// the last second.
    pub fn view(&self) -> Option<ActiveCopy> {
        self.board.active()
    }

    /// Waits until the active copy has folded the stream up to `sequence`. Of a stream that the projection does not read it
    /// says `Behind` at once. Cancel-safe.
    pub async fn wait_for(&self, stream: &StreamName, sequence: u64, deadline: Instant) -> Waited {
        let mut active = self.board.watch_active();
        loop {
            let positions = active.borrow_and_update().as_ref().map(|it| it.positions.clone()).unwrap_or_default();
            if positions.get(stream).is_some_and(|position| *position >= sequence) {
                return Waited::Fresh;
            }
            if !self.reads(stream) || Instant::now() >= deadline {
                return Waited::Behind { positions };
            }
            let elsewhere = matches!(self.board.phase(), Phase::Standby(_));
            tokio::select! {
                _ = active.changed() => {}
                () = sleep_until(deadline) => {}
                () = sleep(STANDBY_LOOK), if elsewhere => self.look_elsewhere().await,
            }
        }
    }

    /// Asks the store how far the host that is active has come.
    async fn look_elsewhere(&self) {
        let Some(active) = self.board.active() else { return };
        if let Ok(positions) = self.store.positions(&active.copy).await {
            self.board.advance(&active.copy, &positions);
        }
    }

    /// Has the plugin answer a question about the active copy, as it is committed. The positions are of the copy that it read:
    /// it had folded at least so much before the plugin was called. May be dropped.
    pub async fn ask(&self, name: &str, params: &[u8]) -> Result<(Bytes, Positions), Failure> {
        let active = self.board.active().ok_or_else(|| {
            Failure::new(
                FailureKind::Unavailable,
                format!("the projection `{}` has no read model yet", self.config.name),
            )
        })?;
        // Not the fold's own view: that one sees what is not committed.
        let store = Arc::clone(&self.store);
        let view = FoldView::of_question(store, active.copy, active.collections, self.config.timeout);
        let documents = view.read_only_session();
        let build = Arc::clone(self.serving.load().build.current());
        let answer = build.query(Question { projection: &self.settings, name, params, documents }).await?;
        Ok((answer, active.positions))
    }

    fn reads(&self, stream: &StreamName) -> bool {
        self.config.sources.iter().any(|source| source.stream == *stream)
    }

    fn declined(&self) -> MutexGuard<'_, Option<String>> {
        self.declined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
