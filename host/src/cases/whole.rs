//! A case of the whole: the events go into streams, and routes and projections do what they do in a host until nothing is left
//! to do.
//!
//! The broker and the read models are in memory, and tokio's clock is paused: whoever waits for an hour has waited at once, and
//! retries with their backoff cost nothing. The wall clock goes with it, so that what is written down is an hour older, too.
//!
//! A guest takes real time. While one is called, the one thread of this runtime stands still and with it the paused clock, which
//! goes on only when that thread has nothing else to do; so no timer of the host can run out because a guest computes. The
//! guest's own limits are real time and are watched on the engine's threads. It also means that calls are made one after the
//! other, in the same order each time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tidemill_core::clock::WallClock;
use tidemill_core::config::cases::{CameOut, Case};
use tidemill_core::config::{PluginConfig, ProjectionConfig, RouteConfig, Start, StreamConfig};
use tidemill_core::dead_letter::DeadLetter;
use tidemill_core::effect::Effects;
use tidemill_core::envelope::{self, Envelope};
use tidemill_core::failure::Failure;
use tidemill_core::generation::Generation;
use tidemill_core::name::PluginName;
use tidemill_core::pipeline::{self, Build, Route, Serving};
use tidemill_core::port::{
    Admin, Broker, Call, DeadLetterQuery, Handler, Origin, Outgoing, ReadFrom, Recorded, StoredDeadLetter,
};
use tidemill_core::projection::{self, Projection, ProjectionStats};
use tidemill_core::read_model::{MemoryStore, ReadModelStore};
use tidemill_core::state::StateSpace;
use tidemill_core::stats::RouteStats;
use tidemill_embedded::EmbeddedBroker;
use tidemill_engine::{Answers, Performance, Plugin, Request, Requests, Scene, Stage};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::answers::{CaseAnswers, asked};
use super::single::{given_documents, set};
use super::{TestFile, Workshop, incoming};
use crate::rehearse::{self, emit_as_json, to_json};
use crate::summary::Summary;
use crate::{app, supervisor};

/// A case that is busy for so long, in real time, does not come to rest.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether there is anything left to do, in paused time; longer and longer, up to the last.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LAST_LOOK: Duration = Duration::from_secs(1);

/// Messages and dead letters read at once.
const PAGE: usize = 1000;

/// What makes the jitter of retries: the same each time.
const SEED: u64 = 1;

/// Names the host in dead letters.
const HOST: &str = "test";

pub(super) fn run(workshop: &Workshop, file: &TestFile, case: &Case, only: Option<&[String]>) -> Result<CameOut> {
    let incoming = incoming(file, case, None)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.context("starting the runtime of a case")?;
    // The jitter of retries is drawn from this thread's numbers.
    fastrand::seed(SEED);
    runtime.block_on(async {
        let house = House::open(workshop, case, only).await?;
        let published = house.publish(incoming).await?;
        house.rest().await?;
        let routes = house.counts();
        let house = house.close().await;
        house.came_out(case, &published, routes).await
    })
}

/// A host of its own for one case.
struct House<'w> {
    workshop: &'w Workshop,
    broker: Arc<EmbeddedBroker>,
    store: Arc<MemoryStore>,
    clock: WallClock,
    answers: Arc<CaseAnswers>,
    /// What was asked of others, by all plugins.
    requests: Arc<Mutex<Vec<Request>>>,
    generations: BTreeMap<PluginName, Arc<Generation>>,
    spaces: BTreeMap<PluginName, Arc<StateSpace>>,
    routes: Vec<Arc<Route>>,
    projections: Vec<Arc<Projection>>,
    tasks: Vec<JoinHandle<()>>,
    committers: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    stop_committers: watch::Sender<bool>,
}

// === impl House ===

impl<'w> House<'w> {
    async fn open(workshop: &'w Workshop, case: &Case, only: Option<&[String]>) -> Result<Self> {
        let clock = WallClock::beginning(case.now);
        let broker = EmbeddedBroker::in_memory_by(clock);
        // Nothing is dropped for its age or size: at the end all of it is read.
        let kept = |stream: &StreamConfig| StreamConfig { max_age: None, max_bytes: None, ..stream.clone() };
        broker.provision(&workshop.config.streams.iter().map(kept).collect::<Vec<_>>()).await?;
        let mut house = Self {
            workshop,
            broker,
            store: MemoryStore::new(clock),
            clock,
            answers: Arc::new(CaseAnswers::new(&case.http)),
            requests: Arc::default(),
            generations: BTreeMap::new(),
            spaces: BTreeMap::new(),
            routes: Vec::new(),
            projections: Vec::new(),
            tasks: Vec::new(),
            committers: Vec::new(),
            stop: watch::Sender::new(false),
            stop_committers: watch::Sender::new(false),
        };
        let wanted = |name: &str| only.is_none_or(|only| only.iter().any(|it| it == name));
        for route in workshop.config.routes.iter().filter(|route| wanted(route.name.as_str())) {
            house.start_route(case, route).await?;
        }
        for projection in workshop.config.projections.iter().filter(|it| wanted(it.name.as_str())) {
            house.start_projection(case, projection).await?;
        }
        Ok(house)
    }

