use std::collections::BTreeMap;

use super::*;
use tidemill_sdk::testing::ProjectionHarness;

type Documents = BTreeMap<String, BTreeMap<String, Value>>;

fn view() -> ProjectionHarness<CustomerView> {
    ProjectionHarness::new()
        .collection("customers", ["status", "account_id", "email"])
        .collection("registrations", ["status"])
}

fn registered() -> Event<Raw> {
    let data = json!({
        "customer_id": "c-1", "name": "Ada", "email": "ada@example.com", "age": 36, "country": "GB", "newsletter": true,
    });
    Event::new("CustomerRegistered").id("registered-1").data(data).time("2026-01-05T08:00:00Z")
}

/// What the plugins make of a registration: it carries the correlation id on.
fn follows(kind: &str, minute: u32, correlation: &str) -> Event<Raw> {
    let data = match kind {
        "CustomerValidated" => {
            json!({ "customer_id": "c-1", "name": "Ada", "email": "ada@example.com", "country": "GB" })
        }
        "CustomerValidationFailed" => json!({
            "customer_id": "c-1", "email": "ada@example.com",
            "reasons": [{ "field": "age", "problem": "must be at least 18, is 17" }],
        }),
        "AccountCreated" => json!({
            "account_id": "a-1", "customer_id": "c-1", "name": "Ada", "email": "ada@example.com", "country": "GB",
        }),
        "AccountRejected" => json!({ "customer_id": "c-1", "email": "ada@example.com", "reason": "email-taken" }),
        _ => json!({ "account_id": "a-1", "to": "ada@example.com", "subject": "Welcome", "body": "Dear Ada" }),
    };
    let event = Event::new(kind).id(format!("{kind}-1")).data(data).time(format!("2026-01-05T08:{minute:02}:00Z"));
    event.with_extension("correlationid", correlation)
}

fn folded(events: impl IntoIterator<Item = Event<Raw>>) -> Documents {
    let mut view = view();
    let mut documents = Documents::new();
    for event in events {
        let run = view.apply(event);
        run.assert_done();
        documents = run.documents;
    }
    documents
}

/// All ways in which two streams can be folded into one.
fn merged(one: &[Event<Raw>], other: &[Event<Raw>]) -> Vec<Vec<Event<Raw>>> {
    let (Some((first, rest)), Some((other_first, other_rest))) = (one.split_first(), other.split_first()) else {
        return vec![[one, other].concat()];
    };
    let begun = |first: &Event<Raw>, rest: Vec<Vec<Event<Raw>>>| {
        rest.into_iter().map(|rest| [vec![first.clone()], rest].concat()).collect::<Vec<_>>()
    };
    [begun(first, merged(rest, other)), begun(other_first, merged(one, other_rest))].concat()
}

#[test]
fn a_registration_leads_to_an_account_step_by_step() {
    let mut view = view();
    let run = view.apply(registered());
    let received = json!({
        "status": "received", "customer_id": "c-1", "received_at": "2026-01-05T08:00:00Z", "updated_at": "2026-01-05T08:00:00Z",
    });
    assert_eq!(run.document("registrations", "registered-1"), Some(received));
    for (kind, minute, status, standing) in [
        ("CustomerValidated", 1, "validated", "registered"),
        ("AccountCreated", 2, "account-created", "active"),
        ("WelcomeMailSent", 3, "welcomed", "active"),
    ] {
        let run = view.apply(follows(kind, minute, "registered-1"));
        let registration: Value = run.document("registrations", "registered-1").unwrap();
        assert_eq!(registration["status"], status);
        assert_eq!(registration["updated_at"], format!("2026-01-05T08:{minute:02}:00Z"));
        assert_eq!(run.document::<Value>("customers", "c-1").unwrap()["status"], standing);
        run.assert_keys("registrations", &["registered-1"]);
    }
    let run = view.apply(Event::new("Unknown"));
    assert_eq!(run.document::<Value>("registrations", "registered-1").unwrap()["account_id"], "a-1");
    let customer = json!({
        "name": "Ada", "email": "ada@example.com", "country": "GB", "newsletter": true, "status": "active", "account_id": "a-1",
        "registered_at": "2026-01-05T08:00:00Z", "updated_at": "2026-01-05T08:02:00Z",
    });
    assert_eq!(run.document("customers", "c-1"), Some(customer));
}

