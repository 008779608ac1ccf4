//! The plugin's own settings: `plugins.settings.<plugin>.config` of `runtime.yaml`, and the secrets granted to it.

use std::fmt;

use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};

use crate::imports;

/// Why a setting cannot be had. Through `?` it means retry, so that the event waits for the repair of `runtime.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The setting is required and not there.
    Missing { key: String },
    /// The setting is not of the type that the handler reads.
    Unfit { key: String, problem: String },
}

/// A setting, if it is there. A text is read as it stands, anything else as JSON.
///
/// ```
/// # use tidemill_sdk::prelude::*;
/// # fn f() -> Outcome {
/// let threshold: f64 = config::get("threshold")?.unwrap_or(1000.0);
/// # Ok(())
/// # }
/// ```
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<T>, ConfigError> {
    let Some(text) = text(key) else { return Ok(None) };
    // The host gives a text without its quotes, so a text is tried first: it is no JSON, or looks like other JSON.
    let as_text: StrDeserializer<'_, ValueError> = text.as_str().into_deserializer();
    if let Ok(value) = T::deserialize(as_text) {
        return Ok(Some(value));
    }
    serde_json::from_str(&text).map(Some).map_err(|error| unfit(key, &text, &error))
}

/// A setting that must be there.
pub fn require<T: DeserializeOwned>(key: &str) -> Result<T, ConfigError> {
    get(key)?.ok_or_else(|| ConfigError::Missing { key: key.to_owned() })
}

/// A setting or a granted secret as the host gives it.
pub fn text(key: &str) -> Option<String> {
    imports::config_get(key)
}

/// The names of all settings, without the secrets, in byte order.
pub fn keys() -> Vec<String> {
    imports::config_keys()
}

// The value is left out of the message: it may be a secret.
fn unfit(key: &str, text: &str, error: &serde_json::Error) -> ConfigError {
    let problem = if error.is_data() && !text.starts_with(['{', '[']) {
        format!("a value of another type was expected ({} bytes found)", text.len())
    } else {
        format!("it does not fit at line {} column {}", error.line(), error.column())
    };
    ConfigError::Unfit { key: key.to_owned(), problem }
}

// === impl ConfigError ===

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Missing { key } => {
                write!(
                    f,
                    "the setting `{key}` is missing: `plugins.settings.<plugin>.config.{key}` in runtime.yaml sets it"
                )
            }
            ConfigError::Unfit { key, problem } => write!(f, "the setting `{key}`: {problem}"),
        }
    }
}

impl std::error::Error for ConfigError {}
