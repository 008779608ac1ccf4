//! A program of somebody else's: where it is, which version it is, and how to get it.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::BuildError;

/// A program that a language needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    /// What people call it.
    pub(crate) name: &'static str,
    /// Ways to call it; the first that is there is taken. The first word is a program, sought in the project's own folders
    /// and on the `PATH`.
    pub(crate) commands: &'static [&'static [&'static str]],
    /// What makes it print its version.
    pub(crate) version: &'static [&'static str],
    /// The oldest version that is known to work.
    pub(crate) at_least: Version,
    /// The one command that brings it.
    pub(crate) install: &'static str,
}

/// A tool on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The program and what comes before its own arguments.
    pub(crate) command: Vec<OsString>,
}

/// `1.95.0`: what is not said is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

// === impl Tool ===

impl Tool {
    /// Finds the tool for a project in `dir`, and asks it for its version.
    pub(crate) fn find(&self, dir: &Path, language: &'static str) -> Result<Found, BuildError> {
        let mut old = None;
        for command in self.commands {
            let Some(program) = program(command[0], dir) else { continue };
            let found = Found::new(program, &command[1..]);
            let Some(version) = found.version(self.version) else { continue };
            if version >= self.at_least {
                return Ok(found);
            }
            old = old.or(Some((command.join(" "), version)));
        }
        Err(match old {
            Some((command, found)) => BuildError::OldTool {
                language,
                tool: self.name,
                command,
                found,
                expected: self.at_least,
                install: self.install,
            },
            None => BuildError::MissingTool {
                language,
                tool: format!("{} {} or newer", self.name, self.at_least),
                install: self.install,
            },
        })
    }
}

// === impl Found ===

impl Found {
    fn new(program: PathBuf, first: &[&str]) -> Self {
        let first = first.iter().map(OsString::from);
        Self { command: [program.into_os_string()].into_iter().chain(first).collect() }
    }

    /// `None`: it cannot be started, fails, or prints no number. Such a program is as good as none: a launcher whose tool is
    /// not installed behaves like that.
    fn version(&self, arguments: &[&str]) -> Option<Version> {
        let output = Command::new(&self.command[0])
            .args(&self.command[1..])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        let text = String::from_utf8_lossy(if output.stdout.is_empty() { &output.stderr } else { &output.stdout });
        Version::within(&text)
    }
}

// === impl Version ===

impl Version {
    /// The first version in a text such as `go version go1.26.8 linux/amd64`.
    fn within(text: &str) -> Option<Self> {
        let from = text.char_indices().find(|(at, character)| {
            character.is_ascii_digit()
                && !text[..*at].ends_with(|before: char| before == '.' || before.is_ascii_digit())
        });
        let text = &text[from?.0..];
        let end = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
        let mut parts = text[..end].split('.').map(|part| part.parse().unwrap_or(0));
        let mut part = || parts.next().unwrap_or(0);
        Some(Self(part(), part(), part()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(major, minor, patch) = self;
        match (minor, patch) {
            (0, 0) => write!(f, "{major}"),
            (_, 0) => write!(f, "{major}.{minor}"),
            _ => write!(f, "{major}.{minor}.{patch}"),
        }
    }
}

/// Where a program is: what the project has installed for itself (npm's and Python's usual folders, here or further up), then
/// the `PATH`.
fn program(name: &str, dir: &Path) -> Option<PathBuf> {
    let dir = std::path::absolute(dir).ok()?;
    let own = dir.ancestors().flat_map(|dir| [dir.join("node_modules/.bin"), dir.join(".venv/bin")]);
    let path = env::var_os("PATH").unwrap_or_default();
    own.chain(env::split_paths(&path)).map(|dir| dir.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_tools_print() {
        for (text, expected) in [
            ("rustc 1.95.0 (59807616e 2026-04-14)", Some(Version(1, 95, 0))),
            ("go version go1.26.8 linux/amd64", Some(Version(1, 26, 8))),
            ("v20.20.2\n", Some(Version(20, 20, 2))),
            ("Python 3.11.7", Some(Version(3, 11, 7))),
            ("0.17.0", Some(Version(0, 17, 0))),
            ("componentize-py 0.25.1", Some(Version(0, 25, 1))),
            ("version 12", Some(Version(12, 0, 0))),
            ("none", None),
            ("", None),
        ] {
            assert_eq!(Version::within(text), expected, "{text}");
        }
    }

    const SH: Tool = Tool {
        name: "a shell",
        commands: &[&["no-such-program-7c1"], &["sh", "-c"]],
        version: &["echo 4.2"],
        at_least: Version(4, 1, 0),
        install: "apt-get install dash",
    };

    #[test]
    fn the_first_command_that_answers_is_taken() {
        let found = SH.find(Path::new("."), "Shell").unwrap();
        assert!(found.command[0].to_string_lossy().ends_with("/sh"), "{found:?}");
    }

    #[test]
    fn what_is_missing_or_old_is_told_with_the_command_that_helps() {
        let missing = Tool { commands: &[&["no-such-program-7c1"]], ..SH }.find(Path::new("."), "Shell").unwrap_err();
        assert_eq!(
            missing.to_string(),
            "building Shell needs a shell 4.1 or newer, which is not there; this gets it:\n    apt-get install dash"
        );
        let old = Tool { at_least: Version(5, 0, 0), ..SH }.find(Path::new("."), "Shell").unwrap_err();
        assert_eq!(
            old.to_string(),
            "building Shell needs a shell 5 or newer, and `sh -c` is 4.2; this gets it:\n    apt-get install dash"
        );
        let silent = Tool { version: &["exit 3"], ..SH }.find(Path::new("."), "Shell").unwrap_err();
        assert!(matches!(silent, BuildError::MissingTool { .. }), "{silent}");
    }

    #[test]
    fn what_a_project_has_installed_goes_first() {
        let project = tempfile::tempdir().unwrap();
        let bin = project.path().join("node_modules/.bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::os::unix::fs::symlink("/bin/sh", bin.join("sh")).unwrap();
        let below = project.path().join("plugins/one");
        std::fs::create_dir_all(&below).unwrap();
        assert_eq!(program("sh", &below), Some(bin.join("sh")));
    }
}
