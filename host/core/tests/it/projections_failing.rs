//! Events that cannot be folded, and what becomes of those after them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use futures_util::FutureExt as _;
use tidemill_core::config::{OnFailure, Probation};
use tidemill_core::failure::FailureKind;
use tidemill_core::pipeline::Build;
use tidemill_core::projection::ProjectionState;
use tidemill_core::read_model::CopyState;
use tidemill_core::trial::Trial;
use tokio::time::{Instant, sleep};

use crate::faulty::{Door, Fault};
use crate::projection_rig::{Rig, Setup, message, note, noting, noting_unless, numbers};
use crate::rig::build;

const TRAP: FailureKind = FailureKind::Trap;

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_leaves_nothing_behind_and_is_made_again_after_its_delay() {
    let flaky = noting_unless("sha256:a", |id, attempt| (id == "flaky" && attempt < 3).then_some(TRAP));
    let rig = Setup { batch: 100, ..Setup::default() }.start(flaky).await;
    let begun = Instant::now();
    rig.publish(["before", "flaky", "after"]).await;
    // What came before is not kept waiting.
    let is_seen = |rig: &Rig| rig.store.in_state(CopyState::Active).is_some_and(|copy| copy.folded == 1);
    rig.until("the first is seen", is_seen).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    rig.folded().await;
    assert_eq!(begun.elapsed().as_secs(), 3, "one second, then two");
    assert_eq!(rig.seen("IN"), ["before", "flaky", "after"]);
    assert_eq!(rig.projection.stats.summary().retried, 2);
    assert!(rig.dead_letters().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_fails_every_time_is_dead_lettered_and_the_read_model_is_degraded() {
    let rig = Setup::default().start(noting_unless("sha256:a", |id, _| (id == "poison").then_some(TRAP))).await;
    rig.publish(["before", "poison", "after"]).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), ["before", "after"]);

    let letter = rig.dead_letters().await.remove(0);
    assert_eq!((letter.route.as_str(), letter.attempts, letter.reason.as_str()), ("view", 3, "trap"));
    assert_eq!((letter.event_id.as_deref(), letter.digest.as_str()), (Some("poison"), "sha256:a"));
    assert_eq!((letter.origin.to_string().as_str(), letter.host.as_str()), ("IN:2", "test-host"));
    let status = rig.status().await;
    assert!(status.degraded);
    let active = status.active.unwrap();
    assert_eq!((active.folded, active.dead_lettered), (2, 1));
    assert_eq!(rig.projection.stats.summary().dead_lettered_by_reason["trap"], 1);
}

#[tokio::test(start_paused = true)]
async fn the_event_s_own_fault_is_dead_lettered_at_once() {
    let refuses = noting_unless("sha256:a", |id, _| (id == "no").then_some(FailureKind::Rejected));
    let rig = Setup::default().start(refuses).await;
    let mut malformed = message("in.a", "x");
    malformed.headers = Default::default();
    let begun = Instant::now();
    rig.publish(["a", "no"]).await;
    rig.publish_messages(vec![malformed]).await;
    rig.publish(["b"]).await;
    rig.folded().await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(rig.seen("IN"), ["a", "b"]);
    let reasons: Vec<String> = rig.dead_letters().await.into_iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, ["rejected", "malformed"]);
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_panics_the_host_fails_its_event_only() {
    let panics = build("sha256:a", false, |call| {
        async move {
            assert_ne!(call.event.id, "panic");
            note(call).await
        }
        .boxed()
    });
    let rig = Setup::default().start(panics).await;
    rig.publish(["a", "panic", "b"]).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), ["a", "b"]);
    assert_eq!(rig.dead_letters().await.remove(0).reason, "trap");
}

#[tokio::test(start_paused = true)]
async fn it_halts_before_the_event_if_it_shall_and_goes_on_with_a_build_that_can() {
    let setup = Setup { on_failure: OnFailure::Halt, ..Setup::default() };
    let rig = setup.start(noting_unless("sha256:a", |id, _| (id == "poison").then_some(TRAP))).await;
    rig.publish(["before", "poison", "after"]).await;
    let ProjectionState::Halted(halt) = rig.becomes(|state| matches!(state, ProjectionState::Halted(_))).await else {
        unreachable!()
    };
    assert_eq!((halt.event.as_deref(), halt.reason.as_str()), (Some("IN:2"), "trap: on purpose"));
    assert_eq!(rig.seen("IN"), ["before"]);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(rig.seen("IN"), ["before"]);
    assert!(rig.dead_letters().await.is_empty());

    rig.serve(Build::Trusted(noting("sha256:b")));
    rig.folded().await;
    assert_eq!(rig.seen("IN"), ["before", "poison", "after"]);
    rig.becomes(|state| *state == ProjectionState::Running).await;
}

