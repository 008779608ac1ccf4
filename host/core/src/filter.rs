//! The content filter: EventBridge's event patterns over CloudEvents attributes and data.
//!
//! A pattern mirrors the event. Fields are and, the matchers in a field's list are or:
//!
//! ```yaml
//! type: [OrderCreated]
//! data: { total: [{ numeric: [">=", 1000] }] }
//! ```
//!
//! Words: a *pattern* is what stands in `runtime.yaml`, a *filter* is the compiled pattern, a *matcher* is one entry of a
//! field's list. `docs/filters.md` is the language for users, and names each place where we differ from EventBridge.
//!
//! What must stay true:
//! - A pattern that compiles means something: what could never match (a number for an attribute, an empty list, a range
//!   without numbers) is a problem at start, not a route that is silent forever. All problems are found at once.
//! - An event costs time linear in its size for each matcher, whoever wrote it; admitting allocates nothing.
//! - [`Filter::explain`] and [`Filter::admits`] never disagree (a property test holds them together). They are two walks
//!   over one tree of matchers, because the walk of the event path must neither collect nor format.
//!
//! EventBridge's own matcher flattens the event and runs one automaton over thousands of rules. A route has one filter and
//! its event is parsed already: a direct walk down the few fields that the pattern names is faster than building anything.

mod compile;
mod explain;
mod fold;
mod matcher;
mod pattern;
mod problem;
mod suggest;
mod wildcard;

use serde_json::Value;

pub use self::explain::{Explanation, FieldVerdict, MatcherVerdict, OrVerdict, Verdict};
pub use self::problem::PatternProblem;

use self::compile::Compiler;
use self::pattern::EventPattern;
use crate::event::Event;

/// A compiled filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    pattern: EventPattern,
}

// === impl Filter ===

impl Filter {
    /// Compiles the pattern of a route.
    ///
    /// # Errors
    ///
    /// All problems of the pattern, in the order in which its fields are walked; never an empty list.
    pub fn compile(pattern: &Value) -> Result<Self, Vec<PatternProblem>> {
        let mut compiler = Compiler::default();
        let pattern = compiler.event_pattern(pattern);
        compiler.finish().map(|()| Self { pattern })
    }

    /// Whether the route wants the event. `data` is the parsed payload, `None` when it is not JSON: then every field
    /// of `data` is absent. Arrays are walked recursively, so `data` should come from [`json::parse`](crate::json::parse),
    /// which bounds its depth.
    pub fn admits(&self, event: &Event, data: Option<&Value>) -> bool {
        self.pattern.admits(event, data)
    }

    /// The same answer as [`Filter::admits`], with what was looked at and seen.
    pub fn explain(&self, event: &Event, data: Option<&Value>) -> Explanation {
        explain::event(&self.pattern, event, data)
    }
}

#[cfg(test)]
mod tests;
