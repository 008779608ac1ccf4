//! What came of one call, and assertions that say what was found instead.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::EmitError;
use crate::log::Level;
use crate::read_model::ReadModelError;

/// What came of one call.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Run {
    pub outcome: Ended,
    /// What is published. Empty unless the call is done.
    pub emits: Vec<Emitted>,
    /// The whole state after the call. As before it unless the call is done.
    pub state: BTreeMap<String, Vec<u8>>,
    /// All documents after the call, by collection and key. As before it unless the call is done.
    pub documents: BTreeMap<String, BTreeMap<String, Value>>,
    pub logs: Vec<LogLine>,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Done,
    Retry {
        reason: String,
        after: Option<Duration>,
    },
    Rejected {
        reason: String,
    },
    /// In the host: a trap, with the message in the log.
    Panicked {
        message: String,
    },
    /// An emit was refused, so the call failed, whatever the handler returned.
    Refused(EmitError),
    /// A document's write was refused, so the event failed, whatever the projection returned.
    WriteRefused(ReadModelError),
}

/// An event that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Emitted {
    /// The NATS subject.
    pub to: String,
    pub kind: String,
    pub subject: Option<String>,
    pub datacontenttype: Option<String>,
    pub dataschema: Option<String>,
    pub extensions: Vec<(String, String)>,
    pub data: Vec<u8>,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine {
    pub level: Level,
    pub message: String,
    pub fields: Vec<(String, String)>,
}

// === impl Run ===

impl Run {
    #[track_caller]
    pub fn assert_done(&self) {
        assert!(self.outcome == Ended::Done, "expected the call to be done, but it ended as {:?}", self.outcome);
    }

    /// The call asked for a retry, with a reason that contains `part`.
    #[track_caller]
    pub fn assert_retry(&self, part: &str) {
        match &self.outcome {
            Ended::Retry { reason, .. } if reason.contains(part) => {}
            other => panic!("expected a retry because of {part:?}, but it ended as {other:?}"),
        }
    }

    /// The call rejected the event, with a reason that contains `part`.
    #[track_caller]
    pub fn assert_rejected(&self, part: &str) {
        match &self.outcome {
            Ended::Rejected { reason } if reason.contains(part) => {}
            other => panic!("expected a rejection because of {part:?}, but it ended as {other:?}"),
        }
    }

    /// The call panicked, with a message that contains `part`.
    #[track_caller]
    pub fn assert_panicked(&self, part: &str) {
        match &self.outcome {
            Ended::Panicked { message } if message.contains(part) => {}
            other => panic!("expected a panic with {part:?}, but it ended as {other:?}"),
        }
    }

    #[track_caller]
    pub fn assert_no_emits(&self) {
        assert!(self.emits.is_empty(), "expected no emits, but found {:?}", self.kinds());
    }

    /// The only emit of a type.
    #[track_caller]
    pub fn emitted(&self, kind: &str) -> &Emitted {
        let mut found = self.emits.iter().filter(|emit| emit.kind == kind);
        match (found.next(), found.next()) {
            (Some(emit), None) => emit,
            (None, _) => panic!("expected an emit of type {kind}, but found {:?} ({:?})", self.kinds(), self.outcome),
            (Some(_), Some(_)) => panic!("expected one emit of type {kind}, but found {:?}", self.kinds()),
        }
    }

    /// A state value after the call, read as JSON.
    #[track_caller]
    pub fn state_json<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let value = self.state.get(key)?;
        match serde_json::from_slice(value) {
            Ok(value) => Some(value),
            Err(error) => panic!("the state's value of {key:?} is not what the test expects: {error}"),
        }
    }

    /// A document after the call.
    ///
    /// # Panics
    ///
    /// If there is no such collection, or the document cannot be read as `T`.
    #[track_caller]
    pub fn document<T: DeserializeOwned>(&self, collection: &str, key: &str) -> Option<T> {
        let document = self.collection(collection).get(key)?;
        match serde_json::from_value(document.clone()) {
            Ok(document) => Some(document),
            Err(error) => panic!("the document {key:?} of {collection:?} is not what the test expects: {error}"),
        }
    }

    /// The collection has exactly these keys, given in byte order.
    #[track_caller]
    pub fn assert_keys(&self, collection: &str, expected: &[&str]) {
        let found: Vec<&str> = self.collection(collection).keys().map(String::as_str).collect();
        assert!(found == expected, "expected the keys {expected:?} in {collection:?}, but found {found:?}");
    }

    /// A write was refused, with a reason that contains `part`.
    #[track_caller]
    pub fn assert_write_refused(&self, part: &str) {
        match &self.outcome {
            Ended::WriteRefused(error) if error.to_string().contains(part) => {}
            other => panic!("expected a refused write because of {part:?}, but it ended as {other:?}"),
        }
    }

    #[track_caller]
    fn collection(&self, name: &str) -> &BTreeMap<String, Value> {
        match self.documents.get(name) {
            Some(collection) => collection,
            None => panic!("there is no collection {name:?}: `.collection({name:?}, [])` on the harness makes one"),
        }
    }

    /// Whether a line of this level contains `part`.
    pub fn logged(&self, level: Level, part: &str) -> bool {
        self.logs.iter().any(|line| line.level == level && line.message.contains(part))
    }

    fn kinds(&self) -> Vec<&str> {
        self.emits.iter().map(|emit| emit.kind.as_str()).collect()
    }
}

// === impl Emitted ===

impl Emitted {
    /// The data, read as JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.data) {
            Ok(value) => value,
            Err(error) => panic!("the data of the emitted {} is not JSON: {error}", self.kind),
        }
    }
}
