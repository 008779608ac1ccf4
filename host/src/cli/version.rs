//! `tidemill version`.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;
use tidemill_engine::{CONTRACT, CONTRACT_VERSIONS, WASMTIME_VERSION};

use super::{Output, say, say_json};

pub(super) fn version(output: Output) -> Result<ExitCode> {
    let host = env!("CARGO_PKG_VERSION");
    let contracts = CONTRACT_VERSIONS.map(|version| format!("{CONTRACT}@{version}"));
    if output == Output::Json {
        say_json(&json!({ "tidemill": host, "wasmtime": WASMTIME_VERSION, "contracts": contracts }))?;
    } else {
        say(format!("tidemill {host}\nwasmtime {WASMTIME_VERSION}\ncontract {}", contracts.join(", ")));
    }
    Ok(ExitCode::SUCCESS)
}
