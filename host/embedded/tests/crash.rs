//! SIGKILL at any moment: what was acknowledged is there, effects and settlement are one, nothing is doubled.
//!
//! The test starts itself again as the process that is killed. That one says on its standard output what was
//! acknowledged to it; afterwards the directory is opened here and every input must be accounted for.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tidemill_core::config::{RouteConfig, Start, StreamConfig};
use tidemill_core::envelope::Envelope;
use tidemill_core::message::{Headers, Message};
use tidemill_core::name::{PluginName, RouteName, StreamName};
use tidemill_core::port::{
    Admin as _, Broker as _, Commit, DeadLetterQuery, Delivery, Outgoing, Source, StateCommit, StateCommitted,
    StateWrite,
};
use tidemill_core::retry::RetryPolicy;
use tidemill_core::subject::{Subject, SubjectPattern};
use tidemill_embedded::EmbeddedBroker;

const DIR: &str = "TIDEMILL_CRASH_DIR";
const FIRST: &str = "TIDEMILL_CRASH_FIRST";
const ROUNDS: u32 = 8;

#[test]
fn a_killed_process_loses_and_doubles_nothing() {
    let root = tempfile::tempdir().expect("a directory for temporary files");
    let dir = root.path().join("log");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut acknowledged = Acknowledged::default();
    let mut first = 0;
    for round in 0..ROUNDS {
        live_and_be_killed(&dir, first, Duration::from_millis(fastrand::u64(0..700)), &mut acknowledged);
        let found = runtime.block_on(look(&dir));
        first = found.check(&acknowledged, round);
    }
    assert!(!acknowledged.committed.is_empty(), "the killed process never got to work");
}

/// The process that is killed; as a test of its own it does nothing.
#[test]
fn killed_process() {
    let (Ok(dir), Ok(first)) = (std::env::var(DIR), std::env::var(FIRST)) else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(work(Path::new(&dir), first.parse().expect("a number")));
}

/// What the killed processes said was acknowledged to them.
#[derive(Default)]
struct Acknowledged {
    published: BTreeSet<u64>,
    /// By sequence.
    committed: BTreeSet<u64>,
    dead: BTreeSet<u64>,
}

fn live_and_be_killed(dir: &Path, first: u64, life: Duration, acknowledged: &mut Acknowledged) {
    let mut child = Command::new(std::env::current_exe().expect("a test knows its program"))
        .args(["--exact", "killed_process", "--nocapture"])
        .env(DIR, dir)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test starts itself");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let (begun, working) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let note = |line: &String| {
            if line.starts_with('P') {
                begun.send(()).ok();
            }
        };
        lines.map_while(Result::ok).inspect(note).collect::<Vec<_>>()
    });
    // Its life begins with its first work: how long a process takes to start is the machine's matter.
    working.recv_timeout(Duration::from_secs(60)).expect("the process gets to work");
    std::thread::sleep(life);
    child.kill().expect("a process of our own can be killed");
    child.wait().expect("it ends");
    for line in reader.join().expect("reading lines does not panic") {
        let mut words = line.split(' ');
        let set = match words.next() {
            Some("P") => &mut acknowledged.published,
            Some("C") => &mut acknowledged.committed,
            Some("D") => &mut acknowledged.dead,
            _ => continue,
        };
        // The last line may be cut off: only whole lines end with a full stop.
        let numbers: Vec<&str> = words.collect();
        if numbers.last() == Some(&".") {
            set.extend(numbers.iter().filter_map(|number| number.parse::<u64>().ok()));
        }
    }
}

// --- the process that is killed -----------------------------------------------------------------------------------------

async fn work(dir: &Path, first: u64) {
    let broker = EmbeddedBroker::open(dir).expect("the directory of a killed process opens");
    broker.provision(&streams()).await.expect("the same streams as before");
    let source = broker.open(&route("work", "IN")).await.expect("the route opens");
    let mut next = first;
    loop {
        let batch: Vec<_> = (next..next + 64).map(|number| outgoing("in.a", &number.to_string())).collect();
        next += 64;
        for result in broker.publish(batch).await {
            result.expect("a healthy disk");
        }
        say("P", next - 64..next);
        let deliveries = source.pull(100).await.expect("a healthy disk");
        let (stateful, stateless) = deliveries.into_iter().partition(|delivery| delivery.origin.sequence % 2 == 0);
        tokio::join!(with_state(&broker, stateful), without_state(&broker, &source, stateless));
    }
}

