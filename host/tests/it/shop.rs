//! README's first command, on both brokers: every count of every route and projection is what the shop's generator says.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::harness::{Home, Host, On, root};

/// The root's configuration with its folders named absolutely, so that the log lands in the test's own folder.
pub(crate) fn shop_config() -> String {
    let text = fs::read_to_string(root().join("runtime.yaml")).unwrap();
    let here = root().display().to_string();
    text.replace("./examples/shop/schemas", &format!("{here}/examples/shop/schemas"))
        .replace("dir: ./plugins", &format!("dir: {here}/plugins"))
        .replace("listen: 127.0.0.1:7380", "listen: 127.0.0.1:0")
}

fn expected() -> Value {
    serde_json::from_str(&fs::read_to_string(root().join("examples/shop/expected.json")).unwrap()).unwrap()
}

fn the_shop_comes_out_as_expected(on: On) {
    let home = Home::new(on, &shop_config());
    let feed = root().join("examples/shop/events.jsonl").display().to_string();
    let summary = home.json(&["run", "--feed", &feed, "--until-idle"]);

    let expected = expected();
    for line in summary["routes"].as_array().unwrap() {
        let route = line["route"].as_str().unwrap();
        for (count, wanted) in expected["routes"][route].as_object().unwrap() {
            assert_eq!(&line[count], wanted, "{on:?}: {route}: {count}");
        }
    }
    assert_eq!(summary["routes"].as_array().unwrap().len(), expected["routes"].as_object().unwrap().len());

    let letters = home.json(&["dlq", "list"]);
    let mut by_route: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for letter in letters.as_array().unwrap() {
        let [route, reason] = ["route", "reason"].map(|name| letter[name].as_str().unwrap().to_owned());
        *by_route.entry(route).or_default().entry(reason).or_default() += 1;
    }
    let wanted: BTreeMap<_, _> = serde_json::from_value(expected["dead_letters"]["by_route"].clone()).unwrap();
    assert_eq!(by_route, wanted, "{on:?}");

    let host = home.start();
    for (name, wanted) in expected["projections"].as_object().unwrap() {
        the_read_models_are_as_expected(&host, name, wanted);
    }
    host.stop();
}

fn the_read_models_are_as_expected(host: &Host, name: &str, wanted: &Value) {
    let active = host.until_folded(name).active.unwrap();
    let counted = [active.folded, active.dead_lettered].map(Value::from);
    assert_eq!(counted, [&wanted["folded"], &wanted["dead_lettered"]].map(Clone::clone), "{name}");
    for (collection, count) in wanted["documents"].as_object().unwrap() {
        // More than there are, so that one that should not be there is seen.
        let answer = host.get(&format!("/v1/read-models/{collection}?limit=500"));
        let page = answer.json();
        let items = page["items"].as_array().unwrap_or_else(|| panic!("{answer:?}"));
        assert_eq!(&Value::from(items.len()), count, "{name}: {collection}");
        if let Some(statuses) = wanted["by_status"].get(collection) {
            let mut found: BTreeMap<&str, u64> = BTreeMap::new();
            for item in items {
                *found.entry(item["document"]["status"].as_str().unwrap()).or_default() += 1;
            }
            assert_eq!(&serde_json::to_value(found).unwrap(), statuses, "{name}: {collection}");
        }
        if collection == "customer-totals" {
            let mut cents: BTreeMap<&str, i64> = BTreeMap::new();
            for (currency, spent) in items.iter().flat_map(|item| item["document"]["spent"].as_object().unwrap()) {
                *cents.entry(currency).or_default() += (spent.as_f64().unwrap() * 100.0).round() as i64;
            }
            assert_eq!(serde_json::to_value(cents).unwrap(), wanted["spent_cents"], "{name}");
        }
    }
}

#[test]
fn on_the_embedded_log() {
    the_shop_comes_out_as_expected(On::Embedded);
}

#[test]
fn on_nats() {
    the_shop_comes_out_as_expected(On::Nats);
}

/// The poison order panics; after the plugin's repair a redrive completes it in the failed route, and in no other.
fn a_redrive_after_a_repair_completes_the_poison_order_in_its_route_only(on: On) {
    let home = Home::new(on, &shop_config());
    let feed = root().join("examples/shop/events.jsonl").display().to_string();
    home.json(&["run", "--feed", &feed, "--until-idle"]);
    let poison = home.json(&["dlq", "list", "--reason", "trap"]);
    assert_eq!(poison.as_array().unwrap().len(), 1, "{poison}");
    assert_eq!(poison[0]["route"], "payments");
    assert!(poison[0]["error"].as_str().unwrap().contains("panicked"), "{}", poison[0]["error"]);

    let repaired = shop_config().replace(
        "    # payment-capture:\n    #   config: { poison: capture }",
        "    payment-capture:\n      config: { poison: capture }",
    );
    assert_ne!(repaired, shop_config(), "runtime.yaml names the repair in a comment");
    home.configure(&repaired);
    let id = poison[0]["id"].to_string();
    let page = home.run(&["dlq", "show", &id]).out;
    for part in ["trap (blame: plugin)", "5, exhausted by attempts", "ce-id: poison-order", "\"note\":\"poison\""] {
        assert!(page.contains(part), "{part} in:\n{page}");
    }
    assert_eq!(home.json(&["dlq", "redrive", &id])["redriven"], 1);
    let summary = home.json(&["run", "--until-idle"]);
    for line in summary["routes"].as_array().unwrap() {
        let payments = line["route"] == "payments";
        assert_eq!(line["received"], u64::from(payments), "{on:?}: {line}");
        assert_eq!(line["done"], u64::from(payments), "{on:?}: {line}");
    }
    assert_eq!(home.json(&["dlq", "list", "--reason", "trap"]).as_array().unwrap().len(), 0);
    // Redriving what is gone says so and does nothing.
    assert_ne!(home.run(&["dlq", "redrive", &id]).code, 0);
}

#[test]
fn redrive_on_the_embedded_log() {
    a_redrive_after_a_repair_completes_the_poison_order_in_its_route_only(On::Embedded);
}

#[test]
fn redrive_on_nats() {
    a_redrive_after_a_repair_completes_the_poison_order_in_its_route_only(On::Nats);
}
