//! One handler and the world around it: settings, state, and where the call stands.

use std::marker::PhantomData;
use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

use serde::Serialize;

use super::run::{Ended, Run};
use super::stand_in::{self, World};
use crate::failure::Verdict;
use crate::{Context, Event, Handler, Outcome, Raw};

/// A handler under test. State stays from one [`handle`](Harness::handle) to the next, as it does in the host.
#[derive(Debug)]
#[must_use = "a harness does nothing until `handle`"]
pub struct Harness<H> {
    world: World,
    context: Context,
    sequence: u64,
    handler: PhantomData<fn() -> H>,
}

impl<H: Handler> Harness<H> {
    /// A harness with no settings and no state, in which every emit is granted.
    pub fn new() -> Self {
        let context = Context {
            route: "test".to_owned(),
            attempt: 1,
            max_attempts: 5,
            stream: "TEST".to_owned(),
            sequence: "1".to_owned(),
            time_limit: Duration::from_secs(5),
        };
        Self { world: World::default(), context, sequence: 1, handler: PhantomData }
    }

    /// A setting, as it would stand under `plugins.settings.<plugin>.config` in `runtime.yaml`.
    #[track_caller]
    pub fn config(mut self, key: &str, value: impl Serialize) -> Self {
        let json = to_json(&value);
        let text =
            serde_json::from_slice::<String>(&json).unwrap_or_else(|_| String::from_utf8_lossy(&json).into_owned());
        self.world.config.insert(key.to_owned(), text);
        self
    }

    /// What the state holds under a key, as JSON.
    #[track_caller]
    pub fn state(mut self, key: &str, value: impl Serialize) -> Self {
        self.world.state.insert(key.to_owned(), to_json(&value));
        self
    }

    /// What the state holds under a key, as bytes.
    pub fn state_bytes(mut self, key: &str, value: impl Into<Vec<u8>>) -> Self {
        self.world.state.insert(key.to_owned(), value.into());
        self
    }

    /// The subjects that may be emitted to, as the route's `emits` says. Without this every subject is granted.
    pub fn emits<'a>(mut self, patterns: impl IntoIterator<Item = &'a str>) -> Self {
        self.world.grants = Some(patterns.into_iter().map(str::to_owned).collect());
        self
    }

    /// Which attempt the next call is; the first one otherwise.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.context.attempt = attempt;
        self
    }

    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.context.max_attempts = max_attempts;
        self
    }

    /// The name of the route.
    pub fn route(mut self, route: &str) -> Self {
        self.context.route = route.to_owned();
        self
    }

    /// What `host::now` says: RFC 3339.
    pub fn now(mut self, now: &str) -> Self {
        self.world.now = now.to_owned();
        self
    }

    /// Makes every state function fail, as if the store could not be reached.
    pub fn state_unavailable(mut self) -> Self {
        self.world.state_unavailable = true;
        self
    }

    /// The same world around another handler of the same plugin.
    pub fn with_handler<G: Handler>(self) -> Harness<G> {
        Harness { world: self.world, context: self.context, sequence: self.sequence, handler: PhantomData }
    }

    /// Gives the handler one event and tells what came of it.
    ///
    /// A call that ends settled (done or rejected) moves the stream's sequence on. After a retry or a panic the next call
    /// has the same sequence, and so the same stable ids: it stands for the redelivery.
    pub fn handle(&mut self, event: Event<Raw>) -> Run {
        self.context.sequence = self.sequence.to_string();
        let origin = format!("{}/{}/{}", self.context.route, self.context.stream, self.sequence);
        let (outcome, mut call) = stand_in::with_world(self.world.clone(), origin, || {
            panic::catch_unwind(AssertUnwindSafe(|| -> Outcome { H::handle(event.read()?, &self.context) }))
        });
        let outcome = match (outcome, call.refused.take()) {
            (Err(panic), _) => Ended::Panicked { message: panic_message(&*panic) },
            (Ok(_), Some(error)) => Ended::Refused(error),
            (Ok(Ok(())), None) => Ended::Done,
            (Ok(Err(failure)), None) => match failure.into_parts() {
                (reason, Verdict::Reject) => Ended::Rejected { reason },
                (reason, Verdict::Retry { after }) => Ended::Retry { reason, after },
            },
        };
        if outcome == Ended::Done {
            self.world.state = call.world.state;
        } else {
            call.emits.clear();
        }
        if matches!(outcome, Ended::Done | Ended::Rejected { .. }) {
            self.sequence += 1;
        }
        Run { outcome, emits: call.emits, state: self.world.state.clone(), logs: call.logs }
    }
}

impl<H: Handler> Default for Harness<H> {
    fn default() -> Self {
        Self::new()
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
