//! Reaching a running host from another process of the same machine.
//!
//! `tidemill status`, `plugins`, `projection` and `reload` ask the host itself. And one process holds the embedded log, so
//! `tidemill emit` and `tidemill dlq` work beside it through the same socket, which only the same user can open. Requests and
//! answers are JSON, one per line; the protocol is between two builds of the same binary and promises nothing to others.

mod client;
mod documents;
mod server;
mod wire;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use tidemill_core::config::{BrokerConfig, RuntimeConfig};

use tidemill_core::read_model::Positions;

pub use client::Remote;
pub use server::Server;

/// What may be asked of a projection that runs in a host.
#[derive(Debug, Clone)]
pub enum Order {
    Rebuild,
    Cancel,
    RollBack,
    Pause,
    Resume,
    /// Begin anew behind these positions.
    Reset(Positions),
}

/// Unix allows 108 bytes for a socket's path, some systems fewer.
const MAX_SOCKET_PATH: usize = 100;

/// The folder that belongs to the host of this configuration alone.
pub fn socket_dir(config: &RuntimeConfig) -> &Path {
    match &config.broker {
        BrokerConfig::Embedded { dir } => dir,
        BrokerConfig::Nats(_) => &config.plugins.cache_dir,
    }
}

/// A link to the socket that can be found without reading the configuration: `tidemill status` must answer just when the
/// configuration is broken. It lies in the system's temporary folder, named after the user and the file.
fn pointer(configuration: &Path) -> PathBuf {
    let path = configuration.canonicalize().unwrap_or_else(|_| configuration.to_owned());
    let user = rustix::process::getuid().as_raw();
    std::env::temp_dir().join(format!("tidemill-{user}-{:016x}.host", hash(&path)))
}

fn hash(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

/// Where the host of this folder listens.
fn socket_path(dir: &Path) -> PathBuf {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let path = dir.join("control.sock");
    if path.as_os_str().len() <= MAX_SOCKET_PATH {
        return path;
    }
    std::env::temp_dir().join(format!("tidemill-{:016x}.sock", hash(&dir)))
}
