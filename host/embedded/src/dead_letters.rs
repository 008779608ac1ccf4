//! Dead letters: kept under increasing numbers, and given back to the route where they died.

use std::ops::ControlFlow;
use std::sync::Arc;

use tidemill_core::dead_letter;
use tidemill_core::message::Message;
use tidemill_core::name::RouteName;
use tidemill_core::port::{BrokerError, DeadLetterQuery, Origin, Redrive, StoredDeadLetter};

use crate::keys;
use crate::ledger::encode_counter;
use crate::log::{Log, lock};
use crate::position::When;
use crate::route::Route;
use crate::row::{DeadLetterRow, ReturningRow, RowReader};
use crate::store::Table;
use crate::transaction::Transaction;

/// Stores the record and removes the delivery from its route's input, in one transaction: so once per origin, however
/// often this is called, until the event is redriven and dies again.
pub(crate) fn bury(
    tx: &mut Transaction<'_>,
    route: &Arc<Route>,
    origin: &Origin,
    redriven: u32,
    record: Message,
) -> Result<(), BrokerError> {
    if !tx.is_unsettled(route, origin)? || lock(&route.position).is_stale(origin, redriven) {
        return Ok(());
    }
    store(tx, route.name.clone(), origin, record);
    tx.settle(route, origin);
    Ok(())
}

/// Stores the record of an event that was read without a route. There is no position that would tell whether that was done
/// before, so the record's subject, which names the event, points to it as long as it is there.
pub(crate) fn bury_read(
    tx: &mut Transaction<'_>,
    route: RouteName,
    origin: &Origin,
    record: Message,
) -> Result<(), BrokerError> {
    let place = keys::grave(&record.subject);
    if tx.read(Table::META, &place, |_| Ok(()))?.is_none() {
        let id = store(tx, route, origin, record);
        tx.put(Table::META, place, encode_counter(id));
    }
    Ok(())
}

/// Which route or projection a record is of.
pub(crate) fn route_of(record: &Message) -> Result<RouteName, BrokerError> {
    dead_letter::route_of(record).map_err(|error| BrokerError::Refused(error.to_string()))
}

fn store(tx: &mut Transaction<'_>, route: RouteName, origin: &Origin, record: Message) -> u64 {
    tx.ledger.dead_letter += 1;
    let id = tx.ledger.dead_letter;
    let row = DeadLetterRow { route, stored: tx.now, message: record };
    tx.put(Table::DEAD_LETTERS, keys::sequence(id), row.encode(origin));
    id
}

/// Removes a dead letter. `false`: there is none of this number.
pub(crate) fn discard(tx: &mut Transaction<'_>, id: u64) -> Result<bool, BrokerError> {
    let key = keys::sequence(id);
    // One that cannot be read goes, too.
    let found = tx.read(Table::DEAD_LETTERS, &key, |row| Ok(DeadLetterRow::decode(row).ok()))?;
    let Some(letter) = found else { return Ok(false) };
    tx.remove(Table::DEAD_LETTERS, key);
    let Some(letter) = letter else { return Ok(true) };
    let place = keys::grave(&letter.message.subject);
    let points_here = tx.read(Table::META, &place, |row| RowReader::new(row, "a grave").number())? == Some(id);
    if points_here {
        tx.remove(Table::META, place);
    }
    Ok(true)
}

/// Removes the dead letter and lets the original come back to its route, in one transaction. The route need not be open.
pub(crate) fn redrive(tx: &mut Transaction<'_>, order: Redrive) -> Result<bool, BrokerError> {
    if !discard(tx, order.dead_letter)? {
        return Ok(false);
    }
    let row = ReturningRow {
        attempt: 1,
        redriven: order.redriven,
        due: tx.now,
        first_failure: None,
        stored: order.stored,
        message: order.message,
    };
    tx.put(Table::RETURNING, keys::returning(&order.route, &order.origin), row.encode());
    if let Some(route) = tx.open_route(&order.route) {
        tx.bring_back(route, order.origin, row.attempt, row.redriven, When::Now);
    }
    Ok(true)
}

pub(crate) fn get(log: &Log, id: u64) -> Result<Option<StoredDeadLetter>, BrokerError> {
    let row = log.read(|store| Ok(store.get(Table::DEAD_LETTERS, &keys::sequence(id), DeadLetterRow::decode)?))?;
    Ok(row.transpose()?.map(|row| stored(id, row)))
}

pub(crate) fn list(log: &Log, query: &DeadLetterQuery) -> Result<Vec<StoredDeadLetter>, BrokerError> {
    let from = keys::sequence(query.after.saturating_add(1));
    let mut rows = Vec::new();
    log.read(|store| {
        store.scan(Table::DEAD_LETTERS, &from, &keys::after_prefix(&[]), |key, row| {
            if rows.len() >= query.limit {
                return ControlFlow::Break(());
            }
            if is_wanted(query, row) {
                rows.push((keys::read_sequence(key), DeadLetterRow::decode(row)));
            }
            ControlFlow::Continue(())
        })?;
        Ok(())
    })?;
    let letters = rows.into_iter().filter_map(|(id, row)| id.map(|id| Ok(stored(id, row?))));
    letters.collect()
}

/// A row that cannot be read is wanted, so that the error is seen.
fn is_wanted(query: &DeadLetterQuery, row: &[u8]) -> bool {
    let Some(wanted) = &query.route else { return true };
    DeadLetterRow::route(row).map_or(true, |route| route == wanted.as_str())
}

fn stored(id: u64, row: DeadLetterRow) -> StoredDeadLetter {
    StoredDeadLetter { id, stored: row.stored, message: row.message }
}
