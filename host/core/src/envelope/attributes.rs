//! Collects the attributes of one event and keeps the rules that hold in every envelope.

use std::borrow::Cow;

use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::shown;
use super::{DecodeError, MAX_ATTRIBUTE_BYTES, MAX_EXTENSIONS, MAX_NAME_BYTES};
use crate::event::Event;

/// The longest extension name. CloudEvents advises 20 and forbids nothing above; longer ones than this are a mistake.
const MAX_EXTENSION_NAME_BYTES: usize = 64;

/// The attributes read so far. Every value was checked when it was set.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    id: Option<String>,
    source: Option<String>,
    kind: Option<String>,
    specversion: bool,
    time: Option<String>,
    subject: Option<String>,
    datacontenttype: Option<String>,
    dataschema: Option<String>,
    extensions: Vec<(String, String)>,
}

impl Attributes {
    /// Sets an attribute by its CloudEvents name, an extension included.
    pub(super) fn set(&mut self, name: &str, value: Cow<'_, str>) -> Result<(), DecodeError> {
        check_text(name, &value)?;
        let (place, allowed) = match name {
            "id" => (&mut self.id, MAX_NAME_BYTES),
            "source" => (&mut self.source, MAX_NAME_BYTES),
            "type" => (&mut self.kind, MAX_NAME_BYTES),
            "specversion" => return self.set_specversion(&value),
            "time" => {
                check_time("time", &value)?;
                (&mut self.time, MAX_ATTRIBUTE_BYTES)
            }
            "subject" => (&mut self.subject, MAX_ATTRIBUTE_BYTES),
            "datacontenttype" => (&mut self.datacontenttype, MAX_ATTRIBUTE_BYTES),
            "dataschema" => (&mut self.dataschema, MAX_ATTRIBUTE_BYTES),
            extension => return self.set_extension(extension, value),
        };
        if value.is_empty() {
            return Err(DecodeError::Empty {
                attribute: name.to_owned(),
                expected: "a text, or the attribute left out",
            });
        }
        check_length(name, &value, allowed)?;
        if place.is_some() {
            return Err(DecodeError::Repeated { attribute: name.to_owned() });
        }
        *place = Some(value.into_owned());
        Ok(())
    }

    fn set_specversion(&mut self, value: &str) -> Result<(), DecodeError> {
        if value != "1.0" {
            return Err(DecodeError::BadSpecVersion { found: shown(value) });
        }
        if self.specversion {
            return Err(DecodeError::Repeated { attribute: "specversion".to_owned() });
        }
        self.specversion = true;
        Ok(())
    }

    fn set_extension(&mut self, name: &str, value: Cow<'_, str>) -> Result<(), DecodeError> {
        let named = (1..=MAX_EXTENSION_NAME_BYTES).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        // `data` is reserved: an attribute of that name could not be written in the JSON format.
        if !named || name == "data" {
            return Err(DecodeError::BadName { found: shown(name) });
        }
        check_length(name, &value, MAX_ATTRIBUTE_BYTES)?;
        if self.has_extension(name) {
            return Err(DecodeError::Repeated { attribute: name.to_owned() });
        }
        if self.extensions.len() == MAX_EXTENSIONS {
            return Err(DecodeError::TooManyExtensions { allowed: MAX_EXTENSIONS });
        }
        self.extensions.push((name.to_owned(), value.into_owned()));
        Ok(())
    }

    pub(super) fn has_extension(&self, name: &str) -> bool {
        self.extensions.iter().any(|(known, _)| known == name)
    }

    pub(super) fn datacontenttype(&self) -> Option<&str> {
        self.datacontenttype.as_deref()
    }

    /// The event, if nothing that is required is missing.
    pub(super) fn finish(self, data: Bytes) -> Result<Event, DecodeError> {
        if !self.specversion {
            return Err(DecodeError::Missing { attribute: "specversion", expected: "`1.0`" });
        }
        let required = |value: Option<String>, attribute| {
            value.ok_or(DecodeError::Missing { attribute, expected: "a text of 1 to 1024 bytes" })
        };
        Ok(Event {
            id: required(self.id, "id")?,
            source: required(self.source, "source")?,
            kind: required(self.kind, "type")?,
            time: self.time,
            subject: self.subject,
            datacontenttype: self.datacontenttype,
            dataschema: self.dataschema,
            version: None,
            extensions: self.extensions,
            data,
        })
    }
}

/// CloudEvents strings hold no control characters (spec, "Type System").
pub(super) fn check_text(attribute: &str, value: &str) -> Result<(), DecodeError> {
    let harmless = if value.is_ascii() {
        !value.bytes().any(|b| b < 0x20 || b == 0x7f)
    } else {
        !value.chars().any(char::is_control)
    };
    if harmless {
        Ok(())
    } else {
        Err(DecodeError::ControlCharacter { attribute: shown(attribute), found: shown(value) })
    }
}

pub(super) fn check_length(attribute: &str, value: &str, allowed: usize) -> Result<(), DecodeError> {
    if value.len() > allowed {
        return Err(DecodeError::TooLong { attribute: shown(attribute), allowed, bytes: value.len() });
    }
    Ok(())
}

/// RFC 3339. The parser takes any character between date and time; the grammar says `T`.
pub(super) fn check_time(attribute: &'static str, value: &str) -> Result<(), DecodeError> {
    let separated = matches!(value.as_bytes().get(10), Some(b'T' | b't'));
    if separated && OffsetDateTime::parse(value, &Rfc3339).is_ok() {
        Ok(())
    } else {
        Err(DecodeError::BadTime { attribute, found: shown(value) })
    }
}
