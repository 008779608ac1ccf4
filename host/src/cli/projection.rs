//! `tidemill projection`: how read models stand, their rebuild, and what is in them.

mod documents;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tidemill_core::name::{ProjectionName, StreamName};
use tidemill_core::projection::ProjectionStatus;
use tidemill_core::read_model::Positions;

use super::status::host;
use super::{Output, say, say_json};
use crate::control::{Order, Remote};
use crate::exit::{self, Coded, Kind};
use crate::status::{Details, Projections, progress};

/// How often the progress of a rebuild is asked for.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// A line per projection: state, position, lag, dead letters.
    List,
    /// Everything about one projection: its copies, where they stand, the progress of a rebuild.
    Status { name: String },
    /// Fill a new copy from the beginning while the active one serves, and switch to it.
    #[command(after_help = "Example: tidemill projection rebuild orders\nCtrl-C ends the watching, not the rebuild.")]
    Rebuild {
        name: String,
        /// Do not wait for the end.
        #[arg(long)]
        detach: bool,
    },
    /// Give up the copy that is being filled; the active one is not touched.
    Cancel { name: String },
    /// Activate the copy that was active before.
    Rollback { name: String },
    /// Stop folding, also over restarts; queries go on.
    Pause { name: String },
    /// Go on after a pause or a halt.
    Resume { name: String },
    /// Begin an empty copy behind these positions and activate it at once; streams that are not named begin anew.
    #[command(after_help = "Example: tidemill projection reset orders --from ORDERS:120000")]
    Reset {
        name: String,
        /// `STREAM:SEQUENCE`: the last event that is not folded.
        #[arg(long, required = true, value_name = "STREAM:SEQUENCE")]
        from: Vec<String>,
    },
    /// Documents of a collection, as a table or as JSON.
    #[command(
        after_help = "Examples:\n  tidemill projection query orders order-1\n  tidemill projection query orders -f status=pending -f total[gte]=100 --sort=-created_at\n  tidemill projection query orders --wait-for ORDERS:1234 --output json"
    )]
    Query(documents::Args),
}

pub(super) async fn projection(path: &Path, output: Output, verb: Verb) -> Result<ExitCode> {
    let remote = host(path).await?;
    match verb {
        Verb::List => list(&remote, output).await,
        Verb::Status { name } => status(&remote, output, &name).await,
        Verb::Rebuild { name, detach } => rebuild(&remote, output, &named(&name)?, detach).await,
        Verb::Cancel { name } => order(&remote, output, &named(&name)?, Order::Cancel).await,
        Verb::Rollback { name } => order(&remote, output, &named(&name)?, Order::RollBack).await,
        Verb::Pause { name } => order(&remote, output, &named(&name)?, Order::Pause).await,
        Verb::Resume { name } => order(&remote, output, &named(&name)?, Order::Resume).await,
        Verb::Reset { name, from } => order(&remote, output, &named(&name)?, Order::Reset(positions(&from)?)).await,
        Verb::Query(args) => documents::query(&remote, output, args).await,
    }
}

fn named(text: &str) -> Result<ProjectionName> {
    ProjectionName::try_new(text).coded(Kind::BadData)
}

fn positions(texts: &[String]) -> Result<Positions> {
    let one = |text: &String| -> Result<(StreamName, u64)> {
        let expected = || anyhow!("--from: expected STREAM:SEQUENCE like `ORDERS:120000`, found `{text}`");
        let (stream, sequence) = text.split_once(':').ok_or_else(expected)?;
        Ok((StreamName::try_new(stream)?, sequence.parse().map_err(|_| expected())?))
    };
    texts.iter().map(one).collect::<Result<_>>().coded(Kind::BadData)
}

async fn list(remote: &Remote, output: Output) -> Result<ExitCode> {
    let projections = remote.status().await.map_err(exit::broker)?.projections;
    match output {
        Output::Text if projections.is_empty() => say("no projections; `projections` in runtime.yaml declares them"),
        Output::Text => say(Projections(&projections).to_string().trim_end()),
        Output::Json => say_json(&projections)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn status(remote: &Remote, output: Output, name: &str) -> Result<ExitCode> {
    let one = look(remote, name).await?;
    match output {
        Output::Text => say(Details(&one).to_string().trim_end()),
        Output::Json => say_json(&one)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn look(remote: &Remote, name: &str) -> Result<ProjectionStatus> {
    let projections = remote.status().await.map_err(exit::broker)?.projections;
    let known: Vec<String> = projections.iter().map(|one| one.name.clone()).collect();
    let found = projections.into_iter().find(|one| one.name == name);
    found
        .ok_or_else(|| anyhow!("there is no projection `{name}`; there are: {}", known.join(", ")))
        .coded(Kind::BadData)
}

async fn order(remote: &Remote, output: Output, name: &ProjectionName, order: Order) -> Result<ExitCode> {
    look(remote, name.as_str()).await?;
    let told = remote.order(name, order).await.map_err(exit::broker)?;
    match output {
        Output::Text => say(told),
        Output::Json => say_json(&json!({ "done": told }))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Orders the rebuild and shows how far it is, until the new copy is active or thrown away.
async fn rebuild(remote: &Remote, output: Output, name: &ProjectionName, detach: bool) -> Result<ExitCode> {
    let before = look(remote, name.as_str()).await?.active.map(|copy| copy.number);
    let told = remote.order(name, Order::Rebuild).await.map_err(exit::broker)?;
    if detach {
        match output {
            Output::Text => say(told),
            Output::Json => say_json(&json!({ "done": told }))?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let bar = bar();
    let ended = loop {
        let now = look(remote, name.as_str()).await?;
        if now.building.is_none() {
            break now;
        }
        if let Some(rebuild) = &now.rebuild {
            bar.set_length(rebuild.target);
            bar.set_position(rebuild.done);
            bar.set_message(progress(rebuild));
        }
        tokio::time::sleep(LOOK).await;
    };
    bar.finish_and_clear();
    let active = ended.active.as_ref().map(|copy| copy.number);
    if active == before {
        let why = ended.rebuild_failure.unwrap_or_else(|| "it was cancelled".to_owned());
        bail!("the rebuild of `{name}` came to nothing, the copy before serves on: {why}");
    }
    match output {
        Output::Text => say(format!(
            "copy {} of `{name}` serves; `tidemill projection rollback {name}` goes back to the one before",
            active.unwrap_or_default()
        )),
        Output::Json => say_json(&ended)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// On a terminal only; it is written to standard error.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}
