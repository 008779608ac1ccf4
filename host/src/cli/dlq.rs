//! `tidemill dlq list|show|redrive|discard`: the work list of what failed.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;
use tidemill_core::config::RuntimeConfig;
use tidemill_core::dead_letter::{self, DeadLetter, DeadLetterView};
use tidemill_core::failure::FailureKind;
use tidemill_core::name::RouteName;
use tidemill_core::port::{Admin, DeadLetterQuery, StoredDeadLetter};
use tidemill_core::text::clean_text;

use super::reach::Reached;
use super::{Output, say, say_json};
use crate::exit::{self, Coded, Kind};
use crate::files;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// One line per dead letter.
    List {
        #[command(flatten)]
        which: Which,
        /// At most so many.
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// Everything about one dead letter, the original payload included.
    Show { id: u64 },
    /// Put events back in front of the route where they failed, and of no other.
    #[command(
        after_help = "Examples:\n  tidemill dlq redrive 17 18\n  tidemill dlq redrive --route payments --dry-run\n  tidemill dlq redrive --all"
    )]
    Redrive {
        ids: Vec<u64>,
        #[command(flatten)]
        which: Which,
        /// All of them.
        #[arg(long)]
        all: bool,
        /// Say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove dead letters for good.
    Discard {
        #[arg(required = true)]
        ids: Vec<u64>,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Only those of this route or projection.
    #[arg(long)]
    route: Option<String>,
    /// Only those with this reason; docs/dead-letters.md lists them.
    #[arg(long)]
    reason: Option<String>,
}

impl Which {
    /// A name that nothing can have is a typo, not an empty answer.
    fn check(&self, config: &RuntimeConfig) -> Result<()> {
        let routes = config.routes.iter().map(|route| route.name.as_str());
        let routes = routes.chain(config.projections.iter().map(|projection| projection.name.as_str())).collect();
        let reasons: Vec<&str> = FailureKind::ALL.iter().map(|kind| kind.code()).collect();
        for (flag, given, known) in [("--route", &self.route, routes), ("--reason", &self.reason, reasons)] {
            if let Some(given) = given.as_deref().filter(|given| !known.contains(given)) {
                return Err(anyhow!("{flag}: there is no `{given}`; there are {}", known.join(", ")))
                    .coded(Kind::BadData);
            }
        }
        Ok(())
    }
}

/// Dead letters read at once.
const PAGE: usize = 200;

pub(super) async fn dlq(path: &Path, output: Output, verb: Verb) -> Result<ExitCode> {
    let config = files::load_config(path)?.config;
    if let Verb::List { which, .. } | Verb::Redrive { which, .. } = &verb {
        which.check(&config)?;
    }
    let reached = Reached::reach(&config).await?;
    let result = act(&config, reached.admin.as_ref(), output, verb).await;
    reached.close().await?;
    result
}

async fn act(config: &RuntimeConfig, admin: &dyn Admin, output: Output, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::List { which, limit } => list(admin, output, &which, limit).await,
        Verb::Show { id } => show(config, admin, output, id).await,
        Verb::Redrive { ids, which, all, dry_run } => {
            let chosen = choose(config, admin, ids, &which, all).await?;
            redrive(admin, output, &chosen, dry_run).await
        }
        Verb::Discard { ids } => discard(admin, output, &ids).await,
    }
}

