//! The tree that a pattern compiles to, and the walk that decides.
//!
//! How a nested pattern meets what the event has at its place: an object is walked; of an array, one object must satisfy the
//! whole nested pattern (so fields that stand together in a pattern are true of the same element); anything else has no
//! fields, so all that can hold below it is absence.

use serde_json::Value;

use super::matcher::{Leaf, Matcher};
use crate::event::Event;

/// A field's list. One of these must hold.
pub(super) type Matchers = Box<[Matcher]>;

/// The branches of a `$or`. One of these must hold.
pub(super) type Choice<T> = Box<[T]>;

/// The top level: attributes, the payload under `data`, and `$or` over both. All parts must hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct EventPattern {
    pub(super) attributes: Box<[(Box<str>, Matchers)]>,
    pub(super) data: Option<Node>,
    pub(super) choices: Box<[Choice<EventPattern>]>,
}

/// What the pattern says about one place in the data.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Leaf(Matchers),
    Object(ObjectPattern),
}

/// A nested pattern. All its fields must hold, and of each choice one branch.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct ObjectPattern {
    pub(super) fields: Box<[(Box<str>, Node)]>,
    pub(super) choices: Box<[Choice<ObjectPattern>]>,
}

// === impl EventPattern ===

impl EventPattern {
    pub(super) fn admits(&self, event: &Event, data: Option<&Value>) -> bool {
        self.attributes.iter().all(|(name, matchers)| {
            let text = event.attribute(name);
            matchers.iter().any(|matcher| matcher.admits_text(text))
        }) && self.data.as_ref().is_none_or(|node| node.admits(data))
            && self.choices.iter().all(|branches| branches.iter().any(|branch| branch.admits(event, data)))
    }
}

// === impl Node ===

impl Node {
    fn admits(&self, value: Option<&Value>) -> bool {
        match self {
            Node::Leaf(matchers) => matchers.iter().any(|matcher| matcher.admits(value)),
            Node::Object(pattern) => pattern.admits(value),
        }
    }
}

// === impl ObjectPattern ===

impl ObjectPattern {
    fn admits(&self, value: Option<&Value>) -> bool {
        match value {
            Some(Value::Object(_)) => self.admits_fields_of(value),
            Some(Value::Array(elements)) => self.admits_one_of(elements).unwrap_or_else(|| self.admits_fields_of(None)),
            _ => self.admits_fields_of(None),
        }
    }

    /// Whether one of the objects in the array, however deep in further arrays, is admitted; `None` if there is no object.
    fn admits_one_of(&self, elements: &[Value]) -> Option<bool> {
        let mut verdict = None;
        for element in elements {
            let of_element = match element {
                Value::Object(_) => Some(self.admits_fields_of(Some(element))),
                Value::Array(inner) => self.admits_one_of(inner),
                _ => None,
            };
            match of_element {
                Some(true) => return of_element,
                Some(false) => verdict = of_element,
                None => {}
            }
        }
        verdict
    }

    /// `value` is an object or absent.
    fn admits_fields_of(&self, value: Option<&Value>) -> bool {
        self.fields.iter().all(|(name, node)| node.admits(value.and_then(|object| object.get(&**name))))
            && self.choices.iter().all(|branches| branches.iter().any(|branch| branch.admits_fields_of(value)))
    }
}

// === impl Matcher ===

impl Matcher {
    /// Whether the matcher holds for an attribute.
    pub(super) fn admits_text(&self, text: Option<&str>) -> bool {
        match (self, text) {
            (Matcher::Exists(wanted), _) => *wanted == text.is_some(),
            (_, Some(text)) => self.matches(Leaf::Text(text)),
            (_, None) => false,
        }
    }

    /// Whether the matcher holds for a place in the data; `None` is an absent field. An array holds if an element does.
    pub(super) fn admits(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Matcher::Exists(wanted), _) => *wanted == value.is_some(),
            (_, Some(value)) => self.admits_leaf_of(value),
            (_, None) => false,
        }
    }

    fn admits_leaf_of(&self, value: &Value) -> bool {
        match value {
            Value::Array(elements) => elements.iter().any(|element| self.admits_leaf_of(element)),
            Value::Object(_) => false,
            Value::String(text) => self.matches(Leaf::Text(text)),
            Value::Number(number) => self.matches(Leaf::Number(number)),
            Value::Bool(flag) => self.matches(Leaf::Bool(*flag)),
            Value::Null => self.matches(Leaf::Null),
        }
    }
}