async fn without_state(broker: &EmbeddedBroker, source: &Arc<dyn Source>, deliveries: Vec<Delivery>) {
    let mut commits = Vec::new();
    for delivery in deliveries {
        let sequence = delivery.origin.sequence;
        if sequence % 97 == 0 {
            let record = Message { subject: subject("dlq.work"), ..delivery.message.clone() };
            source.dead_letter(&delivery, record).await.expect("a healthy disk");
            say("D", [sequence]);
        } else if sequence % 13 == 0 && delivery.attempt == 1 {
            source.park(&delivery, 2, Duration::from_millis(5), SystemTime::now()).await.expect("a healthy disk");
        } else {
            commits.push(commit(&delivery, "out.plain"));
        }
    }
    let sequences: Vec<_> = commits.iter().map(|commit| commit.origin.sequence).collect();
    for result in broker.commit(commits).await {
        result.expect("a healthy disk");
    }
    say("C", sequences);
}

/// Counts in the state how many were committed.
async fn with_state(broker: &EmbeddedBroker, deliveries: Vec<Delivery>) {
    let space = PluginName::try_new("counter").expect("a name");
    let before = broker.state_get(&space, "count").await.expect("a healthy disk");
    let count = count(before.value) + deliveries.len() as u64;
    let value = Some(Bytes::from(count.to_string()));
    let batch = StateCommit {
        space,
        commits: deliveries.iter().map(|delivery| commit(delivery, "out.state")).collect(),
        writes: vec![StateWrite { key: "count".to_owned(), value, expected: Some(before.revision) }],
    };
    let done = broker.commit_state(batch).await.expect("a healthy disk");
    assert!(matches!(done, StateCommitted::Done { .. }), "nobody else writes: {done:?}");
    say("C", deliveries.iter().map(|delivery| delivery.origin.sequence));
}

fn say(what: &str, numbers: impl IntoIterator<Item = u64>) {
    let numbers: Vec<_> = numbers.into_iter().map(|number| number.to_string()).collect();
    println!("\n{what} {} .", numbers.join(" "));
}

// --- looking afterwards ---------------------------------------------------------------------------------------------------

/// What stands in the directory, by the sequence of the input.
struct Found {
    /// The number that each input carries.
    inputs: BTreeMap<u64, u64>,
    /// Not settled: it comes back.
    pending: Vec<u64>,
    plain: Vec<u64>,
    stateful: Vec<u64>,
    dead: Vec<u64>,
    count: u64,
}

async fn look(dir: &Path) -> Found {
    let broker = EmbeddedBroker::open(dir).expect("the directory of a killed process opens");
    broker.provision(&streams()).await.expect("the same streams as before");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut found =
        Found { inputs: BTreeMap::new(), pending: vec![], plain: vec![], stateful: vec![], dead: vec![], count: 0 };
    // New routes see everything; the one that worked sees what it has not settled.
    let (number_in, number_out) = (fastrand::u64(..), fastrand::u64(..));
    let (routes_in, routes_out) = (route(&format!("r{number_in}"), "IN"), route(&format!("r{number_out}"), "OUT"));
    let work = route("work", "IN");
    let (inputs, outputs, pending) =
        tokio::join!(drain(&broker, &routes_in), drain(&broker, &routes_out), drain(&broker, &work));
    found.inputs = inputs.iter().map(|delivery| (delivery.origin.sequence, number(&delivery.message))).collect();
    for delivery in outputs {
        let emits =
            if delivery.message.subject.as_str() == "out.plain" { &mut found.plain } else { &mut found.stateful };
        emits.push(number(&delivery.message));
    }
    found.pending = pending.iter().map(|delivery| delivery.origin.sequence).collect();
    let query = DeadLetterQuery { route: None, after: 0, limit: usize::MAX };
    let by_number: BTreeMap<u64, u64> = found.inputs.iter().map(|(sequence, number)| (*number, *sequence)).collect();
    for letter in broker.dead_letters(query).await.expect("a healthy disk") {
        found.dead.push(by_number[&number(&letter.message)]);
    }
    let counter = PluginName::try_new("counter").expect("a name");
    found.count = count(broker.state_get(&counter, "count").await.expect("a healthy disk").value);
    broker.close().await.expect("a healthy disk");
    found
}

