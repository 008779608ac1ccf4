//! Storing messages: which stream, known already, room, append.

use std::time::SystemTime;

use tidemill_core::port::{BrokerError, Outgoing, Published};

use crate::keys::{self, MAX_ID_BYTES};
use crate::log::unavailable;
use crate::retention;
use crate::row::{Damaged, MessageRow, from_nanos, nanos, size_of};
use crate::store::Slice;
use crate::transaction::Transaction;

/// The largest message: headers, subject and payload. JetStream servers are commonly set to 1 to 8 MiB.
const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// Publishes one message.
pub(crate) fn publish(tx: &mut Transaction<'_>, outgoing: &Outgoing) -> Result<Published, BrokerError> {
    let stream = check(tx, outgoing)?;
    let name = tx.ledger.streams[stream].settings.name.clone();
    if let Some(sequence) = known(tx, stream, &outgoing.id)? {
        return Ok(Published { stream: name, sequence, duplicate: true });
    }
    make_room(tx, stream, size_of(&outgoing.message) as u64)?;
    let sequence = append(tx, stream, outgoing);
    Ok(Published { stream: name, sequence, duplicate: false })
}

/// Whether all of these could be stored now, together, and in which streams. Writes nothing but what
/// [`retention`] removes for room.
pub(crate) fn check_all<'e>(
    tx: &mut Transaction<'_>,
    emits: impl Iterator<Item = &'e Outgoing>,
) -> Result<Vec<usize>, BrokerError> {
    let mut streams = Vec::new();
    let mut needed: Vec<(usize, u64)> = Vec::new();
    for emit in emits {
        let stream = check(tx, emit)?;
        streams.push(stream);
        if tx.ledger.streams[stream].settings.max_bytes.is_some() && known(tx, stream, &emit.id)?.is_none() {
            let size = size_of(&emit.message) as u64;
            match needed.iter_mut().find(|(known, _)| *known == stream) {
                Some((_, bytes)) => *bytes += size,
                None => needed.push((stream, size)),
            }
        }
    }
    needed.into_iter().try_for_each(|(stream, bytes)| make_room(tx, stream, bytes))?;
    Ok(streams)
}

/// Stores what [`check_all`] admitted, each id once.
pub(crate) fn store_all<'e>(
    tx: &mut Transaction<'_>,
    emits: impl Iterator<Item = &'e Outgoing>,
    streams: &[usize],
) -> Result<(), BrokerError> {
    for (emit, stream) in emits.zip(streams) {
        if known(tx, *stream, &emit.id)?.is_none() {
            append(tx, *stream, emit);
        }
    }
    Ok(())
}

/// The stream that a message goes to.
fn check(tx: &Transaction<'_>, outgoing: &Outgoing) -> Result<usize, BrokerError> {
    let subject = outgoing.message.subject.as_str();
    let size = size_of(&outgoing.message);
    if size > MAX_MESSAGE_BYTES {
        return Err(BrokerError::Refused(format!(
            "a message to `{subject}` has {size} bytes, at most {MAX_MESSAGE_BYTES} are stored"
        )));
    }
    if outgoing.id.is_empty() || outgoing.id.len() > MAX_ID_BYTES {
        return Err(BrokerError::Refused(format!(
            "a message to `{subject}` has an id of {} bytes, expected 1 to {MAX_ID_BYTES}",
            outgoing.id.len()
        )));
    }
    let captured = tx.ledger.streams.iter().position(|stream| stream.settings.captures(subject));
    captured.ok_or_else(|| {
        BrokerError::Refused(format!(
            "no stream captures the subject `{subject}`; add it to the `subjects` of one under `streams` in runtime.yaml"
        ))
    })
}

/// The sequence under which this id was stored within the duplicate window.
fn known(tx: &mut Transaction<'_>, stream: usize, id: &str) -> Result<Option<u64>, BrokerError> {
    let key = keys::message_id(stream, id);
    for table in tx.ledger.ids.tables() {
        let found = tx.read(table, &key, decode_id)?;
        if let Some((sequence, expires)) = found
            && expires > tx.now
        {
            return Ok(Some(sequence));
        }
    }
    Ok(None)
}

fn append(tx: &mut Transaction<'_>, stream: usize, outgoing: &Outgoing) -> u64 {
    let now = tx.now;
    let target = &mut tx.ledger.streams[stream];
    let (messages, extent) = (target.messages, &mut target.extent);
    let sequence = extent.end;
    let stored = now.max(extent.last_stored);
    extent.end += 1;
    extent.bytes += size_of(&outgoing.message) as u64;
    extent.last_stored = stored;
    let expires = now + target.settings.duplicate_window;

    let row = Slice::from(MessageRow::encode(&mut tx.scratch, stored, &outgoing.message));
    tx.put(messages, keys::sequence(sequence), row);
    let ids = tx.ledger.ids.tables()[0];
    tx.put(ids, keys::message_id(stream, &outgoing.id), encode_id(sequence, expires));
    tx.note_appended(stream, sequence, outgoing.message.subject.clone());
    sequence
}

/// Of a fixed width that fits into a [`Slice`] without memory of its own.
fn encode_id(sequence: u64, expires: SystemTime) -> [u8; 16] {
    ((u128::from(sequence) << 64) | u128::from(nanos(expires))).to_be_bytes()
}

fn decode_id(row: &[u8]) -> Result<(u64, SystemTime), Damaged> {
    let both = row.try_into().map(u128::from_be_bytes).map_err(|_| Damaged("a message id"))?;
    Ok(((both >> 64) as u64, from_nanos(both as u64)))
}

fn make_room(tx: &mut Transaction<'_>, stream: usize, needed: u64) -> Result<(), BrokerError> {
    let target = &tx.ledger.streams[stream];
    let Some(max) = target.settings.max_bytes else { return Ok(()) };
    if target.extent.bytes + needed <= max {
        return Ok(());
    }
    retention::make_room(tx, stream, max.saturating_sub(needed))?;
    let target = &tx.ledger.streams[stream];
    if target.extent.bytes + needed <= max {
        return Ok(());
    }
    Err(unavailable(format!(
        "the stream `{}` is full: it holds {} of {max} bytes, and its routes have not settled more; \
         wait for them, or raise `max_bytes`",
        target.settings.name, target.extent.bytes
    )))
}
