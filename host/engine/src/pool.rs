//! The instances of one plugin: how many calls at once, and which instance serves the next.
//!
//! An instance returns to the pool by the lease's drop, and only if it says itself that it may. So a call that is dropped
//! at any await cannot return an instance that was stopped in the middle.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tidemill_core::config::InstancePolicy;
use tidemill_core::failure::{Failure, FailureKind};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::instance::{Blueprint, Instance};
use crate::start_guard::StartGuard;

/// Idle instances, and permits for as many calls as the plugin may serve at once.
pub(crate) struct Pool {
    permits: Semaphore,
    size: usize,
    /// The last one used is the next one: its memory is the warmest.
    idle: Mutex<Vec<Instance>>,
    policy: InstancePolicy,
    starts: StartGuard,
    /// Instances that were given up because their memory was nearly full.
    outgrown: AtomicU64,
}

/// The right to one call, and the instance that serves it.
pub(crate) struct Lease<'a> {
    pool: &'a Pool,
    instance: Option<Instance>,
    /// Given back after the instance, so there are never more idle instances than permits.
    _permit: SemaphorePermit<'a>,
}

// === impl Pool ===

impl Pool {
    pub(crate) fn new(size: usize, policy: InstancePolicy) -> Self {
        let size = size.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            permits: Semaphore::new(size),
            size,
            idle: Mutex::new(Vec::new()),
            policy,
            starts: StartGuard::default(),
            outgrown: AtomicU64::new(0),
        }
    }

    /// Waits until the plugin may serve another call. Cancel-safe.
    pub(crate) async fn lease(&self) -> Result<Lease<'_>, Failure> {
        let permit = self
            .permits
            .acquire()
            .await
            .map_err(|_| Failure::new(FailureKind::Unavailable, "the plugin is being unloaded"))?;
        let instance = match self.policy {
            InstancePolicy::Reuse => self.idle().pop(),
            InstancePolicy::Fresh => None,
        };
        Ok(Lease { pool: self, instance, _permit: permit })
    }

    /// Keeps an instance that has not served anything yet.
    pub(crate) fn put(&self, instance: Instance) {
        if self.policy == InstancePolicy::Reuse && instance.is_reusable() {
            self.idle().push(instance);
        } else if instance.has_outgrown() {
            self.outgrown.fetch_add(1, Relaxed);
        }
    }

    /// Calls that are under way.
    pub(crate) fn in_use(&self) -> usize {
        self.size - self.permits.available_permits()
    }

    pub(crate) fn outgrown(&self) -> u64 {
        self.outgrown.load(Relaxed)
    }

    async fn start(&self, blueprint: &Blueprint) -> Result<Instance, Failure> {
        self.starts.check(Instant::now())?;
        match Instance::start(blueprint).await {
            Ok(instance) => {
                self.starts.succeeded();
                Ok(instance)
            }
            Err(failure) => {
                self.starts.failed(&blueprint.name, &failure, Instant::now());
                Err(failure)
            }
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Instance>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Lease ===

impl Lease<'_> {
    /// The instance, started now if no idle one was left.
    pub(crate) async fn instance(&mut self, blueprint: &Blueprint) -> Result<&mut Instance, Failure> {
        let instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.pool.start(blueprint).await?,
        };
        Ok(self.instance.insert(instance))
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take() {
            self.pool.put(instance);
        }
    }
}
