//! `Broker::open`, `Source::pull`, what becomes of unsettled deliveries, and `Admin::backlog`.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, timeout};

use super::bench::{Bench, SOON, commit, nothing_comes, patience, payload, take, take_one, take_within};
use crate::config::Start;
use crate::name::StreamName;
use crate::port::{Backlog, Delivery};

/// An acknowledgement wait that a test can sit out.
const SHORT_WAIT: Duration = Duration::from_secs(15);

pub(super) async fn a_first_delivery_says_where_it_stands(bench: Bench) {
    let scene = bench.scene().await;
    let before = SystemTime::now();
    let published = bench.publish("in.a", &["x"]).await.remove(0);
    let delivery = take_one(&scene.source).await;

    assert_eq!((&delivery.origin.stream, delivery.origin.sequence), (&scene.input.name, published.sequence));
    assert_eq!((delivery.attempt, delivery.redriven, delivery.first_failure), (1, 0, None));
    let slack = Duration::from_secs(2);
    assert!(delivery.stored + slack > before && delivery.stored < SystemTime::now() + slack, "{:?}", delivery.stored);
}

pub(super) async fn a_pull_gives_at_most_what_was_asked(bench: Bench) {
    let scene = bench.scene().await;
    bench.publish("in.a", &["1", "2", "3", "4", "5"]).await;
    let mut seen = Vec::new();
    let deadline = Instant::now() + SOON;
    while seen.len() < 5 {
        let deliveries = scene.source.pull(2).await.unwrap();
        assert!(deliveries.len() <= 2);
        seen.extend(deliveries.iter().map(payload));
        assert!(Instant::now() < deadline, "{seen:?}");
    }
    assert_eq!(seen, ["1", "2", "3", "4", "5"], "in the order of the stream");
    assert!(scene.source.pull(0).await.unwrap().is_empty());
}

pub(super) async fn an_empty_pull_ends_by_itself(bench: Bench) {
    let scene = bench.scene().await;
    let pulled = timeout(SOON, scene.source.pull(16)).await.expect("it ends");
    assert!(pulled.unwrap().is_empty());
}

pub(super) async fn a_waiting_pull_wakes_up(bench: Bench) {
    let scene = bench.scene().await;
    let source = scene.source.clone();
    let waiting = tokio::spawn(async move { take_one(&source).await });
    sleep(Duration::from_millis(300)).await;
    bench.publish("in.a", &["late"]).await;
    let delivery = timeout(SOON, waiting).await.unwrap().unwrap();
    assert_eq!(payload(&delivery), "late");
}

pub(super) async fn a_route_starts_where_it_is_told(bench: Bench) {
    let stream = bench.stream("in");
    bench.broker.provision(std::slice::from_ref(&stream)).await.unwrap();
    let early = bench.publish("in.a", &["1", "2"]).await;
    sleep(Duration::from_millis(100)).await;
    let between = SystemTime::now();
    sleep(Duration::from_millis(100)).await;
    bench.publish("in.a", &["3"]).await;

    let mut sources = Vec::new();
    for (name, start, expected) in [
        ("all", Start::All, vec!["1", "2", "3", "4"]),
        ("new", Start::New, vec!["4"]),
        ("sequence", Start::Sequence(early[1].sequence), vec!["2", "3", "4"]),
        ("time", Start::Time(between), vec!["3", "4"]),
    ] {
        let mut route = bench.route(name, &stream);
        route.start = start;
        sources.push((name, bench.broker.open(&route).await.unwrap(), expected));
    }
    bench.publish("in.a", &["4"]).await;
    for (name, source, expected) in sources {
        let found: Vec<_> = take(&source, expected.len()).await.iter().map(payload).collect();
        assert_eq!(found, expected, "start: {name}");
    }
}

pub(super) async fn a_route_reads_its_subjects_only(bench: Bench) {
    let stream = bench.stream("in");
    bench.broker.provision(std::slice::from_ref(&stream)).await.unwrap();
    let mut route = bench.route("some", &stream);
    route.subjects = vec![bench.pattern("in.created"), bench.pattern("in.*.eu")];
    let source = bench.broker.open(&route).await.unwrap();

    for subject in ["in.created", "in.shipped", "in.shipped.eu", "in.shipped.us", "in.created.eu"] {
        bench.publish(subject, &[subject]).await;
    }
    bench.backlog_becomes(&route, Backlog { undelivered: 3, ..Backlog::default() }).await;
    let found: Vec<_> = take(&source, 3).await.iter().map(payload).collect();
    assert_eq!(found, ["in.created", "in.shipped.eu", "in.created.eu"]);
    nothing_comes(&source).await;
}

