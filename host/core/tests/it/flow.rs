//! How many events a route holds, what waits where, and who waits for whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::faulty::{Door, Faulty, SourceTraits};
use crate::rig::{Seen, Setup, emit, emits, nothing, policy, retry};

#[tokio::test(start_paused = true)]
async fn a_route_holds_no_more_than_its_places_and_pulls_no_more_than_are_free() {
    let open = Arc::new(Semaphore::new(0));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (gate, inside, peak) = (Arc::clone(&open), Arc::clone(&running), Arc::clone(&most));
    let rig = Setup { max_in_flight: 8, instances: 16, ..Setup::default() }
        .start(move |_| {
            let (gate, inside, peak) = (Arc::clone(&gate), Arc::clone(&inside), Arc::clone(&peak));
            async move {
                peak.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                gate.acquire().await.unwrap().forget();
                inside.fetch_sub(1, SeqCst);
                nothing()
            }
            .boxed()
        })
        .await;
    rig.publish_many(100).await;
    sleep(Duration::from_secs(60)).await;
    let (backlog, pulled) = (rig.backlog().await, rig.source.pulled.lock().unwrap().len());
    assert_eq!((running.load(SeqCst), pulled, backlog.in_flight, backlog.undelivered), (8, 8, 8, 92));
    open.add_permits(3);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.source.pulled.lock().unwrap().len(), 11, "three were done, three are pulled");
    open.add_permits(1000);
    rig.settled().await;
    assert_eq!((most.load(SeqCst), rig.summary().done), (8, 100));
    assert!(rig.source.largest_pull.load(SeqCst) <= 8);
}

#[tokio::test(start_paused = true)]
async fn events_that_cannot_be_settled_keep_their_places() {
    let rig = Setup { max_in_flight: 8, ..Setup::default() }.start(|_| async { nothing() }.boxed()).await;
    let answers = rig.broker.plan.hold_answers(Door::Commit);
    rig.publish_many(50).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.source.pulled.lock().unwrap().len(), 8);
    answers.add_permits(1000);
    rig.settled().await;
    assert_eq!(rig.summary().done, 50);
}

#[tokio::test(start_paused = true)]
async fn a_slow_route_delays_no_other() {
    let broker = Faulty::new();
    let slow = Setup { name: "slow", broker: Arc::clone(&broker), ..Setup::default() }
        .start(|_| async { std::future::pending().await }.boxed())
        .await;
    let quick = Setup { name: "quick", broker, ..Setup::default() }.start(|_| async { nothing() }.boxed()).await;
    let begun = Instant::now();
    slow.publish_many(500).await;
    quick.settled().await;
    assert_eq!((quick.summary().done, slow.summary().done), (500, 0));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_finished_event_does_not_wait_for_the_slow_one_behind_it() {
    let rig = Setup { instances: 1, ..Setup::default() }
        .start(|call| {
            let slow = call.event.id == "slow";
            async move {
                if slow {
                    sleep(Duration::from_secs(30)).await;
                }
                emits(vec![emit("out.a", "x")])
            }
            .boxed()
        })
        .await;
    rig.publish(&["quick", "slow", "behind"]).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.summary().done, 1);
    rig.settled().await;
    assert_eq!((rig.summary().done, rig.summary().received), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn retries_that_wait_leave_three_quarters_of_the_places_to_new_events() {
    let source = SourceTraits { hold_limit: Duration::from_secs(3600), ..SourceTraits::default() };
    let rig = Setup { max_in_flight: 16, retry: policy(2, Duration::from_secs(3600)), source, ..Setup::default() }
        .start(|call| {
            let again = call.event.id != "new" && call.attempt == 1;
            async move { if again { retry() } else { nothing() } }.boxed()
        })
        .await;
    rig.publish_many(100).await;
    sleep(Duration::from_millis(500)).await;
    let backlog = rig.backlog().await;
    assert_eq!((backlog.in_flight, backlog.parked, backlog.undelivered), (4, 96, 0));
    rig.publish(&["new"]).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.summary().done, 1, "the new one overtakes what waits");
    rig.settled().await;
    let summary = rig.summary();
    assert_eq!((summary.received, summary.done, summary.retried), (101, 101, 100));
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_handler_holds_is_reported_alive_every_third_of_the_wait() {
    let source = SourceTraits { ack_wait: Some(Duration::from_secs(3)), ..SourceTraits::default() };
    let rig = Setup { source, ..Setup::default() }
        .start(|call| {
            let wait = Duration::from_secs(if call.event.id == "slow" { 10 } else { 0 });
            async move {
                sleep(wait).await;
                nothing()
            }
            .boxed()
        })
        .await;
    let begun = Instant::now();
    rig.publish(&["slow", "quick"]).await;
    rig.settled().await;
    let beats = rig.source.heartbeats.lock().unwrap().clone();
    assert!((7..=10).contains(&beats.len()), "{beats:?}");
    assert!(beats.iter().all(|(_, receipts)| *receipts == 1), "only what is in flight: {beats:?}");
    let mut last = begun;
    for (at, _) in beats {
        assert!(at - last <= Duration::from_millis(1510), "silent for {:?}", at - last);
        last = at;
    }
    sleep(Duration::from_secs(60)).await;
    assert!(rig.source.heartbeats.lock().unwrap().last().unwrap().0 <= begun + Duration::from_millis(10_100));
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_comes_back_while_in_flight_is_set_aside_and_not_lost() {
    let open = Arc::new(Semaphore::new(0));
    let (gate, seen) = (Arc::clone(&open), Seen::default());
    let log = seen.clone();
    let rig = Setup { max_in_flight: 8, ..Setup::default() }
        .start(move |call| {
            log.note(&call);
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                emits(vec![emit("out.a", "x")])
            }
            .boxed()
        })
        .await;
    rig.publish(&["a"]).await;
    sleep(Duration::from_secs(1)).await;
    let mut again = rig.source.pulled.lock().unwrap()[0].clone();
    again.attempt = 2;
    // A broker that has lost patience says so again and again.
    rig.source.again.lock().unwrap().extend(vec![again; 20]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(seen.attempts(), [1], "not beside the first one");
    open.add_permits(1000);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(seen.attempts(), [1, 2], "once afterwards, however often it came");
    assert_eq!(rig.emitted().await.len(), 1);
    assert!(rig.backlog().await.is_empty());
}
