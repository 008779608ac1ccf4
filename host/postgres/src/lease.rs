//! Who may write a projection, and until when.
//!
//! The row of a projection counts its claims. A holder is replaced when it has given the claim back or was silent for the time
//! of the lease, by the server's clock. Nobody needs to notice that in time: the count decides.

use std::time::Duration;

use tidemill_core::name::ProjectionName;
use tidemill_core::read_model::{Claim, Fence, StoreError};

use crate::problem::problem;
use crate::schema::Schema;
use crate::session::Session;

/// A projection's row.
pub(crate) struct Known {
    pub(crate) paused: bool,
    /// Who has it, if its time is not over.
    pub(crate) holder: Option<String>,
    left: Duration,
}

pub(crate) async fn claim(
    session: &Session,
    schema: &Schema,
    projection: &ProjectionName,
    holder: &str,
    lease: Duration,
) -> Result<Claim, StoreError> {
    // Looking first locks nothing: those who wait for their turn do not hold up the one who writes.
    if let Some(claim) = held(session, schema, projection).await? {
        return Ok(claim);
    }
    let table = schema.projections();
    let sql = format!(
        "INSERT INTO {table} AS known (name, epoch, holder, expires, paused, copies)
         VALUES ($1, 1, $2, clock_timestamp() + make_interval(secs => $3), false, 0)
         ON CONFLICT (name) DO UPDATE
             SET epoch = known.epoch + 1, holder = excluded.holder, expires = clock_timestamp() + make_interval(secs => $3)
             WHERE known.holder IS NULL OR known.expires <= clock_timestamp()
         RETURNING epoch"
    );
    let claimed = session.row(&sql, &[&projection.as_str(), &holder, &lease.as_secs_f64()]).await;
    match claimed.map_err(|error| problem(&error))? {
        Some(row) => {
            Ok(Claim::Granted(Fence { projection: projection.clone(), epoch: row.get::<_, i64>(0).unsigned_abs() }))
        }
        // Somebody else was faster.
        None => Ok(held(session, schema, projection)
            .await?
            .unwrap_or_else(|| Claim::Held { by: "another host".to_owned(), for_at_least: Duration::ZERO })),
    }
}

async fn held(session: &Session, schema: &Schema, projection: &ProjectionName) -> Result<Option<Claim>, StoreError> {
    let known = known(session, schema, projection).await?;
    Ok(known.and_then(|known| Some(Claim::Held { by: known.holder?, for_at_least: known.left })))
}

pub(crate) async fn known(
    session: &Session,
    schema: &Schema,
    projection: &ProjectionName,
) -> Result<Option<Known>, StoreError> {
    let sql = format!(
        "SELECT paused, holder, extract(epoch FROM expires - clock_timestamp())::float8 FROM {} WHERE name = $1",
        schema.projections()
    );
    let row = session.row(&sql, &[&projection.as_str()]).await.map_err(|error| problem(&error))?;
    Ok(row.map(|row| {
        let left = Duration::try_from_secs_f64(row.get(2)).unwrap_or_default();
        let holder = row.get::<_, Option<String>>(1).filter(|_| !left.is_zero());
        Known { paused: row.get(0), holder, left }
    }))
}

/// Extends the lease. One that was given back stays so.
pub(crate) async fn renew(
    session: &Session,
    schema: &Schema,
    fence: &Fence,
    lease: Duration,
) -> Result<(), StoreError> {
    let sql = format!(
        "UPDATE {} SET expires = CASE WHEN holder IS NULL THEN expires
                                      ELSE clock_timestamp() + make_interval(secs => $3) END
         WHERE name = $1 AND epoch = $2",
        schema.projections()
    );
    held_by(fence, session.execute(&sql, &[&fence.projection.as_str(), &epoch(fence), &lease.as_secs_f64()]).await)
}

pub(crate) async fn release(session: &Session, schema: &Schema, fence: &Fence) -> Result<(), StoreError> {
    let sql = format!("UPDATE {} SET holder = NULL WHERE name = $1 AND epoch = $2", schema.projections());
    held_by(fence, session.execute(&sql, &[&fence.projection.as_str(), &epoch(fence)]).await)
}

pub(crate) async fn set_paused(
    session: &Session,
    schema: &Schema,
    fence: &Fence,
    paused: bool,
) -> Result<(), StoreError> {
    let sql = format!("UPDATE {} SET paused = $3 WHERE name = $1 AND epoch = $2", schema.projections());
    held_by(fence, session.execute(&sql, &[&fence.projection.as_str(), &epoch(fence), &paused]).await)
}

/// The statement that begins each transaction that writes. As long as the transaction lasts, nobody else can claim.
pub(crate) fn hold(schema: &Schema) -> String {
    format!("SELECT epoch FROM {} WHERE name = $1 FOR SHARE", schema.projections())
}

/// Whether the row that [`hold`] found is of this fence.
pub(crate) fn check(fence: &Fence, row: Option<tokio_postgres::Row>) -> Result<(), StoreError> {
    match row {
        Some(row) if row.get::<_, i64>(0) == epoch(fence) => Ok(()),
        _ => Err(StoreError::Fenced(fence.projection.clone())),
    }
}

pub(crate) fn epoch(fence: &Fence) -> i64 {
    i64::try_from(fence.epoch).unwrap_or(i64::MAX)
}

fn held_by(fence: &Fence, changed: Result<u64, tokio_postgres::Error>) -> Result<(), StoreError> {
    match changed.map_err(|error| problem(&error))? {
        0 => Err(StoreError::Fenced(fence.projection.clone())),
        _ => Ok(()),
    }
}
