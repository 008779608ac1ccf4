//! `tidemill invoke`: one call of a plugin, nothing committed.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use tidemill_core::config::RuntimeConfig;
use tidemill_core::dead_letter::DeadLetter;
use tidemill_core::failure::{Blame, FailureKind};
use tidemill_core::name::{PluginName, StreamName};
use tidemill_core::port::{Admin, Origin};
use tidemill_core::subject::Subject;

use super::reach::Reached;
use super::{Output, compile, say, say_json};
use crate::control::{self, Remote};
use crate::exit::{self, Coded, Kind};
use crate::feed::{self, Fed};
use crate::invoke::{self, Build, Found, Invoked, Setting, Wishes};
use crate::plugins::Digest;
use crate::rehearse::{Outcome, Part};
use crate::{app, files, stores};

#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("which").required(true).args(["event", "from_dlq", "from_stream"])),
    after_help = "\
The plugin is called as its route or projection would call it: decoded, validated, filtered, with its limits and grants. Nothing is
committed, emitted or sent. The clock stands still and randomness is made from the event, so the same call gives the same answer. An
event of a broker meets the state and documents that are there now; an event of a file meets none.

A FILE holds one CloudEvent, or a line as `tidemill emit` takes it; of several lines `--line` says which.

Exit codes: 0 done or skipped, 1 the plugin failed or did not repeat itself, 65 the event does not reach the plugin,
69 broker unavailable, 78 bad configuration.

Examples:
  tidemill invoke payment-capture --from-dlq 3
  tidemill invoke payment-capture --from-dlq 3 --wasm target/wasm32-wasip2/release/payment_capture.wasm
  tidemill invoke payment-capture --from-dlq 3 --set poison=capture
  tidemill invoke fraud-check --event order.json --state state.json
  tidemill invoke order-view --from-stream ORDERS:42
  tidemill invoke fraud-check --event order.json --repeat 10 --vary"
)]
pub(super) struct Args {
    /// The plugin, as in `handler` of a route. Left out: that of the dead letter.
    #[arg(required_unless_present = "from_dlq")]
    plugin: Option<String>,

    /// An event of a file; `-` for standard input.
    #[arg(short, long, value_name = "FILE")]
    event: Option<PathBuf>,

    /// The line of the file, from 1.
    #[arg(long, value_name = "N", requires = "event")]
    line: Option<usize>,

    /// The subject of an event that names none. Left out: one that the route reads.
    #[arg(long, requires = "event")]
    subject: Option<String>,

    /// The event of a dead letter; `tidemill dlq list` shows the numbers.
    #[arg(long, value_name = "SEQ")]
    from_dlq: Option<u64>,

    /// An event that a stream holds.
    #[arg(long, value_name = "STREAM:SEQ")]
    from_stream: Option<String>,

    /// The route or projection, where more than one uses the plugin.
    #[arg(long, value_name = "NAME")]
    route: Option<String>,

    /// Call the component of this file instead of the one in the plugins' folder.
    #[arg(long, value_name = "FILE", conflicts_with = "build")]
    wasm: Option<PathBuf>,

    /// Call a build that ran before, by its digest: the one that a dead letter names, for example.
    #[arg(long, value_name = "DIGEST")]
    build: Option<String>,

    /// A value of the plugin's `config`, instead of what runtime.yaml says; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,

    /// The state before the call: a JSON object, `{"KEY": VALUE}`.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// The documents before the call: a JSON object, `{"COLLECTION": {"KEY": DOCUMENT}}`.
    #[arg(long, value_name = "FILE")]
    documents: Option<PathBuf>,

    /// Begin without state and documents, also for an event of a broker.
    #[arg(long, conflicts_with_all = ["state", "documents", "live"])]
    empty: bool,

    /// Begin with the state and the documents that are there now, also for an event of a file.
    #[arg(long, conflicts_with_all = ["state", "documents"])]
    live: bool,

    /// Which attempt it is. Left out: the one that failed last, or the first.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,

    /// What the plugin's clocks say, in RFC 3339. Left out: when the event failed last, was stored, or says that it happened.
    #[arg(long, value_name = "TIME", value_parser = invoke::parse_time)]
    at: Option<std::time::SystemTime>,

    /// Call the plugin so many times and say where it does not answer the same.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    repeat: u32,

    /// Repeat at other hours and with other random numbers: what differs then differs after a redelivery, too.
    #[arg(long)]
    vary: bool,

