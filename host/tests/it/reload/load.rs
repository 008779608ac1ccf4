//! Swaps while events flow at a constant rate (cases E1, E7, E8).

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::guests::{good, stuck_on_long_events, variant};
use super::{Feed, SHORT, config, digest, each_once, emit, emitted, home, home_with, line, put, serves};
use crate::harness::{Home, On};

const ROUTE_IN_ORDER: &str = r#"
  - name: ordered
    source: { stream: IN, subjects: ["in.b"], start: all }
    handler: forward
    emits: ["out.>"]
    max_in_flight: 1
"#;

/// Every tenth event goes the way where order counts.
fn subject(number: usize) -> &'static str {
    if number.is_multiple_of(10) { "in.b" } else { "in.a" }
}

fn swaps_under_a_constant_feed(on: On, swaps: usize, rate: u32) {
    let build = good("one");
    let home = home_with(on, &(config("") + ROUTE_IN_ORDER), &build);
    let host = home.start();
    let feed = Feed::start(&home, rate, subject);
    for number in 1..=swaps {
        let next = variant(&build, number);
        put(&home, &next);
        let plugin = host.until_plugin(&format!("swap {number}"), |plugin| plugin.digest == digest(&next));
        assert_eq!(plugin.generation, number as u64 + 1, "each file is one generation");
    }
    let events = feed.stop();
    let ordered = events.div_ceil(10);
    host.until_done("forward", events - ordered);
    host.until_done("ordered", ordered);
    assert_eq!(host.logged("rolled back").len(), 0);
    host.stop();

    assert_eq!(each_once(&home, events).into_keys().collect::<Vec<_>>(), ["one-1"], "no event was tried twice");
    assert!(in_order(&home).is_sorted(), "the route with one event in flight keeps their order");
}

/// The numbers of the events of the ordered route, as they came out.
fn in_order(home: &Home) -> Vec<u64> {
    let numbers = emitted(home).into_iter().map(|event| {
        let data: serde_json::Value = serde_json::from_slice(&event.data).unwrap();
        data["seq"].as_u64().unwrap()
    });
    numbers.filter(|number| number.is_multiple_of(10)).collect()
}

#[test]
fn a_hundred_swaps_under_a_constant_feed_lose_and_double_nothing() {
    swaps_under_a_constant_feed(On::Embedded, 100, 500);
}

#[test]
fn swaps_under_a_constant_feed_on_nats_lose_and_double_nothing() {
    swaps_under_a_constant_feed(On::Nats, 15, 300);
}

/// Case E7.
#[test]
fn a_call_that_outlives_the_drain_is_interrupted_and_handled_by_the_next_build() {
    let build = stuck_on_long_events("one", 500);
    let patient = config(&format!("{SHORT}  drain_timeout: 500ms\n"));
    let patient = patient.replace("    handler: forward", "    handler: forward\n    timeout: 120s");
    let home = home_with(On::Embedded, &patient, &build);
    let host = home.start();
    let long = json!({ "seq": 0, "text": "x".repeat(600) });
    home.write("events.jsonl", &(line("in.a", "e-0", &long) + "\n"));
    home.json(&["emit", "events.jsonl"]);
    host.until("taken", |status| status.routes.routes[0].counts.received == 1);

    let begun = Instant::now();
    let next = good("two");
    put(&home, &next);
    host.until_plugin("the next build", serves(&next));
    // The build before stays as long as the probation lasts; the drain begins with its end.
    emit(&home, 1..41);
    host.until_done("forward", 41);
    assert!(begun.elapsed() < Duration::from_secs(50), "the call would have taken a minute");
    host.stop();
    let by_build = each_once(&home, 41);
    assert_eq!(by_build.into_iter().collect::<Vec<_>>(), [("two-1".to_owned(), 41)], "it cost the event no attempt");
}

/// Case E8.
#[test]
fn a_storm_of_files_ends_with_the_last_one_and_leaves_nothing_behind() {
    let build = good("one");
    let home = home("", &build);
    let host = home.start();
    let feed = Feed::start(&home, 100, |_| "in.a");
    // What a first swap needs is there before it is measured.
    put(&home, &variant(&build, 0));
    host.until_plugin("the first swap", |plugin| plugin.generation == 2);
    let before = host.resident();
    for number in 1..=250 {
        put(&home, &variant(&build, number));
        thread::sleep(Duration::from_millis(20));
    }
    let last = digest(&variant(&build, 250));
    let plugin = host.until_plugin("the last file", |plugin| plugin.digest == last);
    assert!(plugin.generation <= 20, "{} generations of 250 files", plugin.generation);
    let events = feed.stop();
    host.until_done("forward", events);
    let grown = host.resident().saturating_sub(before);
    assert!(grown < 64 << 20, "grown by {} MiB", grown >> 20);
    host.stop();
    each_once(&home, events);
}
