//! A projection while this process holds its claim: which copies are folded, and what changes that.
//!
//! Folds run as tasks on the guests' threads; what decides about them is here, on the host's, so that a guest that spins keeps
//! nobody from renewing the claim. A fold is never interrupted: it is asked to hold, finishes its event, commits and comes
//! back, and only then something is done about its copy.
//!
//! Whatever the store does not confirm ends the holding: the projection is claimed anew, which orders everything that is still
//! under way before or against what comes, and the ledger is read again.

mod orders;
mod rebuilding;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::board::{Building, Phase};
use super::control::{ControlError, Order};
use super::fold::{End, Fold, Purpose};
use super::status::Halt;
use super::track::Track;
use super::{Projection, turned};
use crate::pipeline::Serving;
use crate::read_model::{Copy, CopyId, CopyState, Fence, FoldView, Ledger, NewCopy, Positions, StoreError};

/// How often is looked whether a new build serves, and whether something may be removed.
const LOOK_AROUND: Duration = Duration::from_secs(1);

/// Why a holding has ended.
pub(super) enum Over {
    Stopped,
    Fenced,
    /// What is in the store must be looked at again.
    Doubtful(String),
}

pub(super) struct Holding<'a> {
    projection: &'a Arc<Projection>,
    guests: &'a Handle,
    host: Handle,
    fence: Fence,
    ledger: Ledger,
    tasks: JoinSet<(Which, Fold, End)>,
    live: Option<Slot>,
    building: Option<Rebuild>,
    paused: bool,
    /// Before what the live fold has halted, and what served then.
    halted: Option<(Halt, Arc<Serving>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Live,
    Building,
}

/// A fold, at work or at rest.
struct Slot {
    track: Arc<Track>,
    resting: Option<Fold>,
    /// How it came to rest, until somebody has looked.
    end: Option<End>,
    hold: watch::Sender<bool>,
}

struct Rebuild {
    slot: Slot,
    /// At which it looks how far the live one is.
    goal: Positions,
    /// Since when the live fold is held for the switch.
    switching: Option<Instant>,
    skipped: u64,
}

type Step<T = ()> = Result<T, Over>;

/// Why an order, or something that the projection does by itself, was not done.
enum Refused {
    By(ControlError),
    Store(StoreError),
    Over(Over),
}

// === impl Holding ===

impl<'a> Holding<'a> {
    /// Brings the copies in order and folds until something ends it.
    pub(super) async fn run(
        projection: &'a Arc<Projection>,
        guests: &'a Handle,
        fence: Fence,
        orders: &mut mpsc::Receiver<Order>,
        mut stop: watch::Receiver<bool>,
    ) -> Over {
        let mut holding = Self {
            projection,
            guests,
            host: Handle::current(),
            fence,
            ledger: Ledger::default(),
            tasks: JoinSet::new(),
            live: None,
            building: None,
            paused: false,
            halted: None,
        };
        match holding.work(orders, &mut stop).await {
            Ok(()) => Over::Stopped,
            Err(over) => over,
        }
    }

