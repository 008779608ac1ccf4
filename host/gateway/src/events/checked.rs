//! An event that may be published: somebody takes its type, and its data matches its schema.

use serde_json::Value;
use tidemill_core::config::{Ingest, OnMissing};
use tidemill_core::envelope;
use tidemill_core::event::Event;
use tidemill_core::json::{self, JsonLimits};
use tidemill_core::port::Outgoing;
use tidemill_core::schema::SchemaError;
use tidemill_core::text::clean_text;

use crate::problem::{Problem, ProblemKind};
use crate::runtime::Catalogue;

/// An event on its way to its subject.
#[derive(Debug)]
pub(super) struct Checked<'a> {
    pub(super) id: String,
    pub(super) rule: &'a Ingest,
    pub(super) outgoing: Outgoing,
}

// === impl Checked ===

impl<'a> Checked<'a> {
    /// Checks an event as a route does, so that nothing is stored that no route would handle.
    pub(super) fn of(event: Event, catalogue: &'a Catalogue) -> Result<Self, Problem> {
        let rule = catalogue.rule(&event.kind).ok_or_else(|| unknown(&event.kind))?;
        let data = parse(&event)?;
        match catalogue.schemas.check(&event, data.as_ref()) {
            Ok(()) => {}
            Err(SchemaError::Invalid(violations)) => {
                return Err(Problem::violations(ProblemKind::InvalidEvent, &violations));
            }
            Err(error @ SchemaError::Missing { .. }) => match catalogue.on_missing {
                OnMissing::Reject => return Err(Problem::new(ProblemKind::SchemaMissing, error.to_string())),
                OnMissing::Warn => {
                    let kind = clean_text(&event.kind, 100);
                    tracing::warn!(event.kind = kind, %error, "Taken over HTTP and not checked against a schema");
                }
                OnMissing::Allow => {}
            },
        }
        Ok(Self { outgoing: envelope::encode_foreign_event(&event, rule.subject.clone()), id: event.id, rule })
    }
}

fn parse(event: &Event) -> Result<Option<Value>, Problem> {
    if event.data.is_empty() || !envelope::holds_json(event) {
        return Ok(None);
    }
    json::parse(&event.data, &JsonLimits::default())
        .map(Some)
        .map_err(|error| Problem::new(ProblemKind::MalformedEvent, format!("the event's data is not JSON: {error}")))
}

fn unknown(kind: &str) -> Problem {
    let kind = clean_text(kind, 200);
    let detail = format!(
        "events of the type `{kind}` are not taken; `http.ingest: [{{ type: [{kind}], subject: SUBJECT }}]` in runtime.yaml would \
         take them"
    );
    Problem::new(ProblemKind::UnknownType, detail)
}