    /// Call the plugin also with an event that its schema or the filter refuses.
    #[arg(long)]
    no_validate: bool,

    /// Send the plugin's HTTP requests. Left out: they are refused, because what they do is not undone.
    #[arg(long)]
    send_requests: bool,
}

pub(super) async fn invoke(path: &Path, output: Output, args: Args) -> Result<ExitCode> {
    let config = files::load_config(path)?.config;
    let schemas = Arc::new(files::load_schemas(&config)?);
    let plugin = args.plugin.as_deref().map(PluginName::try_new).transpose().coded(Kind::BadData)?;
    let wishes = args.wishes();
    let reached = if args.needs_broker() { Some(Reached::look(&config).await?) } else { None };
    let invoked = async {
        let admin = reached.as_ref().map(|reached| Arc::clone(&reached.admin));
        let found = args.find(&config, admin.as_ref(), plugin.as_ref()).await?;
        let part = invoke::choose(&config, plugin.as_ref(), args.route.as_deref(), &found).coded(Kind::BadData)?;
        let setting = args.setting(&config, &part, admin).await?;
        let engine = app::engine(&config, compile::compiler())?;
        let settings = invoke::settings(&config, &part, &wishes);
        let build = args.build()?;
        let loaded = tokio::task::block_in_place(|| build.load(&engine, &config, &part, &settings))?;
        let act = (part, loaded, found);
        invoke::invoke(&engine, &config, schemas, act, &setting, &wishes).await
    }
    .await;
    if let Some(reached) = reached {
        reached.close().await?;
    }
    let invoked = invoked?;
    match output {
        Output::Json => say_json(&invoked.as_json())?,
        Output::Text => say(invoked.page()),
    }
    Ok(code(&invoked))
}

/// An event that does not reach the plugin is bad data, whatever the plugin would have said.
fn code(invoked: &Invoked) -> ExitCode {
    match &invoked.came.outcome {
        Outcome::NotCalled(_) => Kind::BadData.code(),
        Outcome::Failed(failure) if failure.kind == FailureKind::Unavailable => Kind::Unavailable.code(),
        Outcome::Failed(failure) if failure.kind.blame() == Blame::Host => Kind::Failed.code(),
        _ if invoked.is_well() => ExitCode::SUCCESS,
        _ => Kind::Failed.code(),
    }
}

// === impl Args ===

impl Args {
    fn wishes(&self) -> Wishes {
        Wishes {
            attempt: self.attempt,
            at: self.at,
            settings: self.set.clone(),
            send_requests: self.send_requests,
            no_validate: self.no_validate,
            repeat: self.repeat,
            vary: self.vary,
        }
    }

    fn needs_broker(&self) -> bool {
        self.from_dlq.is_some() || self.from_stream.is_some() || self.live
    }

    /// Whether state and documents are those of a broker and a store.
    fn is_live(&self) -> bool {
        self.needs_broker() && !self.empty && self.state.is_none() && self.documents.is_none()
    }

    fn build(&self) -> Result<Build> {
        Ok(match (&self.wasm, &self.build) {
            (Some(path), _) => Build::File(path.clone()),
            (None, Some(digest)) => Build::Remembered(Digest::parse(digest).coded(Kind::BadData)?),
            (None, None) => Build::Present,
        })
    }

    async fn find(
        &self,
        config: &RuntimeConfig,
        admin: Option<&Arc<dyn Admin>>,
        plugin: Option<&PluginName>,
    ) -> Result<Found> {
        match (admin, self.from_dlq, &self.from_stream) {
            (Some(admin), Some(id), _) => from_dlq(admin.as_ref(), id).await,
            (Some(admin), None, Some(place)) => from_stream(config, admin.as_ref(), place).await,
            _ => self.event_of_file(config, plugin),
        }
    }

    fn event_of_file(&self, config: &RuntimeConfig, plugin: Option<&PluginName>) -> Result<Found> {
        let path = self.event.as_deref().unwrap_or(Path::new("-"));
        let subject = self.subject.as_deref().map(Subject::try_new).transpose().coded(Kind::BadData)?;
        let usual = || {
            let parts = plugin.map(|plugin| Part::of(config, plugin)).unwrap_or_default();
            let named = parts.iter().find(|part| self.route.as_deref().is_none_or(|name| name == part.name()));
            let stand_in = || Subject::try_new("any").ok();
            named.map_or_else(stand_in, |part| part.usual_subject(config))
        };
        let fed = read(path, self.line, subject.or_else(usual).as_ref());
        let fed = fed.with_context(|| format!("reading the event `{}`", path.display())).coded(Kind::BadData)?;
        Ok(Found { message: fed.outgoing.message, origin: None, letter: None, stored: None })
    }

