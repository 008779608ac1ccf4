//! What the server and the network say, as the port's errors.
//!
//! Whatever passes by itself, or when a person puts it right, is `Unavailable`: the fold waits and goes on.

use std::error::Error as _;
use std::time::Duration;

use tidemill_core::read_model::{CopyId, StoreError};
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

pub(crate) const KIND: &str = "postgres";

pub(crate) fn unavailable(reason: impl Into<String>) -> StoreError {
    StoreError::Unavailable { store: KIND, reason: reason.into() }
}

/// An error of a request.
pub(crate) fn problem(error: &Error) -> StoreError {
    let Some(found) = error.as_db_error() else {
        let reason = describe(error);
        // A broken connection, or one that could not be made. What else there is, is between the client and this code.
        let is_ours = error.is_closed() || error.source().is_some_and(|it| it.is::<std::io::Error>());
        let is_ours = is_ours || error.to_string().starts_with("error connecting");
        let is_ours = is_ours || error.to_string().starts_with("timeout");
        return if is_ours { unavailable(reason) } else { StoreError::Refused(reason) };
    };
    let reason = said(found);
    match found.code().code() {
        "53100" => {
            unavailable(format!("the server has no room: {reason}; make room on its disk, the fold goes on by itself"))
        }
        "25006" => unavailable(format!(
            "the server takes no writes: {reason}; `read_models.postgres.url` must lead to the primary"
        )),
        "53300" => unavailable(format!("the server has no connection left: {reason}; raise its `max_connections`")),
        code if passes(code) => unavailable(reason),
        code if code.starts_with("28") || code == "3D000" => {
            StoreError::Refused(format!("{reason}; check `read_models.postgres.url` in runtime.yaml"))
        }
        "42501" => StoreError::Refused(format!(
            "{reason}; the user of `read_models.postgres.url` must own the schema `read_models.postgres.schema`, or may \
             create it"
        )),
        _ => StoreError::Refused(reason),
    }
}

/// Like [`problem`], of a request to a copy: whoever removes a copy removes its tables.
pub(crate) fn copy_problem(copy: &CopyId, error: &Error) -> StoreError {
    match error.code() {
        Some(code) if *code == SqlState::UNDEFINED_TABLE => StoreError::NoCopy(copy.clone()),
        _ => problem(error),
    }
}

/// Like [`copy_problem`], of a question that may take `timeout`.
pub(crate) fn answer_problem(copy: &CopyId, timeout: Duration, error: &Error) -> StoreError {
    match error.code() {
        Some(code) if *code == SqlState::QUERY_CANCELED => StoreError::TooSlow(timeout),
        _ => copy_problem(copy, error),
    }
}

/// Codes of what may be otherwise the next time: connections, resources, an operator's doing, the system, locks, timeouts,
/// conflicts.
fn passes(code: &str) -> bool {
    ["08", "53", "57", "58", "40"].iter().any(|class| code.starts_with(class))
        || matches!(code, "55P03" | "25P03" | "25P04")
}

fn said(error: &DbError) -> String {
    let detail = error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
    format!("{}{detail} [{}]", error.message(), error.code().code())
}

/// The error with its causes: the outermost says little.
fn describe(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(it) = cause {
        let said = it.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = it.source();
    }
    text
}
