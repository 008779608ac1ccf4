//! Files of cases as a person writes them, what is said about mistakes, what is compared, and what `--update` makes of a file.

use std::slice;

use serde_json::{Value, json};

use super::super::MapLookup;
use super::{CameOut, CameOutcome, Case, Tested, load, update};
use crate::config::{self, RuntimeConfig};

fn runtime() -> RuntimeConfig {
    let text = r#"
version: 1
streams:
  - { name: ORDERS, subjects: ["orders.>"] }
  - { name: PAYMENTS, subjects: ["payments.>"] }
routes:
  - { name: payments, source: { stream: ORDERS }, handler: capture, emits: ["payments.>"] }
  - { name: refunds, source: { stream: PAYMENTS }, handler: refund }
  - { name: late-refunds, source: { stream: PAYMENTS }, handler: refund }
projections:
  - { name: orders, sources: [{ stream: ORDERS }], plugin: view, collections: { orders: {} } }
"#;
    config::load(text, &MapLookup::default()).unwrap()
}

fn said(text: &str) -> String {
    match load(text, &runtime()) {
        Ok(_) => "nothing is wrong".to_owned(),
        Err(diagnostics) => diagnostics.lines("x_test.yaml").trim_end().to_owned(),
    }
}

fn only(text: &str) -> Case {
    let mut cases = load(text, &runtime()).unwrap_or_else(|error| panic!("{}", error.lines("x_test.yaml")));
    assert_eq!(cases.len(), 1);
    cases.remove(0)
}

const CASE: &str = r#"version: 1
tests:
  - name: a payment is captured
    plugin: capture
    events:
      - event: { type: OrderCreated, data: { total: 5 } }
    expect:
      emits:
        - { to: payments.captured, data: { amount: 5 } }
"#;

#[test]
fn a_case_is_read_with_what_is_usual() {
    let case = only(CASE);
    let Tested::Plugin { part, attempt, .. } = &case.subject else { panic!("{:?}", case.subject) };
    assert_eq!((part.as_str(), *attempt, case.line), ("payments", 1, 3));
    let super::GivenEvent::Event { event, subject: None } = &case.events[0] else { panic!("{:?}", case.events) };
    assert_eq!((event.id.as_str(), event.source.as_str(), event.kind.as_str()), ("event-1", "/test", "OrderCreated"));
}

#[test]
fn all_mistakes_at_once_each_with_its_place() {
    let text = r#"version: 1
tests:
  - name: one
    plugin: captur
    events: [{ event: { type: OrderCreated } }]
    expect: { outcome: retry }
  - name: one
    plugin: refund
    events: [{ event: { type: Refund } }]
    expect: { outcome: done }
  - name: three
    subject: orders.created
    events: [{ event: { type: OrderCreated } }, { subject: order.created, payload: x }]
    expect: { outcome: done, documents: {} }
  - name: four
    plugin: capture
    events: [{ event: { data: 5 } }]
    expect: {}
  - name: five
    plugin: capture
    events: [{ event: { type: A } }, { event: { type: B } }]
    expect: { outcome: [done], dead_letters: [], emits: [{}, { data: { a: $anny, b: { $exactly: 1, c: 2 } } }] }
"#;
    assert_eq!(
        said(text),
        "error: x_test.yaml:4:13: tests[0].plugin: no route or projection of runtime.yaml uses the plugin `captur`
  hint: did you mean `capture`?
error: x_test.yaml:6:24: tests[0].expect.outcome: expected `done`, `skipped`, `malformed`, `invalid`, `schema-missing`, `loop`, `rejected`, `retry-requested`, `trap`, `timeout`, `out-of-memory`, `effect-refused`, `emit-invalid`, `state-conflict` or `unavailable`, found `retry`
  hint: did you mean `retry-requested`?
error: x_test.yaml:7:11: tests[1].name: a case in line 3 has the same name
error: x_test.yaml:8:13: tests[1].plugin: the plugin `refund` is used by `refunds` and `late-refunds`
  hint: `route: NAME` says which of them is tested
error: x_test.yaml:12:5: tests[2].subject: unknown field `subject`
  hint: the fields known here are `name`, `plugin`, `route`, `attempt`, `only`, `now`, `config`, `secrets`, `state`, `plugins`, `documents`, `http`, `events` and `expect`
error: x_test.yaml:13:14: tests[2].events[0]: missing field `subject`: nobody knows which stream stores the event
error: x_test.yaml:13:60: tests[2].events[1].subject: no stream of runtime.yaml stores `order.created`
  hint: the streams are `ORDERS` and `PAYMENTS`
error: x_test.yaml:14:24: tests[2].expect.outcome: `outcome` belongs to a case with a `plugin`
  hint: what became of the events is said by `emits`, `dead_letters` and `routes`
error: x_test.yaml:14:41: tests[2].expect.documents: `{}` admits everything, so it cannot fail
  hint: `documents: { $exactly: {} }` says that there is none
error: x_test.yaml:17:23: tests[3].events[0].event: attribute `type` is missing: expected a text of 1 to 1024 bytes
error: x_test.yaml:18:13: tests[3].expect: a case that expects nothing cannot fail
  hint: name at least one of `outcome`, `emits`, `state`, `documents` and `dead_letters`
error: x_test.yaml:22:24: tests[4].expect.outcome: expected an outcome for each of the 2 events, found 1
error: x_test.yaml:22:46: tests[4].expect.dead_letters: `dead_letters` belongs to a case of the whole, and this one has a `plugin`
  hint: without `plugin` the events go into the streams, and all routes and projections run
error: x_test.yaml:22:58: tests[4].expect.emits[0]: an emit of which nothing is expected; name `to`, `type` or `data`
error: x_test.yaml:22:75: tests[4].expect.emits[1].data.a: unknown word `$anny`
  hint: did you mean `$any`?
error: x_test.yaml:22:100: tests[4].expect.emits[1].data.b.c: `$exactly` stands alone, and not beside `c`
  hint: a member whose name begins with `$` is written below `$exactly`"
    );
}

