//! New copies: filled while the old one serves, switched in one step, given up, rolled back, gone on with after a crash.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tidemill_core::config::{Probation, RebuildWhen};
use tidemill_core::failure::FailureKind;
use tidemill_core::generation::Generation;
use tidemill_core::pipeline::Build;
use tidemill_core::projection::{ControlError, ProjectionState};
use tidemill_core::read_model::CopyState;
use tidemill_core::trial::Trial;
use tokio::time::sleep;

use crate::projection_rig::{Rig, Setup, note, noting, noting_unless, numbers, seen};
use crate::rig::build;

/// A build that takes its time for each event.
fn slow(digest: &'static str, time: Duration) -> Arc<Generation> {
    build(digest, false, move |call| {
        async move {
            sleep(time).await;
            note(call).await
        }
        .boxed()
    })
}

async fn active_is(rig: &Rig, number: u64) {
    rig.until("another copy is active", |rig| rig.store.active().id.number == number).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_copy_is_filled_while_the_old_one_goes_on_and_then_takes_its_place() {
    let rig = Setup { batch: 5, ..Setup::default() }.start(noting("sha256:a")).await;
    rig.publish(0..100).await;
    rig.folded().await;
    rig.serve(Build::Trusted(slow("sha256:b", Duration::from_millis(100))));
    let watch = rig.watch();
    let started = rig.projection.rebuild().await.unwrap();
    assert_eq!(started.copy, 2);
    sleep(Duration::from_secs(2)).await;
    rig.publish(100..110).await;
    sleep(Duration::from_secs(2)).await;

    let status = rig.status().await;
    let progress = status.rebuild.expect("it is under way");
    assert!(progress.done > 10 && progress.done < 60 && progress.target == 110, "{progress:?}");
    assert!((5.0..15.0).contains(&progress.events_per_second), "{progress:?}");
    assert!(progress.eta_seconds.is_some_and(|seconds| (3..20).contains(&seconds)), "{progress:?}");
    assert_eq!((status.active.unwrap().number, rig.seen("IN").len()), (1, 110), "the old one serves and goes on");
    assert_eq!(rig.projection.view().unwrap().copy.number, 1);

    active_is(&rig, 2).await;
    rig.publish(110..115).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..115));
    let status = rig.status().await;
    assert_eq!((status.active.unwrap().digest.as_str(), status.building), ("sha256:b", None));
    assert_eq!(status.previous.unwrap().number, 1);
    assert_eq!(seen(&rig.store, 1, "IN"), numbers(0..110), "the old one is kept as it was");
    assert_eq!(rig.projection.view().unwrap().copy.number, 2);
    assert_eq!(rig.projection.stats.summary().folded, 115, "a rebuild counts no event twice");
    rig.stop().await;
    watch.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_switch_under_constant_load_loses_and_doubles_nothing() {
    let rig = Setup { batch: 7, ..Setup::default() }.start(noting("sha256:a")).await;
    rig.publish(0..50).await;
    rig.folded().await;
    rig.projection.rebuild().await.unwrap();
    for number in 50..400 {
        rig.publish([number]).await;
        if number % 3 == 0 {
            tokio::task::yield_now().await;
        }
    }
    active_is(&rig, 2).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..400));
    assert_eq!(rig.store.active().folded, 400);
}

#[tokio::test(start_paused = true)]
async fn the_read_model_never_goes_back_in_time_at_a_switch() {
    let rig = Setup { batch: 5, ..Setup::default() }.start(slow("sha256:a", Duration::from_millis(10))).await;
    rig.publish(0..40).await;
    rig.folded().await;
    let watch = rig.watch();
    rig.projection.rebuild().await.unwrap();
    // Slower than the fold, so that the live copy is always at the end, and the new one always a little behind.
    for number in 40..140 {
        rig.publish([number]).await;
        sleep(Duration::from_millis(15)).await;
    }
    active_is(&rig, 2).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..140));
    rig.stop().await;
    watch.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn cancelling_leaves_the_active_copy_untouched() {
    let rig = Setup::default().start(noting("sha256:a")).await;
    rig.publish(0..100).await;
    rig.folded().await;
    rig.serve(Build::Trusted(slow("sha256:b", Duration::from_secs(1))));
    rig.projection.rebuild().await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert!(matches!(rig.projection.rebuild().await, Err(ControlError::RebuildRunning { copy: 2 })));
    rig.projection.cancel().await.unwrap();
    assert_eq!(rig.store.copies().len(), 1);
    rig.publish(100..103).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..103));
    assert_eq!(rig.store.active().id.number, 1);
}

