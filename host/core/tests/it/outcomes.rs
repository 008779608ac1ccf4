//! Every way an attempt can end, and what becomes of the event.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tidemill_core::config::OnMissing;
use tidemill_core::dead_letter::DeadLetter;
use tidemill_core::envelope::encode_event;
use tidemill_core::event::Event;
use tidemill_core::failure::{Blame, Failure, FailureKind};
use tidemill_core::filter::Filter;
use tidemill_core::message::Headers;
use tidemill_core::retry::{Backoff, ExhaustedBy, RetryPolicy};
use tidemill_core::schema::{SchemaFile, Schemas};
use tidemill_core::stats::RouteSummary;
use tidemill_core::subject::Subject;

use crate::faulty::SourceTraits;
use crate::rig::{Rig, Seen, Setup, emit, emits, event, event_message, failed, nothing, policy, retry, text};

/// `Tested` events are texts of at most 5 characters; `Emitted` ones may not be "bad".
fn schemas() -> Schemas {
    let file = |path: &str, schema: serde_json::Value| SchemaFile { path: path.to_owned(), text: schema.to_string() };
    Schemas::compile(vec![
        file("Tested.json", json!({ "type": "string", "maxLength": 5 })),
        file("Emitted.json", json!({ "not": { "const": "bad" } })),
    ])
    .unwrap()
}

/// The essence of a dead letter: reason, blame, attempts, which limit.
fn verdict(letter: &DeadLetter) -> (&str, Blame, u32, Option<ExhaustedBy>) {
    (&letter.reason, letter.blame, letter.attempts, letter.exhausted_by)
}

/// A route whose guest always fails like this.
async fn failing(setup: Setup, kind: FailureKind) -> (Rig, Seen) {
    let seen = Seen::default();
    let log = seen.clone();
    let rig = setup
        .start(move |call| {
            log.note(&call);
            async move { failed(kind) }.boxed()
        })
        .await;
    (rig, seen)
}