fn came(emits: Vec<Value>) -> CameOut {
    let outcome = CameOutcome { word: "done".to_owned(), ..CameOutcome::default() };
    CameOut { outcomes: Some(vec![outcome]), emits, state: json!({}), documents: json!({}), ..CameOut::default() }
}

fn told(expect: &str, came: &CameOut) -> Vec<String> {
    let case = only(&CASE.replace("      emits:\n        - { to: payments.captured, data: { amount: 5 } }\n", expect));
    let told = case.expect.unwrap().compare(came);
    told.into_iter().map(|it| format!("{}: expected {}, found {}", it.at, it.expected, it.found)).collect()
}

#[test]
fn more_members_are_admitted_and_nothing_else_is() {
    let emit = json!({ "to": "payments.captured", "type": "P", "data": { "amount": 5.0, "items": [1, 2], "note": "a long note" } });
    for fits in [
        "{ to: payments.captured, data: { amount: 5, items: [1, 2] } }",
        "{ data: { amount: $any, tip: $absent, note: { $contains: long } } }",
        "{ data: { $exactly: { amount: 5, items: [1, 2], note: a long note } } }",
    ] {
        assert_eq!(
            told(&format!("      emits: [{fits}]\n"), &came(vec![emit.clone()])),
            Vec::<String>::new(),
            "{fits}"
        );
    }
    for (misfit, said) in [
        ("{ data: { amount: 6 } }", "emits[0].data.amount: expected 6, found 5.0"),
        ("{ data: { amount: \"5\" } }", "emits[0].data.amount: expected \"5\", found 5.0"),
        ("{ data: { items: [1] } }", "emits[0].data.items: expected a list of 1: [1], found [1,2]"),
        ("{ data: { tip: $any } }", "emits[0].data.tip: expected any value, found nothing"),
        ("{ data: { note: $absent } }", "emits[0].data.note: expected nothing, found \"a long note\""),
        (
            "{ data: { $exactly: { amount: 5, items: [1, 2] } } }",
            "emits[0].data.note: expected nothing, found \"a long note\"",
        ),
        ("{ subject: o-1 }", "emits[0].subject: expected \"o-1\", found nothing"),
    ] {
        assert_eq!(told(&format!("      emits: [{misfit}]\n"), &came(vec![emit.clone()])), [said], "{misfit}");
    }
}

#[test]
fn a_whole_number_is_compared_as_one() {
    for (expected, found, is_equal) in [
        ("9007199254740993", json!(9_007_199_254_740_993_u64), true),
        ("9007199254740993", json!(9_007_199_254_740_992_u64), false),
        ("18446744073709551615", json!(u64::MAX - 1), false),
        ("-9223372036854775808", json!(i64::MIN + 1), false),
        ("-1", json!(u64::MAX), false),
        ("1", json!(1.0), true),
        ("1.0", json!(1), true),
        ("0", json!(-0.0), true),
        ("1", json!(1.5), false),
    ] {
        for written in [expected.to_owned(), format!("{{ $exactly: {expected} }}")] {
            let told = told(&format!("      emits: [{{ data: {written} }}]\n"), &came(vec![json!({ "data": found })]));
            assert_eq!(told.is_empty(), is_equal, "{written} beside {found}: {told:?}");
        }
    }
}

