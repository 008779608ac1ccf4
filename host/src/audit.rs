//! What a plugin needs, found by running it: `tidemill plugins audit`.
//!
//! The plugin is called with each event that one of its routes would take, in the order of the file, with every import open
//! and every subject allowed, and a recorder in between. Nothing is committed: emits are dropped, and state lives in memory
//! until the end, so that later events find what earlier ones wrote. What the recorder saw is then compared with what
//! `runtime.yaml` grants.
//!
//! An audit shows what was tried on these events and no more. It was chosen over reading the component's code, because the names
//! of subjects, hosts and keys are made from data.

mod compare;
mod run;
mod snippet;

use std::fmt;
use std::io::BufRead;

use anyhow::Result;
use tidemill_core::config::RuntimeConfig;
use tidemill_core::name::{PluginName, RouteName};
use tidemill_core::subject::Subject;
use tidemill_engine::Engine;

/// What came out.
#[derive(Debug, Clone)]
pub struct Audit {
    pub plugin: PluginName,
    /// Events in the file.
    pub events: usize,
    /// Calls made: an event that two routes take is two calls.
    pub calls: usize,
    /// Line and text of each call that failed.
    pub failures: Vec<(usize, String)>,
    /// The component's imports, as it names them.
    pub imports: Vec<String>,
    pub used_not_granted: Vec<Item>,
    pub granted_not_used: Vec<Item>,
    /// A piece of `runtime.yaml`.
    pub grant: String,
}

/// One thing that is granted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub kind: ItemKind,
    /// The route whose `emits` it belongs to.
    pub route: Option<RouteName>,
    pub name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    Emit,
    State,
    Http,
    Config,
    Secret,
    Env,
}

/// Runs the plugin over the events of `input`.
///
/// # Errors
///
/// The plugin cannot be loaded for another reason than a missing grant, or a line is no event. A call that fails is no error: it is
/// part of what is reported.
pub async fn audit(
    engine: &Engine,
    config: &RuntimeConfig,
    plugin: &PluginName,
    input: impl BufRead,
    subject: Option<&Subject>,
) -> Result<Audit> {
    let ran = run::run(engine, config, plugin, input, subject).await?;
    let settings = config.plugins.of(plugin);
    let compared = compare::compare(&ran, config, plugin, &settings);
    Ok(Audit {
        plugin: plugin.clone(),
        grant: snippet::snippet(plugin, &ran, &settings),
        events: ran.events,
        calls: ran.calls,
        failures: ran.failures,
        imports: ran.imports,
        used_not_granted: compared.used_not_granted,
        granted_not_used: compared.granted_not_used,
    })
}

// === impl ItemKind ===

impl ItemKind {
    pub fn as_str(self) -> &'static str {
        match self {
            ItemKind::Emit => "emit",
            ItemKind::State => "state",
            ItemKind::Http => "http",
            ItemKind::Config => "config",
            ItemKind::Secret => "secret",
            ItemKind::Env => "env",
        }
    }
}

// === impl Item ===

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, route, name } = self;
        write!(f, "{:7} {name}", kind.as_str())?;
        match route {
            Some(route) => write!(f, " (route {route})"),
            None => Ok(()),
        }
    }
}
