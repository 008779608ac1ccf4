//! What a projection folds: every event once, in order, whatever happens to store, broker and process.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use serde_json::json;
use tidemill_core::config::OnMissing;
use tidemill_core::effect::Effects;
use tidemill_core::failure::FailureKind;
use tidemill_core::filter::Filter;
use tidemill_core::generation::Generation;
use tidemill_core::name::StreamName;
use tidemill_core::pipeline::{Build, Serving};
use tidemill_core::port::Call;
use tidemill_core::projection::{ProjectionState, Waited};
use tidemill_core::read_model::CopyState;
use tokio::time::{Instant, timeout};

use crate::faulty::{Door, Fault};
use crate::memory_store::Room;
use crate::projection_rig::{FOREVER, Setup, note, note_in, noting, noting_unless, numbers, serving};
use crate::rig::build;

fn stream(name: &str) -> StreamName {
    StreamName::try_new(name).unwrap()
}

/// A build that takes its time and writes a document of its own for each event.
fn one_each(time: Duration) -> Arc<Generation> {
    build("sha256:a", false, move |call| {
        async move {
            tokio::time::sleep(time).await;
            let Call { event, route, documents, .. } = call;
            let mut documents = documents.expect("a projection");
            documents.put("seen", &event.id, Bytes::from_static(b"{}"), &route.limits).unwrap();
            Ok(Effects { documents: documents.finish(), ..Effects::default() })
        }
        .boxed()
    })
}

/// A build that notes the events of all streams in one document.
fn noting_all() -> Arc<Generation> {
    build("sha256:a", false, |call| note_in(call, "all").boxed())
}

#[tokio::test(start_paused = true)]
async fn every_event_is_folded_once_and_in_order() {
    let setup = Setup { batch: 50, ..Setup::default() };
    let rig = setup.start(noting("sha256:a")).await;
    rig.publish(0..300).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..300));
    rig.publish(300..400).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..400));

    let active = rig.store.active();
    assert_eq!((active.folded, active.dead_lettered, active.digest.as_str()), (400, 0, "sha256:a"));
    assert!(rig.store.batches().iter().all(|events| *events <= 50), "{:?}", rig.store.batches());
    let summary = rig.projection.stats.summary();
    assert_eq!((summary.received, summary.folded, summary.skipped, summary.retried), (400, 400, 0, 0));
    assert_eq!(summary.batches as usize, rig.store.batches().len());
    rig.becomes(|state| *state == ProjectionState::Running).await;
}

