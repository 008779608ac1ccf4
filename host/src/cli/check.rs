//! `tidemill check`: everything that can be wrong before anything runs.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use super::{Output, compile, say, say_json};
use crate::exit::{self, Coded, Kind};
use crate::files::{Loaded, counted};
use crate::provenance::Provenance;
use crate::{app, candidate, files};

pub(super) fn check(path: &Path, output: Output) -> Result<ExitCode> {
    let mut problems = Vec::new();
    let checked = match files::load_config(path) {
        Ok(loaded) => Some(check_parts(loaded, &mut problems)?),
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
    projections: usize,
    streams: usize,
    plugins: Vec<String>,
}

/// Schemas and plugins do not need each other: both are looked at, whatever the other is like.
fn check_parts(loaded: Loaded, problems: &mut Vec<anyhow::Error>) -> Result<Checked> {
    problems.extend(files::load_schemas(&loaded.config).err());
    let engine = app::engine(&loaded.config, compile::compiler())?;
    let provenance = Provenance::open(&loaded.config.plugins).coded(Kind::BadConfiguration)?;
    let (well, problem) = candidate::check_plugins(&loaded.config, &engine, &provenance);
    problems.extend(problem);
    let plugins = well.iter().map(ToString::to_string).collect();
    let (routes, projections) = (loaded.config.routes.len(), loaded.config.projections.len());
    Ok(Checked { routes, projections, streams: loaded.config.streams.len(), plugins })
}

// === impl Checked ===

impl Checked {
    fn report(&self, path: &Path, output: Output) -> Result<()> {
        let Self { routes, projections, streams, plugins } = self;
        if output == Output::Json {
            return say_json(&json!({
                "ok": true, "routes": routes, "projections": projections, "streams": streams, "plugins": plugins,
            }));
        }
        let counts =
            [(*routes, "route"), (*projections, "projection"), (*streams, "stream"), (plugins.len(), "plugin")];
        let counts = counts.iter().filter(|(count, noun)| *count > 0 || *noun != "projection");
        let counts: Vec<String> = counts.map(|(count, noun)| counted(*count, noun)).collect();
        say(format!("{}: {}: all well", path.display(), counts.join(", ")));
        Ok(())
    }
}