pub(super) async fn routes_do_not_share_a_position(bench: Bench) {
    let scene = bench.scene().await;
    let other = bench.route("other", &scene.input);
    let second = bench.broker.open(&other).await.unwrap();
    bench.publish("in.a", &["x"]).await;

    let delivery = take_one(&scene.source).await;
    bench.broker.commit(vec![scene.commit(&delivery, vec![])]).await.remove(0).unwrap();
    bench.backlog_becomes(&scene.route, Backlog::default()).await;
    bench.backlog_becomes(&other, Backlog { undelivered: 1, ..Backlog::default() }).await;
    let again = take_one(&second).await;
    assert_eq!(again.origin, delivery.origin);
}

pub(super) async fn a_cancelled_pull_loses_nothing(bench: Bench) {
    const COUNT: usize = 60;
    let scene = bench.scene().await;
    let mut seen: BTreeSet<u64> = BTreeSet::new();
    let note = |seen: &mut BTreeSet<u64>, deliveries: Vec<Delivery>| {
        seen.extend(deliveries.iter().map(|delivery| delivery.origin.sequence));
    };
    for round in 0..COUNT as u64 {
        bench.publish("in.a", &["x"]).await;
        let pull = scene.source.pull(4);
        if let Ok(pulled) = timeout(Duration::from_micros(round * 40), pull).await {
            note(&mut seen, pulled.unwrap());
        }
    }
    let deadline = Instant::now() + patience(&scene.source);
    while seen.len() < COUNT {
        assert!(Instant::now() < deadline, "{} of {COUNT} came", seen.len());
        note(&mut seen, scene.source.pull(16).await.unwrap());
    }
}

pub(super) async fn what_is_released_comes_back(bench: Bench) {
    let scene = bench.scene().await;
    bench.publish("in.a", &["1", "2", "3"]).await;
    let deliveries = take(&scene.source, 3).await;
    scene.source.release(&deliveries[..2]).await.unwrap();

    let back = take_within(&scene.source, 2, patience(&scene.source)).await;
    let found: BTreeSet<_> = back.iter().map(payload).collect();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["1", "2"]);
    bench.broker.commit(back.iter().map(|d| scene.commit(d, vec![])).collect()).await;
    bench.backlog_becomes(&scene.route, Backlog { in_flight: 1, ..Backlog::default() }).await;
}

pub(super) async fn an_unsettled_delivery_is_held_for_the_promised_time(bench: Bench) {
    let scene = bench.scene().await;
    bench.publish("in.a", &["x"]).await;
    let delivery = take_one(&scene.source).await;
    let receipts = [delivery.receipt.clone()];
    scene.source.in_progress(&receipts).await.unwrap();
    scene.source.in_progress(&receipts).await.unwrap();
    nothing_comes(&scene.source).await;

    // Only brokers with a wait that a test can sit out are asked whether the delivery comes back by itself.
    if scene.source.ack_wait().is_some_and(|wait| wait <= SHORT_WAIT) {
        let back = take_within(&scene.source, 1, patience(&scene.source)).await.remove(0);
        assert_eq!(back.origin, delivery.origin);
    }
}

pub(super) async fn a_route_on_a_missing_stream_is_an_error(bench: Bench) {
    let mut route = bench.route("lost", &bench.stream("in"));
    route.stream = StreamName::try_new("NOT_THERE_AT_ALL").unwrap();
    assert!(bench.broker.open(&route).await.is_err());
}

pub(super) async fn the_backlog_counts_what_is_not_settled(bench: Bench) {
    let stream = bench.stream("in");
    bench.broker.provision(std::slice::from_ref(&stream)).await.unwrap();
    bench.publish("in.a", &["1", "2", "3", "4", "5"]).await;
    let route = bench.route("counted", &stream);
    assert!(bench.broker.backlog(&route).await.unwrap().is_empty(), "a route that never ran has none");

    let source = bench.broker.open(&route).await.unwrap();
    bench.backlog_becomes(&route, Backlog { undelivered: 5, in_flight: 0, parked: 0 }).await;
    let taken = take(&source, 3).await;
    bench.backlog_becomes(&route, Backlog { undelivered: 2, in_flight: 3, parked: 0 }).await;
    bench.broker.commit(vec![commit(&route, &taken[1], vec![])]).await.remove(0).unwrap();
    bench.backlog_becomes(&route, Backlog { undelivered: 2, in_flight: 2, parked: 0 }).await;
    source.park(&taken[0], 2, Duration::from_secs(600), SystemTime::now()).await.unwrap();
    bench.backlog_becomes(&route, Backlog { undelivered: 2, in_flight: 1, parked: 1 }).await;
}
