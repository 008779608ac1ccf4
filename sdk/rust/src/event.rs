//! The event that is handled: CloudEvents 1.0 attributes and typed data.

use crate::{FromData, Raw};

/// A CloudEvents 1.0 event that has passed its JSON Schema, where one is registered.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Event<T> {
    /// Unique together with `source`. A redelivery has the same id.
    pub id: String,
    pub source: String,
    /// The CloudEvents attribute `type`, for example `OrderCreated`.
    pub kind: String,
    /// RFC 3339, as the producer wrote it.
    pub time: Option<String>,
    /// The CloudEvents attribute `subject`. Not the NATS subject.
    pub subject: Option<String>,
    pub datacontenttype: Option<String>,
    pub dataschema: Option<String>,
    /// Names and values of the extension attributes, names in lower case.
    pub extensions: Vec<(String, String)>,
    /// The data, as the type that [`Handler::Data`](crate::Handler::Data) names.
    pub data: T,
}

impl<T> Event<T> {
    /// An extension attribute by its lower-case name: `correlationid`, `traceparent`, or one of the producer's own.
    pub fn extension(&self, name: &str) -> Option<&str> {
        self.extensions.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Event<Raw> {
    /// Reads the data as `T`.
    pub(crate) fn read<T: FromData>(self) -> Result<Event<T>, crate::Failure> {
        Ok(Event {
            data: T::from_data(self.data)?,
            id: self.id,
            source: self.source,
            kind: self.kind,
            time: self.time,
            subject: self.subject,
            datacontenttype: self.datacontenttype,
            dataschema: self.dataschema,
            extensions: self.extensions,
        })
    }
}
