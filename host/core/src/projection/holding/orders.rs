//! Orders of a person, carried out one after another between two batches.

use super::super::control::{Answer, ControlError, Order, What};
use super::super::fold::Purpose;
use super::{Holding, Refused, Step, Which, over};
use crate::name::StreamName;
use crate::read_model::{Positions, StoreError};

impl Holding<'_> {
    pub(super) async fn obey(&mut self, order: Order) -> Step {
        let Order { what, answer } = order;
        let done = match what {
            What::Rebuild => self.order_rebuild().await,
            What::Cancel => self.order_cancel().await,
            What::RollBack => self.order_roll_back().await,
            What::Pause => self.order_pause(true).await,
            What::Resume => self.order_pause(false).await,
            What::Reset(positions) => self.order_reset(positions).await,
        };
        let (said, end): (Answer, Step) = match done {
            Ok(copy) => (Ok(copy), Ok(())),
            Err(Refused::By(error)) => (Err(error), Ok(())),
            Err(Refused::Store(error @ StoreError::Refused(_))) => (Err(error.into()), Ok(())),
            Err(Refused::Store(error)) => (Err(error.clone().into()), Err(over(error))),
            Err(Refused::Over(end)) => (Err(end.as_error(self.projection)), Err(end)),
        };
        // Whoever went away is not told. What others see must be true before they are told.
        self.show();
        let _ = answer.send(said);
        end
    }

    async fn order_rebuild(&mut self) -> Result<Option<u64>, Refused> {
        if self.paused {
            return Err(ControlError::Paused.into());
        }
        self.refuse_while_building()?;
        self.projection.declined().take();
        Ok(Some(self.rebuild().await?))
    }

    async fn order_cancel(&mut self) -> Result<Option<u64>, Refused> {
        let Some(rebuild) = &self.building else { return Err(ControlError::NoRebuild.into()) };
        let number = rebuild.slot.track.copy.number;
        self.drop_building().await?;
        Ok(Some(number))
    }

    async fn order_roll_back(&mut self) -> Result<Option<u64>, Refused> {
        self.refuse_while_building()?;
        let previous = self.ledger.previous().cloned().ok_or(ControlError::NoPrevious)?;
        if previous.shape != self.shape() {
            return Err(ControlError::OtherShape { copy: previous.id.number }.into());
        }
        self.quiesce(Which::Live).await?;
        self.activate(&previous.id).await?;
        self.projection.declined().replace(self.digest());
        self.go_on_with_active();
        Ok(Some(previous.id.number))
    }

    async fn order_pause(&mut self, paused: bool) -> Result<Option<u64>, Refused> {
        self.projection.store.set_paused(&self.fence, paused).await?;
        self.paused = paused;
        if paused {
            self.quiesce(Which::Live).await?;
            self.quiesce(Which::Building).await?;
        } else {
            self.halted = None;
        }
        Ok(None)
    }

    /// Each stream has a position from the start: by that the copy is told from a rebuild's if this is cut short.
    async fn order_reset(&mut self, from: Positions) -> Result<Option<u64>, Refused> {
        self.refuse_while_building()?;
        let sources = self.projection.config.sources.iter();
        let position = |stream: &StreamName| from.get(stream).copied().unwrap_or(0);
        let positions = sources.map(|source| (source.stream.clone(), position(&source.stream))).collect();
        self.quiesce(Which::Live).await?;
        let copy = self.create(positions).await?;
        self.activate(&copy).await?;
        self.go_on_with_active();
        Ok(Some(copy.number))
    }

    fn refuse_while_building(&self) -> Result<(), ControlError> {
        match &self.building {
            Some(rebuild) => Err(ControlError::RebuildRunning { copy: rebuild.slot.track.copy.number }),
            None => Ok(()),
        }
    }

    fn go_on_with_active(&mut self) {
        self.live = self.ledger.active().map(|active| self.slot(active, Purpose::Live));
        self.halted = None;
    }
}
