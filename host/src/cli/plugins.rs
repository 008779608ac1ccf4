//! `tidemill plugins`: what plugins there are, what they are made of, and which builds may run.

mod audit;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use serde_json::json;
use tidemill_core::config::RuntimeConfig;
use tidemill_core::name::PluginName;
use tidemill_core::port::Role;
use tidemill_engine::Description;

use super::status::{find_host, host};
use super::{Output, compile, say, say_json};
use crate::control::{self, Remote};
use crate::exit::{self, Coded, Kind};
use crate::plugins::{Folder, lock};
use crate::provenance::Provenance;
use crate::status::{PluginStatus, Status, Table, short};
use crate::{app, files};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// The plugins of the running host with state, digest, calls and what was refused; without a host, what the folder holds.
    #[command(after_help = "Example: tidemill plugins list --output json")]
    List,
    /// Everything about one plugin: its file, whether it would run, its imports and exports.
    #[command(after_help = "Example: tidemill plugins inspect fraud-check")]
    Inspect { plugin: String },
    /// Put the build before the present one in service again; the present one is quarantined.
    #[command(after_help = "Example: tidemill plugins rollback fraud-check")]
    Rollback { plugin: String },
    /// Let a quarantined file run again.
    #[command(after_help = "Example: tidemill plugins release fraud-check")]
    Release { plugin: String },
    /// Run a plugin over events, commit nothing, and print the least that must be granted to it.
    ///
    /// Every import is open and every emit is taken, to learn what the plugin tries; nothing of it is published or kept. HTTP
    /// requests are recorded and denied, except to hosts that are granted already: those are sent.
    #[command(after_help = "Example: tidemill plugins audit fraud-check --events examples/shop/events.jsonl")]
    Audit(audit::AuditArgs),
    /// Write the digests of all plugins to `plugins.lock`; from then on only these builds are loaded.
    #[command(after_help = "Example: tidemill plugins lock")]
    Lock,
}

pub(super) async fn plugins(path: &Path, output: Output, verb: Verb) -> Result<ExitCode> {
    let config = || files::load_config(path).map(|loaded| loaded.config);
    match verb {
        Verb::Audit(args) => audit::audit(&config()?, output, args).await,
        Verb::List => list(path, output).await,
        Verb::Inspect { plugin } => inspect(&config()?, output, &named(&plugin)?).await,
        Verb::Rollback { plugin } => {
            let told = host(path).await?.roll_back(&named(&plugin)?).await;
            tell(told.map_err(exit::broker)?, output)
        }
        Verb::Release { plugin } => {
            let told = host(path).await?.release(&named(&plugin)?).await;
            tell(told.map_err(exit::broker)?, output)
        }
        Verb::Lock => write_lock(&config()?, output),
    }
}

fn named(text: &str) -> Result<PluginName> {
    PluginName::try_new(text).coded(Kind::BadData)
}

fn tell(text: String, output: Output) -> Result<ExitCode> {
    match output {
        Output::Text => say(text),
        Output::Json => say_json(&json!({ "done": text }))?,
    }
    Ok(ExitCode::SUCCESS)
}

// --- list --------------------------------------------------------------------------------------------------------------

