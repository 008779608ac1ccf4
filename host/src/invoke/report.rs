//! What a call came to, for a person and for a program.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tidemill_core::disposition::Disposition;
use tidemill_core::event::Event;
use tidemill_core::port::Handler as _;
use tidemill_core::retry::ExhaustedBy;
use tidemill_core::subject::Subject;
use tidemill_core::text::clean_text;
use tidemill_engine::{LogLine, Request, Requests};

use super::Invoked;
use crate::rehearse::{self, Called, Outcome, as_json, rfc3339_millis, to_json};

/// What of one text is shown.
const MAX_TEXT_BYTES: usize = 4096;

/// Where the values of a page begin.
const COLUMN: usize = 11;

/// JSON that is shorter stays on one line.
const ONE_LINE: usize = 100;

// === impl Invoked ===

impl Invoked {
    /// Whether the plugin did its work, each time the same.
    pub fn is_well(&self) -> bool {
        matches!(self.came.outcome, Outcome::Done | Outcome::Skipped(_)) && self.differences.is_empty()
    }

    pub fn as_json(&self) -> Value {
        let mut answer = as_json(&self.came);
        let describe = self.loaded.plugin.describe();
        let call = self.came.call.as_ref();
        let micros = |time: Duration| time.as_micros() as u64;
        let more = json!({
            "plugin": self.part.plugin().as_str(),
            "digest": describe.digest,
            "file": self.loaded.from,
            "objection": self.loaded.objection,
            self.part.noun(): self.part.name(),
            "stream": self.take.origin.stream.as_str(),
            "sequence": self.take.origin.sequence,
            "dead_letter": self.found.letter.as_ref().map(|(id, _)| id),
            "event_id": self.came.event.as_ref().map(|event| &event.id),
            "event_type": self.came.event.as_ref().map(|event| &event.kind),
            "attempt": self.take.attempt,
            "now": rfc3339_millis(self.take.scene.now),
            "then": self.then(),
            "called": call.is_some(),
            "took_us": call.map(|call| micros(call.took)),
            "cpu_us": call.map(|call| micros(call.cpu)),
            "memory": call.map(|call| call.memory),
            "started_us": call.and_then(|call| call.started).map(micros),
            "calls": self.calls,
            "differences": self.differences,
        });
        if let (Value::Object(answer), Value::Object(more)) = (&mut answer, more) {
            answer.extend(more);
        }
        answer
    }

    pub fn page(&self) -> String {
        let mut page = Page::default();
        self.head(&mut page);
        page.gap();
        self.outcome(&mut page);
        self.effects(&mut page);
        if let Some(call) = &self.came.call {
            let sent = if let Requests::Sent = self.take.scene.requests { "sent" } else { "not sent" };
            let line = |request: &Request| (format!("{}  ({sent})", clean(&request.line())), None);
            page.list("requests", call.requests.iter().map(line));
            page.list("log", call.log.iter().map(|line| (log_line(line), None)));
            page.gap();
            page.field("took", &took(call));
        }
        self.repetition(&mut page);
        page.gap();
        page.0 += "Nothing was committed.";
        page.0
    }

    fn head(&self, page: &mut Page) {
        let Self { part, loaded, found, take, .. } = self;
        page.field("plugin", &format!("{} {} ({})", part.plugin(), short(&loaded.plugin.digest()), loaded.from));
        if let Some(objection) = &loaded.objection {
            page.field("", &format!("a host would refuse this file: {}", clean(objection)));
        }
        if let Some((_, letter)) = found.letter.as_ref().filter(|(_, it)| it.digest != loaded.plugin.digest()) {
            let failed = &letter.digest;
            page.field("", &format!("the build that failed was {}: `--build {failed}`", short(failed)));
        }
        let max = self.rehearsal.settings.max_attempts;
        page.field(part.noun(), &format!("{}, attempt {} of {max}", part.name(), take.attempt));
        let event = self.came.event.as_ref();
        let event = event.map_or("(not decoded)".to_owned(), |event| format!("{} {}", event.kind, event.id));
        let place = match (&found.letter, &found.origin) {
            (Some((id, _)), Some(origin)) => format!("{origin}, dead letter {id}"),
            (_, Some(origin)) => origin.to_string(),
            _ => format!("of a file, as if it were {}", take.origin),
        };
        page.field("event", &format!("{} on {} ({place})", clean(&event), clean(take.message.subject.as_str())));
        page.field("clock", &format!("{}; randomness is made from the event", rfc3339_millis(take.scene.now)));
        page.field("finds", &self.ground);
    }

