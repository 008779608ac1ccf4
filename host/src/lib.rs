//! The binary's rooms, opened to its integration tests.
//!
//! No event logic lives here: [`cli`] reads what the user wants, [`app`] builds brokers, engine and routes from the
//! configuration and runs them, [`control`] lets other processes of this machine reach a running host.

pub mod app;
pub mod audit;
pub mod cli;
pub mod control;
pub mod exit;
pub mod feed;
pub mod files;
pub mod signal;
pub mod summary;
pub mod telemetry;
