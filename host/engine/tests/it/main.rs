//! The engine seen from outside: components go in, events go in, effects and failures come out.
//!
//! The guests are WebAssembly text, made into components here, so that no guest toolchain is needed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod grants;
mod guest;
mod handling;
mod hostile;
mod http;
mod instances;
mod loading;
mod logging;
mod rig;
mod server;
mod shop;
mod state;
