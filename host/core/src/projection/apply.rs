//! One event into one copy: the guest's call, and what is written down when it cannot be folded.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt;

use super::Projection;
use crate::dead_letter::DeadLetter;
use crate::event::Event;
use crate::failure::{Failure, FailureKind};
use crate::generation::Generation;
use crate::hops;
use crate::pipeline::Serving;
use crate::port::{Call, CallSettings, Origin, Recorded};
use crate::read_model::{DocumentWrites, FoldView};
use crate::retry::ExhaustedBy;
use crate::trial::{self, Asking};

/// An event on its way into a copy.
struct Applying<'a> {
    projection: &'a Projection,
    view: &'a Arc<FoldView>,
    event: &'a Event,
    recorded: &'a Recorded,
    origin: &'a Origin,
    attempt: u32,
}

impl Asking for Applying<'_> {
    type Answer = DocumentWrites;

    /// Each call has a session of its own: what a failed one wrote is gone with it.
    async fn ask(&self, build: &Generation) -> Result<DocumentWrites, Failure> {
        hops::check(&self.recorded.message.headers, self.projection.max_hops)?;
        let call = Call {
            event: self.event,
            route: &self.projection.settings,
            attempt: self.attempt,
            origin: self.origin,
            state: None,
            documents: Some(self.view.session()),
        };
        Ok(build.handle(call).await?.documents)
    }

    fn event(&self) -> &Event {
        self.event
    }

    fn settings(&self) -> &CallSettings {
        &self.projection.settings
    }
}

/// Calls the guest. Nothing is in the view yet on `Ok`, and nothing at all has happened on `Err`. May be dropped.
pub(super) async fn apply(
    projection: &Projection,
    serving: &Serving,
    view: &Arc<FoldView>,
    event: &Event,
    (recorded, origin): (&Recorded, &Origin),
    attempt: u32,
) -> Result<DocumentWrites, Failure> {
    let applying = Applying { projection, view, event, recorded, origin, attempt };
    let trial = serving.build.open_trial();
    match AssertUnwindSafe(trial::ask(&applying, &serving.build)).catch_unwind().await {
        Ok(answer) => answer,
        Err(_) => {
            let failure = Failure::new(FailureKind::Trap, "the host panicked while it folded the event");
            Err(Failure { provisional: trial.is_some(), ..failure })
        }
    }
}

/// How an event came to its end.
pub(super) struct Death<'a> {
    pub(super) failure: &'a Failure,
    pub(super) attempts: u32,
    pub(super) exhausted_by: Option<ExhaustedBy>,
    pub(super) first_failure: SystemTime,
}

/// The dead letter of an event that cannot be folded, as of a route.
pub(super) fn letter(
    projection: &Projection,
    (recorded, origin): (&Recorded, &Origin),
    event: Option<&Event>,
    death: &Death<'_>,
) -> DeadLetter {
    let Death { failure, attempts, exhausted_by, first_failure } = *death;
    let serving = projection.serving.load();
    DeadLetter {
        original: recorded.message.clone(),
        origin: origin.clone(),
        stored: recorded.stored,
        route: projection.settings.route.clone(),
        plugin: projection.config.plugin.clone(),
        digest: failure.digest.as_deref().unwrap_or_else(|| serving.build.current().digest()).to_owned(),
        reason: failure.kind.code().to_owned(),
        error: failure.text.clone(),
        blame: failure.kind.blame(),
        attempts,
        exhausted_by,
        first_failure,
        last_failure: projection.clock.now(),
        host: projection.host.clone(),
        redriven: 0,
        event_id: event.map(|event| event.id.clone()),
        event_type: event.map(|event| event.kind.clone()),
        log_tail: failure.log_tail.clone(),
    }
}
