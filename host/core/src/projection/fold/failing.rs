//! Events that cannot be folded: the copy halts before them, or they are set aside and the copy is without them.

use std::time::Duration;

use tokio::time::sleep;

use super::super::apply::{self, Death};
use super::super::status::Halt;
use super::super::turned;
use super::{End, FIRST_PAUSE, Fold, LOGGED_ERROR_BYTES, LONGEST_PAUSE, Pass, Purpose, Step};
use crate::config::OnFailure;
use crate::event::Event;
use crate::failure::Failure;
use crate::port::{BrokerError, Origin, Recorded};
use crate::text::clean_text;

/// Bytes of an error in a dead letter that has to be short.
const SHORT_ERROR_BYTES: usize = 120;

impl Fold {
    pub(super) async fn set_aside(
        &self,
        at: (&Recorded, &Origin),
        event: Option<&Event>,
        death: &Death<'_>,
        pass: &mut Pass,
    ) -> Step {
        let told = format!("{}: {}", death.failure.kind.code(), clean_text(&death.failure.text, LOGGED_ERROR_BYTES));
        let halt = || Halt { event: Some(at.1.to_string()), reason: told.clone() };
        if self.projection.config.on_failure == OnFailure::Halt {
            self.commit_all(pass).await?;
            tracing::error!(
                projection = %self.projection.config.name, origin = %at.1, reason = told,
                "An event cannot be folded; the projection halts before it"
            );
            return Err(End::Halted(halt()));
        }
        if let Purpose::Building { rival: Some(rival) } = &self.purpose {
            let so_far = self.track.dead_lettered() + pass.in_doubt();
            if !rival.has_passed(at.1) {
                // Nobody knows yet whether the active copy can fold it.
                self.track.cannot_compare();
            } else if so_far.saturating_sub(self.track.not_compared()) >= rival.dead_lettered() {
                self.commit_all(pass).await?;
                return Err(End::Worse(format!(
                    "the event {} cannot be folded into the new copy ({told}), and of the active one no more than {} are \
                     dead-lettered",
                    at.1,
                    rival.dead_lettered()
                )));
            }
        }
        self.bury(at, event, death, pass).await?;
        tracing::warn!(
            projection = %self.projection.config.name, plugin = %self.projection.config.plugin, origin = %at.1,
            event.id = event.map(|event| event.id.as_str()), attempt = death.attempts,
            reason = death.failure.kind.code(), blame = death.failure.kind.blame().as_str(),
            error = clean_text(&death.failure.text, LOGGED_ERROR_BYTES), "Dead-lettered"
        );
        pass.pending.dead_lettered.push(death.failure.kind);
        Ok(())
    }

    /// Stores the dead letter, however long it takes.
    async fn bury(&self, at: (&Recorded, &Origin), event: Option<&Event>, death: &Death<'_>, pass: &mut Pass) -> Step {
        let prefix = &self.projection.config.dead_letter;
        let mut letter = apply::letter(&self.projection, at, event, death);
        let mut pause = FIRST_PAUSE;
        loop {
            let refused = match letter.encode(prefix) {
                Ok(record) => match self.projection.broker.dead_letter_read(at.1, prefix, record).await {
                    Ok(()) => return Ok(()),
                    Err(error @ BrokerError::Unavailable { .. }) => {
                        self.commit_all(pass).await?;
                        self.track.cannot_fold(Some(error.to_string()));
                        tokio::select! {
                            () = sleep(pause) => {}
                            () = turned(&mut pass.hold) => return Err(End::Held),
                        }
                        pause = (pause * 2).min(LONGEST_PAUSE);
                        continue;
                    }
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            };
            if letter.error.len() <= SHORT_ERROR_BYTES && letter.log_tail.is_empty() {
                self.commit_all(pass).await?;
                let reason = format!("it can be neither folded nor dead-lettered: {refused}");
                return Err(End::Halted(Halt { event: Some(at.1.to_string()), reason }));
            }
            // An original close to the broker's size limit leaves no room for the whole story: the event comes first.
            letter.error = clean_text(&letter.error, SHORT_ERROR_BYTES);
            letter.log_tail.clear();
        }
    }

    pub(super) fn tell_retry(
        &self,
        failure: &Failure,
        event: Option<&Event>,
        attempt: u32,
        after: Duration,
        counted: bool,
    ) {
        let (projection, id) = (&self.projection.config.name, event.map(|event| event.id.as_str()));
        let (reason, error) = (failure.kind.code(), clean_text(&failure.text, LOGGED_ERROR_BYTES));
        if counted {
            let of = self.projection.config.retry.max_attempts();
            tracing::warn!(%projection, event.id = id, attempt, of, reason, ?after, error, "Attempt failed; trying again");
        } else {
            tracing::debug!(%projection, event.id = id, attempt, reason, ?after, error, "Not the event's fault; trying again");
        }
    }
}
