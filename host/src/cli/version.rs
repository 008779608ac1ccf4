//! `tidemill version`.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use super::{Output, say, say_json};

/// The contract that this host serves.
const CONTRACT: &str = "tidemill:plugin@0.1.0";

pub(super) fn version(output: Output) -> Result<ExitCode> {
    let (host, wasmtime) = (env!("CARGO_PKG_VERSION"), wasmtime());
    if output == Output::Json {
        say_json(&json!({ "tidemill": host, "wasmtime": wasmtime, "contract": CONTRACT }))?;
    } else {
        say(format!("tidemill {host}\nwasmtime {wasmtime}\ncontract {CONTRACT}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The locked version, as the package manager wrote it.
fn wasmtime() -> &'static str {
    let lock = include_str!("../../../Cargo.lock");
    let entry = lock.split_once("name = \"wasmtime\"\nversion = \"").map_or("", |(_, rest)| rest);
    entry.split('"').next().unwrap_or_default()
}