impl Found {
    /// Accounts for every input and gives the number to go on with.
    fn check(&self, acknowledged: &Acknowledged, round: u32) -> u64 {
        let numbers: BTreeSet<u64> = self.inputs.values().copied().collect();
        assert_eq!(numbers.len(), self.inputs.len(), "round {round}: an input is stored twice");
        let lost: Vec<_> = acknowledged.published.difference(&numbers).collect();
        assert!(lost.is_empty(), "round {round}: acknowledged and lost: {lost:?}");

        let mut fates: BTreeMap<u64, Vec<&str>> = self.inputs.keys().map(|sequence| (*sequence, vec![])).collect();
        for (fate, sequences) in
            [("pending", &self.pending), ("plain", &self.plain), ("stateful", &self.stateful), ("dead", &self.dead)]
        {
            for sequence in sequences {
                fates.get_mut(sequence).expect("an effect has an input").push(fate);
            }
        }
        let wrong: Vec<_> = fates.iter().filter(|(_, fates)| fates.len() != 1).collect();
        assert!(wrong.is_empty(), "round {round}: each input has exactly one fate, but not these: {wrong:?}");
        assert_eq!(self.count, self.stateful.len() as u64, "round {round}: state and emits are one");

        let fate = |sequence: &u64| fates[sequence][0];
        assert!(acknowledged.committed.iter().all(|sequence| ["plain", "stateful"].contains(&fate(sequence))));
        assert!(acknowledged.dead.iter().all(|sequence| fate(sequence) == "dead"));
        numbers.last().map_or(0, |last| last + 1)
    }
}

/// Everything that a route hands out now; nothing is settled.
async fn drain(broker: &EmbeddedBroker, route: &RouteConfig) -> Vec<Delivery> {
    let source = broker.open(route).await.expect("the route opens");
    let mut all = Vec::new();
    loop {
        let deliveries = source.pull(1000).await.expect("a healthy disk");
        if deliveries.is_empty() {
            return all;
        }
        all.extend(deliveries);
    }
}

// --- small things -----------------------------------------------------------------------------------------------------------

/// Each attempt emits under an id of its own: here only the transaction keeps effects from being doubled.
fn commit(delivery: &Delivery, to: &str) -> Commit {
    Commit {
        route: RouteName::try_new("work").expect("a name"),
        origin: delivery.origin.clone(),
        receipt: delivery.receipt.clone(),
        emits: vec![outgoing(to, &delivery.origin.sequence.to_string())].into(),
    }
}

fn outgoing(to: &str, payload: &str) -> Outgoing {
    let message =
        Message { subject: subject(to), headers: Headers::new(), payload: Bytes::copy_from_slice(payload.as_bytes()) };
    Outgoing { id: format!("{:032x}", fastrand::u128(..)), message }
}

fn subject(text: &str) -> Subject {
    Subject::try_new(text).expect("a subject")
}

fn number(message: &Message) -> u64 {
    std::str::from_utf8(&message.payload).ok().and_then(|text| text.parse().ok()).expect("payloads are numbers")
}

fn count(value: Option<Bytes>) -> u64 {
    value.map_or(0, |value| std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok()).expect("a count"))
}

fn streams() -> [StreamConfig; 2] {
    [("IN", "in.>"), ("OUT", "out.>")].map(|(name, subjects)| StreamConfig {
        name: StreamName::try_new(name).expect("a name"),
        subjects: vec![SubjectPattern::try_new(subjects).expect("a pattern")],
        envelope: Envelope::default(),
        max_age: None,
        max_bytes: None,
        duplicate_window: Duration::from_secs(120),
        replicas: 1,
    })
}

fn route(name: &str, stream: &str) -> RouteConfig {
    RouteConfig {
        name: RouteName::try_new(name).expect("a name"),
        stream: StreamName::try_new(stream).expect("a name"),
        subjects: Vec::new(),
        start: Start::All,
        filter: None,
        handler: PluginName::try_new("handler").expect("a name"),
        emits: Vec::new(),
        envelope: Envelope::default(),
        timeout: Duration::from_secs(5),
        max_in_flight: 256,
        retry: RetryPolicy::default(),
        dead_letter: subject(&format!("dlq.{name}")),
        max_hops: tidemill_core::hops::DEFAULT_MAX,
    }
}
