//! Files of events: JSON lines, each an event and the subject to publish it to.
//!
//! ```json
//! {"subject": "orders.created", "event": {"specversion": "1.0", "id": "1", "source": "/shop", "type": "OrderCreated", "data": {}}}
//! {"subject": "orders.created", "payload": "anything at all, also what is no event", "headers": {"ce-id": "1"}}
//! ```
//!
//! A line may also be the CloudEvent alone, when the subject is given beside the file.

use std::io::BufRead;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use serde_json::Value;
use tidemill_core::envelope;
use tidemill_core::event::Event;
use tidemill_core::message::{Headers, Message};
use tidemill_core::port::Outgoing;
use tidemill_core::subject::Subject;
use uuid::Uuid;

/// One line of a file.
#[derive(Debug)]
pub struct Fed {
    /// 1-based.
    pub line: usize,
    pub outgoing: Outgoing,
    /// `None` for a raw payload.
    pub event: Option<Event>,
}

// === impl Fed ===

impl Fed {
    /// The same line as another event: its id ends in `suffix`.
    pub fn again(self, suffix: &str) -> Self {
        let Self { line, outgoing, event } = self;
        match event {
            Some(event) => {
                let event = Event { id: format!("{}{suffix}", event.id), ..event };
                let outgoing = envelope::encode_foreign_event(&event, outgoing.message.subject);
                Self { line, outgoing, event: Some(event) }
            }
            None => Self { line, outgoing: Outgoing { id: format!("{}{suffix}", outgoing.id), ..outgoing }, event },
        }
    }
}

/// Reads lines lazily; blank ones are passed over. An error names its line.
pub fn read<'a>(input: impl BufRead + 'a, subject: Option<&'a Subject>) -> impl Iterator<Item = Result<Fed>> + 'a {
    input.lines().enumerate().filter_map(move |(index, line)| {
        let line_number = index + 1;
        match line {
            Ok(text) if text.trim().is_empty() => None,
            Ok(text) => Some(parse(&text, line_number, subject).with_context(|| format!("line {line_number}"))),
            Err(error) => Some(Err(error).with_context(|| format!("line {line_number}"))),
        }
    })
}

/// A text that is one event.
pub fn parse_one(text: &str, subject: Option<&Subject>) -> Result<Fed> {
    parse(text, 1, subject)
}

fn parse(text: &str, line: usize, given: Option<&Subject>) -> Result<Fed> {
    let value: Value = serde_json::from_str(text).context("expected a JSON object")?;
    let named = value.get("subject").and_then(Value::as_str);
    if value.get("specversion").is_some() {
        let Some(subject) = given else {
            bail!(
                "a CloudEvent alone names no subject: write {{\"subject\": \"…\", \"event\": …}}, or use `tidemill emit --subject SUBJECT`"
            )
        };
        return event_line(&value, subject.clone(), line);
    }
    let subject = match (named, given) {
        (Some(named), _) => Subject::try_new(named)?,
        (None, Some(given)) => given.clone(),
        (None, None) => bail!("expected a `subject` in the line, or `--subject SUBJECT`"),
    };
    match (value.get("event"), value.get("payload")) {
        (Some(event), None) => event_line(event, subject, line),
        (None, Some(payload)) => raw_line(payload, value.get("headers"), subject, line),
        _ => bail!("expected either `event` (a CloudEvent) or `payload` (text) beside `subject`"),
    }
}

fn event_line(value: &Value, subject: Subject, line: usize) -> Result<Fed> {
    let event = envelope::event_from_json(value)?;
    let outgoing = envelope::encode_foreign_event(&event, subject);
    Ok(Fed { line, outgoing, event: Some(event) })
}

fn raw_line(payload: &Value, headers: Option<&Value>, subject: Subject, line: usize) -> Result<Fed> {
    let Some(text) = payload.as_str() else { bail!("`payload` must be text") };
    let mut list = Headers::new();
    for (name, value) in headers.and_then(Value::as_object).into_iter().flatten() {
        list.append(name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    // The same line has the same id, so that feeding a file again adds nothing.
    let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{subject}\n{line}\n{text}").as_bytes()).to_string();
    let message = Message { subject, headers: list, payload: Bytes::from(text.to_owned()) };
    Ok(Fed { line, outgoing: Outgoing { id, message }, event: None })
}
