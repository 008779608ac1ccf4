//! How fast the embedded log is on this machine, every acknowledgement being on disk.
//!
//! ```sh
//! cargo run --release -p tidemill-embedded --example rate -- [EVENTS] [DIRECTORY]
//! ```
//!
//! Publishes in batches of 256 messages of 300 bytes; then a route pulls them, emits one message for each and commits,
//! with 256 in flight; then the directory is closed and opened again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use tidemill_core::config::{RouteConfig, Start, StreamConfig};
use tidemill_core::envelope::Envelope;
use tidemill_core::message::{Headers, Message};
use tidemill_core::name::{PluginName, RouteName, StreamName};
use tidemill_core::port::{Admin as _, Broker as _, Commit, Delivery, Outgoing, Source};
use tidemill_core::retry::RetryPolicy;
use tidemill_core::subject::{Subject, SubjectPattern};
use tidemill_embedded::EmbeddedBroker;

const BATCH: usize = 256;
const PAYLOAD: usize = 300;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let events: usize = arguments.next().map_or(Ok(300_000), |text| text.parse()).context("EVENTS is a number")?;
    let scratch = tempfile::tempdir()?;
    let dir = arguments.next().map_or_else(|| scratch.path().join("log"), PathBuf::from);
    let streams = [stream("IN", "in.>")?, stream("OUT", "out.>")?];
    println!("{events} events of {PAYLOAD} bytes, batches of {BATCH}");

    let broker = EmbeddedBroker::open(&dir)?;
    broker.provision(&streams).await?;
    publish(&broker, events).await?;
    for committers in [1, 4] {
        let name = format!("committers-{committers}");
        let source = broker.open(&route(&name, "IN")?).await?;
        read_and_commit(&broker, &name, source, events, committers).await?;
    }
    let source = broker.open(&route("reader", "IN")?).await?;
    read_only(source, events).await?;
    println!("resident  {:>9} KiB", resident_kib());

    let begun = Instant::now();
    broker.close().await?;
    println!("close     {:>9.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    let begun = Instant::now();
    let broker = EmbeddedBroker::open(&dir)?;
    println!("reopen    {:>9.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    broker.close().await?;
    Ok(())
}

async fn publish(broker: &Arc<EmbeddedBroker>, events: usize) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut sent = 0;
    while sent < events {
        let batch = (sent..events.min(sent + BATCH)).map(|number| outgoing("in.order", &format!("in-{number:032}")));
        let batch: Vec<_> = batch.collect::<Result<_, _>>()?;
        sent += batch.len();
        for result in broker.publish(batch).await {
            result?;
        }
    }
    report("publish", events, begun.elapsed());
    Ok(())
}

/// Pulls with a ceiling of 256 in flight altogether; each of the committers has its share of them.
async fn read_and_commit(
    broker: &Arc<EmbeddedBroker>,
    name: &str,
    source: Arc<dyn Source>,
    events: usize,
    committers: usize,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut tasks = Vec::new();
    let left = Arc::new(std::sync::atomic::AtomicUsize::new(events));
    for _ in 0..committers {
        let (broker, source, left, name) =
            (Arc::clone(broker), Arc::clone(&source), Arc::clone(&left), name.to_owned());
        tasks.push(tokio::spawn(async move {
            let route = RouteName::try_new(&name)?;
            while left.load(std::sync::atomic::Ordering::Relaxed) > 0 {
                let deliveries = source.pull(BATCH / committers).await?;
                let count = deliveries.len();
                let commits: Vec<_> =
                    deliveries.into_iter().map(|delivery| commit(&route, delivery)).collect::<Result<_, _>>()?;
                for result in broker.commit(commits).await {
                    result?;
                }
                left.fetch_sub(count, std::sync::atomic::Ordering::Relaxed);
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    report(&format!("commit/{committers}"), events, begun.elapsed());
    Ok(())
}

async fn read_only(source: Arc<dyn Source>, events: usize) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut read = 0;
    while read < events {
        read += source.pull(BATCH).await?.len();
    }
    report("pull only", events, begun.elapsed());
    Ok(())
}

fn commit(route: &RouteName, delivery: Delivery) -> anyhow::Result<Commit> {
    let id = format!("{route}-{:032}", delivery.origin.sequence);
    Ok(Commit {
        route: route.clone(),
        origin: delivery.origin,
        receipt: delivery.receipt,
        emits: vec![outgoing("out.checked", &id)?].into(),
    })
}

fn outgoing(subject: &str, id: &str) -> anyhow::Result<Outgoing> {
    let headers: Headers =
        [("ce-id", id), ("ce-type", "OrderCreated"), ("ce-source", "rate"), ("ce-specversion", "1.0")]
            .into_iter()
            .collect();
    let payload = Bytes::from(vec![b'x'; PAYLOAD]);
    Ok(Outgoing { id: id.to_owned(), message: Message { subject: Subject::try_new(subject)?, headers, payload } })
}

fn stream(name: &str, subject: &str) -> anyhow::Result<StreamConfig> {
    Ok(StreamConfig {
        name: StreamName::try_new(name)?,
        subjects: vec![SubjectPattern::try_new(subject)?],
        envelope: Envelope::default(),
        max_age: None,
        max_bytes: None,
        duplicate_window: Duration::from_secs(120),
        replicas: 1,
    })
}

fn route(name: &str, stream: &str) -> anyhow::Result<RouteConfig> {
    Ok(RouteConfig {
        name: RouteName::try_new(name)?,
        stream: StreamName::try_new(stream)?,
        subjects: Vec::new(),
        start: Start::All,
        filter: None,
        handler: PluginName::try_new("handler")?,
        emits: Vec::new(),
        envelope: Envelope::default(),
        timeout: Duration::from_secs(5),
        max_in_flight: BATCH,
        retry: RetryPolicy::default(),
        dead_letter: Subject::try_new(&format!("dlq.{name}"))?,
        max_hops: tidemill_core::hops::DEFAULT_MAX,
    })
}

fn report(what: &str, events: usize, took: Duration) {
    println!("{what:<9} {:>9.0} events/s", events as f64 / took.as_secs_f64());
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}
