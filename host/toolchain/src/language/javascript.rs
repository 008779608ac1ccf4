//! JavaScript and TypeScript: the SDK's own build script does the work, in Node. It checks types where TypeScript is installed, bundles
//! with esbuild, and puts an engine around the bundle. What it needs besides Node comes with `npm install`.
//!
//! The recipe is the SDK's and not this file's, because half of it is JavaScript's business (what a bundle imports, where its lines
//! come from), and because a project then also builds without us: `npx tidemill-build . --out plugin.wasm`.

use std::fs;
use std::path::{Path, PathBuf};

use super::Output;
use crate::bench::Bench;
use crate::error::{BuildError, Remedy};
use crate::tool::{Help, Own, Tool, Version, own_folders};

const NODE: Tool = Tool {
    name: "node",
    commands: &[&["node"], &["nodejs"]],
    own: Own::Nobody,
    version: &["--version"],
    environment: &[],
    at_least: Version(20, 0, 0),
    help: Help {
        get: "nvm install --lts    # or from https://nodejs.org",
        again: "nvm install --lts    # or from https://nodejs.org",
        in_project: false,
    },
};

const ESBUILD: Tool = Tool {
    name: "esbuild",
    commands: &[&["esbuild"]],
    own: Own::Npm,
    version: &["--version"],
    environment: &[],
    // What knows the options that the SDK's build script uses.
    at_least: Version(0, 25, 0),
    // A folder that was copied from another kind of machine has that machine's programs, with which npm is content.
    help: Help { get: INSTALL, again: "rm -rf node_modules && npm install", in_project: true },
};

/// What brings a project's own tools and the SDK.
pub(super) const INSTALL: &str = "npm install";

/// The SDK's build script, below a folder where npm installs.
const BUILD: &str = "node_modules/@tidemill/sdk/lib/build/main.js";

/// Whether a project with a package.json is written in TypeScript.
pub(super) fn is_typed(dir: &Path) -> bool {
    let is_source = |entry: fs::DirEntry| entry.path().extension().is_some_and(|extension| extension == "ts");
    let has_sources = |dir: PathBuf| fs::read_dir(dir).is_ok_and(|entries| entries.flatten().any(is_source));
    dir.join("tsconfig.json").is_file() || has_sources(dir.join("src")) || has_sources(dir.to_owned())
}

pub(super) fn build(bench: &Bench<'_>) -> Result<Output, BuildError> {
    let node = bench.tool(&NODE)?;
    bench.tool(&ESBUILD)?;
    let script = script(bench)?;
    let component = bench.scratch()?.join("plugin.wasm");
    let arguments = [script.as_os_str(), ".".as_ref(), "--out".as_ref(), component.as_os_str()];
    // The script takes no tool from further up than this: what lies there may be somebody else's. It knows its folder without links.
    let within = own_folders(&bench.project.dir).pop().unwrap_or_else(|| bench.project.dir.clone());
    let within = within.canonicalize().unwrap_or(within);
    let options = ["--world".as_ref(), bench.project.world().word().as_ref(), "--within".as_ref(), within.as_os_str()];
    let step = bench.step(&node, arguments.into_iter().chain(options));
    bench.run(step)?;
    bench.read(&component).map(Output::Component)
}

/// Where the SDK is installed: for the project itself, or for what it is a part of.
fn script(bench: &Bench<'_>) -> Result<PathBuf, BuildError> {
    let found = own_folders(&bench.project.dir).into_iter().map(|dir| dir.join(BUILD)).find(|script| script.is_file());
    found.ok_or_else(|| BuildError::MissingPart {
        missing: format!("building {} needs the SDK, which is not installed", bench.project.language.title()),
        remedy: Remedy::new(INSTALL, Some(&bench.project.dir)),
    })
}
