//! The tables as maps, for tests: as quick as it gets, and gone with the process.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use super::{Change, Slice, StoreError, Table};

type Rows = BTreeMap<Slice, Slice>;

pub(crate) struct Memory {
    tables: RwLock<Vec<Rows>>,
    /// Set by tests: writing fails from then on, as it does on a broken disk.
    broken: AtomicBool,
}

impl Memory {
    pub(crate) fn new(tables: usize) -> Self {
        Self { tables: RwLock::new(vec![Rows::new(); tables]), broken: AtomicBool::new(false) }
    }

    #[cfg(test)]
    pub(crate) fn break_down(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    pub(crate) fn create(&self, table: Table) {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if tables.len() <= table.0 {
            tables.resize_with(table.0 + 1, Rows::new);
        }
    }

    pub(crate) fn get<T>(&self, table: Table, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables[table.0].get(key).map(|value| read(value))
    }

    pub(crate) fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) {
        if from >= to {
            return;
        }
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in tables[table.0].range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))) {
            if visit(key, value).is_break() {
                return;
            }
        }
    }

    pub(crate) fn apply(&self, rows: Vec<Change>) -> Result<(), StoreError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(StoreError::new("broken by a test"));
        }
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        for Change { table, key, value } in rows {
            match value {
                Some(value) => tables[table.0].insert(key, value),
                None => tables[table.0].remove::<[u8]>(&key),
            };
        }
        Ok(())
    }

    pub(crate) fn clear(&self, table: Table) {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)[table.0].clear();
    }
}
