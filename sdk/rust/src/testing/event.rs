//! Building the events of a test.

use serde::Serialize;

use crate::{Event, Raw};

/// Building an event by hand, for tests; only in native builds. What is left out has a plausible value.
impl Event<Raw> {
    /// An event of a type, without data.
    pub fn new(kind: impl Into<String>) -> Self {
        Event {
            id: "event-1".to_owned(),
            source: "/test".to_owned(),
            kind: kind.into(),
            time: Some("2026-01-01T00:00:00Z".to_owned()),
            subject: None,
            datacontenttype: Some("application/json".to_owned()),
            dataschema: None,
            extensions: Vec::new(),
            data: Raw::default(),
        }
    }

    /// The data, as JSON.
    ///
    /// # Panics
    ///
    /// If the value cannot be written as JSON.
    #[must_use]
    #[track_caller]
    pub fn data(mut self, data: impl Serialize) -> Self {
        self.data = Raw(super::stage::to_json(&data));
        self
    }

    /// The data as bytes, for events that are not JSON or not even that.
    #[must_use]
    pub fn bytes(mut self, datacontenttype: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        self.datacontenttype = Some(datacontenttype.into());
        self.data = Raw(data.into());
        self
    }

    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }

    #[must_use]
    pub fn time(mut self, time: impl Into<String>) -> Self {
        self.time = Some(time.into());
        self
    }

    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    #[must_use]
    pub fn dataschema(mut self, dataschema: impl Into<String>) -> Self {
        self.dataschema = Some(dataschema.into());
        self
    }

    #[must_use]
    pub fn with_extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.push((name.into(), value.into()));
        self
    }
}
