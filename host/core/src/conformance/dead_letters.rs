//! `Source::dead_letter` and what the command line does with dead letters.

use std::time::Duration;

use super::bench::{Bench, Scene, nothing_comes, payload, same_millisecond, take, take_one};
use crate::port::{Backlog, DeadLetterQuery, Delivery, Redrive, StoredDeadLetter};

async fn kill(scene: &Scene, delivery: &Delivery) {
    scene.source.dead_letter(delivery, scene.record(delivery, "trap")).await.unwrap();
}

fn redrive(scene: &Scene, letter: &StoredDeadLetter, original: &Delivery, redriven: u32) -> Redrive {
    Redrive {
        dead_letter: letter.id,
        route: scene.route.name.clone(),
        origin: original.origin.clone(),
        message: original.message.clone(),
        stored: original.stored,
        redriven,
    }
}

pub(super) async fn a_dead_letter_is_kept_as_it_was_written(bench: Bench) {
    let scene = bench.scene().await;
    bench.publish("in.a", &["poison"]).await;
    let delivery = take_one(&scene.source).await;
    let record = scene.record(&delivery, "trap");
    scene.source.dead_letter(&delivery, record.clone()).await.unwrap();

    let letters = bench.dead_letters(&scene.route).await;
    assert_eq!(letters.len(), 1);
    assert_eq!((&letters[0].message.subject, &letters[0].message.payload), (&record.subject, &record.payload));
    for (name, value) in record.headers.iter() {
        assert_eq!(letters[0].message.headers.get(name), Some(value), "{name}");
    }
    let one = bench.broker.dead_letter(letters[0].id).await.unwrap();
    assert_eq!(one.as_ref(), letters.first());
    bench.backlog_becomes(&scene.route, Backlog::default()).await;
    nothing_comes(&scene.source).await;
}

pub(super) async fn a_dead_letter_is_stored_once(bench: Bench) {
    let scene = bench.scene().await;
    bench.publish("in.a", &["poison"]).await;
    let delivery = take_one(&scene.source).await;
    for _ in 0..3 {
        kill(&scene, &delivery).await;
    }
    assert_eq!(bench.dead_letters(&scene.route).await.len(), 1);
}

pub(super) async fn dead_letters_are_listed_in_pages(bench: Bench) {
    let scene = bench.scene().await;
    bench.publish("in.a", &["1", "2", "3", "4", "5"]).await;
    for delivery in take(&scene.source, 5).await {
        kill(&scene, &delivery).await;
    }
    let other = bench.route("other", &scene.input);
    assert!(bench.dead_letters(&other).await.is_empty());

    let all = bench.dead_letters(&scene.route).await;
    assert!(all.windows(2).all(|pair| pair[0].id < pair[1].id), "in the order of their ids");
    let query = |after, limit| DeadLetterQuery { route: Some(scene.route.name.clone()), after, limit };
    let page = bench.broker.dead_letters(query(all[1].id, 2)).await.unwrap();
    assert_eq!(page, all[2..4]);
    assert!(bench.broker.dead_letters(query(all[4].id, 10)).await.unwrap().is_empty());
    let anybody = DeadLetterQuery { route: None, after: all[0].id - 1, limit: 1 };
    assert_eq!(bench.broker.dead_letters(anybody).await.unwrap().len(), 1);
}

pub(super) async fn a_discarded_dead_letter_is_gone(bench: Bench) {
    let scene = bench.scene().await;
    bench.publish("in.a", &["1", "2"]).await;
    for delivery in take(&scene.source, 2).await {
        kill(&scene, &delivery).await;
    }
    let letters = bench.dead_letters(&scene.route).await;
    assert!(bench.broker.discard(letters[0].id).await.unwrap());
    assert!(!bench.broker.discard(letters[0].id).await.unwrap(), "it was gone already");
    assert_eq!(bench.broker.dead_letter(letters[0].id).await.unwrap(), None);
    assert_eq!(bench.dead_letters(&scene.route).await, letters[1..]);
    assert!(!bench.broker.discard(u64::MAX / 4).await.unwrap());
    assert_eq!(bench.broker.dead_letter(u64::MAX / 4).await.unwrap(), None);
}

pub(super) async fn a_redriven_event_returns_to_its_route_only(bench: Bench) {
    let scene = bench.scene().await;
    let other = bench.route("other", &scene.input);
    let elsewhere = bench.broker.open(&other).await.unwrap();
    bench.publish("in.a", &["poison"]).await;
    let original = take_one(&scene.source).await;
    let there = take_one(&elsewhere).await;
    bench.broker.commit(vec![super::bench::commit(&other, &there, vec![])]).await.remove(0).unwrap();
    kill(&scene, &original).await;

    let letter = bench.dead_letters(&scene.route).await.remove(0);
    assert!(bench.broker.redrive(redrive(&scene, &letter, &original, 1)).await.unwrap());
    assert!(bench.dead_letters(&scene.route).await.is_empty());

    let back = take_one(&scene.source).await;
    assert_eq!((&back.origin, &back.message), (&original.origin, &original.message));
    assert_eq!((back.attempt, back.redriven, back.first_failure), (1, 1, None));
    assert!(same_millisecond(back.stored, original.stored), "{:?} {:?}", back.stored, original.stored);
    bench
        .broker
        .commit(vec![scene.commit(&back, vec![bench.outgoing("out.a", "repaired", "done")])])
        .await
        .remove(0)
        .unwrap();
    assert_eq!(bench.contents(&scene.output).await, ["done"]);
    bench.backlog_becomes(&scene.route, Backlog::default()).await;
    nothing_comes(&elsewhere).await;
}

pub(super) async fn a_redriven_event_can_die_again(bench: Bench) {
    let scene = bench.scene().await;
    bench.publish("in.a", &["poison"]).await;
    let original = take_one(&scene.source).await;
    kill(&scene, &original).await;
    let mut last_id = 0;
    for redriven in 1..=2 {
        let letter = bench.dead_letters(&scene.route).await.remove(0);
        assert!(letter.id > last_id, "ids are never reused");
        last_id = letter.id;
        assert!(bench.broker.redrive(redrive(&scene, &letter, &original, redriven)).await.unwrap());
        let back = take_one(&scene.source).await;
        assert_eq!((payload(&back).as_str(), back.redriven), ("poison", redriven));
        scene.source.park(&back, 2, Duration::from_millis(100), original.stored).await.unwrap();
        let again = take_one(&scene.source).await;
        assert_eq!((again.attempt, again.redriven), (2, redriven), "a retry keeps the count");
        kill(&scene, &again).await;
    }
    assert_eq!(bench.dead_letters(&scene.route).await.len(), 1);
    bench.backlog_becomes(&scene.route, Backlog::default()).await;
}

pub(super) async fn redriving_twice_delivers_once(bench: Bench) {
    let scene = bench.scene().await;
    bench.publish("in.a", &["poison"]).await;
    let original = take_one(&scene.source).await;
    kill(&scene, &original).await;
    let letter = bench.dead_letters(&scene.route).await.remove(0);
    let order = redrive(&scene, &letter, &original, 1);
    assert!(bench.broker.redrive(order.clone()).await.unwrap());
    assert!(!bench.broker.redrive(order).await.unwrap(), "it was gone already");
    let _ = take_one(&scene.source).await;
    nothing_comes(&scene.source).await;
}
