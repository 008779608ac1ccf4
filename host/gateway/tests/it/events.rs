//! Events that come in.

use serde_json::{Value, json};
use tidemill_core::envelope::{Envelope, decode, encode_foreign_event, event_from_json};
use tidemill_core::event::Event;
use tidemill_core::message::Message;
use tidemill_core::port::{BrokerError, Origin};
use tidemill_core::subject::Subject;

use crate::client::{Ask, post};
use crate::host::stream;
use crate::rig::Running;

/// An event in structured mode.
fn structured(event: &Value) -> Ask {
    post("/v1/events", event.to_string()).with("content-type", "application/cloudevents+json")
}

fn batch(target: &str, events: &Value) -> Ask {
    post(target, events.to_string()).with("content-type", "application/cloudevents-batch+json; charset=UTF-8")
}

fn binary(data: &str) -> Ask {
    post("/v1/events", data)
        .with("ce-specversion", "1.0")
        .with("ce-source", "/test")
        .with("content-type", "application/json")
}

fn order(id: &str, total: Value) -> Value {
    let data = json!({ "order_id": "o-1", "total": total });
    json!({ "specversion": "1.0", "id": id, "source": "/test", "type": "OrderCreated", "data": data })
}

fn event(message: &Message) -> Event {
    decode(&Envelope::CloudEvents, message, &Origin { stream: stream("ORDERS"), sequence: 1 }).unwrap()
}

fn unavailable() -> BrokerError {
    BrokerError::Unavailable { broker: "nats", reason: "no connection".to_owned() }
}

#[tokio::test]
async fn an_event_in_structured_mode_is_stored_and_its_place_is_told() {
    let gateway = Running::start().await;
    let answer = gateway.ask(structured(&order("e-1", json!(12.50)))).await;
    assert_eq!((answer.status, answer.header("location")), (202, None));
    assert_eq!(answer.json(), json!({ "id": "e-1", "stream": "ORDERS", "sequence": 1, "duplicate": false }));
    let stored = gateway.host.stored("ORDERS").await;
    let event = event(&stored[0]);
    assert_eq!(
        (stored[0].subject.as_str(), event.id.as_str(), event.kind.as_str()),
        ("orders.created", "e-1", "OrderCreated")
    );
}

