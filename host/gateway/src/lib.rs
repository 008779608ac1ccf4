//! The HTTP gateway: events in, read models out, health and metrics.
//!
//! ```text
//! socket ── connection ── gate ── endpoint ── events ──▶ publish
//!  (limits, TLS)  (host, rate, access)   └─── read ────▶ store of read models
//! ```
//!
//! It sees the host through one trait, [`Runtime`], and keeps nothing of its own: what it accepted is in a stream, what it
//! answers comes from a store. Whatever a client sends, in whatever rhythm, costs bounded memory and bounded time; every limit
//! is a line of `http.limits`.
//!
//! Routes are a plain `match` (in `endpoint.rs`): there are nine, and for each one place says its methods, its scope and its name
//! in the metrics. HTTP/1.1 only: a connection is then one request at a time, so the limit on connections is a limit on work,
//! and a proxy in front speaks whatever else is wanted.
//!
//! Modules in reading order.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod access;
mod body;
mod endpoint;
mod events;
mod gate;
pub mod metrics;
mod openapi;
mod parameters;
mod patient;
mod problem;
mod rate;
mod read;
mod reply;
mod runtime;
mod server;
mod service;
mod tls;

pub use problem::{CODES, ProblemKind};
pub use runtime::{Answer, Catalogue, Health, ReadModel, Runtime, Waited};
pub use server::{BindError, Gateway};
