//! What a well-behaved handler can do, and how its answers come out.

use std::time::Duration;

use tidemill_core::config::{PluginConfig, Secret};
use tidemill_core::failure::FailureKind;
use tidemill_core::limits::Limits;

use crate::guest::{CONFIG, EMIT, HOST, TIME_LEFT, answering, handler};
use crate::rig::{call, call_on, failure_text, limits, load, load_with, route};

#[tokio::test]
async fn success_without_effects() {
    let plugin = load(&answering(&[], "(call $ok)"));
    let effects = call(&plugin, "{}").await.unwrap();
    assert!(effects.emits.is_empty() && effects.state.is_none());
}

#[tokio::test]
async fn a_guest_sees_the_event_and_its_context() {
    // Each answer is a text of the event, by the address of its pointer.
    for (address, text) in [
        (0, "e-1"),
        (8, "/shop"),
        (16, "OrderCreated"),
        (80, r#"{"total":7}"#),
        (88, "orders"),
        (104, "ORDERS"),
        (112, "42"),
    ] {
        let body = format!(
            "(call $reject (i32.load (i32.add (local.get $in) (i32.const {address})))
                           (i32.load (i32.add (local.get $in) (i32.const {}))))",
            address + 4
        );
        let failure = call(&load(&answering(&[], &body)), r#"{"total":7}"#).await.unwrap_err();
        assert_eq!((failure.kind, failure.text.as_str()), (FailureKind::Rejected, text));
    }
}

#[tokio::test]
async fn emits_are_collected_in_order() {
    let plugin = load(&handler(
        &[EMIT],
        r#"(data (i32.const 1000) "fraud.afraud.b")
           (func $handle (param i32) (result i32)
               (drop (call $emit (i32.const 1000) (i32.const 7)))
               (drop (call $emit (i32.const 1007) (i32.const 7)))
               (call $ok))"#,
    ));
    let emits = call(&plugin, "{}").await.unwrap().emits;
    let seen: Vec<_> = emits.iter().map(|emit| (emit.to.as_str(), emit.kind.as_str(), emit.data.as_ref())).collect();
    assert_eq!(seen, [("fraud.a", "T", &b"fraud.a"[..]), ("fraud.b", "T", b"fraud.b")]);
}

/// Emits to the subject and returns success, whatever the host answered.
fn emitting(subject: &str) -> Vec<u8> {
    handler(
        &[EMIT],
        &format!(
            r#"(data (i32.const 1000) "{subject}")
               (func $handle (param i32) (result i32)
                   (drop (call $emit (i32.const 1000) (i32.const {})))
                   (call $ok))"#,
            subject.len()
        ),
    )
}

#[tokio::test]
async fn a_refused_emit_fails_the_call_even_if_the_guest_ignores_it() {
    for (subject, reason) in [
        ("orders.created", "not granted; the route's `emits: [\"orders.created\"]` in runtime.yaml would allow it"),
        ("$JS.API.STREAM.DELETE.ORDERS", "belong to the server and the host"),
        ("fraud.*", "is a pattern"),
    ] {
        let failure = call(&load(&emitting(subject)), "{}").await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::EffectRefused);
        assert!(failure.text.contains(reason), "{}", failure.text);
    }
}

#[tokio::test]
async fn emits_beyond_the_limit_fail_the_call() {
    let plugin = load(&emitting("fraud.a"));
    let route = route(Duration::from_secs(5), limits(|limits| limits.emits = 0));
    let failure = call_on(&plugin, &route, "{}", None).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::EffectRefused);
    assert!(failure.text.contains("the limit `emits` of 0"), "{}", failure.text);
}

#[tokio::test]
async fn a_guest_may_ask_for_a_retry_and_name_a_delay() {
    for (has_delay, after) in [(1, Some(Duration::from_millis(1500))), (0, None)] {
        let plugin = load(&handler(
            &[],
            &format!(
                r#"(data (i32.const 1000) "bank is closed")
                   (func $handle (param i32) (result i32)
                       (call $retry (i32.const {has_delay}) (i32.const 1500) (i32.const 1000) (i32.const 14)))"#
            ),
        ));
        let failure = call(&plugin, "{}").await.unwrap_err();
        assert_eq!((failure.kind, failure.text.as_str()), (FailureKind::RetryRequested { after }, "bank is closed"));
    }
}

#[tokio::test]
async fn settings_and_secrets_are_readable() {
    let settings = PluginConfig {
        config: [("threshold".to_owned(), "1000".to_owned())].into(),
        // Short enough to be shown: see `redact.rs`.
        secrets: [("token".to_owned(), Secret::new("s3crt"))].into(),
        ..PluginConfig::default()
    };
    for (key, value) in [("threshold", "1000"), ("token", "s3crt"), ("missing", "")] {
        let component = handler(
            &[CONFIG],
            &format!(
                r#"(data (i32.const 1000) "{key}")
                   (func $handle (param i32) (result i32)
                       (call $config_get (i32.const 1000) (i32.const {}) (i32.const 1100))
                       (call $reject (i32.load (i32.const 1104)) (i32.load (i32.const 1108))))"#,
                key.len()
            ),
        );
        assert_eq!(failure_text(&load_with(&component, &settings)).await, value);
    }
}

#[tokio::test]
async fn the_host_gives_time_identity_and_randomness() {
    let now = "(call $now (i32.const 1100)) (call $reject (i32.load (i32.const 1100)) (i32.load (i32.const 1104)))";
    let now = failure_text(&load(&answering(&[HOST], now))).await;
    assert!(now.len() == 24 && now.starts_with("20") && now.ends_with('Z'), "{now}");

    let id = "(call $stable_id (i32.const 1000) (i32.const 2) (i32.const 1100))
              (call $reject (i32.load (i32.const 1100)) (i32.load (i32.const 1104)))";
    let plugin = load(&answering(&[HOST], id));
    let first = failure_text(&plugin).await;
    assert_eq!(first, failure_text(&plugin).await, "the same event and name give the same id");
    assert_eq!(first.len(), 36);

    let plugin =
        load(&answering(&[TIME_LEFT], "(call $retry (i32.const 1) (call $time_left) (i32.const 1000) (i32.const 1))"));
    let failure = call_on(&plugin, &route(Duration::from_secs(60), Limits::default()), "{}", None).await.unwrap_err();
    let FailureKind::RetryRequested { after: Some(left) } = failure.kind else { panic!("{failure:?}") };
    assert!(left > Duration::ZERO && left <= Duration::from_secs(60), "{left:?} of 60 s are left");

    let too_much = "(call $random (i32.const 4097) (i32.const 1100)) (call $ok)";
    let failure = call(&load(&answering(&[HOST], too_much)), "{}").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Trap);
    assert!(failure.text.contains("at most 4096 bytes, the plugin asked for 4097"), "{}", failure.text);
}

#[tokio::test]
async fn a_payload_beyond_the_guests_memory_is_its_failure_and_not_the_hosts() {
    let plugin = load(&answering(&[], "(call $ok)"));
    let failure = call(&plugin, &"x".repeat(1 << 20)).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Trap);
    assert!(call_on(&plugin, &route(Duration::from_secs(5), Limits::default()), "{}", None).await.is_ok());
}
