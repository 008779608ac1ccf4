//! What a swap of the plugin costs the events: latency at a steady rate, without swaps and while one build replaces the
//! other as fast as the host takes them; and how long a dropped file waits until it serves.
//!
//! The latency of an event is the time from when it was stored to when what it emits was stored, both as the broker wrote
//! them down. Both streams are read when the run is over, so measuring costs the run nothing, and what was lost or doubled
//! is seen in the same reading.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tidemill::app::{self, App};
use tidemill::files;
use tidemill::plugins::Digest;
use tidemill_core::port::{Broker, Commit};
use tidemill_engine::{ChildCompiler, Compiler};
use tokio::sync::watch;

use super::server::{Server, root};
use super::tidemill_run::{IN_FLIGHT, done, host_runtime, order, write};

const SWAPS: usize = 100;

/// How long the closed loop takes that finds the rate.
const CLOSED_LOOP: Duration = Duration::from_secs(5);

/// Of what the closed loop reaches. The rest is for the compiler and for a noisy machine: above it queues grow, and their
/// length is what would be measured.
const SHARE: f64 = 0.6;

/// Between two drops of which each is to meet a host that does nothing.
const CALM_DOWN: Duration = Duration::from_millis(700);

/// How often the producer publishes what is due.
const PACE: Duration = Duration::from_millis(2);

/// The order's number is the end of its id.
const ID_PREFIX: &str = "evt-";

/// What happens to the plugin while events pass.
#[derive(Clone, Copy)]
enum Course {
    /// One build after the other replaces it, so many.
    Swaps(usize),
    /// Nothing, for so long.
    Calm(Duration),
}

/// What one run saw.
struct Seen {
    events: usize,
    /// How long it was watched.
    took: Duration,
    /// Sorted.
    latencies: Vec<Duration>,
    /// From the rename until the new build served, sorted; empty without swaps.
    drops: Vec<Duration>,
}

/// A host in this process, its folder and its broker.
struct Rig {
    home: tempfile::TempDir,
    server: Option<Server>,
    component: Vec<u8>,
}

/// Runs the brokers, `rounds` times with and without swaps in turns. A run without takes as long as the one with swaps before
/// it: what a broker does now and then, with the number of its events, must meet both.
pub(crate) fn report(rounds: usize, only: Option<&str>) {
    drop_to_live();
    let brokers = [("embedded", "embedded log", false), ("nats", "JetStream", true)];
    for (_, name, on_nats) in brokers.into_iter().filter(|(word, ..)| only.is_none_or(|only| only == *word)) {
        let most = closed_loop(&Rig::new(on_nats));
        let rate = most * SHARE;
        println!(
            "\n{name}: {most:.0} events/s with {IN_FLIGHT} in flight and the producer beside; {rate:.0} events/s from here on"
        );
        println!("{:24} {:>10} {:>10} {:>10} {:>10} {:>10}", "latency", "events", "p50", "p99", "p99.9", "max");
        let (mut calm, mut swapped) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let with = open_loop(&Rig::new(on_nats), rate, Course::Swaps(SWAPS));
            row("with swaps", std::slice::from_ref(&with));
            let without = open_loop(&Rig::new(on_nats), rate, Course::Calm(with.took));
            row("without", std::slice::from_ref(&without));
            swapped.push(with);
            calm.push(without);
        }
        row("median: without swaps", &calm);
        row(&format!("median: with {SWAPS} swaps"), &swapped);
        let waits = |quantile| median(swapped.iter().map(|seen| at(&seen.drops, quantile)).collect());
        println!("a dropped file serves after p50 {:.0?}, p99 {:.0?}", waits(0.5), waits(0.99));
    }
}

/// The medians of some runs.
fn row(name: &str, runs: &[Seen]) {
    print!("{name:24} {:>10}", runs.iter().map(|seen| seen.events).sum::<usize>());
    for quantile in [0.5, 0.99, 0.999, 1.0] {
        let middle = median(runs.iter().map(|seen| at(&seen.latencies, quantile)).collect());
        print!(" {:>7.1} ms", middle.as_secs_f64() * 1e3);
    }
    println!();
}

// --- the runs ----------------------------------------------------------------------------------------------------------

/// Events per second when the producer waits for its events to be settled.
fn closed_loop(rig: &Rig) -> f64 {
    host_runtime().block_on(async {
        let app = rig.start().await;
        let (stop, stopped) = watch::channel(false);
        let feeding = async {
            let begun = Instant::now();
            let mut published = 0;
            while begun.elapsed() < CLOSED_LOOP {
                let free = (done(&app).await + IN_FLIGHT).saturating_sub(published);
                if free < IN_FLIGHT / 4 {
                    tokio::time::sleep(Duration::from_micros(200)).await;
                    continue;
                }
                publish(app.broker(), published, free).await;
                published += free;
            }
            let rate = done(&app).await as f64 / begun.elapsed().as_secs_f64();
            stop.send_replace(true);
            rate
        };
        let (ran, rate) = tokio::join!(app.run(stopped), feeding);
        ran.unwrap();
        rate
    })
}

