//! `tidemill routes show|explain`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tidemill_core::config::{OnMissing, RouteConfig, RuntimeConfig};
use tidemill_core::json::{self, JsonLimits};
use tidemill_core::schema::{SchemaError, Schemas};

use super::{Output, say, say_json};
use crate::exit::{Coded, Kind};
use crate::feed::{self, Fed};
use crate::files;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Every route with its defaults filled in.
    Show,
    /// Which routes take an event, and why the others do not.
    #[command(after_help = "Example: head -1 examples/shop/events.jsonl | tidemill routes explain -")]
    Explain {
        /// A file whose first line is an event as `tidemill emit` takes it; `-` for standard input.
        file: PathBuf,
        /// The subject, when the line names none.
        #[arg(long)]
        subject: Option<String>,
    },
}

pub(super) fn routes(path: &Path, output: Output, verb: Verb) -> Result<ExitCode> {
    let config = files::load_config(path)?.config;
    match verb {
        Verb::Show => show(&config, output)?,
        Verb::Explain { file, subject } => explain(&config, output, &file, subject.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(config: &RuntimeConfig, output: Output) -> Result<()> {
    if output == Output::Json {
        return say_json(&config.routes.iter().map(as_json).collect::<Vec<_>>());
    }
    for route in &config.routes {
        let retry = &route.retry;
        say(format!(
            "{}\n  reads       {} {}\n  filter      {}\n  handler     {} (timeout {:?}, at most {} in flight)\n  emits       {}\n  retry       {} attempts within {:?}, {:?} to {:?} apart\n  dead letter {}.<stream>.<sequence>\n",
            route.name,
            route.stream,
            list(&route.subjects),
            if route.filter.is_some() { "yes" } else { "none: every event" },
            route.handler,
            route.timeout,
            route.max_in_flight,
            if route.emits.is_empty() { "nothing".to_owned() } else { list(&route.emits) },
            retry.max_attempts(),
            retry.max_age(),
            retry.backoff().initial(),
            retry.backoff().max(),
            route.dead_letter,
        ));
    }
    Ok(())
}

fn as_json(route: &RouteConfig) -> Value {
    json!({
        "name": route.name.as_str(),
        "stream": route.stream.as_str(),
        "subjects": route.subjects.iter().map(|subject| subject.as_str()).collect::<Vec<_>>(),
        "filtered": route.filter.is_some(),
        "handler": route.handler.as_str(),
        "emits": route.emits.iter().map(|subject| subject.as_str()).collect::<Vec<_>>(),
        "timeout_ms": route.timeout.as_millis() as u64,
        "max_in_flight": route.max_in_flight,
        "max_attempts": route.retry.max_attempts(),
        "max_age_ms": route.retry.max_age().as_millis() as u64,
        "backoff": {
            "initial_ms": route.retry.backoff().initial().as_millis() as u64,
            "multiplier": route.retry.backoff().multiplier(),
            "max_ms": route.retry.backoff().max().as_millis() as u64,
            "jitter": route.retry.backoff().jitter(),
        },
        "dead_letter": route.dead_letter.as_str(),
    })
}

fn list(patterns: &[tidemill_core::subject::SubjectPattern]) -> String {
    patterns.iter().map(|pattern| pattern.as_str()).collect::<Vec<_>>().join(", ")
}

/// What one route makes of the event.
struct Verdict<'a> {
    route: &'a RouteConfig,
    takes: bool,
    why: String,
    filter: Option<Value>,
}

fn explain(config: &RuntimeConfig, output: Output, file: &Path, subject: Option<&str>) -> Result<()> {
    let fed = first_line(file, subject).coded(Kind::BadData)?;
    let schemas = files::load_schemas(config)?;
    let verdicts: Vec<Verdict> =
        config.routes.iter().map(|route| judge(route, &fed, &schemas, config.schemas.on_missing)).collect();
    if output == Output::Json {
        let list = verdicts.iter().map(|verdict| {
            json!({ "route": verdict.route.name.as_str(), "takes": verdict.takes, "why": verdict.why, "filter": verdict.filter })
        });
        return say_json(&list.collect::<Vec<_>>());
    }
    for verdict in &verdicts {
        say(format!(
            "{} {}\n    {}",
            if verdict.takes { "✓" } else { "✗" },
            verdict.route.name,
            verdict.why.trim_end().replace('\n', "\n    ")
        ));
    }
    Ok(())
}

fn first_line(file: &Path, subject: Option<&str>) -> Result<Fed> {
    let text = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin())?
    } else {
        fs::read_to_string(file).with_context(|| format!("reading `{}`", file.display()))?
    };
    let subject = subject.map(tidemill_core::subject::Subject::try_new).transpose()?;
    let first = feed::read(text.as_bytes(), subject.as_ref()).next();
    first.with_context(|| format!("`{}` holds no event", file.display()))?
}

fn judge<'a>(route: &'a RouteConfig, fed: &Fed, schemas: &Schemas, on_missing: OnMissing) -> Verdict<'a> {
    let no = |why: String| Verdict { route, takes: false, why, filter: None };
    let subject = fed.outgoing.message.subject.as_str();
    if !route.subjects.iter().any(|pattern| pattern.matches(subject)) {
        return no(format!("subject `{subject}` is not among {}", list(&route.subjects)));
    }
    let origin = tidemill_core::port::Origin { stream: route.stream.clone(), sequence: 0 };
    let event = match tidemill_core::envelope::decode(&route.envelope, &fed.outgoing.message, &origin) {
        Ok(event) => event,
        Err(error) => return no(format!("would be dead-lettered as malformed: {error}")),
    };
    let data = match json::parse(&event.data, &JsonLimits::default()) {
        Ok(data) => Some(data),
        Err(_) if event.data.is_empty() => None,
        Err(error) => return no(format!("would be dead-lettered as malformed: {error}")),
    };
    match schemas.check(&event, data.as_ref()) {
        Err(SchemaError::Missing { .. }) if on_missing != OnMissing::Reject => {}
        Err(error) => return no(format!("would be dead-lettered: {error}")),
        Ok(()) => {}
    }
    match &route.filter {
        None => Verdict { route, takes: true, why: format!("no filter; handled by {}", route.handler), filter: None },
        Some(filter) => {
            let explanation = filter.explain(&event, data.as_ref());
            let filter = serde_json::to_value(&explanation).ok();
            Verdict { route, takes: explanation.admitted, why: explanation.to_string(), filter }
        }
    }
}
