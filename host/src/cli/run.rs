//! `tidemill run`: the host.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use tidemill_core::port::Broker;
use tokio::sync::watch;

use super::{Output, compile, say, say_json};
use crate::app::App;
use crate::control;
use crate::exit::{self, Coded, Kind};
use crate::summary::Summary;
use crate::{feed, signal};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tidemill run\n  tidemill run --feed examples/shop/events.jsonl --until-idle")]
pub(super) struct Args {
    /// Publish the events of this file first (JSON lines; see `tidemill emit --help`), as a producer would: unchecked.
    #[arg(long, value_name = "FILE")]
    pub(super) feed: Option<PathBuf>,

    /// End when everything is settled and folded, and print a summary. The gateway does not listen meanwhile.
    #[arg(long)]
    pub(super) until_idle: bool,
}

/// Events published together by `--feed`.
const FEED_BATCH: usize = 256;

pub(super) async fn run(path: &Path, output: Output, args: Args) -> Result<ExitCode> {
    let app = App::build(path, compile::compiler()).await?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(signal::watch(stop.clone()));
    tokio::spawn(signal::reload(app.requests().clone()));
    if !args.until_idle {
        app.listen().await?;
    }
    let _control = control::Server::start(Arc::clone(&app)).await?;
    let working = async {
        if let Some(file) = &args.feed {
            publish(app.broker(), file).await?;
        }
        if args.until_idle {
            tokio::select! {
                idle = app.idle() => idle?,
                // A signal ends the waiting; what is left is in the summary's absence and in the next run.
                () = async { drop(stopped.clone().wait_for(|stop| *stop).await) } => {}
            }
            stop.send_replace(true);
        }
        Ok(())
    };
    let (ran, worked) = tokio::join!(app.run(stopped.clone()), async {
        let worked: Result<()> = working.await;
        if worked.is_err() {
            stop.send_replace(true);
        }
        worked
    });
    worked?;
    ran?;
    if args.until_idle {
        summarize(&app.summary(), output)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn publish(broker: &Arc<dyn Broker>, path: &Path) -> Result<()> {
    let file =
        File::open(path).with_context(|| format!("opening the feed `{}`", path.display())).coded(Kind::BadData)?;
    let mut lines = feed::read(BufReader::new(file), None).peekable();
    let (mut published, mut known) = (0, 0);
    while lines.peek().is_some() {
        let batch: Result<Vec<_>> = lines.by_ref().take(FEED_BATCH).map(|fed| fed.map(|fed| fed.outgoing)).collect();
        let batch = batch.with_context(|| format!("reading the feed `{}`", path.display())).coded(Kind::BadData)?;
        for result in broker.publish(batch).await {
            let stored =
                result.map_err(exit::broker).with_context(|| format!("publishing the feed `{}`", path.display()))?;
            if stored.duplicate { known += 1 } else { published += 1 }
        }
    }
    tracing::info!(file = %path.display(), published, already_published = known, "Feed is published");
    Ok(())
}

fn summarize(summary: &Summary, output: Output) -> Result<()> {
    if output == Output::Json {
        return say_json(summary);
    }
    say(summary);
    if !summary.reasons().is_empty() {
        say("`tidemill dlq list` shows each dead letter and its reason, `tidemill dlq show ID` all of it.");
    }
    Ok(())
}
