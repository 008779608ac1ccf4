//! The binary's rooms, opened to its integration tests.
//!
//! No event logic lives here: [`cli`] reads what the user wants, [`app`] builds brokers, engine and routes from the
//! configuration and runs them, [`control`] lets other processes of this machine reach a running host.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

pub mod app;
pub mod cli;
pub mod control;
pub mod exit;
pub mod feed;
pub mod files;
pub mod plugins;
pub mod signal;
pub mod summary;
pub mod telemetry;
pub mod watch;
