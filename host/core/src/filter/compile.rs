//! From what was written to the tree of `pattern`, collecting every problem on the way.
//!
//! A part with a problem leaves a hole in the tree; that is harmless, because a tree with problems is never used.

use serde_json::{Map, Value};

use super::matcher::Matcher;
use super::pattern::{Choice, EventPattern, Matchers, Node, ObjectPattern};
use super::problem::{PatternProblem, named};
use super::suggest;

mod operators;

/// Far deeper than any event that is accepted, and shallow enough for the stack.
const DEEPEST: usize = 128;

/// One walk over one pattern.
#[derive(Debug, Default)]
pub(super) struct Compiler {
    /// JSON pointer to what is being looked at.
    pointer: String,
    depth: usize,
    problems: Vec<PatternProblem>,
}

/// Where a list of matchers stands. Attributes are text, so that most other matchers could never hold there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Attribute,
    Data,
}

// === impl Compiler ===

impl Compiler {
    pub(super) fn finish(self) -> Result<(), Vec<PatternProblem>> {
        if self.problems.is_empty() { Ok(()) } else { Err(self.problems) }
    }

    /// The top level, and each branch of a `$or` there.
    pub(super) fn event_pattern(&mut self, written: &Value) -> EventPattern {
        let Some(object) = self.object(written, "an object of attributes and `data`") else {
            return EventPattern::default();
        };
        let (mut attributes, mut data, mut choices) = (Vec::new(), None, Vec::new());
        for (name, value) in object {
            self.within(name, |this| match name.as_str() {
                "data" => data = Some(this.node(value)),
                "$or" => choices.push(this.choice(value, Self::event_pattern)),
                _ => attributes.push((name.as_str().into(), this.attribute(name, value))),
            });
        }
        EventPattern { attributes: attributes.into(), data, choices: choices.into() }
    }

    fn attribute(&mut self, name: &str, value: &Value) -> Matchers {
        let is_attribute = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !is_attribute {
            let message = format!("`{name}` is not an attribute: their names are lower-case letters and digits");
            self.problem(message, Some(&suggest::attribute(name)));
            return Box::default();
        }
        if value.is_object() {
            let message = format!("the attribute `{name}` is text, so expected a list of matchers, found an object");
            self.problem(message, Some("fields of the payload stand under `data`"));
            return Box::default();
        }
        self.matchers(name, value, Place::Attribute)
    }

    /// What the pattern says about one place in the data: a list of matchers, or an object of further fields.
    fn node(&mut self, written: &Value) -> Node {
        match written {
            Value::Object(_) => Node::Object(self.object_pattern(written)),
            _ => Node::Leaf(self.matchers(self.last_name().as_str(), written, Place::Data)),
        }
    }

    fn object_pattern(&mut self, written: &Value) -> ObjectPattern {
        let Some(object) = self.object(written, "an object of fields") else { return ObjectPattern::default() };
        let (mut fields, mut choices) = (Vec::new(), Vec::new());
        for (name, value) in object {
            self.within(name, |this| match name.as_str() {
                "$or" => choices.push(this.choice(value, Self::object_pattern)),
                _ if name.eq_ignore_ascii_case("$or") => {
                    this.problem(format!("`{name}` is not a field"), Some("did you mean `$or`?"));
                }
                _ if this.is_operator_without_list(name, value) => {}
                _ => fields.push((name.as_str().into(), this.node(value))),
            });
        }
        ObjectPattern { fields: fields.into(), choices: choices.into() }
    }

    /// `$or`: EventBridge silently takes it for a field's name when it is not well formed; here it is always the operator.
    fn choice<T>(&mut self, written: &Value, branch: impl Fn(&mut Self, &Value) -> T) -> Choice<T> {
        let Value::Array(branches) = written else {
            let message = format!("`$or` takes a list of two or more objects, found {}", named(written));
            self.problem(message, None);
            return Box::default();
        };
        if branches.len() < 2 {
            let message = format!("`$or` takes two or more objects, found {}", branches.len());
            self.problem(message, Some("write the fields of a single one without `$or`"));
        }
        let compiled = branches.iter().enumerate();
        compiled.map(|(index, written)| self.within(&index.to_string(), |this| branch(this, written))).collect()
    }

    /// A field's list.
    fn matchers(&mut self, name: &str, written: &Value, place: Place) -> Matchers {
        let Value::Array(list) = written else {
            let message = format!("expected a list of matchers, found {}", named(written));
            self.problem(message, Some(&format!("write `{name}: [{written}]`")));
            return Box::default();
        };
        if list.is_empty() {
            let hint = "leave the field out to admit every value; `[\"\"]` admits the empty text";
            self.problem("an empty list would admit nothing", Some(hint));
        }
        let entries = list.iter().enumerate();
        entries.filter_map(|(i, written)| self.within(&i.to_string(), |this| this.entry(written, place))).collect()
    }

    fn entry(&mut self, written: &Value, place: Place) -> Option<Matcher> {
        let matcher = self.matcher(written)?;
        if place == Place::Attribute && !matcher.concerns_text() {
            let hint = match &matcher {
                Matcher::Number(_) | Matcher::Bool(_) => format!("write it as text: `\"{matcher}\"`"),
                Matcher::Null => "an attribute that is not there is `{ exists: false }`".to_owned(),
                _ => "numbers of the payload stand under `data`".to_owned(),
            };
            self.problem(format!("attributes are text, so `{matcher}` is never about one"), Some(&hint));
            return None;
        }
        Some(matcher)
    }

    /// Whether an operator stands where a field's list was meant: `total: { numeric: [">", 5] }`. Some operators'
    /// names are plausible fields; those are fields as long as their value is a field's.
    fn is_operator_without_list(&mut self, name: &str, value: &Value) -> bool {
        let meant = match name {
            "anything-but" | "equals-ignore-case" => true,
            "numeric" => {
                let first = value.get(0).and_then(Value::as_str).unwrap_or_default();
                matches!(first, "=" | "<" | "<=" | ">" | ">=") || !(value.is_array() || value.is_object())
            }
            "prefix" | "suffix" => {
                !(value.is_array() || value.is_object())
                    || value.get("equals-ignore-case").is_some_and(Value::is_string)
            }
            "wildcard" | "exists" | "cidr" => !(value.is_array() || value.is_object()),
            _ => false,
        };
        if meant {
            let message = format!("the operator `{name}` stands in a list of matchers");
            self.problem(message, Some(&format!("write `[{{ {name}: {value} }}]`")));
        }
        meant
    }

    // --- walking

    fn object<'v>(&mut self, written: &'v Value, expected: &str) -> Option<&'v Map<String, Value>> {
        if self.depth > DEEPEST {
            self.problem(format!("the pattern is nested deeper than {DEEPEST} levels"), None);
            return None;
        }
        let Value::Object(object) = written else {
            self.problem(format!("expected {expected}, found {}", named(written)), None);
            return None;
        };
        if object.is_empty() {
            let hint = "leave it out to admit everything";
            self.problem(format!("expected {expected}, found an empty one"), Some(hint));
        }
        Some(object)
    }

    fn within<T>(&mut self, token: &str, walk: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
        self.depth += 1;
        let walked = walk(self);
        self.depth -= 1;
        self.pointer.truncate(length);
        walked
    }

    fn last_name(&self) -> String {
        self.pointer.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~")
    }

    fn problem(&mut self, message: impl Into<String>, hint: Option<&str>) {
        let (message, hint) = (message.into(), hint.map(str::to_owned));
        self.problems.push(PatternProblem { pointer: self.pointer.clone(), message, hint });
    }
}
