//! The figures of `docs/performance.md` about projections: beside a native loop that executes the same SQL, in one run.
//!
//! ```sh
//! POSTGRES_BIN=$(tools/postgres) cargo bench -p tidemill --bench projections                # both stores
//! POSTGRES_BIN=$(tools/postgres) cargo bench -p tidemill --bench projections -- 100000 3    # events per run, rounds
//! cargo bench -p tidemill --bench projections -- sqlite                                     # one store
//! cargo bench -p tidemill --bench projections -- million                                    # rebuild and queries, on the real program
//! ```
//!
//! One event: read from the embedded log, decode, validate, fold. An order makes a document with five indexes, which is looked for
//! first, and changes one of 10,000 documents with one index; 500 events are one transaction. The order of the contestants
//! changes from round to round; medians are compared.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark fails by panicking and answers by printing")]

#[allow(dead_code, reason = "other benchmarks use more of it")]
#[path = "http"]
mod http {
    pub(crate) mod load;
    pub(crate) mod program;
}
#[path = "projections/million.rs"]
mod million;
#[path = "projections/native.rs"]
mod native;
#[path = "projections/order_view.rs"]
mod order_view;
#[path = "throughput/orders.rs"]
mod orders;
#[path = "projections/postgres.rs"]
mod postgres;
#[path = "projections/runner.rs"]
mod runner;
#[allow(dead_code, reason = "other benchmarks use more of it")]
#[path = "throughput/server.rs"]
mod server;
#[path = "projections/stage.rs"]
mod stage;

use std::sync::Arc;

use serde_json::Value;
use tidemill_core::read_model::ReadModelStore;
use tidemill_sqlite::SqliteStore;

use postgres::Postgres;
use runner::Guests;
use stage::Stage;

const CONTESTANTS: [&str; 3] = ["native loop", "projection, a closure", "projection, order-view"];

/// Where documents go: a store of its own for each run.
enum Stores {
    Sqlite(tempfile::TempDir),
    Postgres(Postgres),
}

fn main() {
    let has = |word: &str| std::env::args().any(|argument| argument == word);
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let (events, rounds) = (numbers.first().copied().unwrap_or(100_000), numbers.get(1).copied().unwrap_or(3));
    if has("million") {
        return million::report(numbers.first().copied().unwrap_or(1_000_000));
    }
    // As many threads as the host has; guests have their own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    println!("{events} events a run, {rounds} rounds, {} cores", std::thread::available_parallelism().unwrap());
    let stage = runtime.block_on(Stage::set(events));
    let guests = Guests::load(&stage);
    if !has("postgres") {
        let stores = Stores::Sqlite(tempfile::tempdir().unwrap());
        runtime.block_on(compare("SQLite", &stores, &stage, &guests, rounds));
    }
    if !has("sqlite") {
        let stores = Stores::Postgres(Postgres::start());
        runtime.block_on(compare("PostgreSQL", &stores, &stage, &guests, rounds));
    }
}

async fn compare(name: &str, stores: &Stores, stage: &Stage, guests: &Guests, rounds: usize) {
    let mut rates: [Vec<f64>; 3] = Default::default();
    let mut made = None;
    for round in 0..rounds {
        for turn in 0..3 {
            let contestant = (round + turn) % 3;
            let store = stores.open(&format!("bench_{round}_{contestant}")).await;
            let took = match contestant {
                0 => native::fold(stage, Arc::clone(&store)).await,
                1 => guests.closure(stage, Arc::clone(&store)).await,
                _ => guests.plugin(stage, Arc::clone(&store)).await,
            };
            rates[contestant].push(stage.events as f64 / took.as_secs_f64());
            let documents = documents(stage, &*store).await;
            assert_eq!(made.get_or_insert_with(|| documents.clone()), &documents, "everybody makes the same documents");
        }
    }
    println!("\n{name:24} {:>12} {:>12} {:>12} {:>9}", "median/s", "min", "max", "/ native");
    let medians: Vec<f64> = rates.iter_mut().map(|rates| median(rates)).collect();
    for (contestant, rates) in rates.iter().enumerate() {
        println!(
            "{:24} {:>12.0} {:>12.0} {:>12.0} {:>9.2}",
            CONTESTANTS[contestant],
            medians[contestant],
            rates[0],
            rates[rates.len() - 1],
            medians[contestant] / medians[0]
        );
    }
}

/// What the last order and its customer came to.
async fn documents(stage: &Stage, store: &dyn ReadModelStore) -> Vec<Value> {
    let config = &stage.config.projections[0];
    let ledger = store.ledger(&config.name).await.unwrap();
    let active = ledger.active().unwrap();
    assert_eq!((active.folded, active.dead_lettered), (stage.events as u64, 0));
    let last = stage.events - 1;
    let mut documents = Vec::new();
    for (name, key) in [("orders", format!("ord-{last:08}")), ("customer-totals", format!("cus-{:05}", last % 10_000))]
    {
        let collection = config.collections.iter().find(|it| it.name.as_str() == name).unwrap();
        let (found, _) = store.get(&active.id, collection, &key).await.unwrap();
        documents.push(serde_json::from_slice(&found.unwrap()).unwrap());
    }
    documents
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

// === impl Stores ===

impl Stores {
    async fn open(&self, name: &str) -> Arc<dyn ReadModelStore> {
        match self {
            Self::Sqlite(home) => SqliteStore::open(&home.path().join(name)).unwrap(),
            Self::Postgres(server) => server.store(name).await,
        }
    }
}
