//! `Source::park`: durable waiting for the next attempt.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::bench::{Bench, new_id, nothing_comes, payload, same_millisecond, take, take_one};
use crate::port::Backlog;

/// Long enough to be seen waiting, also on a loaded machine.
const DELAY: Duration = Duration::from_secs(6);

/// A server may keep times to the millisecond and have a clock of its own.
const CLOCK_SLACK: Duration = Duration::from_millis(100);

pub(super) async fn a_parked_delivery_comes_back_when_it_is_due(bench: Bench) {
    let scene = bench.scene().await;
    bench.publish("in.a", &["x"]).await;
    let first = take_one(&scene.source).await;
    let failed = SystemTime::now() - Duration::from_secs(77);
    let begun = Instant::now();
    scene.source.park(&first, 2, DELAY, failed).await.unwrap();
    bench.backlog_becomes(&scene.route, Backlog { parked: 1, ..Backlog::default() }).await;

    let back = take_one(&scene.source).await;
    assert!(begun.elapsed() + CLOCK_SLACK >= DELAY, "it came back after {:?}", begun.elapsed());
    assert_eq!(back.attempt, 2);
    assert_eq!((&back.origin, &back.message), (&first.origin, &first.message));
    assert!(same_millisecond(back.stored, first.stored), "{:?} {:?}", back.stored, first.stored);
    let came_with = back.first_failure.expect("the first failure comes back");
    assert!(same_millisecond(came_with, failed), "{came_with:?} {failed:?}");
    bench.backlog_becomes(&scene.route, Backlog { in_flight: 1, ..Backlog::default() }).await;
}

pub(super) async fn parking_twice_comes_back_once(bench: Bench) {
    let scene = bench.scene().await;
    bench.publish("in.a", &["x"]).await;
    let delivery = take_one(&scene.source).await;
    let failed = SystemTime::now();
    for _ in 0..2 {
        scene.source.park(&delivery, 2, Duration::from_millis(200), failed).await.unwrap();
    }
    let back = take_one(&scene.source).await;
    assert_eq!(back.attempt, 2);
    nothing_comes(&scene.source).await;
}

pub(super) async fn parking_under_the_same_attempt_brings_it_back_each_time(bench: Bench) {
    let scene = bench.scene().await;
    bench.publish("in.a", &["x"]).await;
    let failed = SystemTime::now();
    for attempt in [1, 1, 1, 2, 2, 2] {
        let delivery = take_one(&scene.source).await;
        scene.source.park(&delivery, attempt, Duration::from_millis(50), failed).await.unwrap();
    }
    assert_eq!(take_one(&scene.source).await.attempt, 2);
    nothing_comes(&scene.source).await;
}

pub(super) async fn a_parked_delivery_can_be_parked_committed_and_dead_lettered(bench: Bench) {
    let scene = bench.scene().await;
    bench.publish("in.a", &["committed", "dead-lettered"]).await;
    let failed = SystemTime::now();
    for attempt in [2, 3] {
        // Both are taken first: otherwise the one that was parked may be back before the other one is taken.
        for delivery in take(&scene.source, 2).await {
            assert_eq!(delivery.attempt, attempt - 1);
            scene.source.park(&delivery, attempt, Duration::from_millis(300), failed).await.unwrap();
        }
    }
    for delivery in take(&scene.source, 2).await {
        assert_eq!(delivery.attempt, 3);
        if payload(&delivery) == "committed" {
            let commit = scene.commit(&delivery, vec![bench.outgoing("out.a", &new_id(), "done")]);
            bench.broker.commit(vec![commit.clone()]).await.remove(0).unwrap();
            bench.broker.commit(vec![commit]).await.remove(0).unwrap();
        } else {
            scene.source.dead_letter(&delivery, scene.record(&delivery, "trap")).await.unwrap();
        }
    }
    bench.backlog_becomes(&scene.route, Backlog::default()).await;
    assert_eq!(bench.contents(&scene.output).await, ["done"]);
    assert_eq!(bench.dead_letters(&scene.route).await.len(), 1);
}

pub(super) async fn parking_concerns_one_route(bench: Bench) {
    let scene = bench.scene().await;
    let other = bench.route("other", &scene.input);
    let source = bench.broker.open(&other).await.unwrap();
    bench.publish("in.a", &["x"]).await;
    let here = take_one(&scene.source).await;
    let there = take_one(&source).await;
    bench.broker.commit(vec![super::bench::commit(&other, &there, vec![])]).await.remove(0).unwrap();
    scene.source.park(&here, 2, Duration::from_millis(200), SystemTime::now()).await.unwrap();
    assert_eq!(take_one(&scene.source).await.attempt, 2);
    nothing_comes(&source).await;
}
