//! Copies: their rows, and the tables of their collections.

use std::collections::BTreeMap;

use serde_json::Value;
use tidemill_core::name::{CollectionName, ProjectionName, StreamName};
use tidemill_core::read_model::{Collection, Copy, CopyId, CopyState, Fence, NewCopy, Positions, StoreError};
use tokio_postgres::{Error, Row};

use crate::lease;
use crate::problem::problem;
use crate::schema::Schema;
use crate::session::Session;

/// What is known of a copy as long as it exists.
pub(crate) struct CopyTables {
    pub(crate) id: CopyId,
    /// The copy's id in the table of copies, and in the names of its own tables.
    pub(crate) row: i64,
    tables: Vec<Table>,
}

/// The table of one collection.
pub(crate) struct Table {
    pub(crate) collection: CollectionName,
    /// How many indexed fields there are: the columns `c0`, `c1`, ….
    pub(crate) columns: usize,
    /// With its schema.
    pub(crate) name: String,
}

// === impl CopyTables ===

impl CopyTables {
    pub(crate) async fn load(session: &Session, schema: &Schema, id: &CopyId) -> Result<Self, StoreError> {
        let sql =
            format!("SELECT id, collections, columns FROM {} WHERE projection = $1 AND number = $2", schema.copies());
        let row = session.row(&sql, &[&id.projection.as_str(), &number(id)]).await.map_err(|error| problem(&error))?;
        let row = row.ok_or_else(|| StoreError::NoCopy(id.clone()))?;
        let (copy, names, columns): (i64, Vec<String>, Vec<i32>) = (row.get(0), row.get(1), row.get(2));
        let mut tables = Vec::new();
        for (place, (name, columns)) in names.iter().zip(columns).enumerate() {
            let collection = CollectionName::try_new(name).map_err(|error| StoreError::Refused(error.to_string()))?;
            tables.push(Table {
                collection,
                columns: columns.unsigned_abs() as usize,
                name: table(schema, copy, place),
            });
        }
        Ok(Self { id: id.clone(), row: copy, tables })
    }

    pub(crate) fn table(&self, name: &CollectionName) -> Result<&Table, StoreError> {
        self.tables
            .iter()
            .find(|table| table.collection == *name)
            .ok_or_else(|| StoreError::Refused(format!("the copy {} has no collection `{name}`", self.id)))
    }

    pub(crate) fn tables(&self) -> &[Table] {
        &self.tables
    }
}

// --- the ledger --------------------------------------------------------------------------------------------------------

pub(crate) async fn list(
    session: &Session,
    schema: &Schema,
    projection: &ProjectionName,
) -> Result<Vec<Copy>, StoreError> {
    let sql = format!(
        "SELECT number, state, digest, shape, created, changed, positions, folded, dead_lettered FROM {}
         WHERE projection = $1 ORDER BY number",
        schema.copies()
    );
    let rows = session.rows(&sql, &[&projection.as_str()]).await.map_err(|error| problem(&error))?;
    rows.iter().map(|row| copy(projection, row)).collect()
}

fn copy(projection: &ProjectionName, row: &Row) -> Result<Copy, StoreError> {
    Ok(Copy {
        id: CopyId { projection: projection.clone(), number: row.get::<_, i64>(0).unsigned_abs() },
        state: state(row.get(1)),
        digest: row.get(2),
        shape: row.get(3),
        created: row.get(4),
        changed: row.get(5),
        positions: positions(&row.get(6))?,
        folded: row.get::<_, i64>(7).unsigned_abs(),
        dead_lettered: row.get::<_, i64>(8).unsigned_abs(),
    })
}

pub(crate) async fn standing(session: &Session, schema: &Schema, id: &CopyId) -> Result<Positions, StoreError> {
    let sql = format!("SELECT positions FROM {} WHERE projection = $1 AND number = $2", schema.copies());
    let row = session.row(&sql, &[&id.projection.as_str(), &number(id)]).await.map_err(|error| problem(&error))?;
    positions(&row.ok_or_else(|| StoreError::NoCopy(id.clone()))?.get(0))
}

