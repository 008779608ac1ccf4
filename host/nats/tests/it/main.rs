//! `NatsBroker` against a real `nats-server`, one server per test, killed and restarted where the test says so.
//!
//! The server comes from `NATS_SERVER`, else from the `PATH`. A test that cannot get it fails; it does not skip.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod connecting;
mod crashes;
mod outages;
mod provisioning;
mod reading;
mod recreated;
mod refusals;
mod retries;
mod server;
mod unreadable;