#[test]
fn a_missing_and_an_unexpected_emit_are_told() {
    let (a, b) = (json!({ "to": "a" }), json!({ "to": "b" }));
    let expect = "      emits: [{ to: a }, { to: b }]\n";
    assert_eq!(told(expect, &came(vec![a.clone()])), ["emits[1]: expected one more, found nothing"]);
    let more = told(expect, &came(vec![a.clone(), b.clone(), a.clone()]));
    assert_eq!(more, ["emits: expected no more than 2, found {\"to\":\"a\"}"]);
    assert_eq!(told(expect, &came(vec![b, a])).len(), 2, "the emits of one plugin have an order");
    assert_eq!(told("      emits: []\n", &came(vec![json!({ "to": "a" })])).len(), 1);
}

#[test]
fn an_outcome_is_done_unless_another_is_named() {
    let rejected = CameOutcome { word: "rejected".to_owned(), error: Some("no total".to_owned()), after_ms: None };
    let came = CameOut { outcomes: Some(vec![rejected]), ..came(vec![]) };
    assert_eq!(told("      emits: []\n", &came), ["outcome: expected done, found rejected: no total"]);
    assert_eq!(told("      outcome: { rejected: total }\n", &came), Vec::<String>::new());
    let other = told("      outcome: { rejected: { $exactly: total } }\n", &came);
    assert_eq!(other, ["outcome: expected \"total\", found \"no total\""]);
}

const WHOLE: &str = r#"version: 1
tests:
  # The first.
  - name: payments are captured
    events:
      - { subject: orders.created, event: { type: OrderCreated } }   # an order
    expect:
      emits:
        - { to: b, data: { n: 1 } }
        - { data: $any }
    # Behind it.

  - name: nothing is expected yet
    events: [{ subject: orders.created, payload: "${not replaced}" }]
"#;

#[test]
fn what_came_is_put_together_with_what_was_expected_whatever_the_order() {
    let cases = load(WHOLE, &runtime()).unwrap();
    let emits = vec![json!({ "to": "b", "data": { "n": 1 } }), json!({ "to": "c", "data": 2 })];
    let came = CameOut { emits: emits.clone(), dead_letters: Some(vec![]), ..CameOut::default() };
    assert_eq!(cases[0].expect.as_ref().unwrap().compare(&came), vec![]);
    let letter = json!({ "route": "payments", "reason": "trap", "error": "boom" });
    let came = CameOut { emits, dead_letters: Some(vec![letter]), ..CameOut::default() };
    let told = cases[0].expect.as_ref().unwrap().compare(&came);
    assert_eq!(told.len(), 1, "a dead letter that nobody expects is told: {told:?}");
}

#[test]
fn an_update_keeps_comments_and_the_shape_of_what_was_expected() {
    let cases = load(WHOLE, &runtime()).unwrap();
    let letter = json!({ "route": "payments", "reason": "trap", "error": "boom: at last\n  at f", "attempts": 5 });
    let came = CameOut {
        emits: vec![json!({ "to": "b", "type": "B", "data": { "n": 2, "m": 3 } }), json!({ "to": "a", "data": "$5" })],
        dead_letters: Some(vec![letter]),
        ..CameOut::default()
    };
    let all: Vec<_> = cases.iter().map(|case| (case.line, &came)).collect();
    let rewritten = update(WHOLE, &cases, &all, &runtime()).unwrap();
    assert_eq!(
        rewritten,
        r#"version: 1
tests:
  # The first.
  - name: payments are captured
    events:
      - { subject: orders.created, event: { type: OrderCreated } }   # an order
    expect:
      emits:
        - { to: a, data: { $exactly: $5 } }
        - { data: $any }
      dead_letters: [{ route: payments, reason: trap, error: "boom: at last" }]
    # Behind it.

  - name: nothing is expected yet
    events: [{ subject: orders.created, payload: "${not replaced}" }]
    expect:
      emits:
        - { to: b, type: B, data: { m: 3, n: 2 } }
        - { to: a, data: { $exactly: $5 } }
      dead_letters: [{ route: payments, reason: trap, error: "boom: at last" }]
"#
    );
    for case in load(&rewritten, &runtime()).unwrap() {
        assert_eq!(case.expect.unwrap().compare(&came), vec![], "{}", case.name);
    }
}

/// The text with a new expectation of its only case, which must be read again and hold.
fn updated(text: &str, came: &CameOut) -> String {
    let case = only(text);
    let rewritten = update(text, slice::from_ref(&case), &[(case.line, came)], &runtime()).unwrap();
    assert_eq!(only(&rewritten).expect.unwrap().compare(came), vec![], "{rewritten}");
    rewritten
}

