//! What the runner shows and others read: what it is doing, which copy is active and how far that is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::status::{Halt, ProjectionState};
use super::track::Track;
use crate::config::ProjectionConfig;
use crate::read_model::{Collection, Collections, Copy, CopyId, NewCopy, Positions};

/// The copy that answers queries.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveCopy {
    pub copy: CopyId,
    /// Those of `runtime.yaml` that the copy has. A copy from before a change of `collections` has the unchanged ones only.
    pub collections: Collections,
    /// What is committed, as far as this process knows.
    pub positions: Positions,
}

pub(super) struct Board {
    inner: Mutex<Inner>,
    active: watch::Sender<Option<ActiveCopy>>,
}

#[derive(Default)]
struct Inner {
    phase: Phase,
    live: Option<Arc<Track>>,
    building: Option<Building>,
    failure: Option<String>,
}

/// What the runner is doing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Phase {
    #[default]
    Stopped,
    Standby(String),
    Waiting(String),
    Folding,
    Paused,
    Halted(Halt),
}

/// A rebuild that is under way.
#[derive(Clone)]
pub(super) struct Building {
    pub(super) track: Arc<Track>,
    /// The sequences before its beginning.
    pub(super) skipped: u64,
}

// === impl Board ===

impl Board {
    pub(super) fn new() -> Self {
        Self { inner: Mutex::default(), active: watch::channel(None).0 }
    }

    pub(super) fn phase(&self) -> Phase {
        self.inner().phase.clone()
    }

    pub(super) fn show(&self, phase: Phase) {
        self.inner().phase = phase;
    }

    pub(super) fn show_folds(&self, live: Option<Arc<Track>>, building: Option<Building>) {
        let mut inner = self.inner();
        (inner.live, inner.building) = (live, building);
    }

    pub(super) fn live(&self) -> Option<Arc<Track>> {
        self.inner().live.clone()
    }

    pub(super) fn building(&self) -> Option<Building> {
        self.inner().building.clone()
    }

    pub(super) fn failed(&self, why: Option<String>) {
        self.inner().failure = why;
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.inner().failure.clone()
    }

    pub(super) fn state(&self, config: &ProjectionConfig) -> ProjectionState {
        let inner = self.inner();
        match &inner.phase {
            Phase::Stopped => ProjectionState::Stopped,
            Phase::Standby(holder) => ProjectionState::Standby { holder: holder.clone() },
            Phase::Waiting(reason) => ProjectionState::Waiting { reason: reason.clone() },
            Phase::Paused => ProjectionState::Paused,
            Phase::Halted(halt) => ProjectionState::Halted(halt.clone()),
            Phase::Folding => {
                let fold = inner.live.as_ref().or(inner.building.as_ref().map(|building| &building.track));
                let trouble = fold.and_then(|track| track.trouble());
                let streams = || config.sources.iter().map(|source| &source.stream);
                match (trouble, &inner.live) {
                    (Some(reason), _) => ProjectionState::Waiting { reason },
                    (None, Some(live)) if live.is_caught_up(streams()) => ProjectionState::Running,
                    (None, _) => ProjectionState::CatchingUp,
                }
            }
        }
    }

    // --- the active copy ------------------------------------------------------------------------------------------------

    pub(super) fn active(&self) -> Option<ActiveCopy> {
        self.active.borrow().clone()
    }

    pub(super) fn watch_active(&self) -> watch::Receiver<Option<ActiveCopy>> {
        self.active.subscribe()
    }

    /// The active copy as it is found before anything is folded. It may stand behind what was shown: the store may have lost
    /// what it had confirmed.
    pub(super) fn found(&self, config: &ProjectionConfig, copy: Option<&Copy>) {
        self.active.send_replace(copy.map(|copy| shown(config, copy)));
    }

    /// The copy that is active from now on. The ledger may have been read before a batch that is known already.
    pub(super) fn activated(&self, config: &ProjectionConfig, copy: Option<&Copy>) {
        let mut active = copy.map(|copy| shown(config, copy));
        self.active.send_if_modified(|shown| {
            if let (Some(active), Some(shown)) = (&mut active, shown.as_ref())
                && active.copy == shown.copy
            {
                further(&mut active.positions, &shown.positions);
            }
            let changed = *shown != active;
            *shown = active;
            changed
        });
    }

    /// A batch was committed to a copy.
    pub(super) fn advance(&self, copy: &CopyId, positions: &Positions) {
        self.active.send_if_modified(|active| {
            let Some(active) = active.as_mut().filter(|active| active.copy == *copy) else { return false };
            further(&mut active.positions, positions);
            true
        });
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(config: &ProjectionConfig, copy: &Copy) -> ActiveCopy {
    ActiveCopy {
        copy: copy.id.clone(),
        collections: queryable(&config.collections, &copy.shape),
        positions: copy.positions.clone(),
    }
}

/// Takes over the positions that are further. A copy does not go back while it is folded.
fn further(known: &mut Positions, others: &Positions) {
    for (stream, position) in others {
        let known = known.entry(stream.clone()).or_insert(*position);
        *known = (*known).max(*position);
    }
}

/// The declared collections that a copy of this shape has, with the very same indexes.
fn queryable(declared: &Collections, shape: &str) -> Collections {
    let has = |collection: &&Collection| {
        let wanted = NewCopy::shape(std::slice::from_ref(*collection));
        shape.split(' ').any(|part| part == wanted)
    };
    declared.iter().filter(has).cloned().collect()
}
