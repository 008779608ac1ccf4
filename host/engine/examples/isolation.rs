//! What a plugin notices of a neighbour that misbehaves: `cargo run --release -p tidemill-engine --example isolation [pinned]`.
//!
//! It prints the plugin's calls per second beside a neighbour that is busy and behaves, beside one that misbehaves, and how
//! late the host's timers were. `pinned` keeps all of it on one CPU.

#![allow(clippy::unwrap_used, reason = "a measurement ends by panicking")]

#[allow(dead_code, reason = "shared with the tests, which use more of it")]
#[path = "../tests/it/guest.rs"]
mod guest;
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
#[path = "../tests/it/isolation.rs"]
mod isolation;
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
#[path = "../tests/it/rig.rs"]
mod rig;

use std::time::Duration;

fn main() {
    let pinned = std::env::args().nth(1).is_some_and(|argument| argument == "pinned");
    if pinned {
        rig::pin_to_one_cpu();
    }
    isolation::log_to_nowhere();
    let cores = std::thread::available_parallelism().unwrap();
    println!("{cores} CPU, as many neighbours, each without a pause");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (name, body) in isolation::MISBEHAVIOURS {
        let compared = runtime.block_on(isolation::compare(body, 25, Duration::from_millis(200)));
        println!(
            "a neighbour that {name:<17} {:>7.0} calls/s against {:>7.0} beside one that behaves: {:.0} %; timers at most {:.1} ms late",
            compared.beside_bad,
            compared.beside_good,
            100.0 * compared.ratio,
            compared.latest_timer.as_secs_f64() * 1e3,
        );
    }
}
