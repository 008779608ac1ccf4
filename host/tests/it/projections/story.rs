//! What a new user does: posts orders and reads them, breaks the plugin, repairs it, rebuilds, goes back, pauses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;
use tidemill::status::PluginState;
use tidemill_core::projection::ProjectionState;

use super::{emit, home, post, stop_and_compare};
use crate::guest::applying;
use crate::harness::{Answer, Home, Host, On, ask, root};
use crate::reload::digest;
use crate::reload::guests::variant;

fn committed_build() -> Vec<u8> {
    std::fs::read(root().join("plugins/order-view.wasm")).unwrap()
}

/// The document of an order, not before the event that the token names.
fn read(host: &Host, number: usize, token: &str, more: &str) -> Answer {
    host.get(&format!("/v1/read-models/orders/o-{number:05}?wait_for={token}{more}"))
}

/// Posts an order and finds it.
fn post_and_read(host: &Host, number: usize) {
    let token = post(host, number);
    let answer = read(host, number, &token, "&timeout=30s");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["document"]["status"], "pending");
    let (stream, sequence) = token.split_once(':').unwrap();
    let reached = positions(&answer.headers["tidemill-position"], stream);
    assert!(reached >= sequence.parse().unwrap(), "{token}: {answer:?}");
}

/// A stream's position in the header: `ORDERS=10, PAYMENTS=3`.
fn positions(header: &str, stream: &str) -> u64 {
    let position = header.split(", ").find_map(|part| part.strip_prefix(stream)?.strip_prefix('='));
    position.unwrap_or("0").parse().unwrap()
}

/// Somebody who asks without a pause, and is answered each time with all that is there, never with less than before.
struct Reader {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<usize>,
}

// === impl Reader ===

