//! One filter: `status=pending`, `total[gte]=100`.

use serde_json::Value;

use super::super::collection::Collection;
use super::super::field::FieldPath;
use super::super::index_value::IndexValue;
use super::error::{QueryError, shown};
use super::{Condition, Operator, value};

/// For messages.
pub(super) const OPERATORS: &str = "`eq`, `ne`, `in`, `gt`, `gte`, `lt`, `lte`, `exists`, `prefix`";

/// Values of one `in`. Each is a comparison per document, or a look into an index.
const MAX_VALUES: usize = 100;

/// The name of a filter's parameter, taken apart: the field and the operator.
pub(super) fn split(name: &str) -> Result<(&str, &str), QueryError> {
    match name.split_once('[') {
        None => Ok((name, "eq")),
        Some((field, rest)) => match rest.strip_suffix(']') {
            Some(operator) => Ok((field, operator)),
            None => Err(QueryError::NoFilter(shown(name))),
        },
    }
}

/// The conditions that a filter puts on its column: one, or two where they are the bounds of a range.
pub(super) fn conditions(collection: &Collection, name: &str, text: &str) -> Result<Vec<Condition>, QueryError> {
    let (field, operator) = split(name)?;
    let column = column(collection, &FieldPath::try_new(field)?)?;
    let bad = |expected: &str| QueryError::bad_value(name, expected, text);
    let indexed = |value: Value| {
        let most = format!("at most {} bytes, since longer texts are not indexed", IndexValue::MAX_TEXT_BYTES);
        IndexValue::of(Some(&value)).map_err(|_| bad(&most))
    };
    let one = || value::typed(name, text).and_then(indexed);
    let range = |value: &IndexValue| value.kin().ok_or_else(|| bad("a number or a text, which have an order"));
    let operators = match operator {
        "eq" => vec![Operator::In(vec![one()?])],
        "ne" => vec![Operator::Not(one()?)],
        "in" => {
            let values = value::list(name, text)?;
            if values.len() > MAX_VALUES {
                return Err(bad(&format!("at most {MAX_VALUES} values")));
            }
            vec![Operator::In(values.into_iter().map(indexed).collect::<Result<_, _>>()?)]
        }
        "gt" | "gte" => {
            let value = one()?;
            let (_, beyond) = range(&value)?;
            let above = if operator == "gt" { Operator::Above(value) } else { Operator::AtLeast(value) };
            vec![above, Operator::Below(beyond)]
        }
        "lt" | "lte" => {
            let value = one()?;
            let (lowest, _) = range(&value)?;
            let below = if operator == "lt" { Operator::Below(value) } else { Operator::AtMost(value) };
            vec![Operator::AtLeast(lowest), below]
        }
        "exists" => match text {
            "true" => vec![Operator::Not(IndexValue::missing())],
            "false" => vec![Operator::In(vec![IndexValue::missing()])],
            _ => return Err(bad("`true` or `false`")),
        },
        "prefix" => {
            // The text as it is: `prefix=20` means a text although it looks like a number.
            let text = if text.starts_with('"') { value::typed(name, text)? } else { Value::String(text.to_owned()) };
            let (from, to) = indexed(text)?.beginning_with().ok_or_else(|| bad("a text"))?;
            vec![Operator::AtLeast(from), Operator::Below(to)]
        }
        other => return Err(QueryError::NoOperator(shown(other))),
    };
    Ok(operators.into_iter().map(|operator| Condition { column, operator }).collect())
}

fn column(collection: &Collection, field: &FieldPath) -> Result<usize, QueryError> {
    collection.column(field.as_str()).ok_or_else(|| {
        let known: Vec<String> = collection.fields().iter().map(|field| format!("`{field}`")).collect();
        QueryError::NotIndexed {
            collection: collection.name.to_string(),
            field: field.to_string(),
            indexed: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
        }
    })
}
