//! Who may write which projection.
//!
//! There is one host, so a claim is granted at once; what is left of the fence is that an older one writes nothing any more. A
//! write holds its projection's claim shared until it is committed, a new claim holds it alone: so no write of an older fence
//! ends after a claim was granted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use tidemill_core::name::ProjectionName;
use tidemill_core::read_model::{Fence, StoreError};

/// The claims of all projections.
#[derive(Default)]
pub(crate) struct Claims(Mutex<HashMap<ProjectionName, Arc<Claimed>>>);

/// The claim of one projection.
#[derive(Default)]
pub(crate) struct Claimed(RwLock<Current>);

#[derive(Default)]
pub(crate) struct Current {
    /// 0: not claimed since this process has the folder.
    epoch: u64,
    pub(crate) holder: Option<String>,
}

// === impl Claims ===

impl Claims {
    pub(crate) fn of(&self, projection: &ProjectionName) -> Arc<Claimed> {
        let mut claims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(claims.entry(projection.clone()).or_default())
    }
}

// === impl Claimed ===

impl Claimed {
    /// Takes the claim over. `next` makes the new epoch durable and says which it is.
    pub(crate) fn take(&self, holder: &str, next: impl FnOnce() -> Result<u64, StoreError>) -> Result<u64, StoreError> {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let epoch = next()?;
        *current = Current { epoch, holder: Some(holder.to_owned()) };
        Ok(epoch)
    }

    /// As long as the answer is held, nobody else can claim.
    pub(crate) fn check(&self, fence: &Fence) -> Result<RwLockReadGuard<'_, Current>, StoreError> {
        let current = self.read();
        if current.epoch == fence.epoch { Ok(current) } else { Err(StoreError::Fenced(fence.projection.clone())) }
    }

    pub(crate) fn release(&self, fence: &Fence) -> Result<(), StoreError> {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if current.epoch != fence.epoch {
            return Err(StoreError::Fenced(fence.projection.clone()));
        }
        current.holder = None;
        Ok(())
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Current> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}
