//! Exit codes, in one place: 0 ok, 1 failed, 2 usage (clap's own), 65 bad data, 69 broker unavailable, 78 bad
//! configuration. The numbers are those of `sysexits.h`.

use std::fmt;
use std::process::ExitCode;

use tidemill_core::port::BrokerError;

/// Why the program ended without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Failed,
    BadData,
    Unavailable,
    BadConfiguration,
}

/// An error that knows its exit code. Made with [`Coded::coded`]; an error without is `Failed`.
#[derive(Debug)]
struct WithKind {
    kind: Kind,
    error: anyhow::Error,
}

/// Gives an error its exit code.
pub trait Coded<T> {
    fn coded(self, kind: Kind) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Coded<T> for Result<T, E> {
    fn coded(self, kind: Kind) -> anyhow::Result<T> {
        self.map_err(|error| anyhow::Error::new(WithKind { kind, error: error.into() }))
    }
}

/// A broker's error with the exit code that fits.
pub fn broker(error: BrokerError) -> anyhow::Error {
    let kind = match error {
        BrokerError::Unavailable { .. } => Kind::Unavailable,
        BrokerError::Incompatible(_) => Kind::BadConfiguration,
        BrokerError::Refused(_) => Kind::Failed,
    };
    anyhow::Error::new(WithKind { kind, error: error.into() })
}

/// The error as lines for a person on standard error, and its exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    eprint_line(&text(error));
    kind(error).code()
}

/// Whether the broker was away: trying again may help.
pub fn is_unavailable(error: &anyhow::Error) -> bool {
    kind(error) == Kind::Unavailable
}

fn kind(error: &anyhow::Error) -> Kind {
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<WithKind>().map(|with_kind| with_kind.kind));
    kind.unwrap_or(Kind::Failed)
}

/// The error and what caused it, one per line.
pub fn text(error: &anyhow::Error) -> String {
    let mut lines: Vec<String> = Vec::new();
    for cause in error.chain() {
        match cause.downcast_ref::<WithKind>() {
            Some(with_kind) => lines.extend(with_kind.error.chain().map(ToString::to_string)),
            None => lines.push(cause.to_string()),
        }
    }
    // A wrapper and its wrapped error may say the same sentence.
    lines.dedup();
    // What lists several mistakes has marked each of them already.
    let first = lines.first().map_or("", String::as_str);
    let marked = if first.starts_with("error:") { "" } else { "error: " };
    format!("{marked}{}", lines.join("\n  because: "))
}

#[allow(clippy::print_stderr, reason = "the program's last word, after logging has ended")]
fn eprint_line(text: &str) {
    eprintln!("{}", text.trim_end());
}

impl Kind {
    pub fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Kind::Failed => 1,
            Kind::BadData => 65,
            Kind::Unavailable => 69,
            Kind::BadConfiguration => 78,
        })
    }
}

impl fmt::Display for WithKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for WithKind {}
