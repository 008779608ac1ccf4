//! What is not granted is refused, with the line of `runtime.yaml` that would grant it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tidemill_core::config::{PluginConfig, Secret};
use tidemill_core::failure::FailureKind;
use tidemill_core::name::PluginName;
use tidemill_core::outbound::OutboundHost;
use tidemill_core::port::Role;
use tidemill_engine::Recorder;

use crate::guest::{EMIT, STATE, answering, handler};
use crate::http::{ASKER, told};
use crate::rig::{ENGINE, call, call_on, limits, load, load_with, route, standard_route, try_load};
use crate::state::session_of;

fn refusal(component: &[u8], settings: &PluginConfig) -> String {
    try_load(component, settings).err().unwrap().to_string()
}

#[tokio::test]
async fn state_is_refused_at_load_unless_granted() {
    let component = answering(&[STATE], "(call $ok)");
    assert_eq!(
        refusal(&component, &PluginConfig::default()),
        "imports what is not granted to it:\n  \
         - `tidemill:plugin/state@0.2.0`: `plugins.settings.guest.state: true` in runtime.yaml would grant it"
    );
    assert!(try_load(&component, &PluginConfig { state: true, ..PluginConfig::default() }).is_ok());
}

#[tokio::test]
async fn http_is_refused_at_load_unless_a_host_is_granted() {
    let told = refusal(&ASKER, &PluginConfig::default());
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "imports what is not granted to it:");
    for line in &lines[1..] {
        assert!(line.starts_with("  - `wasi:http/"), "{told}");
        let hint = "`plugins.settings.guest.allowed_outbound_hosts: [\"https://HOST\"]` in runtime.yaml would grant it";
        assert!(line.ends_with(hint), "{told}");
    }
    assert_eq!(lines.len(), 3, "both interfaces: {told}");
}

