//! The binary's rooms, opened to its integration tests.
//!
//! No event logic lives here. [`cli`] reads what the user wants, [`app`] puts everything together. What lies on disk becomes
//! a [`candidate`], which takes over from what runs:
//!
//! ```text
//! watch ── reload ── candidate ── supervisor ── deployment × plugin, route × routes[]
//! (hints)  (when)    (what, checked) (who runs)
//! ```
//!
//! [`gateway`] lets people and programs in over HTTP, [`stores`] opens the read models that projections write.
//! [`plugins`] and [`provenance`] know the plugins' files, [`control`] lets other processes of this machine reach a running
//! host, [`status`] is what they see.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

pub mod app;
pub mod audit;
pub mod candidate;
pub mod cases;
pub mod cli;
pub mod control;
pub mod deployment;
pub mod exit;
pub mod feed;
pub mod files;
pub mod gateway;
pub mod invoke;
pub mod plugins;
pub mod provenance;
pub mod rehearse;
pub mod reload;
pub mod signal;
pub mod status;
pub mod stores;
pub mod summary;
pub mod supervisor;
pub mod telemetry;
pub mod watch;
pub mod workshop;
