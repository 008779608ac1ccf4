//! Which builds of plugins there are, and which of them may run: everything about a plugin's *file*, nothing about its code.
//!
//! ```text
//! Folder::read ── Lock::check ── TrustedKeys::check ── engine ── History::remember_good
//! (bytes, digest)  (plugins.lock)  (<plugin>.wasm.minisig)       (<cache_dir>/generations.json)
//! ```
//!
//! A file is opened once; what is checked, compiled and remembered are the bytes of that one reading, never the path again.
//! All functions here block on the file system, so asynchronous callers put them on a blocking thread.

mod digest;
pub(crate) mod durable;
mod folder;
mod history;
pub mod lock;
mod regular;
mod signature;

pub use digest::{Digest, NotADigest};
pub use folder::{FileProblem, Folder, MAX_PLUGIN_BYTES, Other, PluginFile};
pub use history::{History, HistoryProblem, Quarantined};
pub use lock::{Lock, LockProblem};
pub use signature::{KeyProblem, SignatureProblem, TrustedKeys};
