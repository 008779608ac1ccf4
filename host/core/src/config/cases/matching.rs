//! What came out beside what was expected.
//!
//! Plain functions on plain values. What was not expected in any order is put together so that as much as possible fits, and only
//! the rest is told: a case never fails because of the order in which it was written down.

use serde_json::{Map, Number, Value};

use super::expected::{Expected, Phrase};
use super::{Expect, ExpectedDeadLetter, ExpectedEmit, ExpectedOutcome, ExpectedRequest};

/// What came out of a case. Emits and dead letters are JSON objects with the names of the expectation's fields.
#[derive(Debug, Clone, Default)]
pub struct CameOut {
    /// How each call ended; of a case of one plugin.
    pub outcomes: Option<Vec<CameOutcome>>,
    pub emits: Vec<Value>,
    pub requests: Vec<Value>,
    /// All of it, as the expectation has it.
    pub state: Value,
    pub documents: Value,
    /// The part that the case has changed; nothing if it has changed none.
    pub changed_state: Option<Value>,
    pub changed_documents: Option<Value>,
    pub log: Vec<String>,
    /// Of a case of the whole.
    pub dead_letters: Option<Vec<Value>>,
    pub routes: Value,
}

/// How a call ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CameOutcome {
    pub word: String,
    pub error: Option<String>,
    pub after_ms: Option<u64>,
}

/// One place where it is not as expected.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Mismatch {
    /// For example `emits[0].data.total`.
    pub at: String,
    pub expected: String,
    pub found: String,
}

/// What of a value is shown on a line.
const SHOWN_CHARS: usize = 400;

// === impl Expect ===

impl Expect {
    /// Everything that is not as expected, in the order of the fields.
    pub fn compare(&self, came: &CameOut) -> Vec<Mismatch> {
        let mut found = Vec::new();
        if let Some(outcomes) = &came.outcomes {
            compare_outcomes(self.outcomes.as_deref(), outcomes, &mut found);
        }
        let in_order = came.outcomes.is_some();
        if let Some(emits) = &self.emits {
            compare_lists("emits", emits, &came.emits, in_order, &ExpectedEmit::compare, &mut found);
        }
        if let Some(requests) = &self.requests {
            compare_lists("requests", requests, &came.requests, in_order, &ExpectedRequest::compare, &mut found);
        }
        for (name, expected, value) in
            [("state", &self.state, &came.state), ("documents", &self.documents, &came.documents)]
        {
            expected.iter().for_each(|expected| expected.compare(Some(value), name, &mut found));
        }
        if let Some(log) = &self.log {
            compare_log(log, &came.log, &mut found);
        }
        if let Some(letters) = &came.dead_letters {
            let expected = self.dead_letters.as_deref().unwrap_or_default();
            compare_lists("dead_letters", expected, letters, false, &ExpectedDeadLetter::compare, &mut found);
        }
        self.routes.iter().for_each(|expected| expected.compare(Some(&came.routes), "routes", &mut found));
        found
    }
}

fn compare_outcomes(expected: Option<&[ExpectedOutcome]>, came: &[CameOutcome], tell: &mut Vec<Mismatch>) {
    let done = ExpectedOutcome { word: "done".to_owned(), error: None, after: None };
    let expected = expected.unwrap_or(std::slice::from_ref(&done));
    if expected.len() != 1 && expected.len() != came.len() {
        let (expected, found) = (format!("{} outcomes", expected.len()), format!("{} events", came.len()));
        return tell.push(Mismatch { at: "outcome".to_owned(), expected, found });
    }
    for (number, one) in came.iter().enumerate() {
        let at = if came.len() == 1 { "outcome".to_owned() } else { format!("outcome[{number}]") };
        let expected = expected.get(number).or(expected.first());
        expected.iter().for_each(|expected| expected.compare(one, &at, tell));
    }
}

// === impl ExpectedOutcome ===

impl ExpectedOutcome {
    fn compare(&self, came: &CameOutcome, at: &str, tell: &mut Vec<Mismatch>) {
        if self.word != came.word {
            let error = came.error.as_ref().map(|error| format!(": {}", shown(error))).unwrap_or_default();
            let (expected, found) = (self.word.clone(), format!("{}{error}", came.word));
            return tell.push(Mismatch { at: at.to_owned(), expected, found });
        }
        let text = came.error.as_deref().unwrap_or_default();
        self.error.iter().for_each(|phrase| phrase.compare(text, at, tell));
        if let Some(after) = self.after.filter(|after| Some(after.as_millis() as u64) != came.after_ms) {
            let found = came.after_ms.map_or("no delay".to_owned(), |after| format!("{after}ms"));
            tell.push(Mismatch { at: format!("{at}.after"), expected: format!("{}ms", after.as_millis()), found });
        }
    }
}