#[tokio::test(start_paused = true)]
async fn rolling_back_activates_the_copy_before_which_then_catches_up() {
    let setup = Setup { rebuild: RebuildWhen::OnChange, ..Setup::default() };
    let rig = setup.start(noting("sha256:a")).await;
    rig.publish(0..10).await;
    rig.folded().await;
    rig.serve(Build::Trusted(noting("sha256:b")));
    active_is(&rig, 2).await;
    rig.publish(10..20).await;
    rig.folded().await;
    assert_eq!(seen(&rig.store, 1, "IN").len(), 10);

    rig.projection.roll_back().await.unwrap();
    assert_eq!(rig.store.active().id.number, 1);
    rig.publish(20..22).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..22));
    sleep(Duration::from_secs(600)).await;
    assert_eq!(rig.store.active().id.number, 1, "what was rolled back does not come again by itself");
    rig.stop().await;
    let rig = setup.start(noting("sha256:b")).await;
    rig.becomes(|state| *state == ProjectionState::Running).await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(rig.store.active().id.number, 1, "nor after a restart");
    rig.projection.rebuild().await.unwrap();
    active_is(&rig, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_build_begins_by_itself_where_it_shall_and_not_elsewhere() {
    for (rebuild, expected) in [(RebuildWhen::OnChange, 2), (RebuildWhen::Manual, 1)] {
        let setup = Setup { rebuild, ..Setup::default() };
        let rig = setup.start(noting("sha256:a")).await;
        rig.publish(0..10).await;
        rig.folded().await;
        rig.serve(Build::Trusted(noting("sha256:b")));
        sleep(Duration::from_secs(60)).await;
        assert_eq!(rig.store.active().id.number, expected, "{rebuild:?}");
        rig.publish(10..20).await;
        rig.folded().await;
        assert_eq!(rig.seen("IN"), numbers(0..20), "{rebuild:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_build_on_probation_is_not_rebuilt_with_before_it_is_trusted() {
    let setup = Setup { rebuild: RebuildWhen::OnChange, ..Setup::default() };
    let old = noting("sha256:old");
    let rig = setup.start(Arc::clone(&old)).await;
    rig.publish(0..5).await;
    rig.folded().await;
    let trial = Trial::new(noting("sha256:new"), old, Probation { calls: 8, time: Duration::from_secs(3000) });
    rig.serve(Build::OnTrial(Arc::clone(&trial)));
    rig.publish(5..9).await;
    rig.folded().await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.store.copies().len(), 1);
    rig.publish(9..13).await;
    active_is(&rig, 2).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..13));
    assert_eq!(rig.store.active().digest, "sha256:new");
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_that_would_be_worse_is_given_up_and_dead_letters_nothing() {
    let setup = Setup { rebuild: RebuildWhen::OnChange, ..Setup::default() };
    let one = |id: &str, _| (id == "3").then_some(FailureKind::Rejected);
    let rig = setup.start(noting_unless("sha256:a", one)).await;
    rig.publish(0..20).await;
    rig.folded().await;
    let two = |id: &str, _| (id == "3" || id == "15").then_some(FailureKind::Rejected);
    rig.serve(Build::Trusted(noting_unless("sha256:b", two)));
    rig.until("it was given up", |rig| rig.projection.stats.summary().rebuilt > 0 && rig.store.copies().len() == 1)
        .await;
    let status = rig.status().await;
    let reason = status.rebuild_failure.unwrap();
    assert!(reason.contains("IN:16") && reason.contains("no more than 1 are dead-lettered"), "{reason}");
    assert_eq!(rig.dead_letters().await.len(), 1, "only the one that the active copy is without");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(rig.store.copies().len(), 1, "it does not begin again by itself");

    // As good as before is good enough.
    rig.serve(Build::Trusted(noting_unless("sha256:c", one)));
    active_is(&rig, 3).await;
    rig.folded().await;
    assert_eq!((rig.store.active().dead_lettered, rig.dead_letters().await.len()), (1, 1));
    assert_eq!(rig.status().await.rebuild_failure, None);
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_of_a_rebuild_is_gone_on_from() {
    for steps in (0..160).chain((160..900).step_by(11)) {
        let setup = Setup { batch: 6, rebuild: RebuildWhen::OnChange, ..Setup::default() };
        let rig = setup.start(noting("sha256:a")).await;
        rig.publish(0..40).await;
        rig.folded().await;
        rig.serve(Build::Trusted(noting("sha256:b")));
        rig.until("it has begun", |rig| rig.store.copies().len() == 2).await;
        rig.publish(40..45).await;
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        rig.crash().await;
        let rig = setup.start(noting("sha256:b")).await;
        active_is(&rig, 2).await;
        rig.folded().await;
        assert_eq!(rig.seen("IN"), numbers(0..45), "after {steps} steps");
        assert_eq!(rig.store.active().folded, 45, "after {steps} steps");
        assert_eq!(rig.store.copies().len(), 2, "after {steps} steps");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_a_rebuild_goes_on_where_it_was_unless_another_build_serves() {
    for (then, expected) in [("sha256:b", 2), ("sha256:c", 3)] {
        let setup = Setup { batch: 1, ..Setup::default() };
        let rig = setup.start(noting("sha256:a")).await;
        rig.publish(0..50).await;
        rig.folded().await;
        rig.serve(Build::Trusted(slow("sha256:b", Duration::from_secs(1))));
        rig.projection.rebuild().await.unwrap();
        sleep(Duration::from_secs(20)).await;
        let before = rig.store.in_state(CopyState::Building).unwrap().folded;
        assert!((15..25).contains(&before), "{before}");
        rig.crash().await;

        let rig = setup.start(noting(then)).await;
        rig.becomes(|state| *state == ProjectionState::Running).await;
        if then == "sha256:c" {
            assert_eq!(rig.store.copies().len(), 1, "the half-filled copy is gone");
            rig.projection.rebuild().await.unwrap();
        }
        active_is(&rig, expected).await;
        rig.folded().await;
        assert_eq!(rig.seen("IN"), numbers(0..50));
    }
}

#[tokio::test(start_paused = true)]
async fn with_other_indexes_the_old_copy_rests_and_a_new_one_is_built_at_once() {
    let setup = Setup::default();
    let rig = setup.start(noting("sha256:a")).await;
    rig.publish(0..30).await;
    rig.folded().await;
    rig.stop().await;

    let setup = Setup { indexes: &["ids"], ..setup };
    let rig = setup.start(slow("sha256:a", Duration::from_millis(200))).await;
    rig.publish(30..35).await;
    rig.until("it is being built", |rig| rig.store.in_state(CopyState::Building).is_some()).await;
    rig.becomes(|state| *state == ProjectionState::CatchingUp).await;
    let view = rig.projection.view().unwrap();
    let names: Vec<&str> = view.collections.iter().map(|collection| collection.name.as_str()).collect();
    assert_eq!((view.copy.number, names), (1, vec!["other"]), "what is as it was can be queried meanwhile");
    active_is(&rig, 2).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..35));
    assert_eq!(rig.projection.view().unwrap().collections.len(), 2);
    assert_eq!(seen(&rig.store, 1, "IN").len(), 30, "nothing was folded into the old one");
    assert!(matches!(rig.projection.roll_back().await, Err(ControlError::OtherShape { copy: 1 })));
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_was_replaced_is_removed_when_it_was_kept_long_enough() {
    let setup = Setup { retain: Duration::ZERO, ..Setup::default() };
    let rig = setup.start(noting("sha256:a")).await;
    rig.publish(0..10).await;
    rig.folded().await;
    rig.projection.rebuild().await.unwrap();
    active_is(&rig, 2).await;
    rig.until("the old one is gone", |rig| rig.store.copies().len() == 1).await;
    assert_eq!(rig.seen("IN"), numbers(0..10));
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_ends_what_has_halted() {
    let setup = Setup { on_failure: tidemill_core::config::OnFailure::Halt, ..Setup::default() };
    let poison = |id: &str, _| (id == "5").then_some(FailureKind::Rejected);
    let rig = setup.start(noting_unless("sha256:a", poison)).await;
    rig.publish(0..10).await;
    rig.becomes(|state| matches!(state, ProjectionState::Halted(_))).await;
    assert_eq!(rig.projection.rebuild().await.unwrap().copy, 2);
    rig.until("it fails at the same event", |rig| rig.store.copies().len() == 1).await;
    let failure = rig.status().await.rebuild_failure;
    assert_eq!(failure.as_deref(), Some("at IN:6: rejected: on purpose"));
    rig.serve(Build::Trusted(noting("sha256:b")));
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..10));
}

/// The ledger is read while the live fold goes on: its answer is old when it comes.
#[tokio::test(start_paused = true)]
async fn what_was_folded_stays_so_while_a_rebuild_begins() {
    let rig = Setup { batch: 1, ..Setup::default() }.start(noting("sha256:a")).await;
    rig.publish(0..10).await;
    rig.folded().await;
    let watch = rig.watch();
    rig.store.ledgers_take(Duration::from_secs(1));
    let rebuild = tokio::spawn({
        let projection = Arc::clone(&rig.projection);
        async move { projection.rebuild().await }
    });
    sleep(Duration::from_millis(500)).await;
    rig.publish(10..20).await;
    rig.folded().await;
    rebuild.await.unwrap().unwrap();
    rig.folded().await;
    rig.stop().await;
    watch.await.unwrap();
}
