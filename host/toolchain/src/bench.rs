//! Where a project is built: finds tools, runs them in the project's folder, and says what it does.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Options;
use crate::error::BuildError;
use crate::project::Project;
use crate::tool::{Found, Tool};

/// Is told each step before it begins: `cargo build --release …`.
pub type Progress<'a> = &'a dyn Fn(&str);

/// One build of one project.
pub(crate) struct Bench<'a> {
    pub(crate) project: &'a Project,
    options: Options<'a>,
}

/// One run of a tool.
pub(crate) struct Step {
    command: Command,
    /// As a person would type it, without the paths of this machine.
    shown: String,
}

// === impl Bench ===

impl<'a> Bench<'a> {
    pub(crate) fn new(project: &'a Project, options: Options<'a>) -> Self {
        Self { project, options }
    }

    pub(crate) fn say(&self, step: &str) {
        (self.options.progress)(step);
    }

    /// Whether debug information is wanted.
    pub(crate) fn debug(&self) -> bool {
        self.options.debug
    }

    pub(crate) fn tool(&self, tool: &Tool) -> Result<Found, BuildError> {
        tool.find(&self.project.dir, self.project.language.title())
    }

    /// A folder for what is made on the way: `build/` of the project.
    pub(crate) fn scratch(&self) -> Result<PathBuf, BuildError> {
        let dir = self.project.dir.join("build");
        fs::create_dir_all(&dir).map_err(|error| BuildError::Io { path: dir.clone(), error })?;
        std::path::absolute(&dir).map_err(|error| BuildError::Io { path: dir, error })
    }

    /// A run of a tool in the project's folder.
    pub(crate) fn step<A: AsRef<OsStr>>(&self, tool: &Found, arguments: impl IntoIterator<Item = A>) -> Step {
        let mut command = tool.command_in(&self.project.dir);
        command.args(arguments);
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let shown: Vec<String> = words.map(|word| self.shown(word)).collect();
        Step { shown: shown.join(" "), command }
    }

    /// Runs it to its end, and answers its standard output.
    pub(crate) fn run(&self, mut step: Step) -> Result<Vec<u8>, BuildError> {
        self.say(&step.shown);
        let output = match step.command.output() {
            Ok(output) => output,
            Err(error) => return Err(BuildError::NotStarted { command: step.shown, error }),
        };
        if output.status.success() {
            return Ok(output.stdout);
        }
        let printed = [output.stderr, output.stdout].concat();
        Err(BuildError::Failed { command: step.shown, output: String::from_utf8_lossy(&printed).into_owned() })
    }

    pub(crate) fn read(&self, path: &Path) -> Result<Vec<u8>, BuildError> {
        fs::read(path).map_err(|error| BuildError::Io { path: path.to_owned(), error })
    }

    /// A word of a command as a person would type it: a program by its name, a file by its place in the project.
    fn shown(&self, word: &OsStr) -> String {
        let path = Path::new(word);
        let inside =
            std::path::absolute(&self.project.dir).ok().and_then(|dir| path.strip_prefix(dir).ok().map(Path::to_owned));
        match (inside, path.file_name()) {
            (Some(inside), _) if !inside.as_os_str().is_empty() => inside.display().to_string(),
            (None, Some(name)) if path.is_absolute() => name.to_string_lossy().into_owned(),
            _ => word.to_string_lossy().into_owned(),
        }
    }
}

// === impl Step ===

impl Step {
    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// Without the place of the run, for messages about what came of it.
    pub(crate) fn shown(&self) -> String {
        self.shown.clone()
    }
}