// === impl ExpectedEmit ===

impl ExpectedEmit {
    pub(super) fn compare(&self, emit: &Value, tell: &mut Vec<Mismatch>, at: &str) {
        compare_fields(&self.0, emit, at, tell);
    }
}

// === impl ExpectedRequest ===

impl ExpectedRequest {
    pub(super) fn compare(&self, request: &Value, tell: &mut Vec<Mismatch>, at: &str) {
        compare_fields(&self.0, request, at, tell);
    }
}

// === impl ExpectedDeadLetter ===

impl ExpectedDeadLetter {
    pub(super) fn compare(&self, letter: &Value, tell: &mut Vec<Mismatch>, at: &str) {
        compare_fields(&self.fields, letter, at, tell);
        let text = letter.get("error").and_then(Value::as_str).unwrap_or_default();
        self.error.iter().for_each(|phrase| phrase.compare(text, &format!("{at}.error"), tell));
    }
}

// === impl Phrase ===

impl Phrase {
    pub fn is_in(&self, text: &str) -> bool {
        match self {
            Phrase::Contained(part) => text.contains(part),
            Phrase::Exactly(whole) => text == whole,
        }
    }

    fn compare(&self, text: &str, at: &str, tell: &mut Vec<Mismatch>) {
        if !self.is_in(text) {
            tell.push(Mismatch { at: at.to_owned(), expected: self.describe(), found: format!("{:?}", shown(text)) });
        }
    }

    fn describe(&self) -> String {
        match self {
            Phrase::Contained(part) => format!("a text with {part:?} in it"),
            Phrase::Exactly(whole) => format!("{whole:?}"),
        }
    }
}

// === impl Expected ===

impl Expected {
    /// Whether a value is as expected; `None` is one that is not there.
    pub fn admits(&self, value: Option<&Value>) -> bool {
        let mut told = Vec::new();
        self.compare(value, "", &mut told);
        told.is_empty()
    }

    fn compare(&self, value: Option<&Value>, at: &str, tell: &mut Vec<Mismatch>) {
        let mut differs = |expected: String| {
            let found = value.map_or("nothing".to_owned(), |value| shown(&value.to_string()));
            tell.push(Mismatch { at: at.to_owned(), expected, found });
        };
        match (self, value) {
            (Expected::Any, Some(_)) | (Expected::Absent, None) => {}
            (Expected::Any, None) => differs("any value".to_owned()),
            (Expected::Absent, Some(_)) => differs("nothing".to_owned()),
            (Expected::Contains(part), Some(Value::String(text))) if text.contains(part) => {}
            (Expected::Contains(part), _) => differs(format!("a text with {part:?} in it")),
            (Expected::Exactly(wanted), _) => compare_exactly(wanted, value, at, tell),
            (Expected::Value(wanted), Some(found)) if is_equal(wanted, found) => {}
            (Expected::Value(wanted), _) => differs(shown(&wanted.to_string())),
            (Expected::Members(members), Some(Value::Object(object))) => {
                for (name, expected) in members {
                    expected.compare(object.get(name), &member(at, name), tell);
                }
            }
            (Expected::Members(_), _) => differs(format!("an object: {}", shown(&self.describe().to_string()))),
            (Expected::List(items), Some(Value::Array(found))) if items.len() == found.len() => {
                for (number, (expected, found)) in items.iter().zip(found).enumerate() {
                    expected.compare(Some(found), &format!("{at}[{number}]"), tell);
                }
            }
            (Expected::List(items), _) => {
                differs(format!("a list of {}: {}", items.len(), shown(&self.describe().to_string())));
            }
        }
    }

    /// As it would be written.
    pub(super) fn describe(&self) -> Value {
        let operator = |word: &str, value: Value| Value::Object(Map::from_iter([(word.to_owned(), value)]));
        match self {
            Expected::Exactly(value) => operator("$exactly", value.clone()),
            Expected::Contains(text) => operator("$contains", text.clone().into()),
            Expected::Any => "$any".into(),
            Expected::Absent => "$absent".into(),
            Expected::Members(members) => members.iter().map(|(name, it)| (name.clone(), it.describe())).collect(),
            Expected::List(items) => items.iter().map(Expected::describe).collect(),
            Expected::Value(value) => value.clone(),
        }
    }
}

