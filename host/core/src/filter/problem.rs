//! What is wrong with a pattern, and where.

use std::fmt;

use serde_json::Value;

/// One mistake in a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternProblem {
    /// JSON pointer into the pattern; empty for the pattern as a whole.
    pub pointer: String,
    /// What was expected and what was found.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

// === impl PatternProblem ===

impl fmt::Display for PatternProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.pointer.is_empty() {
            write!(f, "{}: ", self.pointer)?;
        }
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

/// A value of the pattern, as a message names it.
pub(super) fn named(value: &Value) -> String {
    match value {
        Value::Null => "`null`".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(_) | Value::Number(_) | Value::Bool(_) => format!("`{value}`"),
    }
}
