//! A plugin called with one event, as its route or projection would call it, and nothing of it kept: what `tidemill invoke` and
//! the cases of `tidemill test` have in common.
//!
//! ```text
//! part ──▶ take ──▶ entrance ──▶ stage ──▶ what came of it
//! (route)  (event)  (decode, validate, filter)  (the guest)  (outcome, emits, changes, log)
//! ```
//!
//! The questions on the way are the pipeline's ([`Rehearsal`]), the guest runs with the limits and grants of its route; what
//! would become durable comes out as a value.

mod ground;
mod part;
mod shown;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tidemill_core::effect::Effects;
use tidemill_core::event::Event;
use tidemill_core::failure::Failure;
use tidemill_core::message::Message;
use tidemill_core::name::RouteName;
use tidemill_core::port::{Call, Origin};
use tidemill_core::rehearsal::{Entrance, Rehearsal};
use tidemill_core::subject::Subject;
use tidemill_engine::{LogLine, Performance, Request, Scene, Stage};

pub use ground::{GivenDocument, Ground, of_json, put_documents, put_state, state_space, to_json, view_of};
pub use part::Part;
pub use shown::{as_json, as_text_or_json, data, emit_as_json};

/// What is tried.
#[derive(Debug, Clone)]
pub struct Take {
    pub message: Message,
    pub origin: Origin,
    pub attempt: u32,
    /// How long the event had been failing then.
    pub age: Duration,
    pub scene: Scene,
    /// Whether schema and filter are asked; without, the plugin is called with whatever can be decoded.
    pub validate: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Came {
    /// `None` when the message could not be decoded.
    pub event: Option<Event>,
    pub outcome: Outcome,
    pub emits: Vec<(Subject, Event)>,
    /// What the call read in its plugin's state, without what it wrote itself.
    pub reads: Vec<(String, Option<Bytes>)>,
    pub state: Vec<Change>,
    pub documents: Vec<DocumentChange>,
    /// `None` when the plugin was not called.
    pub call: Option<Called>,
}

/// How the call went, apart from what came of it.
#[derive(Debug)]
pub struct Called {
    pub log: Vec<LogLine>,
    /// HTTP requests that were granted.
    pub requests: Vec<Request>,
    pub took: Duration,
    pub cpu: Duration,
    pub memory: u64,
    pub started: Option<Duration>,
}

#[derive(Debug)]
pub enum Outcome {
    Done,
    /// The filter does not want the event. Why, line by line.
    Skipped(String),
    /// It became a failure before the plugin was called.
    NotCalled(Failure),
    Failed(Failure),
}

/// A key of the state that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: String,
    pub before: Option<Bytes>,
    pub after: Option<Bytes>,
}

/// A document that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentChange {
    pub collection: String,
    pub key: String,
    pub before: Option<Bytes>,
    pub after: Option<Bytes>,
}

// === impl Outcome ===

impl Outcome {
    /// `done`, `skipped`, or the code of a reason.
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Skipped(_) => "skipped",
            Outcome::NotCalled(failure) | Outcome::Failed(failure) => failure.kind.code(),
        }
    }

    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Outcome::Done | Outcome::Skipped(_) => None,
            Outcome::NotCalled(failure) | Outcome::Failed(failure) => Some(failure),
        }
    }
}

// === impl Came ===

impl Came {
    fn without_call(event: Option<Event>, outcome: Outcome) -> Self {
        let (emits, reads, state, documents) = Default::default();
        Self { event, outcome, emits, reads, state, documents, call: None }
    }
}

/// The seed of a call, from what makes an event the one that it is: where it stands, and which attempt it is.
pub fn seed(route: &RouteName, origin: &Origin, attempt: u32) -> u64 {
    let text = format!("{route}\0{}\0{}\0{attempt}", origin.stream, origin.sequence);
    let hash: [u8; 32] = Sha256::digest(text).into();
    hash[..8].iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// Plays one take. To be polled on the engine's runtime. What it wrote is seen by the next take on the same ground.
pub async fn perform(stage: &mut Stage, rehearsal: &Rehearsal, ground: &Ground, take: &Take) -> Came {
    let event = match enter(rehearsal, take) {
        Ok(event) => event,
        Err(came) => return *came,
    };
    let (state, documents) = ground.sessions(stage.plugin());
    let call = Call {
        event: &event,
        route: &rehearsal.settings,
        attempt: take.attempt,
        origin: &take.origin,
        state,
        documents,
    };
    let Performance { outcome, log, requests, took, cpu, memory, started } = stage.call(&take.scene, call).await;
    let called = Called { log, requests, took, cpu, memory, started };
    let came = match outcome {
        Ok(effects) => show(rehearsal, ground, take, &event, effects).await,
        Err(failure) => Err(failure),
    };
    match came {
        Ok(came) => Came { event: Some(event), call: Some(called), ..came },
        Err(failure) => Came { call: Some(called), ..Came::without_call(Some(event), Outcome::Failed(failure)) },
    }
}

/// The event, if the plugin is called with it.
fn enter(rehearsal: &Rehearsal, take: &Take) -> Result<Event, Box<Came>> {
    if !take.validate {
        let decoded = rehearsal.decode(&take.message, &take.origin);
        return decoded.map_err(|failure| Box::new(Came::without_call(None, Outcome::NotCalled(failure))));
    }
    let (event, outcome) = match rehearsal.enter(&take.message, &take.origin) {
        Entrance::Taken(event) => return Ok(event),
        Entrance::Skipped(event) => {
            let why = rehearsal.explain(&event);
            (Some(event), Outcome::Skipped(why))
        }
        Entrance::Refused(failure, event) => (event, Outcome::NotCalled(failure)),
    };
    Err(Box::new(Came::without_call(event, outcome)))
}

/// What a successful call wants, as a host would make it durable; or why it would not.
async fn show(
    rehearsal: &Rehearsal,
    ground: &Ground,
    take: &Take,
    event: &Event,
    effects: Effects,
) -> Result<Came, Failure> {
    let Effects { emits, state, documents } = effects;
    let emits = rehearsal.leave(emits, (event, &take.message, &take.origin), take.scene.now)?;
    let reads = state.iter().flat_map(|state| state.reads().map(|(key, value)| (key.to_owned(), value.cloned())));
    let mut reads: Vec<_> = reads.collect();
    reads.sort();
    let state = ground.accept_state(rehearsal.name(), &take.origin, state).await?;
    let documents = ground.accept_documents(documents).await?;
    Ok(Came { event: None, outcome: Outcome::Done, emits, reads, state, documents, call: None })
}

/// When a person reads of a time, and when a plugin is told one: to the millisecond.
pub fn rfc3339_millis(time: SystemTime) -> String {
    let format =
        time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    time::OffsetDateTime::from(time).format(format).unwrap_or_default()
}

/// Calls are polled on the engine's runtime; this gives a stage there and back.
pub async fn on_guests(
    guests: &tokio::runtime::Handle,
    mut stage: Stage,
    rehearsal: Arc<Rehearsal>,
    ground: Arc<Ground>,
    take: Take,
) -> Result<(Stage, Came)> {
    let playing = guests.spawn(async move {
        let came = perform(&mut stage, &rehearsal, &ground, &take).await;
        (stage, came)
    });
    playing.await.context("calling the plugin")
}
