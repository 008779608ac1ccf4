//! Files of cases, `*_test.yaml`: what goes in and what must come out, for `tidemill test`.
//!
//! ```text
//! text ── file ── compile ── Case ──▶ (somebody runs it) ──▶ came ── matching ── differences
//!        (shape)  (meaning)                                         update ──▶ text
//! ```
//!
//! Reading them is reading a configuration: the same tree with places, the same records, all mistakes at once. They are not a part
//! of `runtime.yaml`, because a host that runs would look at every change of a test. Nothing is replaced in them: `${` is two
//! characters, and no environment can change what a case means.
//!
//! A case that cannot fail is a mistake, and is reported as one.

mod compile;
mod expected;
mod file;
mod matching;
mod rewrite;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::diagnostic::{self, Diagnostics};
use super::interpolate::Verbatim;
use super::{RuntimeConfig, read, yaml};
use crate::event::Event;
use crate::name::PluginName;
use crate::subject::Subject;

pub use expected::{Expected, Phrase};
pub use matching::{CameOut, CameOutcome, Mismatch};
pub use rewrite::{NotRewritten, update};

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    /// Where it begins, 1-based.
    pub line: usize,
    pub subject: Tested,
    /// What it is when the case begins.
    pub now: SystemTime,
    pub events: Vec<GivenEvent>,
    /// Settings of plugins that the case changes, and their state before it.
    pub plugins: BTreeMap<PluginName, GivenPlugin>,
    /// Answers to HTTP requests.
    pub http: Vec<GivenAnswer>,
    /// Documents before the case.
    pub documents: Vec<(String, String, Value)>,
    /// `None`: to be written by `--update`.
    pub expect: Option<Expect>,
}

/// What a case is about.
#[derive(Debug, Clone)]
pub enum Tested {
    /// One plugin, called once for each event.
    Plugin {
        plugin: PluginName,
        /// The route or projection, where there is more than one.
        part: String,
        attempt: u32,
    },
    /// Routes and projections together, until nothing is left to do.
    Runtime {
        /// Left out: all of them.
        only: Option<Vec<String>>,
    },
}

/// What a case changes of a plugin.
#[derive(Debug, Clone, Default)]
pub struct GivenPlugin {
    pub config: BTreeMap<String, String>,
    pub secrets: BTreeMap<String, String>,
    pub state: Vec<(String, Value)>,
}

/// An event that goes in.
#[derive(Debug, Clone)]
pub enum GivenEvent {
    Event {
        subject: Option<Subject>,
        event: Event,
    },
    /// What may be no event at all.
    Raw {
        subject: Subject,
        payload: String,
        headers: Vec<(String, String)>,
    },
    /// The events of a file, or one line of it.
    File {
        subject: Option<Subject>,
        path: PathBuf,
        line: Option<usize>,
    },
}

/// An answer to HTTP requests that look like this.
#[derive(Debug, Clone)]
pub struct GivenAnswer {
    /// Method and address, with `*` for anything.
    pub request: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// How many requests get it.
    pub times: Option<u64>,
}

/// What must come out. What is `None` is not looked at, with two exceptions: where no outcome is named each event must be
/// done, and where no dead letters are there must be none.
#[derive(Debug, Clone, Default)]
pub struct Expect {
    /// One for all events, or one for each.
    pub outcomes: Option<Vec<ExpectedOutcome>>,
    pub emits: Option<Vec<ExpectedEmit>>,
    pub requests: Option<Vec<ExpectedRequest>>,
    /// Of one plugin: by key. Of the whole: by plugin, then by key.
    pub state: Option<Expected>,
    /// By collection, then by key.
    pub documents: Option<Expected>,
    /// Each is in a line of the log, in this order.
    pub log: Option<Vec<Phrase>>,
    pub dead_letters: Option<Vec<ExpectedDeadLetter>>,
    /// Counts by route or projection.
    pub routes: Option<Expected>,
}

#[derive(Debug, Clone)]
pub struct ExpectedOutcome {
    /// `done`, `skipped`, or the code of a reason.
    pub word: String,
    pub error: Option<Phrase>,
    /// How long the plugin asked to wait.
    pub after: Option<Duration>,
}

/// An emit: each attribute that is named must be as it says.
#[derive(Debug, Clone, Default)]
pub struct ExpectedEmit(pub Vec<(&'static str, Expected)>);

/// A request over HTTP, likewise.
#[derive(Debug, Clone, Default)]
pub struct ExpectedRequest(pub Vec<(&'static str, Expected)>);

/// A dead letter, likewise.
#[derive(Debug, Clone, Default)]
pub struct ExpectedDeadLetter {
    pub fields: Vec<(&'static str, Expected)>,
    pub error: Option<Phrase>,
}

// === impl GivenAnswer ===

impl GivenAnswer {
    /// Whether it is for this request: `GET https://…`.
    pub fn fits(&self, request: &str) -> bool {
        let mut parts = self.request.split('*');
        let Some(mut rest) = request.strip_prefix(parts.next().unwrap_or_default()) else { return false };
        let mut last = None;
        for part in parts {
            // What was taken for the one before may be as short as it can.
            if let Some(part) = last.replace(part) {
                match rest.find(part) {
                    Some(at) => rest = &rest[at + part.len()..],
                    None => return false,
                }
            }
        }
        last.map_or(rest.is_empty(), |end| rest.ends_with(end))
    }
}

/// The cases of a file, or everything that is wrong with it.
pub fn load(text: &str, config: &RuntimeConfig) -> Result<Vec<Case>, Diagnostics> {
    let mut report = diagnostic::Report::default();
    let cases = yaml::parse(text, &mut report)
        .and_then(|root| read::Reader { lookup: &Verbatim, report: &mut report }.read::<file::Cases>(&root))
        .map(|file| compile::compile(file.value, config, &mut report));
    match cases {
        Some(cases) if report.is_empty() => Ok(cases),
        _ => Err(report.finish()),
    }
}

/// The JSON Schema (draft 2020-12) of a file of cases, for editors.
pub fn json_schema() -> Value {
    schemars::schema_for!(file::Cases).to_value()
}
