//! A question to a collection, checked against its indexes, as a store answers it.
//!
//! ```text
//! parameters ── parse ── Query ── store ── page ── a page and the cursor of the next
//! ```
//!
//! [`Query::parse`] is pure, and the same for the gateway and the command line. A store sees columns and bytes only.

mod cursor;
mod error;
mod filter;
mod options;
mod page;
mod parse;
mod value;

#[cfg(test)]
mod tests;

use super::index_value::IndexValue;

pub use error::{PageError, QueryError};
pub use options::{Parameter, QueryOptions, WaitFor};
pub use page::{Item, Page, item, page};
pub use value::typed;

/// Which documents, in which order. Made by [`Query::parse`]; every field in it is indexed.
///
/// The order is total: by the sorted fields, then by key, all in one direction. `after` is where the page before ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// All of them must hold.
    pub conditions: Vec<Condition>,
    /// Columns of [`Collection::fields`](super::Collection::fields), most significant first. Empty: by key alone.
    pub sort: Vec<usize>,
    pub direction: Direction,
    /// The values of `sort` and the key of the last document that was given.
    pub after: Option<(Vec<IndexValue>, String)>,
    /// At most so many documents.
    pub limit: usize,
}

/// A column compared with values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub column: usize,
    pub operator: Operator,
}

/// Comparisons are within a type: `gte` of a number finds no texts. The bounds that say so are conditions of their own, put
/// there by [`Query::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// One of these; never empty.
    In(Vec<IndexValue>),
    Not(IndexValue),
    Above(IndexValue),
    AtLeast(IndexValue),
    Below(IndexValue),
    AtMost(IndexValue),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    #[default]
    Ascending,
    Descending,
}

// === impl Condition ===

impl Condition {
    /// Whether a document with these index values is wanted.
    pub fn holds(&self, values: &[IndexValue]) -> bool {
        let Some(value) = values.get(self.column) else { return false };
        match &self.operator {
            Operator::In(wanted) => wanted.contains(value),
            Operator::Not(unwanted) => value != unwanted,
            Operator::Above(bound) => value > bound,
            Operator::AtLeast(bound) => value >= bound,
            Operator::Below(bound) => value < bound,
            Operator::AtMost(bound) => value <= bound,
        }
    }
}
