//! The shop's compiled plugins: the Rust SDK on the other side of the contract.

use tidemill_core::failure::FailureKind;
use tidemill_core::port::Handler as _;
use tidemill_engine::Plugin;

use crate::rig::{call, load};

fn shop(plugin: &str) -> Plugin {
    let path = format!("{}/../../plugins/{plugin}.wasm", env!("CARGO_MANIFEST_DIR"));
    load(&std::fs::read(path).unwrap())
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
