//! `tidemill status` and `tidemill reload`: asking the running host.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use serde_json::json;
use tidemill_core::config::RuntimeConfig;

use super::{Output, say, say_json};
use crate::control::{self, Remote};
use crate::exit::{self, Coded, Kind};
use crate::files;

pub(super) async fn status(path: &Path, output: Output) -> Result<ExitCode> {
    let status = host(&files::load_config(path)?.config).await?.status().await.map_err(exit::broker)?;
    match output {
        Output::Text => say(&status),
        Output::Json => say_json(&status)?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn reload(path: &Path, output: Output) -> Result<ExitCode> {
    // The file may be just what is wrong; where the host listens is all that is needed from it, and the host says the rest.
    let text = host(&files::load_config(path)?.config).await?.reload().await.map_err(exit::broker)?;
    match output {
        Output::Text => say(&text),
        Output::Json => say_json(&json!({ "changes": text }))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The host that runs with this configuration.
pub(super) async fn host(config: &RuntimeConfig) -> Result<Remote> {
    let dir = control::socket_dir(config);
    let missing = || {
        anyhow!(
            "no host is running with this configuration: nobody answers in `{}`; `tidemill run` starts one",
            dir.display()
        )
    };
    Remote::connect(dir).await.ok_or_else(missing).coded(Kind::Unavailable)
}
