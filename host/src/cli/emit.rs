//! `tidemill emit`: validate, then publish.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tidemill_core::config::OnMissing;
use tidemill_core::event::Event;
use tidemill_core::json::{self, JsonLimits};
use tidemill_core::port::{Admin, BrokerError, Outgoing};
use tidemill_core::schema::{SchemaError, Schemas};
use tidemill_core::subject::Subject;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::reach::Reached;
use super::{Output, say, say_json};
use crate::exit::{self, Coded, Kind};
use crate::feed::{self, Fed};
use crate::files;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A line is {\"subject\": \"orders.created\", \"event\": {CloudEvent}}, or the CloudEvent alone with --subject, or
{\"subject\": \"…\", \"payload\": \"any text\", \"headers\": {…}}. Publishing a line again within the stream's duplicate window
adds nothing.

Examples:
  tidemill emit order.jsonl
  tidemill emit --subject orders.created - < orders.jsonl
  tidemill emit examples/shop/events.jsonl --rate 200 --repeat 0 --no-validate")]
pub(super) struct Args {
    /// A file of JSON lines, or `-` for standard input.
    file: PathBuf,

    /// The subject of lines that name none.
    #[arg(long)]
    subject: Option<String>,

    /// Events per second; as fast as possible when left out.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,

    /// Publish the file so many times, each time with ids of its own; `0`: until it is stopped. Not for standard input.
    #[arg(long, value_name = "TIMES", default_value_t = 1)]
    repeat: u64,

    /// Publish also what its schema refuses, and raw payloads.
    #[arg(long)]
    no_validate: bool,
}

/// Events published together at full speed.
const BATCH: usize = 256;

#[derive(Default)]
struct Counts {
    published: u64,
    duplicates: u64,
    invalid: u64,
}

pub(super) async fn emit(path: &Path, output: Output, args: Args) -> Result<ExitCode> {
    let loaded = files::load_config(path)?;
    let schemas = files::load_schemas(&loaded.config)?;
    let subject = args.subject.as_deref().map(Subject::try_new).transpose().coded(Kind::BadData)?;
    let lines = lines(&args, subject.as_ref())?;
    let reached = Reached::reach(&loaded.config).await?;
    let check =
        Check { schemas: (!args.no_validate).then_some(&schemas), on_missing: loaded.config.schemas.on_missing };
    let counts = publish(lines, &check, reached.admin.as_ref(), args.rate).await;
    reached.close().await?;
    let counts = counts?;
    let Counts { published, duplicates, invalid } = counts;
    if output == Output::Json {
        say_json(&json!({ "published": published, "duplicates": duplicates, "invalid": invalid }))?;
    } else {
        say(format!("{published} published, {duplicates} known already, {invalid} invalid and not published"));
    }
    Ok(if invalid > 0 { Kind::BadData.code() } else { ExitCode::SUCCESS })
}

type Lines<'a> = Box<dyn Iterator<Item = Result<Fed>> + 'a>;

/// The events to publish. A file that cannot be read at all is known before anything is published.
fn lines<'a>(args: &'a Args, subject: Option<&'a Subject>) -> Result<Lines<'a>> {
    let first = open(&args.file)?;
    if args.repeat == 1 {
        return Ok(Box::new(feed::read(first, subject)));
    }
    if args.file == Path::new("-") {
        return Err(anyhow::anyhow!("standard input cannot be read again; `--repeat` needs a file"))
            .coded(Kind::BadData);
    }
    let rounds = if args.repeat == 0 { u64::MAX } else { args.repeat };
    // Each call of the command makes ids of its own, or the second would publish nothing.
    let call = Uuid::now_v7().simple().to_string();
    let mut readable = true;
    let round = move |round: u64| -> Option<Lines<'a>> {
        let suffix = format!("-{call}-{round}");
        let lines: Lines<'a> = match open(&args.file) {
            _ if !readable => return None,
            Ok(input) => Box::new(feed::read(input, subject).map(move |fed| fed.map(|fed| fed.again(&suffix)))),
            Err(error) => {
                readable = false;
                Box::new(std::iter::once(Err(error)))
            }
        };
        Some(lines)
    };
    Ok(Box::new((0..rounds).map_while(round).flatten()))
}

fn open(file: &Path) -> Result<Box<dyn BufRead>> {
    if file == Path::new("-") {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let opened = File::open(file).with_context(|| format!("opening `{}`", file.display())).coded(Kind::BadData)?;
    Ok(Box::new(BufReader::new(opened)))
}

async fn publish(
    lines: impl Iterator<Item = Result<Fed>>,
    check: &Check<'_>,
    admin: &dyn Admin,
    rate: Option<u32>,
) -> Result<Counts> {
    let mut counts = Counts::default();
    // Ten times a second is smooth enough for a person and cheap enough for the broker.
    let batch_size = rate.map_or(BATCH, |rate| (rate as usize / 10).clamp(1, BATCH));
    let started = Instant::now();
    let mut batch = Vec::with_capacity(batch_size);
    let mut sent = 0u64;
    for line in lines {
        let fed = match line.and_then(|fed| check.accept(fed)) {
            Ok(fed) => fed,
            Err(error) => {
                counts.invalid += 1;
                complain(&error);
                continue;
            }
        };
        batch.push(fed);
        if batch.len() >= batch_size {
            sent += batch.len() as u64;
            send(std::mem::take(&mut batch), admin, &mut counts).await?;
            if let Some(rate) = rate {
                sleep_until(started + Duration::from_secs_f64(sent as f64 / f64::from(rate))).await;
            }
        }
    }
    send(batch, admin, &mut counts).await?;
    Ok(counts)
}

async fn send(batch: Vec<Fed>, admin: &dyn Admin, counts: &mut Counts) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let (lines, messages): (Vec<usize>, Vec<Outgoing>) = batch.into_iter().map(|fed| (fed.line, fed.outgoing)).unzip();
    for (line, result) in lines.into_iter().zip(admin.publish(messages).await) {
        match result {
            Ok(stored) if stored.duplicate => counts.duplicates += 1,
            Ok(_) => counts.published += 1,
            // Only this event is impossible; the others are none the worse.
            Err(BrokerError::Refused(reason)) => {
                counts.invalid += 1;
                complain(&anyhow::anyhow!("line {line}: {reason}"));
            }
            Err(error) => {
                let done = format!("publishing line {line}; {} before it were published", counts.published);
                return Err(exit::broker(error)).context(done);
            }
        }
    }
    Ok(())
}

#[allow(clippy::print_stderr, reason = "one line per refused event, for the person who sent it")]
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

struct Check<'a> {
    /// `None`: publish everything.
    schemas: Option<&'a Schemas>,
    on_missing: OnMissing,
}

// === impl Check ===

impl Check<'_> {
    fn accept(&self, fed: Fed) -> Result<Fed> {
        let Some(schemas) = self.schemas else { return Ok(fed) };
        let line = fed.line;
        let Some(event) = &fed.event else {
            anyhow::bail!("line {line}: a raw payload cannot be checked; `--no-validate` publishes it");
        };
        self.check(schemas, event).with_context(|| format!("line {line}: event `{}`", event.id))?;
        Ok(fed)
    }

    fn check(&self, schemas: &Schemas, event: &Event) -> Result<()> {
        let data = if event.data.is_empty() { None } else { Some(json::parse(&event.data, &JsonLimits::default())?) };
        match schemas.check(event, data.as_ref()) {
            Err(SchemaError::Missing { .. }) if self.on_missing != OnMissing::Reject => Ok(()),
            checked => Ok(checked?),
        }
    }
}
