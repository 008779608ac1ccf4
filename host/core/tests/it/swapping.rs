//! A new build takes over while events flow: which build handles which event, and what becomes of a build that is worse.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tidemill_core::config::Probation;
use tidemill_core::failure::FailureKind;
use tidemill_core::generation::Generation;
use tidemill_core::pipeline::Build;
use tidemill_core::schema::{SchemaFile, Schemas};
use tidemill_core::trial::{Grounds, Standing, Trial};
use tokio::time::sleep;

use crate::faulty::{Door, Fault};
use crate::rig::{Rig, Setup, build, count_up, emit, emits, event_message, failed, retry};

const PROBATION: Probation = Probation { calls: 100, time: Duration::from_secs(30) };

/// A build that emits its own name and the event's id.
fn naming(digest: &'static str) -> Arc<Generation> {
    build(digest, false, move |call| {
        let id = call.event.id.clone();
        async move { emits(vec![emit("out.a", &format!("{digest} {id}"))]) }.boxed()
    })
}

/// A route served by `old`.
async fn rig() -> Rig {
    let rig = Setup::default().start(|_| async { failed(FailureKind::Trap) }.boxed()).await;
    rig.serve(Build::Trusted(naming("old")));
    rig
}

/// Puts a build on trial beside the one that serves.
fn try_out(rig: &Rig, new: Arc<Generation>) -> Arc<Trial> {
    let trial = Trial::new(new, rig.current(), PROBATION);
    rig.serve(Build::OnTrial(Arc::clone(&trial)));
    trial
}

/// How many of the emits came from each of the builds, and that no event was handled twice or not at all.
async fn shares(rig: &Rig, events: usize) -> (usize, usize) {
    let emitted = rig.emitted_data().await;
    let mut ids: Vec<&str> = emitted.iter().map(|text| text.trim_matches('"').split_once(' ').unwrap().1).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), emitted.len()), (events, events));
    let old = emitted.iter().filter(|text| text.contains("old ")).count();
    (old, events - old)
}

#[tokio::test(start_paused = true)]
async fn after_a_swap_the_new_build_handles_what_comes() {
    let rig = rig().await;
    rig.publish_many(10).await;
    rig.settled().await;
    let trial = try_out(&rig, naming("new"));
    rig.publish_many(10).await;
    rig.settled().await;
    assert_eq!(rig.emitted_data().await.iter().filter(|text| text.contains("new ")).count(), 10);
    assert_eq!(trial.standing(), Standing::Open);
    assert_eq!(trial.concluded().await, Standing::Passed, "nothing spoke against it within its time");
}

#[tokio::test(start_paused = true)]
async fn a_probation_ends_with_its_last_call() {
    let rig = rig().await;
    let trial = try_out(&rig, naming("new"));
    rig.publish_many(PROBATION.calls as usize).await;
    rig.settled().await;
    assert_eq!(trial.standing(), Standing::Passed);
}

#[tokio::test(start_paused = true)]
async fn of_a_build_that_was_never_called_nothing_is_known() {
    let rig = rig().await;
    let trial = try_out(&rig, naming("new"));
    let concluded = tokio::spawn({
        let trial = Arc::clone(&trial);
        async move { trial.concluded().await }
    });
    sleep(PROBATION.time * 10).await;
    assert_eq!(trial.standing(), Standing::Open);
    rig.publish(&["e"]).await;
    assert_eq!(concluded.await.unwrap(), Standing::Passed);
}

