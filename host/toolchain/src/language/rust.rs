//! Rust: cargo makes a component by itself, for the target `wasm32-wasip2`.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::Value;

use super::Output;
use crate::bench::Bench;
use crate::error::{BuildError, Remedy};
use crate::tool::{Found, Help, Own, Tool, Version};

const TARGET: &str = "wasm32-wasip2";

/// A folder with a standard library for the target, for a toolchain that has none and cannot get it.
const SYSROOT: &str = "TIDEMILL_WASM_SYSROOT";

const CARGO: Tool = Tool {
    name: "cargo",
    commands: &[&["cargo"]],
    own: Own::Nobody,
    version: &["--version"],
    environment: &[],
    // `wasm32-wasip2` became a target that makes components, and edition 2024 stable.
    at_least: Version(1, 85, 0),
    help: Help {
        get: "rustup toolchain install stable    # rustup is at https://rustup.rs",
        // What is there is rustup's launcher, mostly, and no toolchain is chosen.
        again: "rustup default stable    # rustup is at https://rustup.rs",
        in_project: false,
    },
};

const RUSTC: Tool = Tool { name: "rustc", commands: &[&["rustc"]], ..CARGO };

pub(super) fn build(bench: &Bench<'_>) -> Result<Output, BuildError> {
    let cargo = bench.tool(&CARGO)?;
    let rustc = bench.tool(&RUSTC)?;
    let flags = flags(bench, &rustc)?;
    let arguments = ["build", "--release", "--target", TARGET, "--message-format=json-render-diagnostics"];
    let mut step = bench.step(&cargo, arguments);
    if let Some(flags) = flags {
        step = step.env("CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS", flags);
    }
    if bench.debug() {
        step = step.env("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only").env("CARGO_PROFILE_RELEASE_STRIP", "none");
    }
    let command = step.shown();
    let messages = bench.run(step)?;
    let missing = || BuildError::NoOutput {
        command,
        missing: "made no component; a plugin's Cargo.toml has `[lib] crate-type = [\"cdylib\"]`".to_owned(),
    };
    let component = component(&messages, bench).ok_or_else(missing)?;
    bench.read(&component).map(Output::Component)
}

/// What rustc must be told, if anything. Fails where it has no standard library for the target.
fn flags(bench: &Bench<'_>, rustc: &Found) -> Result<Option<OsString>, BuildError> {
    if let Some(sysroot) = env::var_os(SYSROOT) {
        let mut flag = OsString::from("--sysroot=");
        flag.push(sysroot);
        return Ok(Some(flag));
    }
    let folder = bench.run(bench.step(rustc, ["--print", "target-libdir", "--target", TARGET]))?;
    let folder = PathBuf::from(String::from_utf8_lossy(&folder).trim());
    let is_library = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("libstd-");
    if std::fs::read_dir(folder).is_ok_and(|entries| entries.flatten().any(is_library)) {
        return Ok(None);
    }
    Err(BuildError::MissingPart {
        missing: format!("building Rust needs the target {TARGET}, which the toolchain does not have"),
        remedy: Remedy::new(format!("rustup target add {TARGET}    # rustup is at https://rustup.rs"), None),
    })
}

/// The component among what cargo says that it made: the one of this project, not of another member of its workspace.
fn component(messages: &[u8], bench: &Bench<'_>) -> Option<PathBuf> {
    let manifest = std::fs::canonicalize(bench.project.dir.join("Cargo.toml")).ok()?;
    let lines = messages.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let own =
        |message: &Value| message["manifest_path"].as_str().is_some_and(|path| manifest == std::path::Path::new(path));
    let mut files = lines.filter(own).flat_map(|message| {
        let names = message["filenames"].as_array().cloned().unwrap_or_default();
        names.into_iter().filter_map(|name| name.as_str().map(PathBuf::from))
    });
    files.find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}