#[test]
fn a_rejected_registration_says_why() {
    let documents = folded([registered(), follows("CustomerValidationFailed", 1, "registered-1")]);
    let registration = &documents["registrations"]["registered-1"];
    assert_eq!(registration["status"], "rejected");
    assert_eq!(registration["reasons"], json!([{ "field": "age", "problem": "must be at least 18, is 17" }]));
    assert_eq!(documents["customers"]["c-1"]["status"], "rejected");

    let taken =
        [registered(), follows("CustomerValidated", 1, "registered-1"), follows("AccountRejected", 2, "registered-1")];
    let registration = &folded(taken)["registrations"]["registered-1"];
    assert_eq!(registration["status"], "rejected");
    assert_eq!(registration["reasons"], json!([{ "field": "account", "problem": "email-taken" }]));
}

#[test]
fn however_the_streams_are_folded_into_each_other_the_documents_are_the_same() {
    for ends in [&["AccountCreated", "WelcomeMailSent"][..], &["AccountRejected"]] {
        // With the tracking id as correlation id, and with another one that the registration brought along.
        for (registered, correlation) in
            [(registered(), "registered-1"), (registered().with_extension("correlationid", "visit-7"), "visit-7")]
        {
            let customers = [registered, follows("CustomerValidated", 1, correlation)];
            let accounts = [follows(ends[0], 2, correlation)];
            let mails: Vec<Event<Raw>> = ends[1..].iter().map(|kind| follows(kind, 3, correlation)).collect();
            let expected = folded(customers.iter().chain(&accounts).chain(&mails).cloned());
            let mut ways = 0;
            for folding in merged(&customers, &accounts).iter().flat_map(|both| merged(both, &mails)) {
                let kinds: Vec<String> = folding.iter().map(|event| event.kind.clone()).collect();
                assert_eq!(folded(folding), expected, "{kinds:?}");
                ways += 1;
            }
            assert_eq!(ways, if mails.is_empty() { 3 } else { 12 });
            let status = if mails.is_empty() { "rejected" } else { "welcomed" };
            assert_eq!(expected["registrations"]["registered-1"]["status"], status);
        }
    }
}

#[test]
fn a_registration_with_a_correlation_id_of_its_own_is_found_by_its_tracking_id() {
    let registered = registered().with_extension("correlationid", "visit-7");
    let documents = folded([follows("AccountCreated", 2, "visit-7"), registered]);
    let registration = &documents["registrations"]["registered-1"];
    assert_eq!((&registration["status"], &registration["account_id"]), (&json!("account-created"), &json!("a-1")));
    assert_eq!(documents["registrations"]["visit-7"]["tracking_id"], "registered-1");
}

#[test]
fn who_was_rejected_may_come_again() {
    let again = registered().id("registered-2").time("2026-01-06T08:00:00Z");
    let documents = folded([
        registered(),
        follows("CustomerValidationFailed", 1, "registered-1"),
        again,
        follows("AccountCreated", 30, "registered-2"),
    ]);
    assert_eq!(documents["registrations"]["registered-1"]["status"], "rejected");
    assert_eq!(documents["registrations"]["registered-2"]["status"], "account-created");
    assert_eq!(documents["customers"]["c-1"]["status"], "active");
}

#[test]
fn what_nobody_registered_for_is_no_registration() {
    let event = Event::new("AccountCreated").data(json!({ "account_id": "a-2", "customer_id": "c-2", "name": "Bo" }));
    let run = view().apply(event);
    run.assert_done();
    run.assert_keys("registrations", &[]);
    assert_eq!(run.document::<Value>("customers", "c-2").unwrap()["account_id"], "a-2");
}
