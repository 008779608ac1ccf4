//! The final word on a failed attempt, as a value. Blame decides; one dull place elsewhere carries it out.

use std::time::Duration;

use crate::failure::{Failure, FailureKind};
use crate::retry::{ExhaustedBy, RetryPolicy};

/// What happens to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Done, or not wanted by the filter.
    Ack,
    /// Again, after a delay. `counted` says whether it uses up an attempt.
    Retry { after: Duration, counted: bool },
    /// Set aside with its history. `exhausted_by` is set when retries were allowed and are used up.
    DeadLetter { exhausted_by: Option<ExhaustedBy> },
}

/// How far an event has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The attempt that has just failed, 1-based.
    pub attempt: u32,
    /// Since the first failure.
    pub age: Duration,
    /// Faults of the host in a row, which count no attempt.
    pub host_faults: u32,
}

/// A host fault is tried again after at most this long: it is over when the broker is back.
const LONGEST_HOST_PAUSE: Duration = Duration::from_secs(2);

/// How often, on average, an event that waits for the end of a probation is tried.
const PROBATION_PAUSE: Duration = Duration::from_secs(1);

/// Decides from blame, attempt and policy. `random` is uniform in 0..1 and spreads the delays.
///
/// What failed on a build that is on probation costs no attempt and is not dead-lettered for it: it waits until the build is
/// trusted or gone.
pub fn decide(failure: &Failure, progress: Progress, policy: &RetryPolicy, random: f64) -> Disposition {
    match by_kind(failure, progress, policy, random) {
        Disposition::DeadLetter { .. } if failure.provisional => {
            Disposition::Retry { after: PROBATION_PAUSE.mul_f64(0.5 + random), counted: false }
        }
        Disposition::Retry { after, .. } if failure.provisional => Disposition::Retry { after, counted: false },
        decided => decided,
    }
}

fn by_kind(failure: &Failure, progress: Progress, policy: &RetryPolicy, random: f64) -> Disposition {
    match failure.kind {
        FailureKind::Malformed
        | FailureKind::Invalid
        | FailureKind::SchemaMissing
        | FailureKind::Loop
        | FailureKind::Rejected => Disposition::DeadLetter { exhausted_by: None },
        FailureKind::StateConflict | FailureKind::Unavailable => {
            Disposition::Retry { after: host_pause(progress.host_faults, random), counted: false }
        }
        FailureKind::RetryRequested { after } => {
            let asked = after.unwrap_or(Duration::ZERO);
            retry_or_give_up(asked.max(policy.backoff().delay(progress.attempt, random)), progress, policy)
        }
        FailureKind::Trap
        | FailureKind::Timeout
        | FailureKind::OutOfMemory
        | FailureKind::EffectRefused
        | FailureKind::EmitInvalid => {
            retry_or_give_up(policy.backoff().delay(progress.attempt, random), progress, policy)
        }
    }
}

fn retry_or_give_up(after: Duration, progress: Progress, policy: &RetryPolicy) -> Disposition {
    match policy.exhausted(progress.attempt, progress.age, after) {
        None => Disposition::Retry { after, counted: true },
        exhausted_by => Disposition::DeadLetter { exhausted_by },
    }
}

/// 10 ms, doubling, with full jitter: two hosts in conflict must not meet again and again.
fn host_pause(faults: u32, random: f64) -> Duration {
    let grown = Duration::from_millis(10) * 2u32.saturating_pow(faults.min(10));
    grown.min(LONGEST_HOST_PAUSE).mul_f64(random)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Blame;
    use crate::retry::Backoff;

    fn policy() -> RetryPolicy {
        let backoff = Backoff::try_new(Duration::from_secs(1), 2.0, Duration::from_secs(60), 0.0).unwrap();
        RetryPolicy::try_new(3, Duration::from_secs(3600), backoff).unwrap()
    }

    fn word(kind: FailureKind, attempt: u32, age_secs: u64) -> Disposition {
        let progress = Progress { attempt, age: Duration::from_secs(age_secs), host_faults: 0 };
        decide(&Failure::new(kind, "x"), progress, &policy(), 0.5)
    }

    #[test]
    fn the_event_s_own_faults_are_dead_lettered_at_once() {
        for kind in FailureKind::ALL.into_iter().filter(|kind| kind.blame() == Blame::Event) {
            assert_eq!(word(kind, 1, 0), Disposition::DeadLetter { exhausted_by: None }, "{kind:?}");
        }
    }

    #[test]
    fn the_plugin_s_faults_are_retried_until_a_limit_is_reached() {
        for kind in FailureKind::ALL.into_iter().filter(|kind| kind.blame() == Blame::Plugin) {
            let seconds = Duration::from_secs;
            assert_eq!(word(kind, 1, 0), Disposition::Retry { after: seconds(1), counted: true }, "{kind:?}");
            assert_eq!(word(kind, 2, 1), Disposition::Retry { after: seconds(2), counted: true }, "{kind:?}");
            let by_attempts = Disposition::DeadLetter { exhausted_by: Some(ExhaustedBy::Attempts) };
            assert_eq!(word(kind, 3, 3), by_attempts, "{kind:?}");
            let by_age = Disposition::DeadLetter { exhausted_by: Some(ExhaustedBy::Age) };
            assert_eq!(word(kind, 2, 3600), by_age, "{kind:?}");
        }
    }

    #[test]
    fn the_host_s_faults_never_cost_an_attempt_or_the_event() {
        for kind in FailureKind::ALL.into_iter().filter(|kind| kind.blame() == Blame::Host) {
            for attempt in [1, 3, 1000] {
                let said = word(kind, attempt, 100_000);
                assert!(matches!(said, Disposition::Retry { counted: false, .. }), "{kind:?}: {said:?}");
            }
        }
    }

    #[test]
    fn nothing_is_dead_lettered_for_a_build_on_probation() {
        let progress = Progress { attempt: 3, age: Duration::from_secs(7200), host_faults: 0 };
        for kind in FailureKind::ALL {
            let failure = Failure { provisional: true, ..Failure::new(kind, "x") };
            let said = decide(&failure, progress, &policy(), 0.5);
            assert!(matches!(said, Disposition::Retry { counted: false, .. }), "{kind:?}: {said:?}");
            let first = decide(&failure, Progress { attempt: 1, age: Duration::ZERO, host_faults: 0 }, &policy(), 0.5);
            assert!(matches!(first, Disposition::Retry { counted: false, .. }), "{kind:?}: {first:?}");
        }
    }

    #[test]
    fn a_plugin_may_ask_for_a_longer_delay_but_not_for_a_shorter_one() {
        let asked = |seconds| word(FailureKind::RetryRequested { after: Some(Duration::from_secs(seconds)) }, 1, 0);
        assert_eq!(asked(30), Disposition::Retry { after: Duration::from_secs(30), counted: true });
        assert_eq!(asked(0), Disposition::Retry { after: Duration::from_secs(1), counted: true });
    }
}
