//! What a component must be before it is run, and how it is said when it is something else.
//!
//! wasmtime would refuse all of this too, with the first mismatch, in its own words. A person who dropped a file into a
//! folder needs to know everything that is wrong, and what would be right.

use tidemill_core::config::PluginConfig;
use tidemill_core::failure::Failure;
use tidemill_core::name::PluginName;
use tidemill_core::port::Role;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::compiler::CompileError;

/// The contract's package.
pub const PACKAGE: &str = "tidemill:plugin";

/// Its version that is current: what the SDKs of today are built from.
const VERSION: &str = "0.2.0";

/// Its versions that this host serves side by side, the newest first. A component that was built against one of them runs; of what
/// came later it knows nothing and misses nothing. `wit/frozen` holds the text of those that are not current.
pub const SERVED: [&str; 2] = [VERSION, "0.1.0"];

/// Outgoing requests; linked where they are granted.
const HTTP: &str = "wasi:http";

/// What a projection exports that answers questions.
const QUERIES: &str = "queries";

/// The same, in full.
pub(crate) const QUERIES_EXPORT: &str = "tidemill:plugin/queries@0.2.0";

/// What may be imported of the contract, and by whom. `types` comes with the others.
const CONTRACT_IMPORTS: [(&str, &[Role]); 7] = [
    ("emit", &[Role::Handler]),
    ("state", &[Role::Handler]),
    ("read-model", &[Role::Projection]),
    ("log", &[Role::Handler, Role::Projection]),
    ("config", &[Role::Handler, Role::Projection]),
    ("host", &[Role::Handler, Role::Projection]),
    ("types", &[Role::Handler, Role::Projection]),
];

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
        "is a {} (it exports `{PACKAGE}/{}`), which a {} cannot call; expected a {}, which exports `{PACKAGE}/{}@{VERSION}`",
        noun(*.found), export(*.found), caller(*.expected), noun(*.expected), export(*.expected)
    )]
    WrongRole { found: Role, expected: Role },
    #[error(
        "exports `{PACKAGE}/{interface}` in version {offered}, this host calls versions {}; build it with an SDK of one of them",
        served()
    )]
    WrongVersion { interface: &'static str, offered: String },
    #[error(
        "does not export `{PACKAGE}/{}@{VERSION}`, so it is not a {}; it exports {}",
        export(*.expected), noun(*.expected), listed(.exports)
    )]
    NoRole { expected: Role, exports: Vec<String> },
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

