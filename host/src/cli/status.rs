//! `tidemill status` and `tidemill reload`: asking the running host.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use serde_json::json;

use super::{Output, say, say_json};
use crate::control::{self, Remote};
use crate::exit::{self, Coded, Kind};
use crate::files;

pub(super) async fn status(path: &Path, output: Output) -> Result<ExitCode> {
    let status = host(path).await?.status().await.map_err(exit::broker)?;
    match output {
        Output::Text => say(&status),
        Output::Json => say_json(&status)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A file that is refused does not keep the rest from taking effect, but it is why somebody asked: the exit code says so.
pub(super) async fn reload(path: &Path, output: Output) -> Result<ExitCode> {
    let host = host(path).await?;
    let text = host.reload().await.map_err(exit::broker)?;
    let status = host.status().await.map_err(exit::broker)?;
    let refused = status.plugins.iter().filter_map(|one| Some((&one.name, one.refused.as_ref()?)));
    let refused = refused.filter(|(_, refused)| !refused.quarantined).map(|(name, refused)| (name, &refused.why));
    let refused: BTreeMap<_, _> = refused.collect();
    match output {
        Output::Text => {
            say(&text);
            refused.iter().for_each(|(plugin, why)| say(format!("refused: {plugin}: {why}")));
        }
        Output::Json => say_json(&json!({ "changes": text, "refused": refused }))?,
    }
    Ok(if refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The host that runs with this configuration.
pub(super) async fn host(path: &Path) -> Result<Remote> {
    let missing = || anyhow!("no host is running with `{}`; `tidemill run` starts one", path.display());
    find_host(path).await?.ok_or_else(missing).coded(Kind::Unavailable)
}

/// The host, if one is running. The configuration may be broken: that is when one asks. Without a host it is what is told.
pub(super) async fn find_host(path: &Path) -> Result<Option<Remote>> {
    match files::load_config(path) {
        Ok(loaded) => Ok(Remote::connect(control::socket_dir(&loaded.config)).await),
        Err(error) => Remote::behind(path).await.map(Some).ok_or(error),
    }
}
