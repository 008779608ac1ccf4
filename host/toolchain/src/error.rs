//! Why there is no component.

use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::tool::Version;

/// Why a project could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("building {language} needs {tool} {expected} or newer, which is not there; {remedy}")]
    MissingTool { language: &'static str, tool: &'static str, expected: Version, remedy: Box<Remedy> },
    #[error("building {language} needs {tool} {expected} or newer, and `{command}` is {found}; {remedy}")]
    OldTool {
        language: &'static str,
        tool: &'static str,
        command: String,
        found: Version,
        expected: Version,
        remedy: Box<Remedy>,
    },
    /// It is there, and nobody would find out why it does not run if it were told as missing.
    #[error("building {language} needs {tool} {expected} or newer, and `{}` {why}; {remedy}", .program.display())]
    BrokenTool {
        language: &'static str,
        tool: &'static str,
        expected: Version,
        program: PathBuf,
        why: String,
        remedy: Box<Remedy>,
    },
    #[error("{missing}; {remedy}")]
    MissingPart { missing: String, remedy: Box<Remedy> },
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

/// The one command that helps, and where to type it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    pub command: String,
    /// The folder, as whoever asked for the build called it. `None`: anywhere.
    pub dir: Option<PathBuf>,
}

// === impl Remedy ===

impl Remedy {
    /// Boxed, because every result of a build has room for an error.
    pub(crate) fn new(command: impl Into<String>, dir: Option<&Path>) -> Box<Self> {
        Box::new(Self { command: command.into(), dir: dir.map(Path::to_owned) })
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_here = |dir: &&PathBuf| dir.components().all(|part| part == Component::CurDir);
        match self.dir.as_ref().filter(|dir| !is_here(dir)) {
            Some(dir) => write!(f, "in `{}` this gets it:\n    {}", dir.display(), self.command),
            None => write!(f, "this gets it:\n    {}", self.command),
        }
    }
}

// === impl BuildError ===

impl BuildError {
    /// Whether the machine lacks something: then building may succeed later, though nothing in the project changes.
    pub fn is_of_the_machine(&self) -> bool {
        matches!(
            self,
            Self::MissingTool { .. } | Self::OldTool { .. } | Self::BrokenTool { .. } | Self::MissingPart { .. }
        )
    }
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
