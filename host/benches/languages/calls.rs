//! Calls of the engine, without a broker: on one thread, one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tidemill_core::config::{InstancePolicy, PluginConfig};
use tidemill_core::event::Event;
use tidemill_core::grant::Grant;
use tidemill_core::limits::Limits;
use tidemill_core::name::{PluginName, RouteName, StreamName};
use tidemill_core::port::{Admin, Call, CallSettings, Handler as _, Origin, Role};
use tidemill_core::state::StateSpace;
use tidemill_core::subject::SubjectPattern;
use tidemill_embedded::EmbeddedBroker;
use tidemill_engine::{Engine, EngineOptions, Plugin, Requests, Scene, Stage};

use super::{SMALL, Work};

const ROUNDS: usize = 5;
const STAGES: usize = 16;

/// Until the first event can be handled, and what an instance keeps.
pub(crate) struct Start {
    pub(crate) compile: Duration,
    /// The whole start of the plugin with its machine code in the cache.
    pub(crate) cached: Duration,
    /// A further instance.
    pub(crate) instantiate: Duration,
    /// What further instances add to the process' memory after a call each.
    pub(crate) memory: usize,
}

pub(crate) struct PerCall {
    pub(crate) reused: Duration,
    pub(crate) fresh: Duration,
}

pub(crate) fn start(component: &[u8]) -> Start {
    let cache = tempfile::tempdir().unwrap();
    let options = EngineOptions { cache_dir: Some(cache.path().to_owned()), ..EngineOptions::default() };
    let compile =
        load(&Engine::new(options.clone()).unwrap(), &SMALL, component, InstancePolicy::Reuse).describe().compile_time;
    let cached = median((0..ROUNDS).map(|_| {
        let engine = Engine::new(options.clone()).unwrap();
        let begun = Instant::now();
        let plugin = load(&engine, &SMALL, component, InstancePolicy::Reuse);
        let took = begun.elapsed();
        assert!(plugin.describe().cached);
        took
    }));
    let engine = Engine::new(options).unwrap();
    let plugin = Arc::new(load(&engine, &SMALL, component, InstancePolicy::Reuse));
    let bench = Bench::new(&SMALL);
    let playing = async move {
        let mut stages: Vec<Stage> = Vec::new();
        let mut before = 0;
        let mut started = Vec::new();
        for number in 0..=STAGES {
            let mut stage = Stage::new(Arc::clone(&plugin));
            let scene = Scene { now: SystemTime::now(), seed: 1, requests: Requests::Refused };
            let event = bench.event(number);
            let performance = stage.call(&scene, bench.call(&event, &bench.origin(number))).await;
            performance.outcome.unwrap();
            started.extend(performance.started);
            stages.push(stage);
            if number == 0 {
                // The first one also pays for what all of them share.
                before = resident();
            }
        }
        (median(started.into_iter()), resident().saturating_sub(before) / STAGES)
    };
    let (instantiate, memory) = wait(&engine, playing);
    Start { compile, cached, instantiate, memory }
}

/// Medians.
pub(crate) fn per_call(work: &Work, component: &[u8], calls: usize) -> PerCall {
    let [reused, fresh] =
        [(InstancePolicy::Reuse, calls), (InstancePolicy::Fresh, calls / 20)].map(|(policy, calls)| {
            let engine = Engine::new(EngineOptions::default()).unwrap();
            let plugin = load(&engine, work, component, policy);
            let bench = Bench::new(work);
            wait(&engine, async move {
                let events: Vec<Event> = (0..calls).map(|number| bench.event(number)).collect();
                let mut rounds = Vec::new();
                for round in 0..=ROUNDS {
                    let begun = Instant::now();
                    for (number, event) in events.iter().enumerate() {
                        let effects = plugin.handle(bench.call(event, &bench.origin(number))).await.unwrap();
                        assert_eq!(effects.emits.len(), bench.emits);
                    }
                    // The first round warms up.
                    if round > 0 {
                        rounds.push(begun.elapsed() / calls as u32);
                    }
                }
                median(rounds.into_iter())
            })
        });
    PerCall { reused, fresh }
}

/// A route and its events.
struct Bench {
    route: Arc<CallSettings>,
    space: Option<Arc<StateSpace>>,
    kind: &'static str,
    emits: usize,
    data: fn(usize) -> String,
}

impl Bench {
    fn new(work: &Work) -> Self {
        let plugin = PluginName::try_new(work.plugin).unwrap();
        let broker = work.uses_state.then(EmbeddedBroker::in_memory);
        let route = CallSettings {
            route: RouteName::try_new("bench").unwrap(),
            plugin: plugin.clone(),
            max_attempts: 5,
            timeout: Duration::from_secs(5),
            grant: Grant { emits: vec![SubjectPattern::try_new(">").unwrap()] },
            limits: Limits::default(),
        };
        let space = broker.map(|broker| StateSpace::new(plugin, broker as Arc<dyn Admin>));
        Self { route: Arc::new(route), space, kind: work.kind, emits: work.emits, data: work.data }
    }

    fn event(&self, number: usize) -> Event {
        Event {
            id: format!("0191d3a2-7c11-7c5e-b1a2-{number:012}"),
            source: "/bench".to_owned(),
            kind: self.kind.to_owned(),
            time: Some("2026-11-21T10:00:00Z".to_owned()),
            subject: None,
            datacontenttype: Some("application/json".to_owned()),
            dataschema: None,
            version: None,
            extensions: vec![("correlationid".to_owned(), "0191d3a2-7c11-7c5e-b1a2-6f0c1b6e52d4".to_owned())],
            data: Bytes::from((self.data)(number)),
        }
    }

    fn origin(&self, number: usize) -> Origin {
        Origin { stream: StreamName::try_new("ORDERS").unwrap(), sequence: number as u64 + 1 }
    }

    fn call<'c>(&'c self, event: &'c Event, origin: &'c Origin) -> Call<'c> {
        let state = self.space.as_ref().map(StateSpace::session);
        Call { event, route: &self.route, attempt: 1, origin, state, documents: None }
    }
}

fn load(engine: &Engine, work: &Work, component: &[u8], instance: InstancePolicy) -> Plugin {
    let settings = PluginConfig { instance, state: work.uses_state, ..PluginConfig::default() };
    engine.load(&PluginName::try_new(work.plugin).unwrap(), component, &settings, Role::Handler).unwrap()
}

/// On the engine's runtime, where calls belong.
fn wait<T: Send + 'static>(engine: &Engine, work: impl Future<Output = T> + Send + 'static) -> T {
    let working = engine.runtime().spawn(work);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(working).unwrap()
}

fn median<T: Ord + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort();
    values[values.len() / 2]
}

/// Memory of this process that is no file's.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0) * 1024
}
