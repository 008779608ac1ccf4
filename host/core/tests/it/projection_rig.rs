//! A running projection with a closure as its guest, an embedded broker and a store in memory.
//!
//! The guest of most cases keeps one document per stream with the ids of all its events in the order in which they came: what
//! was lost, doubled or out of order shows there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tidemill_core::clock::WallClock;
use tidemill_core::config::{OnFailure, OnMissing, ProjectionConfig, ProjectionSource, RebuildWhen};
use tidemill_core::dead_letter::DeadLetter;
use tidemill_core::effect::Effects;
use tidemill_core::envelope::{Envelope, encode_event};
use tidemill_core::failure::{Failure, FailureKind};
use tidemill_core::filter::Filter;
use tidemill_core::generation::Generation;
use tidemill_core::grant::Grant;
use tidemill_core::limits::Limits;
use tidemill_core::message::Message;
use tidemill_core::name::{CollectionName, PluginName, ProjectionName, RouteName, StreamName};
use tidemill_core::pipeline::{Build, Serving};
use tidemill_core::port::{Admin as _, Broker, Call, CallSettings, DeadLetterQuery, Outgoing};
use tidemill_core::projection::{self, Projection, ProjectionState, ProjectionStats, ProjectionStatus, Waited};
use tidemill_core::read_model::{Collection, DocumentError, FieldPath, Index, ReadModelStore};
use tidemill_core::retry::RetryPolicy;
use tidemill_core::schema::Schemas;
use tidemill_core::subject::{Subject, SubjectPattern};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::faulty::Faulty;
use crate::memory_store::MemoryStore;
use crate::rig::{build, event, policy, stream};

/// Longer than anything here takes on the paused clock, so what has not happened then never will.
pub(crate) const FOREVER: Duration = Duration::from_secs(3600);

/// What a projection is made of, and what it stands on. Change what a case is about, then `start` it.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) broker: Arc<Faulty>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) host: &'static str,
    pub(crate) batch: usize,
    pub(crate) retry: RetryPolicy,
    pub(crate) on_failure: OnFailure,
    pub(crate) rebuild: RebuildWhen,
    pub(crate) retain: Duration,
    pub(crate) filter: Option<Filter>,
    pub(crate) subjects: &'static str,
    /// Indexed fields of the collection.
    pub(crate) indexes: &'static [&'static str],
    /// Reads `SIDE` beside `IN`.
    pub(crate) two_streams: bool,
}

pub(crate) struct Rig {
    pub(crate) broker: Arc<Faulty>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) projection: Arc<Projection>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

// === impl Setup ===

impl Default for Setup {
    fn default() -> Self {
        Self {
            broker: Faulty::new(),
            store: MemoryStore::new(),
            host: "test-host",
            batch: 10,
            retry: policy(3, FOREVER),
            on_failure: OnFailure::DeadLetter,
            rebuild: RebuildWhen::Manual,
            retain: Duration::from_secs(24 * 3600),
            filter: None,
            subjects: "in.>",
            indexes: &[],
            two_streams: false,
        }
    }
}

impl Setup {
    pub(crate) async fn start(&self, build: Arc<Generation>) -> Rig {
        self.start_on(build, Handle::current()).await
    }

    pub(crate) async fn start_on(&self, build: Arc<Generation>, guests: Handle) -> Rig {
        self.broker.inner.provision(&[stream("IN", "in.>"), stream("SIDE", "side.>")]).await.unwrap();
        let projection = self.projection(build);
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn({
            let projection = Arc::clone(&projection);
            async move { projection::run(projection, &guests, stopped).await }
        });
        Rig { broker: Arc::clone(&self.broker), store: Arc::clone(&self.store), projection, stop, running }
    }

