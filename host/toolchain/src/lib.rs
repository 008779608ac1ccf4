//! Plugin projects: a folder with sources goes in, a component comes out; and how such a folder begins.
//!
//! ```text
//! folder ── project ── language ── tools ──> component ──────────────── strip ──> bytes
//!          (what is it) (a recipe) (found, run)  module ── complete ──┘
//! ```
//!
//! Every language is a file below `language/`: what tells its projects, which tools it needs, and how they are called. What the
//! tools of a language do not do (the contract's description in a module, the adapter from WASI 0.1 to 0.2, stripping) is done
//! here, in process, so that nobody has to install a tool for it.
//!
//! What must stay true: nothing is downloaded here. A tool that is missing is an error that names the one command that brings it.
//! Nothing here knows wasmtime: whether a host would take the component is asked of the engine, by the command line.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod bench;
mod complete;
mod entry;
mod error;
mod language;
mod project;
mod scaffold;
mod sdk;
mod sources;
mod strip;
mod tool;

pub use bench::Progress;
pub use error::{BuildError, Remedy};
pub use project::{Project, ProjectError};
pub use scaffold::{Kind, NewApp, NewError, NewProject};
pub use sources::Sources;
pub use tidemill_core::config::manifest::{Language, World};
pub use tool::own_ancestors;

use bench::Bench;
use language::Output;

/// How to build.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Keeps debug information, so that a trap's backtrace names files and lines. The component is several times as large.
    pub debug: bool,
    /// Is told each step before it begins.
    pub progress: Progress<'a>,
}

/// Builds a project and answers the component's bytes. Runs the language's own tools and waits for them: seconds, the first
/// time of a Rust project some tens of them.
pub fn build(project: &Project, options: Options<'_>) -> Result<Vec<u8>, BuildError> {
    let bench = Bench::new(project, options);
    let component = match language::build(&bench)? {
        Output::Component(component) => {
            entry::check(&component, project)?;
            component
        }
        Output::Module(module) => {
            entry::check(&module, project)?;
            bench.say("completing the component");
            complete::complete(&module, project.world())?
        }
    };
    if options.debug { Ok(component) } else { strip::strip(&component).map_err(BuildError::Damaged) }
}
