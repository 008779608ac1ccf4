//! Values of a case: those that are given, and those that are expected.
//!
//! An expectation is written as the value itself. An object may have more members than are named, because a case is about
//! something and not about everything; a list has the same length. Words that begin with `$` say more, or less: `$exactly`,
//! `$contains`, `$any`, `$absent`. A member of the data that is itself called `$…` is written below `$exactly`.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::super::interpolate::Secrets;
use super::super::leaf::Span;
use super::super::read::{Reader, Written, describe};
use super::super::words;
use super::super::yaml::{Entry, Kind, Node};
use crate::failure::FailureKind;

/// A value that is given, taken as it stands: nothing in it is replaced.
#[derive(Debug)]
pub(super) struct Literal(pub(super) Value);

/// What a value must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// Equal, with nothing besides.
    Exactly(Value),
    /// A text that contains this one.
    Contains(String),
    /// There, whatever it is.
    Any,
    /// Not there.
    Absent,
    /// An object with at least these members.
    Members(Vec<(String, Expected)>),
    /// A list of so many.
    List(Vec<Expected>),
    /// Equal: a text, a number, a truth value, or nothing.
    Value(Value),
}

/// What a single attribute must be; read like [`Expected`].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Given(pub(super) Expected);

/// A text that must be found in another.
#[derive(Debug, Clone, PartialEq)]
pub enum Phrase {
    Contained(String),
    Exactly(String),
}

/// `expect.outcome`
#[derive(Debug)]
pub(super) enum Outcomes {
    All(Outcome),
    Each(Vec<Outcome>),
}

/// How one call must end.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) word: &'static str,
    pub(super) error: Option<Phrase>,
    pub(super) after: Option<Duration>,
}

/// The code of a reason.
#[derive(Debug)]
pub(super) struct Words(pub(super) &'static str);

/// The words that begin with `$`.
const OPERATORS: [&str; 4] = ["$exactly", "$contains", "$any", "$absent"];

const DONE: &str = "done";
const SKIPPED: &str = "skipped";

// --- values ------------------------------------------------------------------------------------------------------------

impl Written for Literal {
    fn read(node: &Node, _: &mut Reader<'_>) -> Option<Self> {
        literal(node).map(Self)
    }
}

pub(super) fn literal(node: &Node) -> Option<Value> {
    match &node.kind {
        Kind::Null => Some(Value::Null),
        Kind::Bool(value) => Some(Value::Bool(*value)),
        Kind::Number(number) => Some(Value::Number(number.clone())),
        Kind::Text(text) => Some(Value::String(text.clone())),
        Kind::List(items) => items.iter().map(literal).collect::<Option<_>>().map(Value::Array),
        Kind::Map(entries) => {
            let members = entries.iter().map(|entry| Some((entry.key.clone(), literal(&entry.value)?)));
            members.collect::<Option<_>>().map(Value::Object)
        }
        // It has been reported.
        Kind::Broken => None,
    }
}

impl Written for Expected {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Map(entries) => match entries.iter().find(|entry| entry.key.starts_with('$')) {
                Some(operator) => operation(operator, entries, reader),
                None => {
                    let read = |entry: &Entry| Some((entry.key.clone(), Self::read(&entry.value, reader)?));
                    let members: Vec<Option<_>> = entries.iter().map(read).collect();
                    members.into_iter().collect::<Option<_>>().map(Self::Members)
                }
            },
            Kind::List(items) => {
                let items: Vec<Option<_>> = items.iter().map(|item| Self::read(item, reader)).collect();
                items.into_iter().collect::<Option<_>>().map(Self::List)
            }
            Kind::Text(text) if text == "$any" => Some(Self::Any),
            Kind::Text(text) if text == "$absent" => Some(Self::Absent),
            Kind::Text(text) if text.starts_with('$') => unknown_operator(text, node, reader),
            _ => literal(node).map(Self::Value),
        }
    }
}

fn operation(operator: &Entry, entries: &[Entry], reader: &mut Reader<'_>) -> Option<Expected> {
    if let Some(other) = entries.iter().find(|entry| entry.key != operator.key) {
        let message = format!("`{}` stands alone, and not beside `{}`", operator.key, other.key);
        let hint = "a member whose name begins with `$` is written below `$exactly`";
        reader.report.error_with_hint(&other.key_place, message, hint);
        return None;
    }
    match operator.key.as_str() {
        "$exactly" => literal(&operator.value).map(Expected::Exactly),
        "$contains" => match &operator.value.kind {
            Kind::Text(text) if !text.is_empty() => Some(Expected::Contains(text.clone())),
            _ => reader.unexpected(&operator.value, "a text that is not empty", None),
        },
        "$any" | "$absent" => {
            let hint = format!("write the word alone: `{}`", operator.key);
            reader.report.error_with_hint(&operator.key_place, format!("`{}` has no value", operator.key), hint);
            None
        }
        unknown => {
            let node = Node { place: operator.key_place.clone(), kind: Kind::Text(unknown.to_owned()) };
            unknown_operator(unknown, &node, reader)
        }
    }
}

fn unknown_operator<T>(word: &str, node: &Node, reader: &mut Reader<'_>) -> Option<T> {
    let hint = match words::closest(word, OPERATORS) {
        Some(close) => format!("did you mean `{close}`?"),
        None => format!(
            "there are {}; a text that begins with `$` is `{{ $exactly: \"{word}\" }}`",
            words::enumerate(&OPERATORS)
        ),
    };
    reader.report.error_with_hint(&node.place, format!("unknown word {}", describe(node)), hint);
    None
}