    async fn work(&mut self, orders: &mut mpsc::Receiver<Order>, stop: &mut watch::Receiver<bool>) -> Step {
        self.begin().await?;
        let mut look = interval(LOOK_AROUND);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.look_at_ends().await?;
            self.start_what_rests();
            self.show();
            tokio::select! {
                Some(done) = self.tasks.join_next() => self.rest(done)?,
                Some(order) = orders.recv() => self.obey(order).await?,
                _ = look.tick() => self.look_around().await?,
                () = turned(stop) => {
                    self.quiesce(Which::Live).await?;
                    return self.quiesce(Which::Building).await;
                }
            }
        }
    }

    // --- the copies -----------------------------------------------------------------------------------------------------

    /// Finds the active copy, or makes the first one; goes on with a rebuild that a crash has cut short.
    async fn begin(&mut self) -> Step {
        self.read_ledger().await?;
        self.projection.board.found(&self.projection.config, self.ledger.active());
        self.paused = self.ledger.paused;
        if self.ledger.active().is_none() {
            // Of a first start that a crash has cut short the copy is there and not active.
            let first = match self.ledger.building().filter(|copy| copy.shape == self.shape()).cloned() {
                Some(copy) => copy.id,
                None => self.create(Positions::new()).await.map_err(over)?,
            };
            self.activate(&first).await?;
        }
        if let Some(active) = self.ledger.active().cloned()
            && active.shape == self.shape()
        {
            self.live = Some(self.slot(&active, Purpose::Live));
        }
        for copy in self.ledger.copies.clone() {
            if copy.state != CopyState::Building {
                continue;
            }
            let is_ours = copy.digest == self.digest() && copy.shape == self.shape();
            if self.building.is_none() && is_ours && !was_reset(&copy) {
                let survey = self.survey().await.map_err(|error| Over::Doubtful(error.to_string()))?;
                self.fill(&copy, survey);
            } else {
                tracing::warn!(
                    projection = %self.projection.config.name, copy = copy.id.number, digest = copy.digest,
                    "Removing a copy that was never active: another build began it, or a reset or rebuild that was cut short"
                );
                self.remove(&copy.id).await?;
            }
        }
        Ok(())
    }

    async fn read_ledger(&mut self) -> Step {
        self.ledger = self.projection.store.ledger(&self.projection.config.name).await.map_err(over)?;
        self.projection.board.activated(&self.projection.config, self.ledger.active());
        Ok(())
    }

    async fn create(&mut self, positions: Positions) -> Result<CopyId, StoreError> {
        let collections = Arc::clone(&self.projection.config.collections);
        let copy = NewCopy { digest: self.digest(), collections, positions };
        self.projection.store.create(&self.fence, copy).await
    }

    async fn activate(&mut self, copy: &CopyId) -> Step {
        self.projection.store.activate(&self.fence, copy).await.map_err(over)?;
        self.read_ledger().await
    }

    async fn remove(&mut self, copy: &CopyId) -> Step {
        self.projection.store.remove(&self.fence, copy).await.map_err(over)?;
        self.read_ledger().await
    }

    fn slot(&self, copy: &Copy, purpose: Purpose) -> Slot {
        let track = Arc::new(Track::of(copy));
        Slot { resting: Some(self.fold(&track, purpose)), track, end: None, hold: watch::Sender::new(false) }
    }

    fn fold(&self, track: &Arc<Track>, purpose: Purpose) -> Fold {
        let (store, collections) = (&self.projection.store, &self.projection.config.collections);
        Fold {
            projection: Arc::clone(self.projection),
            fence: self.fence.clone(),
            view: FoldView::new(Arc::clone(store) as _, track.copy.clone(), Arc::clone(collections)),
            track: Arc::clone(track),
            purpose,
            host: self.host.clone(),
        }
    }

    fn shape(&self) -> String {
        NewCopy::shape(&self.projection.config.collections)
    }

    /// The build that serves.
    fn digest(&self) -> String {
        self.projection.serving.load().build.current().digest().to_string()
    }

    // --- the folds ------------------------------------------------------------------------------------------------------

    fn start_what_rests(&mut self) {
        let switching = self.building.as_ref().is_some_and(|rebuild| rebuild.switching.is_some());
        if self.paused {
            return;
        }
        if self.halted.is_none() && !switching {
            self.start(Which::Live);
        }
        self.start(Which::Building);
    }

    fn start(&mut self, which: Which) {
        let (slot, goal) = match which {
            Which::Live => (self.live.as_mut(), None),
            Which::Building => match &mut self.building {
                Some(rebuild) => (Some(&mut rebuild.slot), Some(rebuild.goal.clone())),
                None => (None, None),
            },
        };
        let Some((fold, slot)) = slot.and_then(|slot| Some((slot.resting.take()?, slot))) else { return };
        slot.hold.send_replace(false);
        let hold = slot.hold.subscribe();
        let task = async move {
            let (fold, end) = fold.run(goal, hold).await;
            (which, fold, end)
        };
        self.tasks.spawn_on(task, self.guests);
    }

    /// Asks a fold to hold, and waits until it rests.
    async fn quiesce(&mut self, which: Which) -> Step {
        if let Some(slot) = self.slot_of(which) {
            slot.hold.send_replace(true);
        }
        while self.slot_of(which).is_some_and(|slot| slot.resting.is_none()) {
            let Some(done) = self.tasks.join_next().await else { break };
            self.rest(done)?;
        }
        Ok(())
    }

    fn rest(&mut self, done: Result<(Which, Fold, End), tokio::task::JoinError>) -> Step {
        let (which, fold, end) = done.map_err(|error| Over::Doubtful(format!("a fold broke: {error}")))?;
        if let Some(slot) = self.slot_of(which) {
            slot.resting = Some(fold);
            slot.end = Some(end);
        }
        Ok(())
    }

    fn slot_of(&mut self, which: Which) -> Option<&mut Slot> {
        match which {
            Which::Live => self.live.as_mut(),
            Which::Building => self.building.as_mut().map(|rebuild| &mut rebuild.slot),
        }
    }

    async fn look_at_ends(&mut self) -> Step {
        match self.slot_of(Which::Live).and_then(|slot| slot.end.take()) {
            None | Some(End::Held | End::Reached | End::Worse(_)) => {}
            Some(End::Halted(halt)) => self.halted = Some((halt, self.projection.serving.load_full())),
            Some(End::Fenced) => return Err(Over::Fenced),
            Some(End::Doubtful(reason)) => return Err(Over::Doubtful(reason)),
        }
        match self.slot_of(Which::Building).and_then(|slot| slot.end.take()) {
            None | Some(End::Held) => Ok(()),
            Some(End::Reached) => self.draw_near().await,
            Some(End::Halted(Halt { event, reason })) => {
                let at = event.map_or_else(String::new, |event| format!("at {event}: "));
                self.give_up(format!("{at}{reason}")).await
            }
            Some(End::Worse(reason)) => self.give_up(reason).await,
            Some(End::Fenced) => Err(Over::Fenced),
            Some(End::Doubtful(reason)) => Err(Over::Doubtful(reason)),
        }
    }

    fn show(&self) {
        let board = &self.projection.board;
        let building = self.building.as_ref();
        board.show_folds(
            self.live.as_ref().map(|slot| Arc::clone(&slot.track)),
            building.map(|it| Building { track: Arc::clone(&it.slot.track), skipped: it.skipped }),
        );
        board.show(match &self.halted {
            _ if self.paused => Phase::Paused,
            Some((halt, _)) => Phase::Halted(halt.clone()),
            None => Phase::Folding,
        });
    }
}

/// Whether a copy that was never activated may be of a reset that was cut short: it stands somewhere, and nothing was folded into
/// it. It may be of a rebuild, too, that has met no wanted event; that one has to be ordered again.
fn was_reset(copy: &Copy) -> bool {
    !copy.positions.is_empty() && copy.folded == 0 && copy.dead_lettered == 0
}

/// What a store that did not do its part means for the holding.
pub(super) fn over(error: StoreError) -> Over {
    match error {
        StoreError::Fenced(_) => Over::Fenced,
        error => Over::Doubtful(error.to_string()),
    }
}

// === impl Over ===

impl Over {
    fn as_error(&self, projection: &Projection) -> ControlError {
        match self {
            Over::Stopped => ControlError::Stopped,
            Over::Fenced => StoreError::Fenced(projection.config.name.clone()).into(),
            Over::Doubtful(reason) => {
                StoreError::Unavailable { store: projection.store.kind(), reason: reason.clone() }.into()
            }
        }
    }
}

// === impl Refused ===

impl From<ControlError> for Refused {
    fn from(error: ControlError) -> Self {
        Self::By(error)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Over> for Refused {
    fn from(over: Over) -> Self {
        Self::Over(over)
    }
}
