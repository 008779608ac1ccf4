//! `tidemill test`: the cases of `*_test.yaml` files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use tidemill_core::config::RuntimeConfig;

use super::{Output, compile, say, say_json};
use crate::app;
use crate::cases::{self, TestFile, TestMachine, Verdict, Workshop};
use crate::exit::{self, Coded, Kind};
use crate::files::{self, counted};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A case names a plugin, the events that it is called with and what must come of them; or no plugin, and then the events go into
the streams of runtime.yaml and all routes and projections run, in memory and in paused time, until nothing is left to do.
docs/testing.md lists every field; `tidemill config schema --tests` is the schema for an editor.

Exit codes: 0 all as expected, 1 a case failed, 65 a file of cases is wrong, 78 bad configuration.

Examples:
  tidemill test
  tidemill test examples/shop --filter poison
  tidemill test shop_test.yaml --update
  tidemill test --junit report.xml")]
pub(super) struct Args {
    /// Files of cases, or folders that hold some. Left out: every `*_test.yaml` below the configuration's folder.
    files: Vec<PathBuf>,

    /// Only the cases whose name holds this text.
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,

    /// Rewrite the expectations of the cases that are not as expected from what comes out. Comments inside of an `expect` that is
    /// rewritten are lost, the others stay.
    #[arg(long)]
    update: bool,

    /// Write the results to this file in JUnit's format, for a build server.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

pub(super) fn test(path: &Path, output: Output, args: &Args) -> Result<ExitCode> {
    let config = files::load_config_by(path, &TestMachine::for_config(path))?.config;
    let schemas = files::load_schemas(&config)?;
    let usual = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let found = cases::read(cases::find(&args.files, usual)?, &config)?;
    let chosen = || found.iter().flat_map(|file| &file.cases).filter(|case| case.name.contains(&args.filter));
    if chosen().next().is_none() {
        return Err(anyhow!("no case has `{}` in its name", args.filter)).coded(Kind::BadData);
    }
    let engine = app::engine(&config, compile::compiler())?;
    let mut workshop = Workshop::new(engine, config, schemas);
    workshop.prepare(chosen())?;
    let begun = Instant::now();
    let verdicts = cases::run(&workshop, &found, &args.filter);
    let took = begun.elapsed();
    match output {
        Output::Json => say_json(&cases::as_json(&verdicts, took))?,
        Output::Text => say(cases::as_text(&verdicts, took)),
    }
    // Behind them: results that have come are not lost because a file cannot be written.
    if let Some(file) = &args.junit {
        fs::write(file, cases::junit(&verdicts, took)).with_context(|| format!("writing `{}`", file.display()))?;
    }
    let mut failed = verdicts.iter().any(|verdict| !verdict.is_ok());
    if args.update && failed {
        update(&workshop.config, &found, &verdicts, output)?;
        // What cannot be run has no expectation.
        failed = verdicts.iter().any(|verdict| !verdict.can_be_updated());
    }
    Ok(if failed { Kind::Failed.code() } else { ExitCode::SUCCESS })
}

/// Updates what can be updated. One file that is left as it is does not keep the others from it.
fn update(config: &RuntimeConfig, files: &[TestFile], verdicts: &[Verdict], output: Output) -> Result<()> {
    let mut left = Vec::new();
    for (file, updated) in cases::update(config, files, verdicts) {
        match updated {
            Ok(count) if output == Output::Text => {
                say(format!("{}: {} updated", file.display(), counted(count, "expectation")));
            }
            Ok(_) => {}
            Err(error) => left.push(exit::text(&error)),
        }
    }
    if left.is_empty() { Ok(()) } else { Err(anyhow!(left.join("\n"))) }
}
