//! Running the cases of `*_test.yaml` files: `tidemill test`.
//!
//! ```text
//! found ──▶ read ──▶ one plugin ─┐
//! (files)   (core)   the whole ──┴─▶ came out ──▶ compared ──▶ report
//! ```
//!
//! What a case means, and whether what came out is as expected, is decided in
//! [`config::cases`](tidemill_core::config::cases); here is what runs it. A case has everything for itself: a broker and read
//! models in memory, instances of the plugins, a clock. So cases are run side by side, and none can see another.

mod answers;
mod found;
mod junit;
mod report;
mod single;
mod update;
mod whole;
mod workshop;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tidemill_core::config::cases::{CameOut, Case, GivenEvent, Mismatch, Tested};
use tidemill_core::envelope;
use tidemill_core::message::Message;
use tidemill_core::port::Outgoing;
use tidemill_core::subject::Subject;

use crate::feed;

pub use found::{TestFile, find, read};
pub use junit::junit;
pub use report::{as_json, as_text};
pub use update::update;
pub use workshop::{TestMachine, Workshop};

/// How a case ended.
#[derive(Debug)]
pub struct Verdict {
    pub file: PathBuf,
    pub line: usize,
    pub name: String,
    pub took: Duration,
    /// What is not as expected.
    pub mismatches: Vec<Mismatch>,
    /// Why there is nothing to compare.
    pub trouble: Option<String>,
    /// What the plugin logged.
    pub log: Vec<String>,
    came: Option<CameOut>,
}

// === impl Verdict ===

impl Verdict {
    pub fn is_ok(&self) -> bool {
        self.mismatches.is_empty() && self.trouble.is_none()
    }

    /// Whether something came out that could be expected from now on.
    pub fn can_be_updated(&self) -> bool {
        self.came.is_some()
    }
}

/// Runs the cases whose name holds `filter`, as many at a time as there are cores. The verdicts are in the order of the files.
pub fn run(workshop: &Workshop, files: &[TestFile], filter: &str) -> Vec<Verdict> {
    let chosen: Vec<(&TestFile, &Case)> = files
        .iter()
        .flat_map(|file| file.cases.iter().map(move |case| (file, case)))
        .filter(|(_, case)| case.name.contains(filter))
        .collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((file, case)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            let verdict = run_one(workshop, file, case);
            done.lock().unwrap_or_else(PoisonError::into_inner).push(verdict);
        }
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        (0..cores.min(chosen.len())).for_each(|_| drop(scope.spawn(work)));
    });
    let mut verdicts = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let place = |verdict: &Verdict| {
        let file = files.iter().position(|file| file.path == verdict.file);
        (file, verdict.line)
    };
    verdicts.sort_by_key(place);
    verdicts
}

fn run_one(workshop: &Workshop, file: &TestFile, case: &Case) -> Verdict {
    let begun = Instant::now();
    let came = match &case.subject {
        Tested::Plugin { plugin, part, attempt } => single::run(workshop, file, case, (plugin, part, *attempt)),
        Tested::Runtime { only } => whole::run(workshop, file, case, only.as_deref()),
    };
    let mut verdict = Verdict {
        file: file.path.clone(),
        line: case.line,
        name: case.name.clone(),
        took: begun.elapsed(),
        mismatches: Vec::new(),
        trouble: None,
        log: Vec::new(),
        came: None,
    };
    match (came, &case.expect) {
        (Err(error), _) => verdict.trouble = Some(crate::exit::text(&error)),
        (Ok(came), None) => {
            let text = "it expects nothing yet; `tidemill test --update` writes down what comes out";
            verdict.trouble = Some(text.to_owned());
            verdict.came = Some(came);
        }
        (Ok(came), Some(expect)) => {
            verdict.mismatches = expect.compare(&came);
            verdict.log.clone_from(&came.log);
            verdict.came = Some(came);
        }
    }
    verdict
}

/// What goes in, the events of files read. Each has the id that tells it from others, as if somebody had published it.
fn incoming(file: &TestFile, case: &Case, usual: Option<&Subject>) -> Result<Vec<Outgoing>> {
    let dir = file.path.parent().unwrap_or(Path::new("."));
    let mut incoming = Vec::new();
    for (number, event) in case.events.iter().enumerate() {
        match event {
            GivenEvent::Event { subject, event } => {
                let subject = subject.as_ref().or(usual).context("an event has no subject")?;
                incoming.push(envelope::encode_foreign_event(event, subject.clone()));
            }
            GivenEvent::Raw { subject, payload, headers } => {
                let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let message = Message { subject: subject.clone(), headers, payload: payload.clone().into() };
                incoming.push(Outgoing { id: format!("payload-{number}"), message });
            }
            GivenEvent::File { subject, path, line } => {
                let path = dir.join(path);
                let read = of_file(&path, *line, subject.as_ref().or(usual));
                incoming.extend(read.with_context(|| format!("reading the events of `{}`", path.display()))?);
            }
        }
    }
    Ok(incoming)
}

fn of_file(path: &Path, line: Option<usize>, subject: Option<&Subject>) -> Result<Vec<Outgoing>> {
    let text = std::fs::read_to_string(path)?;
    if line.is_none() && serde_json::from_str::<serde_json::Value>(&text).is_ok() {
        return Ok(vec![feed::parse_one(&text, subject)?.outgoing]);
    }
    let mut found = Vec::new();
    for fed in feed::read(text.as_bytes(), subject) {
        let fed = fed?;
        if line.is_none_or(|line| line == fed.line) {
            found.push(fed.outgoing);
        }
    }
    match line {
        Some(line) if found.is_empty() => bail!("it has no event in line {line}"),
        // Without an event nothing is called, and whatever is expected of nothing holds.
        None if found.is_empty() => bail!("it has no event"),
        _ => Ok(found),
    }
}