/// Told where it differs, not as a whole.
fn compare_exactly(wanted: &Value, found: Option<&Value>, at: &str, tell: &mut Vec<Mismatch>) {
    match (wanted, found) {
        (Value::Object(wanted), Some(Value::Object(found))) => {
            for (name, value) in wanted {
                compare_exactly(value, found.get(name), &member(at, name), tell);
            }
            for (name, value) in found.iter().filter(|(name, _)| !wanted.contains_key(*name)) {
                let (at, found) = (member(at, name), shown(&value.to_string()));
                tell.push(Mismatch { at, expected: "nothing".to_owned(), found });
            }
        }
        (Value::Array(wanted), Some(Value::Array(found))) if wanted.len() == found.len() => {
            for (number, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                compare_exactly(wanted, Some(found), &format!("{at}[{number}]"), tell);
            }
        }
        (wanted, Some(found)) if is_equal(wanted, found) => {}
        (wanted, found) => {
            let found = found.map_or("nothing".to_owned(), |found| shown(&found.to_string()));
            tell.push(Mismatch { at: at.to_owned(), expected: shown(&wanted.to_string()), found });
        }
    }
}

/// `1` and `1.0` are one number; two integers are compared as such, because neighbours among the large ones are one `f64`.
fn is_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (integer(a), integer(b)) {
            (Some(a), Some(b)) => a == b,
            _ => a.as_f64().is_some() && a.as_f64() == b.as_f64(),
        },
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| is_equal(a, b)))
        }
        (a, b) => a == b,
    }
}

fn integer(number: &Number) -> Option<i128> {
    number.as_u64().map(i128::from).or_else(|| number.as_i64().map(i128::from))
}

fn member(at: &str, name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if plain { format!("{at}.{name}") } else { format!("{at}[{name:?}]") }
}

fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn compare_fields(fields: &[(&'static str, Expected)], object: &Value, at: &str, tell: &mut Vec<Mismatch>) {
    for (name, expected) in fields {
        expected.compare(object.get(name), &format!("{at}.{name}"), tell);
    }
}

// --- lists -------------------------------------------------------------------------------------------------------------

type Fits<'f, E> = dyn Fn(&E, &Value, &mut Vec<Mismatch>, &str) + 'f;

fn compare_lists<E>(
    name: &str,
    expected: &[E],
    found: &[Value],
    in_order: bool,
    fits: &Fits<'_, E>,
    tell: &mut Vec<Mismatch>,
) {
    let (mut missing, mut unexpected): (Vec<usize>, Vec<usize>) = if in_order {
        ((0..expected.len()).collect(), (0..found.len()).collect())
    } else {
        let fitting = |e: &E, f: &Value| {
            let mut told = Vec::new();
            fits(e, f, &mut told, "");
            told.is_empty()
        };
        unmatched(expected, found, &fitting)
    };
    // What is left belongs together as well as it can: told field by field.
    let together = missing.len().min(unexpected.len());
    for (e, f) in missing.drain(..together).zip(unexpected.drain(..together)) {
        fits(&expected[e], &found[f], tell, &format!("{name}[{e}]"));
    }
    for e in missing {
        let (at, found) = (format!("{name}[{e}]"), "nothing".to_owned());
        tell.push(Mismatch { at, expected: "one more".to_owned(), found });
    }
    for f in unexpected {
        let more = if expected.is_empty() { "none".to_owned() } else { format!("no more than {}", expected.len()) };
        tell.push(Mismatch { at: name.to_owned(), expected: more, found: shown(&found[f].to_string()) });
    }
}

/// The places on both sides that are left when as many as possible are put together.
pub(super) fn unmatched<E>(
    expected: &[E],
    found: &[Value],
    fits: &dyn Fn(&E, &Value) -> bool,
) -> (Vec<usize>, Vec<usize>) {
    let fitting: Vec<Vec<usize>> =
        expected.iter().map(|e| (0..found.len()).filter(|f| fits(e, &found[*f])).collect()).collect();
    let mut taken: Vec<Option<usize>> = vec![None; found.len()];
    let missing = (0..expected.len()).filter(|e| !place(*e, &fitting, &mut taken, &mut vec![false; found.len()]));
    let missing: Vec<usize> = missing.collect();
    (missing, (0..found.len()).filter(|f| taken[*f].is_none()).collect())
}

/// Finds a place for one, moving others to another place of theirs where that helps.
fn place(e: usize, fitting: &[Vec<usize>], taken: &mut [Option<usize>], seen: &mut [bool]) -> bool {
    for &f in &fitting[e] {
        if std::mem::replace(&mut seen[f], true) {
            continue;
        }
        if taken[f].is_none_or(|other| place(other, fitting, taken, seen)) {
            taken[f] = Some(e);
            return true;
        }
    }
    false
}

pub(super) fn compare_log(expected: &[Phrase], log: &[String], tell: &mut Vec<Mismatch>) {
    let mut lines = log.iter();
    for (number, phrase) in expected.iter().enumerate() {
        if !lines.any(|line| phrase.is_in(line)) {
            let found = if log.is_empty() { "nothing".to_owned() } else { shown(&log.join(" | ")) };
            tell.push(Mismatch { at: format!("log[{number}]"), expected: phrase.describe(), found });
            return;
        }
    }
}
