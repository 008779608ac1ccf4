//! Everything wasmtime: an event goes in, a component is called, what it wants comes out.
//!
//! ```text
//! engine ── load ──> plugin ── lease ──> instance ── call ──> effects or failure
//! (once)   (per build)        (per event)  (reused)           (decided in `failure`)
//! ```
//!
//! Loading takes machine code from the cache, else from a compiler apart: `code`, `cache`, `compiler`.
//!
//! What must stay true: a guest runs only under a deadline, a CPU and a memory limit and the grant of its route; nothing it
//! does ends or blocks the host; after a call that did not end by itself its store is gone. Other packages see the types
//! below and no type of wasmtime's.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod audit;
mod bindings;
mod cache;
mod call_log;
mod code;
mod compiler;
mod component;
mod cpu;
mod engine;
mod exports;
mod failure;
mod guest;
mod http;
mod imports;
mod instance;
mod limiter;
mod outlet;
mod plugin;
mod pool;
mod reach;
mod redact;
mod settings;
mod stage;
mod start_guard;
mod stdio;
mod ticker;

pub use audit::{Recorder, Tried};
pub use call_log::Level;
pub use compiler::{ChildCompiler, CompileError, CompileLimits, Compiler, compile_child};
pub use component::LoadError;
pub use component::{PACKAGE as CONTRACT, SERVED as CONTRACT_VERSIONS};
pub use engine::{Engine, EngineError, EngineOptions};
pub use http::{Network, Resolve, System};
pub use plugin::{Description, Plugin};
pub use stage::{Answer, Answers, LogLine, Performance, Request, Requests, Scene, Stage, Voice};

/// The version of wasmtime that plugins are compiled and run with. wasmtime does not tell it at run time.
pub const WASMTIME_VERSION: &str = "48.0.8";

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_is_the_one_that_is_built_in() {
        let lock = include_str!("../../../Cargo.lock");
        let entry = lock.split("[[package]]").find(|entry| entry.contains("\nname = \"wasmtime\"\n")).unwrap();
        assert!(entry.contains(&format!("\nversion = \"{}\"\n", super::WASMTIME_VERSION)), "{entry}");
    }
}
