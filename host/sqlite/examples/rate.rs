//! How fast read models in SQLite are on this machine, without a plugin.
//!
//! ```sh
//! cargo run --release -p tidemill-sqlite --example rate -- [EVENTS] [DOCUMENTS] [DIRECTORY]
//! ```
//!
//! Each event reads one of `DOCUMENTS` documents of about 300 bytes, changes it and writes it back; 500 events are one commit;
//! there are three indexes. Three runs: documents that are new, documents of which only the body changes, and documents of
//! which an indexed field changes with each event. Then queries of 20 documents, beside no writer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use tidemill_core::name::{CollectionName, ProjectionName, StreamName};
use tidemill_core::read_model::{
    Batch, Claim, Collection, Condition, CopyId, CopyReader, Direction, DocumentWrite, Fence, FieldPath, Index,
    IndexValue, NewCopy, Operator, Positions, Query, ReadModelStore, Written,
};
use tidemill_sqlite::SqliteStore;

const BATCH: usize = 500;
const QUERIES: usize = 5_000;

struct Run {
    store: Arc<SqliteStore>,
    fence: Fence,
    copy: CopyId,
    orders: Collection,
    stream: StreamName,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let events = number(400_000).context("EVENTS is a number")?;
    let documents = number(100_000).context("DOCUMENTS is a number")?;
    let scratch = tempfile::tempdir()?;
    let dir = arguments.next().map_or_else(|| scratch.path().join("read-models"), PathBuf::from);
    println!("{documents} documents, batches of {BATCH}, 3 indexes");

    let run = Run::begin(&dir).await?;
    run.fold("new", documents, |event| (event, 0)).await?;
    run.fold("body only", events, |_| (fastrand::usize(..documents), 0)).await?;
    run.fold("indexed", events, |event| (fastrand::usize(..documents), event)).await?;
    run.ask(documents).await?;
    println!("resident  {:>9} KiB", resident_kib());
    let begun = Instant::now();
    drop(run);
    println!("close     {:>9.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

impl Run {
    async fn begin(dir: &std::path::Path) -> anyhow::Result<Self> {
        let store = SqliteStore::open(dir)?;
        let projection = ProjectionName::try_new("rate")?;
        let Claim::Granted(fence) = store.claim(&projection, "rate").await? else { bail!("the claim is held") };
        let index = |fields: &[&str]| -> anyhow::Result<Index> {
            Ok(Index { fields: fields.iter().map(|field| FieldPath::try_new(field)).collect::<Result<_, _>>()? })
        };
        let indexes = vec![index(&["customer"])?, index(&["status", "created"])?, index(&["total"])?];
        let orders = Collection::new(CollectionName::try_new("orders")?, indexes);
        let new = NewCopy { digest: String::new(), collections: [orders.clone()].into(), positions: Positions::new() };
        let copy = store.create(&fence, new).await?;
        Ok(Self { store, fence, copy, orders, stream: StreamName::try_new("ORDERS")? })
    }

    /// `change` says which document an event is about, and what its indexed fields come from.
    async fn fold(&self, what: &str, events: usize, change: impl Fn(usize) -> (usize, usize)) -> anyhow::Result<()> {
        let (mut reading, mut committing) = (Duration::ZERO, Duration::ZERO);
        let mut done = 0;
        while done < events {
            let builds_on = self.store.positions(&self.copy).await?;
            let batch: Vec<(usize, usize)> = (done..events.min(done + BATCH)).map(&change).collect();
            done += batch.len();
            let begun = Instant::now();
            for (document, _) in &batch {
                std::hint::black_box(self.store.read(&self.copy, &self.orders, &key(*document)).await?);
            }
            reading += begun.elapsed();
            let writes: std::collections::BTreeMap<String, DocumentWrite> =
                batch.iter().map(|(document, salt)| (key(*document), self.write(*document, *salt))).collect();
            let positions = [(self.stream.clone(), done as u64)].into();
            let batch = Batch {
                writes: writes.into_values().collect(),
                builds_on,
                positions,
                folded: batch.len() as u64,
                dead_lettered: 0,
            };
            let begun = Instant::now();
            self.store.commit(&self.fence, &self.copy, batch).await?;
            committing += begun.elapsed();
        }
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / events as f64;
        let rate = events as f64 / (reading + committing).as_secs_f64();
        println!(
            "{what:<9} {rate:>9.0} events/s   read {:>5.1} µs, commit {:>5.1} µs per event",
            micros(reading),
            micros(committing)
        );
        Ok(())
    }

    fn write(&self, document: usize, salt: usize) -> DocumentWrite {
        let (customer, status) = (document % 1000, ["new", "paid", "sent", "done"][(document + salt) % 4]);
        let (created, total) = (document + salt, (document * 7919 + salt) % 100_000);
        let padding = "x".repeat(200);
        let body = format!(
            r#"{{"customer":"c-{customer}","status":"{status}","created":{created},"total":{total},"salt":{salt},"padding":"{padding}"}}"#
        );
        let value = |value: serde_json::Value| IndexValue::of(Some(&value)).unwrap_or_else(|_| IndexValue::missing());
        let index_values =
            [value(format!("c-{customer}").into()), value(status.into()), value(created.into()), value(total.into())];
        let document_written = Written { body: Bytes::from(body), index_values: index_values.into() };
        DocumentWrite { collection: self.orders.name.clone(), key: key(document), document: Some(document_written) }
    }

    async fn ask(&self, documents: usize) -> anyhow::Result<()> {
        let newest = |status: &str| Query {
            conditions: vec![Condition {
                column: 1,
                operator: Operator::In(vec![
                    IndexValue::of(Some(&status.into())).unwrap_or_else(|_| IndexValue::missing()),
                ]),
            }],
            sort: vec![2],
            direction: Direction::Descending,
            after: None,
            limit: 20,
        };
        let mut times = Vec::with_capacity(QUERIES);
        for number in 0..QUERIES {
            let query = newest(["new", "paid", "sent", "done"][number % 4]);
            let begun = Instant::now();
            self.store.query(&self.copy, &self.orders, &query, Duration::from_secs(5)).await?;
            times.push(begun.elapsed());
        }
        report("query", times);
        let mut times = Vec::with_capacity(QUERIES);
        for _ in 0..QUERIES {
            let key = key(fastrand::usize(..documents));
            let begun = Instant::now();
            self.store.get(&self.copy, &self.orders, &key).await?;
            times.push(begun.elapsed());
        }
        report("get", times);
        Ok(())
    }
}

fn key(document: usize) -> String {
    // Spread, as ids are.
    format!("{:08x}-{document}", (document as u32).wrapping_mul(0x9e37_79b9))
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    println!("{what:<9} median {:>7.0} µs, p99 {:>7.0} µs", at(0.5), at(0.99));
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}