    /// What serves a plugin; its given state is put there when it is first needed.
    async fn serving(&mut self, case: &Case, name: &PluginName) -> Result<(Serving, PluginConfig)> {
        let settings = self.workshop.settings(name, case);
        let plugin = self.workshop.plugin(name, &settings)?;
        if plugin.uses_state() && !self.spaces.contains_key(name) {
            let given = case.plugins.get(name).map(|given| given.state.as_slice()).unwrap_or_default();
            let values = given.iter().map(|(key, value)| Ok((key.clone(), rehearse::of_json(value)?)));
            rehearse::put_state(&self.broker, name, values.collect::<Result<_>>()?).await?;
            let space = StateSpace::new(name.clone(), Arc::clone(&self.broker) as Arc<dyn Admin>);
            let broker = Arc::clone(&self.broker) as Arc<dyn Broker>;
            self.committers.push(tokio::spawn(Arc::clone(&space).run(broker, self.stop_committers.subscribe())));
            self.spaces.insert(name.clone(), space);
        }
        let generation = match self.generations.get(name) {
            Some(generation) => Arc::clone(generation),
            None => Generation::new(Arc::new(Player::of(plugin, self))),
        };
        self.generations.insert(name.clone(), Arc::clone(&generation));
        let serving = Serving {
            build: Build::Trusted(generation),
            schemas: Arc::clone(&self.workshop.schemas),
            on_missing: self.workshop.config.schemas.on_missing,
            state: self.spaces.get(name).cloned(),
        };
        Ok((serving, settings))
    }

    async fn start_route(&mut self, case: &Case, config: &RouteConfig) -> Result<()> {
        let (serving, settings) = self.serving(case, &config.handler).await?;
        // Nothing was there before the route.
        let config = RouteConfig { start: Start::All, ..config.clone() };
        let source = self.broker.open(&config).await?;
        let route = Arc::new(Route {
            settings: Arc::new(supervisor::route_settings(&config, &settings)),
            serving: ArcSwap::from_pointee(serving),
            broker: Arc::clone(&self.broker) as Arc<dyn Broker>,
            source,
            instances: 1,
            host: HOST.to_owned(),
            clock: self.clock,
            stats: Arc::new(RouteStats::new()),
            config,
        });
        let (running, stopped) = (Arc::clone(&route), self.stop.subscribe());
        self.tasks.push(tokio::spawn(async move { pipeline::run(running, &Handle::current(), stopped).await }));
        self.routes.push(route);
        Ok(())
    }

    async fn start_projection(&mut self, case: &Case, config: &ProjectionConfig) -> Result<()> {
        let (serving, settings) = self.serving(case, &config.plugin).await?;
        let given = given_documents(case, &config.collections)?;
        if !given.is_empty() {
            let digest = serving.build.current().digest().to_string();
            rehearse::put_documents(&self.store, &config.name, &config.collections, given, digest).await?;
        }
        let projection = Projection::new(
            config.clone(),
            Arc::new(supervisor::projection_settings(config, &settings)),
            serving,
            Arc::clone(&self.broker) as Arc<dyn Broker>,
            Arc::clone(&self.store) as Arc<dyn ReadModelStore>,
            HOST.to_owned(),
            self.workshop.config.max_hops,
            self.clock,
            Arc::new(ProjectionStats::new()),
        );
        let (running, stopped) = (Arc::clone(&projection), self.stop.subscribe());
        self.tasks.push(tokio::spawn(async move { projection::run(running, &Handle::current(), stopped).await }));
        self.projections.push(projection);
        Ok(())
    }

    /// Answers where the events stand.
    async fn publish(&self, incoming: Vec<Outgoing>) -> Result<BTreeSet<Origin>> {
        let mut published = BTreeSet::new();
        for (number, outgoing) in incoming.into_iter().enumerate() {
            let subject = outgoing.message.subject.clone();
            for stored in self.broker.publish(vec![outgoing]).await {
                let stored = stored.with_context(|| format!("publishing event {} to `{subject}`", number + 1))?;
                // Whoever stored a duplicate first has told where.
                if !stored.duplicate {
                    published.insert(Origin { stream: stored.stream, sequence: stored.sequence });
                }
            }
        }
        Ok(published)
    }

