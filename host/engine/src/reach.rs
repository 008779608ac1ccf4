//! What the imports of a plugin reach beyond their store: the same for all instances of one build.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tidemill_core::config::PluginConfig;
use tidemill_core::name::PluginName;
use tidemill_core::text::clean_text;

use crate::audit::Recorder;
use crate::http::{Network, Outbound};

/// So many keys that are not there are told of, once each.
const MAX_TOLD_KEYS: usize = 100;

/// What of such a key is shown.
const MAX_KEY_BYTES: usize = 128;

pub(crate) struct Reach {
    pub(crate) outbound: Arc<Outbound>,
    /// `None` unless the plugin is audited.
    pub(crate) recorder: Option<Arc<Recorder>>,
    plugin: PluginName,
    told: Mutex<BTreeSet<String>>,
}

// === impl Reach ===

impl Reach {
    pub(crate) fn new(
        plugin: &PluginName,
        settings: &Arc<PluginConfig>,
        network: &Arc<Network>,
        recorder: Option<Arc<Recorder>>,
    ) -> Self {
        let outbound = Outbound::new(Arc::clone(settings), Arc::clone(network), recorder.clone());
        Self { outbound: Arc::new(outbound), recorder, plugin: plugin.clone(), told: Mutex::default() }
    }

    /// Says, once for each key, that a plugin asked for a setting that nobody gave. By contract the plugin just sees none.
    pub(crate) fn tell_missing(&self, key: &str) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let key = clean_text(key, MAX_KEY_BYTES);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < MAX_TOLD_KEYS && told.insert(key.clone()) {
            let plugin = &self.plugin;
            tracing::debug!(
                %plugin, key,
                "The plugin asked for a setting that is not there; `plugins.settings.{plugin}.config` or `secrets` in runtime.yaml would give it"
            );
        }
    }
}
