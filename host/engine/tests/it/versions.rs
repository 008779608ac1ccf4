//! Components that were built against an older version of the contract.
//!
//! Those in `fixtures/0.1.0` were built by the Rust SDK of that time and are never built again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidemill_core::grant::Grant;
use tidemill_core::port::{Admin, CallSettings, Handler as _};
use tidemill_core::state::{StateSession, StateSpace};
use tidemill_core::subject::SubjectPattern;
use tidemill_embedded::EmbeddedBroker;
use tidemill_engine::Plugin;

use crate::guest::{CONFIG, CURRENT, EMIT, HOST, LOG, READ_MODEL, STATE, handler_of, projection_of};
use crate::read_models::{Mood, ask, fold_event, load_projection, pending, view_of};
use crate::rig::{call, call_on, event, load, standard_route};

const OLD: &str = "0.1.0";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn old(name: &str) -> Vec<u8> {
    std::fs::read(repository().join(format!("host/engine/tests/fixtures/{OLD}/{name}.wasm"))).unwrap()
}

fn new(name: &str) -> Vec<u8> {
    std::fs::read(repository().join(format!("plugins/{name}.wasm"))).unwrap()
}

/// Of an empty state.
fn state(plugin: &Plugin) -> StateSession {
    StateSpace::new(plugin.name().clone(), EmbeddedBroker::in_memory() as Arc<dyn Admin>).session()
}

/// A route that may publish anywhere.
fn open_route() -> Arc<CallSettings> {
    let route = standard_route();
    Arc::new(CallSettings { grant: Grant { emits: vec![SubjectPattern::try_new(">").unwrap()] }, ..(*route).clone() })
}

/// What a frozen version says is said today too, word for word and in the same order; there may be more between it.
#[test]
fn a_minor_version_only_adds() {
    let frozen = repository().join("wit/frozen").join(OLD);
    let mut files = 0;
    for entry in std::fs::read_dir(frozen).unwrap() {
        let entry = entry.unwrap();
        let lines = |text: &str| -> Vec<String> {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("///"));
            lines.filter(|line| !line.starts_with("package ")).map(str::to_owned).collect()
        };
        let old = lines(&std::fs::read_to_string(entry.path()).unwrap());
        let today = std::fs::read_to_string(repository().join("wit").join(entry.file_name())).unwrap();
        let mut today = lines(&today).into_iter();
        for line in old {
            let name = entry.file_name();
            assert!(
                today.any(|it| it == line),
                "wit/{}: `{line}` of {OLD} is gone or has moved",
                name.to_string_lossy()
            );
        }
        files += 1;
    }
    assert!(files > 8, "the contract has several files");
}

#[tokio::test]
async fn a_handler_of_an_older_version_does_what_one_of_today_does() {
    let body = r#"(data (i32.const 1000) "keyfraud.xhello")
        (func $handle (param $in i32) (result i32)
            (call $log (i32.const 2) (i32.const 1010) (i32.const 5))
            (call $config_get (i32.const 1000) (i32.const 3) (i32.const 1100))
            (call $now (i32.const 1200))
            (call $stable_id (i32.const 1000) (i32.const 3) (i32.const 1300))
            (call $state_put (i32.const 1000) (i32.const 3) (i32.const 1010) (i32.const 5) (i32.const 1400))
            (drop (call $emit (i32.const 1003) (i32.const 7)))
            (call $ok))"#;
    let mut came = Vec::new();
    for version in [OLD, CURRENT] {
        let plugin = load(&handler_of(version, &[LOG, CONFIG, HOST, STATE, EMIT], body));
        assert_eq!(plugin.describe().world(), format!("handler@{version}"));
        let effects = call_on(&plugin, &standard_route(), "{}", Some(state(&plugin))).await.unwrap();
        let writes = effects.state.unwrap().writes().clone();
        assert_eq!(writes["key"].as_deref(), Some(&b"hello"[..]));
        came.push((effects.emits, writes));
    }
    assert_eq!(came[0], came[1]);
    assert_eq!(came[0].0.len(), 1);
}

#[tokio::test]
async fn a_projection_of_an_older_version_folds_and_answers() {
    let fields = r#"(data (i32.const 1000) "orderso-1{}")
        (func $handle (param $in i32) (result i32)
            (call $put (i32.const 1000) (i32.const 6) (i32.const 1006) (i32.const 3) (i32.const 1009) (i32.const 2) (i32.const 1100))
            (call $ok))
        (func $query (param $name i32) (param $name_length i32) (param $params i32) (param $params_length i32) (result i32)
            (i32.store8 (i32.const 16) (i32.const 0))
            (i32.store (i32.const 20) (i32.const 1009))
            (i32.store (i32.const 24) (i32.const 2))
            (i32.const 16))"#;
    for version in [OLD, CURRENT] {
        let plugin = load_projection(&projection_of(version, &[READ_MODEL], fields));
        assert_eq!(plugin.describe().world(), format!("projection@{version}"));
        let view = view_of(&[("orders", &[])], Mood::Well, &[]);
        let effects = fold_event(&plugin, &view, &standard_route(), &event("{}")).await.unwrap();
        view.accept(effects.documents);
        assert_eq!(pending(&view), [("orders/o-1".to_owned(), Some("{}".to_owned()))]);
        assert_eq!(ask(&plugin, &view, "{}").await.unwrap(), "{}");
    }
}

#[tokio::test]
async fn a_component_that_the_older_sdk_has_built_answers_like_one_of_today() {
    let order = r#"{"order_id":"o-1","customer_id":"c-1","total":1500.5}"#;
    let mut came = Vec::new();
    for component in [old("fraud-check"), new("fraud-check")] {
        let plugin = load(&component);
        came.push((plugin.describe().world(), call(&plugin, order).await.unwrap().emits));
    }
    assert_eq!((came[0].0.as_str(), came[1].0.as_str()), ("handler@0.1.0", "handler@0.2.0"));
    assert_eq!(came[0].1, came[1].1);
    assert_eq!(came[0].1.len(), 1);

    let customer = r#"{"customer_id":"c-1","name":"Ada","email":"ada@mill.example","country":"GB"}"#;
    let mut came = Vec::new();
    for component in [old("account-creator"), new("account-creator")] {
        let plugin = load(&component);
        assert!(plugin.uses_state());
        let effects = call_on(&plugin, &open_route(), customer, Some(state(&plugin))).await.unwrap();
        came.push((effects.emits, effects.state.unwrap().writes().clone()));
    }
    assert_eq!(came[0], came[1]);
    assert_eq!(came[0].0.len(), 1);
}

#[tokio::test]
async fn a_projection_that_the_older_sdk_has_built_folds_and_answers() {
    let order = event(r#"{"order_id":"o-1","customer_id":"c-1","total":10.5,"country":"US","items":[{"quantity":2}]}"#);
    let mut came = Vec::new();
    for component in [old("order-view"), new("order-view")] {
        let plugin = load_projection(&component);
        let view = view_of(&[("orders", &["status", "created_day"]), ("customer-totals", &[])], Mood::Well, &[]);
        let effects = fold_event(&plugin, &view, &standard_route(), &order).await.unwrap();
        view.accept(effects.documents);
        let answer = ask(&plugin, &view, r#"{"from":"2026-11-21"}"#).await.unwrap();
        came.push((pending(&view), answer));
    }
    assert_eq!(came[0], came[1]);
    assert_eq!(came[0].0.len(), 2);
}