async fn list(admin: &dyn Admin, output: Output, which: &Which, limit: usize) -> Result<ExitCode> {
    // One more than is shown tells whether that is all.
    let mut found = select(admin, which, limit.saturating_add(1)).await?;
    let is_cut = found.len() > limit;
    found.truncate(limit);
    if output == Output::Json {
        let views: Vec<_> = found.iter().map(|(stored, letter)| letter.view(stored.id)).collect();
        say_json(&views)?;
        return Ok(ExitCode::SUCCESS);
    }
    if found.is_empty() {
        say("no dead letters");
        return Ok(ExitCode::SUCCESS);
    }
    let width = found.iter().map(|(_, letter)| letter.route.as_str().len()).max().unwrap_or(5).max(5);
    say(format!("{:>6}  {:width$}  {:16} {:>8}  {:24}  error", "id", "route", "reason", "attempts", "event"));
    for (stored, letter) in &found {
        let event = letter.event_id.as_deref().map_or_else(|| letter.origin.to_string(), |id| clean_text(id, 24));
        say(format!(
            "{:>6}  {:width$}  {:16} {:>8}  {event:24}  {}",
            stored.id,
            letter.route.as_str(),
            letter.reason,
            letter.attempts,
            clean_text(&letter.error, 110).replace('\n', " "),
        ));
    }
    if is_cut {
        say(format!(
            "The oldest {limit} are shown and there are more; `--limit N` shows N, `--route` and `--reason` choose"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(config: &RuntimeConfig, admin: &dyn Admin, output: Output, id: u64) -> Result<ExitCode> {
    let stored = admin.dead_letter(id).await.map_err(exit::broker)?;
    let Some(stored) = stored else { bail!("there is no dead letter {id}; `tidemill dlq list` shows which there are") };
    let letter = decode(&stored)?;
    if output == Output::Json {
        say_json(&letter.view(stored.id))?;
    } else {
        say(page(&letter.view(stored.id), is_projection(config, letter.route.as_str())));
    }
    Ok(ExitCode::SUCCESS)
}

/// A dead letter for a person: what and why first, the original last, and what to do about it. What came from outside is
/// cleaned for the terminal. A projection `folds`: its events cannot go back one by one.
fn page(view: &DeadLetterView<'_>, folds: bool) -> String {
    let clean = |text: &str| clean_text(text, 4096);
    let exhausted = view.exhausted_by.map(|by| format!(", exhausted by {by}")).unwrap_or_default();
    let redriven = if view.redriven > 0 { format!(", redriven {} times", view.redriven) } else { String::new() };
    let event = format!("{} {}", view.event_type.unwrap_or("(not decoded)"), view.event_id.unwrap_or_default());
    let mut lines = vec![
        format!("dead letter   {} of route {}", view.id, view.route),
        format!("reason        {} (blame: {})", view.reason, view.blame),
        format!("error         {}", clean(view.error)),
        format!("attempts      {}{exhausted}{redriven}", view.attempts),
        format!("event         {}", clean(event.trim_end())),
        format!("stored        {} in {}:{} on {}", view.stored, view.stream, view.sequence, clean(view.subject)),
        format!("failed        {} first, {} last, on {}", view.first_failure, view.last_failure, clean(view.host)),
        format!("plugin        {} {}", view.plugin, view.digest),
    ];
    lines.extend(view.log.iter().map(|line| format!("log           {}", clean(line))));
    lines.extend(view.headers.iter().map(|(name, value)| format!("header        {}: {}", clean(name), clean(value))));
    let payload = match (view.payload, &view.payload_base64) {
        (Some(text), _) => clean(text),
        (None, base64) => format!("(not text, Base64) {}", base64.as_deref().unwrap_or_default()),
    };
    lines.push(format!("payload       {payload}"));
    let repaired = match folds {
        true => format!("tidemill projection rebuild {}", view.route),
        false => format!("tidemill dlq redrive {}", view.id),
    };
    lines.push(format!("\nAfter the repair: {repaired}"));
    lines.push(format!("To see it fail:   tidemill invoke {} --from-dlq {}", view.plugin, view.id));
    lines.join("\n")
}

async fn redrive(admin: &dyn Admin, output: Output, chosen: &[StoredDeadLetter], dry_run: bool) -> Result<ExitCode> {
    let (mut redriven, mut gone) = (0, 0);
    for stored in chosen {
        let redrive =
            dead_letter::redrive(stored).with_context(|| format!("dead letter {}", stored.id)).coded(Kind::BadData)?;
        if dry_run {
            if output == Output::Text {
                say(format!("would redrive {} to route {} ({})", stored.id, redrive.route, redrive.origin));
            }
        } else if admin
            .redrive(redrive)
            .await
            .map_err(exit::broker)
            .with_context(|| format!("redriving {}", stored.id))?
        {
            redriven += 1;
        } else {
            gone += 1;
        }
    }
    match (output, dry_run) {
        (Output::Json, _) => say_json(
            &json!({ "chosen": chosen.iter().map(|stored| stored.id).collect::<Vec<_>>(), "redriven": redriven, "gone": gone, "dry_run": dry_run }),
        )?,
        (Output::Text, true) => say(format!("{} would be redriven; nothing was done", chosen.len())),
        (Output::Text, false) => {
            say(format!("{redriven} redriven; a running host takes them at once, otherwise the next `tidemill run`"))
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The dead letters to redrive. Those of projections are passed over when they are not named by id: an event cannot be folded
/// later than those behind it.
async fn choose(
    config: &RuntimeConfig,
    admin: &dyn Admin,
    ids: Vec<u64>,
    which: &Which,
    all: bool,
) -> Result<Vec<StoredDeadLetter>> {
    let by_filter = which.route.is_some() || which.reason.is_some();
    if ids.is_empty() && !all && !by_filter {
        bail!("name dead letters by id, `--route`, `--reason`, or `--all`");
    }
    let is_projection = |name: &str| is_projection(config, name);
    if let Some(name) = which.route.as_deref().filter(|name| is_projection(name)) {
        return Err(folded_in_order(name)).coded(Kind::BadData);
    }
    if ids.is_empty() {
        let found = select(admin, which, usize::MAX).await?.into_iter();
        let of_routes = found.filter(|(_, letter)| !is_projection(letter.route.as_str()));
        return Ok(of_routes.map(|(stored, _)| stored).collect());
    }
    let mut chosen = Vec::new();
    for id in ids {
        let stored = admin.dead_letter(id).await.map_err(exit::broker)?;
        let Some(stored) = stored else { bail!("there is no dead letter {id}; nothing was done") };
        let letter = decode(&stored)?;
        if is_projection(letter.route.as_str()) {
            let why = folded_in_order(letter.route.as_str());
            return Err(why).with_context(|| format!("dead letter {id}")).coded(Kind::BadData);
        }
        chosen.push(stored);
    }
    Ok(chosen)
}

fn is_projection(config: &RuntimeConfig, name: &str) -> bool {
    config.projections.iter().any(|projection| projection.name.as_str() == name)
}

fn folded_in_order(projection: &str) -> anyhow::Error {
    anyhow!(
        "`{projection}` is a projection, which folds events in their order: repair the plugin, then `tidemill projection rebuild {projection}` folds all of them again; nothing was done"
    )
}

async fn discard(admin: &dyn Admin, output: Output, ids: &[u64]) -> Result<ExitCode> {
    let mut discarded = 0;
    for id in ids {
        discarded += u32::from(admin.discard(*id).await.map_err(exit::broker)?);
    }
    match output {
        Output::Json => say_json(&json!({ "discarded": discarded, "gone": ids.len() as u32 - discarded }))?,
        Output::Text => say(format!("{discarded} discarded")),
    }
    Ok(ExitCode::SUCCESS)
}

/// All that fit, read page by page.
async fn select(admin: &dyn Admin, which: &Which, limit: usize) -> Result<Vec<(StoredDeadLetter, DeadLetter)>> {
    let route = which.route.as_deref().map(RouteName::try_new).transpose()?;
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let query = DeadLetterQuery { route: route.clone(), after, limit: PAGE };
        let page = admin.dead_letters(query).await.map_err(exit::broker)?;
        let Some(last) = page.last() else { return Ok(found) };
        after = last.id;
        for stored in page {
            let letter = decode(&stored)?;
            if which.reason.as_deref().is_none_or(|reason| reason == letter.reason) {
                found.push((stored, letter));
            }
            if found.len() >= limit {
                return Ok(found);
            }
        }
    }
}

fn decode(stored: &StoredDeadLetter) -> Result<DeadLetter> {
    DeadLetter::decode(&stored.message)
        .with_context(|| format!("reading dead letter {}", stored.id))
        .coded(Kind::BadData)
}
