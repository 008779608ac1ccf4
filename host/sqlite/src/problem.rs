//! What SQLite and the file system say, as the port's errors.
//!
//! Whatever a person can put right while the host runs is `Unavailable`: a full disk, a lock, a file that was moved away or is
//! damaged. The fold waits then, and goes on.

use std::path::Path;
use std::time::Duration;

use rusqlite::ErrorCode;
use tidemill_core::read_model::StoreError;

pub(crate) const KIND: &str = "sqlite";

pub(crate) fn unavailable(reason: impl Into<String>) -> StoreError {
    StoreError::Unavailable { store: KIND, reason: reason.into() }
}

/// An error of SQLite at `path`.
pub(crate) fn problem(path: &Path, error: &rusqlite::Error) -> StoreError {
    let shown = path.display();
    let Some(code) = error.sqlite_error_code() else {
        return StoreError::Refused(format!("`{shown}`: {error}"));
    };
    match code {
        ErrorCode::DiskFull => unavailable(format!(
            "there is no room for `{shown}` ({error}); make room on that disk, the fold goes on by itself"
        )),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => unavailable(format!(
            "`{shown}` is locked by another program ({error}); end whatever else has it open for writing"
        )),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => unavailable(format!(
            "`{shown}` cannot be written ({error}); give this process the right to write its folder"
        )),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            unavailable(format!("`{shown}` is damaged ({error}); restore it from a backup, or rebuild the projection"))
        }
        ErrorCode::CannotOpen
        | ErrorCode::SystemIoFailure
        | ErrorCode::OutOfMemory
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::OperationInterrupted => unavailable(format!("`{shown}`: {error}")),
        _ => StoreError::Refused(format!("`{shown}`: {error}")),
    }
}

/// Like [`problem`], of a question that may take `timeout`: an interruption is the deadline's.
pub(crate) fn answer_problem(path: &Path, timeout: Duration, error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => StoreError::TooSlow(timeout),
        _ => problem(path, error),
    }
}

/// An error of the file system.
pub(crate) fn cannot(path: &Path, what: &str, error: &std::io::Error) -> StoreError {
    unavailable(format!("`{}` cannot be {what}: {error}", path.display()))
}

/// Runs what may wait for a disk where it keeps nobody else waiting. Once begun it runs to its end, awaited or not.
pub(crate) async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(unavailable(format!("the work was not finished: {error}"))))
}
