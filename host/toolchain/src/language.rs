//! The languages: what tells a project of each, and who builds it.

mod c;
mod go;
mod javascript;
mod native;
mod python;
mod rust;
mod zig;

use std::path::Path;

use tidemill_core::config::manifest::Language;

use crate::bench::Bench;
use crate::error::BuildError;

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
    if has("package.json") {
        return Some(if javascript::is_typed(dir) { Language::TypeScript } else { Language::JavaScript });
    }
    if python::is_in(dir) {
        return Some(Language::Python);
    }
    if has("go.mod") {
        return Some(Language::Go);
    }
    let loose = [(zig::ZIG, Language::Zig), (c::CPP, Language::Cpp), (c::C, Language::C)];
    loose.into_iter().find(|(extensions, _)| native::has(dir, extensions)).map(|(_, language)| language)
}

/// What tells a plugin project, for people.
pub(crate) fn signs() -> &'static str {
    "Cargo.toml, package.json, pyproject.toml, go.mod, *.c, *.cpp, *.zig"
}

/// Builds the project with its language's tools.
pub(crate) fn build(bench: &Bench<'_>) -> Result<Output, BuildError> {
    match bench.project.language {
        Language::Rust => rust::build(bench),
        Language::JavaScript | Language::TypeScript => javascript::build(bench),
        Language::Python => python::build(bench),
        Language::Go => go::build(bench),
        Language::C | Language::Cpp => c::build(bench),
        Language::Zig => zig::build(bench),
    }
}

/// What has to be typed once in a new project, so that the tools are there.
pub(crate) fn setup(language: Language) -> Option<&'static str> {
    match language {
        Language::JavaScript | Language::TypeScript => Some(javascript::INSTALL),
        Language::Python => Some(python::SETUP),
        Language::Rust | Language::Go | Language::C | Language::Cpp | Language::Zig => None,
    }
}

/// What runs the tests of a project, in the language's own runner.
pub(crate) fn test_command(language: Language) -> &'static str {
    match language {
        Language::Rust => "cargo test",
        Language::JavaScript | Language::TypeScript => "npm test",
        Language::Python => "python3 -m unittest",
        Language::Go => "go test ./...",
        Language::C | Language::Cpp | Language::Zig => "make test",
    }
}
