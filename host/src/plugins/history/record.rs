//! `generations.json` and its rules, without the disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemill_core::name::PluginName;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Digest;

const VERSION: u32 = 1;

/// Builds that are kept for each plugin: the live one, the one before, and one more for a person.
const KEPT_BUILDS: usize = 3;

/// Quarantined builds that are remembered for each plugin; the oldest are forgotten first.
const KEPT_QUARANTINED: usize = 64;

/// A reason is a sentence, not a log.
const MAX_REASON_CHARS: usize = 2000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    plugins: BTreeMap<String, Generations>,
}

/// What is remembered of one plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Generations {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) live: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<Digest>,
    /// The good builds whose bytes are kept, the newest first. `live` and `previous` are among them.
    #[serde(default)]
    builds: Vec<Digest>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    quarantined: Vec<Quarantined>,
}

/// A build that must not run until it is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    pub digest: Digest,
    pub reason: String,
    /// RFC 3339, UTC.
    pub since: String,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

// === impl Record ===

impl Record {
    /// The record, or why it is none, in words for a log line.
    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let found: VersionOnly = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if found.version != VERSION {
            return Err(format!("it has version {}, this host reads version {VERSION}", found.version));
        }
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        // Texts and lists only: there is nothing that could not be written.
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    pub(super) fn plugin(&self, plugin: &PluginName) -> Option<&Generations> {
        self.plugins.get(plugin.as_str())
    }

    pub(super) fn plugin_mut(&mut self, plugin: &PluginName) -> &mut Generations {
        self.plugins.entry(plugin.as_str().to_owned()).or_default()
    }

    /// Whether the bytes of a build are still wanted.
    pub(super) fn names(&self, digest: &Digest) -> bool {
        self.plugins.values().any(|plugin| plugin.builds.contains(digest))
    }
}

impl Default for Record {
    fn default() -> Self {
        Self { version: VERSION, plugins: BTreeMap::new() }
    }
}

// === impl Generations ===

impl Generations {
    pub(super) fn good(&mut self, digest: &Digest) {
        if self.live.as_ref() != Some(digest) {
            self.previous = self.live.replace(digest.clone());
        }
        self.builds.retain(|build| build != digest);
        self.builds.insert(0, digest.clone());
        while self.builds.len() > KEPT_BUILDS {
            // The oldest goes, unless it is the one that a rollback would take.
            let Some(oldest) = self.builds.iter().rposition(|build| Some(build) != self.previous.as_ref()) else {
                break;
            };
            self.builds.remove(oldest);
        }
    }

    pub(super) fn quarantine(&self, digest: &Digest) -> Option<&Quarantined> {
        self.quarantined.iter().find(|quarantined| quarantined.digest == *digest)
    }

    pub(super) fn quarantine_now(&mut self, digest: &Digest, reason: &str) {
        self.quarantined.retain(|quarantined| quarantined.digest != *digest);
        self.quarantined.push(Quarantined {
            digest: digest.clone(),
            reason: reason.chars().take(MAX_REASON_CHARS).collect(),
            since: now(),
        });
        let too_many = self.quarantined.len().saturating_sub(KEPT_QUARANTINED);
        self.quarantined.drain(..too_many);
        self.builds.retain(|build| build != digest);
        if self.live.as_ref() == Some(digest) {
            self.live = self.previous.take();
        }
        if self.previous.as_ref() == Some(digest) || self.previous.is_none() {
            self.previous = self.builds.iter().find(|build| Some(*build) != self.live.as_ref()).cloned();
        }
    }

    pub(super) fn release(&mut self, digest: &Digest) -> bool {
        let before = self.quarantined.len();
        self.quarantined.retain(|quarantined| quarantined.digest != *digest);
        self.quarantined.len() < before
    }
}

fn now() -> String {
    // A clock outside of the years 0 to 9999 has no text.
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default()
}
