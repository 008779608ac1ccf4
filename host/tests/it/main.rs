//! The whole product, as its users meet it: the real binary, real components, a real `nats-server`, real files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit;
mod cases;
mod cli;
mod compiling;
mod conservation;
mod docs;
mod harness;
mod plugins;
mod shop;
