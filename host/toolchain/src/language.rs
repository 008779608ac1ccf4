//! The languages: what tells a project of each, and who builds it.

mod go;
mod rust;

use std::path::Path;

use tidemill_core::config::manifest::Language;

use crate::bench::Bench;
use crate::error::BuildError;
use crate::project::Project;
use crate::tool::Tool;

/// What the tools of a language make.
pub(crate) enum Output {
    Component(Vec<u8>),
    /// A core module that follows the canonical ABI of the contract, for WASI 0.1.
    Module(Vec<u8>),
}

/// Which language the files of a folder are written in. A project's own file decides before loose sources do.
pub(crate) fn detect(dir: &Path) -> Option<Language> {
    let has = |name: &str| dir.join(name).is_file();
    if has("Cargo.toml") {
        return Some(Language::Rust);
    }
    if has("go.mod") {
        return Some(Language::Go);
    }
    None
}

/// What tells a plugin project, for people.
pub(crate) fn signs() -> &'static str {
    "Cargo.toml, package.json, pyproject.toml, go.mod, *.c, *.cpp, *.zig"
}

/// Builds the project with its language's tools.
pub(crate) fn build(bench: &Bench<'_>) -> Result<Output, BuildError> {
    match bench.project.language {
        Language::Rust => rust::build(bench),
        Language::Go => go::build(bench),
        _ => todo!(),
    }
}

/// What building the project needs.
pub(crate) fn tools(project: &Project) -> Vec<&'static Tool> {
    match project.language {
        Language::Rust => rust::TOOLS.iter().collect(),
        Language::Go => go::TOOLS.iter().collect(),
        _ => todo!(),
    }
}

/// What has to be typed once in a new project, so that the tools are there.
pub(crate) fn setup(language: Language) -> Option<&'static str> {
    match language {
        Language::Rust | Language::Go => None,
        _ => todo!(),
    }
}

/// What runs the tests of a project, in the language's own runner.
pub(crate) fn test_command(language: Language) -> &'static str {
    match language {
        Language::Rust => "cargo test",
        Language::Go => "go test ./...",
        _ => todo!(),
    }
}
