//! A program of somebody else's: where it is, which version it is, and how to get it.
//!
//! What stands in a project's folders is run, so it matters which folders those are: the project's, and the ones above it that
//! belong to the same repository or application. Above these lies what others may have put there, as in `/tmp`.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{BuildError, Remedy};

/// A program that a language needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    /// What people call it.
    pub(crate) name: &'static str,
    /// Ways to call it; the first that is there is taken. The first word is a program.
    pub(crate) commands: &'static [&'static [&'static str]],
    /// Where a project may have one of its own, which goes before those on the `PATH`.
    pub(crate) own: Own,
    /// What makes it print its version.
    pub(crate) version: &'static [&'static str],
    /// Variables that it is run with, where the user has not set them.
    pub(crate) environment: &'static [(&'static str, &'static str)],
    /// The oldest version that is known to work.
    pub(crate) at_least: Version,
    pub(crate) help: Help,
}

/// What brings a tool. Behind a `#` stands where that comes from which the command itself needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Help {
    /// The one command, where the tool is missing or old.
    pub(crate) get: &'static str,
    /// The one where it is there and does not run: what installs would find it installed.
    pub(crate) again: &'static str,
    /// Whether they install into the folder where they are run, so that it has to be the project's.
    pub(crate) in_project: bool,
}

/// Who puts a tool into a project's folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    Nobody,
    Npm,
    Pip,
}

/// A tool on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The program, by its whole path, and what comes before its own arguments.
    pub(crate) command: Vec<OsString>,
    environment: &'static [(&'static str, &'static str)],
}

/// Why a program has no version.
#[derive(Debug)]
enum Silence {
    /// An interpreter runs, and does not have the module that is the tool.
    NoModule,
    /// It does not run, or says something else; as a clause of a sentence that its name begins.
    Broken(String),
}

/// `1.95.0`: what is not said is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

// === impl Tool ===

impl Tool {
    /// Finds the tool for a project in `dir`, and asks it for its version.
    pub(crate) fn find(&self, dir: &Path, language: &'static str) -> Result<Found, BuildError> {
        let (mut old, mut broken) = (None, None);
        for command in self.commands {
            for program in programs(command[0], self.own, dir) {
                let found = Found::new(program.clone(), &command[1..], self.environment);
                match found.version(self.version, dir) {
                    Ok(version) if version >= self.at_least => return Ok(found),
                    // Another one further on may do: an environment that was made for one tool hides no other.
                    Ok(version) => old = old.or(Some((command.join(" "), version))),
                    Err(Silence::NoModule) => {}
                    // Whoever has a tool of his own means that one: it is told, not passed over.
                    Err(Silence::Broken(why)) => {
                        broken = broken.or(Some((program, why)));
                        break;
                    }
                }
            }
        }
        let (tool, expected) = (self.name, self.at_least);
        Err(match (old, broken) {
            (Some((command, found)), _) => {
                BuildError::OldTool { language, tool, command, found, expected, remedy: self.remedy(dir) }
            }
            (None, Some((program, why))) => {
                let remedy = self.remedy_of(&program, dir);
                BuildError::BrokenTool { language, tool, expected, program, why, remedy }
            }
            (None, None) => BuildError::MissingTool { language, tool, expected, remedy: self.remedy(dir) },
        })
    }

    fn remedy(&self, dir: &Path) -> Box<Remedy> {
        Remedy::new(self.help.get, self.help.in_project.then_some(dir))
    }

    /// What helps where this program does not run. One that the project has is made anew where it lies; one of the machine's need
    /// not be touched where the project gets its own.
    fn remedy_of(&self, program: &Path, dir: &Path) -> Box<Remedy> {
        if !self.help.in_project {
            return Remedy::new(self.help.again, None);
        }
        let folder = self.own.folder().unwrap_or_default();
        let owner = own_folders(dir).into_iter().find(|owner| program.starts_with(owner.join(folder)));
        let Some(owner) = owner else { return self.remedy(dir) };
        let is_project = std::path::absolute(dir).is_ok_and(|dir| dir == owner);
        Remedy::new(self.help.again, Some(if is_project { dir } else { &owner }))
    }
}

// === impl Own ===

impl Own {
    /// The folder with programs, below one of the project's folders.
    fn folder(self) -> Option<&'static str> {
        match self {
            Self::Nobody => None,
            Self::Npm => Some("node_modules/.bin"),
            Self::Pip => Some(".venv/bin"),
        }
    }
}

// === impl Found ===

