//! What a component must be before it is run, and how it is said when it is something else.
//!
//! wasmtime would refuse all of this too, with the first mismatch, in its own words. A person who dropped a file into a
//! folder needs to know everything that is wrong, and what would be right.

use tidemill_core::config::PluginConfig;
use tidemill_core::failure::Failure;
use tidemill_core::name::PluginName;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::compiler::CompileError;

/// The contract's package.
const PACKAGE: &str = "tidemill:plugin";

/// Its version that this host offers.
const VERSION: &str = "0.1.0";

/// Outgoing requests; linked where they are granted.
const HTTP: &str = "wasi:http";

const HANDLER: &str = "event-handler";
const PROJECTION: &str = "event-projection";

/// What a handler may import of the contract. `types` comes with the others.
const CONTRACT_IMPORTS: [&str; 6] = ["emit", "state", "log", "config", "host", "types"];

/// The interfaces of WASI 0.2 that are linked. Behind `wasi:http` is what is granted, behind the others next to nothing.
const WASI_IMPORTS: [(&str, &[&str]); 7] = [
    (
        "wasi:cli",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    ("wasi:clocks", &["wall-clock", "monotonic-clock"]),
    ("wasi:filesystem", &["types", "preopens"]),
    (HTTP, &["outgoing-handler", "types"]),
    ("wasi:io", &["error", "poll", "streams"]),
    ("wasi:random", &["random", "insecure", "insecure-seed"]),
    (
        "wasi:sockets",
        &["network", "instance-network", "ip-name-lookup", "tcp", "tcp-create-socket", "udp", "udp-create-socket"],
    ),
];

const COMPONENT_HEADER: [u8; 8] = *b"\0asm\x0d\0\x01\0";
const CORE_MODULE_HEADER: [u8; 8] = *b"\0asm\x01\0\0\0";

/// Why a file is not a plugin that this host can run. Each text completes the sentence "the file …".
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoadError {
    #[error("is empty; expected a Wasm component")]
    Empty,
    #[error(
        "is machine code that was compiled ahead of time; only Wasm components are accepted, because machine code cannot be checked"
    )]
    Precompiled,
    #[error("is WebAssembly text; expected a binary component: `wasm-tools parse` makes binary of text")]
    Text,
    #[error(
        "is a core Wasm module, not a component; build it with `--target wasm32-wasip2`, or make a component of it with `wasm-tools component new`"
    )]
    CoreModule,
    #[error("is not WebAssembly: it does not begin with `\\0asm`; expected a Wasm component")]
    NotWasm,
    #[error("is WebAssembly of an unknown binary version; expected a component (version 0x0d, layer 1)")]
    UnknownVersion,
    #[error("is damaged, incomplete, or needs a WebAssembly feature that is switched off: {0}")]
    Broken(String),
    #[error("could not be loaded, because the host failed: {0}; this is a defect of Tidemill")]
    Host(String),
    #[error(
        "is a projection (it exports `tidemill:plugin/event-projection`), which a route cannot call; expected a handler, which exports `tidemill:plugin/event-handler@{VERSION}`"
    )]
    Projection,
    #[error(
        "exports `tidemill:plugin/event-handler` in version {offered}, this host calls version {VERSION}; build it with an SDK of that version"
    )]
    WrongVersion { offered: String },
    #[error("does not export `tidemill:plugin/event-handler@{VERSION}`, so it is not a handler; it exports {}", listed(.exports))]
    NoHandler { exports: Vec<String> },
    #[error("imports what this host does not offer:\n{}", bulleted(.0))]
    UnknownImports(Vec<String>),
    #[error("imports what is not granted to it:\n{}", bulleted(.0))]
    NotGranted(Vec<String>),
    #[error("has the right names but not the right types; build it with the SDK of version {VERSION}: {0}")]
    Mismatch(String),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("could not be started ({}): {}", .0.kind.code(), .0.text)]
    Start(Failure),
}

/// The names of a component that is a handler.
pub(crate) struct Names {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
}

/// Who asks, and what `runtime.yaml` grants.
#[derive(Clone, Copy)]
pub(crate) struct Grants<'a> {
    pub(crate) plugin: &'a PluginName,
    pub(crate) settings: &'a PluginConfig,
}

