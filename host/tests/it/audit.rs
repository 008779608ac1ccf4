//! `tidemill plugins audit`: the grants that a person would have to write, found by running the plugin.

use serde_json::json;

use crate::harness::{Home, On, root};

const BARE: &str = r#"version: 1
schemas: { on_missing: allow }
streams:
  - { name: ORDERS, subjects: ["orders.>"] }
  - { name: CHECKS, subjects: ["fraud.>"] }
plugins:
  settings:
    fraud-check: { config: { never_read: 1 } }
routes:
  - name: fraud
    source: { stream: ORDERS, subjects: ["orders.created"], start: all }
    handler: fraud-check
    emits: ["fraud.never"]
  - name: analytics
    source: { stream: ORDERS, start: all }
    handler: order-analytics
"#;

fn home() -> Home {
    let home = Home::new(On::Embedded, BARE);
    home.install(&["fraud-check", "order-analytics"]);
    let events = root().join("examples/shop/events.jsonl");
    let orders: String = std::fs::read_to_string(events)
        .unwrap()
        .lines()
        .filter(|line| line.contains("orders.created"))
        .take(30)
        .map(|line| format!("{line}\n"))
        .collect();
    home.write("orders.jsonl", &orders);
    home
}

#[test]
fn what_is_used_and_not_granted_is_told_with_the_lines_to_paste() {
    let home = home();
    let audit = home.json(&["plugins", "audit", "fraud-check", "--events", "orders.jsonl"]);
    assert_eq!((&audit["events"], &audit["calls"]), (&json!(30), &json!(30)));
    let lacking = json!({ "kind": "emit", "name": "fraud.checked", "route": "fraud" });
    assert!(audit["used_not_granted"].as_array().unwrap().contains(&lacking), "{audit:#}");
    for idle in [
        json!({ "kind": "emit", "name": "fraud.never", "route": "fraud" }),
        json!({ "kind": "config", "name": "never_read", "route": null }),
    ] {
        assert!(audit["granted_not_used"].as_array().unwrap().contains(&idle), "{audit:#}");
    }
    let grant = audit["grant"].as_str().unwrap();
    assert!(grant.ends_with("routes:\n  - name: fraud\n    emits: [\"fraud.checked\"]\n"), "{grant}");
    assert!(!home.path(".tidemill/log").exists(), "nothing is committed");
}

#[test]
fn a_plugin_that_could_not_be_loaded_yet_is_audited_and_its_snippet_makes_it_load() {
    let home = home();
    assert_eq!(home.run(&["check"]).code, 78, "state is not granted yet");
    let ran = home.run(&["plugins", "audit", "order-analytics", "--events", "orders.jsonl"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    for part in ["30 events, 30 calls, 0 failed", "tidemill:plugin/state@0.2.0", "state   state: true"] {
        assert!(ran.out.contains(part), "{part:?} in:\n{}", ran.out);
    }
    let snippet = "    order-analytics:\n      state: true";
    assert!(ran.out.contains(&format!("plugins:\n  settings:\n{snippet}")), "{}", ran.out);
    home.configure(&BARE.replace("  settings:\n", &format!("  settings:\n{snippet}\n")));
    assert_eq!(home.run(&["check"]).code, 0, "{}", home.run(&["check"]).err);
}