impl Found {
    fn new(program: PathBuf, first: &[&str], environment: &'static [(&'static str, &'static str)]) -> Self {
        let first = first.iter().map(OsString::from);
        Self { command: [program.into_os_string()].into_iter().chain(first).collect(), environment }
    }

    /// A run of it in a project's folder.
    pub(crate) fn command_in(&self, dir: &Path) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).current_dir(dir).stdin(Stdio::null());
        command.envs(self.environment.iter().filter(|(name, _)| env::var_os(name).is_none()).copied());
        command
    }

    /// Asked where it is going to work: a `rust-toolchain.toml` there, or an environment's settings, decide which version that is.
    fn version(&self, arguments: &[&str], dir: &Path) -> Result<Version, Silence> {
        let output = match self.command_in(dir).args(arguments).output() {
            Ok(output) => output,
            Err(error) => return Err(Silence::Broken(self.not_started(&error))),
        };
        let printed = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
        let printed = String::from_utf8_lossy(printed);
        if !output.status.success() {
            // `python3 -m ziglang` is how ziglang is called, and Python's own being there says nothing of it.
            let is_launcher = self.command.len() > 1;
            if is_launcher && printed.contains("No module named") {
                return Err(Silence::NoModule);
            }
            return Err(Silence::Broken(format!("does not run{}", said(&printed))));
        }
        Version::within(&printed).ok_or_else(|| Silence::Broken(format!("prints no version{}", said(&printed))))
    }

    fn not_started(&self, error: &io::Error) -> String {
        let program = Path::new(&self.command[0]);
        let interpreter = interpreter(program).filter(|_| error.kind() == io::ErrorKind::NotFound);
        match interpreter {
            // The system's own words would be that the program is not there.
            Some(interpreter) => {
                format!("cannot be run, as its first line names `{interpreter}`, which is not there")
            }
            None => format!("cannot be run: {error}"),
        }
    }
}

/// The program that a script's first line names.
fn interpreter(script: &Path) -> Option<String> {
    let mut first = Vec::new();
    // As much as a kernel reads of it.
    fs::File::open(script).ok()?.take(256).read_to_end(&mut first).ok()?;
    let first = String::from_utf8_lossy(&first);
    first.lines().next()?.strip_prefix("#!")?.split_whitespace().next().map(str::to_owned)
}

