//! The embedded broker: streams, routes' positions, retries, state and dead letters of one process on one machine.
//!
//! [`EmbeddedBroker::open`] keeps them in a directory, on the storage engine fjall; what is acknowledged is on disk.
//! [`EmbeddedBroker::in_memory`] is the same code on maps, for tests. Whoever outgrows one process sets `broker.nats` and
//! changes nothing else: both pass the suite `tidemill_core::conformance`.
//!
//! ```text
//! callers ──jobs──▶ writer ──one batch, one sync──▶ store ◀──range reads── sources
//!                     │  decides inside one transaction          ▲
//!                     └──── settles in the routes' positions ────┘
//! ```
//!
//! One thread writes. It takes every job that waits, lets each decide and write in one transaction, makes the whole
//! group durable with a single sync, and then answers all of them. So a sync is paid per group and not per event, and
//! no decision needs a lock that outlives it: revisions, ids and settlements are compared where they are changed.
//!
//! Modules in reading order.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod broker;
mod commit;
mod dead_letters;
mod directory;
mod keys;
mod ledger;
mod log;
mod opening;
mod position;
mod publish;
mod reader;
mod retention;
mod retry;
mod route;
mod row;
mod source;
mod state;
mod store;
mod stream;
mod transaction;
mod writer;

pub use broker::EmbeddedBroker;
