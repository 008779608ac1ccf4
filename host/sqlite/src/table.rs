//! The table of one collection, and the statements on it.
//!
//! A table with row ids, though the key is its primary key. `WITHOUT ROWID` would save a look-up per read, but keeps the
//! bodies inside the tree that is searched: anything above a quarter of a page spills over, and the tree grows deep.

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, ToSql, params_from_iter};
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
    rewrite: String,
    write: String,
    delete: String,
}

// === impl Table ===

impl Table {
    pub(crate) fn new(number: usize, collection: CollectionName, columns: usize) -> Self {
        let name = format!("d{number}");
        let each = |of: &dyn Fn(usize) -> String| (0..columns).map(of).collect::<String>();
        Self {
            read: format!("SELECT body FROM {name} WHERE key = ?1"),
            // `+`: the key finds the row, no index is to be looked at.
            rewrite: format!(
                "UPDATE {name} SET body = ?2 WHERE key = ?1{}",
                each(&|column| format!(" AND +c{column} = ?{}", column + 3)),
            ),
            write: format!(
                "INSERT INTO {name} (key, body{}) VALUES (?1, ?2{}) ON CONFLICT (key) DO UPDATE SET body = excluded.body{}",
                each(&|column| format!(", c{column}")),
                each(&|column| format!(", ?{}", column + 3)),
                each(&|column| format!(", c{column} = excluded.c{column}")),
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
    /// Setting a column makes SQLite take its entries out of the indexes and put them in again, though nothing may have
    /// changed. Most events change a document without changing what it is found by: they write the body alone.
    pub(crate) fn write(&self, connection: &Connection, key: &str, document: &Written) -> rusqlite::Result<()> {
        let body: &[u8] = &document.body;
        let columns: Vec<&[u8]> = document.index_values.iter().map(IndexValue::as_bytes).collect();
        let parameters = || {
            let first: [&dyn ToSql; 2] = [&key, &body];
            params_from_iter(first.into_iter().chain(columns.iter().map(|column| column as &dyn ToSql)))
        };
        let run = |mut statement: CachedStatement<'_>| statement.execute(parameters());
        if self.columns == 0 || run(connection.prepare_cached(&self.rewrite)?)? == 0 {
            run(connection.prepare_cached(&self.write)?)?;
        }
        Ok(())
    }

    pub(crate) fn delete(&self, connection: &Connection, key: &str) -> rusqlite::Result<()> {
        connection.prepare_cached(&self.delete)?.execute([key]).map(drop)
    }
}