// === impl Names ===

impl Names {
    pub(crate) fn use_state(&self) -> bool {
        self.interfaces().any(|(_, it)| it.is_state())
    }

    pub(crate) fn use_http(&self) -> bool {
        self.interfaces().any(|(_, it)| it.package == HTTP)
    }

    /// Everything that is imported must be granted, where a grant exists for it: a plugin that would be refused at its first
    /// event is refused before. What is lacking, one line each.
    fn not_granted(&self, Grants { plugin, settings }: Grants<'_>) -> Vec<String> {
        let lacking = |(name, it): (&str, Interface<'_>)| {
            let line = if it.is_state() && !settings.state {
                "state: true"
            } else if it.package == HTTP && settings.allowed_outbound_hosts.is_empty() {
                "allowed_outbound_hosts: [\"https://HOST\"]"
            } else {
                return None;
            };
            Some(format!("`{name}`: `plugins.settings.{plugin}.{line}` in runtime.yaml would grant it"))
        };
        self.interfaces().filter(|(name, _)| refusal(name).is_none()).filter_map(lacking).collect()
    }

    fn interfaces(&self) -> impl Iterator<Item = (&str, Interface<'_>)> {
        self.imports.iter().map(|name| (name.as_str(), Interface::parse(name)))
    }
}

/// Looks at the first bytes only.
pub(crate) fn check_format(bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.is_empty() {
        Err(LoadError::Empty)
    } else if Engine::detect_precompiled(bytes).is_some() {
        Err(LoadError::Precompiled)
    } else if bytes.starts_with(&COMPONENT_HEADER) {
        Ok(())
    } else if bytes.starts_with(&CORE_MODULE_HEADER) {
        Err(LoadError::CoreModule)
    } else if bytes.len() < COMPONENT_HEADER.len() && COMPONENT_HEADER.starts_with(bytes) {
        Err(LoadError::Broken(format!("it ends after {} bytes", bytes.len())))
    } else if bytes.starts_with(b"\0asm") {
        Err(LoadError::UnknownVersion)
    } else if looks_like_text(bytes) {
        Err(LoadError::Text)
    } else {
        Err(LoadError::NotWasm)
    }
}

fn looks_like_text(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    start.starts_with(b"(component") || start.starts_with(b"(module") || start.starts_with(b";;")
}

/// Checks that the component exports a handler and imports nothing that is not offered or not granted. Without `grants`
/// everything that is offered is granted.
pub(crate) fn check_world(
    component: &Component,
    engine: &Engine,
    grants: Option<Grants<'_>>,
) -> Result<Names, LoadError> {
    let world = component.component_type();
    let exports: Vec<String> = world.exports(engine).map(|(name, _)| name.to_owned()).collect();
    let imports: Vec<String> = world.imports(engine).map(|(name, _)| name.to_owned()).collect();
    check_exports(&exports)?;
    let mut refused: Vec<String> = imports.iter().filter_map(|name| refusal(name)).collect();
    let names = Names { imports, exports };
    let mut lacking = grants.map(|grants| names.not_granted(grants)).unwrap_or_default();
    match (refused.is_empty(), lacking.is_empty()) {
        (true, true) => Ok(names),
        (true, false) => Err(LoadError::NotGranted(lacking)),
        (false, _) => {
            refused.append(&mut lacking);
            Err(LoadError::UnknownImports(refused))
        }
    }
}

fn check_exports(exports: &[String]) -> Result<(), LoadError> {
    let ours = || exports.iter().map(|name| Interface::parse(name)).filter(|it| it.package == PACKAGE);
    if let Some(handler) = ours().find(|it| it.name == HANDLER) {
        return if handler.version == VERSION {
            Ok(())
        } else {
            Err(LoadError::WrongVersion { offered: handler.version.to_owned() })
        };
    }
    if ours().any(|it| it.name == PROJECTION) {
        return Err(LoadError::Projection);
    }
    Err(LoadError::NoHandler { exports: exports.to_vec() })
}