/// Events at a steady rate, whatever happens to the plugin.
fn open_loop(rig: &Rig, rate: f64, course: Course) -> Seen {
    let (events, took, drops) = host_runtime().block_on(async {
        let app = rig.start().await;
        let broker = rig.producer(&app).await;
        let (stop, stopped) = watch::channel(false);
        let working = async {
            let producer = Producer::start(broker, rate);
            // The first second is not like the others; it is as long in both kinds of run.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let begun = Instant::now();
            let drops = match course {
                Course::Swaps(builds) => rig.swap(&app, 1..=builds, Duration::ZERO).await,
                Course::Calm(time) => {
                    tokio::time::sleep(time).await;
                    Vec::new()
                }
            };
            let took = begun.elapsed();
            let events = tokio::task::spawn_blocking(move || producer.stop()).await.unwrap();
            while done(&app).await < events {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let counts = app.summary().routes.remove(0).counts;
            assert_eq!((counts.emitted, counts.dead_lettered, counts.retried), (events as u64, 0, 0));
            stop.send_replace(true);
            (events, took, drops)
        };
        let (ran, worked) = tokio::join!(app.run(stopped), working);
        ran.unwrap();
        worked
    });
    Seen { events, took, latencies: rig.latencies(events), drops: sorted(drops) }
}

/// Without events: how long a dropped file waits until it serves, compiled or in the cache.
fn drop_to_live() {
    let rig = Rig::new(false);
    host_runtime().block_on(async {
        let app = rig.start().await;
        let (stop, stopped) = watch::channel(false);
        let working = async {
            let compiled = rig.swap(&app, 1..=10, CALM_DOWN).await;
            let cached = rig.swap(&app, 1..=10, CALM_DOWN).await;
            stop.send_replace(true);
            (sorted(compiled), sorted(cached))
        };
        let (ran, (compiled, cached)) = tokio::join!(app.run(stopped), working);
        ran.unwrap();
        for (what, waits) in [("compiled", compiled), ("in the cache", cached)] {
            let (p50, max) = (at(&waits, 0.5), at(&waits, 1.0));
            println!("a dropped file serves, idle, {what:12}: p50 {p50:.0?}, max {max:.0?}");
        }
    });
}

// === impl Rig ===

impl Rig {
    fn new(on_nats: bool) -> Self {
        let home = tempfile::tempdir().unwrap();
        let server = on_nats.then(Server::start);
        let broker = server.as_ref().map(|server| format!("broker: {{ nats: {{ servers: [\"{}\"] }} }}\n", server.url));
        write(home.path(), broker.as_deref().unwrap_or_default(), IN_FLIGHT);
        let component = fs::read(root().join("plugins/fraud-check.wasm")).unwrap();
        Self { home, server, component }
    }

    fn config(&self) -> PathBuf {
        self.home.path().join("runtime.yaml")
    }

    /// Compiles as `tidemill run` does, in a child of that program.
    async fn start(&self) -> Arc<App> {
        let compiler = ChildCompiler::new(env!("CARGO_BIN_EXE_tidemill"), ["compile-component"]);
        App::build(&self.config(), Compiler::Child(compiler)).await.unwrap()
    }

    /// A connection of its own where there are connections.
    async fn producer(&self, app: &App) -> Arc<dyn Broker> {
        match self.server {
            Some(_) => app::connect(app.config()).await.unwrap(),
            None => Arc::clone(app.broker()),
        }
    }

    /// Renames one build after the other into the plugins folder, each so long after the one before it serves.
    async fn swap(&self, app: &App, builds: impl IntoIterator<Item = usize>, pause: Duration) -> Vec<Duration> {
        let file = self.home.path().join("plugins/fraud-check.wasm");
        let mut waits = Vec::new();
        for build in builds {
            let component = variant(&self.component, build);
            let digest = Digest::of(&component);
            let beside = self.home.path().join("next.wasm");
            fs::write(&beside, component).unwrap();
            tokio::time::sleep(pause).await;
            let dropped = Instant::now();
            fs::rename(&beside, &file).unwrap();
            while serving(app).await != digest {
                assert!(dropped.elapsed() < Duration::from_secs(60), "build {build} does not come into service");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            waits.push(dropped.elapsed());
        }
        waits
    }

    /// Reads both streams. Fails if an order has no emit, or more than one.
    fn latencies(&self, events: usize) -> Vec<Duration> {
        let ids = |broker: Arc<dyn Broker>, stream: &'static str, header: &'static str| async move {
            let mut stored = vec![None; events];
            for (id, at) in read(&*broker, self.home.path(), stream, header, events).await {
                let number: usize = id.strip_prefix(ID_PREFIX).unwrap().parse().unwrap();
                assert!(stored[number].replace(at).is_none(), "{stream}: {id} is there twice");
            }
            stored.into_iter().map(|at| at.expect("an event is lost")).collect::<Vec<SystemTime>>()
        };
        host_runtime().block_on(async {
            let config = files::load_config(&self.config()).unwrap().config;
            let broker = app::connect(&config).await.unwrap();
            let begun = ids(Arc::clone(&broker), "ORDERS", "ce-id").await;
            let ended = ids(Arc::clone(&broker), "FRAUD", "ce-causationid").await;
            broker.close().await.unwrap();
            sorted(
                begun
                    .iter()
                    .zip(&ended)
                    .map(|(begun, ended)| ended.duration_since(*begun).unwrap_or_default())
                    .collect(),
            )
        })
    }
}

/// The digest that serves.
async fn serving(app: &App) -> Digest {
    app.reloader().supervisor.running().await.plugins.values().next().unwrap().digest().clone()
}

/// The component with a custom section at its end, so that it is another file that does the same.
fn variant(component: &[u8], number: usize) -> Vec<u8> {
    let content = format!("\u{5}build{number:08}");
    let mut variant = component.to_vec();
    variant.extend([0, u8::try_from(content.len()).unwrap()]);
    variant.extend(content.as_bytes());
    variant
}

/// All messages of a stream: the header that names the order, and when the message was stored.
async fn read(
    broker: &dyn Broker,
    home: &Path,
    stream: &str,
    header: &str,
    events: usize,
) -> Vec<(String, SystemTime)> {
    let text = format!(
        "version: 1\nschemas: {{ dir: ./schemas }}\nstreams:\n  - {{ name: ORDERS, subjects: [\"orders.>\"] }}\n  - {{ name: FRAUD, subjects: [\"fraud.>\"] }}\n\
         routes:\n  - {{ name: reads-{}, source: {{ stream: {stream}, start: all }}, handler: fraud-check, max_in_flight: 1000 }}\n",
        stream.to_lowercase()
    );
    let path = home.join("read.yaml");
    fs::write(&path, text).unwrap();
    let config = files::load_config(&path).unwrap().config;
    let source = broker.open(&config.routes[0]).await.unwrap();
    let mut messages = Vec::with_capacity(events);
    let mut empty = 0;
    // What is there twice must be seen, so the end is where nothing comes any more.
    while empty < 2 {
        let deliveries = source.pull(256).await.unwrap();
        empty = if deliveries.is_empty() { empty + 1 } else { 0 };
        let settled = deliveries.into_iter().map(|delivery| {
            let id = delivery.message.headers.get(header).unwrap().to_owned();
            messages.push((id, delivery.stored));
            let route = config.routes[0].name.clone();
            Commit { route, origin: delivery.origin, receipt: delivery.receipt, emits: Arc::from([]) }
        });
        for result in broker.commit(settled.collect()).await {
            result.unwrap();
        }
    }
    messages
}

// --- the producer ------------------------------------------------------------------------------------------------------

/// Publishes at a steady rate on a thread of its own, whatever becomes of the events.
struct Producer {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
    published: Arc<AtomicUsize>,
}

impl Producer {
    fn start(broker: Arc<dyn Broker>, rate: f64) -> Self {
        let (stop, published) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&published));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let begun = Instant::now();
                while !stopped.load(Ordering::Relaxed) {
                    let first = counted.load(Ordering::Relaxed);
                    let due = (begun.elapsed().as_secs_f64() * rate) as usize;
                    publish(&broker, first, due - first).await;
                    counted.store(due, Ordering::Relaxed);
                    tokio::time::sleep(PACE).await;
                }
            });
        });
        Self { stop, thread, published }
    }

    /// Ends it; how many events it has published.
    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.published.load(Ordering::Relaxed)
    }
}

async fn publish(broker: &Arc<dyn Broker>, first: usize, count: usize) {
    for result in broker.publish((first..first + count).map(order).collect()).await {
        assert!(!result.unwrap().duplicate);
    }
}

// --- figures -----------------------------------------------------------------------------------------------------------

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort();
    times
}

/// Of sorted times.
fn at(times: &[Duration], quantile: f64) -> Duration {
    times[((times.len() - 1) as f64 * quantile).round() as usize]
}

fn median(times: Vec<Duration>) -> Duration {
    at(&sorted(times), 0.5)
}
