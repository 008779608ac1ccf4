//! A commit: one transaction in two round trips.
//!
//! The lock on the claim, all writes and the new position are sent together; when all are answered, the claim is the right one
//! and the copy stood where the batch builds on, the commit is. Nothing is decided on the way, so nothing is waited for.

use futures_util::future::{join, join_all, join3};
use tidemill_core::read_model::{Batch, DocumentWrite, Fence, IndexValue, StoreError, Written};
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use crate::copies::{self, CopyTables, Table};
use crate::lease;
use crate::problem::copy_problem;
use crate::schema::Schema;
use crate::session::Session;

/// Documents and bytes that one statement writes, about: a message to the server may be large, but not any size.
const DOCUMENTS: usize = 5_000;
const BYTES: usize = 16 << 20;

type Parameter<'w> = Box<dyn ToSql + Sync + Send + 'w>;

/// A statement that writes many documents of one table.
struct Write<'w> {
    sql: String,
    parameters: Vec<Parameter<'w>>,
}

pub(crate) async fn commit(
    session: &Session,
    schema: &Schema,
    fence: &Fence,
    copy: &CopyTables,
    batch: &Batch,
) -> Result<(), StoreError> {
    let writes = writes(copy, batch)?;
    let failed = |error: Error| copy_problem(&copy.id, &error);
    let (hold, advance) = (lease::hold(schema), advance(schema));
    // What is new to the session is prepared before, so that each request below is one message.
    for sql in writes.iter().map(|write| &write.sql).chain([&hold, &advance]) {
        session.prepare(sql).await.map_err(failed)?;
    }
    let (positions, builds_on) = (copies::written(&batch.positions), copies::written(&batch.builds_on));
    let counts = [batch.folded, batch.dead_lettered].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    let projection = fence.projection.as_str();
    let [held, advanced]: [&[&(dyn ToSql + Sync)]; 2] =
        [&[&projection], &[&copy.row, &positions, &counts[0], &counts[1], &builds_on]];
    let requests = join3(
        join(session.run("BEGIN"), session.row(&hold, held)),
        join_all(writes.iter().map(|write| write.run(session))),
        session.execute(&advance, advanced),
    );
    // Sent in the order in which they are written here. The first error is the cause of those after it.
    let ((begun, held), written, advanced) = Box::pin(requests).await;
    begun.map_err(failed)?;
    lease::check(fence, held.map_err(failed)?)?;
    for result in written {
        result.map_err(failed)?;
    }
    if advanced.map_err(failed)? == 0 {
        // The copy is gone, or it stands elsewhere. What was written goes with the session.
        let found = copies::standing(session, schema, &copy.id).await?;
        return Err(StoreError::Moved { copy: copy.id.clone(), expected: batch.builds_on.clone(), found });
    }
    session.run("COMMIT").await.map_err(failed)
}

fn advance(schema: &Schema) -> String {
    format!(
        "UPDATE {} SET positions = positions || $2, folded = folded + $3, dead_lettered = dead_lettered + $4
         WHERE id = $1 AND positions = $5",
        schema.copies()
    )
}

fn writes<'w>(copy: &CopyTables, batch: &'w Batch) -> Result<Vec<Write<'w>>, StoreError> {
    for write in &batch.writes {
        check_fits(copy, write)?;
    }
    let mut statements = Vec::new();
    for table in copy.tables() {
        let of_table = || batch.writes.iter().filter(|write| write.collection == table.collection);
        let put = of_table().filter_map(|write| Some((write.key.as_str(), write.document.as_ref()?)));
        for some in in_parts(put.collect()) {
            statements.push(Write::put(table, &some));
        }
        let deleted: Vec<&str> =
            of_table().filter(|write| write.document.is_none()).map(|write| write.key.as_str()).collect();
        if !deleted.is_empty() {
            let sql = format!("DELETE FROM {} WHERE key = ANY ($1)", table.name);
            statements.push(Write { sql, parameters: vec![Box::new(deleted)] });
        }
    }
    Ok(statements)
}

fn check_fits(copy: &CopyTables, write: &DocumentWrite) -> Result<(), StoreError> {
    let table = copy.table(&write.collection)?;
    match &write.document {
        Some(document) if document.index_values.len() != table.columns => Err(StoreError::Refused(format!(
            "a document of the collection `{}` has {} indexed fields, the copy {} has {}",
            write.collection,
            document.index_values.len(),
            copy.id,
            table.columns
        ))),
        _ => Ok(()),
    }
}

fn in_parts<'w>(documents: Vec<(&'w str, &'w Written)>) -> Vec<Vec<(&'w str, &'w Written)>> {
    let mut parts: Vec<Vec<_>> = Vec::new();
    let mut bytes = 0;
    for (key, document) in documents {
        bytes += document.body.len();
        match parts.last_mut() {
            Some(part) if part.len() < DOCUMENTS && bytes <= BYTES => part.push((key, document)),
            _ => {
                bytes = document.body.len();
                parts.push(vec![(key, document)]);
            }
        }
    }
    parts
}

// === impl Write ===

impl<'w> Write<'w> {
    /// One array per column.
    fn put(table: &Table, documents: &[(&'w str, &'w Written)]) -> Self {
        let each = |of: &dyn Fn(usize) -> String| (0..table.columns).map(of).collect::<String>();
        let sql = format!(
            "INSERT INTO {} (key, body{}) SELECT * FROM UNNEST($1::text[], $2::bytea[]{})
             ON CONFLICT (key) DO UPDATE SET body = excluded.body{}",
            table.name,
            each(&|column| format!(", c{column}")),
            each(&|column| format!(", ${}::bytea[]", column + 3)),
            each(&|column| format!(", c{column} = excluded.c{column}")),
        );
        let keys: Vec<&str> = documents.iter().map(|(key, _)| *key).collect();
        let bodies: Vec<&[u8]> = documents.iter().map(|(_, document)| &*document.body).collect();
        let mut parameters: Vec<Parameter<'w>> = vec![Box::new(keys), Box::new(bodies)];
        for column in 0..table.columns {
            let value =
                |(_, document): &(&str, &'w Written)| document.index_values.get(column).map(IndexValue::as_bytes);
            let values: Vec<Option<&[u8]>> = documents.iter().map(value).collect();
            parameters.push(Box::new(values));
        }
        Self { sql, parameters }
    }

    async fn run(&self, session: &Session) -> Result<u64, Error> {
        let parameters: Vec<&(dyn ToSql + Sync)> = self.parameters.iter().map(|it| &**it as _).collect();
        session.execute(&self.sql, &parameters).await
    }
}
