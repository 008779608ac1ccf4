//! The figures of `docs/performance.md`: Tidemill beside a native consumer that does the same work, in one run, as ratios.
//!
//! ```sh
//! NATS_SERVER=$(tools/nats-server) cargo bench -p tidemill --bench throughput            # everything
//! NATS_SERVER=$(tools/nats-server) cargo bench -p tidemill --bench throughput -- 50000 3 # events per run, rounds
//! cargo bench -p tidemill --bench throughput -- memory                                   # a million events, resident memory
//! NATS_SERVER=$(tools/nats-server) cargo bench -p tidemill --bench throughput -- swaps 3 # latency with and without swaps, rounds; `embedded` or `nats` for one broker
//! ```
//!
//! One event: fetch, parse, validate, filter, compute, publish one event, acknowledge. 300-byte orders, file storage, server and
//! client on the same cores; everybody may hold 512 unacknowledged events. The order of the contestants changes from round to round; medians are compared.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark fails by panicking and answers by printing")]

#[path = "throughput/native.rs"]
mod native;
#[path = "throughput/orders.rs"]
mod orders;
#[path = "throughput/rooms.rs"]
mod rooms;
#[path = "throughput/server.rs"]
mod server;
#[path = "throughput/swaps.rs"]
mod swaps;
#[path = "throughput/tidemill.rs"]
mod tidemill_run;

use std::time::Duration;

/// Handles so many events and says how long it took.
type Contestant = fn(usize) -> Duration;

fn main() {
    // `cargo bench` passes `--bench`; numbers are ours.
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let events = numbers.first().copied().unwrap_or(100_000);
    let rounds = numbers.get(1).copied().unwrap_or(5);
    if std::env::args().any(|argument| argument == "memory") {
        return tidemill_run::memory(events.max(1_000_000));
    }
    if std::env::args().any(|argument| argument == "swaps") {
        let only = std::env::args().find(|argument| ["embedded", "nats"].contains(&argument.as_str()));
        return swaps::report(numbers.first().copied().unwrap_or(3), only.as_deref());
    }
    let plugin = server::root().join("plugins/fraud-check.wasm");
    println!("{events} events a run, {rounds} rounds, {} cores\n", std::thread::available_parallelism().unwrap());

    rooms::report(&plugin);

    let mut native = Vec::new();
    let mut nats = Vec::new();
    let mut by_default = Vec::new();
    let mut embedded = Vec::new();
    for round in 0..rounds {
        let mut contestants: Vec<(&mut Vec<f64>, Contestant)> = vec![
            (&mut native, native::run),
            (&mut nats, tidemill_run::on_nats),
            (&mut by_default, tidemill_run::on_nats_by_default),
            (&mut embedded, tidemill_run::on_embedded),
        ];
        contestants.rotate_left(round % 4);
        for (results, run) in contestants {
            results.push(events as f64 / run(events).as_secs_f64());
        }
    }
    println!("\n{:28} {:>12} {:>12} {:>12}", "events/s", "median", "min", "max");
    let base = print("native consumer, JetStream", &mut native);
    let ours = print("tidemill, JetStream", &mut nats);
    let default = print("  with 256 in flight", &mut by_default);
    let log = print("tidemill, embedded log", &mut embedded);
    println!("\ntidemill on JetStream / native     {:.2}", ours / base);
    println!("  with 256 in flight / native      {:.2}", default / base);
    println!("embedded log / tidemill on JetStream {:.2}", log / ours);
    println!("embedded log / native on JetStream   {:.2}", log / base);
}

fn print(name: &str, results: &mut [f64]) -> f64 {
    results.sort_by(f64::total_cmp);
    let median = results[results.len() / 2];
    println!("{name:28} {median:>12.0} {:>12.0} {:>12.0}", results[0], results[results.len() - 1]);
    median
}
