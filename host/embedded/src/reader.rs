//! Reading a stream without a route: for projections, which keep their position with what they write.
//!
//! Like a pull of a [`source`](crate::source) it reads the store by itself and asks the writer for nothing. Where the
//! stream ends is shared memory that the writer moves on once messages are durable: a reader never sees what a crash could
//! take back. Between reading and returning there is no await, so a dropped call has passed over nothing.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use tidemill_core::name::StreamName;
use tidemill_core::port::{BrokerError, ReadFrom, Reader, Recorded, StreamBounds, Stretch};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::keys;
use crate::log::Log;
use crate::position::Interest;
use crate::row::{Damaged, MessageRow, size_of};
use crate::store::Table;
use crate::transaction::Transaction;

/// How long a call waits for the first message.
const WAIT: Duration = Duration::from_secs(1);

/// How many messages of other subjects are passed over before others may run: some milliseconds of reading.
const LOOK_AT_ONCE: usize = 4096;

/// A stretch that has grown to this size ends: it bounds memory, whatever the size of the messages.
const STRETCH_BYTES: usize = 4 * 1024 * 1024;

/// Where a stream ends for those who read it.
pub(crate) struct Tail {
    messages: Table,
    /// The sequence after the last one that is durable.
    end: AtomicU64,
    /// Rung when the end has moved.
    pub(crate) changed: Notify,
}

/// One reading of a stream.
pub(crate) struct EmbeddedReader {
    log: Arc<Log>,
    tail: Arc<Tail>,
    interest: Interest,
    /// The next sequence to look at.
    next: u64,
    /// What the last stretch was given through.
    through: u64,
}

/// Opens a reader.
pub(crate) fn open(tx: &Transaction<'_>, from: &ReadFrom) -> Result<(Arc<Tail>, Interest), BrokerError> {
    let stream = find(tx, &from.stream)?;
    let interest = Interest::new(&from.subjects, &tx.ledger.streams[stream].settings.subjects);
    Ok((tx.tail(stream), interest))
}

/// The sequences that a stream holds.
pub(crate) fn bounds(tx: &Transaction<'_>, stream: &StreamName) -> Result<StreamBounds, BrokerError> {
    let extent = tx.ledger.streams[find(tx, stream)?].extent;
    Ok(StreamBounds { first: extent.first, last: extent.end - 1 })
}

/// Where the messages of a stream are, if there is such a stream.
pub(crate) fn messages_of(tx: &Transaction<'_>, stream: &StreamName) -> Option<Table> {
    find(tx, stream).ok().map(|stream| tx.ledger.streams[stream].messages)
}

/// One message, if the stream holds it.
pub(crate) fn message(log: &Log, messages: Table, sequence: u64) -> Result<Option<Recorded>, BrokerError> {
    let decode = |row: &[u8]| -> Result<Recorded, Damaged> {
        let MessageRow { stored, message } = MessageRow::decode(row)?;
        Ok(Recorded { sequence, stored, message })
    };
    let found = log.read(|store| Ok(store.get(messages, &keys::sequence(sequence), decode)?))?;
    Ok(found.transpose()?)
}

fn find(tx: &Transaction<'_>, stream: &StreamName) -> Result<usize, BrokerError> {
    let found = tx.ledger.streams.iter().position(|known| known.settings.name == *stream);
    found.ok_or_else(|| {
        BrokerError::Refused(format!("there is no stream `{stream}`; declare it under `streams` in runtime.yaml"))
    })
}

// === impl Tail ===

impl Tail {
    pub(crate) fn new(messages: Table, end: u64) -> Self {
        Self { messages, end: AtomicU64::new(end), changed: Notify::new() }
    }

    pub(crate) fn grow(&self, end: u64) {
        self.end.fetch_max(end, SeqCst);
        self.changed.notify_waiters();
    }
}

// === impl EmbeddedReader ===

impl EmbeddedReader {
    pub(crate) fn new(log: Arc<Log>, tail: Arc<Tail>, interest: Interest, after: u64) -> Self {
        Self { log, tail, interest, next: after.saturating_add(1), through: after }
    }

    /// Reads on. `None`: there is nothing to tell yet; the second value says whether there is more to look at.
    fn look(&mut self, max: usize) -> Result<(Option<Stretch>, bool), BrokerError> {
        self.log.check()?;
        let end = self.tail.end.load(SeqCst);
        let (mut messages, mut bytes, mut looked_at, mut next) = (Vec::new(), 0, 0, end.max(self.next));
        let mut damaged = None;
        let log = Arc::clone(&self.log);
        log.read(|store| {
            store.scan(self.tail.messages, &keys::sequence(self.next), &keys::sequence(end), |key, row| {
                looked_at += 1;
                let sequence = keys::read_sequence(key).unwrap_or(self.next);
                match self.read(sequence, row) {
                    Ok(Some(recorded)) => {
                        bytes += size_of(&recorded.message);
                        messages.push(recorded);
                    }
                    Ok(None) => {}
                    Err(error) => {
                        damaged = Some(error);
                        next = sequence;
                        return ControlFlow::Break(());
                    }
                }
                if messages.len() == max || looked_at == LOOK_AT_ONCE || bytes >= STRETCH_BYTES {
                    next = sequence + 1;
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })?;
            Ok(())
        })?;
        if let Some(error) = damaged.filter(|_| messages.is_empty()) {
            return Err(error.into());
        }
        self.next = next;
        let at_end = next >= end;
        // A message tells how far it is; that nothing fitted is worth telling at the end only.
        if messages.is_empty() && !(at_end && next - 1 > self.through) {
            return Ok((None, !at_end));
        }
        self.through = self.through.max(next - 1);
        Ok((Some(self.stretch(messages)), !at_end))
    }

    fn read(&self, sequence: u64, row: &[u8]) -> Result<Option<Recorded>, Damaged> {
        if !self.interest.is_everything() && !self.interest.admits(MessageRow::subject(row)?) {
            return Ok(None);
        }
        let MessageRow { stored, message } = MessageRow::decode(row)?;
        Ok(Some(Recorded { sequence, stored, message }))
    }

    fn stretch(&self, messages: Vec<Recorded>) -> Stretch {
        Stretch { messages, through: self.through, last: self.tail.end.load(SeqCst) - 1 }
    }
}

#[async_trait]
impl Reader for EmbeddedReader {
    async fn next(&mut self, max: usize) -> Result<Stretch, BrokerError> {
        if max == 0 {
            return Ok(self.stretch(Vec::new()));
        }
        let deadline = Instant::now() + WAIT;
        let tail = Arc::clone(&self.tail);
        loop {
            // Listening begins before looking, so that nothing arrives unheard in between.
            let changed = tail.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.look(max)? {
                (Some(stretch), _) => return Ok(stretch),
                (None, true) => tokio::task::yield_now().await,
                (None, false) if Instant::now() >= deadline => return Ok(self.stretch(Vec::new())),
                (None, false) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(deadline) => {}
                },
            }
        }
    }
}
