//! `/readyz` follows what the host can do, and ingest says so too.

use std::fmt::Write as _;

use futures_util::TryStreamExt as _;
use serde_json::Value;

use super::until;
use crate::harness::{Home, On, address, ask};

/// So many that a start takes a while.
const ROUTES: usize = 60;

fn config() -> String {
    let mut text = r#"version: 1
schemas: { on_missing: allow }
streams:
  - { name: ORDERS, subjects: ["orders.>"] }
  - { name: FRAUD, subjects: ["fraud.>"] }
http:
  listen: 127.0.0.1:0
  ingest: [{ type: [OrderCreated], subject: orders.created }]
routes:
"#
    .to_owned();
    for number in 0..ROUTES {
        writeln!(
            text,
            "  - {{ name: fraud-{number}, source: {{ stream: ORDERS }}, handler: fraud-check, emits: [\"fraud.>\"] }}"
        )
        .unwrap();
    }
    text
}

const ORDER: &str = r#"{ "specversion": "1.0", "id": "NUMBER", "source": "/t", "type": "OrderCreated",
    "data": { "order_id": "o-1", "customer_id": "c-1", "total": 2 } }"#;

#[test]
fn a_host_is_ready_when_its_routes_are_and_not_before() {
    let home = Home::new(On::Nats, &config());
    home.install(&["fraud-check"]);
    let starting = home.begin();
    let line = starting.until_logged("The gateway listens");
    let address = address(&line);
    let first = ask(&address, "GET", "/readyz", &[], "").unwrap();
    assert_eq!(first.status, 503, "{first:?}");
    let problem = first.json();
    assert_eq!(problem["type"], "urn:tidemill:problem:not-ready");
    let reasons = problem["reasons"].as_array().unwrap();
    let wanted = "a stream is not read: the host is starting, no route and no projection has begun";
    assert!(reasons.contains(&Value::from(wanted)), "{reasons:?}");
    assert_eq!(ask(&address, "GET", "/livez", &[], "").unwrap().status, 200);
    let ready = until("ready", || ask(&address, "GET", "/readyz", &[], "").unwrap(), |answer| answer.status == 200);
    assert_eq!(ready.body, "ok\n");
}

#[test]
fn while_the_broker_is_away_the_gateway_says_so_and_nothing_is_lost() {
    let mut home = Home::new(On::Nats, &config());
    home.install(&["fraud-check"]);
    let host = home.start();
    let post = |number: usize| {
        host.post("/v1/events", "application/cloudevents+json", &ORDER.replace("NUMBER", &number.to_string()))
    };
    assert_eq!(host.get("/readyz").status, 200);
    assert_eq!(post(1).status, 202);

    home.server.as_mut().unwrap().kill();
    let away = until("not ready", || host.get("/readyz"), |answer| answer.status == 503);
    assert!(away.json()["reasons"][0].as_str().unwrap().starts_with("the broker is not connected"), "{away:?}");
    let refused = post(2);
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.json()["type"], "urn:tidemill:problem:broker-unavailable");
    assert!(refused.headers["retry-after"].parse::<u64>().unwrap() > 0, "{refused:?}");
    assert_eq!(host.get("/livez").status, 200, "a restart would not help");
    assert!(host.get("/metrics").body.contains("\ntidemill_broker_connected 0\n"));

    home.server.as_mut().unwrap().restart();
    until("ready again", || host.get("/readyz"), |answer| answer.status == 200);
    // Sent again, as the answer says; whether the first one was stored is not known.
    let again = until("taken again", || post(2), |answer| answer.status == 202);
    assert_eq!(again.json()["sequence"], 2);
    assert_eq!(post(3).json()["sequence"], 3);
    assert!(host.get("/metrics").body.contains("\ntidemill_broker_connected 1\n"));
    host.until_done("fraud-0", 3);
    host.stop();
}

/// The broker goes on, and so does the host; only this route reads nothing any more, until somebody starts it anew.
#[test]
fn a_route_whose_consumer_was_removed_is_not_ready() {
    let home = Home::new(On::Nats, &config());
    home.install(&["fraud-check"]);
    let host = home.start();
    assert_eq!(host.get("/readyz").status, 200);
    let url = home.server.as_ref().unwrap().url.clone();
    let removing = async {
        let client = async_nats::connect(&url).await.unwrap();
        let stream = async_nats::jetstream::new(client).get_stream("ORDERS").await.unwrap();
        let name = stream.consumer_names().try_next().await.unwrap().unwrap();
        assert!(stream.delete_consumer(&name).await.unwrap().success);
    };
    tokio::runtime::Runtime::new().unwrap().block_on(removing);
    let answer = until("not ready", || host.get("/readyz"), |answer| answer.status == 503);
    let reason = answer.json()["reasons"][0].as_str().unwrap().to_owned();
    assert!(reason.contains("cannot read events") && reason.contains("was removed while the route ran"), "{reason}");

    // Routes that start anew make it anew.
    home.configure(&config().replace("handler:", "max_in_flight: 9, handler:"));
    until("ready again", || host.get("/readyz"), |answer| answer.status == 200);
    host.stop();
}
