//! Many calls on the same state at the same time, in one host and in two.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tidemill_core::stats::RouteSummary;

use crate::faulty::{Door, Fault, Faulty};
use crate::rig::{Rig, Setup, count_up};

/// How long a case with a real clock may take on a loaded machine.
const SOON: Duration = Duration::from_secs(60);

/// Every value from 1 to `count` was emitted once: no increment built on another's.
async fn assert_counted(rig: &Rig, count: u64) {
    assert_eq!(rig.number("n").await, count);
    let mut emitted: Vec<u64> =
        rig.emitted_data().await.iter().map(|text| text.trim_matches('"').parse().unwrap()).collect();
    emitted.sort_unstable();
    assert_eq!(emitted, (1..=count).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn increments_of_one_key_on_several_workers_are_exact() {
    let rig = Setup { uses_state: true, instances: 8, ..Setup::default() }.start(|call| count_up(call).boxed()).await;
    rig.publish_many(500).await;
    rig.settled().await;
    assert_counted(&rig, 500).await;
    let RouteSummary { received, done, dead_lettered, conflicts, .. } = rig.summary();
    assert_eq!((received, done, dead_lettered), (500, 500, 0));
    assert!(conflicts > 0, "eight workers meet");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn increments_on_several_threads_are_exact() {
    let rig = Setup { uses_state: true, instances: 8, ..Setup::default() }.start(|call| count_up(call).boxed()).await;
    rig.publish_many(500).await;
    tokio::time::timeout(SOON, rig.settled()).await.unwrap();
    assert_counted(&rig, 500).await;
}

#[tokio::test(start_paused = true)]
async fn increments_are_exact_whatever_the_broker_does() {
    let rig = Setup { uses_state: true, instances: 8, ..Setup::default() }.start(|call| count_up(call).boxed()).await;
    for _ in 0..20 {
        for (fault, times) in
            [(Fault::AnswerLost, 2), (Fault::Unavailable, 1), (Fault::Works, 1), (Fault::Refused, 1), (Fault::Works, 1)]
        {
            rig.broker.plan.fail(Door::CommitState, fault, times);
        }
        rig.broker.plan.fail(Door::StateGet, Fault::Unavailable, 1);
    }
    rig.publish_many(200).await;
    rig.settled().await;
    let dead = rig.dead_letters().await.len() as u64;
    assert_counted(&rig, 200 - dead).await;
}

/// Two hosts with a route each over the same stream: they share nothing but the broker and the key.
async fn two_hosts() -> (Rig, Rig) {
    let one = Faulty::new();
    let other = Faulty::beside(Arc::clone(&one.inner));
    let setup = |name, broker| Setup { name, broker, uses_state: true, ..Setup::default() };
    let first = setup("one", one).start(|call| count_up(call).boxed()).await;
    let second = setup("other", other).start(|call| count_up(call).boxed()).await;
    (first, second)
}

#[tokio::test(start_paused = true)]
async fn two_hosts_on_one_key_conflict_and_are_exact() {
    let (one, other) = two_hosts().await;
    for _ in 0..50 {
        one.publish_many(4).await;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..50))).await;
    }
    one.settled().await;
    other.settled().await;
    assert_counted(&one, 400).await;
    let (first, second) = (one.summary(), other.summary());
    assert!(first.conflicts + second.conflicts > 0, "they meet");
    assert_eq!((first.done, second.done), (200, 200));
    assert_eq!((first.retried + second.retried, first.dead_lettered + second.dead_lettered), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hosts_on_several_threads_are_exact() {
    let (one, other) = two_hosts().await;
    one.publish_many(200).await;
    tokio::time::timeout(SOON, async { tokio::join!(one.settled(), other.settled()) }).await.unwrap();
    assert_counted(&one, 400).await;
}
