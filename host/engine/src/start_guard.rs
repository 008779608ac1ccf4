//! Keeps a plugin that cannot start from starting all the time.
//!
//! A plugin started once, or it would not have been loaded. If it does not any more (its memory limit, a clock, the
//! machine), each event would start it again, at the cost of a start and of one of the event's attempts. So after the second
//! failure in a row there is a pause, longer each time; events that come meanwhile are told that the plugin is unavailable,
//! which costs no attempt: they stay where they are until it starts again, and a person is told.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidemill_core::failure::{Failure, FailureKind};
use tidemill_core::name::PluginName;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is known of the last starts of one build.
#[derive(Default)]
pub(crate) struct StartGuard(Mutex<Option<Broken>>);

/// Starts that failed, and none that succeeded since.
struct Broken {
    failures: u32,
    not_before: Instant,
    why: String,
}

// === impl StartGuard ===

impl StartGuard {
    /// Whether it may be tried to start an instance now.
    pub(crate) fn check(&self, now: Instant) -> Result<(), Failure> {
        match &*self.broken() {
            Some(broken) if now < broken.not_before => Err(broken.refusal(now)),
            _ => Ok(()),
        }
    }

    pub(crate) fn succeeded(&self) {
        *self.broken() = None;
    }

    /// Notes a failure, and tells it the first time, the second, the fourth, and so on.
    pub(crate) fn failed(&self, plugin: &PluginName, failure: &Failure, now: Instant) {
        if failure.kind == FailureKind::Unavailable {
            // The engine is full, which is no fault of the plugin.
            return;
        }
        let mut broken = self.broken();
        let failures = broken.as_ref().map_or(0, |broken| broken.failures).saturating_add(1);
        let pause = pause_after(failures);
        *broken = Some(Broken { failures, not_before: now + pause, why: failure.text.clone() });
        drop(broken);
        if failures.is_power_of_two() {
            tracing::error!(
                %plugin,
                failures,
                pause = ?pause,
                reason = failure.text,
                "a plugin that had started before does not start any more; its events wait"
            );
        }
    }

    fn broken(&self) -> std::sync::MutexGuard<'_, Option<Broken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Broken ===

impl Broken {
    fn refusal(&self, now: Instant) -> Failure {
        let Self { failures, not_before, why } = self;
        let left = not_before.saturating_duration_since(now).as_millis();
        let text =
            format!("the plugin failed to start {failures} times in a row, it is tried again in {left} ms: {why}");
        Failure::new(FailureKind::Unavailable, text)
    }
}

/// None after a first failure, which may be chance; then twice as long each time.
fn pause_after(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        _ => FIRST_PAUSE.saturating_mul(1 << (failures - 2).min(16)).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap() -> Failure {
        Failure::new(FailureKind::Trap, "no more memory")
    }

    #[test]
    fn the_pause_doubles_until_it_is_long_enough_and_ends_with_a_success() {
        let plugin = PluginName::try_new("p").unwrap();
        let guard = StartGuard::default();
        let mut now = Instant::now();
        for millis in [0, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000] {
            assert!(guard.check(now).is_ok());
            guard.failed(&plugin, &trap(), now);
            let pause = Duration::from_millis(millis);
            if !pause.is_zero() {
                let refusal = guard.check(now + pause / 2).unwrap_err();
                assert_eq!(refusal.kind, FailureKind::Unavailable);
                assert!(refusal.text.ends_with("no more memory"), "{}", refusal.text);
            }
            now += pause;
        }
        guard.succeeded();
        guard.failed(&plugin, &trap(), now);
        assert!(guard.check(now).is_ok(), "the first failure after a success may be chance");
    }

    #[test]
    fn an_engine_without_room_is_not_held_against_the_plugin() {
        let guard = StartGuard::default();
        let now = Instant::now();
        for _ in 0..3 {
            guard.failed(&PluginName::try_new("p").unwrap(), &Failure::new(FailureKind::Unavailable, "full"), now);
        }
        assert!(guard.check(now).is_ok());
    }
}
