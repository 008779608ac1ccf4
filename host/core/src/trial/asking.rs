//! Having an event handled by the build that serves; while that is on probation, with the one before it behind it.

use super::Trial;
use crate::event::Event;
use crate::failure::{Blame, Failure, FailureKind};
use crate::generation::Generation;
use crate::pipeline::Build;
use crate::port::CallSettings;
use crate::text::clean_text;

/// One event, and how a build is called for it.
pub(crate) trait Asking: Sync {
    type Answer: Send;

    /// Calls a build. May be called again for the same event, with another build; nothing of a failed call is kept.
    fn ask(&self, build: &Generation) -> impl Future<Output = Result<Self::Answer, Failure>> + Send;

    fn event(&self) -> &Event;

    fn settings(&self) -> &CallSettings;
}

/// Has the event handled by the build that serves.
pub(crate) async fn ask<A: Asking>(asking: &A, build: &Build) -> Result<A::Answer, Failure> {
    match build {
        Build::Trusted(generation) => asking.ask(generation).await,
        Build::OnTrial(trial) => ask_on_trial(asking, trial).await,
    }
}

/// While the new build is on probation the one before it stands behind it: see [`trial`](super).
async fn ask_on_trial<A: Asking>(asking: &A, trial: &Trial) -> Result<A::Answer, Failure> {
    if !trial.is_open() {
        return asking.ask(trial.build()).await;
    }
    match asking.ask(&trial.new).await {
        Err(failure) if failure.kind.is_defect() => match asking.ask(&trial.previous).await {
            Ok(answer) => {
                tell_broken(asking, &failure);
                trial.broke(&failure);
                Ok(answer)
            }
            // Neither build can: the event's history is its own.
            Err(second) if second.kind == failure.kind || second.kind.is_crash() => {
                trial.answered();
                Err(second)
            }
            // The build before refuses the event, asks for patience, or no longer fits to schemas and grants that came
            // with the new one; or the host had a fault. Nothing is proven yet.
            Err(second) => {
                tell_undecided(asking, &failure);
                trial.undecided(&failure);
                Err(Failure { provisional: true, ..second })
            }
        },
        Err(failure) if failure.kind == FailureKind::Rejected => {
            // What it would do is thrown away: the word of the new build stands, if the build itself does.
            if trial.asks_about(asking.event()) && asking.ask(&trial.previous).await.is_ok() {
                trial.rejected(&failure);
            } else {
                trial.declined();
            }
            Err(Failure { provisional: true, ..failure })
        }
        Err(failure) if failure.kind.blame() != Blame::Host => {
            trial.declined();
            Err(Failure { provisional: true, ..failure })
        }
        Err(failure) => Err(failure),
        Ok(answer) => {
            trial.answered();
            Ok(answer)
        }
    }
}

fn tell_broken(asking: &impl Asking, failure: &Failure) {
    let (settings, event) = (asking.settings(), asking.event());
    tracing::warn!(
        route = %settings.route, plugin = %settings.plugin, event.id = event.id,
        reason = failure.kind.code(), digest = failure.digest.as_deref(), error = clean_text(&failure.text, 300),
        "The new build broke on an event; the one before it handled the event"
    );
}

fn tell_undecided(asking: &impl Asking, failure: &Failure) {
    let (settings, event) = (asking.settings(), asking.event());
    tracing::warn!(
        route = %settings.route, plugin = %settings.plugin, event.id = event.id,
        reason = failure.kind.code(), digest = failure.digest.as_deref(), error = clean_text(&failure.text, 300),
        "The new build broke on an event that the one before it does not handle either; it is tried again"
    );
}
