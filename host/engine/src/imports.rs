//! What a guest may ask of the host, one file per interface of `wit/`, and [`link`] for the names under which a guest finds it.
//!
//! An import answers or collects; it carries nothing out. What a guest can meet is a WIT `result`; a trap is for a broken
//! contract only.

mod config;
mod emit;
mod host;
mod link;
mod log;
mod read_model;
mod state;

use wasmtime::component::Linker;

use crate::component::Names;
use crate::guest::Guest;

/// Why an import that belongs to a call was refused: the guest used it while it was starting.
const NO_CALL: &str = "it can be used only while an event is handled, not while the plugin starts";

/// Everything that is offered. Which of it a component may import by its role and its grants was asked before: see
/// [`component`](crate::component). Each linker is built once and never cloned (CVE-2026-34983).
pub(crate) struct Linkers {
    /// The contract's imports and WASI 0.2.
    plain: Linker<Guest>,
    /// The same, and `wasi:http`.
    http: Linker<Guest>,
}

pub(crate) fn linkers(engine: &wasmtime::Engine) -> wasmtime::Result<Linkers> {
    let plain = linker(engine)?;
    let mut http = linker(engine)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut http)?;
    Ok(Linkers { plain, http })
}

fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    link::contract(&mut linker)?;
    Ok(linker)
}

impl Linkers {
    /// The linker for a component.
    pub(crate) fn of(&self, names: &Names) -> &Linker<Guest> {
        if names.use_http() { &self.http } else { &self.plain }
    }
}