    async fn setting(&self, config: &RuntimeConfig, part: &Part, admin: Option<Arc<dyn Admin>>) -> Result<Setting> {
        if self.state.is_some() || self.documents.is_some() {
            return Setting::of_files(self.state.as_deref(), self.documents.as_deref());
        }
        match admin.filter(|_| self.is_live()) {
            Some(admin) => Ok(Setting::Live { admin, documents: documents(config, part).await? }),
            None => Ok(Setting::Empty),
        }
    }
}

fn key_value(text: &str) -> Result<(String, String)> {
    let (key, value) = text.split_once('=').context("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The only event of the file, or that of one line.
fn read(path: &Path, line: Option<usize>, subject: Option<&Subject>) -> Result<Fed> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        text
    } else {
        fs::read_to_string(path)?
    };
    // A person's file is indented, over many lines; a producer's has an event on each.
    if line.is_none() && serde_json::from_str::<serde_json::Value>(&text).is_ok() {
        return feed::parse_one(&text, subject);
    }
    let mut filled = text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty());
    let chosen = match line {
        Some(wanted) => filled.find(|(number, _)| number + 1 == wanted),
        None => {
            let first = filled.next();
            let more = filled.count();
            if more > 0 {
                bail!("it has {} lines that are not empty; `--line N` says which one is tried", more + 1);
            }
            first
        }
    };
    let (_, text) = chosen.ok_or_else(|| anyhow!("there is no such line, or it is empty"))?;
    feed::parse_one(text, subject)
}

async fn from_dlq(admin: &dyn Admin, id: u64) -> Result<Found> {
    let stored = admin.dead_letter(id).await.map_err(exit::broker)?;
    let none = || anyhow!("there is no dead letter {id}; `tidemill dlq list` shows which there are");
    let stored = stored.ok_or_else(none).coded(Kind::BadData)?;
    let letter = DeadLetter::decode(&stored.message);
    let letter = letter.with_context(|| format!("reading dead letter {id}")).coded(Kind::BadData)?;
    Ok(Found {
        message: letter.original.clone(),
        origin: Some(letter.origin.clone()),
        stored: Some(letter.stored),
        letter: Some((id, letter)),
    })
}

async fn from_stream(config: &RuntimeConfig, admin: &dyn Admin, place: &str) -> Result<Found> {
    let parsed = || {
        let (stream, sequence) = place.split_once(':')?;
        Some(Origin { stream: StreamName::try_new(stream).ok()?, sequence: sequence.parse().ok()? })
    };
    let unread = || anyhow!("`{place}` is no place in a stream; expected one like `ORDERS:42`");
    let origin = parsed().ok_or_else(unread).coded(Kind::BadData)?;
    if !config.streams.iter().any(|stream| stream.name == origin.stream) {
        let streams: Vec<&str> = config.streams.iter().map(|stream| stream.name.as_str()).collect();
        let text = format!("runtime.yaml has no stream `{}`; it has: {}", origin.stream, streams.join(", "));
        return Err(anyhow!(text)).coded(Kind::BadData);
    }
    let recorded = admin.message(&origin.stream, origin.sequence).await.map_err(exit::broker)?;
    let none = || anyhow!("the stream `{}` holds no message {}", origin.stream, origin.sequence);
    let recorded = recorded.ok_or_else(none).coded(Kind::BadData)?;
    Ok(Found { message: recorded.message, origin: Some(origin), stored: Some(recorded.stored), letter: None })
}

/// The documents of a projection, from the host that runs, else from the store itself.
async fn documents(config: &RuntimeConfig, part: &Part) -> Result<invoke::Live> {
    if matches!(part, Part::Route(_)) {
        return Ok(invoke::Live::None);
    }
    if let Some(remote) = Remote::connect(control::socket_dir(config)).await {
        return Ok(invoke::Live::Host(Arc::new(remote)));
    }
    let store = stores::open_existing(&config.read_models).await.coded(Kind::Unavailable)?;
    Ok(store.map_or(invoke::Live::None, invoke::Live::Store))
}