/// The line of what a tool printed that tells most, as the end of a sentence.
fn said(printed: &str) -> String {
    const CHARACTERS: usize = 200;
    let mut lines = printed.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = match lines.next() {
        // Python says what it was about at the end.
        Some(first) if first.starts_with("Traceback ") => lines.next_back().unwrap_or(first),
        Some(first) => first,
        None => return " and says nothing".to_owned(),
    };
    let line: String = line.chars().take(CHARACTERS).collect();
    format!(" and says `{line}`")
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

/// Where a program is: what the project has installed for itself, then the `PATH`.
fn programs(name: &str, own: Own, dir: &Path) -> Vec<PathBuf> {
    let own = own.folder().into_iter().flat_map(|folder| own_folders(dir).into_iter().map(move |dir| dir.join(folder)));
    let path = env::var_os("PATH").unwrap_or_default();
    // It is run in the project's folder, and a relative `PATH` means this one.
    let files = own.chain(env::split_paths(&path)).filter_map(|dir| std::path::absolute(dir.join(name)).ok());
    files.filter(|file| is_program(file)).collect()
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The folders in which what belongs to a project may be installed: its own, and those above it up to the root of its repository
/// or the folder of its `runtime.yaml`, whichever is further up. Where there is neither, its own alone.
///
/// A folder of another user's, or one into which everybody may write, ends the search: a repository is not begun there.
pub(crate) fn own_folders(dir: &Path) -> Vec<PathBuf> {
    let all = own_ancestors(dir);
    let top = |sign: &str| all.iter().position(|dir| dir.join(sign).exists());
    let last = [".git", "runtime.yaml"].into_iter().filter_map(top).max().unwrap_or(0);
    all[..=last].to_vec()
}

/// A folder and those above it, up to the first that another user owns or that everybody may write into: what lies there or
/// above may be anybody's.
pub fn own_ancestors(dir: &Path) -> Vec<PathBuf> {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let owner = fs::metadata(&dir).map(|meta| meta.uid()).ok();
    let is_ours =
        |dir: &&Path| fs::metadata(dir).is_ok_and(|meta| Some(meta.uid()) == owner && meta.mode() & 0o002 == 0);
    let above = dir.ancestors().skip(1).take_while(is_ours).map(Path::to_owned);
    [dir.clone()].into_iter().chain(above).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The first that is found.
    fn program(name: &str, own: Own, dir: &Path) -> Option<PathBuf> {
        programs(name, own, dir).into_iter().next()
    }

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
        own: Own::Nobody,
        version: &["echo 4.2"],
        environment: &[],
        at_least: Version(4, 1, 0),
        help: Help { get: "apt-get install dash", again: "apt-get install --reinstall dash", in_project: false },
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
    }

    /// A tool that Python's installer would put into the project.
    const PACKAGE: Tool = Tool {
        name: "sheller",
        commands: &[&["no-such-program-7c1"]],
        own: Own::Pip,
        version: &["--version"],
        help: Help { get: "pip install sheller", again: "rm -r .venv && pip install sheller", in_project: true },
        ..SH
    };

    #[test]
    fn what_a_command_installs_into_the_project_is_told_with_the_folder() {
        let said = |dir: &str| PACKAGE.find(Path::new(dir), "Shell").unwrap_err().to_string();
        for (dir, place) in
            [("plugins/one", "in `plugins/one` this gets it"), (".", "this gets it"), ("", "this gets it")]
        {
            assert_eq!(
                said(dir),
                format!(
                    "building Shell needs sheller 4.1 or newer, which is not there; {place}:\n    pip install sheller"
                )
            );
        }
    }

    /// Another process writes it: what this one has open for writing, a child of another test's may hold, and it could not be run.
    pub(crate) fn write_program(file: &Path, text: &str) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let script = r#"printf %s "$1" >"$0" && chmod 755 "$0""#;
        assert!(Command::new("sh").args(["-c", script]).arg(file).arg(text).status().unwrap().success());
    }

    /// A script as the project's own `no-such-program-7c1`, and what is said of it. The project is in `app/plugins/one`.
    fn said_of_script(at: &str, text: &str) -> (tempfile::TempDir, String) {
        let root = tempfile::tempdir().unwrap();
        let project = root.path().join("app/plugins/one");
        fs::create_dir_all(&project).unwrap();
        fs::write(root.path().join("app/runtime.yaml"), "version: 1\n").unwrap();
        let script = root.path().join(at).join(".venv/bin/no-such-program-7c1");
        write_program(&script, text);
        let refused = PACKAGE.find(&project, "Shell").unwrap_err();
        assert!(matches!(&refused, BuildError::BrokenTool { program, .. } if *program == script), "{refused}");
        let text = refused.to_string().replace(root.path().to_str().unwrap(), "");
        (root, text)
    }

    #[test]
    fn what_is_there_and_does_not_run_is_told_with_its_path_and_with_what_makes_it_anew() {
        for (text, why) in [
            (
                "#!/moved/away/.venv/bin/python\n",
                "cannot be run, as its first line names `/moved/away/.venv/bin/python`, which is not there",
            ),
            ("#!/bin/sh\nexit 3\n", "does not run and says nothing"),
            (
                "#!/bin/sh\necho no toolchain is chosen >&2\necho help: choose one >&2\nexit 1\n",
                "does not run and says `no toolchain is chosen`",
            ),
            (
                "#!/bin/sh\necho 'Traceback (most recent call last):\n  File 7\nImportError: no sheller'\nexit 1\n",
                "does not run and says `ImportError: no sheller`",
            ),
            ("#!/bin/sh\necho hello\n", "prints no version and says `hello`"),
        ] {
            assert_eq!(
                said_of_script("app/plugins/one", text).1,
                format!(
                    "building Shell needs sheller 4.1 or newer, and `/app/plugins/one/.venv/bin/no-such-program-7c1` {why}; in `/app/plugins/one` this gets it:\n    rm -r .venv && pip install sheller"
                )
            );
        }
    }

    #[test]
    fn what_does_not_run_is_made_anew_where_it_lies() {
        let (_root, said) = said_of_script("app", "#!/bin/sh\nexit 3\n");
        assert!(said.ends_with("; in `/app` this gets it:\n    rm -r .venv && pip install sheller"), "{said}");
    }

    #[test]
    fn what_the_machine_has_and_does_not_run_is_none_of_the_projects() {
        let dir = tempfile::tempdir().unwrap();
        let refused = Tool { commands: &[&["sh"]], version: &["-c", "exit 3"], ..PACKAGE }.find(dir.path(), "Shell");
        let refused = refused.unwrap_err().to_string();
        let place = format!("; in `{}` this gets it:\n    pip install sheller", dir.path().display());
        assert!(refused.contains("/sh` does not run") && refused.ends_with(&place), "{refused}");
        let refused = Tool { version: &["exit 3"], ..SH }.find(dir.path(), "Shell").unwrap_err().to_string();
        assert!(refused.ends_with("; this gets it:\n    apt-get install --reinstall dash"), "{refused}");
    }

    #[test]
    fn an_interpreter_without_the_module_is_no_broken_tool() {
        let python = Tool { version: &["echo python3: No module named ziglang >&2; exit 1"], ..SH };
        let refused = python.find(Path::new("."), "Shell").unwrap_err();
        assert!(matches!(refused, BuildError::MissingTool { .. }), "{refused}");
    }

    /// A file that is a program, or not.
    fn put(file: &Path, mode: u32) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "#!/bin/sh\necho 1.2.3\n").unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_a_project_has_installed_goes_first() {
        let root = tempfile::tempdir().unwrap();
        let project = root.path().join("plugins/one");
        fs::create_dir_all(&project).unwrap();
        fs::write(root.path().join("runtime.yaml"), "version: 1\n").unwrap();
        let (npm, pip) = (root.path().join("node_modules/.bin/sh"), project.join(".venv/bin/sh"));
        put(&npm, 0o755);
        put(&pip, 0o755);
        assert_eq!(program("sh", Own::Npm, &project), Some(npm));
        assert_eq!(program("sh", Own::Pip, &project), Some(pip));
        let usual = program("sh", Own::Nobody, &project).unwrap();
        assert!(!usual.starts_with(root.path()), "{}", usual.display());
    }

    #[test]
    fn what_lies_above_what_belongs_to_the_project_is_not_run() {
        let root = tempfile::tempdir().unwrap();
        let project = root.path().join("app/plugins/one");
        fs::create_dir_all(&project).unwrap();
        let strange = root.path().join("node_modules/.bin/sh");
        put(&strange, 0o755);
        let found = || program("sh", Own::Npm, &project);
        assert_ne!(found(), Some(strange.clone()), "nothing says where the application ends");
        fs::write(root.path().join("app/runtime.yaml"), "version: 1\n").unwrap();
        assert_ne!(found(), Some(strange.clone()), "it ends below");
        fs::create_dir(root.path().join(".git")).unwrap();
        assert_eq!(found(), Some(strange.clone()), "a repository holds both");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        assert_ne!(found(), Some(strange), "anybody could have put it there, and the repository, too");
    }

    #[test]
    fn an_environment_without_a_tool_hides_no_other() {
        let root = tempfile::tempdir().unwrap();
        let project = root.path().join("one");
        fs::write(root.path().join("runtime.yaml"), "version: 1\n").unwrap();
        write_program(&project.join(".venv/bin/python7"), "#!/bin/sh\necho No module named tool >&2; exit 1\n");
        write_program(&root.path().join(".venv/bin/python7"), "#!/bin/sh\necho 4.2\n");
        let tool = Tool { commands: &[&["python7", "-m", "tool"]], own: Own::Pip, ..SH };
        let found = tool.find(&project, "Shell").unwrap();
        assert_eq!(Path::new(&found.command[0]), root.path().join(".venv/bin/python7"));
    }

    #[test]
    fn a_file_that_cannot_be_run_hides_no_program() {
        let project = tempfile::tempdir().unwrap();
        let file = project.path().join(".venv/bin/sh");
        put(&file, 0o644);
        let found = program("sh", Own::Pip, project.path()).unwrap();
        assert!(found != file && is_program(&found), "{}", found.display());
    }

    #[test]
    fn a_tool_is_asked_where_it_will_work() {
        let project = tempfile::tempdir().unwrap();
        fs::write(project.path().join("version"), "4.1.0\n").unwrap();
        let tool = Tool { version: &["cat version"], ..SH };
        tool.find(project.path(), "Shell").unwrap();
        let other = tempfile::tempdir().unwrap();
        tool.find(other.path(), "Shell").unwrap_err();
    }

    #[test]
    fn a_tool_has_its_variables_unless_the_user_says_otherwise() {
        let tool = Tool {
            version: &["echo $TIDEMILL_TEST_7C1 0 $HOME"],
            environment: &[("TIDEMILL_TEST_7C1", "9.1"), ("HOME", "9.2")],
            ..SH
        };
        let found = tool.find(Path::new("."), "Shell").unwrap();
        let printed = found.command_in(Path::new(".")).arg("echo $TIDEMILL_TEST_7C1 $HOME").output().unwrap();
        let printed = String::from_utf8(printed.stdout).unwrap();
        assert!(printed.starts_with("9.1 ") && !printed.contains("9.2"), "{printed}");
    }
}
