//! The tables on disk, in fjall: one keyspace each, one journal for all, so that a batch over several is atomic.
//!
//! Sizes are chosen for a host that should idle below 80 MiB and reopen quickly. fjall replays its journals when it
//! opens, and a journal lives until every table in it was flushed. Small tables that change in every group (positions,
//! counters) would pin journals for long, so their memtables are small too.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use fjall::config::PinningPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Change, StoreError, Table};

const MIB: u64 = 1024 * 1024;

/// The least that fjall accepts. Together with the journal in use this bounds what a reopening replays.
const MAX_JOURNALS: u64 = 64 * MIB;

/// Blocks of tables that were read lately. Tail reads are served by memtables, so little is enough.
const CACHE: u64 = 16 * MIB;

/// One thread flushes while the other compacts.
const BACKGROUND_THREADS: usize = 2;

/// A flushed memtable becomes one file; smaller ones mean more of them and more merging, larger ones more memory.
const MESSAGE_MEMTABLE: u64 = 12 * MIB;
const ID_MEMTABLE: u64 = 6 * MIB;
const SMALL_MEMTABLE: u64 = 2 * MIB;

pub(crate) struct Disk {
    database: Database,
    /// By the number of the table.
    tables: RwLock<Vec<Keyspace>>,
}

impl Disk {
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let database = Database::builder(dir)
            .cache_size(CACHE)
            .max_journaling_size(MAX_JOURNALS)
            .worker_threads(BACKGROUND_THREADS)
            .manual_journal_persist(true)
            .open()
            .map_err(StoreError::new)?;
        let mut tables = Vec::new();
        for name in Table::NAMED {
            let memtable = if name.starts_with("ids") { ID_MEMTABLE } else { SMALL_MEMTABLE };
            tables.push(open_table(&database, name, memtable)?);
        }
        Ok(Self { database, tables: RwLock::new(tables) })
    }

    /// Streams are numbered in the order of their creation, so their tables are created in order too.
    pub(crate) fn create(&self, table: Table, stream: &str) -> Result<(), StoreError> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if table.0 == tables.len() {
            tables.push(open_table(&self.database, &format!("messages-{stream}"), MESSAGE_MEMTABLE)?);
        }
        Ok(())
    }

    pub(crate) fn get<T>(
        &self,
        table: Table,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, StoreError> {
        let row = self.table(table).get(key).map_err(StoreError::new)?;
        Ok(row.map(|value| read(&value)))
    }

    pub(crate) fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        for row in self.table(table).range(from..to) {
            let (key, value) = row.into_inner().map_err(StoreError::new)?;
            if visit(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Journals, syncs and then shows the rows, in this order.
    pub(crate) fn apply(&self, rows: Vec<Change>) -> Result<(), StoreError> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let batch = fjall::OwnedWriteBatch::with_capacity(self.database.clone(), rows.len());
        let mut batch = batch.durability(Some(PersistMode::SyncData));
        for Change { table, key, value } in rows {
            match value {
                Some(value) => batch.insert(&tables[table.0], key, value),
                None => batch.remove(&tables[table.0], key),
            }
        }
        batch.commit().map_err(StoreError::new)
    }

    pub(crate) fn clear(&self, table: Table) -> Result<(), StoreError> {
        self.table(table).clear().map_err(StoreError::new)
    }

    fn table(&self, table: Table) -> Keyspace {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)[table.0].clone()
    }
}

fn open_table(database: &Database, name: &str, memtable: u64) -> Result<Keyspace, StoreError> {
    // Indexes go through the cache instead of staying in memory, which would grow with every stored message. Filters stay in
    // memory: one of `ids` grows to megabytes, is wanted for every message, and would be read and checksummed each time.
    let options = || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(memtable)
            .manual_journal_persist(true)
            .index_block_pinning_policy(PinningPolicy::all(false))
            .filter_block_pinning_policy(PinningPolicy::all(true))
    };
    database.keyspace(name, options).map_err(StoreError::new)
}
