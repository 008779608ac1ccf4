//! Message to event, and event to message.
//!
//! [`decode`] is the first room of the path: pure, bounded, and the only place that knows how events look on the wire.
//! Everything behind it sees an [`Event`] whose attributes keep the rules of CloudEvents 1.0; a message that breaks one
//! fails here as `malformed`, with a text that names the attribute, what was expected and what was found.
//!
//! What is written ([`encode_emit`], [`encode_event`]) is always binary mode. A message with `ce-specversion` is read as
//! binary CloudEvents whatever the stream's envelope says, so what one plugin emits can be read on any stream.
//!
//! Sources: CloudEvents 1.0.2 (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>), its JSON format,
//! and the NATS binding of the spec's main branch; 1.0.2 itself knows NATS in structured mode only.

use crate::event::{Event, MAX_EXTENSIONS};
use crate::message::Message;
use crate::port::Origin;

mod attributes;
mod cloudevents;
mod emit;
mod error;
mod header_value;
mod ids;
mod raw;
mod seed;
mod structured;
mod trace;

pub use emit::{EmitIds, encode_emit, encode_event, encode_foreign_event};
pub use error::DecodeError;
pub use ids::posted_id;
pub use structured::event_from_json;

/// The longest `id`, `source` and `type`, in bytes. The CloudEvents spec sets no limit; these three become message ids,
/// log fields and parts of other events' attributes.
pub const MAX_NAME_BYTES: usize = 1024;
/// The longest value of any other attribute, in bytes.
pub const MAX_ATTRIBUTE_BYTES: usize = 4096;

/// How a stream's messages become events.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Envelope {
    /// CloudEvents 1.0 in binary (`ce-*` headers) or structured mode, told apart by the headers.
    #[default]
    CloudEvents,
    /// The payload is the data; the type comes from the subject.
    Raw,
    /// `eventId`, `eventType`, `timestamp`, `version`, `source`, `correlationId`, `data`, camelCase or snake_case.
    Seed,
}

/// Reads an event from a message. `origin` is where the message stands; the `raw` envelope makes its ids from it.
///
/// Binary mode copies the attributes and shares the payload's bytes; the payload is parsed only where the attributes are
/// inside it.
pub fn decode(envelope: &Envelope, message: &Message, origin: &Origin) -> Result<Event, DecodeError> {
    if cloudevents::is_binary(message) {
        return cloudevents::decode_binary(message);
    }
    match envelope {
        Envelope::CloudEvents => structured::decode(message),
        Envelope::Raw => Ok(raw::decode(message, origin)),
        Envelope::Seed => seed::decode(message),
    }
}

/// Whether the data is JSON text by its `datacontenttype`: `application/json`, any `…+json`, or nothing said, which in
/// CloudEvents means JSON.
pub fn holds_json(event: &Event) -> bool {
    event.datacontenttype.as_deref().is_none_or(is_json_type)
}

fn is_json_type(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().as_bytes();
    let ends_with =
        |end: &[u8]| essence.len() > end.len() && essence[essence.len() - end.len()..].eq_ignore_ascii_case(end);
    ends_with(b"/json") || ends_with(b"+json")
}

#[cfg(test)]
mod tests;
