//! Machine code of a component, and the one place where it becomes executable.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tidemill_core::name::PluginName;
use wasmtime::component::Component;

use crate::cache::{Cache, Found};
use crate::compiler::{Compiler, Places};
use crate::component::LoadError;

/// Bytes that a compiler of this engine made; a header that came with them may stand in front.
pub(crate) struct Code {
    bytes: Vec<u8>,
    header: usize,
}

/// Where machine code comes from: the cache, else the compiler.
pub(crate) struct Foundry {
    compiler: Compiler,
    cache_dir: Option<PathBuf>,
    /// Opened by the first component, so that a host which never had one leaves no folder behind.
    cache: OnceLock<Option<Cache>>,
    places: Places,
}

/// A component that can be instantiated.
pub(crate) struct Cast {
    pub(crate) component: Component,
    /// SHA-256 of the Wasm.
    pub(crate) digest: [u8; 32],
    /// From the first look until it was executable.
    pub(crate) time: Duration,
    /// Whether the code was there already.
    pub(crate) cached: bool,
}

// === impl Code ===

impl Code {
    pub(crate) fn whole(bytes: Vec<u8>) -> Self {
        Self { bytes, header: 0 }
    }

    /// What stands in `bytes` after a header of so many.
    pub(crate) fn after(header: usize, bytes: Vec<u8>) -> Self {
        Self { header: header.min(bytes.len()), bytes }
    }
}

impl AsRef<[u8]> for Code {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.header..]
    }
}

// === impl Foundry ===

impl Foundry {
    pub(crate) fn new(compiler: Compiler, cache_dir: Option<PathBuf>, cores: usize) -> Self {
        Self { compiler, cache_dir, cache: OnceLock::new(), places: Places::new(cores) }
    }

    /// Calls off what is being compiled, for good.
    pub(crate) fn stop(&self) {
        self.places.stop();
    }

    /// An executable component of these bytes. Blocks; only a component that is not in the cache takes long.
    pub(crate) fn cast(&self, engine: &wasmtime::Engine, plugin: &PluginName, wasm: &[u8]) -> Result<Cast, LoadError> {
        let begun = Instant::now();
        let digest: [u8; 32] = Sha256::digest(wasm).into();
        let cast = |component, cached| Cast { component, digest, time: begun.elapsed(), cached };
        let cache = self.cache(engine);
        if let Some(component) = cache.and_then(|cache| cached(cache, engine, plugin, &digest)) {
            return Ok(cast(component, true));
        }
        let code = self.compiler.compile(engine, wasm, &self.places)?;
        let component = executable(engine, &code)
            .map_err(|why| LoadError::Host(format!("its machine code cannot be loaded: {why:#}")))?;
        if let Some(cache) = cache {
            cache.keep(&digest, code.as_ref());
        }
        Ok(cast(component, false))
    }

    fn cache(&self, engine: &wasmtime::Engine) -> Option<&Cache> {
        self.cache.get_or_init(|| self.cache_dir.as_deref().and_then(|dir| Cache::open(dir, engine))).as_ref()
    }
}

/// What the cache has. Code that it should have and that cannot be used is told once, here, and made anew.
fn cached(cache: &Cache, engine: &wasmtime::Engine, plugin: &PluginName, digest: &[u8; 32]) -> Option<Component> {
    let why = match cache.find(digest) {
        Found::Code(code) => match executable(engine, &code) {
            Ok(component) => return Some(component),
            Err(why) => format!("{why:#}"),
        },
        Found::Nothing => return None,
        Found::Unusable(why) => why,
    };
    tracing::warn!(
        %plugin, entry = %cache.path(digest).display(), reason = why,
        "Compiled code in the cache is not used; the plugin is compiled anew"
    );
    None
}

/// Makes code executable.
#[allow(unsafe_code, reason = "loading machine code is what this function is for; see SAFETY")]
fn executable(engine: &wasmtime::Engine, code: &Code) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize` asks for unchanged output of this version's `precompile_component`, and believes it. A `Code`
    // is made in three places. In process it is that function's output as it was returned. From a child of our own binary
    // it is what the same function returned there, complete by its length and digest, through a pipe that nobody else
    // has. From the cache it is what one of the two wrote earlier, proved by a seal whose key only this user can read, over
    // exactly the bytes in memory that are passed on here; no file is mapped or opened again. Nothing that a user supplies
    // becomes a `Code`: precompiled input is refused by its format before anything else. wasmtime itself then refuses
    // code of another version, target or configuration.
    unsafe { Component::deserialize(engine, code) }
}
