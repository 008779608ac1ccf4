//! One running route with a closure as its guest, and ways to look at what became of its events.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tidemill_core::clock::WallClock;
use tidemill_core::config::{OnMissing, RouteConfig, Start, StreamConfig};
use tidemill_core::dead_letter::DeadLetter;
use tidemill_core::effect::{Effects, Emit};
use tidemill_core::envelope::{Envelope, encode_event};
use tidemill_core::event::Event;
use tidemill_core::failure::{Failure, FailureKind};
use tidemill_core::filter::Filter;
use tidemill_core::generation::Generation;
use tidemill_core::grant::Grant;
use tidemill_core::limits::Limits;
use tidemill_core::message::Message;
use tidemill_core::name::{PluginName, RouteName, StreamName};
use tidemill_core::pipeline::{self, Build, Route, Serving};
use tidemill_core::port::{
    Admin, Backlog, Broker, Call, CallSettings, DeadLetterQuery, Handler, Outgoing, Source as _,
};
use tidemill_core::retry::{Backoff, RetryPolicy};
use tidemill_core::schema::Schemas;
use tidemill_core::state::StateSpace;
use tidemill_core::stats::{RouteStats, RouteSummary};
use tidemill_core::subject::{Subject, SubjectPattern};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::faulty::{Faulty, FaultySource, SourceTraits};

/// Longer than anything here takes on the paused clock, so what has not happened then never will.
const FOREVER: Duration = Duration::from_secs(2 * 3600);

/// What a route is made of. Change what a case is about, then `start` it.
pub(crate) struct Setup {
    pub(crate) name: &'static str,
    pub(crate) broker: Arc<Faulty>,
    pub(crate) max_in_flight: usize,
    pub(crate) instances: usize,
    pub(crate) retry: RetryPolicy,
    pub(crate) source: SourceTraits,
    pub(crate) filter: Option<Filter>,
    pub(crate) schemas: Schemas,
    pub(crate) on_missing: OnMissing,
    pub(crate) uses_state: bool,
}

pub(crate) struct Rig {
    pub(crate) broker: Arc<Faulty>,
    pub(crate) source: Arc<FaultySource>,
    pub(crate) route: Arc<Route>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
    _committer: watch::Sender<bool>,
}

/// A closure as a handler.
struct Closure<F> {
    digest: &'static str,
    run: F,
    uses_state: bool,
}

/// A build that runs a closure.
pub(crate) fn build<F>(digest: &'static str, uses_state: bool, run: F) -> Arc<Generation>
where
    F: for<'a> Fn(Call<'a>) -> BoxFuture<'a, Result<Effects, Failure>> + Send + Sync + 'static,
{
    Generation::new(Arc::new(Closure { digest, run, uses_state }))
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            name: "route",
            broker: Faulty::new(),
            max_in_flight: 64,
            instances: 4,
            retry: policy(3, Duration::from_secs(3600)),
            source: SourceTraits::default(),
            filter: None,
            schemas: Schemas::default(),
            on_missing: OnMissing::Allow,
            uses_state: false,
        }
    }
}

impl Setup {
    /// Starts the route over a stream `IN` (`in.>`); emits go to `OUT` (`out.>`).
    pub(crate) async fn start<F>(self, run: F) -> Rig
    where
        F: for<'a> Fn(Call<'a>) -> BoxFuture<'a, Result<Effects, Failure>> + Send + Sync + 'static,
    {
        let config = self.config();
        self.broker.inner.provision(&[stream("IN", "in.>"), stream("OUT", "out.>")]).await.unwrap();
        let source = self.broker.source(&config, self.source).await;
        let (stop, stopped) = watch::channel(false);
        // As in the host, the committer outlives the route: what is in flight still has to be written.
        let (committer, until) = watch::channel(false);
        let state = self.uses_state.then(|| {
            let space = StateSpace::new(config.handler.clone(), Arc::clone(&self.broker) as Arc<dyn Admin>);
            tokio::spawn(Arc::clone(&space).run(Arc::clone(&self.broker) as _, until));
            space
        });
        let settings = CallSettings {
            route: config.name.clone(),
            plugin: config.handler.clone(),
            max_attempts: config.retry.max_attempts(),
            timeout: config.timeout,
            grant: Grant { emits: config.emits.clone() },
            limits: Limits::default(),
        };
        let route = Arc::new(Route {
            config,
            settings: Arc::new(settings),
            serving: ArcSwap::from_pointee(Serving {
                build: Build::Trusted(build("sha256:test", self.uses_state, run)),
                schemas: Arc::new(self.schemas),
                on_missing: self.on_missing,
                state,
            }),
            broker: Arc::clone(&self.broker) as Arc<dyn Broker>,
            source: Arc::clone(&source) as _,
            instances: self.instances,
            host: "test-host".to_owned(),
            clock: WallClock::System,
            stats: Arc::new(RouteStats::new()),
        });
        let running = {
            let route = Arc::clone(&route);
            tokio::spawn(async move { pipeline::run(route, &Handle::current(), stopped).await })
        };
        Rig { broker: self.broker, source, route, stop, running, _committer: committer }
    }

    pub(crate) fn config(&self) -> RouteConfig {
        RouteConfig {
            name: RouteName::try_new(self.name).unwrap(),
            stream: StreamName::try_new("IN").unwrap(),
            subjects: vec![SubjectPattern::try_new("in.>").unwrap()],
            start: Start::All,
            filter: self.filter.clone(),
            handler: PluginName::try_new("plugin").unwrap(),
            emits: vec![SubjectPattern::try_new(">").unwrap()],
            envelope: Envelope::CloudEvents,
            timeout: Duration::from_secs(60),
            max_in_flight: self.max_in_flight,
            retry: self.retry.clone(),
            dead_letter: Subject::try_new(&format!("dlq.{}", self.name)).unwrap(),
            max_hops: tidemill_core::hops::DEFAULT_MAX,
        }
    }
}

