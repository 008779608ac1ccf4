//! The harness of a projection keeps the host's promises about documents.

use super::super::{Ended, ProjectionHarness};
use crate::prelude::*;
use crate::read_model::{Document, ReadModelError};

/// A projection that keeps what customers have spent, in a way that the event names.
struct Ledger;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Account {
    spent: u32,
    country: String,
}

#[derive(Deserialize)]
struct Spent {
    customer: String,
    amount: u32,
}

impl Projection for Ledger {
    type Data = Raw;

    fn apply(event: Event<Raw>, _: &Context) -> Outcome {
        let Spent { customer, amount } = event.data.read()?;
        let add = |account: Option<Account>| match account {
            Some(account) => Account { spent: account.spent + amount, ..account },
            None => Account { spent: amount, country: "DE".to_owned() },
        };
        read_model::update("accounts", &customer, add)?;
        match event.kind.as_str() {
            "Spent" => Ok(()),
            "SpentElsewhere" => {
                drop(read_model::put("elsewhere", &customer, &json!({})));
                Ok(())
            }
            "SpentInCash" => Err(reject("cash is not counted")),
            "SpentAndTold" => Ok(Emit::to("spent.told").kind("Told").send()?),
            "SpentAndKept" => Ok(state::put("spent", "1")?),
            kind => panic!("on {kind}"),
        }
    }
}

#[derive(Deserialize)]
struct OfCountry {
    country: String,
}

impl Queries for Ledger {
    fn query(question: &Question) -> Answer {
        match question.name() {
            "spent" => {
                let OfCountry { country } = question.params()?;
                let mut spent = 0;
                for account in read_model::find::<Account>("accounts", "country", &country) {
                    spent += account?.body.spent;
                }
                Ok(json!(spent))
            }
            "reset" => {
                read_model::delete("accounts", "c-1")?;
                Ok(Value::Null)
            }
            "id" => Ok(json!(host::stable_id("answer"))),
            _ => Err(question.unknown()),
        }
    }
}

crate::projection!(Ledger, queries);

fn spent(kind: &str, customer: &str, amount: u32) -> Event<Raw> {
    Event::new(kind).data(json!({ "customer": customer, "amount": amount }))
}

fn ledger() -> ProjectionHarness<Ledger> {
    ProjectionHarness::new().collection("accounts", ["country"]).document(
        "accounts",
        "c-1",
        Account { spent: 10, country: "FR".to_owned() },
    )
}

#[test]
fn documents_of_a_folded_event_stay() {
    let mut ledger = ledger();
    ledger.apply(spent("Spent", "c-1", 5)).assert_done();
    let run = ledger.apply(spent("Spent", "c-2", 7));
    assert_eq!(run.document("accounts", "c-1"), Some(Account { spent: 15, country: "FR".to_owned() }));
    assert_eq!(run.document("accounts", "c-2"), Some(json!({ "spent": 7, "country": "DE" })));
    run.assert_keys("accounts", &["c-1", "c-2"]);
    assert_eq!(run.document::<Account>("accounts", "c-3"), None);
}

#[test]
fn documents_of_a_failed_event_vanish() {
    let mut ledger = ledger();
    let run = ledger.apply(spent("SpentInCash", "c-2", 5));
    run.assert_rejected("cash is not counted");
    run.assert_keys("accounts", &["c-1"]);
    let run = ledger.apply(spent("SpentInSecret", "c-2", 5));
    run.assert_panicked("on SpentInSecret");
    run.assert_keys("accounts", &["c-1"]);
}

#[test]
fn a_refused_write_fails_the_event_even_if_it_is_ignored() {
    let run = ledger().apply(spent("SpentElsewhere", "c-1", 5));
    run.assert_write_refused("`projections[].collections.elsewhere` in runtime.yaml would declare it");
    assert_eq!(run.document::<Account>("accounts", "c-1").map(|account| account.spent), Some(10));
}

#[test]
fn data_that_does_not_fit_is_rejected_with_the_place() {
    let run = ledger().apply(Event::new("Spent").data(json!({ "customer": "c-1", "amount": "much" })));
    run.assert_rejected("the event's data does not fit: `/amount`: invalid type: string \"much\"");
}

#[test]
fn what_a_projection_may_not_import_panics() {
    ledger().apply(spent("SpentAndTold", "c-1", 5)).assert_panicked("a projection emits nothing");
    ledger().apply(spent("SpentAndKept", "c-1", 5)).assert_panicked("a projection has no state");
}

