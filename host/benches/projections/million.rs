//! A million orders on the real program: folded, rebuilt beside the copy that serves, and asked about over HTTP.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidemill_core::config::{self, BrokerConfig, MapLookup};

use super::http::load::{self, Outcome};
use super::http::program::{Program, free_address, tidemill};
use super::server::root;
use super::{orders, stage};

const QUERIES: usize = 10_000;

const LOOK: Duration = Duration::from_millis(250);

pub(crate) fn report(events: usize) {
    let home = tempfile::tempdir().unwrap();
    let address = free_address();
    let text = format!("{}http: {{ listen: \"{address}\" }}\n", stage::CONFIG);
    prepare(home.path(), &text, events);

    let begun = Instant::now();
    let host = Program::start(&mut tidemill(home.path(), &["run"]), &address);
    let ready = host.resident_kib();
    let folding = watch(&host, || position(home.path()) >= events as u64);
    println!(
        "folded in {:.1} s; resident memory {} MiB when it began, then",
        begun.elapsed().as_secs_f64(),
        ready / 1024
    );
    print_memory(&folding);

    let begun = Instant::now();
    let mut rebuild = tidemill(home.path(), &["projection", "rebuild", "orders"]).spawn().unwrap();
    let rebuilding = watch(&host, || rebuild.try_wait().unwrap().is_some_and(|status| status.success()));
    let took = begun.elapsed().as_secs_f64();
    println!("rebuilt in {took:.1} s, {:.0} events/s; resident memory", events as f64 / took);
    print_memory(&rebuilding);

    println!("\n{:50} {:>5} {:>10} {:>8} {:>8} {:>8}", "query", "at", "requests/s", "p50 ms", "p99 ms", "max ms");
    for connections in [1, 8] {
        for (name, path) in QUESTIONS {
            let ask = |_: usize| load::get(&host.address, &path(fastrand::usize(..events)));
            load::send(&host.address, connections, QUERIES / 10, 200, ask);
            print_times(name, connections, &load::send(&host.address, connections, QUERIES, 200, ask));
        }
    }
}

type Question = (&'static str, fn(usize) -> String);

/// Each about another order, or what it is of.
const QUESTIONS: [Question; 5] = [
    ("one document", |order| format!("/v1/read-models/orders/ord-{order:08}")),
    ("customer_id=…, sort=-created_at: 20 of 100", |order| {
        format!("/v1/read-models/orders?customer_id=cus-{:05}&sort=-created_at", order % 10_000)
    }),
    ("status=pending, sort=-created_at: 20 of all", |_| {
        "/v1/read-models/orders?status=pending&sort=-created_at".to_owned()
    }),
    ("status=pending, total[gte]=5000, sort=-created_at", |_| {
        "/v1/read-models/orders?status=pending&total[gte]=5000&sort=-created_at".to_owned()
    }),
    ("total[gte]=…, sort=total: 20 of 200 and more", |order| {
        format!("/v1/read-models/orders?total[gte]={}&sort=total", 1000 + order % 5000)
    }),
];

fn prepare(home: &Path, text: &str, events: usize) {
    fs::create_dir_all(home.join("schemas")).unwrap();
    fs::create_dir_all(home.join("plugins")).unwrap();
    fs::write(home.join("schemas/OrderCreated.json"), orders::SCHEMA).unwrap();
    fs::copy(root().join("plugins/order-view.wasm"), home.join("plugins/order-view.wasm")).unwrap();
    fs::write(home.join("runtime.yaml"), text).unwrap();
    let config = config::load(text, &MapLookup::default()).unwrap();
    let BrokerConfig::Embedded { dir } = &config.broker else { panic!("another broker") };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let broker = stage::fill(&home.join(dir), &config, events).await;
        broker.close().await.unwrap();
    });
}

/// How far the active copy is.
fn position(home: &Path) -> u64 {
    let output = tidemill(home, &["--output", "json", "projection", "status", "orders"]).output().unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    status["active"]["positions"]["ORDERS"].as_u64().unwrap_or(0)
}

/// Resident memory in KiB until something has ended.
fn watch(host: &Program, mut has_ended: impl FnMut() -> bool) -> Vec<u64> {
    let mut memory = Vec::new();
    while !has_ended() {
        memory.push(host.resident_kib());
        std::thread::sleep(LOOK);
    }
    memory.push(host.resident_kib());
    memory
}

/// Ten samples on the way, and the greatest of all.
fn print_memory(memory: &[u64]) {
    let at = |tenth: usize| memory[(memory.len() - 1) * tenth / 10] / 1024;
    let samples: Vec<String> = (0..=10).map(|tenth| at(tenth).to_string()).collect();
    println!("  {} MiB, at most {}", samples.join(" "), memory.iter().max().unwrap() / 1024);
}

fn print_times(name: &str, connections: usize, outcome: &Outcome) {
    let millis = |quantile: f64| outcome.at(quantile).as_secs_f64() * 1e3;
    let (rate, p50, p99, most) = (outcome.rate(), millis(0.5), millis(0.99), millis(1.0));
    println!("{name:50} {connections:>5} {rate:>10.0} {p50:>8.2} {p99:>8.2} {most:>8.2}");
}
