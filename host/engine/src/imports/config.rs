//! `tidemill:plugin/config`: the plugin's own settings and granted secrets.

use crate::bindings::tidemill::plugin::config::Host;
use crate::guest::Guest;

impl Host for Guest {
    fn get(&mut self, key: String) -> Option<String> {
        if let Some(recorder) = &self.reach.recorder {
            recorder.config(&key);
        }
        let settings = &self.settings;
        let secret = || settings.secrets.get(&key).map(|secret| secret.reveal().to_owned());
        let found = settings.config.get(&key).cloned().or_else(secret);
        if found.is_none() {
            self.reach.tell_missing(&key);
        }
        found
    }

    fn keys(&mut self) -> Vec<String> {
        if let Some(recorder) = &self.reach.recorder {
            recorder.config_list();
        }
        self.settings.config.keys().cloned().collect()
    }
}
