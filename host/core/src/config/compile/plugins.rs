//! `plugins`: the folder, and the settings by name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::super::diagnostic::Report;
use super::super::leaf::Text;
use super::super::read::{Any, At, List, Map, Optional};
use super::super::{InstancePolicy, PluginConfig, PluginsConfig, Probation, file, words};
use super::path;
use super::projections::Projections;
use super::routes::Routes;
use crate::limits::Limits;
use crate::name::PluginName;

pub(super) fn compile(
    file: Optional<file::Plugins>,
    routes: &Routes,
    projections: &Projections,
    report: &mut Report,
) -> PluginsConfig {
    let file = file.map(|at| at.value).unwrap_or_default();
    let (mut plugins, mut projects) = (BTreeMap::new(), BTreeMap::new());
    for (name, settings) in file.settings.map_or(Vec::new(), |map| map.value.0) {
        let mut project = None;
        let plugin = settings.map(|mut settings| {
            project = settings.value.project.take().map(|at| at.value);
            plugin(settings.value, report)
        });
        match PluginName::try_new(&name.value) {
            Err(error) => report.error(&name.place, error.to_string()),
            Ok(known) => {
                check_use(&name, routes, projections, report);
                projects.extend(project.map(|Text(dir)| (known.clone(), PathBuf::from(dir))));
                plugins.extend(plugin.map(|plugin| (known, plugin)));
            }
        }
    }
    let span =
        |written: Optional<file::Pause>, default| written.map_or(Duration::from_secs(default), |span| span.value.0);
    PluginsConfig {
        dir: path(file.dir, "./plugins"),
        cache_dir: path(file.cache_dir, "./.tidemill/plugins"),
        rescan: span(file.rescan, 5),
        drain_timeout: span(file.drain_timeout, 10),
        probation: probation(file.probation),
        trusted_keys: items(file.trusted_keys).map(|Text(key)| key).collect(),
        settings: plugins,
        projects,
    }
}

fn probation(file: Optional<file::Probation>) -> Probation {
    let default = Probation::default();
    let Some(At { value, .. }) = file else { return default };
    Probation {
        calls: value.calls.map_or(default.calls, |count| count.value.0),
        time: value.time.map_or(default.time, |span| span.value.0),
    }
}

/// Settings that nobody reads are a typo in a name, and would silently leave a plugin without its limits.
fn check_use(name: &At<String>, routes: &Routes, projections: &Projections, report: &mut Report) {
    let used = || {
        let handlers = routes.list.iter().map(|route| route.config.handler.as_str());
        handlers.chain(projections.list.iter().map(|projection| projection.config.plugin.as_str()))
    };
    if routes.complete && projections.complete && !used().any(|plugin| plugin == name.value) {
        let hint = match words::closest(&name.value, used()) {
            Some(close) => format!("`{close}` is used: one of the two is misspelt"),
            None => "name it as `handler` of a route or `plugin` of a projection, or remove its settings".to_owned(),
        };
        let message = format!("no route and no projection uses the plugin `{}`", name.value);
        report.error_with_hint(&name.place, message, hint);
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
    let mut env = BTreeMap::new();
    for (key, Text(value)) in values(file.env) {
        check_variable(&key, report);
        env.insert(key.value, value);
    }
    PluginConfig {
        config,
        secrets,
        env,
        state: file.state.is_some_and(|flag| flag.value.0),
        allowed_outbound_hosts: items(file.allowed_outbound_hosts).collect(),
        limits: file.limits.map_or_else(Limits::default, |written| limits(written.value)),
        instance: file.instance.map_or(InstancePolicy::default(), |policy| policy.value.0),
        instances: file.instances.map(|count| count.value.0 as usize),
    }
}

fn values<T>(map: Optional<Map<T>>) -> impl Iterator<Item = (At<String>, T)> {
    let entries = map.map_or(Vec::new(), |map| map.value.0);
    entries.into_iter().filter_map(|(key, value)| value.map(|value| (key, value.value)))
}

fn items<T, const MIN: usize>(list: Optional<List<T, MIN>>) -> impl Iterator<Item = T> {
    list.into_iter().flat_map(|list| list.value.items).map(|item| item.value)
}

fn check_variable(key: &At<String>, report: &mut Report) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if key.value.is_empty() || !key.value.bytes().all(plain) {
        report.error(&key.place, "expected the name of an environment variable: letters, digits and `_`");
    }
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
        document: file.document.map_or(default.document, |size| size.value.0),
        document_bytes: file.document_bytes.map_or(default.document_bytes, |size| size.value.0),
        document_writes: file.document_writes.map_or(default.document_writes, |count| count.value.0 as u32),
        log_bytes: file.log_bytes.map_or(default.log_bytes, |size| size.value.0),
        max_events_per_instance: file
            .max_events_per_instance
            .map_or(default.max_events_per_instance, |count| count.value.0),
        max_instance_age: file.max_instance_age.map_or(default.max_instance_age, |span| span.value.0),
        cpu: file.cpu.map_or(default.cpu, |span| span.value.0),
        start: file.start.map_or(default.start, |span| span.value.0),
        table_elements: file.table_elements.map_or(default.table_elements, |count| count.value.0 as u32),
        handles: file.handles.map_or(default.handles, |count| count.value.0 as u32),
        stdout_bytes: file.stdout_bytes.map_or(default.stdout_bytes, |size| size.value.0),
        http_requests: file.http_requests.map_or(default.http_requests, |count| count.value.0 as u32),
        http_timeout: file.http_timeout.map_or(default.http_timeout, |span| span.value.0),
        http_body: file.http_body.map_or(default.http_body, |size| size.value.0),
    }
}
