//! An engine, and calls of a plugin with an event and settings that a test need not spell out.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use tidemill_core::config::PluginConfig;
use tidemill_core::effect::Effects;
use tidemill_core::event::Event;
use tidemill_core::failure::Failure;
use tidemill_core::grant::Grant;
use tidemill_core::limits::Limits;
use tidemill_core::name::{PluginName, RouteName, StreamName};
use tidemill_core::port::{Call, CallSettings, Handler, Origin, Role};
use tidemill_core::state::StateSession;
use tidemill_core::subject::SubjectPattern;
use tidemill_engine::{Engine, EngineOptions, LoadError, Plugin};

/// One engine for all tests, as a host has one for all plugins.
pub(crate) static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(EngineOptions::default()).unwrap());

pub(crate) fn try_load(component: &[u8], settings: &PluginConfig) -> Result<Plugin, LoadError> {
    try_load_as(Role::Handler, component, settings)
}

pub(crate) fn try_load_as(role: Role, component: &[u8], settings: &PluginConfig) -> Result<Plugin, LoadError> {
    ENGINE.load(&PluginName::try_new("guest").unwrap(), component, settings, role)
}

pub(crate) fn load_with(component: &[u8], settings: &PluginConfig) -> Plugin {
    try_load(component, settings).unwrap_or_else(|why| panic!("the guest {why}"))
}

pub(crate) fn load(component: &[u8]) -> Plugin {
    load_with(component, &granted())
}

/// Settings that grant keyed state, for guests that are not about grants.
pub(crate) fn granted() -> PluginConfig {
    PluginConfig { state: true, ..PluginConfig::default() }
}

/// What a component that cannot be loaded is told.
pub(crate) fn refusal(component: &[u8]) -> String {
    match try_load(component, &granted()) {
        Ok(plugin) => panic!("the component was accepted: {:?}", plugin.describe()),
        Err(why) => why.to_string(),
    }
}

/// Settings of a plugin with these limits.
pub(crate) fn limited(change: impl FnOnce(&mut Limits)) -> PluginConfig {
    PluginConfig { limits: limits(change), ..PluginConfig::default() }
}

pub(crate) fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

/// The route `orders`, granted `fraud.>`.
pub(crate) fn route(timeout: Duration, limits: Limits) -> Arc<CallSettings> {
    Arc::new(CallSettings {
        route: RouteName::try_new("orders").unwrap(),
        plugin: PluginName::try_new("guest").unwrap(),
        max_attempts: 5,
        timeout,
        grant: Grant { emits: vec![SubjectPattern::try_new("fraud.>").unwrap()] },
        limits,
    })
}

pub(crate) fn standard_route() -> Arc<CallSettings> {
    route(Duration::from_secs(5), Limits::default())
}

pub(crate) fn event(data: &str) -> Event {
    Event {
        id: "e-1".to_owned(),
        source: "/shop".to_owned(),
        kind: "OrderCreated".to_owned(),
        time: Some("2026-11-21T10:00:00Z".to_owned()),
        subject: None,
        datacontenttype: Some("application/json".to_owned()),
        dataschema: None,
        version: None,
        extensions: vec![("correlationid".to_owned(), "c-1".to_owned())],
        data: Bytes::copy_from_slice(data.as_bytes()),
    }
}

pub(crate) async fn call_on(
    plugin: &Plugin,
    route: &Arc<CallSettings>,
    data: &str,
    state: Option<StateSession>,
) -> Result<Effects, Failure> {
    let origin = origin();
    plugin.handle(Call { event: &event(data), route, attempt: 1, origin: &origin, state, documents: None }).await
}

pub(crate) fn origin() -> Origin {
    Origin { stream: StreamName::try_new("ORDERS").unwrap(), sequence: 42 }
}

pub(crate) async fn call(plugin: &Plugin, data: &str) -> Result<Effects, Failure> {
    call_on(plugin, &standard_route(), data, None).await
}

/// The text of the failure of a call that must fail.
pub(crate) async fn failure_text(plugin: &Plugin) -> String {
    call(plugin, "{}").await.unwrap_err().text
}

/// For a test that measures its whole process: runs it again in a process of its own, and is true there.
pub(crate) fn is_alone(test: &str) -> bool {
    const CHILD: &str = "TIDEMILL_TEST_ALONE";
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    print!("{printed}");
    false
}

/// Keeps this thread, and the threads that it starts, on one CPU.
pub(crate) fn pin_to_one_cpu() {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let allowed = sched_getaffinity(None).unwrap();
    let first = (0..CpuSet::MAX_CPU).find(|&cpu| allowed.is_set(cpu)).unwrap();
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).unwrap();
    assert_eq!(std::thread::available_parallelism().unwrap().get(), 1);
}

/// The most memory that this process has had resident, in bytes.
pub(crate) fn peak_resident() -> u64 {
    status_bytes("VmHWM:")
}

/// What it has resident now.
pub(crate) fn resident() -> u64 {
    status_bytes("VmRSS:")
}

fn status_bytes(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