#[tokio::test(start_paused = true)]
async fn a_single_event_is_seen_at_once() {
    let rig = Setup { batch: 1000, ..Setup::default() }.start(noting("sha256:a")).await;
    rig.becomes(|state| *state == ProjectionState::Running).await;
    let begun = Instant::now();
    rig.publish(["one"]).await;
    rig.folded().await;
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    assert_eq!(rig.seen("IN"), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn commits_that_fail_before_or_after_they_happened_lose_and_double_nothing() {
    for seed in 0..25 {
        let mut random = fastrand::Rng::with_seed(seed);
        let setup = Setup { batch: 5, ..Setup::default() };
        for _ in 0..40 {
            let fault = random.choice([Fault::Works, Fault::Works, Fault::Unavailable, Fault::AnswerLost]).unwrap();
            setup.store.fail(Room::Commit, fault, 1);
        }
        let rig = setup.start(noting("sha256:a")).await;
        for part in 0..6 {
            rig.publish(part * 20..(part + 1) * 20).await;
            tokio::time::sleep(Duration::from_millis(random.u64(0..200))).await;
        }
        rig.folded().await;
        assert_eq!(rig.seen("IN"), numbers(0..120), "seed {seed}");
        assert_eq!(rig.store.active().folded, 120, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_reaches_the_store_after_it_was_given_up_is_fenced() {
    let setup = Setup::default();
    let rig = setup.start(noting("sha256:a")).await;
    for part in 0..10 {
        rig.store.commits_land_late(2);
        rig.publish(part * 10..(part + 1) * 10).await;
        rig.folded().await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.seen("IN"), numbers(0..100));
    assert_eq!(rig.store.active().folded, 100, "a late one would be counted on top");
}

/// A failover to a server that had not got the last commits, at any moment: while the next batch is folded on top of what is lost,
/// or committed, or nothing goes on. Both streams are folded into one document, so an event that is lost or doubled shows, also
/// where the next batch is of the other stream.
#[tokio::test(start_paused = true)]
async fn what_the_store_loses_after_it_was_confirmed_is_folded_again() {
    for seed in 0..25 {
        let mut random = fastrand::Rng::with_seed(seed);
        let setup = Setup { batch: 5, two_streams: true, ..Setup::default() };
        setup.store.lose((0..40).map(|_| random.u8(..4) == 0));
        setup.store.commits_take(Duration::from_millis(random.u64(0..30)));
        let rig = setup.start(noting_all()).await;
        for part in 0..6 {
            rig.publish(part * 20..(part + 1) * 20).await;
            tokio::time::sleep(Duration::from_millis(random.u64(0..200))).await;
            rig.publish_to("side.a", 1000 + part * 7..1000 + (part + 1) * 7).await;
            tokio::time::sleep(Duration::from_millis(random.u64(0..200))).await;
        }
        // What is lost last is noticed at the next commit.
        rig.folded().await;
        rig.store.lose([]);
        rig.publish([120]).await;
        rig.publish_to("side.a", [1042]).await;
        let ends = [(stream("IN"), 121), (stream("SIDE"), 43)].into();
        rig.until("everything is there", |rig| {
            rig.store.in_state(CopyState::Active).is_some_and(|active| active.positions == ends)
        })
        .await;
        let mut seen = rig.seen("all");
        seen.sort_by_key(|id| id.parse::<u32>().unwrap());
        assert_eq!(seen, [numbers(0..121), numbers(1000..1043)].concat(), "seed {seed}");
        assert_eq!(rig.store.active().folded, 121 + 43, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_went_back_while_nothing_was_folded_is_gone_on_with_from_there() {
    let rig = Setup::default().start(noting("sha256:a")).await;
    rig.publish(0..5).await;
    rig.folded().await;
    rig.publish(5..10).await;
    rig.folded().await;
    rig.projection.pause().await.unwrap();
    rig.store.go_back();
    let there = rig.store.active().positions[&stream("IN")];
    assert!(there < 10, "{there}");
    rig.projection.resume().await.unwrap();
    rig.until("what was lost is there again", |rig| rig.store.active().positions[&stream("IN")] == 10).await;
    assert_eq!(rig.seen("IN"), numbers(0..10));
    rig.publish(10..20).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..20));
    assert_eq!(rig.store.active().folded, 20);
}

#[tokio::test(start_paused = true)]
async fn every_other_fault_of_the_store_is_waited_out() {
    for room in [Room::Claim, Room::Ledger, Room::Create, Room::Activate, Room::Positions, Room::Read] {
        for fault in [Fault::Unavailable, Fault::AnswerLost] {
            let setup = Setup::default();
            setup.store.fail(room, fault, 3);
            let rig = setup.start(noting("sha256:a")).await;
            rig.publish(0..30).await;
            rig.until("an active copy", |rig| rig.store.in_state(CopyState::Active).is_some()).await;
            rig.folded().await;
            assert_eq!(rig.seen("IN"), numbers(0..30), "{room:?} {fault:?}");
            assert_eq!(rig.store.active().folded, 30, "{room:?} {fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_away_is_waited_for_and_nothing_is_skipped() {
    let setup = Setup::default();
    setup.broker.plan.fail(Door::Read, Fault::Unavailable, 3);
    setup.broker.plan.fail(Door::Next, Fault::Works, 1);
    setup.broker.plan.fail(Door::Next, Fault::Unavailable, 4);
    let rig = setup.start(noting("sha256:a")).await;
    rig.publish(0..40).await;
    let waiting = rig.becomes(|state| matches!(state, ProjectionState::Waiting { .. })).await;
    assert_eq!(
        waiting,
        ProjectionState::Waiting { reason: "test is unavailable: the cable is out".to_owned() },
        "it says why"
    );
    rig.folded().await;
    rig.publish(40..80).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..80));
    rig.becomes(|state| *state == ProjectionState::Running).await;
}

/// Cuts the run after so many steps of the scheduler, again and again, and each time begins anew as a restart does.
#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_loses_and_doubles_nothing() {
    for steps in (0..120).chain((120..600).step_by(7)) {
        let setup = Setup { batch: 4, two_streams: true, ..Setup::default() };
        let poison = |id: &str, _| (id == "7").then_some(FailureKind::Rejected);
        let first = setup.start(noting_unless("sha256:a", poison)).await;
        first.publish(0..25).await;
        first.publish_to("side.a", 100..115).await;
        first.crash().await;
        for _ in 0..3 {
            let rig = setup.start(noting_unless("sha256:a", poison)).await;
            for _ in 0..steps {
                tokio::task::yield_now().await;
            }
            rig.crash().await;
        }
        let rig = setup.start(noting_unless("sha256:a", poison)).await;
        rig.until("an active copy", |rig| rig.store.in_state(CopyState::Active).is_some()).await;
        rig.folded().await;
        let expected: Vec<String> = numbers(0..25).into_iter().filter(|id| id != "7").collect();
        assert_eq!((rig.seen("IN"), rig.seen("SIDE")), (expected, numbers(100..115)), "after {steps} steps");
        let active = rig.store.active();
        assert_eq!((active.folded, active.dead_lettered), (39, 1), "after {steps} steps");
        assert_eq!(rig.dead_letters().await.len(), 1, "after {steps} steps");
        assert_eq!(rig.store.copies().len(), 1, "after {steps} steps");
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_batch_is_committed_the_next_one_is_folded_on_top_of_it() {
    let setup = Setup { batch: 10, ..Setup::default() };
    setup.store.commits_take(Duration::from_millis(100));
    let slow = build("sha256:a", false, |call| {
        async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            note(call).await
        }
        .boxed()
    });
    let rig = setup.start(slow).await;
    let begun = Instant::now();
    rig.publish(0..100).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..100));
    assert!(
        begun.elapsed() < Duration::from_millis(1500),
        "one after the other takes two seconds: {:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_holds_what_its_own_events_wrote() {
    let rig = Setup::default().start(one_each(Duration::ZERO)).await;
    rig.publish(0..100).await;
    rig.folded().await;
    assert_eq!(
        rig.store.written().iter().sum::<usize>(),
        100,
        "each document is written once: {:?}",
        rig.store.written()
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_read_ahead_meets_all_of_a_reload() {
    let slow = || {
        build("sha256:a", false, |call| {
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                note(call).await
            }
            .boxed()
        })
    };
    let rig = Setup::default().start(slow()).await;
    rig.publish(0..4).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let strict = Serving { on_missing: OnMissing::Reject, ..serving(Build::Trusted(slow())) };
    rig.projection.serving.store(Arc::new(strict));
    rig.folded().await;
    assert_eq!(rig.seen("IN"), ["0", "1"], "the second was under way");
    let reasons: Vec<String> = rig.dead_letters().await.into_iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, ["schema-missing", "schema-missing"]);
}

#[tokio::test(start_paused = true)]
async fn each_stream_keeps_its_order_and_its_position() {
    let rig = Setup { two_streams: true, ..Setup::default() }.start(noting("sha256:a")).await;
    for part in 0..5 {
        rig.publish(part * 10..(part + 1) * 10).await;
        rig.publish_to("side.a", part * 7..(part + 1) * 7).await;
    }
    rig.folded().await;
    assert_eq!((rig.seen("IN"), rig.seen("SIDE")), (numbers(0..50), numbers(0..35)));
    assert_eq!(rig.store.active().positions, [(stream("IN"), 50), (stream("SIDE"), 35)].into());
}

#[tokio::test(start_paused = true)]
async fn a_busy_stream_does_not_keep_another_one_waiting() {
    let rig =
        Setup { two_streams: true, batch: 100, ..Setup::default() }.start(one_each(Duration::from_millis(1))).await;
    rig.publish(0..6000).await;
    let deadline = Instant::now() + FOREVER;
    for sequence in 1..=3 {
        rig.publish_to("side.a", ["x"]).await;
        assert_eq!(rig.projection.wait_for(&stream("SIDE"), sequence, deadline).await, Waited::Fresh);
    }
    let position = rig.store.active().positions[&stream("IN")];
    assert!(position < 5000, "{position} came first");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_wanted_is_passed_over_and_the_position_goes_on() {
    let filter = Filter::compile(&json!({ "id": ["wanted"] })).unwrap();
    let rig = Setup { filter: Some(filter), ..Setup::default() }.start(noting("sha256:a")).await;
    rig.publish(["a", "wanted", "b"]).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), ["wanted"]);
    let active = rig.store.active();
    assert_eq!((active.folded, active.positions[&stream("IN")]), (1, 3));
    assert_eq!(rig.projection.stats.summary().skipped, 2);
    assert!(rig.status().await.active.unwrap().lag["IN"].events == 0);
}

#[tokio::test(start_paused = true)]
async fn of_a_rare_subject_the_position_goes_on_with_the_stream() {
    let rig = Setup { subjects: "in.rare", ..Setup::default() }.start(noting("sha256:a")).await;
    rig.publish_to("in.rare", ["x"]).await;
    rig.publish(0..20).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), ["x"]);
    assert_eq!(rig.store.active().positions[&stream("IN")], 21);
}

#[tokio::test(start_paused = true)]
async fn stopping_commits_what_is_folded_and_gives_the_claim_back() {
    let setup = Setup { batch: 1000, ..Setup::default() };
    let rig = setup.start(noting("sha256:a")).await;
    rig.publish(0..100).await;
    rig.until("something is committed", |rig| !rig.store.batches().is_empty()).await;
    let store = rig.store.clone();
    let projection = rig.projection.clone();
    rig.stop().await;
    assert_eq!(store.holder(), None);
    assert_eq!(projection.state(), ProjectionState::Stopped);
    let folded = store.active().folded;
    let rig = setup.start(noting("sha256:a")).await;
    rig.folded().await;
    assert_eq!(rig.seen("IN"), numbers(0..100));
    assert!(folded <= 100 && store.active().folded == 100);
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_the_event_that_is_folded() {
    let slow = build("sha256:a", false, |call| {
        async move {
            tokio::time::sleep(Duration::from_secs(20)).await;
            note(call).await
        }
        .boxed()
    });
    let rig = Setup::default().start(slow).await;
    rig.publish(["slow", "next"]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let store = rig.store.clone();
    rig.stop().await;
    assert_eq!(crate::projection_rig::seen(&store, 1, "IN"), ["slow"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_position_is_told_in_time() {
    let rig = Setup::default().start(noting("sha256:a")).await;
    rig.publish(0..3).await;
    rig.folded().await;
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs(2);
    let behind = Waited::Behind { positions: [(stream("IN"), 3)].into() };
    assert_eq!(rig.projection.wait_for(&stream("IN"), 4, deadline).await, behind);
    assert_eq!(begun.elapsed().as_millis() / 100, 20);
    assert_eq!(rig.projection.wait_for(&stream("SIDE"), 1, begun + FOREVER).await, behind, "it is not read");

    let waiting = tokio::spawn({
        let projection = rig.projection.clone();
        async move { projection.wait_for(&stream("IN"), 4, Instant::now() + FOREVER).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.publish(["more"]).await;
    assert_eq!(timeout(Duration::from_secs(1), waiting).await.unwrap().unwrap(), Waited::Fresh);
    assert_eq!(rig.seen("IN").len(), 4, "what was waited for can be read");
}

#[tokio::test(start_paused = true)]
async fn the_lag_is_counted_in_events_and_in_the_age_of_the_first_one() {
    let setup = Setup::default();
    let rig = setup.start(noting("sha256:a")).await;
    rig.publish(0..5).await;
    rig.folded().await;
    let status = rig.status().await;
    assert_eq!((status.active.unwrap().lag["IN"].events, status.degraded), (0, false));
    rig.projection.pause().await.unwrap();
    rig.publish(5..12).await;
    std::thread::sleep(Duration::from_millis(60));
    let status = rig.status().await;
    let lag = status.active.unwrap().lag["IN"];
    assert_eq!((status.state, lag.events), (ProjectionState::Paused, 7));
    assert!((0.05..30.0).contains(&lag.seconds), "{lag:?}");
    let text = serde_json::to_value(rig.status().await).unwrap();
    assert_eq!(text["state"], json!({ "is": "paused" }));
}

/// Real threads and a real clock: the guests on a runtime of their own, publishers beside it, a rebuild in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_on_real_threads_every_event_is_folded_once() {
    const EVENTS: usize = 600;
    let setup = Setup { batch: 50, two_streams: true, ..Setup::default() };
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..60 {
        let fault = random.choice([Fault::Works, Fault::Works, Fault::Works, Fault::AnswerLost]).unwrap();
        setup.store.fail(Room::Commit, fault, 1);
    }
    let guests = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let rig = setup.start_on(noting("sha256:a"), guests.handle().clone()).await;
    for part in 0..EVENTS / 100 {
        rig.publish(part * 100..(part + 1) * 100).await;
        rig.publish_to("side.a", part * 10..(part + 1) * 10).await;
        if part == 2 {
            rig.until("an active copy", |rig| rig.store.in_state(CopyState::Active).is_some()).await;
            while rig.projection.rebuild().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    rig.until("the rebuilt copy is active", |rig| rig.store.active().id.number >= 2).await;
    rig.folded().await;
    assert_eq!((rig.seen("IN"), rig.seen("SIDE")), (numbers(0..EVENTS), numbers(0..EVENTS / 10)));
    assert_eq!(rig.store.active().folded as usize, EVENTS + EVENTS / 10);
    rig.stop().await;
    guests.shutdown_background();
}
