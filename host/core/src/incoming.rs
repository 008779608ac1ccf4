//! What every event is asked before a plugin sees it, on a route as in a projection: is it an event, is its data valid?
//!
//! Plain functions: who calls them decides what becomes of a failure.

use serde_json::Value;

use crate::config::OnMissing;
use crate::envelope::{self, Envelope};
use crate::event::Event;
use crate::failure::{Failure, FailureKind};
use crate::json::{self, JsonLimits};
use crate::message::Message;
use crate::name::RouteName;
use crate::port::Origin;
use crate::schema::{SchemaError, Schemas};

/// What events are checked against, and on whose behalf.
#[derive(Clone, Copy)]
pub(crate) struct Checks<'a> {
    pub(crate) schemas: &'a Schemas,
    pub(crate) on_missing: OnMissing,
    /// Names the route or projection in the log.
    pub(crate) name: &'a RouteName,
}

pub(crate) fn decode(envelope: &Envelope, message: &Message, origin: &Origin) -> Result<Event, Failure> {
    envelope::decode(envelope, message, origin).map_err(|error| Failure::new(FailureKind::Malformed, error.to_string()))
}

// === impl Checks ===

impl Checks<'_> {
    /// Parses the data once, for the schema and the filter, and asks the schema.
    pub(crate) fn validate(&self, event: &Event) -> Result<Option<Value>, Failure> {
        let data = parse_data(event)?;
        self.ask_schema(event, data.as_ref(), FailureKind::Invalid)?;
        Ok(data)
    }

    /// The same for an event that a plugin emits.
    pub(crate) fn check_emit(&self, event: &Event) -> Result<(), Failure> {
        let data = parse_data(event)?;
        self.ask_schema(event, data.as_ref(), FailureKind::EmitInvalid)
    }

    fn ask_schema(&self, event: &Event, data: Option<&Value>, invalid: FailureKind) -> Result<(), Failure> {
        match self.schemas.check(event, data) {
            Ok(()) => Ok(()),
            Err(SchemaError::Missing { .. }) if self.on_missing == OnMissing::Allow => Ok(()),
            Err(error @ SchemaError::Missing { .. }) if self.on_missing == OnMissing::Warn => {
                tracing::warn!(route = %self.name, event.id = event.id, %error, "Not checked against a schema");
                Ok(())
            }
            Err(error @ SchemaError::Missing { .. }) => Err(Failure::new(missing(invalid), error.to_string())),
            Err(error) => Err(Failure::new(invalid, error.to_string())),
        }
    }
}

fn parse_data(event: &Event) -> Result<Option<Value>, Failure> {
    if event.data.is_empty() || !envelope::holds_json(event) {
        return Ok(None);
    }
    json::parse(&event.data, &JsonLimits::default())
        .map(Some)
        .map_err(|error| Failure::new(FailureKind::Malformed, format!("the event's data is not JSON: {error}")))
}

/// A missing schema of an incoming event is the event's fault, of an emit the plugin's.
fn missing(invalid: FailureKind) -> FailureKind {
    if invalid == FailureKind::Invalid { FailureKind::SchemaMissing } else { invalid }
}