#[test]
fn questions_are_answered_from_the_documents() {
    let mut ledger = ledger();
    for (customer, amount) in [("c-2", 1), ("c-3", 2), ("c-1", 4)] {
        ledger.apply(spent("Spent", customer, amount)).assert_done();
    }
    assert_eq!(ledger.query("spent", json!({ "country": "DE" })), Ok(json!(3)));
    assert_eq!(ledger.query("spent", json!({ "country": "FR" })), Ok(json!(14)));
    assert_eq!(ledger.query("spent", json!({ "country": "JP" })), Ok(json!(0)));
}

#[test]
fn questions_that_nobody_can_answer_are_rejected() {
    let missing = ledger().query("spent", json!({})).unwrap_err();
    assert_eq!(missing, reject("the query's parameter object does not fit: missing field `country`"));
    assert_eq!(ledger().query("earned", json!({})), Err(reject("there is no query `earned`")));
}

#[test]
fn a_question_that_writes_is_refused_and_has_no_event() {
    assert_eq!(ledger().query("reset", json!({})), Err(reject("a query reads documents and writes none")));
    let id = std::panic::catch_unwind(|| ledger().query("id", json!({})));
    assert!(id.is_err(), "the host would trap");
    assert_eq!(ledger().query("spent", json!({ "country": "FR" })), Ok(json!(10)), "the harness is free again");
}

/// Runs `body` where a projection's body runs, with the collection `things`, indexed by `kind` and `place.city`.
fn inside(body: fn()) {
    thread_local!(static BODY: std::cell::Cell<fn()> = const { std::cell::Cell::new(|| ()) });

    struct Body;

    impl Projection for Body {
        type Data = Raw;

        fn apply(_: Event<Raw>, _: &Context) -> Outcome {
            BODY.get()();
            Ok(())
        }
    }

    BODY.set(body);
    let run = ProjectionHarness::<Body>::new().collection("things", ["kind", "place.city"]).apply(Event::new("Any"));
    assert!(!matches!(run.outcome, Ended::Panicked { .. }), "{:?}", run.outcome);
}

#[test]
fn documents_are_found_page_by_page_in_the_order_of_their_keys() {
    inside(|| {
        for number in 0..250 {
            let kind = if number % 2 == 0 { json!(1) } else { json!("odd") };
            let thing = json!({ "kind": kind, "place": { "city": format!("c{}", number % 3) } });
            read_model::put("things", &format!("t-{number:03}"), &thing).unwrap();
        }
        let keys = |found: read_model::Find<Value>| -> Vec<String> { found.map(|found| found.unwrap().key).collect() };
        let even = keys(read_model::find("things", "kind", &1.0));
        assert_eq!((even.len(), even[0].as_str(), even[124].as_str()), (125, "t-000", "t-248"));
        assert_eq!(keys(read_model::find("things", "place.city", "c2")).len(), 83);
        assert_eq!(keys(read_model::find("things", "kind", &Value::Null)), [""; 0]);
        let mut first = read_model::find::<Value>("things", "kind", "odd");
        let Document { key, body } = first.next().unwrap().unwrap();
        assert_eq!((key.as_str(), &body["place"]["city"]), ("t-001", &json!("c1")));
    });
}

#[test]
fn read_model_errors_say_what_is_wrong() {
    inside(|| {
        assert!(matches!(read_model::get::<Value>("thing", "t"), Err(ReadModelError::NoCollection(_))));
        assert!(matches!(read_model::get::<Value>("things", ""), Err(ReadModelError::Invalid(_))));
        let mut found = read_model::find::<Value>("things", "color", "red");
        assert!(matches!(found.next(), Some(Err(ReadModelError::NoIndex(_)))));
        assert!(found.next().is_none(), "after an error there are no more");

        read_model::put("things", "t-1", &json!({ "kind": "odd" })).unwrap();
        let unfit = "the document `t-1` of the collection `things`: missing field `spent`";
        assert!(read_model::get::<Account>("things", "t-1").unwrap_err().to_string().starts_with(unfit));
        let found = read_model::find::<Account>("things", "kind", "odd").next().unwrap();
        assert!(found.unwrap_err().to_string().starts_with(unfit));
    });
    for body in [json!([1]), json!(7), json!({ "kind": "x".repeat(513) }), json!({ "note": "x".repeat(600_000) })] {
        thread_local!(static DOCUMENT: std::cell::RefCell<Value> = const { std::cell::RefCell::new(Value::Null) });
        DOCUMENT.set(body);
        inside(|| {
            let error = DOCUMENT.with_borrow(|document| read_model::put("things", "t", document)).unwrap_err();
            assert!(matches!(error, ReadModelError::Invalid(_) | ReadModelError::Limit(_)), "{error:?}");
        });
    }
}

#[test]
fn an_unreachable_store_is_a_retry() {
    ledger().unavailable().apply(spent("Spent", "c-1", 5)).assert_retry("the read model is unavailable");
}
