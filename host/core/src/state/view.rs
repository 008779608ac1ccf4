//! The host's view of one plugin's state: what is committed, and what is on its way.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::port::{Revision, StateEntry};
use crate::state::session::StateWrites;

/// Above so many bytes of keys and values the settled entries are dropped; they are read again when needed.
const MAX_VIEW_BYTES: usize = 64 * 1024 * 1024;

/// A settled entry older than this is read from the broker again, so that what another host wrote is seen soon.
const FRESH: Duration = Duration::from_secs(1);

/// Read this call's key from the broker, or use this entry.
pub(super) enum Lookup {
    Known {
        value: Option<Bytes>,
        version: u64,
    },
    /// `asked` says which of the view's changes the broker's answer may not know: see [`View::learn`].
    Unknown {
        asked: u64,
    },
}

/// Which values a call may build on. See the module above for why this is correct.
#[derive(Default)]
pub(super) struct View {
    entries: HashMap<String, Entry>,
    bytes: usize,
    next_version: u64,
    /// The version that was current when entries were last dropped.
    forgot_at: u64,
    /// Counts the times the view was emptied. What was read in an older epoch cannot be submitted.
    pub(super) epoch: u64,
    /// Changes whenever a key comes or goes, so that a call that listed keys notices.
    pub(super) keys_version: u64,
}

struct Entry {
    value: Option<Bytes>,
    version: u64,
    /// The broker's revision of the last commit; unknown for a key that was written without being read.
    revision: Option<Revision>,
    /// Submitted writes that are not committed yet. Only a settled entry (0) may be dropped or read again.
    pending: u32,
    read_at: Instant,
}

// === impl View ===

impl View {
    pub(super) fn lookup(&self, key: &str) -> Lookup {
        match self.entries.get(key) {
            Some(entry) if entry.pending > 0 || entry.read_at.elapsed() < FRESH => {
                Lookup::Known { value: entry.value.clone(), version: entry.version }
            }
            _ => Lookup::Unknown { asked: self.next_version },
        }
    }

    /// Takes in what the broker answered to the question that was `asked`, unless something newer is known. Answers what
    /// a call shall see.
    ///
    /// The answer may have been overtaken: by a write that was submitted and perhaps committed since, or by one that was
    /// dropped from the view already. The first is seen by its version. After the second nothing can be told, so the
    /// answer is kept out of the view, under a version that no entry has: the call that got it runs again.
    pub(super) fn learn(&mut self, key: &str, found: StateEntry, asked: u64) -> (Option<Bytes>, u64) {
        if asked < self.forgot_at {
            return (found.value, 0);
        }
        if let Some(entry) = self.entries.get(key)
            && entry.version > asked
        {
            return (entry.value.clone(), entry.version);
        }
        if let Some(entry) = self.entries.get_mut(key)
            && (entry.pending > 0 || entry.revision == Some(found.revision))
        {
            entry.read_at = Instant::now();
            return (entry.value.clone(), entry.version);
        }
        // Reading must not grow the view either: a plugin may read for ever and never commit.
        self.shrink();
        let version = self.next_version();
        self.insert(
            key,
            Entry {
                value: found.value.clone(),
                version,
                revision: Some(found.revision),
                pending: 0,
                read_at: Instant::now(),
            },
        );
        (found.value, version)
    }

    /// Whether everything that the call read is still what it saw.
    pub(super) fn still_holds(&self, writes: &StateWrites) -> bool {
        writes.epoch == self.epoch
            && writes.keys_version.is_none_or(|seen| seen == self.keys_version)
            && writes
                .reads
                .iter()
                .all(|(key, (_, version))| self.entries.get(key).is_some_and(|entry| entry.version == *version))
    }

    /// Makes the call's writes visible to later calls of this host, as pending.
    pub(super) fn apply(&mut self, writes: &StateWrites) {
        for (key, value) in &writes.writes {
            let version = self.next_version();
            let before = self.entries.get(key);
            let existed = before.map(|entry| entry.value.is_some());
            if existed != Some(value.is_some()) {
                self.keys_version += 1;
            }
            let entry = Entry {
                value: value.clone(),
                version,
                revision: before.and_then(|entry| entry.revision),
                pending: before.map_or(0, |entry| entry.pending) + 1,
                read_at: Instant::now(),
            };
            self.insert(key, entry);
        }
    }

    pub(super) fn revision(&self, key: &str) -> Option<Revision> {
        self.entries.get(key).and_then(|entry| entry.revision)
    }

    /// A key's writes were committed; `times` submitted writes of it were in the batch.
    pub(super) fn committed(&mut self, key: &str, revision: Revision, times: u32) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.revision = Some(revision);
            entry.pending = entry.pending.saturating_sub(times);
            entry.read_at = Instant::now();
        }
    }

    /// The keys with this prefix that a listing of the broker may not know yet, and whether each will exist. A key that
    /// comes or goes later changes `keys_version`.
    pub(super) fn pending_keys(&self, prefix: &str) -> Vec<(String, bool)> {
        let pending = self.entries.iter().filter(|(key, entry)| entry.pending > 0 && key.starts_with(prefix));
        pending.map(|(key, entry)| (key.clone(), entry.value.is_some())).collect()
    }

    /// Forgets everything: what was built on it must run again.
    pub(super) fn start_over(&mut self) {
        self.entries.clear();
        self.bytes = 0;
        self.forgot_at = self.next_version();
        self.epoch += 1;
    }

    /// Drops settled entries when the view has grown too large.
    pub(super) fn shrink(&mut self) {
        if self.bytes > MAX_VIEW_BYTES {
            self.entries.retain(|_, entry| entry.pending > 0);
            self.forgot_at = self.next_version();
            self.bytes = self.entries.iter().map(|(key, entry)| size(key, &entry.value)).sum();
        }
    }

    fn insert(&mut self, key: &str, entry: Entry) {
        self.bytes += size(key, &entry.value);
        if let Some(old) = self.entries.insert(key.to_owned(), entry) {
            self.bytes = self.bytes.saturating_sub(size(key, &old.value));
        }
    }

    fn next_version(&mut self) -> u64 {
        self.next_version += 1;
        self.next_version
    }
}

fn size(key: &str, value: &Option<Bytes>) -> usize {
    // The map's own cost per entry is about a hundred bytes.
    key.len() + value.as_ref().map_or(0, Bytes::len) + 100
}