/// Why an import cannot be satisfied; `None` if it can.
fn refusal(import: &str) -> Option<String> {
    let it = Interface::parse(import);
    if it.package == PACKAGE {
        return contract_refusal(import, &it);
    }
    let wasi = WASI_IMPORTS.iter().find(|(package, _)| *package == it.package);
    if wasi.is_some_and(|(_, names)| names.contains(&it.name)) && it.is_in_track("0.2.0") {
        return None;
    }
    let why = match it.package {
        HTTP => {
            "of `wasi:http` this host offers `outgoing-handler` and `types` of WASI 0.2; a plugin is called with events, not with requests"
        }
        "wasi:sockets" => {
            "plugins have no network, and only the interfaces of WASI 0.2 are linked, with nothing behind them"
        }
        package if package.starts_with("wasi:") => {
            "this host offers `cli`, `clocks`, `filesystem`, `http`, `io`, `random` and `sockets` of WASI 0.2"
        }
        _ => "this host offers `tidemill:plugin` and WASI 0.2 only",
    };
    Some(format!("`{import}`: {why}"))
}

fn contract_refusal(import: &str, it: &Interface<'_>) -> Option<String> {
    if !CONTRACT_IMPORTS.contains(&it.name) {
        Some(format!(
            "`{import}`: there is no such import for handlers; there are `emit`, `state`, `log`, `config` and `host`"
        ))
    } else if !it.is_in_track(VERSION) {
        Some(format!("`{import}`: this host offers version {VERSION}; build it with an SDK of that version"))
    } else {
        None
    }
}

/// The parts of `namespace:package/interface@version`; what is missing is empty.
struct Interface<'a> {
    package: &'a str,
    name: &'a str,
    version: &'a str,
}

impl<'a> Interface<'a> {
    fn parse(text: &'a str) -> Self {
        let (path, version) = text.split_once('@').unwrap_or((text, ""));
        let (package, name) = path.split_once('/').unwrap_or((path, ""));
        Self { package, name, version }
    }

    fn is_state(&self) -> bool {
        self.package == PACKAGE && self.name == "state"
    }

    /// Whether wasmtime would link it to `offered`, a version below 1: the first two numbers must be the same.
    fn is_in_track(&self, offered: &str) -> bool {
        let track = |version: &'a str| version.rsplit_once('.').map(|(track, _)| track);
        let offered = offered.rsplit_once('.').map(|(track, _)| track);
        !self.version.contains(['-', '+']) && track(self.version) == offered
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn bulleted(lines: &[String]) -> String {
    lines.iter().map(|line| format!("  - {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_component_is_told_from_its_first_bytes() {
        for (bytes, beginning) in [
            (&b""[..], "is empty"),
            (b"\0as", "is damaged, incomplete"),
            (b"\0asm\x01\0\0\0", "is a core Wasm module, not a component; build it with `--target wasm32-wasip2`"),
            (b"\0asm\x02\0\0\0", "is WebAssembly of an unknown binary version"),
            (b"  (component)", "is WebAssembly text"),
            (b"#!/bin/sh", "is not WebAssembly"),
        ] {
            let told = check_format(bytes).unwrap_err().to_string();
            assert!(told.starts_with(beginning), "{told}");
        }
    }

    #[test]
    fn imports_are_offered_by_name_and_version() {
        for offered in [
            "tidemill:plugin/emit@0.1.0",
            "tidemill:plugin/types@0.1.3",
            "wasi:cli/environment@0.2.12",
            "wasi:sockets/tcp@0.2.6",
            "wasi:http/outgoing-handler@0.2.12",
        ] {
            assert_eq!(refusal(offered), None);
        }
        for (import, reason) in [
            ("tidemill:plugin/emit@0.2.0", "offers version 0.1.0"),
            ("tidemill:plugin/read-model@0.1.0", "no such import for handlers"),
            ("wasi:http/incoming-handler@0.2.10", "called with events, not with requests"),
            ("wasi:sockets/types@0.3.0", "plugins have no network"),
            ("wasi:cli/environment@0.3.0", "of WASI 0.2"),
            ("wasi:nn/graph@0.2.0", "of WASI 0.2"),
            ("acme:mail/send@1.0.0", "`tidemill:plugin` and WASI 0.2 only"),
            ("run", "`tidemill:plugin` and WASI 0.2 only"),
        ] {
            let told = refusal(import).unwrap();
            assert!(told.contains(import) && told.contains(reason), "{told}");
        }
    }
}