#[tokio::test(start_paused = true)]
async fn resuming_tries_the_event_once_more() {
    let broken = Arc::new(AtomicBool::new(true));
    let fails = {
        let broken = Arc::clone(&broken);
        move |id: &str, _| (id == "poison" && broken.load(SeqCst)).then_some(TRAP)
    };
    let setup = Setup { on_failure: OnFailure::Halt, ..Setup::default() };
    let rig = setup.start(noting_unless("sha256:a", fails)).await;
    rig.publish(["poison", "after"]).await;
    rig.becomes(|state| matches!(state, ProjectionState::Halted(_))).await;
    rig.projection.resume().await.unwrap();
    rig.becomes(|state| *state != ProjectionState::CatchingUp).await;
    rig.becomes(|state| matches!(state, ProjectionState::Halted(_))).await;
    broken.store(false, SeqCst);
    rig.projection.resume().await.unwrap();
    rig.folded().await;
    assert_eq!(rig.seen("IN"), ["poison", "after"]);
}

#[tokio::test(start_paused = true)]
async fn the_host_s_fault_is_waited_out_however_long_and_costs_no_attempt() {
    let calls = Arc::new(AtomicU32::new(0));
    let away = {
        let calls = Arc::clone(&calls);
        move |id: &str, attempt| {
            assert_eq!(attempt, 1);
            (id == "x" && calls.fetch_add(1, SeqCst) < 200).then_some(FailureKind::Unavailable)
        }
    };
    let rig = Setup::default().start(noting_unless("sha256:a", away)).await;
    rig.publish(["before", "x", "after"]).await;
    let state = rig.becomes(|state| matches!(state, ProjectionState::Waiting { .. })).await;
    assert_eq!(state, ProjectionState::Waiting { reason: "unavailable: on purpose".to_owned() });
    rig.folded().await;
    assert_eq!(rig.seen("IN"), ["before", "x", "after"]);
    assert_eq!((rig.dead_letters().await.len(), rig.projection.stats.summary().retried), (0, 0));
    rig.becomes(|state| *state == ProjectionState::Running).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_confirmed_before_its_event_is_passed() {
    let setup = Setup::default();
    setup.broker.plan.fail(Door::DeadLetterRead, Fault::Unavailable, 3);
    setup.broker.plan.fail(Door::DeadLetterRead, Fault::AnswerLost, 2);
    let rig = setup.start(noting_unless("sha256:a", |id, _| (id == "no").then_some(FailureKind::Rejected))).await;
    rig.publish(["a", "no", "b"]).await;
    rig.becomes(|state| matches!(state, ProjectionState::Waiting { .. })).await;
    assert_eq!(rig.seen("IN"), ["a"], "what came before is there");
    rig.folded().await;
    assert_eq!(rig.seen("IN"), ["a", "b"]);
    assert_eq!(rig.dead_letters().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_can_be_neither_folded_nor_set_aside_halts() {
    let setup = Setup::default();
    setup.broker.plan.fail(Door::DeadLetterRead, Fault::Refused, 1000);
    let rig = setup.start(noting_unless("sha256:a", |id, _| (id == "no").then_some(FailureKind::Rejected))).await;
    rig.publish(["a", "no", "b"]).await;
    let state = rig.becomes(|state| matches!(state, ProjectionState::Halted(_))).await;
    let ProjectionState::Halted(halt) = state else { unreachable!() };
    assert_eq!(halt.event.as_deref(), Some("IN:2"));
    assert_eq!(rig.seen("IN"), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_build_that_breaks_is_backed_by_the_one_before_and_dead_letters_nothing() {
    let probation = Probation { calls: 100, time: Duration::from_secs(30) };
    let rig = Setup::default().start(noting("sha256:old")).await;
    rig.publish(0..3).await;
    rig.folded().await;
    let broken = noting_unless("sha256:new", |id, _| (id == "5").then_some(TRAP));
    let trial = Trial::new(broken, noting("sha256:old"), probation);
    rig.serve(Build::OnTrial(Arc::clone(&trial)));
    rig.publish(3..10).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..10));
    assert!(rig.dead_letters().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_build_on_probation_refuses_waits_for_the_end_of_the_probation() {
    let probation = Probation { calls: 100, time: Duration::from_secs(30) };
    let rig = Setup::default().start(noting("sha256:old")).await;
    let refuses = noting_unless("sha256:new", |id, _| (id == "x").then_some(FailureKind::Rejected));
    let trial = Trial::new(refuses, noting("sha256:old"), probation);
    rig.serve(Build::OnTrial(Arc::clone(&trial)));
    rig.publish(["x", "y"]).await;
    rig.becomes(|state| matches!(state, ProjectionState::Waiting { .. })).await;
    sleep(Duration::from_secs(10)).await;
    assert!(rig.dead_letters().await.is_empty());
    trial.roll_back();
    rig.folded().await;
    assert_eq!(rig.seen("IN"), ["x", "y"], "the build before takes it");
}