/// As they are stored: an object of numbers by stream.
pub(crate) fn written(positions: &Positions) -> Value {
    positions.iter().map(|(stream, sequence)| (stream.to_string(), Value::from(*sequence))).collect()
}

pub(crate) fn positions(stored: &Value) -> Result<Positions, StoreError> {
    let position =
        |(stream, sequence): (&String, &Value)| Some((StreamName::try_new(stream).ok()?, sequence.as_u64()?));
    let found: Option<BTreeMap<_, _>> = stored.as_object().and_then(|it| it.iter().map(position).collect());
    found.ok_or_else(|| StoreError::Refused(format!("`{stored}` is not what a copy's positions are")))
}

// --- making, activating, removing --------------------------------------------------------------------------------------

pub(crate) async fn create(
    session: &Session,
    schema: &Schema,
    fence: &Fence,
    new: &NewCopy,
) -> Result<CopyId, StoreError> {
    let failed = |error: Error| problem(&error);
    session.run("BEGIN").await.map_err(failed)?;
    let next = format!(
        "UPDATE {} SET copies = copies + 1 WHERE name = $1 AND epoch = $2 RETURNING copies",
        schema.projections()
    );
    let next = session.row(&next, &[&fence.projection.as_str(), &lease::epoch(fence)]).await.map_err(failed)?;
    let number: i64 = next.ok_or_else(|| StoreError::Fenced(fence.projection.clone()))?.get(0);
    let names: Vec<&str> = new.collections.iter().map(|collection| collection.name.as_str()).collect();
    let columns: Vec<i32> =
        new.collections.iter().map(|it| i32::try_from(it.fields().len()).unwrap_or(i32::MAX)).collect();
    let insert = format!(
        "INSERT INTO {} (projection, number, state, digest, shape, created, changed, positions, folded, dead_lettered,
                         collections, columns)
         VALUES ($1, $2, 'building', $3, $4, now(), now(), $5, 0, 0, $6, $7) RETURNING id",
        schema.copies()
    );
    let (shape, begins) = (NewCopy::shape(&new.collections), written(&new.positions));
    let row = session
        .row(&insert, &[&fence.projection.as_str(), &number, &new.digest, &shape, &begins, &names, &columns])
        .await
        .map_err(failed)?;
    let copy: i64 = row.map_or(0, |row| row.get(0));
    for (place, collection) in new.collections.iter().enumerate() {
        session.run(&definition(&table(schema, copy, place), collection)).await.map_err(failed)?;
    }
    session.run("COMMIT").await.map_err(failed)?;
    Ok(CopyId { projection: fence.projection.clone(), number: number.unsigned_abs() })
}

/// Keys compare by their bytes whatever the database thinks of letters. Every order ends with the key, so every index does.
/// Some room in each page lets a document that keeps its indexed fields be changed without touching an index.
fn definition(table: &str, collection: &Collection) -> String {
    let columns: String = (0..collection.fields().len()).map(|column| format!(", c{column} bytea NOT NULL")).collect();
    let mut sql = format!(
        "CREATE TABLE {table} (key text COLLATE \"C\" PRIMARY KEY, body bytea NOT NULL{columns}) WITH (fillfactor = 80);"
    );
    for index in &collection.indexes {
        let columns = index.fields.iter().filter_map(|field| collection.column(field.as_str()));
        let columns: String = columns.map(|column| format!("c{column}, ")).collect();
        sql += &format!("CREATE INDEX ON {table} ({columns}key);");
    }
    sql
}

