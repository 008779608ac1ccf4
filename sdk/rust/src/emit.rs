//! Events that a handler publishes.

use serde::Serialize;

use crate::imports;

/// An event to publish, as it is built. It is published only after the handler has returned `Ok`.
///
/// The host adds what is its own: a deterministic `id`, `source`, `time`, and the `correlationid`, `causationid` and
/// `traceparent` of the event that is being handled.
///
/// ```
/// # use tidemill_sdk::prelude::*;
/// # fn f() -> Outcome {
/// Emit::to("fraud.checked").kind("FraudChecked").json(&json!({ "order_id": "o-1", "risk": "high" })).send()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "an emit does nothing until `send`"]
pub struct Emit {
    outgoing: Outgoing,
    unwritable: Option<String>,
}

/// The event in plain values, as it passes to the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Outgoing {
    pub(crate) to: String,
    pub(crate) kind: String,
    pub(crate) subject: Option<String>,
    pub(crate) datacontenttype: Option<String>,
    pub(crate) dataschema: Option<String>,
    pub(crate) extensions: Vec<(String, String)>,
    pub(crate) data: Vec<u8>,
}

/// Why an emit was refused. The host fails a call with a refused emit even if the handler returns `Ok`: half of what a
/// handler wanted is never done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmitError {
    /// The subject is not granted. The text names the line of `runtime.yaml` that would allow it.
    NotGranted(String),
    /// A subject, type or attribute breaks a rule.
    Invalid(String),
    /// A limit on emits or their bytes is used up. The text names it.
    Limit(String),
    /// The data could not be written as JSON.
    Unwritable(String),
}

// === impl Emit ===

impl Emit {
    /// The NATS subject to publish to. It must be granted: the route's `emits` in `runtime.yaml`.
    pub fn to(subject: impl Into<String>) -> Self {
        Self { outgoing: Outgoing { to: subject.into(), ..Outgoing::default() }, unwritable: None }
    }

    /// The CloudEvents attribute `type`. Where a schema is registered for it, the data must match.
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.outgoing.kind = kind.into();
        self
    }

    /// The CloudEvents attribute `subject`: what the event is about. Not the NATS subject.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.outgoing.subject = Some(subject.into());
        self
    }

    /// The schema that the data follows, where it is not the newest one of the type.
    pub fn dataschema(mut self, dataschema: impl Into<String>) -> Self {
        self.outgoing.dataschema = Some(dataschema.into());
        self
    }

    /// An extension attribute of your own; its name is made of `a-z` and `0-9`.
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.outgoing.extensions.push((name.into(), value.into()));
        self
    }

    /// The data, as JSON. What cannot be written is reported by [`send`](Self::send).
    pub fn json<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        match serde_json::to_vec(data) {
            Ok(json) => self.outgoing.data = json,
            Err(error) => self.unwritable = Some(error.to_string()),
        }
        self
    }

    /// The data, in another format than JSON.
    pub fn bytes(mut self, datacontenttype: impl Into<String>, data: impl Into<Vec<u8>>) -> Self {
        self.outgoing.datacontenttype = Some(datacontenttype.into());
        self.outgoing.data = data.into();
        self
    }

    /// Hands the event to the host.
    ///
    /// # Errors
    ///
    /// The host refuses what is not granted, breaks a rule or exceeds a limit; then the call fails in any case.
    pub fn send(self) -> Result<(), EmitError> {
        match self.unwritable {
            Some(reason) => Err(EmitError::Unwritable(reason)),
            None => imports::emit(self.outgoing),
        }
    }
}

// === impl EmitError ===

impl std::fmt::Display for EmitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EmitError::NotGranted(text) | EmitError::Invalid(text) | EmitError::Limit(text) => f.write_str(text),
            EmitError::Unwritable(text) => write!(f, "the emit's data cannot be written as JSON: {text}"),
        }
    }
}

impl std::error::Error for EmitError {}
