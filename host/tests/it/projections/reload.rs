//! `runtime.yaml`, plugins and schemas change while projections run.

use std::fs;

use super::{COLLECTIONS, config, documents, emit, home, stop_and_compare};
use crate::harness::{Home, Host, On, root};
use crate::reload::configuration::{configure, until_applied, until_refused};
use crate::reload::digest;
use crate::reload::guests::variant;

/// A second projection of the same orders, with collections of its own.
const SECOND: &str = r#"
  - name: numbers
    sources: [{ stream: ORDERS, subjects: ["orders.created"] }]
    plugin: order-notes
    collections: { notes: {} }
"#;

/// Puts a line of the projection, or a projection, in front of the gateway's lines.
fn with(more: &str) -> String {
    config(more)
}

fn running(on: On) -> (Home, Host) {
    let home = home(on, "");
    emit(&home, 1..100);
    let host = home.start();
    host.until_folded("orders");
    (home, host)
}

/// Keeps nothing, but everything is met by it.
fn nothing() -> Vec<u8> {
    crate::guest::applying(&[], "(call $ok)")
}

#[test]
fn a_projection_comes_and_goes_while_another_goes_on_untouched() {
    let (home, host) = running(On::Embedded);
    home.put_plugin("order-notes", &nothing());
    configure(&home, &with(SECOND));
    until_applied(&host, &["projections started: numbers"]);
    assert_eq!(host.until_folded("numbers").active.unwrap().folded, 99);
    emit(&home, 101..150);

    configure(&home, &with(""));
    until_applied(&host, &["projections stopped: numbers"]);
    assert_eq!(host.status().projections.len(), 1);
    let asked = home.run(&["projection", "status", "numbers"]);
    assert_eq!(asked.code, 65, "{}", asked.err);
    assert_eq!(host.get("/v1/read-models/notes").status, 404);

    // It comes back where it was: only what it has not met is folded.
    emit(&home, 151..200);
    configure(&home, &with(SECOND));
    until_applied(&host, &["projections started: numbers"]);
    let back = host.until_folded("numbers").active.unwrap();
    assert_eq!((back.number, back.folded), (1, 99 + 49 + 49));
    let started = host.logged("Projection is running");
    let of_first = started.iter().filter(|line| line["projection"] == "orders").count();
    assert_eq!((of_first, started.len()), (1, 3), "the first one was not touched");
    stop_and_compare(&home, host);
}

#[test]
fn other_indexes_are_another_copy_and_the_old_one_answers_until_it_is_there() {
    let (home, host) = running(On::Embedded);
    let by_currency = "/v1/read-models/orders?currency=EUR&limit=500";
    assert_eq!(host.get(by_currency).status, 400, "not indexed");
    let indexed = config("").replace(COLLECTIONS, &COLLECTIONS.replace("status, total", "currency, status, total"));
    configure(&home, &indexed);
    until_applied(&host, &["projections restarted: orders"]);
    let now = host.until_projection("orders", "another copy", |one| {
        one.active.as_ref().is_some_and(|copy| copy.number == 2) && one.building.is_none()
    });
    assert_eq!(now.previous.unwrap().number, 1);
    let answer = host.get(by_currency);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["items"].as_array().unwrap().len(), (1..100).filter(|number| number % 3 == 0).count());

    // Nothing can be folded into the copy before any more.
    let back = home.run(&["projection", "rollback", "orders"]);
    assert_eq!(back.code, 1, "{}", back.err);
    assert!(back.err.contains("other collections or indexes than runtime.yaml declares"), "{}", back.err);
    stop_and_compare(&home, host);
}

#[test]
fn another_build_folds_on_and_with_on_change_from_the_beginning() {
    for (rebuild, copy) in [("manual", 1), ("on_change", 2)] {
        let home = home(On::Embedded, &format!("    rebuild: {rebuild}"));
        emit(&home, 1..100);
        let host = home.start();
        host.until_folded("orders");
        let build = variant(&fs::read(root().join("plugins/order-view.wasm")).unwrap(), 1);
        home.put_plugin("order-view", &build);
        until_applied(&host, &["plugins loaded: order-view"]);
        emit(&home, 101..200);
        let trusted =
            |plugin: &tidemill::status::PluginStatus| plugin.digest == digest(&build) && plugin.previous.is_none();
        host.until_plugin("trusted", trusted);
        let now = host.until_projection("orders", "at its end", |one| {
            one.active.as_ref().is_some_and(|active| active.number == copy) && one.building.is_none()
        });
        let begun_by_new = now.active.unwrap().digest == digest(&build);
        assert_eq!(begun_by_new, copy == 2, "{rebuild}");
        stop_and_compare(&home, host);
    }
}

#[test]
fn a_schema_that_changes_holds_for_the_events_that_come() {
    let (home, host) = running(On::Embedded);
    drop(host);
    // Schemas of the test's own, so that they can be changed.
    let schemas = home.path("schemas/OrderCreated");
    fs::create_dir_all(&schemas).unwrap();
    for file in [
        "OrderCreated/1.json",
        "OrderCreated/2.json",
        "OrderShipped.json",
        "OrderCancelled.json",
        "PaymentCaptured.json",
    ] {
        fs::copy(root().join("examples/shop/schemas").join(file), home.path("schemas").join(file)).unwrap();
    }
    let shop = root().join("examples/shop/schemas").display().to_string();
    home.configure(&config("").replace(&format!("\"{shop}\""), "./schemas"));
    let host = home.start();
    host.until_folded("orders");
    for version in ["1", "2"] {
        let path = home.path(&format!("schemas/OrderCreated/{version}.json"));
        let stricter = fs::read_to_string(&path).unwrap().replacen("\"maximum\": 1000000", "\"maximum\": 1", 1);
        fs::write(&path, stricter).unwrap();
    }
    until_applied(&host, &["schemas"]);
    emit(&home, 107..108);
    let status = host.until_projection("orders", "the stricter schema", |one| one.degraded);
    assert_eq!(status.active.unwrap().dead_lettered, 1, "what was folded before stays");
    let orders = documents(&host, "orders");
    assert!(orders.contains_key("o-00099") && !orders.contains_key("o-00107"));
    host.stop();
}

#[test]
fn what_a_running_host_cannot_change_is_refused_with_the_reason() {
    let (home, host) = running(On::Embedded);
    let elsewhere = format!("{}read_models: {{ sqlite: {{ dir: ./elsewhere }} }}\n", config(""));
    let limits = config("").replace("query_timeout: 30s", "query_timeout: 20s");
    for (changed, sentence) in [(elsewhere, "`read_models` has changed"), (limits, "`http` has changed")] {
        configure(&home, &changed);
        until_refused(&host, sentence);
        until_refused(&host, "restart it");
    }
    assert!(!home.path("elsewhere").exists());
    configure(&home, &config(""));
    emit(&home, 101..110);
    host.until_folded("orders");
    assert_eq!(host.logged("Projection is running").len(), 1, "nothing was restarted");
    stop_and_compare(&home, host);
}
