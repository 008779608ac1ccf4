//! The figures of `docs/performance.md` about events over HTTP: the gateway beside a plain program of axum and async-nats that does
//! the same (`host/gateway/examples/bare.rs`), in turns, on one nats-server.
//!
//! ```sh
//! cargo build --release -p tidemill-gateway --example bare
//! NATS_SERVER=$(tools/nats-server) cargo bench -p tidemill --bench ingest                 # 64 connections
//! NATS_SERVER=$(tools/nats-server) cargo bench -p tidemill --bench ingest -- 50000 5 16   # requests a run, rounds, connections
//! ```
//!
//! One request: an order in structured mode, parsed, validated against a JSON Schema, published with a message id, and answered
//! when the server has acknowledged it. Load, gateway and server are on the same cores.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark fails by panicking and answers by printing")]

#[path = "http/load.rs"]
#[allow(dead_code, reason = "other benchmarks use more of it")]
mod load;
#[path = "throughput/orders.rs"]
#[allow(dead_code, reason = "other benchmarks use more of it")]
mod orders;
#[path = "http/program.rs"]
#[allow(dead_code, reason = "other benchmarks use more of it")]
mod program;
#[path = "throughput/server.rs"]
#[allow(dead_code, reason = "other benchmarks use more of it")]
mod server;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use load::Outcome;
use program::{Program, free_address, tidemill};
use server::Server;

const CONTENT_TYPE: &str = "application/cloudevents+json";

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let number = |place: usize, default: usize| numbers.get(place).copied().unwrap_or(default);
    let (requests, rounds, connections) = (number(0, 50_000), number(1, 5), number(2, 64));
    println!("{requests} requests a run, {rounds} rounds, {connections} connections, {} cores", cores());

    let server = Server::start();
    let home = tempfile::tempdir().unwrap();
    // First: it makes the streams of both.
    let gateway = gateway(home.path(), &server);
    let bare = bare(home.path(), &server);
    let mut runs: [Vec<Outcome>; 2] = Default::default();
    for round in 0..=rounds {
        for turn in 0..2 {
            let contestant = (round + turn) % 2;
            let address = &[&bare, &gateway][contestant].address;
            let request = |number: usize| {
                let event = event(&format!("{round}-{contestant}-{number}"), number);
                load::post(address, "/v1/events", CONTENT_TYPE, &event)
            };
            let outcome = load::send(address, connections, requests, 202, request);
            // The first round warms everybody up.
            if round > 0 {
                runs[contestant].push(outcome);
            }
        }
    }
    println!("\n{:24} {:>12} {:>8} {:>8} {:>8} {:>8}", "", "requests/s", "min", "max", "p50 ms", "p99 ms");
    let [bare, gateway] = &mut runs;
    let base = print("axum and async-nats", bare);
    let ours = print("gateway", gateway);
    println!(
        "\ngateway / axum and async-nats: {:.2} of the requests, {:.2} of the p99",
        ours.0 / base.0,
        ours.1 / base.1
    );
}

fn gateway(home: &Path, server: &Server) -> Program {
    let address = free_address();
    fs::create_dir_all(home.join("schemas")).unwrap();
    fs::create_dir_all(home.join("plugins")).unwrap();
    fs::write(home.join("schemas/OrderCreated.json"), orders::SCHEMA).unwrap();
    let text = format!(
        r#"version: 1
broker: {{ nats: {{ servers: ["{}"] }} }}
schemas: {{ dir: ./schemas, on_missing: reject }}
streams:
  - {{ name: ORDERS, subjects: ["orders.>"] }}
  - {{ name: BARE, subjects: ["bare.>"] }}
http:
  listen: "{address}"
  ingest: [{{ type: [OrderCreated], subject: orders.created }}]
"#,
        server.url
    );
    fs::write(home.join("runtime.yaml"), text).unwrap();
    Program::start(&mut tidemill(home, &["run"]), &address)
}

/// The example lies beside the program.
fn bare(home: &Path, server: &Server) -> Program {
    let address = free_address();
    let program = Path::new(env!("CARGO_BIN_EXE_tidemill")).with_file_name("examples").join("bare");
    let mut command = Command::new(program);
    command.arg(&address).arg(&server.url).arg(home.join("schemas/OrderCreated.json")).arg("bare.created");
    Program::start(&mut command, &address)
}

fn event(id: &str, number: usize) -> Vec<u8> {
    let data: Value = serde_json::from_slice(&orders::data(number)).unwrap();
    let event = json!({ "specversion": "1.0", "id": id, "source": "/bench", "type": "OrderCreated", "data": data });
    serde_json::to_vec(&event).unwrap()
}

/// The median of the rates and of the p99s.
fn print(name: &str, runs: &mut [Outcome]) -> (f64, f64) {
    let mut rates: Vec<f64> = runs.iter().map(Outcome::rate).collect();
    rates.sort_by(f64::total_cmp);
    let at = |quantile: f64| {
        let mut times: Vec<Duration> = runs.iter().map(|run| run.at(quantile)).collect();
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e3
    };
    let (rate, p99) = (rates[rates.len() / 2], at(0.99));
    println!("{name:24} {rate:>12.0} {:>8.0} {:>8.0} {:>8.2} {p99:>8.2}", rates[0], rates[rates.len() - 1], at(0.5));
    (rate, p99)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
