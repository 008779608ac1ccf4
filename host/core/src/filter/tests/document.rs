//! Every example of `docs/filters.md` is run.
//!
//! The convention: a block opened with ```` ```yaml filter ```` is a pattern as it stands in `runtime.yaml`. The blocks after
//! it, opened with ```` ```json admitted ```` or ```` ```json not-admitted ````, hold one event a line. A pattern needs both. A block opened with
//! ```` ```yaml refused ```` is a pattern that must not compile.

use saphyr_parser::{Event as Yaml, Parser, ScalarStyle};

use super::*;

const DOCUMENT: &str = include_str!("../../../../../docs/filters.md");

#[test]
fn every_example_of_the_document_does_what_it_says() {
    let blocks = blocks(DOCUMENT);
    let mut filter: Option<(&str, Filter)> = None;
    let mut seen = (0, 0, 0);
    for (info, body) in &blocks {
        match *info {
            "yaml filter" => {
                seen.0 += 1;
                filter = Some((body, compiled(&yaml(body))));
            }
            "json admitted" | "json not-admitted" => {
                let wanted = *info == "json admitted";
                if wanted {
                    seen.1 += 1
                } else {
                    seen.2 += 1
                }
                let (pattern, filter) = filter.as_ref().expect("events come after their filter");
                for line in body.lines() {
                    let written = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                    assert_eq!(admitted(filter, &written), wanted, "{pattern}{line}");
                }
            }
            "yaml refused" => assert!(Filter::compile(&yaml(body)).is_err(), "{body}"),
            "text" | "sh" => {}
            other => panic!("a block `{other}` would go unchecked"),
        }
    }
    assert!(seen.0 >= 15 && seen.0 == seen.1 && seen.0 == seen.2, "each filter has events of both kinds: {seen:?}");
}

#[test]
fn the_document_names_every_operator() {
    for operator in crate::filter::suggest::OPERATORS.iter().chain(&["$or"]) {
        assert!(DOCUMENT.contains(&format!("`{operator}`")), "{operator}");
    }
}

/// The fenced blocks, as info string and body.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let mut parts = text.split("```");
    parts.next();
    let fenced = parts.step_by(2);
    fenced.map(|block| block.split_once('\n').expect("a block opens with a line of its own")).collect()
}

/// The YAML of the document as a value: plain scalars by the JSON schema, all others text.
fn yaml(text: &str) -> Value {
    let mut events = Parser::new_from_str(text).map(|event| event.expect("valid YAML").0);
    events.find(|event| matches!(event, Yaml::DocumentStart(_)));
    let first = events.next().expect("a document has content");
    node(first, &mut events)
}

fn node<'y>(event: Yaml<'y>, events: &mut impl Iterator<Item = Yaml<'y>>) -> Value {
    match event {
        Yaml::Scalar(text, ScalarStyle::Plain, ..) => {
            serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text.as_ref()))
        }
        Yaml::Scalar(text, ..) => Value::from(text.as_ref()),
        Yaml::SequenceStart(..) => {
            let mut list = Vec::new();
            while let Some(event) = events.next().filter(|event| *event != Yaml::SequenceEnd) {
                list.push(node(event, events));
            }
            Value::from(list)
        }
        Yaml::MappingStart(..) => {
            let mut object = serde_json::Map::new();
            while let Some(Yaml::Scalar(key, ..)) = events.next() {
                let value = events.next().expect("a key has a value");
                object.insert(key.into_owned(), node(value, events));
            }
            Value::from(object)
        }
        other => panic!("the document uses no {other:?}"),
    }
}