#[tokio::test(start_paused = true)]
async fn done_publishes_the_emits_and_settles() {
    let rig = Setup::default()
        .start(|call| {
            let id = call.event.id.clone();
            async move { emits(vec![emit("out.a", &format!("{id}-1")), emit("out.a", &format!("{id}-2"))]) }.boxed()
        })
        .await;
    rig.publish(&["a"]).await;
    rig.settled().await;
    assert_eq!(rig.emitted_data().await, ["\"a-1\"", "\"a-2\""]);
    let RouteSummary { received, done, emitted, dead_lettered, .. } = rig.summary();
    assert_eq!((received, done, emitted, dead_lettered), (1, 1, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn what_the_filter_does_not_want_is_settled_without_a_call() {
    let seen = Seen::default();
    let log = seen.clone();
    let setup = Setup { filter: Some(Filter::compile(&json!({ "id": ["wanted"] })).unwrap()), ..Setup::default() };
    let rig = setup
        .start(move |call| {
            log.note(&call);
            async { nothing() }.boxed()
        })
        .await;
    rig.publish(&["a", "wanted", "b"]).await;
    rig.settled().await;
    assert_eq!(seen.ids(), ["wanted"]);
    assert_eq!((rig.summary().done, rig.summary().skipped), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_event_is_dead_lettered_at_once_with_its_history() {
    let (rig, seen) = failing(Setup::default(), FailureKind::Rejected).await;
    rig.publish(&["a"]).await;
    rig.settled().await;
    let letter = rig.dead_letter().await;
    assert_eq!(verdict(&letter), ("rejected", Blame::Event, 1, None));
    assert_eq!((letter.event_id.as_deref(), letter.event_type.as_deref()), (Some("a"), Some("Tested")));
    assert_eq!(
        (letter.host.as_str(), letter.digest.as_str(), letter.error.as_str()),
        ("test-host", "sha256:test", "on purpose")
    );
    assert_eq!(letter.original, event_message("a"));
    assert_eq!(seen.attempts(), [1]);
    assert_eq!(rig.summary().dead_lettered_by_reason, [("rejected".to_owned(), 1)].into());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_no_event_is_dead_lettered_without_a_call() {
    let (rig, seen) = failing(Setup::default(), FailureKind::Trap).await;
    let mut no_event = event_message("a");
    no_event.headers = Headers::new();
    rig.publish_messages(vec![no_event]).await;
    rig.settled().await;
    let letter = rig.dead_letter().await;
    assert_eq!(verdict(&letter), ("malformed", Blame::Event, 1, None));
    assert_eq!((letter.event_id, seen.attempts().len()), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_data_is_not_the_json_that_it_claims_is_malformed() {
    let (rig, seen) = failing(Setup::default(), FailureKind::Trap).await;
    let mut broken = event_message("a");
    broken.payload = "{".into();
    rig.publish_messages(vec![broken]).await;
    rig.settled().await;
    let letter = rig.dead_letter().await;
    assert_eq!(verdict(&letter), ("malformed", Blame::Event, 1, None));
    assert_eq!((letter.event_id.as_deref(), seen.attempts().len()), (Some("a"), 0));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_its_schema_refuses_is_dead_lettered_without_a_call() {
    let setup = Setup { schemas: schemas(), on_missing: OnMissing::Reject, ..Setup::default() };
    let (rig, seen) = failing(setup, FailureKind::Trap).await;
    rig.publish(&["much too long"]).await;
    rig.settled().await;
    assert_eq!(verdict(&rig.dead_letter().await), ("invalid", Blame::Event, 1, None));
    assert_eq!(seen.attempts().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_missing_schema_is_what_the_configuration_says_it_is() {
    for (on_missing, done) in [(OnMissing::Reject, 0), (OnMissing::Warn, 1), (OnMissing::Allow, 1)] {
        let setup = Setup { on_missing, ..Setup::default() };
        let rig = setup.start(|_| async { nothing() }.boxed()).await;
        rig.publish(&["a"]).await;
        rig.settled().await;
        assert_eq!(rig.summary().done, done, "{on_missing:?}");
        let reasons: Vec<_> = rig.dead_letters().await.into_iter().map(|letter| letter.reason).collect();
        assert_eq!(reasons, vec!["schema-missing"; 1 - done as usize], "{on_missing:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalid_emit_never_leaves_and_is_the_plugin_s_fault() {
    let setup = Setup { schemas: schemas(), on_missing: OnMissing::Reject, ..Setup::default() };
    let rig = setup.start(|_| async { emits(vec![emit("out.a", "good"), emit("out.a", "bad")]) }.boxed()).await;
    rig.publish(&["a"]).await;
    rig.settled().await;
    let letter = rig.dead_letter().await;
    assert_eq!(verdict(&letter), ("emit-invalid", Blame::Plugin, 3, Some(ExhaustedBy::Attempts)));
    assert!(letter.error.starts_with("emit 1 to `out.a` (Emitted): "), "{}", letter.error);
    assert!(rig.emitted().await.is_empty(), "the valid emit of a failed call stays too");
}

#[tokio::test(start_paused = true)]
async fn a_retry_comes_back_with_the_next_attempt_until_it_is_done() {
    // Parked in the broker, and waited for in the host.
    for hold_limit in [0, 60] {
        let source = SourceTraits { hold_limit: Duration::from_secs(hold_limit), ..SourceTraits::default() };
        let seen = Seen::default();
        let log = seen.clone();
        let begun = tokio::time::Instant::now();
        let rig = Setup { source, ..Setup::default() }
            .start(move |call| {
                log.note(&call);
                let again = call.attempt < 3;
                async move { if again { retry() } else { emits(vec![emit("out.a", "done")]) } }.boxed()
            })
            .await;
        rig.publish(&["a"]).await;
        rig.settled().await;
        assert_eq!(seen.attempts(), [1, 2, 3], "hold limit {hold_limit}");
        assert!(begun.elapsed() >= Duration::from_secs(3), "delays of 1 s and 2 s, not {:?}", begun.elapsed());
        assert_eq!(rig.emitted_data().await, ["\"done\""]);
        let RouteSummary { received, done, retried, dead_lettered, .. } = rig.summary();
        assert_eq!((received, done, retried, dead_lettered), (1, 1, 2, 0), "hold limit {hold_limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_plugin_s_faults_are_dead_lettered_after_the_last_attempt() {
    for kind in FailureKind::ALL.into_iter().filter(|kind| kind.blame() == Blame::Plugin) {
        for hold_limit in [0, 60] {
            let source = SourceTraits { hold_limit: Duration::from_secs(hold_limit), ..SourceTraits::default() };
            let (rig, seen) = failing(Setup { source, ..Setup::default() }, kind).await;
            rig.publish(&["a"]).await;
            rig.settled().await;
            let by_attempts = Some(ExhaustedBy::Attempts);
            assert_eq!(verdict(&rig.dead_letter().await), (kind.code(), Blame::Plugin, 3, by_attempts));
            assert_eq!(seen.attempts(), [1, 2, 3], "{kind:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_next_attempt_would_be_too_late_is_dead_lettered_by_age() {
    let setup = Setup { retry: policy(100, Duration::from_secs(10)), ..Setup::default() };
    let (rig, seen) = failing(setup, FailureKind::RetryRequested { after: Some(Duration::from_secs(11)) }).await;
    rig.publish(&["a"]).await;
    rig.settled().await;
    let by_age = Some(ExhaustedBy::Age);
    assert_eq!(verdict(&rig.dead_letter().await), ("retry-requested", Blame::Plugin, 1, by_age));
    assert_eq!(seen.attempts(), [1]);
}

#[tokio::test(start_paused = true)]
async fn the_age_counts_from_the_first_failure_that_the_broker_remembers() {
    let setup = Setup { retry: policy(100, Duration::from_secs(3600)), max_in_flight: 1, ..Setup::default() };
    let (rig, _) = failing(setup, FailureKind::Trap).await;
    rig.publish(&["a"]).await;
    while rig.source.parked.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // An hour ago for the wall clock, which a test cannot turn.
    let mut old = rig.source.pulled.lock().unwrap()[0].clone();
    old.first_failure = Some(SystemTime::now() - Duration::from_secs(3600));
    old.attempt = 2;
    rig.source.again.lock().unwrap().push_back(old);
    rig.settled().await;
    assert_eq!(verdict(&rig.dead_letter().await), ("trap", Blame::Plugin, 2, Some(ExhaustedBy::Age)));
}

#[tokio::test(start_paused = true)]
async fn a_host_fault_costs_no_attempt_and_starts_no_age() {
    for hold_limit in [0, 60] {
        for kind in [FailureKind::Unavailable, FailureKind::StateConflict] {
            let source = SourceTraits { hold_limit: Duration::from_secs(hold_limit), ..SourceTraits::default() };
            let seen = Seen::default();
            let log = seen.clone();
            let rig = Setup { source, ..Setup::default() }
                .start(move |call| {
                    log.note(&call);
                    let away = log.attempts().len() <= 20;
                    async move { if away { failed(kind) } else { nothing() } }.boxed()
                })
                .await;
            rig.publish(&["a"]).await;
            rig.settled().await;
            assert_eq!(seen.attempts(), [1; 21], "{kind:?}, hold limit {hold_limit}");
            let RouteSummary { received, done, retried, dead_lettered, .. } = rig.summary();
            assert_eq!((received, done, retried, dead_lettered), (1, 1, 0, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_handler_is_a_failed_attempt_and_ends_no_worker() {
    let setup = Setup { instances: 1, ..Setup::default() };
    let rig = setup
        .start(|call| {
            let id = call.event.id.clone();
            async move { if id == "bad" { panic!("a defect of the host") } else { nothing() } }.boxed()
        })
        .await;
    rig.publish(&["bad", "good"]).await;
    rig.settled().await;
    let letter = rig.dead_letter().await;
    assert_eq!(verdict(&letter), ("trap", Blame::Plugin, 3, Some(ExhaustedBy::Attempts)));
    assert_eq!((text(&letter.original.payload).as_str(), rig.summary().done), ("\"bad\"", 1));
}

#[tokio::test(start_paused = true)]
async fn emits_say_what_caused_them_and_have_ids_that_never_change() {
    let rig = emitting_twice().await;
    rig.publish(&["a"]).await;
    let mut with_correlation = event_message("b");
    with_correlation.headers.append("ce-correlationid", "order-7");
    rig.publish_messages(vec![with_correlation]).await;
    rig.settled().await;
    let all = rig.emitted().await;
    let attribute =
        |name: &str| -> Vec<&str> { all.iter().map(|message| message.headers.get(name).unwrap()).collect() };
    assert_eq!(attribute("ce-causationid"), ["a", "a", "b", "b"]);
    assert_eq!(attribute("ce-correlationid"), ["a", "a", "order-7", "order-7"]);
    assert_eq!(attribute("ce-source"), ["/tidemill/route"; 4]);

    // The same input on another host: the ids depend on route, stream, sequence and index only.
    let other = emitting_twice().await;
    other.publish(&["x", "y"]).await;
    other.settled().await;
    let again = other.emitted().await;
    let again: Vec<&str> = again.iter().map(|message| message.headers.get("ce-id").unwrap()).collect();
    assert_eq!(attribute("ce-id"), again);
    let different: std::collections::BTreeSet<_> = again.iter().collect();
    assert_eq!(different.len(), 4);
}

async fn emitting_twice() -> Rig {
    Setup::default().start(|_| async { emits(vec![emit("out.a", "1"), emit("out.a", "2")]) }.boxed()).await
}

#[tokio::test(start_paused = true)]
async fn the_age_does_not_count_while_only_the_host_has_failed() {
    let (zero, max_age) = (Duration::ZERO, Duration::from_millis(50));
    let retry_at_once = RetryPolicy::try_new(3, max_age, Backoff::try_new(zero, 1.0, zero, 0.0).unwrap()).unwrap();
    let source = SourceTraits { hold_limit: Duration::from_secs(60), ..SourceTraits::default() };
    let calls = AtomicUsize::new(0);
    let rig = Setup { retry: retry_at_once, source, ..Setup::default() }
        .start(move |_| {
            let outcome = match calls.fetch_add(1, SeqCst) {
                0 => failed(FailureKind::Unavailable),
                1 => {
                    // The wall clock cannot be paused.
                    std::thread::sleep(max_age * 2);
                    retry()
                }
                _ => nothing(),
            };
            async { outcome }.boxed()
        })
        .await;
    rig.publish(&["a"]).await;
    rig.settled().await;
    assert_eq!((rig.summary().done, rig.summary().dead_lettered), (1, 0));
}

/// What events and plugins say never becomes a label: however many subjects, types and texts there are, a route has the same
/// counters.
#[tokio::test(start_paused = true)]
async fn guest_made_names_do_not_become_counters() {
    const EVENTS: usize = 5000;
    let rig = Setup { max_in_flight: 256, ..Setup::default() }
        .start(|call| {
            let id = call.event.id.clone();
            async move {
                let mut one = emit(&format!("out.{id}"), &id);
                one.kind = format!("Emitted-{id}");
                if id.ends_with('7') { Err(Failure::new(FailureKind::Rejected, id)) } else { emits(vec![one]) }
            }
            .boxed()
        })
        .await;
    let names = |rig: &Rig| {
        let Value::Object(fields) = serde_json::to_value(rig.summary()).unwrap() else { panic!("no object") };
        fields.keys().cloned().collect::<Vec<_>>()
    };
    let before = names(&rig);
    let messages = (0..EVENTS).map(|n| {
        let event = Event { kind: format!("Type-{n}"), source: format!("/source/{n}"), ..event(&format!("e{n}")) };
        encode_event(&event, Subject::try_new(&format!("in.s{n}")).unwrap()).message
    });
    rig.publish_messages(messages.collect()).await;
    rig.settled().await;
    let RouteSummary { done, dead_lettered, dead_lettered_by_reason, emitted, .. } = rig.summary();
    assert_eq!((done, dead_lettered, emitted), (4500, 500, 4500));
    assert_eq!(dead_lettered_by_reason, [("rejected".to_owned(), 500)].into(), "not one for each text");
    assert_eq!(names(&rig), before);
}