/// The names of a component that has been checked.
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

    pub(crate) fn answer_queries(&self) -> bool {
        ours(&self.exports).any(|it| it.name == QUERIES)
    }

    /// Whether the component was built against this version of the contract, or one that differs in the last number.
    pub(crate) fn is_of_version(&self, role: Role, version: &str) -> bool {
        ours(&self.exports).any(|it| it.name == export(role) && it.is_in_track(version))
    }

    pub(crate) fn use_http(&self) -> bool {
        self.interfaces().any(|(_, it)| it.package == HTTP)
    }

    /// Everything that is imported must be granted, where a grant exists for it: a plugin that would be refused at its first
    /// event is refused before. What is lacking, one line each.
    fn not_granted(&self, role: Role, Grants { plugin, settings }: Grants<'_>) -> Vec<String> {
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
        self.interfaces().filter(|(name, _)| refusal(name, role).is_none()).filter_map(lacking).collect()
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

/// Checks that the component exports what its role is called by, and imports nothing that is not offered to the role or not
/// granted. Without `grants` everything that is offered is granted.
pub(crate) fn check_world(
    component: &Component,
    engine: &Engine,
    role: Role,
    grants: Option<Grants<'_>>,
) -> Result<Names, LoadError> {
    let world = component.component_type();
    let exports: Vec<String> = world.exports(engine).map(|(name, _)| name.to_owned()).collect();
    let imports: Vec<String> = world.imports(engine).map(|(name, _)| name.to_owned()).collect();
    check_exports(&exports, role)?;
    let mut refused: Vec<String> = imports.iter().filter_map(|name| refusal(name, role)).collect();
    let names = Names { imports, exports };
    let mut lacking = grants.map(|grants| names.not_granted(role, grants)).unwrap_or_default();
    match (refused.is_empty(), lacking.is_empty()) {
        (true, true) => Ok(names),
        (true, false) => Err(LoadError::NotGranted(lacking)),
        (false, _) => {
            refused.append(&mut lacking);
            Err(LoadError::UnknownImports(refused))
        }
    }
}

fn check_exports(exports: &[String], role: Role) -> Result<(), LoadError> {
    let called_by = |role| ours(exports).find(|it| it.name == export(role));
    let Some(entry) = called_by(role) else {
        let other = [Role::Handler, Role::Projection].into_iter().find(|&other| called_by(other).is_some());
        return Err(match other {
            Some(found) => LoadError::WrongRole { found, expected: role },
            None => LoadError::NoRole { expected: role, exports: exports.to_vec() },
        });
    };
    check_version(export(role), &entry)?;
    match ours(exports).find(|it| it.name == QUERIES) {
        Some(queries) if role == Role::Projection => check_version(QUERIES, &queries),
        _ => Ok(()),
    }
}

fn check_version(interface: &'static str, it: &Interface<'_>) -> Result<(), LoadError> {
    if it.is_served() { Ok(()) } else { Err(LoadError::WrongVersion { interface, offered: it.version.to_owned() }) }
}

/// Why an import cannot be satisfied; `None` if it can.
fn refusal(import: &str, role: Role) -> Option<String> {
    let it = Interface::parse(import);
    if it.package == PACKAGE {
        return contract_refusal(import, &it, role);
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

fn contract_refusal(import: &str, it: &Interface<'_>, role: Role) -> Option<String> {
    let Some((_, roles)) = CONTRACT_IMPORTS.iter().find(|(name, _)| *name == it.name) else {
        return Some(format!("`{import}`: there is no such import; {}", offered(role)));
    };
    if !roles.contains(&role) {
        let why = match it.name {
            "emit" => "a projection emits nothing: a rebuild folds every event again, and would publish it all again",
            "state" => "a projection keeps what it knows in its documents, where a rebuild and a rollback find it",
            _ => "a handler has no read model; `state` is what it may keep, and a projection is what fills collections",
        };
        Some(format!("`{import}`: {why}; {}", offered(role)))
    } else if !it.is_served() {
        Some(format!("`{import}`: this host offers versions {}; build it with an SDK of one of them", served()))
    } else {
        None
    }
}

/// What a role may import of the contract, in words.
fn offered(role: Role) -> &'static str {
    match role {
        Role::Handler => "a handler may import `emit`, `state`, `log`, `config` and `host`",
        Role::Projection => "a projection may import `read-model`, `log`, `config` and `host`",
    }
}

/// The interface that a role is called by.
fn export(role: Role) -> &'static str {
    match role {
        Role::Handler => "event-handler",
        Role::Projection => "event-projection",
    }
}

fn noun(role: Role) -> &'static str {
    match role {
        Role::Handler => "handler",
        Role::Projection => "projection",
    }
}

/// Who calls a role, in `runtime.yaml`.
fn caller(role: Role) -> &'static str {
    match role {
        Role::Handler => "route",
        Role::Projection => "projection of runtime.yaml",
    }
}

/// The name of a role's world, with the version that the component was built against.
pub(crate) fn world(role: Role, exports: &[String]) -> String {
    let entry = ours(exports).find(|it| it.name == export(role));
    format!("{}@{}", noun(role), entry.map_or(VERSION, |it| it.version))
}

/// The served versions, in words.
fn served() -> String {
    SERVED.join(" and ")
}

fn ours(exports: &[String]) -> impl Iterator<Item = Interface<'_>> {
    exports.iter().map(|name| Interface::parse(name)).filter(|it| it.package == PACKAGE)
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

    fn is_served(&self) -> bool {
        SERVED.iter().any(|version| self.is_in_track(version))
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
            "tidemill:plugin/emit@0.2.0",
            "tidemill:plugin/emit@0.1.0",
            "tidemill:plugin/types@0.1.3",
            "wasi:cli/environment@0.2.12",
            "wasi:sockets/tcp@0.2.6",
            "wasi:http/outgoing-handler@0.2.12",
        ] {
            assert_eq!(refusal(offered, Role::Handler), None);
        }
        for (import, reason) in [
            ("tidemill:plugin/emit@0.3.0", "offers versions 0.2.0 and 0.1.0"),
            ("tidemill:plugin/emit@1.0.0", "offers versions 0.2.0 and 0.1.0"),
            ("tidemill:plugin/read-model@0.2.0", "a handler has no read model"),
            ("tidemill:plugin/mail@0.2.0", "there is no such import; a handler may import `emit`, `state`,"),
            ("wasi:http/incoming-handler@0.2.10", "called with events, not with requests"),
            ("wasi:sockets/types@0.3.0", "plugins have no network"),
            ("wasi:cli/environment@0.3.0", "of WASI 0.2"),
            ("wasi:nn/graph@0.2.0", "of WASI 0.2"),
            ("acme:mail/send@1.0.0", "`tidemill:plugin` and WASI 0.2 only"),
            ("run", "`tidemill:plugin` and WASI 0.2 only"),
        ] {
            let told = refusal(import, Role::Handler).unwrap();
            assert!(told.contains(import) && told.contains(reason), "{told}");
        }
    }
}
