//! A broker that is away, refuses, or loses its answer: nothing is lost, nothing doubled, no attempt spent.

use std::time::Duration;

use futures_util::FutureExt as _;
use tidemill_core::failure::{Blame, FailureKind};
use tidemill_core::retry::ExhaustedBy;

use crate::faulty::{Door, Fault, SourceTraits};
use crate::rig::{Rig, Seen, Setup, count_up, emit, emits, failed, nothing, retry};

const AWAY: [Fault; 2] = [Fault::Unavailable, Fault::AnswerLost];

/// A guest that emits its event's data, without or with state.
async fn emitting(uses_state: bool) -> (Rig, Seen) {
    let seen = Seen::default();
    let log = seen.clone();
    let rig = Setup { uses_state, ..Setup::default() }
        .start(move |call| {
            log.note(&call);
            async move {
                if call.state.is_some() {
                    return count_up(call).await;
                }
                emits(vec![emit("out.a", &call.event.id)])
            }
            .boxed()
        })
        .await;
    (rig, seen)
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_repeated_until_the_broker_is_back() {
    for fault in AWAY {
        let (rig, seen) = emitting(false).await;
        rig.broker.plan.fail(Door::Commit, fault, 7);
        rig.publish_many(20).await;
        rig.settled().await;
        assert_eq!(seen.attempts(), [1; 20], "{fault:?}: no guest is called again");
        let mut emitted = rig.emitted_data().await;
        emitted.sort();
        emitted.dedup();
        assert_eq!((emitted.len(), rig.emitted().await.len()), (20, 20), "{fault:?}");
        assert_eq!((rig.summary().done, rig.summary().retried), (20, 0), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_skipped_event_is_settled_when_the_broker_is_back() {
    let filter = tidemill_core::filter::Filter::compile(&serde_json::json!({ "id": ["other"] })).unwrap();
    let rig = Setup { filter: Some(filter), ..Setup::default() }.start(|_| async { nothing() }.boxed()).await;
    rig.broker.plan.fail(Door::Commit, Fault::Unavailable, 3);
    rig.publish(&["a"]).await;
    rig.settled().await;
    assert_eq!((rig.summary().skipped, rig.broker.plan.calls(Door::Commit)), (1, 4));
}

#[tokio::test(start_paused = true)]
async fn a_state_commit_is_repeated_until_the_broker_is_back() {
    let (rig, seen) = emitting(true).await;
    rig.broker.plan.fail(Door::CommitState, Fault::Unavailable, 7);
    rig.publish_many(20).await;
    rig.settled().await;
    assert_eq!(rig.number("n").await, 20);
    assert_eq!(rig.emitted().await.len(), 20);
    let batches = rig.broker.state_batches.lock().unwrap().clone();
    assert_eq!(batches[..8], [batches[0]; 8], "the same batch each time");
    assert!(seen.attempts().iter().all(|attempt| *attempt == 1));
    assert_eq!((rig.summary().done, rig.summary().retried), (20, 0));
}

#[tokio::test(start_paused = true)]
async fn a_state_commit_whose_answer_is_lost_is_found_done() {
    let (rig, seen) = emitting(true).await;
    rig.broker.plan.fail(Door::CommitState, Fault::AnswerLost, 3);
    rig.publish_many(20).await;
    rig.settled().await;
    assert_eq!(rig.number("n").await, 20);
    assert_eq!(rig.emitted().await.len(), 20);
    assert!(seen.attempts().iter().all(|attempt| *attempt == 1));
    assert_eq!((rig.summary().done, rig.summary().retried), (20, 0));
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_parked_when_the_broker_is_back() {
    for fault in AWAY {
        let seen = Seen::default();
        let log = seen.clone();
        let rig = Setup::default()
            .start(move |call| {
                log.note(&call);
                let again = call.attempt == 1;
                async move { if again { retry() } else { nothing() } }.boxed()
            })
            .await;
        rig.broker.plan.fail(Door::Park, fault, 5);
        rig.publish(&["a"]).await;
        rig.settled().await;
        assert_eq!(seen.attempts(), [1, 2], "{fault:?}");
        assert_eq!((rig.summary().received, rig.summary().done), (1, 1), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_the_broker_refuses_to_park_is_made_anyway() {
    let seen = Seen::default();
    let log = seen.clone();
    let rig = Setup::default()
        .start(move |call| {
            log.note(&call);
            let again = call.attempt == 1;
            async move { if again { retry() } else { nothing() } }.boxed()
        })
        .await;
    rig.broker.plan.fail(Door::Park, Fault::Refused, 1_000_000);
    rig.publish(&["a"]).await;
    rig.settled().await;
    assert_eq!(seen.attempts(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_stored_once_when_the_broker_is_back() {
    for fault in AWAY {
        let rig = Setup::default().start(|_| async { failed(FailureKind::Rejected) }.boxed()).await;
        rig.broker.plan.fail(Door::DeadLetter, fault, 5);
        rig.publish(&["a"]).await;
        rig.settled().await;
        assert_eq!(rig.dead_letter().await.attempts, 1, "{fault:?}");
        assert_eq!(rig.broker.plan.calls(Door::DeadLetter), 6, "{fault:?}");
        assert_eq!(rig.summary().dead_lettered, 1, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_too_large_is_shortened() {
    let rig = Setup::default()
        .start(|_| {
            let mut failure = tidemill_core::failure::Failure::new(FailureKind::Rejected, "x".repeat(5000));
            failure.log_tail = vec!["a line".to_owned()];
            async move { Err(failure) }.boxed()
        })
        .await;
    rig.broker.plan.fail(Door::DeadLetter, Fault::Refused, 1);
    rig.publish(&["a"]).await;
    rig.settled().await;
    let letter = rig.dead_letter().await;
    assert!(letter.error.len() <= 120 && letter.log_tail.is_empty(), "{letter:?}");
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_dead_letter_is_refused_stays_and_is_tried_again() {
    let rig = Setup::default().start(|_| async { failed(FailureKind::Rejected) }.boxed()).await;
    rig.broker.plan.fail(Door::DeadLetter, Fault::Refused, 3);
    rig.publish(&["a"]).await;
    rig.settled().await;
    assert_eq!(*rig.source.parked.lock().unwrap(), [(1, Duration::from_secs(60)); 3]);
    assert_eq!(rig.dead_letter().await.attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn an_impossible_effect_is_the_plugin_s_fault_and_harms_nobody_else() {
    for uses_state in [false, true] {
        let rig = Setup { uses_state, ..Setup::default() }
            .start(|call| {
                // There is no stream for `nowhere`.
                let bad = call.event.id == "bad";
                async move {
                    let mut effects = match &call.state {
                        Some(_) => count_up(call).await?,
                        None => emits(vec![emit("out.a", &call.event.id)])?,
                    };
                    if bad {
                        effects.emits.push(emit("nowhere", "x"));
                    }
                    Ok(effects)
                }
                .boxed()
            })
            .await;
        rig.publish(&["a", "b", "bad", "c", "d"]).await;
        rig.settled().await;
        let letter = rig.dead_letter().await;
        assert_eq!((letter.reason.as_str(), letter.blame, letter.attempts), ("effect-refused", Blame::Plugin, 3));
        assert_eq!((letter.exhausted_by, letter.event_id.as_deref()), (Some(ExhaustedBy::Attempts), Some("bad")));
        assert_eq!(rig.emitted().await.len(), 4, "state: {uses_state}; nothing of the refused call left");
        assert_eq!((rig.summary().done, rig.summary().retried), (4, 2), "state: {uses_state}");
        assert_eq!(rig.number("n").await, if uses_state { 4 } else { 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn reading_goes_on_when_the_broker_is_back() {
    let rig = Setup::default().start(|_| async { nothing() }.boxed()).await;
    rig.broker.plan.fail(Door::Pull, Fault::Unavailable, 10);
    rig.publish_many(3).await;
    rig.settled().await;
    assert_eq!(rig.summary().done, 3);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_cannot_be_read_costs_no_attempt() {
    for hold_limit in [0, 60] {
        let source = SourceTraits { hold_limit: Duration::from_secs(hold_limit), ..SourceTraits::default() };
        let seen = Seen::default();
        let log = seen.clone();
        let rig = Setup { uses_state: true, source, ..Setup::default() }
            .start(move |call| {
                log.note(&call);
                count_up(call).boxed()
            })
            .await;
        rig.broker.plan.fail(Door::StateGet, Fault::Unavailable, 12);
        rig.publish(&["a"]).await;
        rig.settled().await;
        assert_eq!(seen.attempts(), [1; 13], "hold limit {hold_limit}");
        assert_eq!(rig.number("n").await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_of_what_was_committed_calls_no_guest() {
    let (rig, seen) = emitting(true).await;
    rig.publish(&["a"]).await;
    rig.settled().await;
    let mut again = rig.source.pulled.lock().unwrap()[0].clone();
    again.redelivered = true;
    rig.source.again.lock().unwrap().push_back(again);
    // While the broker cannot say whether it was committed, nobody is called either.
    rig.broker.plan.fail(Door::SettleCommitted, Fault::Unavailable, 1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(seen.attempts(), [1]);
    assert!(rig.broker.plan.calls(Door::SettleCommitted) >= 1);
    assert_eq!((rig.number("n").await, rig.emitted().await.len()), (1, 1));
}