// === impl Rig ===

impl Rig {
    /// Publishes one event per text; the text is its id, and as JSON its data.
    pub(crate) async fn publish(&self, ids: &[&str]) {
        self.publish_messages(ids.iter().map(|id| event_message(id)).collect()).await;
    }

    pub(crate) async fn publish_many(&self, count: usize) {
        self.publish_messages((0..count).map(|n| event_message(&format!("e{n}"))).collect()).await;
    }

    pub(crate) async fn publish_messages(&self, messages: Vec<Message>) {
        let outgoing = messages.into_iter().map(|message| Outgoing { id: fastrand::u64(..).to_string(), message });
        for result in self.broker.publish(outgoing.collect()).await {
            result.unwrap();
        }
    }

    /// Waits until every event is settled and what runs has been counted.
    pub(crate) async fn settled(&self) {
        let deadline = Instant::now() + FOREVER;
        while !(self.backlog().await.is_empty() && self.everything_is_counted()) {
            assert!(Instant::now() < deadline, "never settled: {:?}, {:?}", self.backlog().await, self.summary());
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn everything_is_counted(&self) -> bool {
        let RouteSummary { received, done, skipped, dead_lettered, .. } = self.summary();
        received == done + skipped + dead_lettered
    }

    pub(crate) async fn backlog(&self) -> Backlog {
        self.broker.backlog(&self.route.config).await.unwrap()
    }

    pub(crate) fn summary(&self) -> RouteSummary {
        self.route.stats.summary()
    }

    pub(crate) async fn dead_letters(&self) -> Vec<DeadLetter> {
        let query = DeadLetterQuery { route: Some(self.route.config.name.clone()), after: 0, limit: 1000 };
        let stored = self.broker.dead_letters(query).await.unwrap();
        stored.iter().map(|stored| DeadLetter::decode(&stored.message).unwrap()).collect()
    }

    /// The only dead letter.
    pub(crate) async fn dead_letter(&self) -> DeadLetter {
        let mut letters = self.dead_letters().await;
        assert_eq!(letters.len(), 1, "{letters:#?}");
        letters.remove(0)
    }

    /// The broker's number of the only dead letter.
    pub(crate) async fn dead_letter_id(&self) -> u64 {
        let query = DeadLetterQuery { route: None, after: 0, limit: 2 };
        let stored = self.broker.dead_letters(query).await.unwrap();
        assert_eq!(stored.len(), 1);
        stored[0].id
    }

    /// Every message of the stream `OUT`, in order.
    pub(crate) async fn emitted(&self) -> Vec<Message> {
        let mut config = self.route.config.clone();
        config.name = RouteName::try_new(&format!("reader-{}", fastrand::u32(..))).unwrap();
        config.stream = StreamName::try_new("OUT").unwrap();
        config.subjects = vec![SubjectPattern::try_new("out.>").unwrap()];
        let source = self.broker.source(&config, SourceTraits::default()).await;
        let mut found = Vec::new();
        loop {
            let more = source.pull(1000).await.unwrap();
            if more.is_empty() {
                return found;
            }
            found.extend(more.into_iter().map(|delivery| delivery.message));
        }
    }

    /// The data of every emitted message, in order.
    pub(crate) async fn emitted_data(&self) -> Vec<String> {
        self.emitted().await.into_iter().map(|message| text(&message.payload)).collect()
    }

    /// A key of the plugin's state, as a number; 0 if it is not there.
    pub(crate) async fn number(&self, key: &str) -> u64 {
        let entry = self.broker.inner.state_get(&self.route.config.handler, key).await.unwrap();
        entry.value.map_or(0, |value| text(&value).parse().unwrap())
    }

    /// What serves the next event.
    pub(crate) fn serve(&self, build: Build) {
        let now = self.route.serving.load();
        self.route.serving.store(Arc::new(Serving {
            build,
            schemas: Arc::clone(&now.schemas),
            on_missing: now.on_missing,
            state: now.state.clone(),
        }));
    }

    /// The build that serves now.
    pub(crate) fn current(&self) -> Arc<Generation> {
        Arc::clone(self.route.serving.load().build.current())
    }

    pub(crate) fn tell_to_stop(&self) {
        self.stop.send(true).unwrap();
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.running.is_finished()
    }

    /// Drops the route's future, as an impatient host does.
    pub(crate) async fn abandon(&mut self) {
        self.running.abort();
        assert!((&mut self.running).await.unwrap_err().is_cancelled());
    }

    /// Stops the route and waits for its end.
    pub(crate) async fn stop(&mut self) {
        self.tell_to_stop();
        tokio::time::timeout(FOREVER, &mut self.running).await.expect("the route ends").unwrap();
    }
}

// === impl Closure ===

#[async_trait]
impl<F> Handler for Closure<F>
where
    F: for<'a> Fn(Call<'a>) -> BoxFuture<'a, Result<Effects, Failure>> + Send + Sync,
{
    async fn handle(&self, call: Call<'_>) -> Result<Effects, Failure> {
        (self.run)(call).await
    }

    fn digest(&self) -> String {
        self.digest.to_owned()
    }

    fn uses_state(&self) -> bool {
        self.uses_state
    }
}

// --- short words for cases ----------------------------------------------------------------------------------------------

/// What a handler saw, call by call: the event's id and the attempt.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<(String, u32)>>>);

impl Seen {
    pub(crate) fn note(&self, call: &Call<'_>) {
        self.0.lock().unwrap().push((call.event.id.clone(), call.attempt));
    }

