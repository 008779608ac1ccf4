//! A guest that folds events into documents: what it writes, what it sees, and what it is refused.

use std::time::Duration;

use tidemill_core::failure::FailureKind;
use tidemill_core::limits::Limits;
use tidemill_core::port::{Handler as _, Role};
use wit_parser::Resolve;

use crate::guest::{READ_MODEL, answering, applying, contract, dummy};
use crate::read_models::{Mood, fold, fold_under, load_projection, pending, view, view_in};
use crate::rig::{granted, limits, route, try_load_as};
use crate::script::End::{Case, Found, Retry, Tell, Trap};
use crate::script::Step::{Delete, Find, Get, Put};
use crate::script::{End, Step, answering_with, folding};

const ORDER: &str = r#"{"status":"paid"}"#;

/// What the script tells of an event, folded into this read model.
async fn told(steps: &[Step<'_>], end: End, documents: &[(&str, &str, &str)]) -> String {
    let failure = fold(&load_projection(&folding(steps, end)), &view(documents)).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Rejected, "{}", failure.text);
    failure.text
}

#[tokio::test]
async fn a_projection_is_described() {
    let plugin = load_projection(&folding(&[Get("orders", "o-1")], End::Ok));
    let description = plugin.describe();
    assert_eq!((description.world().as_str(), description.role), ("projection@0.2.0", Role::Projection));
    assert_eq!(description.exports, ["tidemill:plugin/event-projection@0.2.0"]);
    assert!(description.imports.contains(&"tidemill:plugin/read-model@0.2.0".to_owned()), "{description:?}");
    assert!(!plugin.uses_state());
    // Questions run beside the events.
    assert!(description.instances >= 2);

    let asked = load_projection(&answering_with("(call $ok)", ""));
    let mut exports = asked.describe().exports.clone();
    exports.sort();
    assert_eq!(exports, ["tidemill:plugin/event-projection@0.2.0", "tidemill:plugin/queries@0.2.0"]);
    assert_eq!(asked.describe().world(), "projection@0.2.0");
}

#[tokio::test]
async fn an_event_hands_its_documents_over_when_it_is_folded() {
    let steps = [Put("orders", "o-1", ORDER), Put("customers", "c-1", "{}"), Delete("orders", "o-2")];
    let view = view(&[]);
    let effects = fold(&load_projection(&folding(&steps, End::Ok)), &view).await.unwrap();
    assert!(effects.emits.is_empty() && effects.state.is_none());
    assert_eq!(pending(&view), [], "nothing is written before the host accepts it");
    view.accept(effects.documents);
    let written = |place: &str, body: Option<&str>| (place.to_owned(), body.map(str::to_owned));
    assert_eq!(
        pending(&view),
        [written("customers/c-1", Some("{}")), written("orders/o-1", Some(ORDER)), written("orders/o-2", None)]
    );
}

#[tokio::test]
async fn an_event_sees_what_is_stored_and_what_was_written_before() {
    assert_eq!(told(&[Get("orders", "o-1")], Tell(0), &[("orders", "o-1", ORDER)]).await, ORDER);
    assert_eq!(told(&[Put("orders", "o-1", ORDER), Get("orders", "o-1")], Tell(1), &[]).await, ORDER);
    let removed = [Delete("orders", "o-1"), Get("orders", "o-1")];
    assert_eq!(told(&removed, Tell(1), &[("orders", "o-1", ORDER)]).await, "");

    let view = view(&[]);
    let first = fold(&load_projection(&folding(&[Put("orders", "o-1", ORDER)], End::Ok)), &view).await.unwrap();
    view.accept(first.documents);
    let second = fold(&load_projection(&folding(&[Get("orders", "o-1")], Tell(0))), &view).await.unwrap_err();
    assert_eq!(second.text, ORDER, "an earlier event of the batch");
}

