//! Reload as its users meet it: a running host, files that change under it, and events that flow meanwhile. Whatever
//! happens, each event is done exactly once, and a bad build never replaces a good one.

mod admission;
mod bad_builds;
pub(crate) mod configuration;
mod crashes;
mod files;
pub(crate) mod guests;
mod load;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{ChildStdin, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};
use tidemill::plugins::Digest;
use tidemill_core::event::Event;

use crate::harness::{Home, On};

/// Two streams, and one route between them; `plugins` is what stands in that section.
fn config(plugins: &str) -> String {
    format!(
        r#"version: 1
schemas: {{ on_missing: allow }}
streams:
  - {{ name: IN, subjects: ["in.>"] }}
  - {{ name: OUT, subjects: ["out.>"] }}
plugins:
{plugins}
routes:
  - name: forward
    source: {{ stream: IN, subjects: ["in.a"], start: all }}
    handler: forward
    emits: ["out.>"]
"#
    )
}

/// A probation that ends soon.
const SHORT: &str = "  probation: { calls: 30, time: 1s }\n";

/// A home whose plugin is this build.
fn home(plugins: &str, build: &[u8]) -> Home {
    home_with(On::Embedded, &config(plugins), build)
}

fn home_with(on: On, config: &str, build: &[u8]) -> Home {
    let home = Home::new(on, config);
    put(&home, build);
    home
}

fn put(home: &Home, build: &[u8]) {
    home.put_plugin("forward", build);
}

pub(crate) fn digest(build: &[u8]) -> String {
    Digest::of(build).to_string()
}

/// The name of a status's digest of this build in an assertion.
fn serves(build: &[u8]) -> impl Fn(&tidemill::status::PluginStatus) -> bool {
    let digest = digest(build);
    move |plugin| plugin.digest == digest
}

fn line(subject: &str, id: &str, data: &Value) -> String {
    let event = json!({ "specversion": "1.0", "id": id, "source": "/test", "type": "Input", "data": data });
    json!({ "subject": subject, "event": event }).to_string()
}

/// Publishes the events `e-<number>`.
fn emit(home: &Home, numbers: std::ops::Range<usize>) {
    let count = numbers.len();
    let lines: Vec<String> =
        numbers.map(|number| line("in.a", &format!("e-{number}"), &json!({ "seq": number }))).collect();
    home.write("events.jsonl", &(lines.join("\n") + "\n"));
    assert_eq!(home.json(&["emit", "events.jsonl"])["published"], count);
}

/// A constant rate of events, `e-0`, `e-1`, …, until it is told to stop.
struct Feed {
    stop: Arc<AtomicBool>,
    writer: JoinHandle<usize>,
    emit: std::process::Child,
}

// === impl Feed ===

impl Feed {
    fn start(home: &Home, rate: u32, subject: fn(usize) -> &'static str) -> Self {
        let mut emit = home.command(&["emit", "-", "--rate", &rate.to_string()]);
        let mut emit = emit.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (input, stopped) = (emit.stdin.take().unwrap(), Arc::clone(&stop));
        let writer = thread::spawn(move || write_until(input, &stopped, subject));
        Self { stop, writer, emit }
    }

    /// Ends it. Answers how many events there are.
    fn stop(self) -> usize {
        self.stop.store(true, SeqCst);
        let written = self.writer.join().unwrap();
        let output = self.emit.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(told.starts_with(&format!("{written} published")), "{told}");
        written
    }
}

/// The pipe is what holds it back.
fn write_until(mut input: ChildStdin, stopped: &AtomicBool, subject: fn(usize) -> &'static str) -> usize {
    let mut number = 0;
    while !stopped.load(SeqCst) {
        let line = line(subject(number), &format!("e-{number}"), &json!({ "seq": number }));
        writeln!(input, "{line}").unwrap();
        number += 1;
    }
    number
}

/// What came out, once no host runs.
fn emitted(home: &Home) -> Vec<Event> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let broker = home.broker().await;
        let events = home.events(&broker, "OUT").await;
        broker.close().await.unwrap();
        events
    })
}

/// That each of `e-0`, `e-1`, … was emitted for once and none is dead-lettered. Answers how many of them each build emitted
/// at which attempt: `<build>-<attempt>`.
fn each_once(home: &Home, events: usize) -> BTreeMap<String, usize> {
    let (mut times, mut by_build) = (BTreeMap::<String, usize>::new(), BTreeMap::new());
    for event in emitted(home) {
        *times.entry(event.extension("causationid").unwrap().to_owned()).or_default() += 1;
        *by_build.entry(event.kind).or_default() += 1;
    }
    let lost: Vec<String> =
        (0..events).map(|number| format!("e-{number}")).filter(|id| !times.contains_key(id)).collect();
    let doubled: Vec<_> = times.iter().filter(|(_, times)| **times != 1).collect();
    let letters = home.json(&["dlq", "list"]);
    assert!(lost.is_empty(), "{} lost: {:?}", lost.len(), lost.first());
    assert!(doubled.is_empty(), "doubled: {doubled:?}");
    assert_eq!(times.len(), events);
    assert_eq!(letters.as_array().unwrap().len(), 0, "dead letters: {letters}");
    by_build
}
