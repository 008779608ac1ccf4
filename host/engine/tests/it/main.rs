//! The engine seen from outside: components go in, events go in, effects and failures come out.
//!
//! The guests are WebAssembly text, made into components here, so that no guest toolchain is needed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod artifacts;
mod cpu;
mod floods;
mod grants;
mod guest;
mod handling;
mod hostile;
mod http;
mod instances;
mod isolation;
mod loading;
mod logging;
mod memory;
mod projections;
mod queries;
mod read_models;
mod rig;
mod script;
mod server;
mod shop;
mod stage;
mod state;
mod tls;
mod versions;