pub(crate) async fn activate(
    session: &Session,
    schema: &Schema,
    fence: &Fence,
    copy: &CopyTables,
) -> Result<(), StoreError> {
    let failed = |error: Error| problem(&error);
    // A copy that was just filled is known to the planner by its size only, until the server finds time for it.
    for table in &copy.tables {
        session
            .run(&format!("ANALYZE {}", table.name))
            .await
            .map_err(|error| crate::problem::copy_problem(&copy.id, &error))?;
    }
    session.run("BEGIN").await.map_err(failed)?;
    hold(session, schema, fence).await?;
    let all = format!("SELECT number, state FROM {} WHERE projection = $1 ORDER BY number FOR UPDATE", schema.copies());
    let rows = session.rows(&all, &[&fence.projection.as_str()]).await.map_err(failed)?;
    let copies: Vec<(i64, CopyState)> = rows.iter().map(|row| (row.get(0), state(row.get(1)))).collect();
    let wanted = number(&copy.id);
    match copies.iter().find(|(number, _)| *number == wanted) {
        None => return Err(StoreError::NoCopy(copy.id.clone())),
        Some((_, CopyState::Active)) => {}
        Some(_) => {
            let copies_table = schema.copies();
            let drop =
                format!("DELETE FROM {copies_table} WHERE projection = $1 AND state = 'previous' AND number <> $2");
            // Both from what was before: one statement, so that none is active twice.
            let switch = format!(
                "UPDATE {copies_table} SET changed = now(),
                        state = CASE WHEN number = $2 THEN 'active' ELSE 'previous' END
                 WHERE projection = $1 AND (number = $2 OR state = 'active')"
            );
            for sql in [drop, switch] {
                session.execute(&sql, &[&fence.projection.as_str(), &wanted]).await.map_err(failed)?;
            }
        }
    }
    session.run("COMMIT").await.map_err(failed)
}

pub(crate) async fn remove(session: &Session, schema: &Schema, fence: &Fence, id: &CopyId) -> Result<(), StoreError> {
    let failed = |error: Error| problem(&error);
    session.run("BEGIN").await.map_err(failed)?;
    hold(session, schema, fence).await?;
    let copies = schema.copies();
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&id.projection.as_str(), &number(id)];
    let delete = format!("DELETE FROM {copies} WHERE projection = $1 AND number = $2 AND state <> 'active'");
    session.execute(&delete, &parameters).await.map_err(failed)?;
    let left = format!("SELECT 1 FROM {copies} WHERE projection = $1 AND number = $2");
    let left = session.row(&left, &parameters).await.map_err(failed)?;
    session.run("COMMIT").await.map_err(failed)?;
    match left {
        Some(_) => Err(StoreError::Refused(format!("the copy {id} is active; activate another one first"))),
        None => Ok(()),
    }
}

/// Removes the tables of copies that are gone. Apart from the transaction that makes them go, because a slow query may hold a
/// table for a while; what stays is found the next time.
pub(crate) async fn sweep(session: &Session, schema: &Schema) -> Result<(), Error> {
    let sql = format!(
        "SELECT tablename::text FROM pg_tables WHERE schemaname = $1 AND tablename ~ '^d[0-9]+_[0-9]+$' AND NOT EXISTS
             (SELECT 1 FROM {} WHERE id = split_part(substr(tablename, 2), '_', 1)::bigint)",
        schema.copies()
    );
    for row in session.rows(&sql, &[&schema.name()]).await? {
        session.run(&format!("DROP TABLE IF EXISTS {}", schema.table(row.get(0)))).await?;
    }
    Ok(())
}

async fn hold(session: &Session, schema: &Schema, fence: &Fence) -> Result<(), StoreError> {
    let row = session.row(&lease::hold(schema), &[&fence.projection.as_str()]).await;
    lease::check(fence, row.map_err(|error| problem(&error))?)
}

fn table(schema: &Schema, copy: i64, place: usize) -> String {
    schema.table(&format!("d{copy}_{place}"))
}

pub(crate) fn number(id: &CopyId) -> i64 {
    i64::try_from(id.number).unwrap_or(i64::MAX)
}

fn state(word: &str) -> CopyState {
    match word {
        "active" => CopyState::Active,
        "previous" => CopyState::Previous,
        _ => CopyState::Building,
    }
}
