//! Stopping closes the tap. What runs finishes and is settled; what waits is remembered by the broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use futures_util::FutureExt as _;
use tidemill_core::port::Backlog;
use tokio::time::{Instant, sleep};

use crate::faulty::{Door, Fault, SourceTraits};
use crate::rig::{Setup, count_up, emit, emits, nothing, retry};

#[tokio::test(start_paused = true)]
async fn an_idle_route_ends_at_once() {
    let mut rig = Setup::default().start(|_| async { nothing() }.boxed()).await;
    sleep(Duration::from_secs(10)).await;
    assert!(rig.is_running());
    let begun = Instant::now();
    rig.stop().await;
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn running_calls_finish_and_are_settled_and_nothing_new_is_read() {
    for uses_state in [false, true] {
        let mut rig = Setup { max_in_flight: 4, uses_state, ..Setup::default() }
            .start(|call| {
                async move {
                    sleep(Duration::from_secs(20)).await;
                    if call.state.is_some() { count_up(call).await } else { emits(vec![emit("out.a", "x")]) }
                }
                .boxed()
            })
            .await;
        rig.publish_many(10).await;
        sleep(Duration::from_secs(1)).await;
        rig.broker.plan.fail(Door::Commit, Fault::Unavailable, 3);
        rig.broker.plan.fail(Door::CommitState, Fault::Unavailable, 3);
        let begun = Instant::now();
        rig.stop().await;
        assert!(begun.elapsed() >= Duration::from_secs(19), "state: {uses_state}");
        assert_eq!((rig.summary().done, rig.emitted().await.len()), (4, 4), "state: {uses_state}");
        assert_eq!(rig.backlog().await, Backlog { undelivered: 6, in_flight: 0, parked: 0 }, "state: {uses_state}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_waits_in_the_host_is_parked_with_its_attempt() {
    let source = SourceTraits { hold_limit: Duration::from_secs(3600), ..SourceTraits::default() };
    let mut rig = Setup { source, ..Setup::default() }.start(|_| async { retry() }.boxed()).await;
    rig.publish(&["a", "b"]).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(rig.backlog().await.in_flight, 2);
    let begun = Instant::now();
    rig.stop().await;
    assert!(begun.elapsed() < Duration::from_millis(100), "nobody waits for the timer: {:?}", begun.elapsed());
    assert_eq!(rig.backlog().await, Backlog { undelivered: 0, in_flight: 0, parked: 2 });
    assert_eq!(*rig.source.parked.lock().unwrap(), [(2, Duration::from_secs(1)); 2]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_after_the_stop_is_parked_too() {
    let source = SourceTraits { hold_limit: Duration::from_secs(3600), ..SourceTraits::default() };
    let mut rig = Setup { source, ..Setup::default() }
        .start(|_| {
            async {
                sleep(Duration::from_secs(5)).await;
                retry()
            }
            .boxed()
        })
        .await;
    rig.publish(&["a"]).await;
    sleep(Duration::from_secs(1)).await;
    rig.stop().await;
    assert_eq!(rig.backlog().await, Backlog { undelivered: 0, in_flight: 0, parked: 1 });
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_broker_to_come_back() {
    let rig = Setup::default().start(|_| async { emits(vec![emit("out.a", "x")]) }.boxed()).await;
    rig.broker.plan.fail(Door::Commit, Fault::AnswerLost, 20);
    rig.publish_many(5).await;
    sleep(Duration::from_millis(20)).await;
    rig.tell_to_stop();
    sleep(Duration::from_secs(10)).await;
    assert!(rig.is_running());
    sleep(Duration::from_secs(60)).await;
    assert!(!rig.is_running());
    assert_eq!((rig.summary().done, rig.emitted().await.len()), (5, 5));
    assert!(rig.backlog().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_route_leaves_its_events_to_the_broker() {
    let called = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&called);
    let mut rig = Setup::default()
        .start(move |_| {
            flag.store(true, SeqCst);
            async { std::future::pending().await }.boxed()
        })
        .await;
    rig.publish(&["a"]).await;
    sleep(Duration::from_secs(1)).await;
    rig.abandon().await;
    assert!(called.load(SeqCst));
    assert_eq!(rig.backlog().await, Backlog { undelivered: 0, in_flight: 1, parked: 0 });
}