#[tokio::test]
async fn an_event_in_binary_mode_keeps_its_attributes_and_its_bytes() {
    let gateway = Running::start().await;
    let data = "{ \"order_id\": \"o-1\",\n \"total\": 1.50 }";
    let ask = binary(data)
        .with("ce-id", "b-1")
        .with("ce-type", "OrderCreated")
        .with("CE-Subject", "Euro%20%E2%82%AC%20%F0%9F%98%80")
        .with("ce-myextension", "\"quoted text\"")
        .with("ce-datacontenttype", "text/plain")
        .with("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .with("tidemill-hops", "31")
        .with("nats-expected-stream", "OTHER");
    assert_eq!(gateway.ask(ask).await.status, 202);
    let message = &gateway.host.stored("ORDERS").await[0];
    let event = event(message);
    assert_eq!(&event.data[..], data.as_bytes());
    assert_eq!(event.subject.as_deref(), Some("Euro € 😀"));
    assert_eq!(event.extension("myextension"), Some("quoted text"));
    assert_eq!(event.extension("traceparent"), Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    // The content type is the attribute, and no other header gets through.
    assert_eq!(event.datacontenttype.as_deref(), Some("application/json"));
    assert!(!message.headers.iter().any(|(name, _)| name.starts_with("tidemill") || name.starts_with("nats-exp")));
}

#[tokio::test]
async fn the_bytes_of_data_are_those_that_were_sent_in_every_mode() {
    let gateway = Running::start().await;
    let event = |id: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/t","type":"Note","data":{{"n": 1.0e2, "big":12345678901234567890.5}}}}"#
        )
    };
    let one = post("/v1/events", event("1")).with("content-type", "application/cloudevents+json; charset=utf-8");
    assert_eq!(gateway.ask(one).await.status, 202);
    let two =
        post("/v1/events", format!("[{}]", event("2"))).with("content-type", "application/cloudevents-batch+json");
    assert_eq!(gateway.ask(two).await.status, 202);
    for message in gateway.host.stored("ORDERS").await {
        assert_eq!(&message.payload[..], br#"{"n": 1.0e2, "big":12345678901234567890.5}"#);
    }
}

#[tokio::test]
async fn base64_data_is_decoded() {
    let gateway = Running::start().await;
    let mut sent = order("e", json!(1));
    sent.as_object_mut().unwrap().remove("data");
    sent["data_base64"] = json!("eyJvcmRlcl9pZCI6Im8tMSIsInRvdGFsIjozfQ==");
    assert_eq!(gateway.ask(structured(&sent)).await.status, 202);
    assert_eq!(&gateway.host.stored("ORDERS").await[0].payload[..], br#"{"order_id":"o-1","total":3}"#);
}

#[tokio::test]
async fn the_same_event_twice_is_stored_once_and_another_source_s_is_another() {
    let gateway = Running::start().await;
    let first = gateway.ask(structured(&order("same", json!(1)))).await.json();
    let again = gateway.ask(structured(&order("same", json!(1)))).await.json();
    assert_eq!((&first["duplicate"], &again["duplicate"]), (&json!(false), &json!(true)));
    assert_eq!(first["sequence"], again["sequence"]);
    let mut other = order("same", json!(1));
    other["source"] = json!("/elsewhere");
    assert_eq!(gateway.ask(structured(&other)).await.json()["duplicate"], false);
    assert_eq!(gateway.host.stored("ORDERS").await.len(), 2);
}

#[tokio::test]
async fn a_tracked_event_leads_to_its_document() {
    let gateway = Running::start().await;
    let event = json!({ "specversion": "1.0", "id": "r/1 ä", "source": "/web", "type": "CustomerRegistered", "data": { "email": "a@b" } });
    let answer = gateway.ask(structured(&event)).await;
    let location = answer.header("location").unwrap().to_owned();
    assert_eq!((answer.status, location.as_str()), (202, "/v1/read-models/registrations/r%2F1%20%C3%A4"));
    gateway.host.put("registrations", "r/1 ä", &json!({ "status": "received" }));
    let document = gateway.ask(crate::client::get(&location)).await;
    assert_eq!(document.json(), json!({ "key": "r/1 ä", "document": { "status": "received" } }));
}

#[tokio::test]
async fn what_is_no_event_is_refused_with_what_was_expected() {
    let gateway = Running::start().await;
    let json = "application/cloudevents+json";
    let event = |edit: fn(&mut Value)| {
        let mut event = order("e", json!(1));
        edit(&mut event);
        event.to_string()
    };
    for (body, content_type, code, part) in [
        ("{}".to_owned(), "application/json", "415/unsupported-media-type", "expected a CloudEvent"),
        ("{}".to_owned(), "application/cloudevents+avro", "415/unsupported-media-type", "application/cloudevents+avro"),
        ("{}".to_owned(), "application/cloudevents+json; charset=latin1", "415/unsupported-media-type", "UTF-8"),
        ("{".to_owned(), json, "400/malformed-event", "the JSON text ends before its value does"),
        ("[]".to_owned(), json, "400/malformed-event", "expected a JSON object, found an array"),
        ("{}".to_owned(), json, "400/malformed-event", "`specversion` is missing"),
        ("\u{0}".to_owned(), json, "400/malformed-event", "not usable JSON"),
        (event(|it| it["specversion"] = json!("0.3")), json, "400/malformed-event", "expected `1.0`, found `0.3`"),
        (event(|it| it["id"] = json!("")), json, "400/malformed-event", "attribute `id` is empty"),
        (event(|it| it["id"] = json!(7)), json, "400/malformed-event", "attribute `id` has the wrong type"),
        (
            event(|it| drop(it.as_object_mut().unwrap().remove("source"))),
            json,
            "400/malformed-event",
            "`source` is missing",
        ),
        (event(|it| it["Bad-Name"] = json!("x")), json, "400/malformed-event", "is not an attribute name"),
        (event(|it| it["time"] = json!("yesterday")), json, "400/malformed-event", "is no time"),
        (event(|it| it["data_base64"] = json!("!")), json, "400/malformed-event", "both given"),
        (event(|it| it["type"] = json!("Nobody")), json, "422/unknown-type", "http.ingest: [{ type: [Nobody]"),
        (event(|it| it["dataschema"] = json!("x/OrderCreated/9")), json, "202", ""),
        (
            r#"{"specversion":"1.0","id":"1","id":"2"}"#.to_owned(),
            json,
            "400/malformed-event",
            "`id` occurs a second time",
        ),
        (format!("{}{}", "[".repeat(100), "]".repeat(100)), json, "400/malformed-event", "nested deeper"),
    ] {
        let answer = gateway.ask(post("/v1/events", body.clone()).with("content-type", content_type)).await;
        if code == "202" {
            assert_eq!(answer.status, 202, "{body}");
            continue;
        }
        let (status, found) = answer.problem();
        assert_eq!(format!("{status}/{found}"), code, "{body}");
        assert!(answer.detail().contains(part), "{body}: {}", answer.detail());
    }
}

#[tokio::test]
async fn bad_headers_in_binary_mode_are_named() {
    let gateway = Running::start().await;
    let ask = || post("/v1/events", "{}").with("ce-source", "/t").with("ce-type", "Note");
    let whole = || ask().with("ce-specversion", "1.0").with("ce-id", "1");
    for (ask, part) in [
        (ask().with("ce-id", "1"), "the header `ce-specversion` is missing"),
        (ask().with("ce-specversion", "1.0"), "attribute `id` is missing"),
        (whole().with("ce-id", "2"), "attribute `id` is given twice"),
        (whole().with("ce-subject", "100%"), "attribute `subject` is badly escaped"),
        (whole().with("ce-subject", "%C0%A0"), "attribute `subject` is not UTF-8"),
        (whole().with("ce-time", "now"), "attribute `time` is no time"),
        (whole().with("ce-bad_name", "x"), "is not an attribute name"),
    ] {
        let answer = gateway.ask(ask).await;
        assert_eq!(answer.problem(), (400, "malformed-event".into()));
        assert!(answer.detail().contains(part), "{}", answer.detail());
    }
    // The content type alone tells the mode: attributes in headers beside it count for nothing.
    let both = structured(&order("in-body", json!(1))).with("ce-specversion", "1.0").with("ce-id", "in-header");
    assert_eq!(gateway.ask(both).await.json()["id"], "in-body");
}

#[tokio::test]
async fn data_that_its_schema_refuses_is_told_with_pointers() {
    let gateway = Running::start().await;
    let mut event = order("e", json!(-1));
    event["data"]["order_id"] = json!("x");
    let answer = gateway.ask(structured(&event)).await;
    assert_eq!(answer.problem(), (422, "invalid-event".into()));
    let mut errors: Vec<Value> = answer.json()["errors"].as_array().unwrap().clone();
    errors.sort_by_key(|error| error["pointer"].as_str().map(str::to_owned));
    assert_eq!(errors[0]["pointer"], "/order_id");
    assert_eq!(errors[1], json!({ "pointer": "/total", "message": "expected a number ≥ 0, found -1" }));
    let text = binary("no JSON").with("ce-id", "1").with("ce-type", "OrderCreated");
    assert_eq!(gateway.ask(text).await.problem(), (400, "malformed-event".into()));
    assert!(gateway.host.stored("ORDERS").await.is_empty());
}

#[tokio::test]
async fn a_batch_is_taken_event_by_event() {
    let gateway = Running::start().await;
    let answer = gateway.ask(batch("/v1/events", &json!([order("1", json!(1)), order("2", json!(2))]))).await;
    assert_eq!(answer.status, 202);
    assert_eq!(
        answer.json(),
        json!({ "accepted": 2, "items": [
            { "index": 0, "status": 202, "id": "1", "stream": "ORDERS", "sequence": 1, "duplicate": false },
            { "index": 1, "status": 202, "id": "2", "stream": "ORDERS", "sequence": 2, "duplicate": false },
        ]})
    );
    let answer = gateway.ask(batch("/v1/events", &json!([]))).await;
    assert_eq!((answer.status, answer.json()), (202, json!({ "accepted": 0, "items": [] })));
}

#[tokio::test]
async fn one_bad_event_of_a_batch_is_named_and_the_others_are_published() {
    let gateway = Running::start().await;
    let events = json!([order("1", json!(1)), order("2", json!(-1)), 7, order("3", json!(3))]);
    let answer = gateway.ask(batch("/v1/events", &events)).await;
    assert_eq!(answer.problem(), (422, "batch-refused".into()));
    let body = answer.json();
    assert_eq!(
        (&body["accepted"], &body["items"][0]["status"], &body["items"][3]["sequence"]),
        (&json!(2), &json!(202), &json!(2))
    );
    assert_eq!(body["items"][1]["error"]["errors"][0]["pointer"], "/total");
    assert_eq!((&body["items"][2]["index"], &body["items"][2]["status"]), (&json!(2), &json!(400)));
    assert_eq!(gateway.host.stored("ORDERS").await.len(), 2);
    // Sent again after the repair, nothing is doubled.
    let repaired = json!([order("1", json!(1)), order("2", json!(1)), order("3", json!(3))]);
    let answer = gateway.ask(batch("/v1/events?atomic=false", &repaired)).await.json();
    let doubles: Vec<bool> = answer["items"].as_array().unwrap().iter().map(|it| it["duplicate"] == true).collect();
    assert_eq!(doubles, [true, false, true]);
}

#[tokio::test]
async fn an_atomic_batch_with_a_bad_event_publishes_nothing() {
    let gateway = Running::start().await;
    let events = json!([order("1", json!(1)), order("2", json!(-1))]);
    let answer = gateway.ask(batch("/v1/events?atomic=true", &events)).await;
    assert_eq!(answer.problem(), (422, "batch-refused".into()));
    let items = answer.json()["items"].clone();
    assert_eq!((&items[0]["status"], &items[1]["status"]), (&json!(424), &json!(422)));
    assert!(gateway.host.stored("ORDERS").await.is_empty());
    assert_eq!(gateway.ask(batch("/v1/events?atomic=maybe", &events)).await.problem(), (400, "bad-request".into()));
}

#[tokio::test]
async fn a_batch_that_is_none_is_refused_as_a_whole() {
    let gateway = Running::with("  limits: { events: 2 }\n").await;
    let bad = post("/v1/events", "{}").with("content-type", "application/cloudevents-batch+json");
    assert_eq!(gateway.ask(bad).await.problem(), (400, "malformed-event".into()));
    let three = json!([order("1", json!(1)), order("2", json!(1)), order("3", json!(1))]);
    let answer = gateway.ask(batch("/v1/events", &three)).await;
    assert_eq!(answer.problem(), (413, "too-large".into()));
    assert!(answer.detail().contains("http.limits.events"), "{}", answer.detail());
    assert!(gateway.host.stored("ORDERS").await.is_empty());
}

#[tokio::test]
async fn while_the_broker_is_away_nothing_is_claimed() {
    let gateway = Running::start().await;
    *gateway.host.broker_fault.lock().unwrap() = Some(unavailable());
    for ask in [
        structured(&order("1", json!(1))),
        batch("/v1/events", &json!([order("1", json!(1))])),
        post("/v1/streams/ORDERS/orders.raw", "x"),
    ] {
        let answer = gateway.ask(ask).await;
        assert_eq!(answer.problem(), (503, "broker-unavailable".into()));
        assert_eq!(answer.header("retry-after"), Some("2"));
    }
    *gateway.host.broker_fault.lock().unwrap() = Some(BrokerError::Refused("the message is too large".into()));
    assert_eq!(gateway.ask(structured(&order("1", json!(1)))).await.problem(), (422, "refused".into()));
    *gateway.host.broker_fault.lock().unwrap() = None;
    assert_eq!(gateway.ask(structured(&order("1", json!(1)))).await.json()["duplicate"], false);
}

#[tokio::test]
async fn a_raw_body_goes_to_its_subject_as_it_is() {
    let gateway = Running::start().await;
    let ask = post("/v1/streams/ORDERS/orders.raw", vec![0xff, 0, 1])
        .with("content-type", "application/x-thing")
        .with("idempotency-key", "key-1")
        .with("nats-rollup", "all")
        .with("x-other", "y");
    let first = gateway.ask(ask.clone()).await.json();
    let again = gateway.ask(ask).await.json();
    assert_eq!((&again["id"], &again["sequence"], &again["duplicate"]), (&first["id"], &json!(1), &json!(true)));
    let message = &gateway.host.stored("ORDERS").await[0];
    assert_ne!(first["id"], "key-1");
    assert_eq!((message.subject.as_str(), &message.payload[..]), ("orders.raw", &[0xff, 0, 1][..]));
    let names: Vec<&str> = message.headers.iter().map(|(name, _)| name).filter(|name| *name != "Nats-Msg-Id").collect();
    assert_eq!(names, ["content-type"]);
    // Without a key every body is another one.
    for _ in 0..2 {
        assert_eq!(gateway.ask(post("/v1/streams/ORDERS/orders.raw", "same")).await.json()["duplicate"], false);
    }
}

#[tokio::test]
async fn a_key_tells_bodies_of_one_subject_apart_and_swallows_no_other_message() {
    let gateway = Running::start().await;
    let keyed =
        |subject: &str, header: &str, key: &str| post(&format!("/v1/streams/ORDERS/{subject}"), "x").with(header, key);
    // Two clients that count their imports alike.
    for (subject, header, duplicate) in [
        ("orders.a", "idempotency-key", false),
        ("orders.b", "idempotency-key", false),
        ("orders.b", "nats-msg-id", true),
    ] {
        assert_eq!(gateway.ask(keyed(subject, header, "import-7")).await.json()["duplicate"], duplicate, "{subject}");
    }
    // The message id that an event will have is known to whoever knows its source and its id.
    let known = event_from_json(&order("e-1", json!(1))).unwrap();
    let id = encode_foreign_event(&known, Subject::try_new("orders.created").unwrap()).id;
    for header in ["idempotency-key", "nats-msg-id"] {
        assert_eq!(gateway.ask(keyed("orders.created", header, &id)).await.status, 202);
    }
    assert_eq!(gateway.ask(structured(&order("e-1", json!(1)))).await.json()["duplicate"], false);
}

#[tokio::test]
async fn a_raw_body_to_a_wrong_address_is_refused() {
    let gateway = Running::start().await;
    for (target, key, problem, part) in [
        ("/v1/streams/NOPE/orders.raw", "k", (404, "no-stream"), "there is no stream `NOPE`"),
        ("/v1/streams/ORDERS/customers.raw", "k", (400, "bad-request"), "which stores `orders.>`"),
        ("/v1/streams/ORDERS/orders.*", "k", (400, "bad-request"), "is a pattern"),
        ("/v1/streams/ORDERS/orders..x", "k", (400, "bad-request"), "empty token"),
        ("/v1/streams/ORDERS/orders.%0a", "k", (400, "bad-request"), "white space"),
        ("/v1/streams/ORDERS/$JS.API.x", "k", (400, "bad-request"), "belongs to the server"),
        ("/v1/streams/ORDERS/orders.raw", "with space", (400, "bad-request"), "`Idempotency-Key` is refused"),
        ("/v1/streams/ORDERS/orders%2Fraw", "k", (400, "bad-request"), "is no subject of the stream"),
    ] {
        let answer = gateway.ask(post(target, "x").with("idempotency-key", key)).await;
        assert_eq!(answer.problem(), (problem.0, problem.1.to_owned()), "{target}");
        assert!(answer.detail().contains(part), "{target}: {}", answer.detail());
    }
    assert!(gateway.host.stored("ORDERS").await.is_empty());
}
