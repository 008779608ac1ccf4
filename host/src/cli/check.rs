//! `tidemill check`: everything that can be wrong before anything runs.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;
use tidemill_engine::Compiler;

use super::{Output, say, say_json};
use crate::exit::{self, Kind};
use crate::files::{Loaded, counted};
use crate::{app, files};

pub(super) fn check(path: &Path, output: Output, compiler: Compiler) -> Result<ExitCode> {
    let mut problems = Vec::new();
    let checked = match files::load_config(path) {
        Ok(loaded) => Some(check_parts(loaded, compiler, &mut problems)?),
        Err(error) => {
            problems.push(error);
            None
        }
    };
    match (checked, output) {
        (Some(found), _) if problems.is_empty() => found.report(path, output)?,
        (_, Output::Json) => {
            let texts: Vec<String> = problems.iter().map(exit::text).collect();
            say_json(&json!({ "ok": false, "errors": texts }))?;
            return Ok(Kind::BadConfiguration.code());
        }
        (_, Output::Text) => {
            for problem in &problems {
                exit::report(problem);
            }
            return Ok(Kind::BadConfiguration.code());
        }
    }
    Ok(ExitCode::SUCCESS)
}

struct Checked {
    routes: usize,
    streams: usize,
    plugins: Vec<String>,
}

/// Schemas and plugins do not need each other: both are looked at, whatever the other is like.
fn check_parts(loaded: Loaded, compiler: Compiler, problems: &mut Vec<anyhow::Error>) -> Result<Checked> {
    problems.extend(files::load_schemas(&loaded.config).err());
    let engine = app::engine(&loaded.config, compiler)?;
    let plugins = match app::load_plugins(&engine, &loaded.config) {
        Ok(plugins) => plugins.keys().map(ToString::to_string).collect(),
        Err(error) => {
            problems.push(error);
            Vec::new()
        }
    };
    Ok(Checked { routes: loaded.config.routes.len(), streams: loaded.config.streams.len(), plugins })
}

// === impl Checked ===

impl Checked {
    fn report(&self, path: &Path, output: Output) -> Result<()> {
        let Self { routes, streams, plugins } = self;
        if output == Output::Json {
            return say_json(&json!({ "ok": true, "routes": routes, "streams": streams, "plugins": plugins }));
        }
        let (routes, streams) = (counted(*routes, "route"), counted(*streams, "stream"));
        say(format!("{}: {routes}, {streams}, {}: all well", path.display(), counted(plugins.len(), "plugin")));
        Ok(())
    }
}
