//! Rebuilding: a copy beside the active one is filled from the beginning and then takes its place.
//!
//! The live fold goes on all the while. When the new copy is near, the live fold is held between two batches, the new copy
//! folds the rest, and is activated: one step of the store. So whoever has seen an event in the old copy sees it in the new.
//!
//! A new copy that is without more events than the active one is given up. It is no improvement, whatever its build thinks.
//! Events that the active one has not met are left out of the comparison.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::super::control::ControlError;
use super::super::fold::{Purpose, reaches};
use super::super::track::Track;
use super::{Holding, Rebuild, Refused, Slot, Step, Which, over};
use crate::config::RebuildWhen;
use crate::name::StreamName;
use crate::pipeline::Build;
use crate::read_model::{Copy, Positions, StoreError};

/// The live fold is held for the switch when the new copy is at most so many sequences behind.
const NEAR: u64 = 1000;

/// And at most for this long; then it goes on, and the switch is tried again.
const LONGEST_HOLD: Duration = Duration::from_secs(10);

impl Holding<'_> {
    /// Makes an empty copy and begins to fill it.
    pub(super) async fn rebuild(&mut self) -> Result<u64, Refused> {
        let survey = self.survey().await?;
        let id = self.create(Positions::new()).await?;
        self.read_ledger().await?;
        let copy = self.ledger.copies.iter().find(|copy| copy.id == id).cloned();
        let copy = copy.ok_or(StoreError::NoCopy(id.clone()))?;
        self.fill(&copy, survey);
        self.projection.board.failed(None);
        tracing::info!(projection = %self.projection.config.name, copy = id.number, digest = copy.digest, "Rebuilding");
        Ok(id.number)
    }

    /// Where the streams end, and how many sequences they have dropped.
    pub(super) async fn survey(&self) -> Result<(Positions, u64), ControlError> {
        let (mut ends, mut dropped) = (Positions::new(), 0);
        for source in &self.projection.config.sources {
            let bounds = self.projection.broker.bounds(&source.stream).await;
            let bounds = bounds.map_err(|error| ControlError::Broker(error.to_string()))?;
            dropped += bounds.first.saturating_sub(1);
            ends.insert(source.stream.clone(), bounds.last);
        }
        Ok((ends, dropped))
    }

    pub(super) fn fill(&mut self, copy: &Copy, (mut goal, skipped): (Positions, u64)) {
        if let Some(live) = &self.live {
            goal = within(live.track.positions(), &goal);
        }
        // What it has to be as good as: the live copy, or what an active one that cannot be folded any more ended with.
        let rival = match (&self.live, self.ledger.active()) {
            (Some(live), _) => Some(Arc::clone(&live.track)),
            (None, active) => active.map(|active| Arc::new(Track::of(active))),
        };
        let slot = self.slot(copy, Purpose::Building { rival });
        self.building = Some(Rebuild { slot, goal, switching: None, skipped });
    }

    /// The new copy has reached its goal. Near the live one it takes its place; from afar it goes on.
    pub(super) async fn draw_near(&mut self) -> Step {
        let live = self.live_positions().await;
        let Some(rebuild) = &mut self.building else { return Ok(()) };
        let own = rebuild.slot.track.positions();
        let behind = |(stream, position): (_, &u64)| position.saturating_sub(own.get(stream).copied().unwrap_or(0));
        let gap: u64 = live.iter().map(behind).sum();
        rebuild.goal = live;
        if gap <= NEAR && rebuild.switching.is_none() {
            rebuild.switching = Some(Instant::now());
            self.quiesce(Which::Live).await?;
            let held = self.live_positions().await;
            if let Some(rebuild) = &mut self.building {
                rebuild.goal = held;
            }
        }
        let ready = |it: &&Rebuild| it.switching.is_some() && reaches(&it.slot.track.positions(), &it.goal);
        if self.building.as_ref().filter(ready).is_some() { self.switch().await } else { Ok(()) }
    }

    /// How far the live fold is. Of a stream that was made anew that is beyond its end, which nobody can reach; so the streams
    /// are looked at, after the positions.
    async fn live_positions(&self) -> Positions {
        let positions = self.live.as_ref().map(|slot| slot.track.positions()).unwrap_or_default();
        match self.survey().await {
            Ok((ends, _)) => within(positions, &ends),
            Err(_) => positions,
        }
    }

    /// The building copy takes the active one's place.
    async fn switch(&mut self) -> Step {
        let Some(Rebuild { slot, .. }) = self.building.take() else { return Ok(()) };
        self.activate(&slot.track.copy).await?;
        let fold = self.fold(&slot.track, Purpose::Live);
        tracing::info!(
            projection = %self.projection.config.name, copy = slot.track.copy.number, digest = slot.track.digest,
            "The rebuilt copy is active"
        );
        self.live = Some(Slot { resting: Some(fold), ..slot });
        self.halted = None;
        Ok(())
    }

    /// A rebuild came to nothing: the active copy stays.
    pub(super) async fn give_up(&mut self, why: String) -> Step {
        tracing::error!(projection = %self.projection.config.name, reason = why, "The rebuild was given up");
        self.projection.board.failed(Some(why));
        self.drop_building().await
    }

    pub(super) async fn drop_building(&mut self) -> Step {
        self.quiesce(Which::Building).await?;
        let Some(Rebuild { slot, .. }) = self.building.take() else { return Ok(()) };
        self.projection.declined().replace(slot.track.digest.clone());
        self.remove(&slot.track.copy).await
    }

    // --- by itself ------------------------------------------------------------------------------------------------------

    pub(super) async fn look_around(&mut self) -> Step {
        self.renounce_switch();
        if let Some((_, then)) = &self.halted
            && !Arc::ptr_eq(then, &self.projection.serving.load())
        {
            // Something else serves: perhaps it can.
            self.halted = None;
        }
        self.remove_outlived().await?;
        if self.paused {
            return Ok(());
        }
        if !self.wants_rebuild() {
            return Ok(());
        }
        if self.building.is_some() {
            tracing::info!(projection = %self.projection.config.name, "Another build serves; the rebuild begins anew");
            self.drop_building().await?;
        }
        match self.rebuild().await {
            // The streams cannot be looked at now: later.
            Ok(_) | Err(Refused::By(_)) => Ok(()),
            Err(Refused::Over(end)) => Err(end),
            Err(Refused::Store(error)) => Err(over(error)),
        }
    }

    /// The live fold must not be held for long.
    fn renounce_switch(&mut self) {
        let late = |it: &&mut Rebuild| it.switching.is_some_and(|since| since.elapsed() > LONGEST_HOLD);
        if let Some(rebuild) = self.building.as_mut().filter(late) {
            rebuild.switching = None;
        }
    }

    /// Whether a copy shall be built now by itself: because the active one has other collections, or because another build
    /// serves for good.
    fn wants_rebuild(&self) -> bool {
        let digest = match &self.projection.serving.load().build {
            Build::OnTrial(trial) if trial.is_open() => return false,
            build => build.current().digest().to_string(),
        };
        if let Some(rebuild) = &self.building {
            return rebuild.slot.track.digest != digest;
        }
        let Some(active) = self.ledger.active() else { return false };
        if self.projection.declined().as_ref() == Some(&digest) {
            return false;
        }
        let rolled_back = |previous: &Copy| previous.digest == digest && previous.id.number > active.id.number;
        let on_change = self.projection.config.rebuild == RebuildWhen::OnChange;
        let changed = on_change && active.digest != digest && !self.ledger.previous().is_some_and(rolled_back);
        active.shape != self.shape() || changed
    }

    /// Removes the previous copy when it was kept long enough. One that was rolled back stays: it says that its build was.
    async fn remove_outlived(&mut self) -> Step {
        let (Some(previous), Some(active)) = (self.ledger.previous(), self.ledger.active()) else { return Ok(()) };
        let age = SystemTime::now().duration_since(previous.changed).unwrap_or_default();
        if age < self.projection.config.retain || previous.id.number > active.id.number {
            return Ok(());
        }
        let id = previous.id.clone();
        tracing::info!(projection = %self.projection.config.name, copy = id.number, "Removing the previous copy");
        self.remove(&id).await
    }
}

/// The positions, none beyond the end of its stream.
fn within(positions: Positions, ends: &Positions) -> Positions {
    let within = |(stream, position): (StreamName, u64)| {
        let end = ends.get(&stream).copied().unwrap_or(u64::MAX);
        (stream, position.min(end))
    };
    positions.into_iter().map(within).collect()
}
