//! A [`Query`] as one statement, which reads the position too: one statement is one snapshot.

use bytes::Bytes;
use tidemill_core::read_model::{Direction, Document, Found, IndexValue, Operator, Query, StoreError};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::copies::{self, CopyTables, Table};
use crate::schema::Schema;

/// A statement and its parameters.
pub(crate) struct Question {
    pub(crate) sql: String,
    parameters: Vec<Box<dyn ToSql + Sync + Send>>,
    sorted: usize,
    direction: Direction,
}

// === impl Question ===

impl Question {
    pub(crate) fn new(schema: &Schema, copy: &CopyTables, table: &Table, query: &Query) -> Result<Self, StoreError> {
        check(table, query)?;
        let (sorted, direction) = (query.sort.len(), query.direction);
        let mut question = Self { sql: String::new(), parameters: Vec::new(), sorted, direction };
        let mut conditions: Vec<String> = Vec::new();
        for condition in &query.conditions {
            let wanted = question.comparison(&condition.operator);
            conditions.push(format!("c{} {wanted}", condition.column));
        }
        let order: Vec<String> =
            query.sort.iter().map(|column| format!("c{column}")).chain(["key".to_owned()]).collect();
        let (sign, word) = match direction {
            Direction::Ascending => (">", ""),
            Direction::Descending => ("<", " DESC"),
        };
        if let Some((values, key)) = &query.after {
            let mut places: Vec<String> = values.iter().map(|value| question.bytes(value)).collect();
            places.push(question.parameter(key.clone()));
            conditions.push(format!("({}) {sign} ({})", order.join(", "), places.join(", ")));
        }
        let wanted = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        let selected: String =
            query.sort.iter().enumerate().map(|(place, column)| format!(", c{column} AS s{place}")).collect();
        let order: Vec<String> = order.iter().map(|column| format!("{column}{word}")).collect();
        let limit = question.parameter(i64::try_from(query.limit).unwrap_or(i64::MAX));
        let id = question.parameter(copy.row);
        question.sql = format!(
            "SELECT copies.positions, found.* FROM {} AS copies LEFT JOIN LATERAL
                 (SELECT key, body{selected} FROM {}{wanted} ORDER BY {} LIMIT {limit}) AS found ON true
             WHERE copies.id = {id}",
            schema.copies(),
            table.name,
            order.join(", ")
        );
        Ok(question)
    }

    pub(crate) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.parameters.iter().map(|it| &**it as _).collect()
    }

    /// A copy without a document answers one row, one that is gone none.
    pub(crate) fn found(&self, copy: &CopyTables, rows: &[Row]) -> Result<Found, StoreError> {
        let first = rows.first().ok_or_else(|| StoreError::NoCopy(copy.id.clone()))?;
        let positions = copies::positions(&first.get(0))?;
        let mut documents: Vec<_> = rows.iter().filter_map(|row| self.document(row)).collect();
        // A join promises no order, though this one keeps it.
        documents.sort_by(|(a, one), (b, other)| {
            let ascending = (one, &a.key).cmp(&(other, &b.key));
            if self.direction == Direction::Ascending { ascending } else { ascending.reverse() }
        });
        Ok(Found { documents, positions })
    }

    fn document(&self, row: &Row) -> Option<(Document, Vec<IndexValue>)> {
        let key: String = row.get::<_, Option<String>>(1)?;
        let document = Document { key, body: Bytes::copy_from_slice(row.get(2)) };
        let values = (0..self.sorted).map(|place| IndexValue::from_bytes(row.get(3 + place)));
        Some((document, values.collect()))
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
        self.parameter(value.as_bytes().to_vec())
    }

    fn parameter(&mut self, value: impl ToSql + Sync + Send + 'static) -> String {
        self.parameters.push(Box::new(value));
        format!("${}", self.parameters.len())
    }
}

fn check(table: &Table, query: &Query) -> Result<(), StoreError> {
    let columns = query.conditions.iter().map(|condition| condition.column).chain(query.sort.iter().copied());
    if let Some(column) = columns.into_iter().find(|column| *column >= table.columns) {
        let collection = &table.collection;
        return Err(StoreError::Refused(format!("the collection `{collection}` has no column {column} in this copy")));
    }
    match &query.after {
        Some((values, _)) if values.len() != query.sort.len() => Err(StoreError::Refused(format!(
            "the cursor has {} values, the query sorts by {}",
            values.len(),
            query.sort.len()
        ))),
        _ => Ok(()),
    }
}
