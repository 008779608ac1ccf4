//! `tidemill config show|schema`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use tidemill_core::config;

use super::say_json;
use crate::exit::{Coded, Kind};
use crate::files::Machine;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// The effective configuration as JSON: defaults filled in, secrets masked.
    Show,
    /// The JSON Schema of the file, for editors: `tidemill config schema > runtime.schema.json`.
    Schema {
        /// Of files of cases (`*_test.yaml`) instead.
        #[arg(long)]
        tests: bool,
    },
}

pub(super) fn config(path: &Path, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Schema { tests: false } => say_json(&config::json_schema())?,
        Verb::Schema { tests: true } => say_json(&config::cases::json_schema())?,
        Verb::Show => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("reading the configuration `{}`", path.display()))
                .coded(Kind::BadConfiguration)?;
            let shown = config::show(&text, &Machine::for_config(path))
                .map_err(|diagnostics| anyhow!("{}", diagnostics.render(&path.display().to_string())))
                .coded(Kind::BadConfiguration)?;
            say_json(&shown)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
