//! One call of a plugin, as its route or projection would make it, and nothing of it committed: `tidemill invoke`.
//!
//! ```text
//! found ──────▶ setting ──────▶ rehearsal ──▶ report
//! (which event) (state, clock)  (the call)    (text, JSON)
//! ```
//!
//! A person asks for this when an event has failed. So what comes from a broker is met as a host would meet it now: the state
//! and the documents are the broker's as they stand, the attempt and the hour are those of the failure, and everything random
//! is made from the event. An event of a file meets nothing: no state, no documents, the hour that it names itself.

mod repeat;
mod report;
mod setting;

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail};
use tidemill_core::config::{PluginConfig, RuntimeConfig};
use tidemill_core::dead_letter::DeadLetter;
use tidemill_core::message::Message;
use tidemill_core::name::{PluginName, StreamName};
use tidemill_core::port::Origin;
use tidemill_core::rehearsal::Rehearsal;
use tidemill_core::schema::Schemas;
use tidemill_engine::{Engine, Plugin, Requests, Scene, Stage};

use crate::exit::{Coded, Kind};
use crate::files::counted;
use crate::plugins::Digest;
use crate::provenance::Provenance;
use crate::rehearse::{self, Came, Ground, Part, Take};

pub use repeat::Difference;
pub use setting::{Live, Setting};

/// The hour of an event that names none.
const USUAL_HOUR: &str = "2026-01-01T00:00:00Z";

/// The event that is tried, and where it was found.
pub struct Found {
    pub message: Message,
    /// `None` for an event of a file.
    pub origin: Option<Origin>,
    pub letter: Option<(u64, DeadLetter)>,
    pub stored: Option<SystemTime>,
}

/// What a person wants to be different from what a host would do.
#[derive(Debug, Default)]
pub struct Wishes {
    pub attempt: Option<u32>,
    pub at: Option<SystemTime>,
    pub settings: Vec<(String, String)>,
    pub send_requests: bool,
    pub no_validate: bool,
    /// Calls in all.
    pub repeat: u32,
    pub vary: bool,
}

/// Which build is called.
pub enum Build {
    /// The one in the plugins' folder.
    Present,
    /// One that ran before.
    Remembered(Digest),
    File(std::path::PathBuf),
}

/// A build, ready to be called.
pub struct Loaded {
    pub plugin: Arc<Plugin>,
    /// Where it comes from.
    pub from: String,
    /// What a host would have against it.
    pub objection: Option<String>,
}

/// What the calls came to.
pub struct Invoked {
    pub part: Part,
    pub loaded: Loaded,
    pub rehearsal: Arc<Rehearsal>,
    pub found: Found,
    pub take: Take,
    /// Where state or documents were read.
    pub ground: String,
    pub came: Came,
    /// Calls that were made.
    pub calls: u32,
    pub differences: Vec<Difference>,
}

// === impl Build ===

impl Build {
    /// Compiles it as a host would, with these settings. Blocks.
    pub fn load(
        &self,
        engine: &Engine,
        config: &RuntimeConfig,
        part: &Part,
        settings: &PluginConfig,
    ) -> Result<Loaded> {
        let name = part.plugin();
        let provenance = Provenance::open(&config.plugins).coded(Kind::BadConfiguration)?;
        let (bytes, from, objection) = match self {
            Build::Present => {
                let file = provenance.folder.read(name).coded(Kind::BadConfiguration)?;
                let objection = provenance.examine(name).err().map(|refused| refused.why);
                (file.bytes, file.path.display().to_string(), objection)
            }
            Build::Remembered(digest) => {
                let bytes = provenance.history().build(digest).ok_or_else(|| {
                    anyhow!("the build {digest} is not remembered any more; `--wasm FILE` calls one of a file")
                });
                (bytes.coded(Kind::BadConfiguration)?, "a build that ran before".to_owned(), None)
            }
            Build::File(path) => {
                let read = std::fs::read(path).with_context(|| format!("reading `{}`", path.display()));
                (read.coded(Kind::BadConfiguration)?, path.display().to_string(), None)
            }
        };
        let plugin = engine
            .load(name, &bytes, settings, part.role())
            .map_err(|why| anyhow!("`{from}` {why}"))
            .coded(Kind::BadConfiguration)?;
        Ok(Loaded { plugin: Arc::new(plugin), from, objection })
    }
}

/// Whose part is played: the one that is named, the one that a dead letter is of, or the only one that reads the event.
pub fn choose(config: &RuntimeConfig, plugin: Option<&PluginName>, named: Option<&str>, found: &Found) -> Result<Part> {
    let letter = found.letter.as_ref().map(|(_, letter)| letter);
    let of_letter = letter.map(|letter| &letter.plugin);
    let Some(plugin) = plugin.or(of_letter) else { bail!("name the plugin that is called") };
    if let Some(other) = of_letter.filter(|other| *other != plugin) {
        bail!("the dead letter is of the plugin `{other}`, not of `{plugin}`");
    }
    let parts = Part::of(config, plugin);
    let named = named.or(letter.map(|letter| letter.route.as_str()));
    if let Some(name) = named {
        let chosen = parts.iter().find(|part| part.name() == name).cloned();
        return chosen.ok_or_else(|| anyhow!("{}", no_such_part(plugin, name, &parts)));
    }
    let readers = |part: &&Part| match &found.origin {
        Some(origin) => part.sources().iter().any(|(stream, _)| **stream == origin.stream),
        None => true,
    };
    let mut readers: Vec<Part> = parts.iter().filter(readers).cloned().collect();
    match (readers.len(), parts.len()) {
        (1, _) => Ok(readers.remove(0)),
        (0, 0) => match config.routes.iter().find(|route| route.name.as_str() == plugin.as_str()) {
            Some(route) => bail!("`{plugin}` is a route; the plugin that handles it is `{}`", route.handler),
            None => Ok(Part::stand_in(plugin)),
        },
        (0, _) => bail!(
            "`{plugin}` does not read the stream `{}`; it is used by {}",
            found.origin.as_ref().map_or("", |origin| origin.stream.as_str()),
            names(&parts)
        ),
        (count, _) => bail!(
            "`{plugin}` is used by {} ({}); `--route NAME` says which of them is tried",
            counted(count, "route"),
            names(&readers)
        ),
    }
}

