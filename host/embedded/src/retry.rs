//! Parking: a delivery leaves its place in the stream and waits, in a row of its own, for its next attempt.
//!
//! The row holds the message, so that a long wait does not keep the stream from trimming, and the attempt, so that a
//! crash does not begin to count anew.

use std::sync::Arc;

use tidemill_core::port::{BrokerError, Origin};
use tokio::time::Instant;

use crate::keys;
use crate::log::lock;
use crate::position::When;
use crate::route::Route;
use crate::row::ReturningRow;
use crate::store::Table;
use crate::transaction::Transaction;

/// Parks a delivery until `due`. Does nothing if it is settled, or waits for this attempt or a later one already.
pub(crate) fn park(
    tx: &mut Transaction<'_>,
    route: &Arc<Route>,
    origin: Origin,
    row: &ReturningRow,
    due: Instant,
) -> Result<(), BrokerError> {
    if !tx.is_unsettled(route, &origin)? {
        return Ok(());
    }
    {
        let mut position = lock(&route.position);
        if position.is_stale(&origin, row.redriven) || position.has_attempt(&origin, row.attempt) {
            return Ok(());
        }
        // Until the row is durable the origin counts as settled, so that whoever repeats the call finds it done.
        position.settle(&origin);
    }
    tx.note_moved(route);
    tx.put(Table::RETURNING, keys::returning(&route.name, &origin), row.encode());
    tx.bring_back(Arc::clone(route), origin, row.attempt, row.redriven, When::At(due));
    Ok(())
}
