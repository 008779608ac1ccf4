//! From a plugin project to a file in the plugins folder: build, ask the engine whether a host would take it, install.
//!
//! A component that a host would refuse is not installed: the file that is there goes on. The engine that judges compiles with
//! the host's own cache, so that a running host has the code when it sees the file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tidemill_core::config::PluginConfig;
use tidemill_core::port::Role;
use tidemill_engine::{Description, Engine, LoadError, Recorder};
use tidemill_toolchain::{Options, Progress, Project, World};

use crate::plugins::durable;

/// What came of a build.
pub struct Installed {
    pub path: PathBuf,
    pub description: Description,
    pub took: Duration,
}

/// Builds a project and puts the component into `dir`. Blocks until that is done.
pub fn build(
    project: &Project,
    engine: &Engine,
    settings: &PluginConfig,
    dir: &Path,
    debug: bool,
    progress: Progress<'_>,
) -> Result<Installed> {
    let begun = Instant::now();
    let options = Options { debug, progress };
    let bytes =
        tidemill_toolchain::build(project, options).with_context(|| format!("`{}` is not built", project.name))?;
    let description = judge(project, engine, settings, &bytes)?;
    let path = install(project, &bytes, dir)?;
    Ok(Installed { path, description, took: begun.elapsed() })
}

/// Loads it as a host would, but whatever it imports counts as granted: that is `runtime.yaml`'s matter.
fn judge(project: &Project, engine: &Engine, settings: &PluginConfig, bytes: &[u8]) -> Result<Description> {
    let role = match project.world() {
        World::Handler => Role::Handler,
        World::Projection | World::ProjectionWithQueries => Role::Projection,
    };
    let load = |role| engine.load_recorded(&project.name, bytes, settings, role, Arc::new(Recorder::new()));
    let loaded = match load(role) {
        Err(LoadError::WrongRole { found, .. }) if project.is_told_by_code() => load(found),
        loaded => loaded,
    };
    loaded.map(|plugin| plugin.describe().clone()).map_err(|why| {
        anyhow!("`{}` is built, but a host would refuse it, so it is not installed: it {why}", project.name)
    })
}

/// A host may be watching the folder: it must never see half a file.
fn install(project: &Project, bytes: &[u8], dir: &Path) -> Result<PathBuf> {
    let path = dir.join(format!("{}.wasm", project.name));
    durable::remove_leftovers(&path);
    fs::create_dir_all(dir)
        .and_then(|()| durable::replace(&path, bytes, 0o644))
        .with_context(|| format!("writing `{}`", path.display()))?;
    Ok(path)
}
