//! One projection and the world around it: settings, and the documents that it folds.

use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::run::Run;
use super::stage::{Stage, to_json};
use super::stand_in::{Collection, Role};
use crate::{Answer, Event, Projection, Queries, Question, Raw};

/// A projection under test. Documents stay from one [`apply`](ProjectionHarness::apply) to the next.
#[derive(Debug)]
#[must_use = "a harness does nothing until `apply`"]
pub struct ProjectionHarness<P> {
    stage: Stage,
    projection: PhantomData<fn() -> P>,
}

impl<P: Projection> ProjectionHarness<P> {
    /// A harness with no settings and no collections.
    pub fn new() -> Self {
        Self { stage: Stage::new(Role::Projection), projection: PhantomData }
    }

    /// A collection with the fields that it is indexed by, as `projections[].collections` in `runtime.yaml` declares it.
    pub fn collection<'a>(mut self, name: &str, indexes: impl IntoIterator<Item = &'a str>) -> Self {
        let indexes = indexes.into_iter().map(str::to_owned).collect();
        let documents = self.stage.world.collections.remove(name).unwrap_or_default().documents;
        self.stage.world.collections.insert(name.to_owned(), Collection { indexes, documents });
        self
    }

    /// A document that is there already, and with it its collection.
    ///
    /// # Panics
    ///
    /// If the value is not written as a JSON object.
    #[track_caller]
    pub fn document(mut self, collection: &str, key: &str, document: impl Serialize) -> Self {
        let document: Value = serde_json::from_slice(&to_json(&document)).unwrap_or_default();
        assert!(document.is_object(), "a document is a JSON object, but the test gives {document}");
        let collection = self.stage.world.collections.entry(collection.to_owned()).or_default();
        collection.documents.insert(key.to_owned(), document);
        self
    }

    /// A setting, as it would stand under `plugins.settings.<plugin>.config` in `runtime.yaml`.
    #[track_caller]
    pub fn config(mut self, key: &str, value: impl Serialize) -> Self {
        self.stage.set_config(key, value);
        self
    }

    /// Which attempt the next call is; the first one otherwise.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.stage.context.attempt = attempt;
        self
    }

    /// The name of the stream that the next events come from.
    pub fn stream(mut self, stream: &str) -> Self {
        self.stage.context.stream = stream.to_owned();
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

    /// Makes every document function fail, as if the store could not be reached.
    pub fn unavailable(mut self) -> Self {
        self.stage.world.unavailable = true;
        self
    }

    /// Folds one event and tells what came of it.
    pub fn apply(&mut self, event: Event<Raw>) -> Run {
        self.stage.call(|context| P::apply(event.read()?, context))
    }

    /// Asks a question about the documents; the parameters must be written as a JSON object.
    ///
    /// # Errors
    ///
    /// What the projection fails with; for a query that writes, the refusal.
    ///
    /// # Panics
    ///
    /// If the projection does.
    #[track_caller]
    pub fn query(&self, name: &str, params: impl Serialize) -> Answer
    where
        P: Queries,
    {
        let question = Question::new(name.to_owned(), to_json(&params));
        self.stage.ask(|| P::query(&question))
    }
}

impl<P: Projection> Default for ProjectionHarness<P> {
    fn default() -> Self {
        Self::new()
    }
}
