//! What each language costs, for `docs/performance.md`: the same handler in all of them, called by the engine and by a whole host.
//!
//! ```sh
//! eval "$(tools/languages)"
//! cargo bench -p tidemill --bench languages                  # everything
//! cargo bench -p tidemill --bench languages -- rust go 20000 # some languages, calls per round
//! ```
//!
//! Two handlers. The small one is what `tidemill new handler` makes: it parses an order of 300 bytes, logs a line and emits an event;
//! it is also called without the line, which the goals are about. The large one is the scenario of `host/tests/languages`: it parses a payment of 300 bytes, adds up its items, reads and writes
//! state, logs a line and emits two events. Both are built by `tidemill build`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark fails by panicking and answers by printing")]

#[path = "languages/calls.rs"]
mod calls;
#[path = "languages/project.rs"]
mod project;
#[path = "languages/whole.rs"]
mod whole;

use std::path::PathBuf;
use std::time::Duration;

use project::{Built, LANGUAGES};

/// What is called, and with what.
#[derive(Clone, Copy)]
struct Work {
    plugin: &'static str,
    kind: &'static str,
    uses_state: bool,
    emits: usize,
    /// The data of event `number`.
    data: fn(usize) -> String,
}

const SMALL: Work = Work {
    plugin: "small",
    kind: "OrderCreated",
    uses_state: false,
    emits: 1,
    data: |number| {
        format!(
            r#"{{"id":"o-{number:08}","customer":"c-{:05}","total":{},"currency":"EUR","country":"DE","items":[{{"sku":"sku-{:04}","quantity":2,"unit_price":480.5}},{{"sku":"sku-0042","quantity":1,"unit_price":260.0}},{{"sku":"sku-0043","quantity":3,"unit_price":17.25}}],"note":"leave at the door of the neighbour, please"}}"#,
            number % 10_000,
            number % 5000,
            number % 900,
        )
    },
};

const LARGE: Work = Work {
    plugin: "payments",
    kind: "PaymentRequested",
    uses_state: true,
    emits: 2,
    data: |number| {
        format!(
            r#"{{"payment_id":"p-{number:08}","account":"a-{:05}","amount":{},"currency":"EUR","items":[{{"sku":"sku-{:04}","quantity":2,"unit_price":480}},{{"sku":"sku-0042","quantity":1,"unit_price":260}},{{"sku":"sku-0043","quantity":{},"unit_price":1}}],"note":"leave at the door of the neighbour, please, and ring"}}"#,
            number % 1000,
            1220 + number % 500,
            number % 900,
            number % 500,
        )
    },
};

/// The shop's own plugin, which logs nothing: what other figures of docs/performance.md are about.
const SHOP: Work = Work {
    plugin: "fraud-check",
    kind: "OrderCreated",
    uses_state: false,
    emits: 1,
    data: |number| {
        format!(
            r#"{{"order_id":"o-{number:08}","customer_id":"c-{:05}","total":{},"currency":"EUR","country":"DE","items":[{{"sku":"sku-{:04}","quantity":2,"unit_price":480.5}},{{"sku":"sku-0042","quantity":1,"unit_price":260.0}}],"note":"leave at the door of the neighbour, please"}}"#,
            number % 10_000,
            1000 + number % 5000,
            number % 900,
        )
    },
};

/// Where everything is built.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-languages")
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let calls = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(20_000);
    let named = |word: &str| arguments.iter().any(|argument| argument == word);
    let any_named = LANGUAGES.iter().any(|language| named(language));
    let languages: Vec<&str> = LANGUAGES.into_iter().filter(|language| !any_named || named(language)).collect();
    let cores = std::thread::available_parallelism().unwrap();
    println!(
        "{calls} calls a round, the median of five rounds; events of {} bytes; {cores} cores\n",
        (SMALL.data)(7).len()
    );

    let built: Vec<_> = languages.iter().map(|language| (*language, project::build(language))).collect();
    println!("| language | size | compile | start from the cache | instantiate | memory per instance |");
    println!("|---|---|---|---|---|---|");
    for (language, Built { small, .. }) in &built {
        let component = std::fs::read(small).unwrap();
        let calls::Start { compile, cached, instantiate, memory } = calls::start(&component);
        println!(
            "| {language} | {} | {} | {} | {} | {} |",
            kilobytes(component.len()),
            shown(compile),
            shown(cached),
            shown(instantiate),
            kilobytes(memory),
        );
    }
    let shop = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../plugins/fraud-check.wasm");
    let shop = calls::per_call(&SHOP, &std::fs::read(shop).unwrap(), calls);
    println!("\nthe shop's fraud-check: {} reused, {} with a fresh instance", shown(shop.reused), shown(shop.fresh));
    if languages.contains(&"python") {
        let bare = std::fs::read(project::build_bare_python()).unwrap();
        println!("\nPython without the SDK: {} reused", shown(calls::per_call(&SMALL, &bare, calls).reused));
    }
    println!(
        "\n| language | no log line, reused | small, reused | small, fresh instance | large, reused | small, events/s | large, events/s |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (language, Built { small, silent, large }) in &built {
        let [small, silent, large] = [small, silent, large].map(|path| std::fs::read(path).unwrap());
        let per_call = calls::per_call(&SMALL, &small, calls);
        println!(
            "| {language} | {} | {} | {} | {} | {:.0} | {:.0} |",
            shown(calls::per_call(&SMALL, &silent, calls).reused),
            shown(per_call.reused),
            shown(per_call.fresh),
            shown(calls::per_call(&LARGE, &large, calls).reused),
            whole::rate(&SMALL, &small, calls),
            whole::rate(&LARGE, &large, calls),
        );
    }
}

fn shown(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds >= 0.1 => format!("{seconds:.2} s"),
        seconds if seconds >= 0.001 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{:.1} µs", seconds * 1e6),
    }
}

fn kilobytes(bytes: usize) -> String {
    format!("{:.0} kB", bytes as f64 / 1e3)
}
