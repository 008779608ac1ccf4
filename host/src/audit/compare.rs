//! What was tried beside what is granted.

use std::collections::BTreeMap;

use tidemill_core::config::{PluginConfig, RuntimeConfig};
use tidemill_core::name::{PluginName, RouteName};
use tidemill_core::outbound::check_target;
use tidemill_core::subject::SubjectPattern;

use super::run::Ran;
use super::{Item, ItemKind};

#[derive(Default)]
pub(super) struct Compared {
    pub(super) used_not_granted: Vec<Item>,
    pub(super) granted_not_used: Vec<Item>,
}

pub(super) fn compare(ran: &Ran, config: &RuntimeConfig, plugin: &PluginName, settings: &PluginConfig) -> Compared {
    let mut compared = Compared::default();
    compared.emits(ran, config, plugin);
    compared.state(ran, settings);
    compared.http(ran, settings);
    compared.values(ran, settings);
    if !settings.env.is_empty() && !imports(ran, "wasi:cli/environment") {
        // WASI gives all variables at once: which of them are used cannot be told.
        settings.env.keys().for_each(|name| compared.unused(ItemKind::Env, name));
    }
    compared
}

/// Whether the component imports the interface, in whatever version.
pub(super) fn imports(ran: &Ran, interface: &str) -> bool {
    ran.imports.iter().any(|import| import.split('@').next() == Some(interface))
}

// === impl Compared ===

impl Compared {
    fn emits(&mut self, ran: &Ran, config: &RuntimeConfig, plugin: &PluginName) {
        let granted: BTreeMap<&RouteName, &[SubjectPattern]> = config
            .routes
            .iter()
            .filter(|route| route.handler == *plugin)
            .map(|route| (&route.name, route.emits.as_slice()))
            .collect();
        for (route, subjects) in &ran.tried.emits {
            let patterns = granted.get(route).copied().unwrap_or_default();
            let lacking = subjects.iter().filter(|to| !patterns.iter().any(|pattern| pattern.matches(to)));
            self.used_not_granted.extend(lacking.map(|to| emit(route, to)));
        }
        for (route, patterns) in granted {
            let used = |to: &SubjectPattern| {
                ran.tried.emits.get(route).is_some_and(|subjects| subjects.iter().any(|subject| to.matches(subject)))
            };
            let idle = patterns.iter().filter(|pattern| !used(pattern));
            self.granted_not_used.extend(idle.map(|pattern| emit(route, pattern.as_str())));
        }
    }

    /// The grant is needed by importing already.
    fn state(&mut self, ran: &Ran, settings: &PluginConfig) {
        let imported = imports(ran, "tidemill:plugin/state");
        if imported && !settings.state {
            self.lacking(ItemKind::State, "state: true");
        } else if settings.state && !imported {
            self.unused(ItemKind::State, "state: true");
        }
    }

    fn http(&mut self, ran: &Ran, settings: &PluginConfig) {
        let allowed = &settings.allowed_outbound_hosts;
        for target in &ran.tried.requests {
            if check_target(allowed, target).is_err() {
                self.lacking(ItemKind::Http, &target.to_string());
            }
        }
        for entry in allowed {
            let used = |target| check_target(std::slice::from_ref(entry), target).is_ok();
            if !ran.tried.requests.iter().any(used) {
                self.unused(ItemKind::Http, &entry.to_string());
            }
        }
    }

    fn values(&mut self, ran: &Ran, settings: &PluginConfig) {
        for key in &ran.tried.config {
            if !settings.config.contains_key(key) && !settings.secrets.contains_key(key) {
                self.lacking(ItemKind::Config, key);
            }
        }
        let asked = |key: &&String| !ran.tried.config.contains(*key);
        if !ran.tried.config_listed {
            settings.config.keys().filter(asked).for_each(|key| self.unused(ItemKind::Config, key));
        }
        settings.secrets.keys().filter(asked).for_each(|key| self.unused(ItemKind::Secret, key));
    }

    fn lacking(&mut self, kind: ItemKind, name: &str) {
        self.used_not_granted.push(Item { kind, route: None, name: name.to_owned() });
    }

    fn unused(&mut self, kind: ItemKind, name: &str) {
        self.granted_not_used.push(Item { kind, route: None, name: name.to_owned() });
    }
}

fn emit(route: &RouteName, name: &str) -> Item {
    Item { kind: ItemKind::Emit, route: Some(route.clone()), name: name.to_owned() }
}
