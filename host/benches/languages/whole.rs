//! A whole host on the embedded log: read, decode, validate, call, commit to disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidemill::app::App;
use tidemill_core::message::{Headers, Message};
use tidemill_core::port::Outgoing;
use tidemill_core::subject::Subject;
use tidemill_engine::Compiler;
use tokio::sync::watch;

use super::Work;

/// Events a second.
pub(crate) fn rate(work: &Work, component: &[u8], events: usize) -> f64 {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join("plugins")).unwrap();
    std::fs::write(home.path().join("plugins").join(format!("{}.wasm", work.plugin)), component).unwrap();
    let state = work.uses_state;
    let config = format!(
        r#"version: 1
schemas: {{ on_missing: allow }}
streams:
  - {{ name: IN, subjects: ["in.>"] }}
  - {{ name: OUT, subjects: ["checks.>", "payments.>", "receipts.>"] }}
plugins: {{ settings: {{ {0}: {{ state: {state} }} }} }}
routes:
  - {{ name: bench, source: {{ stream: IN, start: all }}, handler: {0}, emits: ["checks.>", "payments.>", "receipts.>"], max_in_flight: 512 }}
"#,
        work.plugin
    );
    std::fs::write(home.path().join("runtime.yaml"), config).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let app = App::build(&home.path().join("runtime.yaml"), Compiler::InProcess).await.unwrap();
        for first in (0..events).step_by(500) {
            let batch = (first..events.min(first + 500)).map(|number| event(work, number)).collect();
            for stored in app.broker().publish(batch).await {
                stored.unwrap();
            }
        }
        let took = handle(app, events, work.emits).await;
        events as f64 / took.as_secs_f64()
    })
}

async fn handle(app: Arc<App>, events: usize, emits: usize) -> Duration {
    let (stop, stopped) = watch::channel(false);
    let begun = Instant::now();
    let done = async {
        while app.summary().routes.first().map_or(0, |route| route.counts.done) < events as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let took = begun.elapsed();
        stop.send_replace(true);
        took
    };
    let (ran, took) = tokio::join!(app.run(stopped), done);
    ran.unwrap();
    let counts = app.summary().routes.remove(0).counts;
    assert_eq!((counts.emitted, counts.dead_lettered), ((events * emits) as u64, 0));
    took
}

fn event(work: &Work, number: usize) -> Outgoing {
    let headers: Headers = [
        ("ce-specversion", "1.0".to_owned()),
        ("ce-id", format!("evt-{number:08}")),
        ("ce-source", "/bench".to_owned()),
        ("ce-type", work.kind.to_owned()),
        ("content-type", "application/json".to_owned()),
    ]
    .into_iter()
    .collect();
    let message =
        Message { subject: Subject::try_new("in.new").unwrap(), headers, payload: Bytes::from((work.data)(number)) };
    Outgoing { id: format!("evt-{number:08}"), message }
}