#[tokio::test]
async fn documents_are_found_by_an_indexed_field_in_the_order_of_their_keys() {
    let stored = [
        ("orders", "o-1", r#"{"status":"paid","n":1}"#),
        ("orders", "o-2", r#"{"status":"pending"}"#),
        ("orders", "o-4", r#"{"status":"paid","n":4}"#),
        ("orders", "o-5", r#"{"status":"paid","n":5}"#),
        ("customers", "o-6", r#"{"status":"paid"}"#),
    ];
    let paid = |after, limit| Find("orders", "status", r#""paid""#, after, limit);
    let found = told(&[paid(None, 10)], Found(0), &stored).await;
    assert_eq!(found, r#"o-1={"status":"paid","n":1};o-4={"status":"paid","n":4};o-5={"status":"paid","n":5};"#);
    assert_eq!(told(&[paid(Some("o-1"), 1)], Found(0), &stored).await, r#"o-4={"status":"paid","n":4};"#);
    let own = [Put("orders", "o-3", ORDER), Delete("orders", "o-4"), Put("orders", "o-1", "{}"), paid(None, 10)];
    assert_eq!(
        told(&own, Found(3), &stored).await,
        r#"o-3={"status":"paid"};o-5={"status":"paid","n":5};"#,
        "its own writes count"
    );
}

#[tokio::test]
async fn a_failed_event_leaves_nothing_behind() {
    for (end, kind) in [
        (Tell(0), FailureKind::Rejected),
        (Retry(0), FailureKind::RetryRequested { after: None }),
        (Trap, FailureKind::Trap),
    ] {
        let view = view(&[("orders", "o-1", "{}")]);
        let plugin = load_projection(&folding(&[Put("orders", "o-1", ORDER)], end));
        assert_eq!(fold(&plugin, &view).await.unwrap_err().kind, kind);
        assert_eq!(pending(&view), []);
        let seen = fold(&load_projection(&folding(&[Get("orders", "o-1")], Tell(0))), &view).await.unwrap_err();
        assert_eq!(seen.text, "{}");
    }
}

#[tokio::test]
async fn each_refusal_reaches_the_guest_as_its_own_case_with_its_reason() {
    let long = format!(r#"{{"status":"{}"}}"#, "x".repeat(513));
    let no_object = "a document of the collection `orders` is refused: expected a JSON object, found";
    let no_collection = "the collection `parcels` is not declared; `projections[].collections.parcels` in runtime.yaml";
    for (step, case, text) in [
        (Get("parcels", "p-1"), "0", no_collection),
        (Put("parcels", "p-1", "{}"), "0", no_collection),
        (Delete("parcels", "p-1"), "0", no_collection),
        (Find("orders", "total", "1", None, 1), "1", "the field `total` of the collection `orders` is not indexed; "),
        (Get("orders", ""), "2", "`` is not a document's key: expected 1 to 256 bytes without control characters"),
        (Delete("orders", "a\nb"), "2", "`ab` is not a document's key"),
        (Put("orders", "o-1", "[1]"), "2", &format!("{no_object} an array")),
        (Put("orders", "o-1", "{"), "2", &format!("{no_object} no JSON: ")),
        (
            Put("orders", "o-1", &long),
            "2",
            "a document of the collection `orders` is refused: its indexed field `status`",
        ),
        (Find("orders", "status", "paid", None, 1), "2", "a value to search for is refused: expected JSON that can be"),
        (
            Put("orders", "o-1", ORDER),
            "4",
            "the limit `document` of 16 is used up; `plugins.settings.guest.limits.document`",
        ),
    ] {
        let settings = route(
            Duration::from_secs(5),
            limits(|limits| {
                if case == "4" {
                    limits.document = 16
                }
            }),
        );
        for (end, expected) in [(Case(0), case), (Tell(0), text)] {
            let failure =
                fold_under(&load_projection(&folding(&[step], end)), &view(&[]), &settings).await.unwrap_err();
            // A guest that rejects the event for a reason of its own has the last word.
            assert_eq!(failure.kind, FailureKind::Rejected);
            assert!(failure.text.starts_with(expected), "{}", failure.text);
        }
    }
}

#[tokio::test]
async fn a_refused_write_fails_the_event_also_if_the_guest_ignores_it() {
    let refused = Put("parcels", "p-1", "{}");
    for end in [End::Ok, Retry(1)] {
        let view = view(&[]);
        let plugin = load_projection(&folding(&[Put("orders", "o-1", ORDER), refused], end));
        let failure = fold(&plugin, &view).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::EffectRefused);
        assert_eq!(
            failure.text,
            "the collection `parcels` is not declared; `projections[].collections.parcels` in runtime.yaml would declare it"
        );
    }
}

#[tokio::test]
async fn a_refused_read_is_the_guests_to_judge() {
    let reads = [Get("parcels", "p-1"), Find("orders", "total", "1", None, 1), Put("orders", "o-1", ORDER)];
    let view = view(&[]);
    let effects = fold(&load_projection(&folding(&reads, End::Ok)), &view).await.unwrap();
    view.accept(effects.documents);
    assert_eq!(pending(&view).len(), 1);
}

#[tokio::test]
async fn limits_are_named_with_the_line_that_raises_them() {
    let two = [Put("orders", "o-1", ORDER), Put("orders", "o-2", ORDER)];
    for (limit, limits, allowed) in [
        ("document", limits(|limits| limits.document = 16), 16),
        ("document_bytes", limits(|limits| limits.document_bytes = 39), 39),
        ("document_writes", limits(|limits| limits.document_writes = 1), 1),
    ] {
        let settings = route(Duration::from_secs(5), limits);
        let plugin = load_projection(&folding(&two, End::Ok));
        let failure = fold_under(&plugin, &view(&[]), &settings).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::EffectRefused);
        assert_eq!(
            failure.text,
            format!(
                "the limit `{limit}` of {allowed} is used up; `plugins.settings.guest.limits.{limit}` in runtime.yaml raises it"
            )
        );
    }
    let enough = limits(|limits| (limits.document, limits.document_bytes, limits.document_writes) = (17, 40, 2));
    let settings = route(Duration::from_secs(5), enough);
    assert!(fold_under(&load_projection(&folding(&two, End::Ok)), &view(&[]), &settings).await.is_ok());
}

#[tokio::test]
async fn a_projection_that_does_not_return_is_stopped_and_the_next_event_is_folded() {
    // It spins on the first event of an instance's life whose read model is empty.
    let body = r#"(i32.store8 (i32.const 1000) (i32.const 99))
        (call $get (i32.const 1001) (i32.const 9) (i32.const 1000) (i32.const 1) (i32.const 1100))
        (loop $again (br_if $again (i32.eqz (i32.load8_u (i32.const 1104)))))
        (call $ok)"#;
    let fields = format!(r#"(data (i32.const 1001) "customers") (func $handle (param $in i32) (result i32) {body})"#);
    let plugin = load_projection(&crate::guest::projection(&[READ_MODEL], &fields));
    let settings = route(Duration::from_millis(50), Limits::default());
    let failure = fold_under(&plugin, &view(&[]), &settings).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert_eq!(
        failure.text,
        "the call took longer than its 50ms; `timeout` of projection `orders` in runtime.yaml raises it"
    );
    assert!(fold(&plugin, &view(&[("customers", "c", "{}")])).await.is_ok());
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_is_the_hosts_failure_whatever_the_guest_returns() {
    for end in [End::Ok, Tell(0), Trap] {
        let plugin = load_projection(&folding(&[Get("orders", "o-1")], end));
        let failure = fold(&plugin, &view_in(Mood::Unreachable, &[])).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unavailable);
        assert!(failure.text.contains("the store of read models (test) is unavailable: nobody answers"), "{failure:?}");
    }
    let found = folding(&[Find("orders", "status", "1", None, 5)], Case(0));
    let failure = fold(&load_projection(&found), &view_in(Mood::Unreachable, &[])).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unavailable);
    // A write asks nobody.
    let writing = load_projection(&folding(&[Put("orders", "o-1", ORDER)], End::Ok));
    assert!(fold(&writing, &view_in(Mood::Unreachable, &[])).await.is_ok());
}

#[tokio::test]
async fn waiting_for_the_store_counts_as_time_too() {
    let plugin = load_projection(&folding(&[Get("orders", "o-1")], End::Ok));
    let settings = route(Duration::from_millis(50), Limits::default());
    let failure = fold_under(&plugin, &view_in(Mood::Silent, &[]), &settings).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Timeout);
    let failure = fold(&plugin, &view_in(Mood::Panicking, &[])).await.unwrap_err();
    assert!(failure.text.ends_with("a defect of the store; this is a defect of Tidemill"), "{}", failure.text);
    assert!(fold(&plugin, &view(&[])).await.is_ok());
}

#[tokio::test]
async fn a_call_without_documents_is_the_hosts_failure() {
    let plugin = load_projection(&folding(&[Put("orders", "o-1", ORDER)], End::Ok));
    let failure = crate::rig::call(&plugin, "{}").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unavailable);
}

fn refusal(role: Role, component: &[u8]) -> String {
    match try_load_as(role, component, &granted()) {
        Ok(plugin) => panic!("the component was accepted: {:?}", plugin.describe()),
        Err(why) => why.to_string(),
    }
}

#[tokio::test]
async fn a_component_of_the_other_role_is_refused_with_what_it_is_and_what_was_expected() {
    assert_eq!(
        refusal(Role::Handler, &applying(&[], "(call $ok)")),
        "is a projection (it exports `tidemill:plugin/event-projection`), which a route cannot call; expected a handler, \
         which exports `tidemill:plugin/event-handler@0.2.0`"
    );
    assert_eq!(
        refusal(Role::Projection, &answering(&[], "(call $ok)")),
        "is a handler (it exports `tidemill:plugin/event-handler`), which a projection of runtime.yaml cannot call; \
         expected a projection, which exports `tidemill:plugin/event-projection@0.2.0`"
    );
    let mut empty = Resolve::default();
    empty.push_str("empty.wit", "package acme:tool; world tool { export run: func(); }").unwrap();
    assert_eq!(
        refusal(Role::Projection, &dummy(&empty, "tool")),
        "does not export `tidemill:plugin/event-projection@0.2.0`, so it is not a projection; it exports `run`"
    );
    assert_eq!(
        refusal(Role::Projection, &dummy(&contract("0.3.0"), "projection-with-queries")),
        "exports `tidemill:plugin/event-projection` in version 0.3.0, this host calls versions 0.2.0 and 0.1.0; build it with an SDK \
         of one of them"
    );
}

#[tokio::test]
async fn imports_of_the_other_role_are_refused_with_what_to_use_instead() {
    let mut resolve = contract("0.2.0");
    resolve
        .push_str(
            "confused.wit",
            "package acme:confused;
             world folding { include tidemill:plugin/handler@0.2.0; export tidemill:plugin/event-projection@0.2.0; }
             world handling { include tidemill:plugin/projection@0.2.0; export tidemill:plugin/event-handler@0.2.0; }",
        )
        .unwrap();
    let told = refusal(Role::Projection, &dummy(&resolve, "folding"));
    let lines: Vec<&str> = told.lines().collect();
    let offered = "a projection may import `read-model`, `log`, `config` and `host`";
    assert_eq!(lines[0], "imports what this host does not offer:");
    let refused = |import: &str, why: &str| format!("  - `tidemill:plugin/{import}@0.2.0`: {why}; {offered}");
    let why = "a projection emits nothing: a rebuild folds every event again, and would publish it all again";
    assert!(lines.contains(&refused("emit", why).as_str()), "{told}");
    let why = "a projection keeps what it knows in its documents, where a rebuild and a rollback find it";
    assert!(lines.contains(&refused("state", why).as_str()), "{told}");
    assert_eq!(lines.len(), 3, "the rest is offered: {told}");

    let told = refusal(Role::Handler, &dummy(&resolve, "handling"));
    assert_eq!(
        told,
        "imports what this host does not offer:\n  \
         - `tidemill:plugin/read-model@0.2.0`: a handler has no read model; `state` is what it may keep, and a projection is \
         what fills collections; a handler may import `emit`, `state`, `log`, `config` and `host`"
    );
}

#[tokio::test]
async fn queries_of_another_version_are_refused_and_not_left_out() {
    let mut resolve = contract("0.2.0");
    let later = "package tidemill:plugin@0.3.0; interface queries { query: func(name: string) -> string; }";
    resolve.push_str("later.wit", later).unwrap();
    let both = "package acme:both;
        world both { include tidemill:plugin/projection@0.2.0; export tidemill:plugin/queries@0.3.0; }";
    resolve.push_str("both.wit", both).unwrap();
    assert_eq!(
        refusal(Role::Projection, &dummy(&resolve, "both")),
        "exports `tidemill:plugin/queries` in version 0.3.0, this host calls versions 0.2.0 and 0.1.0; build it with an SDK of one of \
         them"
    );
}

#[tokio::test]
async fn http_is_refused_to_a_projection_unless_a_host_is_granted() {
    let mut resolve = contract("0.2.0");
    resolve.push_str("http.wit", "package wasi:http@0.2.10; interface outgoing-handler { handle: func(); }").unwrap();
    let fetching = "package acme:fetching;
        world fetching { include tidemill:plugin/projection@0.2.0; import wasi:http/outgoing-handler@0.2.10; }";
    resolve.push_str("fetching.wit", fetching).unwrap();
    assert_eq!(
        refusal(Role::Projection, &dummy(&resolve, "fetching")),
        "imports what is not granted to it:\n  - `wasi:http/outgoing-handler@0.2.10`: \
         `plugins.settings.guest.allowed_outbound_hosts: [\"https://HOST\"]` in runtime.yaml would grant it"
    );
}
