//! One handler and the world around it: settings, state, and where the call stands.

use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;

use super::run::Run;
use super::stage::{Stage, to_json};
use super::stand_in::Role;
use crate::{Event, Handler, Raw};

/// A handler under test. State stays from one [`handle`](Harness::handle) to the next, as it does in the host.
#[derive(Debug)]
#[must_use = "a harness does nothing until `handle`"]
pub struct Harness<H> {
    stage: Stage,
    handler: PhantomData<fn() -> H>,
}

impl<H: Handler> Harness<H> {
    /// A harness with no settings and no state, in which every emit is granted.
    pub fn new() -> Self {
        Self { stage: Stage::new(Role::Handler), handler: PhantomData }
    }

    /// A setting, as it would stand under `plugins.settings.<plugin>.config` in `runtime.yaml`.
    #[track_caller]
    pub fn config(mut self, key: &str, value: impl Serialize) -> Self {
        self.stage.set_config(key, value);
        self
    }

    /// What the state holds under a key, as JSON.
    #[track_caller]
    pub fn state(mut self, key: &str, value: impl Serialize) -> Self {
        self.stage.world.state.insert(key.to_owned(), to_json(&value));
        self
    }

    /// What the state holds under a key, as bytes.
    pub fn state_bytes(mut self, key: &str, value: impl Into<Vec<u8>>) -> Self {
        self.stage.world.state.insert(key.to_owned(), value.into());
        self
    }

    /// The subjects that may be emitted to, as the route's `emits` says. Without this every subject is granted.
    pub fn emits<'a>(mut self, patterns: impl IntoIterator<Item = &'a str>) -> Self {
        self.stage.world.grants = Some(patterns.into_iter().map(str::to_owned).collect());
        self
    }

    /// Which attempt the next call is; the first one otherwise.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.stage.context.attempt = attempt;
        self
    }

    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.stage.context.max_attempts = max_attempts;
        self
    }

    /// The name of the route.
    pub fn route(mut self, route: &str) -> Self {
        self.stage.context.route = route.to_owned();
        self
    }

    /// What `host::now` says: RFC 3339.
    pub fn now(mut self, now: &str) -> Self {
        self.stage.world.now = now.to_owned();
        self
    }

    /// What `host::time_left` says; the whole time limit of the call otherwise, because time stands still in a harness.
    pub fn time_left(mut self, time_left: Duration) -> Self {
        self.stage.world.time_left = time_left;
        self
    }

    /// Makes every state function fail, as if the store could not be reached.
    pub fn state_unavailable(mut self) -> Self {
        self.stage.world.unavailable = true;
        self
    }

    /// The same world around another handler of the same plugin.
    pub fn with_handler<G: Handler>(self) -> Harness<G> {
        Harness { stage: self.stage, handler: PhantomData }
    }

    /// Gives the handler one event and tells what came of it.
    ///
    /// A call that ends settled (done or rejected) moves the stream's sequence on. After a retry or a panic the next call
    /// has the same sequence, and so the same stable ids: it stands for the redelivery.
    pub fn handle(&mut self, event: Event<Raw>) -> Run {
        self.stage.call(|context| H::handle(event.read()?, context))
    }
}

impl<H: Handler> Default for Harness<H> {
    fn default() -> Self {
        Self::new()
    }
}
