//! Registration in the shop: a `POST` is answered with the address of a document that ends as the finished account.

use serde_json::{Value, json};

use crate::harness::{Answer, Home, Host, On};
use crate::shop::shop_config;

use super::until;

fn register(host: &Host, id: &str, age: u32) -> Answer {
    let data = json!({ "customer_id": "c-7001", "name": "Ada Lovelace", "email": "ada@example.com", "age": age,
        "country": "GB", "newsletter": true });
    let event = json!({ "specversion": "1.0", "id": id, "source": "/web", "type": "CustomerRegistered",
        "time": "2026-02-01T09:00:00Z", "data": data });
    host.post("/v1/events", "application/cloudevents+json", &event.to_string())
}

/// Follows the address of the answer until the document has this status.
fn follow(host: &Host, answer: &Answer, status: &str) -> Value {
    assert_eq!(answer.status, 202, "{answer:?}");
    let asked = || host.get(&answer.headers["location"]);
    until(status, asked, |found| {
        assert!([200, 404].contains(&found.status), "{found:?}");
        found.status == 200 && found.json()["document"]["status"] == status
    })
    .json()["document"]
        .clone()
}

fn a_registration_leads_to_the_finished_account(on: On) {
    let home = Home::new(on, &shop_config());
    let host = home.start();
    until("ready", || host.get("/readyz"), |answer| answer.status == 200);
    let answer = register(&host, "registration-1", 36);
    assert_eq!(answer.headers["location"], "/v1/read-models/registrations/registration-1");
    assert_eq!(answer.json()["id"], "registration-1");
    let welcomed = follow(&host, &answer, "welcomed");
    let account = welcomed["account_id"].as_str().unwrap();
    let customer = host.get("/v1/read-models/customers/c-7001").json()["document"].clone();
    assert_eq!((&customer["status"], &customer["account_id"]), (&json!("active"), &json!(account)));
    let found = host.get(&format!("/v1/read-models/customers?account_id={account}&fields=name")).json();
    assert_eq!(found["items"], json!([{ "key": "c-7001", "document": { "name": "Ada Lovelace" } }]));

    // Who got no answer sends it again: there is still one registration, at the same address.
    let again = register(&host, "registration-1", 36);
    assert_eq!((again.status, &again.json()["duplicate"]), (202, &json!(true)));
    assert_eq!(again.headers["location"], answer.headers["location"]);

    let rejected = follow(&host, &register(&host, "registration-2", 17), "rejected");
    assert_eq!(rejected["reasons"][0]["field"], "age", "{rejected}");
    let invalid = register(&host, "registration-3", 7000);
    assert_eq!((invalid.status, &invalid.json()["errors"][0]["pointer"]), (422, &json!("/age")), "{invalid:?}");
    assert!(!invalid.headers.contains_key("location"));
    host.stop();
}

#[test]
fn a_registration_leads_to_the_finished_account_on_the_embedded_log() {
    a_registration_leads_to_the_finished_account(On::Embedded);
}

#[test]
fn a_registration_leads_to_the_finished_account_on_nats() {
    a_registration_leads_to_the_finished_account(On::Nats);
}
