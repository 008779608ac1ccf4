//! The commit: emits, state and settlement of a delivery become durable in one transaction.
//!
//! Because they are one transaction, no marker is needed. "This delivery was committed" and "this origin is settled for
//! this route" are the same row, and a repeated commit finds it. The steps, and what a crash after each of them means:
//!
//! | the process dies after | what a reopening finds | what happens then | why nothing is lost or doubled |
//! |---|---|---|---|
//! | 1. the handler returned, the commit waits for the writer | nothing of it | the delivery is handed out again, the handler runs again | no effect of the first run is anywhere |
//! | 2. the group was decided in memory | nothing of it | as above | the store was not touched |
//! | 3. part of the group stands in the journal | the journal's last batch has no end mark: it is cut off | as above | fjall replays a batch whole or not at all |
//! | 4. all of it stands in the journal, not synced | after a killed process: all of it. After a power cut: all or nothing | all: as 5. nothing: as above | nobody was told yet, so both are true |
//! | 5. it is synced, nobody was told | all of it | the origin is settled and not handed out again | emits and settlement are the same batch |
//! | 6. the caller was told | all of it | nothing | – |
//!
//! And while the process lives: a call that is repeated after `Unavailable`, or whose answer was dropped, finds the
//! origin settled and does nothing. A refused commit has written nothing, and the others of its group go on.
//!
//! Emits also carry ids that are remembered for the stream's duplicate window. That is not what makes them happen once;
//! it keeps an event out that somebody else published under the same id.

use std::sync::Arc;

use tidemill_core::name::PluginName;
use tidemill_core::port::{BrokerError, Commit, Revision, StateCommit, StateCommitted, StateWrite};

use crate::publish;
use crate::route::Route;
use crate::state;
use crate::transaction::{Standing, Transaction};

/// One delivery of a handler without state.
pub(crate) fn commit(tx: &mut Transaction<'_>, commit: &Commit) -> Result<(), BrokerError> {
    let route = tx.route(&commit.route)?;
    if !tx.is_unsettled(&route, &commit.origin)? {
        return Ok(());
    }
    let streams = publish::check_all(tx, commit.emits.iter())?;
    publish::store_all(tx, commit.emits.iter(), &streams)?;
    tx.settle(&route, &commit.origin);
    Ok(())
}

/// Several deliveries and the state that they leave behind: all of it or nothing.
pub(crate) fn commit_state(tx: &mut Transaction<'_>, batch: &StateCommit) -> Result<StateCommitted, BrokerError> {
    let mut routes: Vec<Arc<Route>> = Vec::with_capacity(batch.commits.len());
    let mut already_committed = Vec::new();
    for (index, commit) in batch.commits.iter().enumerate() {
        let route = tx.route(&commit.route)?;
        if !tx.is_unsettled(&route, &commit.origin)? {
            already_committed.push(index);
        }
        routes.push(route);
    }
    if !already_committed.is_empty() || !is_current(tx, &batch.space, &batch.writes)? {
        return Ok(StateCommitted::Conflict { already_committed });
    }
    let emits = || batch.commits.iter().flat_map(|commit| commit.emits.iter());
    let streams = publish::check_all(tx, emits())?;
    publish::store_all(tx, emits(), &streams)?;
    for (route, commit) in routes.iter().zip(&batch.commits) {
        tx.settle(route, &commit.origin);
    }
    let revisions = batch.writes.iter().map(|write| state::write(tx, &batch.space, write)).collect();
    Ok(StateCommitted::Done { revisions })
}

/// Whether an earlier attempt was committed. Then its delivery is settled too, and there is nothing left to do.
pub(crate) fn was_committed(tx: &Transaction<'_>, commit: &Commit) -> Result<bool, BrokerError> {
    let route = tx.route(&commit.route)?;
    Ok(tx.standing(&route, &commit.origin) == Standing::Settled)
}

fn is_current(tx: &mut Transaction<'_>, space: &PluginName, writes: &[StateWrite]) -> Result<bool, BrokerError> {
    for write in writes {
        if let Some(expected) = write.expected
            && current(tx, space, &write.key)? != expected
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn current(tx: &mut Transaction<'_>, space: &PluginName, key: &str) -> Result<Revision, BrokerError> {
    Ok(state::read(tx, space, key)?.revision)
}
