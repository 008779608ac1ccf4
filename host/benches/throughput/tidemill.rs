//! The same work as a route of Tidemill with the shop's Rust plugin.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidemill::app::App;
use tidemill_core::message::{Headers, Message};
use tidemill_core::port::Outgoing;
use tidemill_core::subject::Subject;
use tidemill_engine::Compiler;
use tokio::sync::watch;

use super::rooms::resident_mib;
use super::server::{Server, root};
use super::{native, orders};

/// As many unacknowledged events as the native consumer may hold: it has 256 in work and fetches 256 ahead.
pub(crate) const IN_FLIGHT: usize = 512;

pub(crate) fn on_nats(events: usize) -> Duration {
    on_nats_with(events, IN_FLIGHT)
}

/// With the default of `max_in_flight`.
pub(crate) fn on_nats_by_default(events: usize) -> Duration {
    on_nats_with(events, 256)
}

fn on_nats_with(events: usize, in_flight: usize) -> Duration {
    let server = Server::start();
    let home = tempfile::tempdir().unwrap();
    write(home.path(), &format!("broker: {{ nats: {{ servers: [\"{}\"] }} }}\n", server.url), in_flight);
    host_runtime().block_on(async {
        let app = build(home.path()).await;
        let client = async_nats::connect(&server.url).await.unwrap();
        native::publish(&async_nats::jetstream::new(client), events).await;
        work(app, events).await
    })
}

pub(crate) fn on_embedded(events: usize) -> Duration {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "", IN_FLIGHT);
    host_runtime().block_on(async {
        let app = build(home.path()).await;
        for first in (0..events).step_by(500) {
            let batch = (first..events.min(first + 500)).map(order).collect();
            for result in app.broker().publish(batch).await {
                result.unwrap();
            }
        }
        work(app, events).await
    })
}

/// Resident memory while so many events pass through the embedded log, ten times on the way.
pub(crate) fn memory(events: usize) {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "", IN_FLIGHT);
    host_runtime().block_on(async {
        let app = build(home.path()).await;
        println!("resident memory: {} MiB when ready", resident_mib());
        let (stop, stopped) = watch::channel(false);
        let feeding = async {
            let mut published = 0;
            while published < events {
                let batch = (published..events.min(published + 500)).map(order).collect();
                for result in app.broker().publish(batch).await {
                    result.unwrap();
                }
                published = events.min(published + 500);
                while done(&app).await + 2000 < published {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                if published % (events / 10) == 0 {
                    println!("  {} MiB after {published} events", resident_mib());
                }
            }
            stop.send_replace(true);
        };
        let (ran, ()) = tokio::join!(app.run(stopped), feeding);
        ran.unwrap();
    });
}

/// What `tidemill run` uses.
pub(crate) fn host_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

async fn build(home: &Path) -> Arc<App> {
    App::build(&home.join("runtime.yaml"), Compiler::InProcess).await.unwrap()
}

async fn work(app: Arc<App>, events: usize) -> Duration {
    let (stop, stopped) = watch::channel(false);
    let started = Instant::now();
    let finished = async {
        while done(&app).await < events {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let took = started.elapsed();
        stop.send_replace(true);
        took
    };
    let (ran, took) = tokio::join!(app.run(stopped), finished);
    ran.unwrap();
    let counts = app.summary().routes.remove(0).counts;
    assert_eq!((counts.emitted, counts.dead_lettered, counts.retried), (events as u64, 0, 0));
    took
}

pub(crate) async fn done(app: &App) -> usize {
    app.summary().routes.first().map_or(0, |route| route.counts.done as usize)
}

pub(crate) fn order(number: usize) -> Outgoing {
    Outgoing {
        id: format!("evt-{number:08}"),
        message: Message {
            subject: Subject::try_new("orders.created").unwrap(),
            headers: orders::headers(number).into_iter().collect::<Headers>(),
            payload: Bytes::from(orders::data(number)),
        },
    }
}

/// A configuration, the schema and the plugin in a folder of their own.
pub(crate) fn write(home: &Path, broker: &str, in_flight: usize) {
    fs::create_dir_all(home.join("schemas")).unwrap();
    fs::create_dir_all(home.join("plugins")).unwrap();
    fs::write(home.join("schemas/OrderCreated.json"), orders::SCHEMA).unwrap();
    fs::copy(root().join("plugins/fraud-check.wasm"), home.join("plugins/fraud-check.wasm")).unwrap();
    let mut text = String::from("version: 1\n");
    text.push_str(broker);
    write!(
        text,
        r#"schemas: {{ dir: ./schemas, on_missing: allow }}
streams:
  - {{ name: ORDERS, subjects: ["orders.>"] }}
  - {{ name: FRAUD, subjects: ["fraud.>"] }}
routes:
  - name: fraud
    source: {{ stream: ORDERS, subjects: ["orders.created"], start: all }}
    filter: {{ type: [OrderCreated], data: {{ total: [{{ numeric: [">=", 1000] }}] }} }}
    handler: fraud-check
    emits: ["fraud.>"]
    max_in_flight: {in_flight}
"#
    )
    .unwrap();
    fs::write(home.join("runtime.yaml"), text).unwrap();
}
