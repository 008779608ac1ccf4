//! A projection that is asked what the query API cannot answer.

use std::time::Duration;

use tidemill_core::failure::FailureKind;
use tidemill_core::limits::Limits;

use crate::read_models::{Mood, ask, ask_under, fold, load_projection, view, view_in};
use crate::rig::route;
use crate::script::End::{self, Case, Found, Retry, Tell, Trap};
use crate::script::Step::{Delete, Find, Get, Put};
use crate::script::{answering_with, asking, folding};

#[tokio::test]
async fn a_question_is_answered_from_the_documents() {
    let plugin = load_projection(&asking(&[Get("orders", "o-1")], Tell(0)));
    let view = view(&[("orders", "o-1", r#"{"total":7}"#)]);
    for _ in 0..3 {
        assert_eq!(ask(&plugin, &view, "{}").await.unwrap(), r#"{"total":7}"#);
    }
    let counted = "(call $say_char (i32.add (i32.const 48) (i32.load (i32.const 50008)))) \
                   (call $answer (i32.const 40000) (i32.const 1))";
    let find = r#"(call $find_raw (i32.const 1000) (i32.const 6) (i32.const 1006) (i32.const 6) (i32.const 1012)
        (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 10) (i32.const 50000))"#;
    let texts = r#"(data (i32.const 1000) "ordersstatus\"paid\"")"#;
    let plugin = load_projection(&answering_with(&format!("{find} {counted}"), texts));
    let paid = view_of_paid(4);
    assert_eq!(ask(&plugin, &paid, "{}").await.unwrap(), "4");
}

fn view_of_paid(orders: usize) -> std::sync::Arc<tidemill_core::read_model::FoldView> {
    let keys: Vec<String> = (0..orders).map(|number| format!("o-{number}")).collect();
    let documents: Vec<_> = keys.iter().map(|key| ("orders", key.as_str(), r#"{"status":"paid"}"#)).collect();
    view(&documents)
}

#[tokio::test]
async fn a_question_brings_its_name_and_parameters() {
    let params = load_projection(&asking(&[], End::Ok));
    assert_eq!(ask(&params, &view(&[]), r#"{"day":"2026-01-05"}"#).await.unwrap(), r#"{"day":"2026-01-05"}"#);
    let name = "(call $reject (local.get $name) (local.get $name_length))";
    let failure = ask(&load_projection(&answering_with(name, "")), &view(&[]), "{}").await.unwrap_err();
    assert_eq!((failure.kind, failure.text.as_str()), (FailureKind::Rejected, "revenue"));
}

#[tokio::test]
async fn a_question_writes_nothing_and_fails_if_it_tries() {
    for write in [Put("orders", "o-1", "{}"), Delete("orders", "o-1")] {
        for end in [End::Ok, Case(0), Retry(0)] {
            let view = view(&[]);
            let failure = ask(&load_projection(&asking(&[write], end)), &view, "{}").await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::EffectRefused);
            assert_eq!(failure.text, "a query reads documents and writes none");
            assert_eq!(view.pending(), (0, 0));
        }
    }
    // The guest is told at once, so that it can say something better.
    let case = "(call $put (i32.const 1000) (i32.const 6) (i32.const 1000) (i32.const 1) (i32.const 1006) (i32.const 2) \
                (i32.const 50000)) (call $say_case (i32.const 50000)) (call $reject (i32.const 40000) (i32.const 1))";
    let plugin = load_projection(&answering_with(case, r#"(data (i32.const 1000) "orders{}")"#));
    let failure = ask(&plugin, &view(&[]), "{}").await.unwrap_err();
    assert_eq!((failure.kind, failure.text.as_str()), (FailureKind::Rejected, "3"));
}

#[tokio::test]
async fn a_projection_without_queries_says_so() {
    let plugin = load_projection(&folding(&[], End::Ok));
    let failure = ask(&plugin, &view(&[]), "{}").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Rejected);
    assert_eq!(failure.text, "there is no query `revenue`: the plugin does not export `tidemill:plugin/queries@0.2.0`");
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_the_plugins_defect() {
    let plugin = load_projection(&asking(&[Find("orders", "status", r#""paid""#, None, 2)], Found(0)));
    let failure = ask(&plugin, &view_of_paid(1), "{}").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Trap);
    assert!(
        failure.text.starts_with("the plugin's answer is no JSON, as the contract says it is:"),
        "{}",
        failure.text
    );
}

#[tokio::test]
async fn a_question_that_takes_too_long_is_given_up_and_the_next_is_answered() {
    // It spins unless it is asked for something.
    let body = "(loop $again (br_if $again (i32.le_u (local.get $params_length) (i32.const 2)))) \
                (call $answer (local.get $params) (local.get $params_length))";
    let plugin = load_projection(&answering_with(body, ""));
    let settings = route(Duration::from_millis(50), Limits::default());
    let failure = ask_under(&plugin, &view(&[]), "{}", &settings).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert_eq!(
        failure.text,
        "the query took longer than its 50ms; `timeout` of projection `orders` in runtime.yaml raises it"
    );
    assert_eq!(ask(&plugin, &view(&[]), "{ }").await.unwrap(), "{ }");
    let trapping = load_projection(&asking(&[], Trap));
    assert_eq!(ask(&trapping, &view(&[]), "{}").await.unwrap_err().kind, FailureKind::Trap);
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_is_the_hosts_failure() {
    let plugin = load_projection(&asking(&[Get("orders", "o-1")], End::Ok));
    let failure = ask(&plugin, &view_in(Mood::Unreachable, &[]), "{}").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unavailable);
}

#[tokio::test]
async fn a_question_has_no_event_to_make_ids_from() {
    let body = "(call $stable_id (i32.const 1000) (i32.const 1) (i32.const 1100)) (call $ok)";
    let failure = ask(&load_projection(&answering_with(body, "")), &view(&[]), "{}").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Trap);
    let why = "`host.stable-id` failed: a query has no event that the id could be made from";
    assert!(failure.text.contains(why), "{}", failure.text);
}

#[tokio::test]
async fn events_are_folded_while_a_question_waits() {
    let plugin = load_projection(&asking(&[Get("orders", "o-1")], End::Ok));
    let (silent, well) = (view_in(Mood::Silent, &[]), view(&[]));
    let asked = ask(&plugin, &silent, "{}");
    tokio::pin!(asked);
    tokio::select! {
        biased;
        answer = &mut asked => panic!("the store keeps the question waiting, but it was answered: {answer:?}"),
        folded = fold(&plugin, &well) => assert!(folded.is_ok()),
    }
}
