//! SIGKILL of the host, and of the server, at random moments: every event is done exactly once or dead-lettered.
//!
//! Each input is accounted for in three independent ways: the emits of a stateless handler (one per order, no more), the
//! counters that a stateful handler keeps, and the dead letters.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};
use tidemill_core::name::PluginName;

use crate::harness::{Home, On, root};

const ORDERS: usize = 10_000;

/// Every hundredth order violates its schema.
const INVALID_EVERY: usize = 100;

/// The seed of the moments; printed, so that a failing run can be repeated.
fn seed() -> u64 {
    std::env::var("TIDEMILL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..))
}

fn config() -> String {
    let schemas = root().join("examples/shop/schemas").display().to_string();
    format!(
        r#"version: 1
schemas: {{ dir: "{schemas}" }}
streams:
  - {{ name: ORDERS, subjects: ["orders.>"] }}
  - {{ name: FRAUD, subjects: ["fraud.>"] }}
plugins: {{ settings: {{ order-analytics: {{ state: true }} }} }}
routes:
  - name: fraud
    source: {{ stream: ORDERS, start: all }}
    handler: fraud-check
    emits: ["fraud.>"]
  - name: analytics
    source: {{ stream: ORDERS, start: all }}
    handler: order-analytics
"#
    )
}

fn feed() -> String {
    let shop = std::fs::read_to_string(root().join("examples/shop/events.jsonl")).unwrap();
    let mut template: Value = shop
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line["event"]["type"] == "OrderCreated" && line["event"]["dataschema"].is_null())
        .unwrap();
    let mut text = String::new();
    for number in 0..ORDERS {
        template["event"]["id"] = json!(format!("kill-{number:05}"));
        template["event"]["data"]["total"] = if number % INVALID_EVERY == 0 { json!(-1) } else { json!(5000) };
        writeln!(text, "{template}").unwrap();
    }
    text
}

/// Kills the host up to `kills` times after random times, then lets it finish.
fn run_with_kills(home: &Home, random: &mut fastrand::Rng, kills: usize) {
    for _ in 0..kills {
        let mut host = home.command(&["run"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random.u64(150..1200)));
        host.kill().unwrap();
        host.wait().unwrap();
    }
    let ran = home.run(&["run", "--until-idle"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
}

async fn account(home: &Home) {
    let invalid = ORDERS.div_ceil(INVALID_EVERY);
    let broker = home.broker().await;
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for event in home.events(&broker, "FRAUD").await {
        *times.entry(event.extension("causationid").unwrap().to_owned()).or_default() += 1;
    }
    let doubled: Vec<_> = times.iter().filter(|(_, times)| **times != 1).collect();
    assert!(doubled.is_empty(), "emitted more than once: {doubled:?}");
    assert_eq!(times.len(), ORDERS - invalid, "orders that were emitted for");

    let analytics = PluginName::try_new("order-analytics").unwrap();
    let entry = broker.state_get(&analytics, "count/OrderCreated").await.unwrap();
    let counted: usize = serde_json::from_slice(&entry.value.expect("the counter exists")).unwrap();
    assert_eq!(counted, ORDERS - invalid, "orders that were counted");
    broker.close().await.unwrap();
    drop(broker);

    let letters = home.json(&["dlq", "list", "--reason", "invalid", "--limit", "100000"]);
    assert_eq!(letters.as_array().unwrap().len(), 2 * invalid, "dead letters of both routes");
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(future);
}

fn prepared(on: On) -> Home {
    let home = Home::new(on, &config());
    home.install(&["fraud-check", "order-analytics"]);
    home.write("orders.jsonl", &feed());
    let published = home.json(&["emit", "orders.jsonl", "--no-validate"]);
    assert_eq!(published["published"], ORDERS);
    home
}

fn killing_the_host_loses_and_doubles_nothing(on: On) {
    let seed = seed();
    println!("TIDEMILL_SEED={seed}");
    let home = prepared(on);
    run_with_kills(&home, &mut fastrand::Rng::with_seed(seed), 6);
    block_on(account(&home));
}

#[test]
fn killing_the_host_on_the_embedded_log() {
    killing_the_host_loses_and_doubles_nothing(On::Embedded);
}

#[test]
fn killing_the_host_on_nats() {
    killing_the_host_loses_and_doubles_nothing(On::Nats);
}

#[test]
fn killing_the_server() {
    let seed = seed();
    println!("TIDEMILL_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut home = prepared(On::Nats);
    let mut host = home.command(&["run", "--until-idle"]).spawn().unwrap();
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(random.u64(100..700)));
        home.server.as_mut().unwrap().kill_and_restart(Duration::from_millis(random.u64(0..1500)));
    }
    assert!(host.wait().unwrap().success());
    block_on(account(&home));
}
