//! Log lines: a sentence, then fields. To standard error, so that standard output stays a command's answer.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::UtcTime;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// Starts logging at `level`, unless `TIDEMILL_LOG` says more (the syntax of `RUST_LOG`).
pub fn start(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_from_env("TIDEMILL_LOG").unwrap_or_else(|_| {
        EnvFilter::new(format!("warn,async_nats=warn,tidemill={level},tidemill_core={level},tidemill_engine={level},tidemill_nats={level},tidemill_embedded={level},plugin={level}"))
    });
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
