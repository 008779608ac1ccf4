//! `tidemill check`: everything that can be wrong before anything runs.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::json;
use tidemill_engine::{Engine, EngineOptions};

use super::{Output, say, say_json};
use crate::files::counted;
use crate::{app, files};

pub(super) fn check(path: &Path, output: Output) -> Result<ExitCode> {
    let loaded = files::load_config(path)?;
    files::load_schemas(&loaded.config)?;
    let engine = Engine::new(EngineOptions::default()).context("starting the Wasm engine")?;
    let plugins = app::load_plugins(&engine, &loaded.config)?;
    let (routes, streams) = (loaded.config.routes.len(), loaded.config.streams.len());
    if output == Output::Json {
        let names: Vec<&str> = plugins.keys().map(|name| name.as_str()).collect();
        say_json(&json!({ "ok": true, "routes": routes, "streams": streams, "plugins": names }))?;
    } else {
        say(format!(
            "{}: {}, {}, {}: all well",
            path.display(),
            counted(routes, "route"),
            counted(streams, "stream"),
            counted(plugins.len(), "plugin")
        ));
    }
    Ok(ExitCode::SUCCESS)
}
