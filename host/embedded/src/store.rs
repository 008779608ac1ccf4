//! Tables of bytes that change together: what the broker needs of a storage engine, and nothing else of it.
//!
//! Two known engines are an enum and not a trait, so that reads can lend rows instead of boxing them.

mod disk;
mod memory;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use tidemill_core::port::BrokerError;

pub(crate) use disk::Disk;
pub(crate) use memory::Memory;

/// A key or a value: up to 20 bytes stand in place, more are shared when cloned. fjall keeps rows in it, so that a row
/// is copied once on its way in.
pub(crate) use fjall::Slice;

/// A table. The named ones always exist; each stream has one more for its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Table(usize);

impl Table {
    /// Streams, their extents, counters.
    pub(crate) const META: Self = Self(0);
    /// Message ids, two generations: see [`stream`](crate::stream).
    pub(crate) const IDS: [Self; 2] = [Self(1), Self(2)];
    /// Positions of routes.
    pub(crate) const ROUTES: Self = Self(3);
    /// Deliveries that come back apart from their stream: parked and redriven ones.
    pub(crate) const RETURNING: Self = Self(4);
    pub(crate) const STATE: Self = Self(5);
    pub(crate) const DEAD_LETTERS: Self = Self(6);

    const NAMED: [&'static str; 7] = ["meta", "ids-0", "ids-1", "routes", "returning", "state", "dead-letters"];

    fn of_messages(index: usize) -> Self {
        Self(Self::NAMED.len() + index)
    }
}

/// Where the tables are.
pub(crate) enum Store {
    Disk(Disk),
    Memory(Memory),
}

/// What a store could not do. The text is the engine's.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct StoreError(String);

/// Rows that become visible and durable together. It answers reads of its own rows, so that a decision late in a group
/// sees what an earlier one wrote; messages are not read back, and are not kept findable.
#[derive(Default)]
pub(crate) struct Batch {
    rows: Vec<Change>,
    /// Where the rows of the named tables are.
    index: [HashMap<Slice, usize>; Table::NAMED.len()],
    bytes: usize,
}

pub(crate) struct Change {
    table: Table,
    key: Slice,
    /// `None` removes.
    value: Option<Slice>,
}

// === impl Store ===

impl Store {
    /// Opens or creates the tables in a directory.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        Ok(Self::Disk(Disk::open(dir)?))
    }

    pub(crate) fn in_memory() -> Self {
        Self::Memory(Memory::new(Table::NAMED.len()))
    }

    /// The table of a stream's messages, created if it is missing. `index` numbers the streams from 0, in a fixed order.
    pub(crate) fn message_table(&self, index: usize, stream: &str) -> Result<Table, StoreError> {
        let table = Table::of_messages(index);
        match self {
            Self::Disk(disk) => disk.create(table, stream)?,
            Self::Memory(memory) => memory.create(table),
        }
        Ok(table)
    }

    /// Shows the row to `read`, if there is one.
    pub(crate) fn get<T>(
        &self,
        table: Table,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, StoreError> {
        match self {
            Self::Disk(disk) => disk.get(table, key, read),
            Self::Memory(memory) => Ok(memory.get(table, key, read)),
        }
    }

    /// Shows the rows from `from` on, below `to`, in the order of their keys, until `visit` breaks.
    pub(crate) fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        match self {
            Self::Disk(disk) => disk.scan(table, from, to, visit),
            Self::Memory(memory) => {
                memory.scan(table, from, to, visit);
                Ok(())
            }
        }
    }

    /// Applies all rows at once. On `Ok` they are on disk.
    pub(crate) fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        match self {
            Self::Disk(disk) => disk.apply(batch.rows),
            Self::Memory(memory) => memory.apply(batch.rows),
        }
    }

    /// Empties a table at once, which costs no row by row removal.
    pub(crate) fn clear(&self, table: Table) -> Result<(), StoreError> {
        match self {
            Self::Disk(disk) => disk.clear(table),
            Self::Memory(memory) => {
                memory.clear(table);
                Ok(())
            }
        }
    }
}

// === impl Batch ===

impl Batch {
    pub(crate) fn put(&mut self, table: Table, key: Slice, value: Slice) {
        self.set(table, key, Some(value));
    }

    pub(crate) fn remove(&mut self, table: Table, key: Slice) {
        self.set(table, key, None);
    }

    /// What this batch does with a row of a named table: `None` nothing, `Some(None)` removes it.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Option<Option<&[u8]>> {
        let row = *self.index.get(table.0)?.get(key)?;
        Some(self.rows[row].value.as_deref())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The size of all keys and values.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// One row per key, also when it is written twice: an engine keeps no order inside a batch.
    fn set(&mut self, table: Table, key: Slice, value: Option<Slice>) {
        self.bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
        if let Some(index) = self.index.get_mut(table.0) {
            if let Some(row) = index.get(&key) {
                self.rows[*row].value = value;
                return;
            }
            index.insert(key.clone(), self.rows.len());
        }
        self.rows.push(Change { table, key, value });
    }
}

// === impl StoreError ===

impl StoreError {
    pub(crate) fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl From<StoreError> for BrokerError {
    fn from(error: StoreError) -> Self {
        crate::log::unavailable(error.0)
    }
}