impl Written for Given {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        Expected::read(node, reader).map(Self)
    }
}

impl Written for Phrase {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        const EXPECTED: &str = "a text, or `{ $exactly: TEXT }`";
        match &node.kind {
            Kind::Text(text) if text.is_empty() => {
                let hint = "an empty text is found in every other";
                reader.unexpected(node, EXPECTED, Some(hint.to_owned()))
            }
            Kind::Text(text) => Some(Self::Contained(text.clone())),
            Kind::Map(_) => match Expected::read(node, reader)? {
                Expected::Exactly(Value::String(text)) => Some(Self::Exactly(text)),
                Expected::Contains(text) => Some(Self::Contained(text)),
                _ => reader.unexpected(node, EXPECTED, None),
            },
            _ => reader.unexpected(node, EXPECTED, None),
        }
    }
}

// --- outcomes ----------------------------------------------------------------------------------------------------------

/// Whether a word says that and why a call failed; what it says can be expected only of these.
pub(super) fn is_reason(word: &str) -> bool {
    word != DONE && word != SKIPPED
}

fn outcome_words() -> impl Iterator<Item = &'static str> {
    [DONE, SKIPPED].into_iter().chain(FailureKind::ALL.into_iter().map(FailureKind::code))
}

/// Words of the SDKs and of other systems.
fn meant(word: &str) -> Option<&'static str> {
    match word {
        "ok" | "success" | "ack" | "acked" => Some(DONE),
        "skip" | "filtered" | "ignored" => Some(SKIPPED),
        "retry" | "retried" => Some("retry-requested"),
        "reject" => Some("rejected"),
        "panic" | "panicked" | "crash" | "error" => Some("trap"),
        "oom" => Some("out-of-memory"),
        _ => words::closest(word, outcome_words()),
    }
}

fn word(text: &str, node: &Node, reader: &mut Reader<'_>, known: impl Fn(&str) -> bool) -> Option<&'static str> {
    if let Some(word) = outcome_words().find(|word| *word == text && known(word)) {
        return Some(word);
    }
    let words: Vec<&str> = outcome_words().filter(|word| known(word)).collect();
    let hint = meant(text).filter(|word| known(word)).map(|word| format!("did you mean `{word}`?"));
    let expected = words::enumerate(&words).replace(" and ", " or ");
    reader.unexpected(node, &expected, hint)
}

impl Written for Words {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let text = reader.text(node, "the code of a reason", Secrets::Refused)?;
        word(&text, node, reader, is_reason).map(Self)
    }
}

impl Written for Outcomes {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::List(items) => {
                let items: Vec<Option<_>> = items.iter().map(|item| outcome(item, reader)).collect();
                items.into_iter().collect::<Option<_>>().map(Self::Each)
            }
            _ => outcome(node, reader).map(Self::All),
        }
    }
}

fn outcome(node: &Node, reader: &mut Reader<'_>) -> Option<Outcome> {
    let Kind::Map(entries) = &node.kind else {
        let text = reader.text(node, "a word like `done`, or `{ rejected: TEXT }`", Secrets::Refused)?;
        return word(&text, node, reader, |_| true).map(|word| Outcome { word, error: None, after: None });
    };
    let (mut found, mut after) = (None, None);
    for entry in entries {
        let key = Node { place: entry.key_place.clone(), kind: Kind::Text(entry.key.clone()) };
        if entry.key == "after" {
            after = Some(Span::<0>::read(&entry.value, reader)?.0);
        } else if found.is_some() {
            let message = "an event ends in one way";
            reader.report.error_with_hint(&entry.key_place, message, "for each event its own: a list");
            return None;
        } else {
            let word = word(&entry.key, &key, reader, is_reason)?;
            let error = match entry.value.kind {
                Kind::Null => None,
                _ => Some(Phrase::read(&entry.value, reader)?),
            };
            found = Some((word, error));
        }
    }
    let Some((word, error)) = found else {
        return reader.unexpected(node, "the code of a reason, like `{ rejected: TEXT }`", None);
    };
    Some(Outcome { word, error, after })
}

// --- JSON Schema -------------------------------------------------------------------------------------------------------

macro_rules! schema {
    ($name:ty, $title:literal, $schema:expr) => {
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                $title.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

schema!(Literal, "any value", json_schema!({ "title": "any value" }));
schema!(Expected, "expected value", json_schema!({ "title": "expected value", "type": "object" }));
schema!(Given, "expected value", json_schema!({ "title": "expected value" }));
schema!(
    Phrase,
    "part of a text",
    json_schema!({
        "title": "part of a text",
        "anyOf": [{ "type": "string", "minLength": 1 }, { "type": "object", "required": ["$exactly"] }],
    })
);
schema!(Words, "reason", json_schema!({ "title": "reason", "enum": codes() }));
schema!(Outcomes, "outcome", {
    let one = one_outcome();
    json_schema!({ "title": "outcome", "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
});

fn codes() -> Vec<&'static str> {
    FailureKind::ALL.into_iter().map(FailureKind::code).collect()
}

fn one_outcome() -> Value {
    let words: Vec<&str> = outcome_words().collect();
    let text = json!({ "type": ["string", "object", "null"] });
    let mut properties: serde_json::Map<String, Value> =
        codes().into_iter().map(|code| (code.to_owned(), text.clone())).collect();
    properties.insert("after".to_owned(), json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" }));
    json!({ "anyOf": [
        { "enum": words },
        { "type": "object", "properties": properties, "additionalProperties": false, "minProperties": 1 },
    ] })
}
