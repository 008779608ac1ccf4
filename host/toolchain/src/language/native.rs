//! What C, C++ and Zig have in common: one run of the Zig compiler, which is a C and C++ compiler with a C library for WASI in it,
//! makes a core module of the project's sources and the SDK's.
//!
//! Clang with a WASI sysroot could build C as well. It is not offered: it is no package of the registries, and one compiler is one
//! behaviour.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::Output;
use crate::bench::Bench;
use crate::entry;
use crate::error::BuildError;
use crate::tool::{Help, Own, Tool, Version};

const ZIG: Tool = Tool {
    name: "zig",
    commands: &[&["zig"], &["python3", "-m", "ziglang"]],
    own: Own::Pip,
    version: &["version"],
    environment: &[],
    // The native tests of a project in Zig pass structures by value to C, which 0.15 gets wrong without LLVM.
    at_least: Version(0, 16, 0),
    // Into an environment of the project's own: Debian's pip, and Homebrew's, refuse to install into the machine's.
    help: Help {
        get: "python3 -m venv .venv && .venv/bin/pip install ziglang==0.17.0",
        again: "python3 -m venv --clear .venv && .venv/bin/pip install ziglang==0.17.0",
        in_project: true,
    },
};

/// Where `tidemill new` put the SDK; a project that lies beside the SDK has a link there.
const SDK: &str = "vendor/tidemill";

/// Left to itself Zig reserves 16 MiB, which every instance would then have to be allowed. The SDK needs a few KiB.
const STACK_BYTES: &str = "131072";

/// An outcome that nobody looks at is a failure that nobody hears of.
const CHECKED: &str = "-Werror=unused-result";

/// A project's files: those in its folder `src` or, without one, those in the folder itself. Paths are told as seen from the
/// project, where the compiler runs, so that its messages name files as people do.
pub(super) struct Files<'a> {
    bench: &'a Bench<'a>,
}

// === impl Files ===

impl<'a> Files<'a> {
    pub(super) fn of(bench: &'a Bench<'a>) -> Self {
        Self { bench }
    }

    /// The project's sources with these extensions.
    pub(super) fn sources(&self, extensions: &[&str]) -> Vec<PathBuf> {
        self.listed(source_folder(&self.bench.project.dir), extensions)
    }

    /// The source on which the others hang.
    pub(super) fn root(&self, name: &'static str) -> Result<PathBuf, BuildError> {
        let folder = source_folder(&self.bench.project.dir);
        let missing = || BuildError::NoSource {
            what: name,
            dir: folder.clone(),
            hint: "it exports the handler or projection, and imports the project's other files".to_owned(),
        };
        let path = folder.join(name);
        path.is_file().then(|| self.relative(&path)).ok_or_else(missing)
    }

    /// The SDK's folder.
    pub(super) fn sdk(&self) -> Result<PathBuf, BuildError> {
        if self.bench.project.dir.join(SDK).join("tidemill.h").is_file() {
            return Ok(PathBuf::from(SDK));
        }
        Err(BuildError::NoSource {
            what: "vendor/tidemill/tidemill.h",
            dir: self.bench.project.dir.clone(),
            hint: "`tidemill new` puts the SDK there; a link to sdk/c of Tidemill's repository does as well".to_owned(),
        })
    }

    /// The SDK as arguments: its headers and its sources in C.
    pub(super) fn sdk_arguments(&self) -> Result<Vec<OsString>, BuildError> {
        let sdk = self.sdk()?;
        let world = sdk.join("component").join(self.bench.project.world().word());
        let mut arguments = vec![prefixed("-I", &sdk), prefixed("-I", &world), "-lc".into()];
        let folders = ["src", "component"].map(|folder| self.bench.project.dir.join(SDK).join(folder));
        let files = folders.into_iter().flat_map(|folder| self.listed(folder, &["c"])).collect();
        arguments.extend(self.compiled(&["-std=gnu17"], files));
        Ok(arguments)
    }

    /// Files, and what they are compiled with.
    pub(super) fn compiled(&self, flags: &[&str], files: Vec<PathBuf>) -> Vec<OsString> {
        if files.is_empty() {
            return Vec::new();
        }
        let world = format!("-DTIDEMILL_{}", self.bench.project.world().word().to_uppercase().replace('-', "_"));
        let mut arguments = words(&["-cflags", CHECKED]);
        arguments.extend(words(flags));
        arguments.extend([world.into(), "--".into()]);
        arguments.extend(files.into_iter().map(OsString::from));
        arguments
    }

    fn listed(&self, folder: PathBuf, extensions: &[&str]) -> Vec<PathBuf> {
        with_extension(&folder, extensions).iter().map(|file| self.relative(file)).collect()
    }

    fn relative(&self, file: &Path) -> PathBuf {
        file.strip_prefix(&self.bench.project.dir).map_or_else(|_| file.to_owned(), Path::to_owned)
    }
}

