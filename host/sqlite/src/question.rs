//! A [`Query`] as a statement.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use tidemill_core::read_model::{Direction, Document, IndexValue, Operator, Query};

use crate::table::Table;

/// A statement and its parameters.
pub(crate) struct Question {
    sql: String,
    parameters: Vec<Value>,
    sorted: usize,
}

type Found = Vec<(Document, Vec<IndexValue>)>;

// === impl Question ===

impl Question {
    /// `Err` says what does not fit the table.
    pub(crate) fn new(table: &Table, query: &Query) -> Result<Self, String> {
        check(table, query)?;
        let mut question = Self { sql: String::new(), parameters: Vec::new(), sorted: query.sort.len() };
        let order: Vec<String> =
            query.sort.iter().map(|column| format!("c{column}")).chain(["key".to_owned()]).collect();
        let mut conditions: Vec<String> = Vec::new();
        for condition in &query.conditions {
            let wanted = question.comparison(&condition.operator);
            conditions.push(format!("c{} {wanted}", condition.column));
        }
        let (sign, direction) = match query.direction {
            Direction::Ascending => (">", ""),
            Direction::Descending => ("<", " DESC"),
        };
        if let Some((values, key)) = &query.after {
            let mut places: Vec<String> = values.iter().map(|value| question.bytes(value)).collect();
            places.push(question.parameter(Value::Text(key.clone())));
            conditions.push(format!("({}) {sign} ({})", order.join(", "), places.join(", ")));
        }
        let selected: String = query.sort.iter().map(|column| format!(", c{column}")).collect();
        let wanted = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        let order: Vec<String> = order.iter().map(|column| format!("{column}{direction}")).collect();
        let limit = question.parameter(Value::Integer(i64::try_from(query.limit).unwrap_or(i64::MAX)));
        question.sql = format!(
            "SELECT key, body{selected} FROM {}{wanted} ORDER BY {} LIMIT {limit}",
            table.name,
            order.join(", ")
        );
        Ok(question)
    }

    pub(crate) fn ask(self, connection: &Connection) -> rusqlite::Result<Found> {
        let sorted = self.sorted;
        let mut statement = connection.prepare_cached(&self.sql)?;
        let rows = statement.query_map(params_from_iter(self.parameters), |row| found(row, sorted))?;
        rows.collect()
    }

    fn comparison(&mut self, operator: &Operator) -> String {
        let (sign, value) = match operator {
            Operator::In(values) => {
                let places: Vec<String> = values.iter().map(|value| self.bytes(value)).collect();
                return format!("IN ({})", places.join(", "));
            }
            Operator::Not(value) => ("<>", value),
            Operator::Above(value) => (">", value),
            Operator::AtLeast(value) => (">=", value),
            Operator::Below(value) => ("<", value),
            Operator::AtMost(value) => ("<=", value),
        };
        format!("{sign} {}", self.bytes(value))
    }

    fn bytes(&mut self, value: &IndexValue) -> String {
        self.parameter(Value::Blob(value.as_bytes().to_vec()))
    }

    fn parameter(&mut self, value: Value) -> String {
        self.parameters.push(value);
        format!("?{}", self.parameters.len())
    }
}

fn check(table: &Table, query: &Query) -> Result<(), String> {
    let columns = query.conditions.iter().map(|condition| condition.column).chain(query.sort.iter().copied());
    if let Some(column) = columns.into_iter().find(|column| *column >= table.columns) {
        return Err(format!("the collection `{}` has no column {column} in this copy", table.collection));
    }
    match &query.after {
        Some((values, _)) if values.len() != query.sort.len() => {
            Err(format!("the cursor has {} values, the query sorts by {}", values.len(), query.sort.len()))
        }
        _ => Ok(()),
    }
}

fn found(row: &Row<'_>, sorted: usize) -> rusqlite::Result<(Document, Vec<IndexValue>)> {
    let document = Document { key: row.get(0)?, body: row.get::<_, Vec<u8>>(1)?.into() };
    let value = |place: usize| Ok(IndexValue::from_bytes(row.get_ref(2 + place)?.as_blob()?));
    Ok((document, (0..sorted).map(value).collect::<rusqlite::Result<_>>()?))
}
