//! The gateway over real sockets, as its clients meet it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod client;
mod documentation;
mod events;
mod host;
mod limits;
mod observing;
mod reads;
mod rig;
mod store;
mod tls;
