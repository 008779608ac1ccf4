//! The path of one event through Tidemill, as pure decisions and ports.
//!
//! ```text
//! source ── decode ── validate ── route ── handle ── commit ── settle
//! (broker)  (core)    (core)      (core)   (engine)  (broker)  (broker)
//! ```
//!
//! Modules in reading order. Nothing here knows a Wasm engine, a broker's protocol, files or the environment.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

pub mod clock;
pub mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod dead_letter;
mod departing;
pub mod disposition;
pub mod effect;
pub mod envelope;
pub mod event;
pub mod failure;
pub mod filter;
pub mod generation;
pub mod grant;
pub mod hops;
mod incoming;
pub mod json;
pub mod limits;
pub mod message;
pub mod name;
pub mod outbound;
pub mod pipeline;
pub mod port;
pub mod projection;
pub mod read_model;
pub mod rehearsal;
pub mod retry;
pub mod schema;
pub mod state;
pub mod stats;
pub mod subject;
pub mod text;
pub mod trial;

/// The target of log lines about single events: one for each event at `debug`, far too many for a host that works.
pub const EVENTS_TARGET: &str = "tidemill_core::events";