    fn outcome(&self, page: &mut Page) {
        let outcome = &self.came.outcome;
        let blame = outcome.failure().map(|failure| format!(" (blame: {})", failure.kind.blame().as_str()));
        page.field("outcome", &format!("{}{}", outcome.word(), blame.unwrap_or_default()));
        let lines = match outcome {
            Outcome::Done => "",
            Outcome::Skipped(why) => why,
            Outcome::NotCalled(failure) | Outcome::Failed(failure) => &failure.text,
        };
        lines.lines().for_each(|line| page.field("", &clean_text(line, MAX_TEXT_BYTES)));
        page.field("then", &self.then());
    }

    /// What a host would do next.
    fn then(&self) -> String {
        let called = if self.came.call.is_some() { "" } else { "; the plugin is not called" };
        let Some(failure) = self.came.outcome.failure() else {
            return format!("the event is done{called}");
        };
        match self.rehearsal.then(failure, self.take.attempt, self.take.age) {
            Disposition::Ack => "the event is done".to_owned(),
            Disposition::Retry { after, counted: true } => {
                format!("attempt {} after about {after:?}", self.take.attempt + 1)
            }
            Disposition::Retry { counted: false, .. } => "the same attempt again, as soon as the host can".to_owned(),
            Disposition::DeadLetter { exhausted_by: None } => format!("a dead letter at once{called}"),
            Disposition::DeadLetter { exhausted_by: Some(by) } => {
                let why = match by {
                    ExhaustedBy::Attempts => "its attempts are used up",
                    ExhaustedBy::Age => "it has been failing for too long",
                };
                format!("a dead letter: {why}")
            }
        }
    }

    fn effects(&self, page: &mut Page) {
        let came = &self.came;
        page.list("emits", came.emits.iter().map(|(to, event)| emit(to, event)));
        let read = |(key, value): &(String, Option<bytes::Bytes>)| (format!("{} = {}", clean(key), was(value)), None);
        page.list("read", came.reads.iter().map(read));
        let changes = came
            .state
            .iter()
            .map(|it| (format!("{}  {} -> {}", clean(&it.key), was(&it.before), was(&it.after)), None));
        page.list("state", changes);
        let documents = came.documents.iter().map(|it| {
            let place = format!("{} {}", clean(&it.collection), clean(&it.key));
            (format!("{place}  {} -> {}", was(&it.before), was(&it.after)), None)
        });
        page.list("documents", documents);
    }

    fn repetition(&self, page: &mut Page) {
        if self.calls < 2 {
            return;
        }
        if self.differences.is_empty() {
            page.field("repeated", &format!("{} calls, each with the same answer", self.calls));
            return;
        }
        page.field("repeated", &format!("{} calls, and not each with the same answer", self.calls));
        for it in &self.differences {
            let (first, this) = (clean(&it.first.to_string()), clean(&it.this.to_string()));
            page.field("", &format!("call {}, {}: {first}, now {this}", it.call, clean(&it.at)));
        }
    }
}

/// Lines with a name in front.
#[derive(Default)]
struct Page(String);

impl Page {
    fn field(&mut self, name: &str, value: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name:COLUMN$}{value}");
    }

    fn gap(&mut self) {
        self.0.push('\n');
    }

    /// Nothing for an empty list; the second line of an item stands below it.
    fn list(&mut self, name: &str, items: impl Iterator<Item = (String, Option<String>)>) {
        for (number, (line, below)) in items.enumerate() {
            if number == 0 {
                self.gap();
            }
            self.field(if number == 0 { name } else { "" }, &line);
            for line in below.iter().flat_map(|below| below.lines()) {
                self.field("", &format!("  {line}"));
            }
        }
    }
}

fn emit(to: &Subject, event: &Event) -> (String, Option<String>) {
    let subject = event.subject.as_ref().map(|subject| format!("  subject {}", clean(subject)));
    let (_, data) = rehearse::data(event);
    let json = if data.to_string().len() <= ONE_LINE { data.to_string() } else { pretty(&data) };
    let json = json.lines().map(|line| clean_text(line, MAX_TEXT_BYTES)).collect::<Vec<_>>().join("\n");
    (format!("{}  {}{}", clean(to.as_str()), clean(&event.kind), subject.unwrap_or_default()), Some(json))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn log_line(line: &LogLine) -> String {
    let from = match line.from {
        tidemill_engine::Voice::Log => line.level.as_str(),
        voice => voice.as_str(),
    };
    format!("{from:7} {}", clean(&line.text))
}

fn was(value: &Option<bytes::Bytes>) -> String {
    value.as_deref().map_or("(nothing)".to_owned(), |value| clean(&to_json(value).to_string()))
}

fn took(call: &Called) -> String {
    let memory = call.memory as f64 / 1024.0 / 1024.0;
    let started = call.started.map(|started| format!(", after {started:.1?} to start")).unwrap_or_default();
    format!("{:.1?}, {:.1?} of CPU, {memory:.1} MiB of memory{started}", call.took, call.cpu)
}

/// `sha256:` and the digits that other listings show.
fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

fn clean(text: &str) -> String {
    clean_text(text, MAX_TEXT_BYTES)
}
