//! CloudEvents in binary mode: attributes in `ce-*` headers, the payload is the data.
//!
//! Header names are compared without case: the binding says so, and gateways that come from HTTP send `Ce-Id`.

use std::borrow::Cow;

use super::attributes::Attributes;
use super::{DecodeError, header_value, trace};
use crate::event::Event;
use crate::message::Message;

const PREFIX: &[u8] = b"ce-";

/// Whether the message says that it is a CloudEvent in binary mode.
pub(super) fn is_binary(message: &Message) -> bool {
    message.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("ce-specversion"))
}

/// Whether any header looks like an attribute.
pub(super) fn has_attributes(message: &Message) -> bool {
    message.headers.iter().any(|(name, _)| attribute(name).is_some())
}

/// The value of the `content-type` header.
pub(super) fn content_type(message: &Message) -> Option<&str> {
    message.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type")).map(|(_, value)| value)
}

/// Reads the headers once, in order. `content-type` counts where `ce-datacontenttype` is not given.
pub(super) fn decode_binary(message: &Message) -> Result<Event, DecodeError> {
    let mut attributes = Attributes::default();
    for (name, value) in message.headers.iter() {
        if let Some(attribute) = attribute(name) {
            let value = header_value::decode(&attribute, value)?;
            attributes.set(&attribute, value)?;
        }
    }
    if attributes.datacontenttype().is_none()
        && let Some(content_type) = content_type(message)
        && !content_type.is_empty()
    {
        attributes.set("datacontenttype", Cow::Borrowed(content_type))?;
    }
    trace::adopt(&message.headers, &mut attributes)?;
    attributes.finish(message.payload.clone())
}

/// The attribute that a header carries, in lower case.
fn attribute(header: &str) -> Option<Cow<'_, str>> {
    let (prefix, name) = header.as_bytes().split_at_checked(PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(PREFIX) {
        return None;
    }
    let text = &header[PREFIX.len()..];
    Some(if name.iter().any(u8::is_ascii_uppercase) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    })
}
