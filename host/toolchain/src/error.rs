//! Why there is no component.

use std::io;
use std::path::PathBuf;

use crate::tool::Version;

/// Why a project could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("building {language} needs {tool}, which is not there; this gets it:\n    {install}")]
    MissingTool { language: &'static str, tool: String, install: &'static str },
    #[error(
        "building {language} needs {tool} {expected} or newer, and `{command}` is {found}; this gets it:\n    {install}"
    )]
    OldTool {
        language: &'static str,
        tool: &'static str,
        command: String,
        found: Version,
        expected: Version,
        install: &'static str,
    },
    #[error("{missing}; this gets it:\n    {install}")]
    MissingPart { missing: String, install: String },
    #[error("`{command}` failed{}", indented(.output))]
    Failed { command: String, output: String },
    #[error("`{command}` could not be started: {error}")]
    NotStarted { command: String, error: io::Error },
    #[error("`{command}` succeeded, but {missing}")]
    NoOutput { command: String, missing: String },
    #[error("there is no {what} in `{}`; {hint}", .dir.display())]
    NoSource { what: &'static str, dir: PathBuf, hint: String },
    #[error("`{}`: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("the code has no {what} that a host could call; {hint}")]
    NoEntry { what: &'static str, hint: &'static str },
    #[error("the code is a {found}, but a {expected} is expected: `world` in plugin.yaml says which of them it is")]
    OtherEntry { found: &'static str, expected: &'static str },
    #[error(
        "the module cannot become a component of the world `{world}`: {why}; does the code export what the world asks for, and does `world` in plugin.yaml say what it is?"
    )]
    NotThisWorld { world: &'static str, why: String },
    #[error("what the tools built is damaged: {0}")]
    Damaged(String),
}

/// What a tool printed, set off from the sentence before it.
fn indented(output: &str) -> String {
    let output = output.trim_end();
    if output.is_empty() {
        return " and printed nothing".to_owned();
    }
    let lines: Vec<String> = output.lines().map(|line| format!("  {line}")).collect();
    format!(":\n{}", lines.join("\n"))
}
