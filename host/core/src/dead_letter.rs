//! Dead letters: an event that a route gave up on, with everything needed to understand, repair and redrive it.
//!
//! A dead letter is a message. Its payload is the original's, byte for byte, so that any tool can look at it; its headers
//! are the original's plus the record in `Dlq-*` headers, which `docs/dead-letters.md` lists. A document around the
//! payload would need an escape for binary data and a tool of its own to read.
//!
//! [`DeadLetter::decode`] is the exact inverse of [`DeadLetter::encode`], except that texts for people (error, log) are
//! cleaned and shortened on the way in.

use std::time::SystemTime;

use crate::failure::Blame;
use crate::message::{Headers, Message};
use crate::name::{PluginName, RouteName};
use crate::port::{Origin, Redrive, StoredDeadLetter};
use crate::retry::ExhaustedBy;
use crate::subject::{Subject, SubjectError};
use crate::text::clean_text;

mod original;
mod record;
mod view;

pub use record::RecordError;
pub use view::DeadLetterView;

/// The longest error text, in bytes.
pub const MAX_ERROR_BYTES: usize = 2 * 1024;
/// The log lines of a dead letter, summed, in bytes. The last lines are kept.
pub const MAX_LOG_BYTES: usize = 4 * 1024;
/// What the record adds to the original message, at most, if the event's attributes and the digest are within their
/// limits: escaping triples a byte. A stream for dead letters needs room for the largest message and this.
pub const MAX_RECORD_BYTES: usize = 32 * 1024;

/// A failed event and why it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Subject, headers and payload as they were published.
    pub original: Message,
    pub origin: Origin,
    /// When the original was stored in its stream.
    pub stored: SystemTime,
    pub route: RouteName,
    pub plugin: PluginName,
    /// The plugin build that failed last: `sha256:…`.
    pub digest: String,
    /// The code of a [`FailureKind`](crate::failure::FailureKind).
    pub reason: String,
    /// What went wrong, for a person.
    pub error: String,
    pub blame: Blame,
    /// All attempts, the first included.
    pub attempts: u32,
    /// Which limit ended the retries; `None` when retrying could not help.
    pub exhausted_by: Option<ExhaustedBy>,
    pub first_failure: SystemTime,
    pub last_failure: SystemTime,
    /// The machine that gave up.
    pub host: String,
    /// How often the event was redriven before it failed this time.
    pub redriven: u32,
    /// `None` when the message could not be decoded.
    pub event_id: Option<String>,
    pub event_type: Option<String>,
    /// The last lines that the plugin logged during the last attempt.
    pub log_tail: Vec<String>,
}

// === impl DeadLetter ===

impl DeadLetter {
    /// The message to store: subject `<prefix>.<stream>.<sequence>`, so that storing it twice can be noticed.
    pub fn encode(&self, prefix: &Subject) -> Result<Message, SubjectError> {
        let mut headers = Headers::with_capacity(self.original.headers.len() + 24);
        original::write(&self.original.headers, &mut headers);
        record::write(self, &mut headers);
        Ok(Message { subject: subject(prefix, &self.origin)?, headers, payload: self.original.payload.clone() })
    }

    /// Reads a stored dead letter.
    pub fn decode(message: &Message) -> Result<DeadLetter, RecordError> {
        record::read(message, original::read(&message.headers)?)
    }

    /// The texts for people cleaned and cut to their limits, as they are stored.
    pub fn cleaned(mut self) -> Self {
        self.error = clean_text(&self.error, MAX_ERROR_BYTES);
        self.log_tail = clean_log(&self.log_tail);
        self
    }

    /// The form for `--output json`. `id` is the broker's number of the dead letter.
    pub fn view(&self, id: u64) -> DeadLetterView<'_> {
        DeadLetterView::new(self, id)
    }
}

/// The subject of the dead letter of one message. Fails when the prefix leaves no room; the configuration checks that
/// before anything runs.
pub fn subject(prefix: &Subject, origin: &Origin) -> Result<Subject, SubjectError> {
    Subject::try_new(&format!("{prefix}.{}.{}", origin.stream, origin.sequence))
}

/// Whose dead letter a record is, without reading the rest: the name of a route or of a projection.
pub fn route_of(record: &Message) -> Result<RouteName, RecordError> {
    record::route(record)
}

/// What the broker needs to put the event back in front of its route.
pub fn redrive(stored: &StoredDeadLetter) -> Result<Redrive, RecordError> {
    let letter = DeadLetter::decode(&stored.message)?;
    Ok(Redrive {
        dead_letter: stored.id,
        route: letter.route,
        origin: letter.origin,
        message: letter.original,
        stored: letter.stored,
        redriven: letter.redriven.saturating_add(1),
    })
}

/// The last lines that fit, oldest first.
fn clean_log(lines: &[String]) -> Vec<String> {
    let mut room = MAX_LOG_BYTES;
    let mut kept: Vec<String> = lines
        .iter()
        .rev()
        .map(|line| clean_text(line, MAX_LOG_BYTES))
        .take_while(|line| {
            // An empty line costs something too, or there could be any number of them.
            let cost = line.len().max(16);
            room.checked_sub(cost).inspect(|left| room = *left).is_some()
        })
        .collect();
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests;
