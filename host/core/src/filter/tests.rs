//! The filter language: pattern and event on one side, expectation on the other.

mod agreement;
mod document;
mod explanations;
mod operators;
mod problems;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;

/// An event written as a structured-mode CloudEvent; what is left out of the required attributes is filled in.
fn event(written: &Value) -> (Event, Option<Value>) {
    let text = |name: &str| written.get(name).map(|value| value.as_str().expect("attributes are text").to_owned());
    let core = ["id", "source", "type", "time", "subject", "datacontenttype", "dataschema", "data"];
    let extensions = written.as_object().expect("an event is an object").keys();
    let event = Event {
        id: text("id").unwrap_or_else(|| "e-1".to_owned()),
        source: text("source").unwrap_or_else(|| "/shop".to_owned()),
        kind: text("type").unwrap_or_else(|| "OrderCreated".to_owned()),
        time: text("time"),
        subject: text("subject"),
        datacontenttype: text("datacontenttype"),
        dataschema: text("dataschema"),
        version: None,
        extensions: extensions
            .filter(|name| !core.contains(&name.as_str()))
            .filter_map(|name| text(name).map(|value| (name.clone(), value)))
            .collect(),
        data: Bytes::new(),
    };
    (event, written.get("data").cloned())
}

fn compiled(pattern: &Value) -> Filter {
    Filter::compile(pattern).unwrap_or_else(|problems| panic!("{pattern}: {problems:?}"))
}

/// What the filter says, after checking that both walks say so.
fn admitted(filter: &Filter, written: &Value) -> bool {
    let (event, data) = event(written);
    let admitted = filter.admits(&event, data.as_ref());
    let explanation = filter.explain(&event, data.as_ref());
    assert_eq!(explanation.admitted, admitted, "{written}\n{explanation}");
    admitted
}

/// Checks one pattern for the field `data.x` against values of that field.
fn check(matchers: Value, admits: &[Value], refuses: &[Value]) {
    let filter = compiled(&json!({ "data": { "x": matchers } }));
    for value in admits {
        assert!(admitted(&filter, &json!({ "data": { "x": value } })), "{matchers} must admit {value}");
    }
    for value in refuses {
        assert!(!admitted(&filter, &json!({ "data": { "x": value } })), "{matchers} must not admit {value}");
    }
}
