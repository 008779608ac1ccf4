//! Handlers in WebAssembly text, encoded as components of the repository's own `wit/`.
//!
//! The canonical ABI passes the event and the context in memory, at the address that `handle` gets:
//! `id` at 0, `source` 8, `type` 16 (pointer and length each), …, `data` 80, `route` 88, `attempt` 96, `stream` 104,
//! `sequence` 112, `time-limit` 120. The result is an address too.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

/// Imports of a guest, by interface.
pub(crate) const EMIT: &str = r#"
    (import "tidemill:plugin/emit@0.1.0" "emit" (func $emit_raw (param i32 i32)))"#;
pub(crate) const LOG: &str = r#"
    (import "tidemill:plugin/log@0.1.0" "write" (func $log_raw (param i32 i32 i32 i32 i32)))"#;
pub(crate) const CONFIG: &str = r#"
    (import "tidemill:plugin/config@0.1.0" "get" (func $config_get (param i32 i32 i32)))"#;
pub(crate) const HOST: &str = r#"
    (import "tidemill:plugin/host@0.1.0" "now" (func $now (param i32)))
    (import "tidemill:plugin/host@0.1.0" "stable-id" (func $stable_id (param i32 i32 i32)))
    (import "tidemill:plugin/host@0.1.0" "random" (func $random (param i32 i32)))"#;
pub(crate) const STATE: &str = r#"
    (import "tidemill:plugin/state@0.1.0" "get" (func $state_get (param i32 i32 i32)))
    (import "tidemill:plugin/state@0.1.0" "put" (func $state_put (param i32 i32 i32 i32 i32)))"#;

/// Memory, allocation, and the ways to end a call.
const RUNTIME: &str = r#"
    (memory (export "memory") 2)
    (global $top (mut i32) (i32.const 65536))
    (global $spin_in_realloc (mut i32) (i32.const 0))
    (global $spin_in_post_return (mut i32) (i32.const 0))
    (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
        (local $at i32)
        (loop $again (br_if $again (global.get $spin_in_realloc)))
        (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
        (global.set $top (i32.add (local.get $at) (local.get $size)))
        (local.get $at))
    (func (export "cabi_post_tidemill:plugin/event-handler@0.1.0#handle") (param i32)
        (loop $again (br_if $again (global.get $spin_in_post_return)))
        (global.set $top (i32.const 65536)))
    (func $ok (result i32)
        (i32.store8 (i32.const 16) (i32.const 0))
        (i32.const 16))
    (func $reject (param $text i32) (param $length i32) (result i32)
        (i32.store8 (i32.const 16) (i32.const 1))
        (i32.store8 (i32.const 20) (i32.const 1))
        (i32.store (i32.const 24) (local.get $text))
        (i32.store (i32.const 28) (local.get $length))
        (i32.const 16))
    (func $retry (param $has_delay i32) (param $delay i32) (param $text i32) (param $length i32) (result i32)
        (i32.store8 (i32.const 16) (i32.const 1))
        (i32.store8 (i32.const 20) (i32.const 0))
        (i32.store8 (i32.const 24) (local.get $has_delay))
        (i32.store (i32.const 28) (local.get $delay))
        (i32.store (i32.const 32) (local.get $text))
        (i32.store (i32.const 36) (local.get $length))
        (i32.const 16))"#;

/// Emits an event of type `T` with the text given twice: as the subject to publish to, and as data.
const EMIT_HELPER: &str = r#"
    (data (i32.const 100) "T")
    (func $emit (param $to i32) (param $length i32) (result i32)
        (memory.fill (i32.const 200) (i32.const 0) (i32.const 100))
        (i32.store (i32.const 200) (local.get $to))
        (i32.store (i32.const 204) (local.get $length))
        (i32.store (i32.const 208) (i32.const 100))
        (i32.store (i32.const 212) (i32.const 1))
        (i32.store (i32.const 260) (local.get $to))
        (i32.store (i32.const 264) (local.get $length))
        (call $emit_raw (i32.const 200) (i32.const 300))
        (i32.load8_u (i32.const 300)))"#;

const LOG_HELPER: &str = r#"
    (func $log (param $level i32) (param $text i32) (param $length i32)
        (call $log_raw (local.get $level) (local.get $text) (local.get $length) (i32.const 0) (i32.const 0)))"#;

/// A handler component. `fields` are module fields that define `$handle`, from the address of the event and context to
/// the address of the result. Addresses from 1000 to 60000 are theirs.
pub(crate) fn handler(imports: &[&str], fields: &str) -> Vec<u8> {
    encode(&wat::parse_str(handler_text(imports, fields)).unwrap(), &contract("0.1.0"), "handler")
}

/// A handler with debug information, which names `guest.wat`.
pub(crate) fn handler_with_lines(fields: &str) -> Vec<u8> {
    let text = handler_text(&[], fields);
    let core = wat::Parser::new()
        .generate_dwarf(wat::GenerateDwarf::Lines)
        .parse_str(Some(Path::new("guest.wat")), &text)
        .unwrap();
    encode(&core, &contract("0.1.0"), "handler")
}

fn handler_text(imports: &[&str], fields: &str) -> String {
    let helpers = [(EMIT, EMIT_HELPER), (LOG, LOG_HELPER)];
    let helpers: String =
        helpers.iter().filter(|(import, _)| imports.contains(import)).map(|(_, text)| *text).collect();
    format!(
        r#"(module {} {RUNTIME} {helpers} {fields}
            (export "tidemill:plugin/event-handler@0.1.0#handle" (func $handle)))"#,
        imports.concat()
    )
}

/// A handler whose body is this expression.
pub(crate) fn answering(imports: &[&str], body: &str) -> Vec<u8> {
    handler(imports, &format!("(func $handle (param $in i32) (result i32) {body})"))
}

/// A component of any world that traps wherever it is called.
pub(crate) fn dummy(resolve: &Resolve, world: &str) -> Vec<u8> {
    let id = world_id(resolve, world);
    let core =
        wit_component::dummy_module(resolve, id, wit_parser::ManglingAndAbi::Legacy(wit_parser::LiftLowerAbi::Sync));
    encode(&core, resolve, world)
}

/// The repository's contract, under another version if one is given.
pub(crate) fn contract(version: &str) -> Resolve {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let mut text = format!("package tidemill:plugin@{version};\n");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        text.push_str(&std::fs::read_to_string(file).unwrap().replace("package tidemill:plugin@0.1.0;", ""));
    }
    let mut resolve = Resolve::default();
    resolve.push_str("contract.wit", &text).unwrap();
    resolve
}

fn encode(core: &[u8], resolve: &Resolve, world: &str) -> Vec<u8> {
    let mut core = core.to_vec();
    embed_component_metadata(&mut core, resolve, world_id(resolve, world), StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&core).unwrap().validate(true).encode().unwrap()
}

/// A world of the package that was added last.
fn world_id(resolve: &Resolve, world: &str) -> WorldId {
    let (package, _) = resolve.packages.iter().next_back().unwrap();
    resolve.select_world(&[package], Some(world)).unwrap()
}
