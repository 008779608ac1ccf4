//! Log lines: a sentence, then fields. To standard error, so that standard output stays a command's answer.

use std::io::IsTerminal;

use clap::ValueEnum;
use tidemill_core::EVENTS_TARGET as EVENTS;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::UtcTime;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// How much is logged where `TIDEMILL_LOG` says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// What went wrong.
    Error,
    /// And what a person should look at.
    Warn,
    /// And the life of the host.
    Info,
    /// And what became of every event.
    Events,
}

/// Starts logging at `level`, unless `TIDEMILL_LOG` says more (the syntax of `RUST_LOG`).
pub fn start(format: LogFormat, level: Level) {
    let filter = EnvFilter::try_from_env("TIDEMILL_LOG").unwrap_or_else(|_| EnvFilter::new(level.filter()));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_timer(UtcTime::rfc_3339())
        .with_target(false);
    let started = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    // Only a test that starts logging twice gets here, and it has a logger already.
    drop(started);
}

// === impl Level ===

impl Level {
    fn filter(self) -> String {
        let (level, events) = match self {
            Self::Error => ("error", "error"),
            Self::Warn => ("warn", "warn"),
            Self::Info => ("info", "info"),
            Self::Events => ("info", "debug"),
        };
        format!(
            "warn,async_nats=warn,tidemill={level},tidemill_core={level},tidemill_engine={level},tidemill_nats={level},tidemill_embedded={level},plugin={level},{EVENTS}={events}"
        )
    }
}
