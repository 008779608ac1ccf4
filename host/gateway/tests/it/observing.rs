//! Health, metrics, and the description of the gateway by itself.

use serde_json::Value;
use tidemill_gateway::Health;

use crate::client::{get, post};
use crate::rig::Running;

#[tokio::test]
async fn ready_says_what_keeps_the_host_from_its_work() {
    let gateway = Running::start().await;
    assert_eq!(gateway.ask(get("/readyz")).await.text(), "ok\n");
    *gateway.host.health.lock().unwrap() = Health {
        broker: Some("connection refused".into()),
        plugins: vec!["`fraud-check`: there is no file".into()],
        unbound: vec!["the route `fraud` waits for its stream".into()],
    };
    let answer = gateway.ask(get("/readyz")).await;
    assert_eq!(answer.problem(), (503, "not-ready".into()));
    assert_eq!(answer.json()["reasons"][0], "the broker is not connected: connection refused");
    assert_eq!(answer.json()["reasons"].as_array().unwrap().len(), 3);
    assert_eq!(gateway.ask(get("/livez")).await.status, 200);
}

#[tokio::test]
async fn metrics_count_requests_by_address_and_never_by_what_clients_make_up() {
    let gateway = Running::start().await;
    for n in 0..20 {
        gateway.ask(get(&format!("/v1/read-models/orders/made-up-{n}"))).await;
        gateway.ask(get(&format!("/made-up-{n}")).method(&format!("MADE{n}"))).await;
    }
    gateway.ask(post("/v1/streams/ORDERS/orders.x", "x")).await;
    let answer = gateway.ask(get("/metrics")).await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    for line in [
        "tidemill_http_requests_total{endpoint=\"/v1/read-models/{collection}/{key}\",method=\"GET\",status=\"404\"} 20",
        "tidemill_http_requests_total{endpoint=\"unknown\",method=\"other\",status=\"404\"} 20",
        "tidemill_http_requests_total{endpoint=\"/v1/streams/{stream}/{subject}\",method=\"POST\",status=\"202\"} 1",
        "tidemill_http_request_duration_seconds_count{endpoint=\"unknown\"} 20",
        "tidemill_http_connections 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains("made-up") && !text.contains("MADE"), "{text}");
}

/// Every `$ref` of a document.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| match value {
            Value::String(text) if name == "$ref" => found.push(text),
            _ => references(value, found),
        }),
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_openapi_document_describes_what_is_configured() {
    let gateway = Running::start().await;
    let document = gateway.ask(get("/openapi.json")).await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    for path in [
        "/livez",
        "/metrics",
        "/v1/events",
        "/v1/streams/ORDERS/{subject}",
        "/v1/read-models/orders",
        "/v1/read-models/orders/{key}",
        "/v1/read-models/registrations/{key}",
        "/v1/queries/customers/{name}",
    ] {
        assert!(paths.iter().any(|known| *known == path), "{path} is not in {paths:?}");
    }
    let mut found = Vec::new();
    references(&document, &mut found);
    for reference in found {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
    }
    let filters = document["paths"]["/v1/read-models/orders"]["get"]["parameters"].as_array().unwrap();
    let names: Vec<&str> = filters.iter().map(|it| it["name"].as_str().unwrap()).collect();
    for name in ["status", "total[gte]", "created_at[prefix]", "sort", "cursor", "wait_for"] {
        assert!(names.contains(&name), "{name}");
    }
    let subject = &document["paths"]["/v1/streams/ORDERS/{subject}"]["post"]["parameters"][0]["schema"]["pattern"];
    assert!(subject.as_str().unwrap().starts_with(r"^(orders\.[^.*>"), "{subject}");
    let shapes = document["components"]["schemas"]["Event"]["oneOf"].as_array().unwrap();
    assert_eq!(shapes[0]["properties"]["data"]["properties"]["total"]["minimum"], 0);
    assert_eq!(document.get("security"), None);
}

#[tokio::test]
async fn the_openapi_document_says_how_to_come_in() {
    let gateway = Running::with("  tokens: [{ token: reads-reads-reads, scopes: [read] }]\n").await;
    let ask = get("/openapi.json").with("authorization", "Bearer reads-reads-reads");
    let document = gateway.ask(ask).await.json();
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    assert_eq!(document["security"][0]["token"], serde_json::json!([]));
}