    pub(crate) fn attempts(&self) -> Vec<u32> {
        self.0.lock().unwrap().iter().map(|(_, attempt)| *attempt).collect()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(id, _)| id.clone()).collect()
    }
}

/// Attempts with delays of a second, doubling, without jitter.
pub(crate) fn policy(max_attempts: u32, max_age: Duration) -> RetryPolicy {
    let backoff = Backoff::try_new(Duration::from_secs(1), 2.0, Duration::from_secs(60), 0.0).unwrap();
    RetryPolicy::try_new(max_attempts, max_age, backoff).unwrap()
}

pub(crate) fn stream(name: &str, subjects: &str) -> StreamConfig {
    StreamConfig {
        name: StreamName::try_new(name).unwrap(),
        subjects: vec![SubjectPattern::try_new(subjects).unwrap()],
        envelope: Envelope::CloudEvents,
        max_age: None,
        max_bytes: None,
        duplicate_window: Duration::from_secs(120),
        replicas: 1,
    }
}

pub(crate) fn event(id: &str) -> Event {
    Event {
        id: id.to_owned(),
        source: "/test".to_owned(),
        kind: "Tested".to_owned(),
        time: None,
        subject: None,
        datacontenttype: Some("application/json".to_owned()),
        dataschema: None,
        version: None,
        extensions: Vec::new(),
        data: Bytes::from(format!("\"{id}\"")),
    }
}

pub(crate) fn event_message(id: &str) -> Message {
    encode_event(&event(id), Subject::try_new("in.a").unwrap()).message
}

pub(crate) fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn nothing() -> Result<Effects, Failure> {
    Ok(Effects::default())
}

/// An event to `to` whose data is the JSON text of `data`.
pub(crate) fn emit(to: &str, data: &str) -> Emit {
    Emit {
        to: Subject::try_new(to).unwrap(),
        kind: "Emitted".to_owned(),
        subject: None,
        datacontenttype: None,
        dataschema: None,
        extensions: Vec::new(),
        data: Bytes::from(format!("\"{data}\"")),
    }
}

pub(crate) fn emits(emits: Vec<Emit>) -> Result<Effects, Failure> {
    Ok(Effects { emits, ..Effects::default() })
}

pub(crate) fn failed(kind: FailureKind) -> Result<Effects, Failure> {
    Err(Failure::new(kind, "on purpose"))
}

pub(crate) fn retry() -> Result<Effects, Failure> {
    failed(FailureKind::RetryRequested { after: None })
}

/// Adds one to the key `n` and emits the new value.
pub(crate) async fn count_up(call: Call<'_>) -> Result<Effects, Failure> {
    let mut session = call.state.expect("a route with state");
    let before = session.get("n").await.map_err(|error| Failure::new(FailureKind::Unavailable, error.to_string()))?;
    let next = before.map_or(0, |value| text(&value).parse::<u64>().unwrap()) + 1;
    tokio::task::yield_now().await;
    session.put("n", Bytes::from(next.to_string()), &call.route.limits).unwrap();
    Ok(Effects { emits: vec![emit("out.n", &next.to_string())], state: session.finish(), ..Effects::default() })
}
