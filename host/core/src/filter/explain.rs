//! Why a filter admits an event, or does not: every matcher with what it saw.
//!
//! Where a nested pattern meets an array, the element shown is the one that is admitted, or else the one that comes nearest.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::matcher::Matcher;
use super::pattern::{EventPattern, Node, ObjectPattern};
use crate::event::Event;

/// The answer for one event. Written out, it is a tree of lines that begin with `✓` or `✗`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What [`Filter::admits`](super::Filter::admits) says; for a branch of a `$or`, whether it holds.
    pub admitted: bool,
    /// All of them must hold.
    pub verdicts: Vec<Verdict>,
}

/// The verdict on one part of the pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Verdict {
    Field(FieldVerdict),
    Or(OrVerdict),
}

/// A field and its list of matchers, of which one must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldVerdict {
    /// Where in the event: `type`, `data.items[1].sku`.
    pub path: String,
    /// The value as JSON text, shortened; `None` if the field is absent.
    pub seen: Option<String>,
    pub matched: bool,
    pub matchers: Vec<MatcherVerdict>,
}

/// One matcher of a field's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MatcherVerdict {
    /// The operator as text: `numeric >= 1000`.
    pub operator: String,
    pub matched: bool,
}

/// A `$or`, of whose branches one must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrVerdict {
    /// The object that the branches speak of; empty for the event itself.
    pub path: String,
    pub matched: bool,
    pub branches: Vec<Explanation>,
}

pub(super) fn event(pattern: &EventPattern, event: &Event, data: Option<&Value>) -> Explanation {
    let mut verdicts = Vec::new();
    for (name, matchers) in &pattern.attributes {
        let text = event.attribute(name);
        let seen = text.map(|text| shortened(&Value::from(text)));
        verdicts.push(field(name, seen, matchers, |matcher| matcher.admits_text(text)));
    }
    if let Some(pattern) = &pattern.data {
        node(pattern, data, "data", &mut verdicts);
    }
    for branches in &pattern.choices {
        verdicts.push(choice("", branches.iter().map(|branch| self::event(branch, event, data))));
    }
    concluded(verdicts)
}

fn node(pattern: &Node, value: Option<&Value>, path: &str, verdicts: &mut Vec<Verdict>) {
    match pattern {
        Node::Leaf(matchers) => {
            verdicts.push(field(path, value.map(shortened), matchers, |matcher| matcher.admits(value)));
        }
        Node::Object(pattern) => verdicts.extend(object(pattern, value, path)),
    }
}

fn object(pattern: &ObjectPattern, value: Option<&Value>, path: &str) -> Vec<Verdict> {
    match value {
        Some(Value::Object(_)) => fields_of(pattern, value, path),
        Some(Value::Array(elements)) => {
            let mut nearest = None;
            nearest_of(pattern, elements, path, &mut nearest);
            nearest.unwrap_or_else(|| fields_of(pattern, None, path))
        }
        _ => fields_of(pattern, None, path),
    }
}

/// Goes through the objects of an array until one holds, and leaves that one, or the one with the fewest misses.
fn nearest_of(pattern: &ObjectPattern, elements: &[Value], path: &str, nearest: &mut Option<Vec<Verdict>>) {
    for (index, element) in elements.iter().enumerate() {
        if nearest.as_deref().is_some_and(|verdicts| misses(verdicts) == 0) {
            return;
        }
        let path = format!("{path}[{index}]");
        match element {
            Value::Object(_) => {
                let verdicts = fields_of(pattern, Some(element), &path);
                if nearest.as_deref().is_none_or(|best| misses(&verdicts) < misses(best)) {
                    *nearest = Some(verdicts);
                }
            }
            Value::Array(inner) => nearest_of(pattern, inner, &path, nearest),
            _ => {}
        }
    }
}

fn fields_of(pattern: &ObjectPattern, value: Option<&Value>, path: &str) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for (name, pattern) in &pattern.fields {
        node(pattern, value.and_then(|object| object.get(&**name)), &below(path, name), &mut verdicts);
    }
    for branches in &pattern.choices {
        let explained = branches.iter().map(|branch| concluded(fields_of(branch, value, path)));
        verdicts.push(choice(path, explained));
    }
    verdicts
}

fn field(path: &str, seen: Option<String>, matchers: &[Matcher], admits: impl Fn(&Matcher) -> bool) -> Verdict {
    let verdict = |matcher| MatcherVerdict { operator: format!("{matcher}"), matched: admits(matcher) };
    let matchers: Vec<_> = matchers.iter().map(verdict).collect();
    let matched = matchers.iter().any(|matcher| matcher.matched);
    Verdict::Field(FieldVerdict { path: path.to_owned(), seen, matched, matchers })
}

fn choice(path: &str, branches: impl Iterator<Item = Explanation>) -> Verdict {
    let branches: Vec<_> = branches.collect();
    let matched = branches.iter().any(|branch| branch.admitted);
    Verdict::Or(OrVerdict { path: path.to_owned(), matched, branches })
}

fn concluded(verdicts: Vec<Verdict>) -> Explanation {
    Explanation { admitted: misses(&verdicts) == 0, verdicts }
}

fn misses(verdicts: &[Verdict]) -> usize {
    verdicts.iter().filter(|verdict| !verdict.matched()).count()
}

fn below(path: &str, name: &str) -> String {
    let is_plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if is_plain { format!("{path}.{name}") } else { format!("{path}[{name:?}]") }
}

/// A value as one line that is safe to show.
fn shortened(value: &Value) -> String {
    const LONGEST: usize = 120;
    let text = value.to_string();
    // JSON escapes the low control characters itself; the others could still steer a terminal.
    let mut shown: String = text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

// === impl Verdict ===

impl Verdict {
    pub fn matched(&self) -> bool {
        match self {
            Verdict::Field(field) => field.matched,
            Verdict::Or(or) => or.matched,
        }
    }
}

// === impl Explanation ===

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let admitted = if self.admitted { "admitted" } else { "not admitted" };
        write!(f, "{} {admitted}", mark(self.admitted))?;
        self.verdicts.iter().try_for_each(|verdict| verdict.write_lines(f, 1))
    }
}

impl Verdict {
    fn write_lines(&self, f: &mut fmt::Formatter<'_>, level: usize) -> fmt::Result {
        write!(f, "\n{:indent$}{} ", "", mark(self.matched()), indent = level * 2)?;
        match self {
            Verdict::Field(field) => field.write_lines(f, level + 1),
            Verdict::Or(or) => or.write_lines(f, level + 1),
        }
    }
}

impl FieldVerdict {
    fn write_lines(&self, f: &mut fmt::Formatter<'_>, level: usize) -> fmt::Result {
        write!(f, "{} is {}", self.path, self.seen.as_deref().unwrap_or("absent"))?;
        for matcher in &self.matchers {
            write!(f, "\n{:indent$}{} {}", "", mark(matcher.matched), matcher.operator, indent = level * 2)?;
        }
        Ok(())
    }
}

impl OrVerdict {
    fn write_lines(&self, f: &mut fmt::Formatter<'_>, level: usize) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str("$or")?
        } else {
            write!(f, "{}.$or", self.path)?
        }
        for (index, branch) in self.branches.iter().enumerate() {
            write!(f, "\n{:indent$}{} branch {}", "", mark(branch.admitted), index + 1, indent = level * 2)?;
            branch.verdicts.iter().try_for_each(|verdict| verdict.write_lines(f, level + 1))?;
        }
        Ok(())
    }
}

fn mark(holds: bool) -> char {
    if holds { '✓' } else { '✗' }
}
