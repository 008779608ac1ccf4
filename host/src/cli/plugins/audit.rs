//! `tidemill plugins audit`: what plugins need.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tidemill_core::config::RuntimeConfig;
use tidemill_core::name::PluginName;
use tidemill_core::subject::Subject;
use tidemill_core::text::clean_text;

use super::super::{Output, compile, say, say_json};
use crate::audit::{self, Audit, Item};
use crate::exit::{Coded, Kind};
use crate::{app, files};

/// So many failed calls are shown.
const MAX_SHOWN_FAILURES: usize = 5;

/// What of each is shown.
const MAX_FAILURE_BYTES: usize = 300;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AuditArgs {
    /// The plugin, as in `handler` of a route.
    plugin: String,
    /// Events as `tidemill emit` takes them; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    events: PathBuf,
    /// The subject of lines that name none.
    #[arg(long)]
    subject: Option<String>,
}

pub(super) async fn audit(config: &RuntimeConfig, output: Output, args: AuditArgs) -> Result<ExitCode> {
    let plugin = PluginName::try_new(&args.plugin)?;
    let subject = args.subject.as_deref().map(Subject::try_new).transpose()?;
    let input: Box<dyn Read> = if args.events == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        let opened = File::open(&args.events).with_context(|| format!("reading `{}`", args.events.display()));
        Box::new(opened.coded(Kind::BadData)?)
    };
    let engine = app::engine(config, compile::compiler())?;
    let audit = audit::audit(&engine, config, &plugin, BufReader::new(input), subject.as_ref()).await?;
    match output {
        Output::Json => say_json(&as_json(&audit))?,
        Output::Text => say(as_text(&audit)),
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(audit: &Audit) -> Value {
    let items = |items: &[Item]| items.iter().map(item_as_json).collect::<Vec<_>>();
    json!({
        "plugin": audit.plugin.as_str(),
        "events": audit.events,
        "calls": audit.calls,
        "failures": audit.failures.iter().map(|(line, text)| json!({ "line": line, "text": text })).collect::<Vec<_>>(),
        "imports": audit.imports,
        "used_not_granted": items(&audit.used_not_granted),
        "granted_not_used": items(&audit.granted_not_used),
        "grant": audit.grant,
    })
}

fn item_as_json(item: &Item) -> Value {
    json!({ "kind": item.kind.as_str(), "name": item.name, "route": item.route.as_ref().map(|route| route.as_str()) })
}

fn as_text(audit: &Audit) -> String {
    let (events, calls) = (files::counted(audit.events, "event"), files::counted(audit.calls, "call"));
    let mut text = format!("{}: {events}, {calls}, {} failed\n", audit.plugin, audit.failures.len());
    for (line, why) in audit.failures.iter().take(MAX_SHOWN_FAILURES) {
        text += &format!("  line {line}: {}\n", clean_text(why, MAX_FAILURE_BYTES));
    }
    text += &format!("\nImports\n{}", bulleted(audit.imports.iter().cloned()));
    text += &format!("\nUsed, not granted\n{}", bulleted(audit.used_not_granted.iter().map(Item::to_string)));
    text += &format!("\nGranted, not used\n{}", bulleted(audit.granted_not_used.iter().map(Item::to_string)));
    text + &format!("\nThe least to grant, by what these events made it try:\n\n{}", audit.grant.trim_end())
}

fn bulleted(lines: impl Iterator<Item = String>) -> String {
    let lines: String = lines.map(|line| format!("  {}\n", clean_text(&line, MAX_FAILURE_BYTES))).collect();
    if lines.is_empty() { "  nothing\n".to_owned() } else { lines }
}