fn ended(word: &str, error: &str) -> CameOut {
    let outcome = CameOutcome { word: word.to_owned(), error: Some(error.to_owned()), after_ms: None };
    CameOut { outcomes: Some(vec![outcome]), ..came(vec![]) }
}

#[test]
fn an_update_says_that_an_event_is_skipped_and_not_why() {
    let text = updated(CASE, &ended("skipped", "✗ not admitted"));
    assert!(text.ends_with("    expect:\n      outcome: skipped\n      emits: []\n"), "{text}");
    let text = updated(CASE, &ended("rejected", "no total"));
    assert!(text.contains("      outcome: { rejected: no total }\n"), "{text}");
}

#[test]
fn an_update_finds_the_lines_of_a_log_in_their_order_or_expects_others() {
    let case =
        |log: &str| CASE.replace("      emits:\n        - { to: payments.captured, data: { amount: 5 } }\n", log);
    let expected = "      log: [begun, { $exactly: ended }]\n";
    for (lines, log) in [
        // Another amount was expected, and the log is as it was.
        (vec!["it has begun", "ended"], "      log:\n        - begun\n        - { $exactly: ended }\n"),
        (vec!["ended", "it has begun"], "      log:\n        - { $exactly: ended }\n        - begun\n"),
        (vec!["ended", "", "not at all"], "      log:\n        - ended\n        - not at all\n"),
        // There is nothing that could be expected of it.
        (vec![], "      outcome: trap\n"),
        (vec![""], "      outcome: trap\n"),
    ] {
        let log_came = lines.iter().map(|line| (*line).to_owned()).collect();
        let came = CameOut { log: log_came, ..ended("trap", "") };
        let text = updated(&case(expected), &came);
        assert!(text.ends_with(log), "{lines:?}:\n{text}");
    }
}

#[test]
fn an_update_expects_nothing_that_the_file_could_not_say() {
    let fresh = CASE.split("    expect:").next().unwrap();
    let came = CameOut {
        emits: vec![json!({ "to": "payments.captured", "type": "P", "data": null })],
        // What was there at the beginning was deleted.
        changed_state: Some(json!({})),
        changed_documents: Some(json!({ "orders": {} })),
        documents: json!({ "orders": {} }),
        ..came(vec![])
    };
    let text = updated(fresh, &came);
    let expected = "    expect:\n      outcome: done\n      emits: [{ to: payments.captured, type: P }]\n";
    assert!(text.ends_with(expected), "{text}");
    let named = CASE.replace("{ to: payments.captured, data: { amount: 5 } }", "{ data: 5 }");
    let text = updated(&named, &came);
    assert!(text.contains("      emits: [{ data: { $exactly: null } }]\n"), "{text}");
}

#[test]
fn an_answer_fits_what_its_stars_leave_open() {
    let answer = |request: &str| super::GivenAnswer {
        request: request.to_owned(),
        status: 200,
        headers: Vec::new(),
        body: String::new(),
        times: None,
    };
    for (pattern, fits) in [
        ("GET https://a.example/x", true),
        ("GET https://a.example/*", true),
        ("* https://a.example/x", true),
        ("* https://*/x", true),
        ("GET *a*x", true),
        ("*", true),
        ("GET https://a.example/x*", true),
        ("GET https://a.example/", false),
        ("POST *", false),
        ("GET *b*", false),
        ("GET *y", false),
    ] {
        assert_eq!(answer(pattern).fits("GET https://a.example/x"), fits, "{pattern}");
    }
}

#[test]
fn a_case_on_one_line_is_not_rewritten() {
    let text = "version: 1\ntests:\n  - { name: a, plugin: capture, events: [{ event: { type: A } }], expect: { outcome: trap } }\n";
    let refused = not_updated(text, &came(vec![]));
    assert!(refused.starts_with("line 3: the case is written as `{ … }`"), "{refused}");
}

fn not_updated(text: &str, came: &CameOut) -> String {
    let case = only(text);
    update(text, slice::from_ref(&case), &[(case.line, came)], &runtime()).unwrap_err().to_string()
}

#[test]
fn there_is_no_update_that_would_be_refused_or_fail_again() {
    let fresh = CASE.split("    expect:").next().unwrap();
    assert_eq!(
        not_updated(fresh, &came(vec![json!({})])),
        "what came out cannot be written down so that it would be read again: tests[0].expect.emits[0]: an emit of which nothing \
         is expected; name `to`, `type` or `data`"
    );
    let contradictory = CameOut { changed_state: Some(json!({ "count": 1 })), ..came(vec![]) };
    assert_eq!(
        not_updated(fresh, &contradictory),
        "with what came out written down, `a payment is captured` would fail again: state.count: expected 1, found nothing"
    );
}
