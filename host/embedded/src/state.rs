//! Keyed state: one row per existing key, its revision in front.
//!
//! Revisions count up over all keys and are never given twice, so a key that was deleted and written again cannot be
//! mistaken for what it was. A deleted key has no row: its revision is 0, as if it had never been.

use std::ops::ControlFlow;

use bytes::Bytes;
use tidemill_core::name::PluginName;
use tidemill_core::port::{BrokerError, Revision, StateEntry, StateWrite};

use crate::keys;
use crate::log::Log;
use crate::row::{Damaged, RowReader, RowWriter};
use crate::store::Table;
use crate::transaction::Transaction;

/// A key as it will be after this group.
pub(crate) fn read(tx: &mut Transaction<'_>, space: &PluginName, key: &str) -> Result<StateEntry, BrokerError> {
    Ok(tx.read(Table::STATE, &keys::state(space, key), decode)?.unwrap_or_default())
}

/// Writes a key and gives it a new revision.
pub(crate) fn write(tx: &mut Transaction<'_>, space: &PluginName, write: &StateWrite) -> Revision {
    let key = keys::state(space, &write.key);
    let Some(value) = &write.value else {
        tx.remove(Table::STATE, key);
        return Revision(0);
    };
    tx.ledger.revision += 1;
    let revision = tx.ledger.revision;
    let mut row = RowWriter::with_capacity(value.len() + 10);
    row.number(revision).rest(value);
    tx.put(Table::STATE, key, row.finish());
    Revision(revision)
}

/// A key as it is on disk.
pub(crate) fn get(log: &Log, space: &PluginName, key: &str) -> Result<StateEntry, BrokerError> {
    let found = log.read(|store| Ok(store.get(Table::STATE, &keys::state(space, key), decode)?))?;
    Ok(found.transpose()?.unwrap_or_default())
}

/// The keys of a space that begin with `prefix`.
pub(crate) fn list(log: &Log, space: &PluginName, prefix: &str) -> Result<Vec<String>, BrokerError> {
    let (before, from) = (keys::state(space, ""), keys::state(space, prefix));
    let mut found = Vec::new();
    log.read(|store| {
        store.scan(Table::STATE, &from, &keys::after_prefix(&from), |key, _| {
            let key = key.get(before.len()..).unwrap_or_default();
            found.push(String::from_utf8_lossy(key).into_owned());
            ControlFlow::Continue(())
        })?;
        Ok(())
    })?;
    Ok(found)
}

fn decode(row: &[u8]) -> Result<StateEntry, Damaged> {
    let mut row = RowReader::new(row, "a state entry");
    let revision = Revision(row.number()?);
    Ok(StateEntry { value: Some(Bytes::copy_from_slice(row.rest())), revision })
}
