//! Who folds: claims and fences, pauses, resets, orders that are refused, questions.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tidemill_core::effect::Effects;
use tidemill_core::failure::{Failure, FailureKind};
use tidemill_core::generation::Generation;
use tidemill_core::name::StreamName;
use tidemill_core::port::{Call, Handler, Question};
use tidemill_core::projection::{ControlError, ProjectionState, Waited};
use tidemill_core::read_model::{Claim, CopyState, NewCopy, ReadModelStore};
use tokio::time::{Instant, sleep};

use crate::faulty::{Door, Fault};
use crate::memory_store::Room;
use crate::projection_rig::{FOREVER, Setup, failed, note, noting, noting_unless, numbers};

fn stream(name: &str) -> StreamName {
    StreamName::try_new(name).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_fenced_host_stands_by_and_takes_over_again_when_it_may() {
    let rig = Setup::default().start(noting("sha256:a")).await;
    rig.publish(0..10).await;
    rig.folded().await;
    rig.store.steal("other-host");
    rig.publish(10..20).await;
    let state = rig.becomes(|state| matches!(state, ProjectionState::Standby { .. })).await;
    assert_eq!(state, ProjectionState::Standby { holder: "other-host".to_owned() });
    sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.store.active().folded, 10, "it writes nothing any more");
    let refused = rig.projection.rebuild().await.unwrap_err();
    assert!(matches!(refused, ControlError::NotActive { holder } if holder == "other-host"));

    rig.store.give_back();
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..20));
}

#[tokio::test(start_paused = true)]
async fn two_hosts_fold_each_event_once_and_one_takes_over_from_the_other() {
    let setup = Setup::default();
    let first = setup.start(noting("sha256:a")).await;
    first.publish(0..30).await;
    first.folded().await;
    let second = Setup { host: "second-host", ..setup.clone() }.start(noting("sha256:a")).await;
    second.becomes(|state| matches!(state, ProjectionState::Standby { .. })).await;
    first.publish(30..60).await;
    let deadline = Instant::now() + FOREVER;
    assert_eq!(second.projection.wait_for(&stream("IN"), 60, deadline).await, Waited::Fresh, "on standby, too");
    assert_eq!(second.projection.view().unwrap().positions[&stream("IN")], 60);
    first.stop().await;
    second.publish(60..90).await;
    second.becomes(|state| *state == ProjectionState::Running).await;
    second.folded().await;
    assert_eq!(second.seen("IN"), numbers(0..90));
    assert_eq!(second.store.active().folded, 90);
}

#[tokio::test(start_paused = true)]
async fn the_claim_is_renewed_also_during_a_long_call() {
    let slow = crate::rig::build("sha256:a", false, |call| {
        Box::pin(async move {
            sleep(Duration::from_secs(50)).await;
            note(call).await
        })
    });
    let setup = Setup::default();
    setup.store.must_renew(Duration::from_secs(5));
    let rig = setup.start(slow).await;
    rig.publish(["slow"]).await;
    rig.folded().await;
    assert!((9..=11).contains(&rig.store.renewals()), "{}", rig.store.renewals());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_replaced_notices_at_its_next_renewal() {
    let setup = Setup::default();
    setup.store.must_renew(Duration::from_secs(5));
    let rig = setup.start(noting("sha256:a")).await;
    rig.becomes(|state| *state == ProjectionState::Running).await;
    rig.store.steal("other-host");
    let begun = Instant::now();
    rig.becomes(|state| matches!(state, ProjectionState::Standby { .. })).await;
    assert!(begun.elapsed() < Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn a_pause_lasts_over_restarts_until_it_is_resumed() {
    let setup = Setup::default();
    let rig = setup.start(noting("sha256:a")).await;
    rig.publish(0..5).await;
    rig.folded().await;
    rig.projection.pause().await.unwrap();
    assert_eq!(rig.projection.state(), ProjectionState::Paused);
    rig.publish(5..10).await;
    assert!(matches!(rig.projection.rebuild().await, Err(ControlError::Paused)));
    rig.stop().await;

    let rig = setup.start(noting("sha256:a")).await;
    rig.becomes(|state| *state == ProjectionState::Paused).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.store.active().folded, 5);
    rig.projection.resume().await.unwrap();
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..10));
}

#[tokio::test(start_paused = true)]
async fn a_reset_begins_anew_with_an_empty_copy_at_the_position() {
    let rig = Setup { two_streams: true, ..Setup::default() }.start(noting("sha256:a")).await;
    rig.publish(0..10).await;
    rig.publish_to("side.a", 0..3).await;
    rig.folded().await;
    rig.projection.reset([(stream("IN"), 6)].into()).await.unwrap();
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(6..10));
    assert_eq!(rig.seen("SIDE"), numbers(0..3), "what is not named is read from its beginning");
    assert_eq!(rig.store.in_state(CopyState::Previous).unwrap().folded, 13);
    let refused = rig.projection.reset([(stream("NONE"), 6)].into()).await.unwrap_err();
    assert_eq!(refused.to_string(), "the projection does not read the stream `NONE`; it reads `IN`, `SIDE`");
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_failed_is_not_carried_out_later() {
    for from in [[(stream("IN"), 6)].into(), [].into()] {
        let rig = Setup::default().start(noting("sha256:a")).await;
        rig.publish(0..10).await;
        rig.folded().await;
        rig.store.fail(Room::Activate, Fault::Unavailable, 1);
        assert!(matches!(rig.projection.reset(from).await, Err(ControlError::Store(_))));
        rig.publish(10..12).await;
        rig.folded().await;
        sleep(Duration::from_secs(60)).await;
        let copies: Vec<_> = rig.store.copies().into_iter().map(|copy| (copy.id.number, copy.state)).collect();
        assert_eq!(copies, [(1, CopyState::Active)]);
        assert_eq!(rig.seen("IN"), numbers(0..12));
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_beyond_the_end_of_its_stream_halts() {
    let setup = Setup::default();
    let view = setup.projection(noting("sha256:a"));
    let Claim::Granted(fence) = setup.store.claim(&view.config.name, "before").await.unwrap() else { unreachable!() };
    let collections = Arc::clone(&view.config.collections);
    let positions = [(stream("IN"), 99)].into();
    let copy = NewCopy { digest: "sha256:a".to_owned(), collections, positions };
    let copy = setup.store.create(&fence, copy).await.unwrap();
    setup.store.activate(&fence, &copy).await.unwrap();
    setup.store.release(&fence).await.unwrap();
    let rig = setup.start(noting("sha256:a")).await;
    rig.publish(0..10).await;
    let state = rig.becomes(|state| matches!(state, ProjectionState::Halted(_))).await;
    let ProjectionState::Halted(halt) = state else { unreachable!() };
    assert!(halt.reason.contains("ends at 10 and was folded up to 99: it was removed and made anew"), "{halt:?}");
    rig.projection.rebuild().await.unwrap();
    rig.until("the rebuilt copy is active", |rig| rig.store.active().id.number == 2).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..10), "a rebuild puts it right");
}

