//! One loaded build of a plugin, in service: who handles the events, until the next generation does.
//!
//! A generation is not changed; a reload makes another one and the route's [`Serving`](crate::pipeline::Serving) is swapped
//! as a whole. Calls that are under way keep the generation that they began on, so nothing is lost by a swap: they finish
//! there, and what does not finish in time is interrupted by [`Generation::interrupt`] and runs again on the new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::effect::Effects;
use crate::failure::{Failure, FailureKind};
use crate::port::{Call, Handler, Question};

/// A build that handles events, and what is known of how it does.
pub struct Generation {
    handler: Arc<dyn Handler>,
    digest: Arc<str>,
    /// Counts interruptions; a call ends at the first one after it began to wait.
    interrupted: watch::Sender<u64>,
    calls: AtomicU64,
    busy_micros: AtomicU64,
}

/// How a generation has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Calls that ended.
    pub calls: u64,
    /// Wall time of all of them together.
    pub busy: Duration,
    /// Instances that were replaced because their memory was nearly full.
    pub outgrown: u64,
}

// === impl Generation ===

impl Generation {
    pub fn new(handler: Arc<dyn Handler>) -> Arc<Self> {
        let digest = Arc::from(handler.digest());
        let (interrupted, _) = watch::channel(0);
        Arc::new(Self { handler, digest, interrupted, calls: AtomicU64::new(0), busy_micros: AtomicU64::new(0) })
    }

    /// `sha256:…`
    pub fn digest(&self) -> &Arc<str> {
        &self.digest
    }

    pub fn uses_state(&self) -> bool {
        self.handler.uses_state()
    }

    pub fn vitals(&self) -> Vitals {
        Vitals {
            calls: self.calls.load(Relaxed),
            busy: Duration::from_micros(self.busy_micros.load(Relaxed)),
            outgrown: self.handler.outgrown(),
        }
    }

    /// Ends the calls that wait at this moment; later ones are not touched. Their events run again on whoever serves the
    /// route then; it costs them no attempt.
    pub fn interrupt(&self) {
        self.interrupted.send_modify(|count| *count += 1);
    }

    /// Calls the build. A failure carries its digest.
    pub(crate) async fn handle(&self, call: Call<'_>) -> Result<Effects, Failure> {
        let begun = Instant::now();
        let handled = tokio::select! {
            biased;
            handled = self.handler.handle(call) => handled,
            // Looked at only while the call waits, so a call that answers at once does not pay for it.
            () = self.interruption() => Err(Failure::new(
                FailureKind::Unavailable,
                "the build was replaced while the call ran, and the call did not finish within `plugins.drain_timeout`",
            )),
        };
        self.calls.fetch_add(1, Relaxed);
        self.busy_micros.fetch_add(begun.elapsed().as_micros() as u64, Relaxed);
        handled.map_err(|failure| Failure { digest: Some(Arc::clone(&self.digest)), ..failure })
    }

    /// Asks the build a question; see [`Handler::query`].
    pub async fn query(&self, question: Question<'_>) -> Result<Bytes, Failure> {
        self.handler.query(question).await
    }

    async fn interruption(&self) {
        // The sender is `self`'s, so it cannot be gone.
        drop(self.interrupted.subscribe().changed().await);
    }
}

// === impl Vitals ===

impl Vitals {
    /// Mean wall time of a call; zero before the first.
    pub fn mean(&self) -> Duration {
        self.busy.checked_div(u32::try_from(self.calls).unwrap_or(u32::MAX)).unwrap_or_default()
    }

    /// Calls for each instance that outgrew its memory.
    pub(crate) fn per_instance(&self) -> u64 {
        self.calls / self.outgrown.max(1)
    }
}
