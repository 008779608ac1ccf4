//! The decoded event: CloudEvents 1.0 attributes and the data bytes.
//!
//! Source: CloudEvents 1.0.2, <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>.

use bytes::Bytes;

/// Extension attributes of one event. The spec names about ten that are in use.
pub const MAX_EXTENSIONS: usize = 64;

/// A decoded CloudEvents 1.0 event. Every attribute is text as it arrived; `data` is byte for byte the payload's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    pub source: String,
    /// The attribute `type`.
    pub kind: String,
    /// RFC 3339, checked when decoded, kept as written.
    pub time: Option<String>,
    /// The CloudEvents attribute `subject`; not a NATS subject.
    pub subject: Option<String>,
    pub datacontenttype: Option<String>,
    pub dataschema: Option<String>,
    /// The schema version that the envelope names apart from `dataschema` (the `seed` envelope's `version`).
    pub version: Option<String>,
    /// Extension attributes, lower-case names, in order of arrival: `correlationid`, `causationid`, `traceparent`, …
    pub extensions: Vec<(String, String)>,
    pub data: Bytes,
}

impl Event {
    /// An extension attribute by its lower-case name.
    pub fn extension(&self, name: &str) -> Option<&str> {
        self.extensions.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A context attribute by its CloudEvents name, extensions included.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        match name {
            "id" => Some(&self.id),
            "source" => Some(&self.source),
            "type" => Some(&self.kind),
            "specversion" => Some("1.0"),
            "time" => self.time.as_deref(),
            "subject" => self.subject.as_deref(),
            "datacontenttype" => self.datacontenttype.as_deref(),
            "dataschema" => self.dataschema.as_deref(),
            extension => self.extension(extension),
        }
    }
}
