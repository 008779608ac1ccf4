//! Against a real PostgreSQL, which each test program starts for itself; those that disturb it have one of their own.
//!
//! The server comes from the folder `POSTGRES_BIN`, else from the `PATH` or from where Debian puts it. A test that cannot get it
//! fails; it does not skip.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod fencing;
mod outages;
mod proxy;
mod refusals;
mod server;
mod tables;
mod tls;
mod world;
