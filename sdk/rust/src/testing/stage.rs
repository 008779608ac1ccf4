//! What surrounds a plugin under test, whatever kind of plugin it is: the world, and where the next call stands.

use std::panic::{self, AssertUnwindSafe};

use serde::Serialize;

use super::run::{Ended, Run};
use super::stand_in::{self, Refused, Role, TIME_LIMIT, World};
use crate::failure::Verdict;
use crate::{Answer, Context, Outcome, reject};

#[derive(Debug)]
pub(super) struct Stage {
    pub(super) world: World,
    pub(super) context: Context,
    sequence: u64,
}

// === impl Stage ===

impl Stage {
    pub(super) fn new(role: Role) -> Self {
        let context = Context {
            route: "test".to_owned(),
            attempt: 1,
            max_attempts: 5,
            stream: "TEST".to_owned(),
            sequence: "1".to_owned(),
            time_limit: TIME_LIMIT,
        };
        Self { world: World::new(role), context, sequence: 1 }
    }

    #[track_caller]
    pub(super) fn set_config(&mut self, key: &str, value: impl Serialize) {
        let json = to_json(&value);
        let text =
            serde_json::from_slice::<String>(&json).unwrap_or_else(|_| String::from_utf8_lossy(&json).into_owned());
        self.world.config.insert(key.to_owned(), text);
    }

    /// Makes one call. What it did stays only if it is done; the sequence goes on when the event is settled.
    pub(super) fn call(&mut self, plugin: impl FnOnce(&Context) -> Outcome) -> Run {
        self.context.sequence = self.sequence.to_string();
        let origin = format!("{}/{}/{}", self.context.route, self.context.stream, self.sequence);
        let (outcome, mut call) = stand_in::with_world(self.world.clone(), Some(origin), || {
            panic::catch_unwind(AssertUnwindSafe(|| plugin(&self.context)))
        });
        let outcome = match (outcome, call.refused.take()) {
            (Err(panic), _) => Ended::Panicked { message: panic_message(&*panic) },
            (Ok(_), Some(Refused::Emit(error))) => Ended::Refused(error),
            (Ok(_), Some(Refused::Write(error))) => Ended::WriteRefused(error),
            (Ok(Ok(())), None) => Ended::Done,
            (Ok(Err(failure)), None) => match failure.into_parts() {
                (reason, Verdict::Reject) => Ended::Rejected { reason },
                (reason, Verdict::Retry { after }) => Ended::Retry { reason, after },
            },
        };
        if outcome == Ended::Done {
            self.world.state = call.world.state;
            self.world.collections = call.world.collections;
        } else {
            call.emits.clear();
        }
        if matches!(outcome, Ended::Done | Ended::Rejected { .. }) {
            self.sequence += 1;
        }
        let documents = self.world.collections.iter().map(|(name, it)| (name.clone(), it.documents.clone())).collect();
        Run { outcome, emits: call.emits, state: self.world.state.clone(), documents, logs: call.logs }
    }

    /// Asks a question. A panic goes on to the test; a refused write is the answer, whatever the plugin said.
    pub(super) fn ask(&self, plugin: impl FnOnce() -> Answer) -> Answer {
        let (answer, call) =
            stand_in::with_world(self.world.clone(), None, || panic::catch_unwind(AssertUnwindSafe(plugin)));
        let answer = answer.unwrap_or_else(|panic| panic::resume_unwind(panic));
        match call.refused {
            Some(Refused::Write(error)) => Err(reject(error.to_string())),
            _ => answer,
        }
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}

#[track_caller]
pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    match serde_json::to_vec(value) {
        Ok(json) => json,
        Err(error) => panic!("the test's value cannot be written as JSON: {error}"),
    }
}