async fn list(path: &Path, output: Output) -> Result<ExitCode> {
    if let Some(remote) = find_host(path).await? {
        let Status { plugins, unused, .. } = remote.status().await.map_err(exit::broker)?;
        match output {
            Output::Text => {
                say(Table(&plugins).to_string().trim_end());
                for file in unused {
                    say(format!("not used: {file}"));
                }
            }
            Output::Json => say_json(&json!({ "running": true, "plugins": plugins, "unused": unused }))?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let config = files::load_config(path)?.config;
    let folder = Folder::new(&config.plugins.dir);
    let files: Vec<_> = folder.names().into_iter().map(|name| InFolder::of(&folder, &config, name)).collect();
    match output {
        Output::Text => {
            say(format!("No host is running; `{}` holds:", folder.dir().display()));
            for file in &files {
                say(file);
            }
            for other in folder.others() {
                say(format!("  {}: {}", other.file, other.why));
            }
        }
        Output::Json => say_json(&json!({ "running": false, "plugins": files }))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A file that nobody runs.
#[derive(serde::Serialize)]
struct InFolder {
    name: String,
    digest: Option<String>,
    size: Option<usize>,
    routes: Vec<String>,
    projections: Vec<String>,
    problem: Option<String>,
}

impl InFolder {
    fn of(folder: &Folder, config: &RuntimeConfig, name: PluginName) -> Self {
        let routes = config.routes.iter().filter(|route| route.handler == name).map(|route| route.name.to_string());
        let routes = routes.collect();
        let projections = config.projections.iter().filter(|projection| projection.plugin == name);
        let projections = projections.map(|projection| projection.name.to_string()).collect();
        match folder.read(&name) {
            Ok(file) => Self {
                name: name.to_string(),
                digest: Some(file.digest.to_string()),
                size: Some(file.bytes.len()),
                routes,
                projections,
                problem: None,
            },
            Err(problem) => {
                let problem = Some(problem.to_string());
                Self { name: name.to_string(), digest: None, size: None, routes, projections, problem }
            }
        }
    }
}

impl std::fmt::Display for InFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, digest, size, routes, projections, problem } = self;
        match problem {
            Some(problem) => write!(f, "  {name}: {problem}"),
            None => {
                let users = [&**routes, projections].concat();
                let users = if users.is_empty() { "nothing uses it".to_owned() } else { users.join(", ") };
                let (digest, size) = (digest.as_deref().unwrap_or_default(), size.unwrap_or_default().div_ceil(1024));
                write!(f, "  {name}  {}  {size} KiB  {users}", short(digest))
            }
        }
    }
}

// --- inspect -----------------------------------------------------------------------------------------------------------

async fn inspect(config: &RuntimeConfig, output: Output, name: &PluginName) -> Result<ExitCode> {
    let running = match Remote::connect(control::socket_dir(config)).await {
        Some(remote) => {
            let plugins = remote.status().await.map_err(exit::broker)?.plugins;
            plugins.into_iter().find(|plugin| plugin.name == name.as_str())
        }
        None => None,
    };
    let file = tokio::task::block_in_place(|| examine(config, name));
    let well = file.is_ok();
    match output {
        Output::Json => {
            let file = match &file {
                Ok(description) => json!({
                    "ok": true, "digest": description.digest, "size": description.size, "world": description.world(),
                    "imports": description.imports, "exports": description.exports,
                    "compile_ms": description.compile_time.as_millis() as u64, "cached": description.cached,
                    "start_ms": description.start_time.as_millis() as u64, "instances": description.instances,
                }),
                Err(error) => json!({ "ok": false, "error": exit::text(error) }),
            };
            say_json(&json!({ "name": name.as_str(), "file": file, "running": running }))?;
        }
        Output::Text => {
            match &file {
                Ok(description) => say(described(name, description)),
                Err(error) => say(format!("{name}: the file would be refused\n{}", exit::text(error))),
            }
            match &running {
                Some(running) => say(format!("\nrunning:\n{}", Table(std::slice::from_ref::<PluginStatus>(running)))),
                None => say("\nnot running"),
            }
        }
    }
    Ok(if well { ExitCode::SUCCESS } else { Kind::BadConfiguration.code() })
}

/// Does with the file what a start would do.
fn examine(config: &RuntimeConfig, name: &PluginName) -> Result<Description> {
    let provenance = Provenance::open(&config.plugins)?;
    let file = provenance.examine(name).map_err(|refused| anyhow!(refused.why))?;
    let engine = app::engine(config, compile::compiler())?;
    let load = |role| engine.load(name, &file.bytes, &config.plugins.of(name), role);
    let plugin = match config.used_plugins().get(name) {
        Some(role) => load(*role),
        // Nothing uses it yet: it is looked at for what it is.
        None => load(Role::Handler).or_else(|error| load(Role::Projection).map_err(|_| error)),
    };
    let plugin = plugin.with_context(|| format!("`{}`", file.path.display()))?;
    Ok(plugin.describe().clone())
}

fn described(name: &PluginName, description: &Description) -> String {
    let Description { digest, size, imports, exports, compile_time, start_time, instances, cached, .. } = description;
    let compiled = if *cached { "from the cache".to_owned() } else { format!("in {compile_time:.1?}") };
    let mut text = format!(
        "{name}: a {} of {} KiB, {digest}\ncompiled {compiled}, started in {start_time:.1?}, {instances} at a time\n",
        description.world(),
        size.div_ceil(1024)
    );
    for (what, names) in [("exports", exports), ("imports", imports)] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{what}:");
        for name in names {
            let _ = writeln!(text, "  {name}");
        }
    }
    text.trim_end().to_owned()
}

// --- lock --------------------------------------------------------------------------------------------------------------

fn write_lock(config: &RuntimeConfig, output: Output) -> Result<ExitCode> {
    let folder = Folder::new(&config.plugins.dir);
    let names = folder.names();
    let locked = lock::write(&folder, &names).coded(Kind::BadConfiguration)?;
    let count = files::counted(locked.names().count(), "plugin");
    tell(format!("{count} locked in `{}`", folder.dir().join("plugins.lock").display()), output)
}
