//! Read models in SQLite files, for one host.
//!
//! ```text
//! fold ───read, find──▶ its connection ◀──commit── a thread for blocking work      copies/orders.3.sqlite
//! people ──query──▶ a few connections that only read ─────────────────────────▶    copies/orders.2.sqlite
//! who is active, paused, claimed ─────────────────────────────────────────────▶    catalogue.sqlite
//! ```
//!
//! Each copy of a read model is a file of its own: a rebuild does not wait for the write lock of the copy that is queried, and
//! removing a copy is removing its file. What is to change in one step, which copy is active, is in the catalogue. Documents
//! and position are in the copy's file, in one transaction.
//!
//! The fold reads and writes through one connection, whose page cache stays valid because nobody else writes the file. A read
//! that finds its page there costs a few microseconds, so it is made where it is asked for, without another thread.
//!
//! Modules in reading order.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod catalogue;
mod claims;
mod copy_file;
mod directory;
mod file;
mod problem;
mod question;
mod readers;
mod store;
mod table;

pub use store::SqliteStore;