    pub(crate) fn projection(&self, build: Arc<Generation>) -> Arc<Projection> {
        let config = self.config();
        let settings = CallSettings {
            route: RouteName::try_new(config.name.as_str()).unwrap(),
            plugin: config.plugin.clone(),
            max_attempts: config.retry.max_attempts(),
            timeout: config.timeout,
            grant: Grant { emits: Vec::new() },
            limits: Limits::default(),
        };
        Projection::new(
            config,
            Arc::new(settings),
            serving(Build::Trusted(build)),
            Arc::clone(&self.broker) as Arc<dyn Broker>,
            Arc::clone(&self.store) as Arc<dyn ReadModelStore>,
            self.host.to_owned(),
            tidemill_core::hops::DEFAULT_MAX,
            WallClock::System,
            Arc::new(ProjectionStats::new()),
        )
    }

    fn config(&self) -> ProjectionConfig {
        let source = |name: &str, subjects: &str| ProjectionSource {
            stream: StreamName::try_new(name).unwrap(),
            subjects: vec![SubjectPattern::try_new(subjects).unwrap()],
            envelope: Envelope::CloudEvents,
        };
        let mut sources = vec![source("IN", self.subjects)];
        sources.extend(self.two_streams.then(|| source("SIDE", "side.>")));
        let index = |field: &&str| Index { fields: vec![FieldPath::try_new(field).unwrap()] };
        let collection = |name: &str, indexes| Collection::new(CollectionName::try_new(name).unwrap(), indexes);
        ProjectionConfig {
            name: ProjectionName::try_new("view").unwrap(),
            sources,
            filter: self.filter.clone(),
            plugin: PluginName::try_new("plugin").unwrap(),
            collections: Arc::from([
                collection("seen", self.indexes.iter().map(index).collect()),
                collection("other", Vec::new()),
            ]),
            batch: self.batch,
            timeout: Duration::from_secs(60),
            retry: self.retry.clone(),
            on_failure: self.on_failure,
            dead_letter: Subject::try_new("dlq.view").unwrap(),
            rebuild: self.rebuild,
            retain: self.retain,
        }
    }
}

pub(crate) fn serving(build: Build) -> Serving {
    Serving { build, schemas: Arc::new(Schemas::default()), on_missing: OnMissing::Allow, state: None }
}

// === impl Rig ===

impl Rig {
    /// Publishes events with these ids to the stream `IN`.
    pub(crate) async fn publish(&self, ids: impl IntoIterator<Item = impl ToString>) {
        self.publish_to("in.a", ids).await;
    }

    pub(crate) async fn publish_to(&self, subject: &str, ids: impl IntoIterator<Item = impl ToString>) {
        self.publish_messages(ids.into_iter().map(|id| message(subject, &id.to_string())).collect()).await;
    }

    pub(crate) async fn publish_messages(&self, messages: Vec<Message>) {
        let outgoing = messages.into_iter().map(|message| Outgoing { id: fastrand::u64(..).to_string(), message });
        for result in self.broker.publish(outgoing.collect()).await {
            result.unwrap();
        }
    }

    /// Waits until the active copy has folded everything that the streams hold.
    pub(crate) async fn folded(&self) {
        for source in &self.projection.config.sources {
            let last = self.broker.bounds(&source.stream).await.unwrap().last;
            let waited = self.projection.wait_for(&source.stream, last, Instant::now() + FOREVER);
            let waited = if last == 0 { Waited::Fresh } else { waited.await };
            assert_eq!(waited, Waited::Fresh, "{:?} {:#?}", self.projection.state(), self.store.copies());
        }
    }

