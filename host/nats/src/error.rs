//! From what NATS says to what the host decides on. The only file that turns the one into the other.
//!
//! Three answers matter to the host: trying again may help (`Unavailable`), it never will (`Refused`), something stands
//! in the way that a person must change (`Incompatible`). JetStream's error codes are grouped accordingly; a code that
//! is not listed is judged by its class, as in HTTP: 5xx may pass, 4xx will not.

use serde::Deserialize;
use tidemill_core::port::BrokerError;

/// An error as the JetStream API and publish acknowledgements carry it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ApiError {
    pub(crate) code: u16,
    #[serde(default)]
    pub(crate) err_code: u32,
    #[serde(default)]
    pub(crate) description: String,
}

/// What can come back instead of an answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NatsError {
    /// Nobody answered in time: the server is away, or busy, or the answer was lost. Whether it acted is unknown.
    #[error("no answer to {what} within {seconds} s")]
    Silent { what: String, seconds: u64 },
    /// The server is there and nobody listens on that subject.
    #[error("nobody answers on `{subject}`")]
    NoResponders { subject: String },
    #[error("{what}: {} (JetStream error {})", .error.description, .error.err_code)]
    Api { what: String, error: ApiError },
    /// It was not sent, because it can never be stored.
    #[error("{0}")]
    Unsendable(String),
    /// An answer that is not what the protocol says.
    #[error("unreadable answer to {what}: {reason}")]
    Unreadable { what: String, reason: String },
}

/// `expected last sequence` did not hold: 10071 names the sequence found, 10164 does not.
const WRONG_LAST_SEQUENCE: [u32; 2] = [10071, 10164];
const STREAM_NOT_FOUND: u32 = 10059;
const CONSUMER_NOT_FOUND: u32 = 10014;
const MESSAGE_NOT_FOUND: [u32; 2] = [10037, 10057];
const STREAM_NAME_IN_USE: u32 = 10058;
const CONSUMER_EXISTS: [u32; 3] = [10105, 10148, 10013];
const SUBJECTS_OVERLAP: u32 = 10065;
const BATCH_INCOMPLETE: u32 = 10176;
/// A batch of ours that had been committed before (its message ids are known).
const BATCH_DUPLICATE: u32 = 10201;

impl ApiError {
    pub(crate) fn is_wrong_last_sequence(&self) -> bool {
        WRONG_LAST_SEQUENCE.contains(&self.err_code) || self.err_code == BATCH_DUPLICATE
    }

    pub(crate) fn is_stream_not_found(&self) -> bool {
        self.err_code == STREAM_NOT_FOUND
    }

    /// The stream, the consumer or the message that was asked for is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.is_stream_not_found() || self.err_code == CONSUMER_NOT_FOUND || MESSAGE_NOT_FOUND.contains(&self.err_code)
    }

    /// Somebody else created it first, or it stands there with other settings.
    pub(crate) fn is_already_there(&self) -> bool {
        self.err_code == STREAM_NAME_IN_USE || CONSUMER_EXISTS.contains(&self.err_code)
    }

    pub(crate) fn is_overlap(&self) -> bool {
        self.err_code == SUBJECTS_OVERLAP
    }

    /// The server had no room for the batch or did not see all of it; nothing was stored and it may be sent again.
    pub(crate) fn may_pass(&self) -> bool {
        self.code >= 500 || self.err_code == BATCH_INCOMPLETE
    }
}

/// Trying again may help.
pub(crate) fn unavailable(reason: impl Into<String>) -> BrokerError {
    BrokerError::Unavailable { broker: "nats", reason: reason.into() }
}

impl From<NatsError> for BrokerError {
    fn from(error: NatsError) -> Self {
        let text = error.to_string();
        match error {
            NatsError::Silent { .. } | NatsError::NoResponders { .. } | NatsError::Unreadable { .. } => {
                unavailable(text)
            }
            NatsError::Api { error, .. } if error.may_pass() => unavailable(text),
            NatsError::Api { .. } | NatsError::Unsendable(_) => BrokerError::Refused(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16, err_code: u32, description: &str) -> BrokerError {
        let error = ApiError { code, err_code, description: description.to_owned() };
        NatsError::Api { what: "publishing to `orders.created`".to_owned(), error }.into()
    }

    #[test]
    fn a_full_stream_may_pass_and_a_too_large_message_will_not() {
        let full = api(503, 10077, "maximum bytes exceeded");
        assert!(matches!(full, BrokerError::Unavailable { .. }));
        assert_eq!(
            full.to_string(),
            "nats is unavailable: publishing to `orders.created`: maximum bytes exceeded (JetStream error 10077)"
        );
        assert!(matches!(api(400, 10054, "message size exceeds maximum allowed"), BrokerError::Refused(_)));
    }
}