#[tokio::test(start_paused = true)]
async fn a_build_that_breaks_on_every_event_is_rolled_back_and_no_event_is_the_worse_for_it() {
    for kind in [FailureKind::Trap, FailureKind::Timeout, FailureKind::OutOfMemory, FailureKind::EffectRefused] {
        let rig = rig().await;
        let trial = try_out(&rig, build("bad", false, move |_| async move { failed(kind) }.boxed()));
        rig.publish_many(50).await;
        rig.settled().await;
        let Standing::RolledBack(Grounds::Broke { events, .. }) = trial.standing() else {
            panic!("{kind:?}: {:?}", trial.standing());
        };
        assert!((3..=6).contains(&events), "{events} with four workers");
        assert_eq!(shares(&rig, 50).await, (50, 0), "{kind:?}");
        assert_eq!(rig.dead_letters().await.len(), 0, "{kind:?}");
        assert_eq!(rig.summary().retried, 0, "{kind:?}: the build before handled them at once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_build_that_breaks_on_every_fifth_event_is_rolled_back() {
    let rig = rig().await;
    let calls = AtomicUsize::new(0);
    let flaky = build("bad", false, move |call| {
        let bad = calls.fetch_add(1, SeqCst) % 5 == 4;
        let id = call.event.id.clone();
        async move { if bad { failed(FailureKind::Trap) } else { emits(vec![emit("out.a", &format!("new {id}"))]) } }
            .boxed()
    });
    let trial = try_out(&rig, flaky);
    rig.publish_many(60).await;
    rig.settled().await;
    assert!(matches!(trial.standing(), Standing::RolledBack(Grounds::Broke { .. })), "{:?}", trial.standing());
    let (old, new) = shares(&rig, 60).await;
    assert!(old > 40 && new >= 12, "{old} old, {new} new");
    assert_eq!(rig.dead_letters().await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_broken_event_at_the_end_of_its_time_is_enough_when_there_were_no_others() {
    let rig = rig().await;
    let trial = try_out(&rig, build("bad", false, |_| async { failed(FailureKind::Trap) }.boxed()));
    rig.publish(&["e"]).await;
    rig.settled().await;
    assert_eq!(trial.standing(), Standing::Open);
    assert!(matches!(trial.concluded().await, Standing::RolledBack(Grounds::Broke { events: 1, calls: 1, .. })));
    assert_eq!(shares(&rig, 1).await, (1, 0));
}

/// Both builds trap on it: the event is to blame, and it takes the way of every poison event.
#[tokio::test(start_paused = true)]
async fn a_poison_event_speaks_against_no_build() {
    let poisoned = |digest: &'static str| {
        build(digest, false, move |call| {
            let id = call.event.id.clone();
            async move {
                if id == "poison" {
                    failed(FailureKind::Trap)
                } else {
                    emits(vec![emit("out.a", &format!("{digest} {id}"))])
                }
            }
            .boxed()
        })
    };
    let rig = rig().await;
    rig.serve(Build::Trusted(poisoned("old")));
    let trial = try_out(&rig, poisoned("new"));
    rig.publish(&["poison", "a", "b", "c", "d"]).await;
    rig.settled().await;
    assert_eq!(trial.concluded().await, Standing::Passed);
    let letter = rig.dead_letter().await;
    assert_eq!((letter.event_id.as_deref(), letter.attempts), (Some("poison"), 3));
    assert_eq!(letter.digest, "old", "the build that had the last word is named");
    assert_eq!(shares(&rig, 4).await, (0, 4));
}

#[tokio::test(start_paused = true)]
async fn what_a_build_on_probation_rejects_waits_and_is_dead_lettered_once_the_build_is_trusted() {
    let rig = rig().await;
    let strict = |event: &str| if event == "bad" { failed(FailureKind::Rejected) } else { emits(vec![]) };
    let trial = try_out(
        &rig,
        build("strict", false, move |call| {
            let answer = strict(&call.event.id);
            async { answer }.boxed()
        }),
    );
    rig.publish(&["bad", "good"]).await;
    sleep(PROBATION.time / 2).await;
    assert_eq!(rig.dead_letters().await.len(), 0);
    assert_eq!(trial.concluded().await, Standing::Passed);
    rig.settled().await;
    let letter = rig.dead_letter().await;
    assert_eq!((letter.reason.as_str(), letter.digest.as_str(), letter.attempts), ("rejected", "strict", 1));
}

#[tokio::test(start_paused = true)]
async fn a_build_that_rejects_what_the_one_before_handles_is_rolled_back_and_dead_letters_nothing() {
    let rig = rig().await;
    let trial = try_out(&rig, build("deaf", false, |_| async { failed(FailureKind::Rejected) }.boxed()));
    rig.publish_many(20).await;
    let Standing::RolledBack(grounds) = trial.concluded().await else { panic!("{:?}", trial.standing()) };
    assert!(
        grounds.to_string().starts_with("it rejected 20 events that the build before it handles, and handled 0"),
        "{grounds}"
    );
    rig.settled().await;
    assert_eq!(shares(&rig, 20).await, (20, 0));
    assert_eq!(rig.dead_letters().await.len(), 0);
}

/// What a call sends over HTTP leaves, although its answer is thrown away.
#[tokio::test(start_paused = true)]
async fn the_build_before_is_asked_once_about_a_rejected_event_however_long_that_waits() {
    let rig = rig().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    rig.serve(Build::Trusted(build("old", false, move |_| {
        counting.fetch_add(1, SeqCst);
        async { emits(vec![]) }.boxed()
    })));
    let trial = try_out(&rig, build("deaf", false, |_| async { failed(FailureKind::Rejected) }.boxed()));
    rig.publish(&["a", "b"]).await;
    sleep(PROBATION.time * 9 / 10).await;
    assert_eq!((trial.standing(), asked.load(SeqCst)), (Standing::Open, 2));
    assert!(matches!(trial.concluded().await, Standing::RolledBack(Grounds::Rejects { events: 2, .. })));
    rig.settled().await;
    assert_eq!(asked.load(SeqCst), 4, "and then it handles them");
}

#[tokio::test(start_paused = true)]
async fn what_a_build_rejected_before_it_was_rolled_back_is_handled_by_the_one_before() {
    let rig = rig().await;
    let trial = try_out(&rig, build("strict", false, |_| async { failed(FailureKind::Rejected) }.boxed()));
    rig.publish(&["a", "b"]).await;
    sleep(Duration::from_secs(5)).await;
    trial.roll_back();
    rig.settled().await;
    assert_eq!(trial.standing(), Standing::RolledBack(Grounds::Asked));
    assert_eq!(shares(&rig, 2).await, (2, 0));
    assert_eq!(rig.dead_letters().await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn attempts_used_up_on_a_build_on_probation_dead_letter_nothing() {
    let rig = rig().await;
    let trial = try_out(&rig, build("new", false, |_| async { retry() }.boxed()));
    rig.publish(&["e"]).await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!(rig.dead_letters().await.len(), 0, "three attempts are over after seconds");
    trial.roll_back();
    rig.settled().await;
    assert_eq!(shares(&rig, 1).await, (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_build_whose_emits_break_their_schema_is_rolled_back() {
    let text = r#"{ "maxLength": 10 }"#.to_owned();
    let schemas = Schemas::compile(vec![SchemaFile { path: "Emitted.json".to_owned(), text }]).unwrap();
    let rig = Setup { schemas, ..Setup::default() }.start(|_| async { failed(FailureKind::Trap) }.boxed()).await;
    rig.serve(Build::Trusted(naming("old")));
    let trial = try_out(&rig, naming("much too long"));
    rig.publish_many(20).await;
    rig.settled().await;
    let Standing::RolledBack(grounds) = trial.standing() else { panic!("{:?}", trial.standing()) };
    assert!(grounds.to_string().contains("emit-invalid"), "{grounds}");
    assert_eq!(shares(&rig, 20).await, (20, 0));
}

#[tokio::test(start_paused = true)]
async fn a_build_that_has_become_slow_is_rolled_back() {
    let paced = |digest: &'static str, pace: Duration| {
        build(digest, false, move |call| {
            let id = call.event.id.clone();
            async move {
                sleep(pace).await;
                emits(vec![emit("out.a", &format!("{digest} {id}"))])
            }
            .boxed()
        })
    };
    let rig = rig().await;
    rig.serve(Build::Trusted(paced("old", Duration::from_millis(4))));
    rig.publish_many(40).await;
    rig.settled().await;
    let trial = try_out(&rig, paced("slow", Duration::from_millis(80)));
    rig.publish_messages((40..90).map(|n| event_message(&format!("e{n}"))).collect()).await;
    rig.settled().await;
    let standing = trial.concluded().await;
    assert!(matches!(standing, Standing::RolledBack(Grounds::Slow { .. })), "{standing:?}");
    shares(&rig, 90).await;
}

/// The build before rejects what the new one breaks on: neither is proven right, and the event waits.
#[tokio::test(start_paused = true)]
async fn a_build_that_only_ever_broke_is_rolled_back_although_the_one_before_declines() {
    let rig = rig().await;
    rig.serve(Build::Trusted(build("strict", false, |_| async { failed(FailureKind::Rejected) }.boxed())));
    let trial = try_out(&rig, build("bad", false, |_| async { failed(FailureKind::Trap) }.boxed()));
    rig.publish(&["a", "b"]).await;
    sleep(PROBATION.time / 2).await;
    assert_eq!((trial.standing(), rig.dead_letters().await.len()), (Standing::Open, 0));
    assert!(matches!(trial.concluded().await, Standing::RolledBack(Grounds::Unproven { .. })));
    rig.settled().await;
    let letters = rig.dead_letters().await;
    assert!(letters.iter().all(|letter| letter.digest == "strict" && letter.reason == "rejected"), "{letters:?}");
    assert_eq!(letters.len(), 2);
}

/// Nobody can say whether the build before would have wanted the same.
#[tokio::test(start_paused = true)]
async fn an_emit_that_the_broker_refuses_waits_for_the_end_of_the_probation() {
    let rig = rig().await;
    let trial = try_out(&rig, naming("new"));
    rig.broker.plan.fail(Door::Commit, Fault::Refused, 3);
    rig.publish(&["e"]).await;
    rig.settled().await;
    assert_eq!((rig.dead_letters().await.len(), rig.summary().retried), (0, 0), "three attempts were allowed");
    assert_eq!(shares(&rig, 1).await, (0, 1));
    assert_eq!(trial.standing(), Standing::Open);
}

/// Attempts on a build that is gone are not the good build's.
#[tokio::test(start_paused = true)]
async fn retries_on_a_build_on_probation_use_up_no_attempt() {
    let rig = rig().await;
    let first = AtomicUsize::new(0);
    rig.serve(Build::Trusted(build("old", false, move |call| {
        let again = first.fetch_add(1, SeqCst) == 0;
        let id = call.event.id.clone();
        async move { if again { retry() } else { emits(vec![emit("out.a", &format!("old {id}"))]) } }.boxed()
    })));
    let trial = try_out(&rig, build("new", false, |_| async { retry() }.boxed()));
    rig.publish(&["e"]).await;
    sleep(Duration::from_secs(20)).await;
    trial.roll_back();
    rig.settled().await;
    assert_eq!(shares(&rig, 1).await, (1, 0));
    assert_eq!((rig.dead_letters().await.len(), rig.summary().retried), (0, 1));
}

/// What the broken call wrote is gone; the build before it counts each event once.
#[tokio::test(start_paused = true)]
async fn state_that_a_broken_call_wrote_is_not_kept() {
    let rig = Setup { uses_state: true, instances: 1, ..Setup::default() }.start(|call| count_up(call).boxed()).await;
    let writes_and_traps = build("bad", true, |call| {
        async move {
            let mut session = call.state.unwrap();
            session.put("n", Bytes::from("1000"), &call.route.limits).unwrap();
            failed(FailureKind::Trap)
        }
        .boxed()
    });
    rig.publish_many(5).await;
    rig.settled().await;
    let trial = try_out(&rig, writes_and_traps);
    rig.publish_messages((5..20).map(|n| event_message(&format!("e{n}"))).collect()).await;
    rig.settled().await;
    assert!(matches!(trial.standing(), Standing::RolledBack(_)));
    assert_eq!(rig.number("n").await, 20);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_outlives_the_drain_runs_again_on_the_new_build() {
    let rig = rig().await;
    let stuck = build("stuck", false, |_| async { std::future::pending().await }.boxed());
    rig.serve(Build::Trusted(Arc::clone(&stuck)));
    rig.publish(&["e"]).await;
    sleep(Duration::from_secs(1)).await;
    rig.serve(Build::Trusted(naming("new")));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.summary().done, 0, "it may finish where it began");
    stuck.interrupt();
    rig.settled().await;
    assert_eq!(shares(&rig, 1).await, (0, 1));
    assert_eq!(rig.summary().retried, 0, "being interrupted is no attempt");
}

#[tokio::test(start_paused = true)]
async fn an_interruption_ends_what_waits_and_not_what_comes_later() {
    let rig = rig().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let slow = build("slow", false, move |call| {
        count.fetch_add(1, SeqCst);
        let id = call.event.id.clone();
        async move {
            sleep(Duration::from_secs(1)).await;
            emits(vec![emit("out.a", &format!("slow {id}"))])
        }
        .boxed()
    });
    rig.serve(Build::Trusted(Arc::clone(&slow)));
    rig.publish(&["e"]).await;
    sleep(Duration::from_millis(500)).await;
    slow.interrupt();
    rig.settled().await;
    assert_eq!((calls.load(SeqCst), rig.summary().done, rig.summary().retried), (2, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_swaps_under_load_lose_and_double_nothing() {
    let rig = rig().await;
    let feed = async {
        for _ in 0..50 {
            rig.publish_messages((0..100).map(|_| event_message(&format!("e{}", uuid::Uuid::now_v7()))).collect())
                .await;
            tokio::task::yield_now().await;
        }
    };
    let swaps = async {
        for _ in 0..100 {
            rig.serve(Build::Trusted(naming("new")));
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::join!(feed, swaps);
    tokio::time::timeout(Duration::from_secs(60), rig.settled()).await.unwrap();
    shares(&rig, 5000).await;
}