    /// Waits for a state, whatever it holds.
    pub(crate) async fn becomes(&self, wanted: impl Fn(&ProjectionState) -> bool) -> ProjectionState {
        let deadline = Instant::now() + FOREVER;
        loop {
            let state = self.projection.state();
            if wanted(&state) {
                return state;
            }
            assert!(Instant::now() < deadline, "it stays {state:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + FOREVER;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "never: {what}; {:#?}", self.store.copies());
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Watches that nobody who asks sees the read model go back, until it is dropped or awaited.
    pub(crate) fn watch(&self) -> JoinHandle<()> {
        let projection = Arc::clone(&self.projection);
        tokio::spawn(async move {
            let mut before = projection.view().map(|view| view.positions).unwrap_or_default();
            while projection.state() != ProjectionState::Stopped {
                let now = projection.view().map(|view| view.positions).unwrap_or_default();
                for (stream, position) in &before {
                    assert!(now.get(stream) >= Some(position), "{stream} went back from {position}: {now:?}");
                }
                before = now;
                sleep(Duration::from_millis(1)).await;
            }
        })
    }

    pub(crate) async fn status(&self) -> ProjectionStatus {
        self.projection.status().await.unwrap()
    }

    /// The ids that the active copy's document of a stream holds, in order.
    pub(crate) fn seen(&self, stream: &str) -> Vec<String> {
        seen(&self.store, self.store.active().id.number, stream)
    }

    pub(crate) async fn dead_letters(&self) -> Vec<DeadLetter> {
        let query = DeadLetterQuery { route: None, after: 0, limit: 1000 };
        let stored = self.broker.dead_letters(query).await.unwrap();
        stored.iter().map(|stored| DeadLetter::decode(&stored.message).unwrap()).collect()
    }

    pub(crate) fn serve(&self, build: Build) {
        self.projection.serving.store(Arc::new(serving(build)));
    }

    /// Drops the runner, as a crash does.
    pub(crate) async fn crash(self) {
        self.running.abort();
        assert!(self.running.await.is_err_and(|error| error.is_cancelled()));
    }

    pub(crate) async fn stop(self) {
        self.stop.send(true).unwrap();
        tokio::time::timeout(FOREVER, self.running).await.expect("it ends").unwrap();
    }
}

// --- guests and events ------------------------------------------------------------------------------------------------

/// A build that notes each event's id in the document of its stream.
pub(crate) fn noting(digest: &'static str) -> Arc<Generation> {
    noting_unless(digest, |_, _| None)
}

/// The same, unless `fails` has a failure for the event's id and the attempt. It fails after it has written.
pub(crate) fn noting_unless<F>(digest: &'static str, fails: F) -> Arc<Generation>
where
    F: Fn(&str, u32) -> Option<FailureKind> + Send + Sync + Clone + 'static,
{
    build(digest, false, move |call| {
        let fails = fails.clone();
        async move {
            let failure = fails(&call.event.id, call.attempt);
            let effects = note(call).await?;
            match failure {
                Some(kind) => Err(Failure::new(kind, "on purpose")),
                None => Ok(effects),
            }
        }
        .boxed()
    })
}

/// Adds the event's id to what was seen of its stream.
pub(crate) async fn note(call: Call<'_>) -> Result<Effects, Failure> {
    let key = call.origin.stream.as_str();
    note_in(call, key).await
}

/// Adds the event's id to a document.
pub(crate) async fn note_in(call: Call<'_>, key: &str) -> Result<Effects, Failure> {
    let Call { event, route, documents, .. } = call;
    let mut documents = documents.expect("a projection");
    let mut document = match documents.get("seen", key).await.map_err(failed)? {
        Some(body) => serde_json::from_slice(&body).unwrap(),
        None => json!({ "ids": [] }),
    };
    document["ids"].as_array_mut().unwrap().push(Value::from(event.id.clone()));
    documents.put("seen", key, Bytes::from(document.to_string()), &route.limits).map_err(failed)?;
    Ok(Effects { documents: documents.finish(), ..Effects::default() })
}

pub(crate) fn failed(error: DocumentError) -> Failure {
    let kind = if error.is_unavailable() { FailureKind::Unavailable } else { FailureKind::EffectRefused };
    Failure::new(kind, error.to_string())
}

pub(crate) fn seen(store: &MemoryStore, copy: u64, stream: &str) -> Vec<String> {
    let Some(text) = store.document(copy, "seen", stream) else { return Vec::new() };
    let document: Value = serde_json::from_str(&text).unwrap();
    let ids = document["ids"].as_array().unwrap();
    ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

pub(crate) fn message(subject: &str, id: &str) -> Message {
    encode_event(&event(id), Subject::try_new(subject).unwrap()).message
}

pub(crate) fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}
