//! Read models in PostgreSQL, for several hosts.
//!
//! ```text
//! fold ───read, find──▶ sessions ──▶ d7_0, d7_1   the collections of the copy with the id 7
//!      ───commit──────▶   (few)  ──▶ copies       which there are, which is active, where each stands
//! people ──query──▶ sessions of their own ──▶     the same, within a time limit
//! hosts ──claim, renew──▶        ──▶ projections  who may write, by the server's clock
//! ```
//!
//! Whoever writes has claimed the projection: a row says who, until when, and counts the claims. Every transaction that writes
//! locks this row and compares the count, so a host that was replaced while it slept cannot commit, and one that is about
//! to commit cannot be replaced until it has.
//!
//! Nothing waits for ever: sessions are few and waited for with a limit, each request has one, on the server and here, and a
//! session that broke off in the middle is closed instead of used again.
//!
//! Modules in reading order.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod batch;
mod copies;
mod lease;
mod problem;
mod question;
mod schema;
mod session;
mod sessions;
mod store;
mod tls;
mod url;

pub use store::PostgresStore;
