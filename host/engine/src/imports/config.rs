//! `tidemill:plugin/config`: the plugin's own settings and granted secrets.

use crate::bindings::tidemill::plugin::config::Host;
use crate::guest::Guest;

impl Host for Guest {
    fn get(&mut self, key: String) -> Option<String> {
        let settings = &self.settings;
        settings
            .config
            .get(&key)
            .cloned()
            .or_else(|| settings.secrets.get(&key).map(|secret| secret.reveal().to_owned()))
    }

    fn keys(&mut self) -> Vec<String> {
        self.settings.config.keys().cloned().collect()
    }
}
