//! The event path and the plugins' state, as behaviour: messages in a broker go in, what is durable afterwards comes out.
//!
//! The broker is the embedded one in memory, wrapped so that it can be away, refuse, or do its work and lose the answer.
//! Guests are closures. The clock is paused, so minutes of waiting cost nothing and every run is the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod faulty;
mod flow;
mod loops;
mod memory_store;
mod outcomes;
mod projection_rig;
mod projections;
mod projections_failing;
mod projections_holding;
mod projections_rebuilding;
mod rig;
mod sharing;
mod state;
mod stopping;
mod stores;
mod swapping;
mod views;
