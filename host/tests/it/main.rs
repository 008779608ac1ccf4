//! The whole product, as its users meet it: the real binary, real components, a real `nats-server`, real files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit;
mod cases;
mod cli;
mod compiling;
mod conservation;
mod docs;
mod gateway;
#[path = "../../engine/tests/it/guest.rs"]
#[allow(dead_code, reason = "the engine's tests use the rest of it")]
mod guest;
mod harness;
mod invoke;
mod plugins;
#[path = "../../postgres/tests/it/server.rs"]
#[allow(dead_code, reason = "the store's tests use the rest of it")]
mod postgres;
mod projections;
mod reload;
mod shop;
mod testing;
