//! Closing and opening again: what was acknowledged is there, what was not settled comes back, nothing comes twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::bench::{Bench, Scene, new_id, patience, payload, take};
use crate::port::{Backlog, Broker, Redrive, StateCommit, StateCommitted, StateWrite};

pub(super) async fn everything_acknowledged_is_there_again<F>(open: F)
where
    F: Fn() -> BoxFuture<'static, Arc<dyn Broker>>,
{
    let bench = Bench::new(open().await);
    let (input, output) = first_life(&bench).await;
    let bench = bench.on(open().await);
    second_life(&bench, input, output).await;
    bench.broker.close().await.unwrap();
}

type Settings = crate::config::StreamConfig;

/// Leaves one delivery in every state that there is, named by its payload.
async fn first_life(bench: &Bench) -> (Settings, Settings) {
    let scene = bench.scene().await;
    let space = bench.space("s");
    let names = ["committed", "stated", "parked", "dead", "redriven", "unsettled", "undelivered"];
    bench.publish("in.a", &names).await;
    let taken = take(&scene.source, 6).await;

    let emit = |text: &str| vec![bench.outgoing("out.a", &new_id(), text)];
    bench.broker.commit(vec![scene.commit(&taken[0], emit("committed"))]).await.remove(0).unwrap();
    let write = StateWrite { key: "k".to_owned(), value: Some(Bytes::from_static(b"kept")), expected: None };
    let batch = StateCommit {
        space: space.clone(),
        commits: vec![scene.commit(&taken[1], emit("stated"))],
        writes: vec![write],
    };
    let done = bench.broker.commit_state(batch).await.unwrap();
    assert!(matches!(done, StateCommitted::Done { .. }), "{done:?}");
    scene.source.park(&taken[2], 4, Duration::from_secs(2), SystemTime::now()).await.unwrap();
    for delivery in &taken[3..5] {
        scene.source.dead_letter(delivery, scene.record(delivery, "trap")).await.unwrap();
    }
    let letter = bench.dead_letters(&scene.route).await.remove(1);
    let redrive = Redrive {
        dead_letter: letter.id,
        route: scene.route.name.clone(),
        origin: taken[4].origin.clone(),
        message: taken[4].message.clone(),
        stored: taken[4].stored,
        redriven: 1,
    };
    assert!(bench.broker.redrive(redrive).await.unwrap());
    bench.broker.close().await.unwrap();
    (scene.input, scene.output)
}

async fn second_life(bench: &Bench, input: Settings, output: Settings) {
    bench.broker.provision(&[input.clone(), output.clone()]).await.unwrap();
    let route = bench.route("route", &input);
    let letters = bench.dead_letters(&route).await;
    assert_eq!(letters.len(), 1, "the command line needs no open route");
    assert_eq!(letters[0].message.payload, Bytes::from_static(b"dead"));
    let state = bench.broker.state_get(&bench.space("s"), "k").await.unwrap();
    assert_eq!(state.value, Some(Bytes::from_static(b"kept")));

    let source = bench.broker.open(&route).await.unwrap();
    let scene = Scene { input, output, route, source };
    let mut came: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    let deadline = Instant::now() + patience(&scene.source);
    while came.len() < 4 {
        assert!(Instant::now() < deadline, "only these came: {came:?}");
        for delivery in scene.source.pull(16).await.unwrap() {
            let known = came.insert(payload(&delivery), (delivery.attempt, delivery.redriven));
            assert_eq!(known, None, "{} came twice", payload(&delivery));
            bench.broker.commit(vec![scene.commit(&delivery, vec![])]).await.remove(0).unwrap();
        }
    }
    let names: Vec<_> = came.keys().map(String::as_str).collect();
    assert_eq!(names, ["parked", "redriven", "undelivered", "unsettled"]);
    assert_eq!(came["parked"].0, 4);
    assert_eq!(came["redriven"].1, 1);
    assert_eq!(bench.contents(&scene.output).await, ["committed", "stated"]);
    bench.backlog_becomes(&scene.route, Backlog::default()).await;
}
