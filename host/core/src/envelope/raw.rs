//! The `raw` envelope: any message is an event. Never fails, so that a stream of foreign messages never dead-letters for
//! its shape alone.

use super::attributes::check_text;
use super::{MAX_ATTRIBUTE_BYTES, MAX_NAME_BYTES, cloudevents, ids, trace};
use crate::event::Event;
use crate::message::Message;
use crate::port::Origin;

/// The payload is the data, the type is the subject, the source is `/streams/<STREAM>`. The id is the publisher's
/// `Nats-Msg-Id`, or made from stream and sequence where there is none that could be an id.
pub(super) fn decode(message: &Message, origin: &Origin) -> Event {
    let usable = |text: &&str, limit| (1..=limit).contains(&text.len()) && check_text("", text).is_ok();
    let publisher_id = message.headers.get("Nats-Msg-Id").filter(|id| usable(id, MAX_NAME_BYTES));
    let content_type = cloudevents::content_type(message).filter(|text| usable(text, MAX_ATTRIBUTE_BYTES));
    let mut extensions: Vec<(String, String)> = Vec::new();
    for (name, value) in trace::bare(&message.headers) {
        if !extensions.iter().any(|(known, _)| known == name) {
            extensions.push((name.to_owned(), value.to_owned()));
        }
    }
    Event {
        id: publisher_id.map_or_else(|| ids::input_id(origin).to_string(), str::to_owned),
        source: format!("/streams/{}", origin.stream),
        kind: message.subject.as_str().to_owned(),
        time: None,
        subject: None,
        datacontenttype: content_type.map(str::to_owned),
        dataschema: None,
        version: None,
        extensions,
        data: message.payload.clone(),
    }
}
