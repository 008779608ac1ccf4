//! What the writer knows by heart, so that it decides without asking the disk: the streams' settings and extents, the
//! counters, and which of the two id tables is in use.

use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use tidemill_core::port::BrokerError;

use crate::keys;
use crate::row::{RowReader, RowWriter};
use crate::store::{Store, Table};
use crate::stream::{Extent, Settings, Stream};

/// A quiet time after the start in which nothing is trimmed: routes that protect their messages are opened in it.
const TRIM_GRACE: Duration = Duration::from_secs(30);

pub(crate) struct Ledger {
    /// In the order of their creation.
    pub(crate) streams: Vec<Stream>,
    /// The revision given last, over all spaces.
    pub(crate) revision: u64,
    /// The dead letter id given last.
    pub(crate) dead_letter: u64,
    pub(crate) ids: IdGenerations,
    /// When to look next for messages that are too old.
    pub(crate) next_trim: SystemTime,
}

/// Ids are written to one of two tables. When every id in the other has expired, that one is emptied and used next: a
/// few large deletions instead of one per message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdGenerations {
    pub(crate) current: usize,
    pub(crate) since: SystemTime,
}

impl Ledger {
    /// Of a log that has just been created.
    pub(crate) fn empty(now: SystemTime) -> Self {
        Self {
            streams: Vec::new(),
            revision: 0,
            dead_letter: 0,
            ids: IdGenerations { current: 0, since: now },
            next_trim: now + TRIM_GRACE,
        }
    }

    /// Reads everything back and makes sure that each stream has its table.
    pub(crate) fn load(store: &Store) -> Result<Self, BrokerError> {
        let mut ledger = Self::empty(SystemTime::now());
        ledger.revision = counter(store, keys::REVISION)?;
        ledger.dead_letter = counter(store, keys::DEAD_LETTER)?;
        ledger.ids = IdGenerations::load(store)?.unwrap_or(ledger.ids);
        let mut settings = Vec::new();
        store.scan(Table::META, keys::STREAMS, &keys::after_prefix(keys::STREAMS), |_, row| {
            settings.push(Settings::decode(row));
            ControlFlow::Continue(())
        })?;
        for (index, settings) in settings.into_iter().enumerate() {
            let settings = settings?;
            let messages = store.message_table(index, settings.name.as_str())?;
            let extent = store.get(Table::META, &keys::extent(index), Extent::decode)?.transpose()?;
            ledger.streams.push(Stream { settings, extent: extent.unwrap_or_default(), messages });
        }
        Ok(ledger)
    }
}

impl IdGenerations {
    fn load(store: &Store) -> Result<Option<Self>, BrokerError> {
        let found = store.get(Table::META, keys::ID_GENERATION, |row| {
            let mut row = RowReader::new(row, "the id generation");
            Ok::<_, crate::row::Damaged>(Self { current: row.number()? as usize % 2, since: row.time()? })
        })?;
        Ok(found.transpose()?)
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let mut row = RowWriter::default();
        row.number(self.current as u64).time(self.since);
        row.finish()
    }

    /// The tables in the order in which an id is looked up.
    pub(crate) fn tables(self) -> [Table; 2] {
        [Table::IDS[self.current], Table::IDS[1 - self.current]]
    }
}

fn counter(store: &Store, key: &[u8]) -> Result<u64, BrokerError> {
    let found = store.get(Table::META, key, |row| RowReader::new(row, "a counter").number())?;
    Ok(found.transpose()?.unwrap_or(0))
}

pub(crate) fn encode_counter(value: u64) -> Vec<u8> {
    let mut row = RowWriter::default();
    row.number(value);
    row.finish()
}