fn no_such_part(plugin: &PluginName, name: &str, parts: &[Part]) -> String {
    match parts {
        [] => format!("no route of runtime.yaml has `handler: {plugin}`, so there is none called `{name}`"),
        parts => format!("`{name}` does not use the plugin `{plugin}`; it is used by {}", names(parts)),
    }
}

fn names(parts: &[Part]) -> String {
    parts.iter().map(|part| format!("`{}`", part.name())).collect::<Vec<_>>().join(", ")
}

/// The take that the wishes ask for.
pub fn take(found: &Found, part: &Part, wishes: &Wishes) -> Result<Take> {
    let letter = found.letter.as_ref().map(|(_, letter)| letter);
    let origin = found.origin.clone().unwrap_or_else(|| Origin { stream: first_stream(part), sequence: 1 });
    let attempt = wishes.attempt.or(letter.map(|letter| letter.attempts)).unwrap_or(1);
    let now = wishes.at.or(letter.map(|letter| letter.last_failure)).or(found.stored);
    let now = match now {
        Some(now) => now,
        None => named_hour(found, part, &origin)?,
    };
    #[allow(clippy::expect_used, reason = "a projection's name is a route's, and a test holds the alphabets together")]
    let route = tidemill_core::name::RouteName::try_new(part.name()).expect("a name");
    let seed = rehearse::seed(&route, &origin, attempt);
    let requests = if wishes.send_requests { Requests::Sent } else { Requests::Refused };
    let scene = Scene { now, seed, requests };
    let age = letter
        .filter(|_| wishes.attempt.is_none())
        .map(|letter| letter.last_failure.duration_since(letter.first_failure));
    let age = age.and_then(Result::ok).unwrap_or_default();
    Ok(Take { message: found.message.clone(), origin, attempt, age, scene, validate: !wishes.no_validate })
}

fn first_stream(part: &Part) -> StreamName {
    #[allow(clippy::expect_used, reason = "every route and projection reads a stream")]
    part.sources().first().map(|(stream, _)| (*stream).clone()).expect("a stream")
}

/// The event's own `time`, if it has one.
fn named_hour(found: &Found, part: &Part, origin: &Origin) -> Result<SystemTime> {
    let envelope = match part {
        Part::Route(route) => route.envelope.clone(),
        Part::Projection(projection) => {
            projection.sources.first().map(|source| source.envelope.clone()).unwrap_or_default()
        }
    };
    let event = tidemill_core::envelope::decode(&envelope, &found.message, origin).ok();
    let time = event.and_then(|event| event.time).and_then(|time| parse_time(&time).ok());
    time.map_or_else(|| parse_time(USUAL_HOUR), Ok)
}

/// RFC 3339.
pub fn parse_time(text: &str) -> Result<SystemTime> {
    let parsed = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339);
    parsed.map(SystemTime::from).map_err(|_| anyhow!("`{text}` is no time; expected one like `2026-01-31T12:00:00Z`"))
}

/// Calls the plugin, as often as is wished.
pub async fn invoke(
    engine: &Engine,
    config: &RuntimeConfig,
    schemas: Arc<Schemas>,
    (part, loaded, found): (Part, Loaded, Found),
    setting: &Setting,
    wishes: &Wishes,
) -> Result<Invoked> {
    let take = take(&found, &part, wishes)?;
    let settings = settings(config, &part, wishes);
    let rehearsal = Arc::new(part.rehearsal(&settings, &take.origin.stream, config, schemas));
    let mut stage = Stage::new(Arc::clone(&loaded.plugin));
    let (mut first, mut differences) = (None, Vec::new());
    let calls = wishes.repeat.max(1);
    for call in 0..calls {
        let ground = Arc::new(setting.ground(&part, loaded.plugin.as_ref()).await?);
        let take = if wishes.vary { repeat::varied(&take, call) } else { take.clone() };
        let (back, came) = play(engine, stage, &rehearsal, ground, take).await?;
        stage = back;
        match &first {
            None => first = Some(came),
            Some(first) => differences.extend(repeat::compare(first, &came, call + 1)),
        }
    }
    let came = first.context("the plugin was not called")?;
    let was_folded = found.origin.is_some() && found.letter.is_none();
    let ground = setting.describe(&part, loaded.plugin.as_ref(), was_folded);
    Ok(Invoked { part, loaded, rehearsal, found, take, ground, came, calls, differences })
}

async fn play(
    engine: &Engine,
    stage: Stage,
    rehearsal: &Arc<Rehearsal>,
    ground: Arc<Ground>,
    take: Take,
) -> Result<(Stage, Came)> {
    rehearse::on_guests(engine.runtime(), stage, Arc::clone(rehearsal), ground, take).await
}

/// The plugin's settings with what is wished instead.
pub fn settings(config: &RuntimeConfig, part: &Part, wishes: &Wishes) -> PluginConfig {
    let plugin = part.plugin();
    let mut settings = config.plugins.of(plugin);
    if Part::of(config, plugin).is_empty() {
        // Nobody could grant it anything yet.
        settings.state = true;
    }
    settings.config.extend(wishes.settings.iter().cloned());
    settings
}
