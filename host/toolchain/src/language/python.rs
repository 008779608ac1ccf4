//! Python: componentize-py makes a component, with an interpreter in it. How it is called is the SDK's knowledge
//! (`python3 -m tidemill.build`); here the project's own SDK is found and called.

use std::fs;
use std::path::Path;

use super::Output;
use crate::bench::Bench;
use crate::error::BuildError;
use crate::tool::{Help, Own, Tool, Version};

/// Looks for the SDK where the project's pyproject.toml says that modules are, and runs its `tidemill.build`.
const FIND_SDK: &str = include_str!("python/find_sdk.py");

const PYTHON: Tool = Tool {
    name: "Python",
    commands: &[&["python3"], &["python"]],
    own: Own::Pip,
    version: &["--version"],
    environment: &[],
    // The SDK's own syntax, and `tomllib`.
    at_least: Version(3, 11, 0),
    help: Help {
        get: "sudo apt-get install python3 python3-venv    # or from https://www.python.org/downloads",
        again: "sudo apt-get install --reinstall python3 python3-venv    # or from https://www.python.org/downloads",
        in_project: false,
    },
};

const COMPONENTIZE_PY: Tool = Tool {
    name: "componentize-py",
    commands: &[&["componentize-py"]],
    own: Own::Pip,
    version: &["--version"],
    environment: &[],
    // The generated classes that the SDK is written for.
    at_least: Version(0, 25, 0),
    help: Help {
        get: SETUP,
        again: "python3 -m venv --clear .venv && .venv/bin/pip install componentize-py==0.25.1",
        in_project: true,
    },
};

/// Puts the tool into the project's own environment, where packages that the plugin uses go, too.
pub(super) const SETUP: &str = "python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1";

/// Whether a folder is a Python project.
pub(super) fn is_in(dir: &Path) -> bool {
    dir.join("pyproject.toml").is_file()
}

pub(super) fn build(bench: &Bench<'_>) -> Result<Output, BuildError> {
    let python = bench.tool(&PYTHON)?;
    let componentize_py = bench.tool(&COMPONENTIZE_PY)?;
    let scratch = bench.scratch()?;
    let (find_sdk, component) = (scratch.join("find_sdk.py"), scratch.join("component.wasm"));
    fs::write(&find_sdk, FIND_SDK).map_err(|error| BuildError::Io { path: find_sdk.clone(), error })?;
    let arguments = [
        find_sdk.as_os_str(),
        "--world".as_ref(),
        bench.project.world().word().as_ref(),
        "--componentize-py".as_ref(),
        &componentize_py.command[0],
        "--output".as_ref(),
        component.as_os_str(),
    ];
    bench.run(bench.step(&python, arguments))?;
    bench.read(&component).map(Output::Component)
}
