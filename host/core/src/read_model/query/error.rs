//! Why a question is not answered.

use super::super::StoreError;
use super::super::field::FieldError;
use crate::text::clean_text;

/// Found values are shown up to this many bytes.
const SHOWN_BYTES: usize = 80;

/// What is wrong with the parameters of a question. Texts from outside are cleaned and shortened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("the parameter `{parameter}` is given twice{hint}")]
    Repeated { parameter: String, hint: String },
    #[error("`{parameter}={found}` is refused: expected {expected}")]
    BadValue { parameter: String, expected: String, found: String },
    #[error(
        "`{0}` is not a filter: expected `FIELD=VALUE` or `FIELD[OPERATOR]=VALUE` like `status=pending` or `total[gte]=100`"
    )]
    NoFilter(String),
    #[error("there is no operator `{0}`: expected one of {operators}", operators = super::filter::OPERATORS)]
    NoOperator(String),
    #[error(transparent)]
    NoField(#[from] FieldError),
    #[error(
        "the field `{field}` of the collection `{collection}` is not indexed; indexed are: {indexed}. \
         `projections[].collections.{collection}.indexes: [{field}]` in runtime.yaml would index it"
    )]
    NotIndexed { collection: String, field: String, indexed: String },
    #[error("`{0}` is no parameter of this; expected are `fields`, `wait_for`, `timeout` and `stale`")]
    NoParameter(String),
    #[error("the cursor is refused: {0}; expected the `next` of a page of the same question")]
    BadCursor(&'static str),
}

/// Why there is no page.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PageError {
    #[error(
        "the cursor belongs to another copy of the read model: it was rebuilt or rolled back since; begin again without `cursor`"
    )]
    CursorExpired,
    #[error(
        "sorting by `{fields}` is refused: it is not indexed, and more than {most} documents of the collection `{collection}` fit \
         the filters; filter more narrowly, or `projections[].collections.{collection}.indexes: [{index}]` in runtime.yaml would index it"
    )]
    UnindexedSort { collection: String, fields: String, index: String, most: usize },
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl QueryError ===

impl QueryError {
    pub(super) fn bad_value(parameter: &str, expected: impl Into<String>, found: &str) -> Self {
        Self::BadValue { parameter: shown(parameter), expected: expected.into(), found: shown(found) }
    }

    pub(super) fn repeated(parameter: &str) -> Self {
        Self::Repeated { parameter: shown(parameter), hint: String::new() }
    }
}

pub(super) fn shown(text: &str) -> String {
    clean_text(text, SHOWN_BYTES)
}
