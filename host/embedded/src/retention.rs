//! What the writer removes: messages that are too old, settled messages of a full stream, expired ids.
//!
//! A message that an open route of this process has not settled is never removed, however old or large the stream is:
//! "no event is lost" is worth more than a limit that is exceeded for a while. With `max_age`, what no open route
//! protects goes when it is too old. With `max_bytes`, a full stream gives up the oldest messages that all its open
//! routes have settled; a stream that no route reads keeps everything and pushes back instead.

use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use tidemill_core::port::BrokerError;

use crate::keys;
use crate::log::lock;
use crate::row::MessageRow;
use crate::store::{Slice, Table};
use crate::transaction::Transaction;

/// At most so many messages leave a stream within one group, so that no publisher waits for a cleaning day. Ten times
/// what a busy group appends.
const AT_ONCE: usize = 4096;

/// How long between two looks at the age of messages, when the last look found nothing left to do.
const INTERVAL: Duration = Duration::from_secs(1);

/// Ids are kept for at least this long, so that generations do not change all the time for tiny windows.
const MIN_GENERATION: Duration = Duration::from_secs(10);

/// Removes what has grown too old. Called at the beginning of a group.
pub(crate) fn tend(tx: &mut Transaction<'_>) -> Result<(), BrokerError> {
    turn_id_generation(tx)?;
    if tx.now < tx.ledger.next_trim {
        return Ok(());
    }
    let mut more = false;
    for stream in 0..tx.ledger.streams.len() {
        if let Some(age) = tx.ledger.streams[stream].settings.max_age {
            let oldest = tx.now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
            let to = protected(tx, stream).unwrap_or(u64::MAX);
            more |= trim(tx, stream, to, |stored, _| stored < oldest)? == AT_ONCE;
        }
    }
    if !more {
        tx.ledger.next_trim = tx.now + INTERVAL;
    }
    Ok(())
}

/// Removes settled messages, oldest first, until the stream has at most `target` bytes.
pub(crate) fn make_room(tx: &mut Transaction<'_>, stream: usize, target: u64) -> Result<(), BrokerError> {
    let Some(to) = protected(tx, stream) else { return Ok(()) };
    trim(tx, stream, to, |_, bytes| bytes > target)?;
    Ok(())
}

/// The first sequence that an open route still needs; `None` when no open route reads the stream.
fn protected(tx: &Transaction<'_>, stream: usize) -> Option<u64> {
    tx.routes_of(stream).iter().map(|route| lock(&route.position).floor()).min()
}

/// Removes from the front, below `to`, while `goes` says so of a message's time and the stream's size.
fn trim(
    tx: &mut Transaction<'_>,
    stream: usize,
    to: u64,
    goes: impl Fn(SystemTime, u64) -> bool,
) -> Result<usize, BrokerError> {
    let target = &tx.ledger.streams[stream];
    let (messages, mut extent) = (target.messages, target.extent);
    // What this group appended is not in the store yet; it is not old either.
    let mut removed = Vec::new();
    let scanned = tx.store.scan(messages, &keys::sequence(extent.first), &keys::sequence(to), |key, row| {
        let (Some(sequence), Ok(message)) = (keys::read_sequence(key), MessageRow::decode(row)) else {
            return ControlFlow::Break(());
        };
        if removed.len() == AT_ONCE || !goes(message.stored, extent.bytes) {
            return ControlFlow::Break(());
        }
        extent.first = sequence + 1;
        extent.bytes = extent.bytes.saturating_sub(crate::row::size_of(&message.message) as u64);
        removed.push(Slice::from(key));
        ControlFlow::Continue(())
    });
    tx.check(scanned)?;
    let count = removed.len();
    if count > 0 {
        tx.ledger.streams[stream].extent = extent;
        tx.note_resized(stream);
        removed.into_iter().for_each(|key| tx.remove(messages, key));
    }
    Ok(count)
}

/// When the ids of the older generation have all expired, its table becomes the next one to write to.
fn turn_id_generation(tx: &mut Transaction<'_>) -> Result<(), BrokerError> {
    let windows = tx.ledger.streams.iter().map(|stream| stream.settings.duplicate_window);
    let lifetime = windows.max().unwrap_or_default().max(MIN_GENERATION);
    if tx.now < tx.ledger.ids.since + lifetime {
        return Ok(());
    }
    // Emptied before the change is durable: should it never become durable, an empty older generation is right too.
    let cleared = tx.store.clear(tx.ledger.ids.tables()[1]);
    tx.check(cleared)?;
    tx.ledger.ids.current = 1 - tx.ledger.ids.current;
    tx.ledger.ids.since = tx.now;
    let row = tx.ledger.ids.encode();
    tx.put(Table::META, keys::ID_GENERATION, row);
    Ok(())
}