impl Reader {
    /// The order `o-00001` must be there.
    fn start(host: &Host) -> Self {
        let (address, stop) = (host.gateway(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let asking = thread::spawn(move || {
            let (mut answers, mut before) = (0, 0);
            while !stopped.load(SeqCst) {
                let answer = ask(&address, "GET", "/v1/read-models/orders?limit=1", &[], "").unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
                let page = answer.json();
                assert_eq!(page["items"][0]["key"], "o-00001", "{page}");
                let now = page["positions"]["ORDERS"].as_u64().unwrap();
                assert!(now >= before, "it went back from {before} to {now}");
                (answers, before) = (answers + 1, now);
            }
            answers
        });
        Self { stop, asking }
    }

    /// Answers how often it was answered.
    fn stop(self) -> usize {
        self.stop.store(true, SeqCst);
        self.asking.join().unwrap()
    }
}

fn the_story_of_a_read_model(on: On) {
    let home = home(on, "");
    let host = home.start();
    for number in 1..20 {
        post_and_read(&host, number);
    }
    a_broken_build_is_rolled_back(&home, &host);
    let host = a_repaired_build_rebuilds_it(&home, host);
    let host = a_pause_outlives_the_host(&home, host);
    assert_eq!(home.json(&["dlq", "list"]).as_array().unwrap().len(), 0);
    stop_and_compare(&home, host);
}

/// A build that traps: what it met is folded by the one before, and waits no longer than that takes.
fn a_broken_build_is_rolled_back(home: &Home, host: &Host) {
    let (good, bad) = (committed_build(), applying(&[], "(unreachable)"));
    host.until_plugin("trusted", |plugin| plugin.state == PluginState::Live);
    home.put_plugin("order-view", &bad);
    host.until_plugin("on probation", |plugin| plugin.digest == digest(&bad));
    for number in 20..30 {
        post_and_read(host, number);
    }
    let back = host.until_plugin("rolled back", |plugin| plugin.digest == digest(&good) && plugin.refused.is_some());
    assert!(back.refused.unwrap().why.contains("trap"));
    let projection = host.until_folded("orders");
    assert!(!projection.degraded, "{projection:?}");
    assert_eq!(projection.active.unwrap().folded, 29);
    assert_eq!(home.json(&["dlq", "list"]).as_array().unwrap().len(), 0);
}

/// Another build; then the new copy and the old one, with a reader who notices neither.
fn a_repaired_build_rebuilds_it(home: &Home, host: Host) -> Host {
    let repaired = variant(&committed_build(), 1);
    home.put_plugin("order-view", &repaired);
    host.until_plugin("the repaired build", |plugin| plugin.digest == digest(&repaired));
    emit(home, 101..200);
    emit(home, 201..300);
    host.until_plugin("trusted", |plugin| plugin.state == PluginState::Live);
    let old = host.until_folded("orders").active.unwrap();
    assert_eq!((old.number, old.digest.as_str()), (1, &*digest(&committed_build())));

    let reader = Reader::start(&host);
    let ran = home.run(&["projection", "rebuild", "orders"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    post_and_read(&host, 301);
    assert!(reader.stop() > 0);
    let now = host.until_folded("orders");
    let (new, previous) = (now.active.unwrap(), now.previous.unwrap());
    assert_eq!((new.number, new.digest.as_str(), previous.number), (2, &*digest(&repaired), 1));
    assert_eq!(new.folded, old.folded + 1, "the new copy holds everything from the beginning");

    // The copy before serves again, and learns what it has missed.
    let ran = home.run(&["projection", "rollback", "orders"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let back = host.until_folded("orders");
    assert_eq!(back.active.unwrap().number, 1);
    assert_eq!(back.previous.unwrap().number, 2);
    assert_eq!(host.get("/v1/read-models/orders/o-00301").status, 200);
    host
}

fn a_pause_outlives_the_host(home: &Home, host: Host) -> Host {
    assert_eq!(home.run(&["projection", "pause", "orders"]).code, 0);
    let token = post(&host, 302);
    let paused = |host: &Host| {
        let late = read(host, 302, &token, "&timeout=300ms");
        assert_eq!((late.status, late.json()["type"].as_str()), (504, Some("urn:tidemill:problem:not-fresh")));
        // What there is, is not yet the order.
        assert_eq!(read(host, 302, &token, "&timeout=300ms&stale=allow").status, 404);
        assert_eq!(host.get("/v1/read-models/orders/o-00301").status, 200, "queries go on");
    };
    paused(&host);
    host.stop();
    let host = home.start();
    host.until_projection("orders", "paused after a restart", |one| one.state == ProjectionState::Paused);
    paused(&host);
    assert_eq!(home.run(&["projection", "resume", "orders"]).code, 0);
    assert_eq!(read(&host, 302, &token, "&timeout=30s").status, 200);
    host
}

#[test]
fn the_story_of_a_read_model_on_the_embedded_log() {
    the_story_of_a_read_model(On::Embedded);
}

#[test]
fn the_story_of_a_read_model_on_nats() {
    the_story_of_a_read_model(On::Nats);
}

/// They fail in the old copy and in the new one, whichever of the two meets them first.
#[test]
fn bad_events_that_come_meanwhile_do_not_end_a_rebuild() {
    let home = home(On::Embedded, "");
    emit(&home, 1..100);
    let host = home.start();
    host.until_folded("orders");
    let (address, stop) = (host.gateway(), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    let feed = thread::spawn(move || {
        let bad = |number: usize| {
            let data = r#"{"order_id":"o-1","total":-1}"#;
            let id = format!("bad-{number}");
            let headers = [("ce-specversion", "1.0"), ("ce-id", &id), ("ce-source", "/t"), ("ce-type", "OrderCreated")];
            let answer = ask(&address, "POST", "/v1/streams/ORDERS/orders.created", &headers, data).unwrap();
            assert_eq!(answer.status, 202, "{answer:?}");
        };
        (0..).take_while(|_| !stopped.load(SeqCst)).inspect(|number| bad(*number)).count()
    });
    for _ in 0..5 {
        let ran = home.run(&["projection", "rebuild", "orders"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        thread::sleep(Duration::from_millis(20));
    }
    stop.store(true, SeqCst);
    let bad = feed.join().unwrap() as u64;
    let end = host.until_folded("orders").active.unwrap();
    assert_eq!((end.number, end.dead_lettered), (6, bad));
    let letters = home.json(&["dlq", "list", "--route", "orders", "--limit", "100000"]);
    assert_eq!(letters.as_array().unwrap().len() as u64, bad, "a dead letter of each, however many copies met it");
    let seen: Value = home.json(&["projection", "status", "orders"]);
    assert_eq!((&seen["degraded"], &seen["rebuild_failure"]), (&Value::from(true), &Value::Null));
}
