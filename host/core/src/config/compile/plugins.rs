//! `plugins`: the folder, and the settings by name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::super::diagnostic::Report;
use super::super::read::{Any, At, Map, Optional};
use super::super::{InstancePolicy, PluginConfig, file, words};
use super::path;
use super::routes::Routes;
use crate::limits::Limits;
use crate::name::PluginName;

pub(super) fn compile(
    file: Optional<file::Plugins>,
    routes: &Routes,
    report: &mut Report,
) -> (PathBuf, BTreeMap<PluginName, PluginConfig>) {
    let (dir, settings) = file.map_or((None, None), |At { value, .. }| (value.dir, value.settings));
    let mut plugins = BTreeMap::new();
    for (name, settings) in settings.map_or(Vec::new(), |map| map.value.0) {
        let plugin = settings.map(|settings| plugin(settings.value, report));
        match PluginName::try_new(&name.value) {
            Err(error) => report.error(&name.place, error.to_string()),
            Ok(known) => {
                check_use(&name, routes, report);
                plugins.extend(plugin.map(|plugin| (known, plugin)));
            }
        }
    }
    (path(dir, "./plugins"), plugins)
}

/// Settings that nobody reads are a typo in a name, and would silently leave a plugin without its limits.
fn check_use(name: &At<String>, routes: &Routes, report: &mut Report) {
    let handlers = || routes.list.iter().map(|route| route.config.handler.as_str());
    if routes.complete && !handlers().any(|handler| handler == name.value) {
        let hint = match words::closest(&name.value, handlers()) {
            Some(close) => format!("the route's `handler` is `{close}`: one of the two is misspelt"),
            None => "name it as `handler` of a route, or remove its settings".to_owned(),
        };
        report.error_with_hint(&name.place, format!("no route is handled by the plugin `{}`", name.value), hint);
    }
}

fn plugin(file: file::Plugin, report: &mut Report) -> PluginConfig {
    let mut config = BTreeMap::new();
    for (key, value) in values(file.config) {
        check_key(&key, report);
        config.insert(key.value, text(value));
    }
    let mut secrets = BTreeMap::new();
    for (key, secret) in values(file.secrets) {
        check_key(&key, report);
        if config.contains_key(&key.value) {
            let message = format!("`{}` is a name in `config` too, and the plugin reads both by name", key.value);
            report.error(&key.place, message);
        }
        secrets.insert(key.value, secret);
    }
    PluginConfig {
        config,
        secrets,
        limits: file.limits.map_or_else(Limits::default, |written| limits(written.value)),
        instance: file.instance.map_or(InstancePolicy::default(), |policy| policy.value.0),
        instances: file.instances.map(|count| count.value.0 as usize),
    }
}

fn values<T>(map: Optional<Map<T>>) -> impl Iterator<Item = (At<String>, T)> {
    let entries = map.map_or(Vec::new(), |map| map.value.0);
    entries.into_iter().filter_map(|(key, value)| value.map(|value| (key, value.value)))
}

fn check_key(key: &At<String>, report: &mut Report) {
    if key.value.is_empty() || key.value.len() > 255 || key.value.chars().any(char::is_control) {
        report.error(&key.place, "expected a name of 1 to 255 printable characters");
    }
}

fn text(Any(value): Any) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn limits(file: file::Limits) -> Limits {
    let default = Limits::default();
    Limits {
        memory: file.memory.map_or(default.memory, |size| size.value.0),
        timeout: default.timeout,
        emits: file.emits.map_or(default.emits, |count| count.value.0 as u32),
        emit_bytes: file.emit_bytes.map_or(default.emit_bytes, |size| size.value.0),
        state_value: file.state_value.map_or(default.state_value, |size| size.value.0),
        state_bytes: file.state_bytes.map_or(default.state_bytes, |size| size.value.0),
        state_writes: file.state_writes.map_or(default.state_writes, |count| count.value.0 as u32),
        log_bytes: file.log_bytes.map_or(default.log_bytes, |size| size.value.0),
        max_events_per_instance: file
            .max_events_per_instance
            .map_or(default.max_events_per_instance, |count| count.value.0),
    }
}