#[tokio::test(start_paused = true)]
async fn a_reset_behind_the_end_of_a_stream_is_refused() {
    let rig = Setup::default().start(noting("sha256:a")).await;
    rig.publish(0..10).await;
    rig.folded().await;
    let refused = rig.projection.reset([(stream("IN"), 11)].into()).await.unwrap_err();
    assert_eq!(refused.to_string(), "the stream `IN` ends at 10, so nothing can begin behind 11");
    assert_eq!(rig.store.active().id.number, 1);
    rig.projection.reset([(stream("IN"), 10)].into()).await.unwrap();
    assert_eq!(rig.store.active().id.number, 2);
}

/// However long the new stream is: its positions say nothing about the old one's.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_made_anew_under_a_running_projection_halts_it() {
    let rig = Setup::default().start(noting("sha256:a")).await;
    rig.publish(0..10).await;
    rig.folded().await;
    rig.broker.plan.fail(Door::Next, Fault::Unavailable, 2);
    rig.broker.plan.fail(Door::Next, Fault::Incompatible, 1);
    let state = rig.becomes(|state| matches!(state, ProjectionState::Halted(_))).await;
    let ProjectionState::Halted(halt) = state else { unreachable!() };
    assert!(halt.reason.starts_with("another one. What it held") && halt.reason.contains("rebuild view"), "{halt:?}");
    assert_eq!(
        rig.broker.plan.calls(Door::Read),
        1,
        "no other reader was tried, which would know nothing of the old one"
    );
    rig.projection.rebuild().await.unwrap();
    rig.until("the rebuilt copy is active", |rig| rig.store.active().id.number == 2).await;
    rig.publish(10..12).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..12), "a rebuild puts it right");
}

#[tokio::test(start_paused = true)]
async fn orders_that_make_no_sense_are_refused() {
    let setup = Setup::default();
    let rig = setup.start(noting("sha256:a")).await;
    rig.becomes(|state| *state == ProjectionState::Running).await;
    assert!(matches!(rig.projection.cancel().await, Err(ControlError::NoRebuild)));
    assert!(matches!(rig.projection.roll_back().await, Err(ControlError::NoPrevious)));
    let projection = Arc::clone(&rig.projection);
    rig.stop().await;
    assert!(matches!(projection.rebuild().await, Err(ControlError::Stopped)));
}

#[tokio::test(start_paused = true)]
async fn an_order_while_the_store_is_away_is_answered() {
    let rig = Setup::default().start(noting("sha256:a")).await;
    rig.publish(0..5).await;
    rig.folded().await;
    rig.store.fail(Room::Create, Fault::Unavailable, 1);
    assert!(matches!(rig.projection.rebuild().await, Err(ControlError::Store(_))));
    rig.publish(5..10).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..10));
}

/// Answers how many events the document of `IN` holds.
struct Counting;

#[async_trait]
impl Handler for Counting {
    async fn handle(&self, call: Call<'_>) -> Result<Effects, Failure> {
        note(call).await
    }

    fn digest(&self) -> String {
        "sha256:a".to_owned()
    }

    fn uses_state(&self) -> bool {
        false
    }

    async fn query(&self, question: Question<'_>) -> Result<Bytes, Failure> {
        let mut documents = question.documents;
        let refused = documents.put("seen", "IN", Bytes::from_static(b"{}"), &question.projection.limits);
        assert!(refused.is_err(), "a question writes nothing");
        Ok(documents.get("seen", "IN").await.map_err(failed)?.unwrap_or_default())
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_reads_what_is_committed() {
    let rig = Setup::default().start(Generation::new(Arc::new(Counting))).await;
    rig.publish(["a"]).await;
    rig.folded().await;
    let (answer, positions) = rig.projection.ask("all", b"{}").await.unwrap();
    assert_eq!(answer, Bytes::from_static(br#"{"ids":["a"]}"#));
    assert_eq!(positions, [(stream("IN"), 1)].into());
    rig.store.fail(Room::Read, Fault::Unavailable, 10);
    assert_eq!(rig.projection.ask("all", b"{}").await.unwrap().0, answer, "beside the fold, not in its way");
    let mute = Setup::default().start(noting_unless("sha256:a", |_, _| None)).await;
    mute.becomes(|state| *state == ProjectionState::Running).await;
    assert_eq!(mute.projection.ask("all", b"{}").await.unwrap_err().kind, FailureKind::Rejected);
}