    /// Waits until everything is settled and folded, also what routes emit to each other.
    async fn rest(&self) -> Result<()> {
        let begun = Instant::now();
        let (mut before, mut look) = (None, FIRST_LOOK);
        loop {
            tokio::time::sleep(look).await;
            let now = self.summary();
            if before.as_ref() == Some(&now) && self.nothing_left().await? {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("after {PATIENCE:?} there is still something to do: {}", self.busy().await);
            }
            before = Some(now);
            look = (look * 2).min(LAST_LOOK);
        }
    }

    async fn nothing_left(&self) -> Result<bool> {
        for route in &self.routes {
            if !self.broker.backlog(&route.config).await?.is_empty() {
                return Ok(false);
            }
        }
        for projection in &self.projections {
            if !app::is_idle(&projection.status().await?) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Who is not at rest.
    async fn busy(&self) -> String {
        let mut busy = Vec::new();
        for route in &self.routes {
            if self.broker.backlog(&route.config).await.is_ok_and(|backlog| !backlog.is_empty()) {
                busy.push(format!("route `{}`", route.config.name));
            }
        }
        for projection in &self.projections {
            if projection.status().await.is_ok_and(|status| !app::is_idle(&status)) {
                busy.push(format!("projection `{}`", projection.config.name));
            }
        }
        busy.join(", ")
    }

    fn summary(&self) -> Summary {
        Summary::of(
            self.routes.iter().map(|route| (route.config.name.as_str(), route.stats.summary())),
            self.projections.iter().map(|one| (one.config.name.as_str(), one.stats.summary())),
        )
    }

    /// What everybody has counted, without the times, which are nobody's to expect.
    fn counts(&self) -> Value {
        let counted = |counts: Value| match counts {
            Value::Object(counts) => counts.into_iter().filter(|(name, _)| !name.ends_with("_us")).collect(),
            other => other,
        };
        let summary = self.summary();
        let routes = summary.routes.iter().map(|line| (line.route.clone(), counted(json!(line.counts))));
        let projections = summary.projections.iter().map(|it| (it.projection.clone(), counted(json!(it.counts))));
        routes.chain(projections).collect::<Map<_, _>>().into()
    }

    /// Ends everything in order.
    async fn close(mut self) -> Self {
        self.stop.send_replace(true);
        for task in self.tasks.drain(..) {
            // A task that panicked has left something undone, which was seen before.
            task.await.ok();
        }
        self.stop_committers.send_replace(true);
        for committer in self.committers.drain(..) {
            committer.await.ok();
        }
        self
    }

    // --- what came out ---

    async fn came_out(&self, case: &Case, published: &BTreeSet<Origin>, routes: Value) -> Result<CameOut> {
        let (state, changed_state) = self.state(case).await?;
        let (documents, changed_documents) = self.documents(case);
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter().map(asked).collect();
        Ok(CameOut {
            outcomes: None,
            emits: self.emits(published).await?,
            requests,
            state,
            documents,
            changed_state,
            changed_documents,
            log: Vec::new(),
            dead_letters: Some(self.dead_letters().await?),
            routes,
        })
    }

    /// Everything that plugins have emitted, in the order in which it was stored: what the streams hold and the case has not
    /// published. The header that counts hops says nothing here, because a payload of the case may have it, too.
    async fn emits(&self, published: &BTreeSet<Origin>) -> Result<Vec<Value>> {
        let mut found: Vec<(SystemTime, Origin, Recorded)> = Vec::new();
        for stream in &self.workshop.config.streams {
            let bounds = self.broker.bounds(&stream.name).await?;
            let from = ReadFrom { stream: stream.name.clone(), subjects: Vec::new(), after: bounds.first - 1 };
            let mut reader = self.broker.read(from).await?;
            loop {
                let stretch = reader.next(PAGE).await?;
                let is_last = stretch.through >= stretch.last;
                let stored = stretch.messages.into_iter().map(|recorded| {
                    let origin = Origin { stream: stream.name.clone(), sequence: recorded.sequence };
                    (recorded.stored, origin, recorded)
                });
                found.extend(stored.filter(|(_, origin, _)| !published.contains(origin)));
                if is_last {
                    break;
                }
            }
        }
        found.sort_by(|(stored, origin, _), (other, theirs, _)| (stored, origin).cmp(&(other, theirs)));
        found.into_iter().map(|(_, origin, recorded)| emitted(&origin, &recorded)).collect()
    }

    async fn dead_letters(&self) -> Result<Vec<Value>> {
        let (mut found, mut after): (Vec<StoredDeadLetter>, u64) = (Vec::new(), 0);
        loop {
            let page = self.broker.dead_letters(DeadLetterQuery { route: None, after, limit: PAGE }).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            found.extend(page);
        }
        found.iter().map(|stored| Ok(letter(&DeadLetter::decode(&stored.message)?))).collect()
    }

    /// By plugin, then by key; and the part that is not as it was given.
    async fn state(&self, case: &Case) -> Result<(Value, Option<Value>)> {
        let (mut state, mut changed) = (json!({}), json!({}));
        for name in self.spaces.keys() {
            let given = case.plugins.get(name).map(|given| given.state.as_slice()).unwrap_or_default();
            for key in self.broker.state_keys(name, "").await? {
                let Some(value) = self.broker.state_get(name, &key).await?.value else { continue };
                let value = to_json(&value);
                if !given.iter().any(|(known, before)| *known == key && *before == value) {
                    set(&mut changed, &[name.as_str(), &key], Some(value.clone()));
                }
                set(&mut state, &[name.as_str(), &key], Some(value));
            }
        }
        Ok((state, not_empty(changed)))
    }

    fn documents(&self, case: &Case) -> (Value, Option<Value>) {
        let (mut documents, mut changed) = (json!({}), json!({}));
        for projection in &self.projections {
            for (collection, key, body) in self.store.documents(&projection.config.name) {
                let (document, place) = (to_json(&body), [collection.as_str(), key.as_str()]);
                let given = case.documents.iter();
                let mut given = given.filter(|(of, at, _)| of == collection.as_str() && *at == key);
                if !given.any(|(.., before)| *before == document) {
                    set(&mut changed, &place, Some(document.clone()));
                }
                set(&mut documents, &place, Some(document));
            }
        }
        (documents, not_empty(changed))
    }
}

fn not_empty(value: Value) -> Option<Value> {
    value.as_object().is_some_and(|object| !object.is_empty()).then_some(value)
}

/// An emit as an expectation names it.
fn emitted(origin: &Origin, recorded: &Recorded) -> Result<Value> {
    // Emits are binary CloudEvents, whatever the stream's envelope.
    let event = envelope::decode(&Envelope::CloudEvents, &recorded.message, origin)
        .map_err(|error| anyhow!("reading the emit {origin}: {error}"))?;
    let mut emit = emit_as_json(&recorded.message.subject, &event);
    emit["route"] = event.source.strip_prefix("/tidemill/").unwrap_or(&event.source).into();
    Ok(emit)
}

fn letter(letter: &DeadLetter) -> Value {
    json!({
        "route": letter.route.as_str(),
        "reason": letter.reason,
        "error": letter.error,
        "attempts": letter.attempts,
        "exhausted_by": letter.exhausted_by.map(|by| by.as_str()),
        "event": letter.event_id,
        "stream": letter.origin.stream.as_str(),
    })
}

/// A plugin that is called on a stage.
struct Player {
    plugin: Arc<Plugin>,
    /// One instance for all routes of the plugin, as calls are made one after the other.
    stage: Mutex<Stage>,
    guests: Handle,
    clock: WallClock,
    answers: Arc<CaseAnswers>,
    requests: Arc<Mutex<Vec<Request>>>,
}

// === impl Player ===

impl Player {
    fn of(plugin: Arc<Plugin>, house: &House<'_>) -> Self {
        Self {
            stage: Mutex::new(Stage::new(Arc::clone(&plugin))),
            plugin,
            guests: house.workshop.engine.runtime().clone(),
            clock: house.clock,
            answers: Arc::clone(&house.answers),
            requests: Arc::clone(&house.requests),
        }
    }
}

#[async_trait]
impl Handler for Player {
    /// Blocks the thread of the case, on purpose: see above.
    async fn handle(&self, call: Call<'_>) -> Result<Effects, Failure> {
        let seed = rehearse::seed(&call.route.route, call.origin, call.attempt);
        let requests = Requests::Answered(Arc::clone(&self.answers) as Arc<dyn Answers>);
        let scene = Scene { now: self.clock.now(), seed, requests };
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let (stage, guests) = (&mut *stage, &self.guests);
        // A thread that no runtime knows, or this one's clock would be the guest's.
        let played = thread::scope(|scope| scope.spawn(|| guests.block_on(stage.call(&scene, call))).join());
        let Performance { outcome, requests, .. } = played.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).extend(requests);
        outcome
    }

    fn digest(&self) -> String {
        self.plugin.digest()
    }

    fn uses_state(&self) -> bool {
        self.plugin.uses_state()
    }
}
