//! What an instance may allocate: one sum over all its memories, one over all its tables.
//!
//! wasmtime's own `StoreLimits` bounds each memory by itself, so a component with a hundred memories gets a hundred times
//! its limit. And a guest that is refused usually aborts without a word; the first refusal is kept here, so that the
//! failure can name the limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tidemill_core::limits::Limits;
use wasmtime::ResourceLimiter;

use crate::settings::{MAX_MEMORY_BYTES, MAX_TABLE_ELEMENTS};

/// Parts of one component: its own instances, and those of the components inside it.
const MAX_INSTANCES: usize = 64;
const MAX_TABLES: usize = 32;
const MAX_MEMORIES: usize = 8;

/// Counts what a store has, refuses what goes beyond, remembers the first refusal.
pub(crate) struct Limiter {
    memory_limit: u64,
    memory: u64,
    /// The memory of all instances of the build, this one's included.
    together: Arc<AtomicU64>,
    table_limit: usize,
    table_elements: usize,
    refused: Option<String>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits, together: Arc<AtomicU64>) -> Self {
        Self {
            memory_limit: limits.memory.min(MAX_MEMORY_BYTES),
            memory: 0,
            together,
            table_limit: usize::try_from(limits.table_elements).unwrap_or(usize::MAX),
            table_elements: 0,
            refused: None,
        }
    }

    /// What was refused first since the last [`forget_refusal`](Self::forget_refusal), and how to get more.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Bytes of all memories.
    pub(crate) fn memory(&self) -> u64 {
        self.memory
    }

    pub(crate) fn forget_refusal(&mut self) {
        self.refused = None;
    }

    /// Whether so much of the limit is used that the instance is likely to leak.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.memory > self.memory_limit / 4 * 3
    }

    fn refuse(&mut self, why: impl FnOnce() -> String) {
        self.refused.get_or_insert_with(why);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if is_beyond(desired, maximum) {
            // The guest's own declaration: wasmtime refuses it, and it is no matter of the limit.
            return Ok(true);
        }
        let wanted = self.memory.saturating_add(desired.saturating_sub(current) as u64);
        if wanted <= self.memory_limit {
            self.together.fetch_add(wanted - self.memory, Relaxed);
            self.memory = wanted;
            return Ok(true);
        }
        let limit = self.memory_limit;
        self.refuse(|| memory_refusal(wanted, limit));
        Ok(false)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.table_elements.saturating_add(desired.saturating_sub(current));
        if wanted > self.table_limit {
            let limit = self.table_limit;
            self.refuse(|| {
                format!(
                    "the plugin wanted {wanted} table elements; its limit is {limit}; \
                     `plugins.settings.<plugin>.limits.table_elements` in runtime.yaml raises it"
                )
            });
            return Ok(false);
        }
        if desired > MAX_TABLE_ELEMENTS {
            self.refuse(|| {
                format!("the plugin wanted a table of {desired} elements; no table gets more than {MAX_TABLE_ELEMENTS}")
            });
            return Ok(false);
        }
        if !is_beyond(desired, maximum) {
            self.table_elements = wanted;
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.together.fetch_sub(self.memory, Relaxed);
    }
}

fn is_beyond(desired: usize, maximum: Option<usize>) -> bool {
    maximum.is_some_and(|maximum| desired > maximum)
}

fn memory_refusal(wanted: u64, limit: u64) -> String {
    let hint = if limit < MAX_MEMORY_BYTES {
        "`plugins.settings.<plugin>.limits.memory` in runtime.yaml raises it"
    } else {
        "no plugin gets more"
    };
    format!("the plugin wanted {} of memory; its limit is {}; {hint}", readable(wanted), readable(limit))
}

/// Memory comes in pages of 64 KiB.
fn readable(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    if bytes < MIB {
        format!("{} KiB", bytes >> 10)
    } else if bytes.is_multiple_of(MIB) {
        format!("{} MiB", bytes / MIB)
    } else {
        format!("{:.1} MiB", bytes as f64 / MIB as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn limiter(memory: usize) -> Limiter {
        Limiter::new(&Limits { memory: memory as u64, table_elements: 100, ..Limits::default() }, Arc::default())
    }

    #[test]
    fn the_limit_holds_for_the_sum_of_all_memories() {
        let mut limiter = limiter(4 * MIB);
        assert!(limiter.memory_growing(0, 2 * MIB, None).unwrap());
        assert!(limiter.memory_growing(0, 2 * MIB, None).unwrap());
        assert!(!limiter.memory_growing(0, 64 << 10, None).unwrap());
        assert_eq!(
            limiter.refusal().unwrap(),
            "the plugin wanted 4.1 MiB of memory; its limit is 4 MiB; `plugins.settings.<plugin>.limits.memory` in \
             runtime.yaml raises it"
        );
    }

    #[test]
    fn the_limit_holds_for_the_sum_of_all_tables() {
        let mut limiter = limiter(MIB);
        assert!(limiter.table_growing(0, 60, None).unwrap());
        assert!(!limiter.table_growing(0, 41, None).unwrap());
        assert_eq!(
            limiter.refusal().unwrap(),
            "the plugin wanted 101 table elements; its limit is 100; `plugins.settings.<plugin>.limits.table_elements` \
             in runtime.yaml raises it"
        );
        assert!(limiter.table_growing(60, 100, None).unwrap());
    }

    #[test]
    fn what_the_guests_own_maximum_forbids_counts_nothing() {
        let mut limiter = limiter(4 * MIB);
        for _ in 0..10 {
            assert!(limiter.memory_growing(MIB, 3 * MIB, Some(2 * MIB)).unwrap());
            assert!(limiter.table_growing(1, 90, Some(2)).unwrap());
        }
        assert!(limiter.memory_growing(0, 4 * MIB, None).unwrap());
        assert!(limiter.table_growing(0, 100, None).unwrap());
        assert_eq!(limiter.refusal(), None);
    }

    #[test]
    fn the_first_refusal_is_the_one_that_is_told() {
        let mut limiter = limiter(MIB);
        assert!(!limiter.memory_growing(0, 2 * MIB, None).unwrap());
        assert!(!limiter.table_growing(0, usize::MAX, None).unwrap());
        assert!(limiter.refusal().unwrap().contains("2 MiB of memory"));
        limiter.forget_refusal();
        assert_eq!(limiter.refusal(), None);
    }

    #[test]
    fn an_instance_is_nearly_full_above_three_quarters() {
        let mut limiter = limiter(4 * MIB);
        assert!(limiter.memory_growing(0, 3 * MIB, None).unwrap());
        assert!(!limiter.is_nearly_full());
        assert!(limiter.memory_growing(3 * MIB, 3 * MIB + (64 << 10), None).unwrap());
        assert!(limiter.is_nearly_full());
    }
}
