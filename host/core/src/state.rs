//! A plugin's keyed state as its calls see it: read-your-writes inside a call, nothing visible outside before success.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::limits::Limits;

/// The state of one plugin during one call.
pub struct StateSession {}

/// What a call read and wrote.
#[derive(Debug, Default)]
pub struct StateWrites {
    pub writes: BTreeMap<String, Option<Bytes>>,
}

/// Why a state call was not done. The first two are the plugin's doing, the last the host's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    #[error("`{key}` is not a state key: expected 1 to 256 bytes without control characters")]
    BadKey { key: String },
    #[error(
        "the limit `{limit}` of {allowed} is used up; `plugins.settings.<plugin>.limits.{limit}` in runtime.yaml raises it"
    )]
    Limit { limit: &'static str, allowed: u64 },
    #[error("the state is unavailable: {0}")]
    Unavailable(String),
}

impl StateSession {
    /// The value of a key, this call's own writes included.
    pub async fn get(&mut self, key: &str) -> Result<Option<Bytes>, StateError> {
        let _ = key;
        Ok(None)
    }

    /// Writes a value; visible to others once the call has succeeded and is committed.
    pub fn put(&mut self, key: &str, value: Bytes, limits: &Limits) -> Result<(), StateError> {
        let _ = (key, value, limits);
        Ok(())
    }

    pub fn delete(&mut self, key: &str, limits: &Limits) -> Result<(), StateError> {
        let _ = (key, limits);
        Ok(())
    }

    /// Writes `value` (`None` deletes) if the key's value is `expected` (`None`: absent). Says whether it did.
    pub async fn compare_and_set(
        &mut self,
        key: &str,
        expected: Option<&[u8]>,
        value: Option<Bytes>,
        limits: &Limits,
    ) -> Result<bool, StateError> {
        let _ = (key, expected, value, limits);
        Ok(false)
    }

    /// At most `limit` existing keys that begin with `prefix` and come after `after`, in byte order.
    pub async fn list(&mut self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, StateError> {
        let _ = (prefix, after, limit);
        Ok(Vec::new())
    }

    /// What the call read and wrote; `None` if it touched nothing.
    pub fn finish(self) -> Option<StateWrites> {
        None
    }
}
