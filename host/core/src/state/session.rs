//! The state of one plugin during one call.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use crate::limits::{Limits, MAX_STATE_KEY_BYTES};
use crate::state::committer::StateSpace;

/// Most keys that one `list` answers.
const MAX_LISTED: usize = 1000;

/// Most keys that one call may read: what it saw is kept until it is committed.
const MAX_READS: usize = 1000;

/// And most bytes of values, half of what the host keeps for a plugin: a larger call would push out its own first reads.
const MAX_READ_BYTES: usize = 32 * 1024 * 1024;

/// The state as one call sees it. Dropping it forgets everything the call wrote.
pub struct StateSession {
    space: Arc<StateSpace>,
    seen: StateWrites,
    written_bytes: u64,
    read_bytes: usize,
}

/// What a call read and wrote, to be submitted with its emits.
#[derive(Debug, Default)]
pub struct StateWrites {
    pub(super) epoch: u64,
    /// Key to the value and version that the call saw first. Later reads give the same answer.
    pub(super) reads: HashMap<String, (Option<Bytes>, u64)>,
    pub(super) writes: BTreeMap<String, Option<Bytes>>,
    /// Set when keys were listed.
    pub(super) keys_version: Option<u64>,
}

/// Why a state call was not done. The last is the host's doing, the others the plugin's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    #[error("`{key}` is not a state key: expected 1 to 256 bytes without control characters")]
    BadKey { key: String },
    #[error(
        "the limit `{limit}` of {allowed} is used up; `plugins.settings.<plugin>.limits.{limit}` in runtime.yaml raises it"
    )]
    Limit { limit: &'static str, allowed: u64 },
    #[error("one call may read at most {MAX_READS} keys and about {MAX_READ_BYTES} bytes of state")]
    TooManyReads,
    #[error("the state is unavailable: {0}")]
    Unavailable(String),
}

// === impl StateSession ===

impl StateSession {
    pub(super) fn new(space: Arc<StateSpace>, epoch: u64) -> Self {
        Self { space, seen: StateWrites { epoch, ..StateWrites::default() }, written_bytes: 0, read_bytes: 0 }
    }

    /// A session of the same plugin that has seen and written nothing, for another run of the same call.
    pub fn again(&self) -> Self {
        StateSpace::session(&self.space)
    }

    /// The value of a key, this call's own writes included.
    pub async fn get(&mut self, key: &str) -> Result<Option<Bytes>, StateError> {
        check_key(key)?;
        if let Some(written) = self.seen.writes.get(key) {
            return Ok(written.clone());
        }
        if let Some((value, _)) = self.seen.reads.get(key) {
            return Ok(value.clone());
        }
        if self.seen.reads.len() >= MAX_READS || self.read_bytes > MAX_READ_BYTES {
            return Err(StateError::TooManyReads);
        }
        let (value, version) = self.space.read(key).await?;
        self.read_bytes += value.as_ref().map_or(0, Bytes::len);
        self.seen.reads.insert(key.to_owned(), (value.clone(), version));
        Ok(value)
    }

    /// Writes a value; visible to others once the call has succeeded and is committed.
    pub fn put(&mut self, key: &str, value: Bytes, limits: &Limits) -> Result<(), StateError> {
        if value.len() as u64 > limits.state_value {
            return Err(StateError::Limit { limit: "state_value", allowed: limits.state_value });
        }
        self.write(key, Some(value), limits)
    }

    /// Removes a key. Removing what is not there is no error.
    pub fn delete(&mut self, key: &str, limits: &Limits) -> Result<(), StateError> {
        self.write(key, None, limits)
    }

    /// Writes `value` (`None` deletes) if the key's value is `expected` (`None`: absent). Says whether it did.
    pub async fn compare_and_set(
        &mut self,
        key: &str,
        expected: Option<&[u8]>,
        value: Option<Bytes>,
        limits: &Limits,
    ) -> Result<bool, StateError> {
        if self.get(key).await?.as_deref() != expected {
            return Ok(false);
        }
        match value {
            Some(value) => self.put(key, value, limits)?,
            None => self.delete(key, limits)?,
        }
        Ok(true)
    }

    /// At most `limit` (and 1000) existing keys that begin with `prefix` and come after `after`, in byte order.
    pub async fn list(&mut self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, StateError> {
        let (mut keys, keys_version) = self.space.list(prefix).await?;
        self.seen.keys_version.get_or_insert(keys_version);
        self.overlay_own_writes(prefix, &mut keys);
        let later = keys.into_iter().filter(|key| after.is_none_or(|after| key.as_str() > after));
        Ok(later.take(limit.min(MAX_LISTED)).collect())
    }

    /// What the call read and wrote; `None` if it touched nothing.
    pub fn finish(self) -> Option<StateWrites> {
        let untouched = self.seen.reads.is_empty() && self.seen.writes.is_empty() && self.seen.keys_version.is_none();
        if untouched { None } else { Some(self.seen) }
    }

    fn write(&mut self, key: &str, value: Option<Bytes>, limits: &Limits) -> Result<(), StateError> {
        check_key(key)?;
        let bytes = self.written_bytes + (key.len() + value.as_ref().map_or(0, Bytes::len)) as u64;
        if bytes > limits.state_bytes {
            return Err(StateError::Limit { limit: "state_bytes", allowed: limits.state_bytes });
        }
        let writes = u64::from(limits.state_writes);
        if !self.seen.writes.contains_key(key) && self.seen.writes.len() as u64 >= writes {
            return Err(StateError::Limit { limit: "state_writes", allowed: writes });
        }
        self.written_bytes = bytes;
        self.seen.writes.insert(key.to_owned(), value);
        Ok(())
    }

    fn overlay_own_writes(&self, prefix: &str, keys: &mut BTreeSet<String>) {
        for (key, value) in self.seen.writes.iter().filter(|(key, _)| key.starts_with(prefix)) {
            if value.is_some() {
                keys.insert(key.clone());
            } else {
                keys.remove(key);
            }
        }
    }
}

// === impl StateWrites ===

impl StateWrites {
    /// The keys that were read, and what was there.
    pub fn reads(&self) -> impl Iterator<Item = (&str, Option<&Bytes>)> {
        self.reads.iter().map(|(key, (value, _))| (key.as_str(), value.as_ref()))
    }

    /// The keys that were written, and their new values.
    pub fn writes(&self) -> &BTreeMap<String, Option<Bytes>> {
        &self.writes
    }
}

fn check_key(key: &str) -> Result<(), StateError> {
    if key.is_empty() || key.len() > MAX_STATE_KEY_BYTES || key.chars().any(char::is_control) {
        return Err(StateError::BadKey { key: key.chars().filter(|c| !c.is_control()).take(64).collect() });
    }
    Ok(())
}