/// Makes a core module of what `arguments` name.
pub(super) fn module(bench: &Bench<'_>, arguments: Vec<OsString>) -> Result<Output, BuildError> {
    let zig = bench.tool(&ZIG)?;
    let made = bench.scratch()?.join("plugin.core.wasm");
    let mut all =
        words(&["build-exe", "--name", "plugin", "-mexec-model=reactor", "-fno-entry", "--stack", STACK_BYTES]);
    all.extend([prefixed("-femit-bin=", &made), "--cache-dir".into(), bench.scratch()?.join("zig-cache").into()]);
    all.extend(target(bench));
    all.extend(arguments);
    bench
        .run(bench.step(&zig, all))
        .map_err(|error| if is_without_entry(&error) { entry::missing(bench.project) } else { error })?;
    bench.read(&made).map(Output::Module)
}

/// Whether all that is missing are the functions by which the SDK calls the plugin. Only the linker knows, and it only says so.
fn is_without_entry(error: &BuildError) -> bool {
    const ENTRIES: [&str; 3] = ["tidemill_handle", "tidemill_apply", "tidemill_query"];
    let BuildError::Failed { output, .. } = error else { return false };
    let mut undefined = output.lines().filter_map(|line| line.split_once("undefined symbol: "));
    let is_entry = |(_, symbol): (&str, &str)| ENTRIES.contains(&symbol.trim());
    undefined.next().is_some_and(is_entry) && undefined.all(is_entry)
}

/// Optimised, with checks: a handler that goes on after a failed `assert`, an index out of bounds or an overflow makes effects that
/// become durable, and one that traps is tried again, and is a dead letter in the end. C is compiled with `assert` and with the
/// sanitizer for undefined behaviour, which traps. A component of a small handler has 14 KB more than from `ReleaseSmall`, in Zig 40.
const MODE: &str = "ReleaseSafe";

/// What is compiled for, and how.
pub(super) fn target(bench: &Bench<'_>) -> Vec<OsString> {
    let strip = if bench.debug() { "-fno-strip" } else { "-fstrip" };
    words(&["-target", "wasm32-wasi", "-O", MODE, strip])
}

/// Whether a project in this folder would have sources with one of these extensions.
pub(super) fn has(dir: &Path, extensions: &[&str]) -> bool {
    !with_extension(&source_folder(dir), extensions).is_empty()
}

fn source_folder(dir: &Path) -> PathBuf {
    let src = dir.join("src");
    if src.is_dir() { src } else { dir.to_owned() }
}

/// The files of a folder, in the order of their names.
fn with_extension(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let wanted =
        |path: &PathBuf| path.extension().is_some_and(|found| extensions.iter().any(|wanted| found == *wanted));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(wanted).collect();
    files.sort();
    files
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// A path right behind an option, as in `-Ifolder`.
pub(super) fn prefixed(prefix: &str, path: &Path) -> OsString {
    let mut word = OsString::from(prefix);
    word.push(path);
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::tests::write_program;
    use crate::{Options, Project};

    /// A compiler that says what it was called with.
    const COMPILER: &str =
        "#!/bin/sh\nif [ \"$1\" = version ]; then echo 0.17.0; exit; fi\nprintf '%s\\n' \"$@\"\nexit 1\n";

    /// What the compiler of a project with this source is called with.
    fn arguments(source: &str) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("one");
        for file in [&format!("src/{source}"), "vendor/tidemill/tidemill.h", "vendor/tidemill/src/memory.c"] {
            let file = dir.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        write_program(&dir.join(".venv/bin/zig"), COMPILER);
        let project = Project::open(&dir).unwrap();
        match crate::build(&project, Options { debug: false, progress: &|_| {} }) {
            Err(BuildError::Failed { output, .. }) => output.lines().map(str::to_owned).collect(),
            other => panic!("{:?}", other.map(|component| component.len())),
        }
    }

    /// The words after each `-O`.
    fn modes(arguments: &[String]) -> Vec<&str> {
        arguments.windows(2).filter(|pair| pair[0] == "-O").map(|pair| pair[1].as_str()).collect()
    }

    #[test]
    fn what_goes_wrong_in_a_plugin_is_a_trap_and_no_wrong_answer() {
        for source in ["one.c", "one.cpp"] {
            let arguments = arguments(source);
            assert_eq!(modes(&arguments), ["ReleaseSafe"], "{source}: `assert` and the sanitizer's traps are in it");
            let off = |word: &&String| word.starts_with("-DNDEBUG") || word.starts_with("-fno-sanitize");
            assert_eq!(arguments.iter().find(off), None, "{source}");
        }
        // The project's and the SDK's module, each with its own.
        assert_eq!(modes(&arguments("main.zig")), ["ReleaseSafe", "ReleaseSafe"]);
    }

    #[test]
    fn the_library_of_cpp_checks_what_it_is_asked() {
        let checks = |source| {
            let arguments = arguments(source);
            arguments.iter().any(|word| word == "-D_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_FAST")
        };
        assert!(checks("one.cpp"));
        assert!(!checks("one.c"), "C has no such library");
    }
}