#[tokio::test]
async fn the_guest_sees_exactly_the_environment_that_is_granted() {
    let env = [("REGION".to_owned(), "eu".to_owned()), ("EMPTY".to_owned(), String::new())];
    let settings = PluginConfig { env: env.into(), ..anywhere() };
    let seen = told(&load_with(&ASKER, &settings), r#"{"do":"environment"}"#).await;
    assert_eq!(seen, r#"[["EMPTY",""],["REGION","eu"]]"#);
    // The host's own environment is not empty.
    assert!(std::env::vars().next().is_some());
    assert_eq!(told(&load_with(&ASKER, &anywhere()), r#"{"do":"environment"}"#).await, "[]");
}

#[tokio::test]
async fn a_setting_that_is_not_there_is_none() {
    let settings = PluginConfig {
        config: [("threshold".to_owned(), "1000".to_owned())].into(),
        secrets: [("token".to_owned(), Secret::new("s3cret"))].into(),
        ..anywhere()
    };
    let plugin = load_with(&ASKER, &settings);
    let seen = told(&plugin, r#"{"do":"settings","keys":["threshold","token","nothing"]}"#).await;
    assert_eq!(seen, r#"["1000","s3cret",null]"#);
}

#[tokio::test]
async fn subjects_that_come_from_event_data_cannot_leave_the_grant() {
    // Emits to whatever the event's data says.
    let body = "(drop (call $emit (i32.load (i32.add (local.get $in) (i32.const 80)))
                                  (i32.load (i32.add (local.get $in) (i32.const 84))))) (call $ok)";
    let plugin = load(&answering(&[EMIT], body));
    let deep = ["a"; 300].join(".");
    for subject in [
        "orders.*",
        ">",
        "fraud.>",
        "$JS.API.STREAM.DELETE.X",
        "$SYS.x",
        "_INBOX.x",
        "fraud.a b",
        "fraud.a\r\nPUB x",
        "fraud.\0",
        "fraud..a",
        ".fraud",
        "fraud.",
        "",
        &deep,
    ] {
        let failure = call(&plugin, subject).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::EffectRefused, "{subject:?}: {}", failure.text);
    }
    let emits = call(&plugin, "fraud.a").await.unwrap().emits;
    assert_eq!(emits[0].to.as_str(), "fraud.a");
}

/// Puts `$count` values of `$size` bytes under keys of four bytes, and rejects with the error's text at the first refusal.
fn putting(count: u32, size: u32) -> Vec<u8> {
    let pages = size / 65536 + 1;
    handler(
        &[STATE],
        &format!(
            r#"(func $handle (param i32) (result i32) (local $key i32)
                (drop (memory.grow (i32.const {pages})))
                (loop $next
                    (i32.store (i32.const 1000) (i32.or (local.get $key) (i32.const 0x20202020)))
                    (i32.store8 (i32.const 1003) (i32.add (i32.const 33) (i32.rem_u (local.get $key) (i32.const 90))))
                    (i32.store8 (i32.const 1002) (i32.add (i32.const 33) (i32.rem_u (i32.div_u (local.get $key) (i32.const 90)) (i32.const 90))))
                    (i32.store8 (i32.const 1001) (i32.const 33)) (i32.store8 (i32.const 1000) (i32.const 33))
                    (call $state_put (i32.const 1000) (i32.const 4) (i32.const 0) (i32.const {size}) (i32.const 1100))
                    (if (i32.load8_u (i32.const 1100))
                        (then (return (call $reject (i32.load (i32.const 1108)) (i32.load (i32.const 1112))))))
                    (local.set $key (i32.add (local.get $key) (i32.const 1)))
                    (br_if $next (i32.lt_u (local.get $key) (i32.const {count}))))
                (call $ok))"#
        ),
    )
}

fn anywhere() -> PluginConfig {
    let host = OutboundHost::try_new("https://api.example.com").unwrap();
    PluginConfig { allowed_outbound_hosts: vec![host], ..PluginConfig::default() }
}

#[tokio::test]
async fn a_million_puts_end_at_the_limit_of_writes() {
    let plugin = load(&putting(1_000_000, 1));
    let failure = call_on(&plugin, &standard_route(), "{}", Some(session_of("guest"))).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Rejected);
    assert_eq!(
        failure.text,
        "the limit `state_writes` of 100 is used up; `plugins.settings.guest.limits.state_writes` in runtime.yaml raises it"
    );
}

#[tokio::test]
async fn a_value_above_its_limit_is_refused_and_a_gigabyte_is_not_even_copied() {
    let limit = 512 * 1024;
    let plugin = load(&putting(1, limit + 1));
    let failure = call_on(&plugin, &standard_route(), "{}", Some(session_of("guest"))).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Rejected);
    assert!(failure.text.starts_with("the limit `state_value` of 524288 is used up"), "{}", failure.text);
    let fits = load(&putting(1, limit));
    assert!(call_on(&fits, &standard_route(), "{}", Some(session_of("guest"))).await.is_ok());

    let settings = PluginConfig { state: true, limits: limits(|it| it.memory = 1 << 30), ..PluginConfig::default() };
    let plugin = load_with(&putting(1, 1_000_000_000), &settings);
    let roomy = route(Duration::from_secs(30), limits(|_| {}));
    let failure = call_on(&plugin, &roomy, "{}", Some(session_of("guest"))).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::EffectRefused);
    assert_eq!(
        failure.text,
        "the plugin handed the host more than 9437184 bytes at once; the largest of `emit_bytes`, `state_bytes`, \
         `document_bytes` and `log_bytes` under `plugins.settings.guest.limits` in runtime.yaml decides"
    );
}

#[tokio::test]
async fn what_a_recorded_plugin_tries_is_known_and_nothing_more_is_allowed() {
    let name = PluginName::try_new("guest").unwrap();
    let recorder = Arc::new(Recorder::new());
    let plugin =
        ENGINE.load_recorded(&name, &ASKER, &PluginConfig::default(), Role::Handler, Arc::clone(&recorder)).unwrap();
    let answer = told(&plugin, r#"{"do":"ask","scheme":"https","authority":"API.example.com:443"}"#).await;
    assert!(answer.contains("HttpRequestDenied"), "{answer}");
    told(&plugin, r#"{"do":"settings","keys":["threshold"]}"#).await;
    let tried = recorder.tried();
    let requests: Vec<String> = tried.requests.iter().map(ToString::to_string).collect();
    assert_eq!(requests, ["https://api.example.com"]);
    assert_eq!(tried.config, BTreeSet::from(["threshold".to_owned()]));
    let emits: Vec<_> = tried.emits.iter().map(|(route, to)| (route.as_str(), to.iter().cloned().collect())).collect();
    assert_eq!(emits, [("orders", vec!["fraud.told".to_owned()])]);
    assert!(!tried.state && !tried.config_listed);
}
