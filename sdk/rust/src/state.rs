//! Keyed state. Each plugin has a namespace of its own, shared by all its routes and instances.
//!
//! A call sees its own writes; nobody else sees them before the call has succeeded and is committed, together with its
//! emits. If somebody else changes a key between this call's reading and its commit, the host runs the call again on the
//! new value. So read, compute, write is safe as it stands, and [`update`] needs no loop:
//!
//! ```
//! # use tidemill_sdk::prelude::*;
//! # fn f() -> Outcome {
//! let seen: u64 = state::update("orders/seen", |seen: Option<u64>| seen.unwrap_or(0) + 1)?;
//! # Ok(())
//! # }
//! ```

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::imports;

/// The most keys that one [`list`] gives.
pub const MAX_LIST: u32 = 1000;

/// Why a state function did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// The key breaks a rule: 1 to 256 bytes, no control characters.
    InvalidKey(String),
    /// A limit is used up: the size of a value, the bytes or the number of writes of a call. The text names it.
    Limit(String),
    /// The store cannot be reached. The host runs the call again without counting an attempt, whatever it returns.
    Unavailable(String),
    /// The value under the key is not what the handler expects, or cannot be written as JSON.
    Json { key: String, problem: String },
}

/// A key's value, if it has one.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, StateError> {
    imports::state_get(key)
}

/// Sets a key's value.
pub fn put(key: &str, value: impl AsRef<[u8]>) -> Result<(), StateError> {
    imports::state_put(key, value.as_ref())
}

/// Removes a key. Removing what is not there is no error.
pub fn delete(key: &str) -> Result<(), StateError> {
    imports::state_delete(key)
}

/// Sets (or, with no `value`, removes) a key if its value is `expected` (`None`: the key is absent). Says whether it did.
pub fn compare_and_set(key: &str, expected: Option<&[u8]>, value: Option<&[u8]>) -> Result<bool, StateError> {
    imports::state_compare_and_set(key, expected, value)
}

/// Up to `limit` (at most [`MAX_LIST`]) keys that begin with `prefix`, in byte order, after the key `after`.
pub fn list(prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, StateError> {
    imports::state_list(prefix, after, limit)
}

/// All keys that begin with `prefix`, in byte order.
pub fn keys(prefix: &str) -> Result<Vec<String>, StateError> {
    let mut keys: Vec<String> = Vec::new();
    loop {
        let page = list(prefix, keys.last().map(String::as_str), MAX_LIST)?;
        let last = page.len() < MAX_LIST as usize;
        keys.extend(page);
        if last {
            return Ok(keys);
        }
    }
}

/// A key's value, read as JSON.
pub fn get_json<T: DeserializeOwned>(key: &str) -> Result<Option<T>, StateError> {
    let Some(value) = get(key)? else { return Ok(None) };
    serde_json::from_slice(&value).map(Some).map_err(|error| unfit(key, &error))
}

/// Sets a key's value, written as JSON.
pub fn put_json<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<(), StateError> {
    put(key, serde_json::to_vec(value).map_err(|error| unfit(key, &error))?)
}

/// Sets a key that has no value yet. Says whether it did; a key that has one keeps it.
pub fn insert_json<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<bool, StateError> {
    let value = serde_json::to_vec(value).map_err(|error| unfit(key, &error))?;
    compare_and_set(key, None, Some(&value))
}

/// Reads a key as JSON, changes it and writes it back. Gives the new value.
pub fn update<T>(key: &str, change: impl FnOnce(Option<T>) -> T) -> Result<T, StateError>
where
    T: Serialize + DeserializeOwned,
{
    let changed = change(get_json(key)?);
    put_json(key, &changed)?;
    Ok(changed)
}

fn unfit(key: &str, error: &serde_json::Error) -> StateError {
    StateError::Json { key: key.to_owned(), problem: error.to_string() }
}

// === impl StateError ===

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::InvalidKey(text) | StateError::Limit(text) => f.write_str(text),
            StateError::Unavailable(text) => write!(f, "the state is unavailable: {text}"),
            StateError::Json { key, problem } => write!(f, "the state's value of `{key}`: {problem}"),
        }
    }
}

impl std::error::Error for StateError {}
