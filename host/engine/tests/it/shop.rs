//! The shop's compiled plugins: the Rust SDK on the other side of the contract.

use tidemill_core::failure::FailureKind;
use tidemill_core::port::Handler as _;
use tidemill_engine::Plugin;

use crate::read_models::{Mood, ask, fold_event, load_projection, pending, view_of};
use crate::rig::{call, event, load, standard_route};

fn shop(plugin: &str) -> Plugin {
    load(&component(plugin))
}

fn component(plugin: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../plugins/{plugin}.wasm", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[tokio::test]
async fn a_plugin_of_the_sdk_reads_an_order_and_emits() {
    let plugin = shop("fraud-check");
    assert!(!plugin.uses_state());
    for _ in 0..1000 {
        let order = r#"{"order_id":"o-1","customer_id":"c-1","total":1500.5}"#;
        let effects = call(&plugin, order).await.unwrap();
        let [emit] = effects.emits.as_slice() else { panic!("{effects:?}") };
        assert_eq!((emit.to.as_str(), emit.kind.as_str()), ("fraud.checked", "FraudChecked"));
        assert!(String::from_utf8_lossy(&emit.data).contains(r#""order_id":"o-1""#));
    }
}

#[tokio::test]
async fn data_that_the_plugin_cannot_read_is_rejected_with_the_place() {
    let failure = call(&shop("fraud-check"), r#"{"order_id":"o-1"}"#).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Rejected);
    assert!(failure.text.contains("customer_id"), "{}", failure.text);
}

#[tokio::test]
async fn only_the_plugin_that_counts_uses_state() {
    assert!(shop("order-analytics").uses_state());
    assert!(!shop("customs-clearance").uses_state());
}

#[tokio::test]
async fn a_projection_of_the_sdk_folds_orders_and_answers_questions() {
    let plugin = load_projection(&component("order-view"));
    let collections: [(&str, &[&str]); 2] = [("orders", &["status", "created_day"]), ("customer-totals", &[])];
    let view = view_of(&collections, Mood::Well, &[]);
    let order = |id: &str, total: f64| {
        event(&format!(
            r#"{{"order_id":"{id}","customer_id":"c-1","total":{total},"country":"US","items":[{{"quantity":2}}]}}"#
        ))
    };
    for event in [order("o-1", 10.5), order("o-2", 5.25)] {
        let effects = fold_event(&plugin, &view, &standard_route(), &event).await.unwrap();
        view.accept(effects.documents);
    }
    let written = pending(&view);
    let keys: Vec<&str> = written.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(keys, ["customer-totals/c-1", "orders/o-1", "orders/o-2"]);
    let totals: serde_json::Value = serde_json::from_str(written[0].1.as_deref().unwrap()).unwrap();
    assert_eq!((&totals["orders"], &totals["spent"]["USD"]), (&serde_json::json!(2), &serde_json::json!(15.75)));

    let answer = ask(&plugin, &view, r#"{"from":"2026-11-21"}"#).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    let expected = serde_json::json!([{ "day": "2026-11-21", "currency": "USD", "orders": 2, "revenue": 15.75 }]);
    assert_eq!(answer, expected);
    let failure = ask(&plugin, &view, r#"{"from":"today"}"#).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Rejected);
    assert_eq!(failure.text, "`today` is no day: expected one like `2026-01-05`");
}

#[tokio::test]
async fn a_projection_of_the_sdk_imports_and_exports_what_it_uses_and_no_more() {
    let ours = |names: &[String]| {
        let mut ours: Vec<_> = names.iter().filter(|name| name.starts_with("tidemill:")).cloned().collect();
        ours.sort();
        ours.iter()
            .map(|name| name["tidemill:plugin/".len()..].trim_end_matches("@0.2.0").to_owned())
            .collect::<Vec<_>>()
    };
    let view = load_projection(&component("customer-view"));
    assert_eq!(ours(&view.describe().exports), ["event-projection"]);
    assert_eq!(ours(&view.describe().imports), ["log", "read-model", "types"]);
    let asked = load_projection(&component("order-view"));
    assert_eq!(ours(&asked.describe().exports), ["event-projection", "queries"]);
    assert_eq!(ours(&shop("fraud-check").describe().exports), ["event-handler"]);
}

#[tokio::test]
async fn a_document_that_a_projection_cannot_read_is_a_retry_that_names_it() {
    let plugin = load_projection(&component("order-view"));
    let broken = [("orders", "o-1", r#"{"customer_id":7}"#)];
    let view = view_of(&[("orders", &["status", "created_day"]), ("customer-totals", &[])], Mood::Well, &broken);
    let order = event(r#"{"order_id":"o-1","customer_id":"c-1","total":1,"country":"US","items":[{"quantity":2}]}"#);
    let failure = fold_event(&plugin, &view, &standard_route(), &order).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::RetryRequested { after: None });
    assert!(
        failure.text.starts_with("the document `o-1` of the collection `orders`: invalid type"),
        "{}",
        failure.text
    );
}
