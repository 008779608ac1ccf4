//! The table of one collection, and the statements on it.
//!
//! A table with row ids, though the key is its primary key. `WITHOUT ROWID` would save a look-up per read, but keeps the
//! bodies inside the tree that is searched: anything above a quarter of a page spills over, and the tree grows deep. With
//! documents of 300 bytes, reads and commits took twice as long.

use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params_from_iter};
use tidemill_core::name::CollectionName;
use tidemill_core::read_model::{Collection, Document, IndexValue, Written};

/// The table of a collection.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) collection: CollectionName,
    /// How many indexed fields there are: the columns `c0`, `c1`, ….
    pub(crate) columns: usize,
    pub(crate) name: String,
    read: String,
    known: String,
    insert: String,
    delete: String,
}

// === impl Table ===

impl Table {
    pub(crate) fn new(number: usize, collection: CollectionName, columns: usize) -> Self {
        let name = format!("d{number}");
        let each = |of: &dyn Fn(usize) -> String| (0..columns).map(of).collect::<String>();
        Self {
            read: format!("SELECT body FROM {name} WHERE key = ?1"),
            known: format!("SELECT rowid{} FROM {name} WHERE key = ?1", each(&|column| format!(", c{column}"))),
            insert: format!(
                "INSERT INTO {name} (key, body{}) VALUES (?1, ?2{})",
                each(&|column| format!(", c{column}")),
                each(&|column| format!(", ?{}", column + 3)),
            ),
            delete: format!("DELETE FROM {name} WHERE key = ?1"),
            collection,
            columns,
            name,
        }
    }

    /// The statements that make the table and its indexes. Each index ends with the key, because every order does.
    pub(crate) fn definition(&self, collection: &Collection) -> String {
        let name = &self.name;
        let columns: String = (0..self.columns).map(|column| format!(", c{column} BLOB NOT NULL")).collect();
        let mut sql = format!("CREATE TABLE {name} (key TEXT NOT NULL PRIMARY KEY, body BLOB NOT NULL{columns});\n");
        for (number, index) in collection.indexes.iter().enumerate() {
            let columns = index.fields.iter().filter_map(|field| collection.column(field.as_str()));
            let columns: String = columns.map(|column| format!("c{column}, ")).collect();
            sql += &format!("CREATE INDEX {name}_{number} ON {name} ({columns}key);\n");
        }
        sql
    }

    pub(crate) fn read(&self, connection: &Connection, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
        connection.prepare_cached(&self.read)?.query_row([key], |row| row.get(0)).optional()
    }

    pub(crate) fn find(
        &self,
        connection: &Connection,
        column: usize,
        value: &IndexValue,
        after: Option<&str>,
        limit: usize,
    ) -> rusqlite::Result<Vec<Document>> {
        let name = &self.name;
        let sql = format!("SELECT key, body FROM {name} WHERE c{column} = ?1 AND key > ?2 ORDER BY key LIMIT ?3");
        let mut statement = connection.prepare_cached(&sql)?;
        // No key is empty, so all of them are after that.
        let rows = statement.query_map((value.as_bytes(), after.unwrap_or_default(), limit), |row| {
            Ok(Document { key: row.get(0)?, body: row.get::<_, Vec<u8>>(1)?.into() })
        })?;
        rows.collect()
    }

    /// Writes a document.
    ///
    /// Setting a column makes SQLite take its entries out of the indexes and put them in again, whether its value is another
    /// or not. Most events change little of what a document is found by, so only what has changed is set.
    pub(crate) fn write(&self, connection: &Connection, key: &str, document: &Written) -> rusqlite::Result<()> {
        let values: Vec<&[u8]> = document.index_values.iter().map(IndexValue::as_bytes).collect();
        let mut known = connection.prepare_cached(&self.known)?;
        let known = known.query_row([key], |row| Ok((row.get::<_, i64>(0)?, changed(row, &values)?))).optional()?;
        let body: &[u8] = &document.body;
        match known {
            Some((row, changed)) => {
                let set: String =
                    changed.iter().zip(3..).map(|(column, place)| format!(", c{column} = ?{place}")).collect();
                let sql = format!("UPDATE {} SET body = ?2{set} WHERE rowid = ?1", self.name);
                let first: [&dyn ToSql; 2] = [&row, &body];
                let rest = changed.iter().map(|column| &values[*column] as &dyn ToSql);
                connection.prepare_cached(&sql)?.execute(params_from_iter(first.into_iter().chain(rest)))
            }
            None => {
                let first: [&dyn ToSql; 2] = [&key, &body];
                let rest = values.iter().map(|value| value as &dyn ToSql);
                connection.prepare_cached(&self.insert)?.execute(params_from_iter(first.into_iter().chain(rest)))
            }
        }
        .map(drop)
    }

    pub(crate) fn delete(&self, connection: &Connection, key: &str) -> rusqlite::Result<()> {
        connection.prepare_cached(&self.delete)?.execute([key]).map(drop)
    }
}

/// The columns in which a row differs from `values`.
fn changed(row: &Row<'_>, values: &[&[u8]]) -> rusqlite::Result<Vec<usize>> {
    let mut changed = Vec::new();
    for (column, value) in values.iter().enumerate() {
        if row.get_ref(1 + column)?.as_blob()? != *value {
            changed.push(column);
        }
    }
    Ok(changed)
}
