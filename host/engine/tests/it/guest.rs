//! Handlers and projections in WebAssembly text, encoded as components of the repository's own `wit/`.
//!
//! The canonical ABI passes the event and the context in memory, at the address that `handle` and `apply` get:
//! `id` at 0, `source` 8, `type` 16 (pointer and length each), …, `data` 80, `route` 88, `attempt` 96, `stream` 104,
//! `sequence` 112, `time-limit` 120. The result is an address too.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

/// Imports of a guest, by interface.
pub(crate) const EMIT: &str = r#"
    (import "tidemill:plugin/emit@0.2.0" "emit" (func $emit_raw (param i32 i32)))"#;
pub(crate) const LOG: &str = r#"
    (import "tidemill:plugin/log@0.2.0" "write" (func $log_raw (param i32 i32 i32 i32 i32)))"#;
pub(crate) const CONFIG: &str = r#"
    (import "tidemill:plugin/config@0.2.0" "get" (func $config_get (param i32 i32 i32)))"#;
pub(crate) const HOST: &str = r#"
    (import "tidemill:plugin/host@0.2.0" "now" (func $now (param i32)))
    (import "tidemill:plugin/host@0.2.0" "stable-id" (func $stable_id (param i32 i32 i32)))
    (import "tidemill:plugin/host@0.2.0" "random" (func $random (param i32 i32)))"#;
pub(crate) const TIME_LEFT: &str = r#"
    (import "tidemill:plugin/host@0.2.0" "time-left" (func $time_left (result i32)))"#;
pub(crate) const STATE: &str = r#"
    (import "tidemill:plugin/state@0.2.0" "get" (func $state_get (param i32 i32 i32)))
    (import "tidemill:plugin/state@0.2.0" "put" (func $state_put (param i32 i32 i32 i32 i32)))"#;

pub(crate) const READ_MODEL: &str = r#"
    (import "tidemill:plugin/read-model@0.2.0" "get" (func $get (param i32 i32 i32 i32 i32)))
    (import "tidemill:plugin/read-model@0.2.0" "put" (func $put (param i32 i32 i32 i32 i32 i32 i32)))
    (import "tidemill:plugin/read-model@0.2.0" "delete" (func $delete (param i32 i32 i32 i32 i32)))
    (import "tidemill:plugin/read-model@0.2.0" "find" (func $find_raw
        (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#;

pub(crate) const CLOCK: &str = r#"
    (import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration" (func $subscribe (param i64) (result i32)))
    (import "wasi:io/poll@0.2.6" "[method]pollable.block" (func $block (param i32)))
    (import "wasi:io/poll@0.2.6" "[resource-drop]pollable" (func $drop_pollable (param i32)))"#;
pub(crate) const RANDOM: &str = r#"
    (import "wasi:random/random@0.2.6" "get-random-bytes" (func $random_bytes (param i64 i32)))"#;
pub(crate) const RANDOM_U64: &str = r#"
    (import "wasi:random/random@0.2.6" "get-random-u64" (func $random_u64 (result i64)))"#;
pub(crate) const STDOUT: &str = r#"
    (import "wasi:cli/stdout@0.2.6" "get-stdout" (func $stdout (result i32)))
    (import "wasi:io/streams@0.2.6" "[method]output-stream.blocking-write-and-flush"
        (func $write (param i32 i32 i32 i32)))"#;
/// A resource that the guest itself defines. Its destructor spins if it is told to.
pub(crate) const RESOURCE: &str = r#"
    (import "[export]test:guest/things" "[resource-new]thing" (func $new_thing (param i32) (result i32)))
    (import "[export]test:guest/things" "[resource-drop]thing" (func $drop_thing (param i32)))"#;

const RESOURCE_HELPER: &str = r#"
    (global $spin_in_destructor (mut i32) (i32.const 0))
    (func (export "test:guest/things#[dtor]thing") (param i32)
        (loop $again (br_if $again (global.get $spin_in_destructor))))
    (func (export "test:guest/things#[constructor]thing") (result i32) (call $new_thing (i32.const 0)))"#;

/// WASI 0.2, as far as the guests here use it.
const WASI: &str = r#"
    package wasi:all;
    package wasi:io@0.2.6 {
        interface poll { resource pollable { block: func(); } }
        interface error { resource error; }
        interface streams {
            use error.{error};
            variant stream-error { last-operation-failed(error), closed }
            resource output-stream {
                blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
            }
        }
    }
    package wasi:clocks@0.2.6 {
        interface monotonic-clock {
            use wasi:io/poll@0.2.6.{pollable};
            subscribe-duration: func(when: u64) -> pollable;
        }
    }
    package wasi:random@0.2.6 {
        interface random {
            get-random-bytes: func(len: u64) -> list<u8>;
            get-random-u64: func() -> u64;
        }
    }
    package wasi:cli@0.2.6 {
        interface stdout {
            use wasi:io/streams@0.2.6.{output-stream};
            get-stdout: func() -> output-stream;
        }
    }"#;

const WORLD: &str = r#"
    package test:guest;
    interface things { resource thing { constructor(); } }
    world guest {
        include tidemill:plugin/handler@0.2.0;
        import wasi:clocks/monotonic-clock@0.2.6;
        import wasi:random/random@0.2.6;
        import wasi:cli/stdout@0.2.6;
    }
    world owner {
        include guest;
        export things;
    }"#;

/// The version of the contract that guests here are made for.
pub(crate) const CURRENT: &str = "0.2.0";

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
    (func (export "cabi_post_tidemill:plugin/event-handler@0.2.0#handle") (param i32)
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

/// A projection component. `fields` define `$handle` too, and `$query` (from the addresses and lengths of name and parameters to
/// the address of the result) if it answers queries.
pub(crate) fn projection(imports: &[&str], fields: &str) -> Vec<u8> {
    projection_of(CURRENT, imports, fields)
}

/// The same, built against a version of the contract.
pub(crate) fn projection_of(version: &str, imports: &[&str], fields: &str) -> Vec<u8> {
    let queries = fields.contains("(func $query");
    let export = if queries { r#"(export "tidemill:plugin/queries@0.2.0#query" (func $query))"# } else { "" };
    let world = if queries { "projection-with-queries" } else { "projection" };
    let text = module(imports, RUNTIME, &format!("{fields} {export}"))
        .replace("event-handler@0.2.0#handle", "event-projection@0.2.0#apply");
    encode(&wat::parse_str(in_version(version, &text)).unwrap(), &contract(version), world)
}

/// A projection whose body is this expression.
pub(crate) fn applying(imports: &[&str], body: &str) -> Vec<u8> {
    projection(imports, &format!("(func $handle (param $in i32) (result i32) {body})"))
}

/// A handler component. `fields` are module fields that define `$handle`, from the address of the event and context to
/// the address of the result. Addresses from 1000 to 60000 are theirs.
pub(crate) fn handler(imports: &[&str], fields: &str) -> Vec<u8> {
    handler_of(CURRENT, imports, fields)
}

/// The same, built against a version of the contract.
pub(crate) fn handler_of(version: &str, imports: &[&str], fields: &str) -> Vec<u8> {
    let text = in_version(version, &module(imports, RUNTIME, fields));
    encode(&wat::parse_str(text).unwrap(), &contract(version), "handler")
}

fn in_version(version: &str, text: &str) -> String {
    text.replace(&format!("@{CURRENT}"), &format!("@{version}"))
}

fn module(imports: &[&str], runtime: &str, fields: &str) -> String {
    let helpers = [(EMIT, EMIT_HELPER), (LOG, LOG_HELPER), (RESOURCE, RESOURCE_HELPER)];
    let helpers: String =
        helpers.iter().filter(|(import, _)| imports.contains(import)).map(|(_, text)| *text).collect();
    format!(
        r#"(module {} {runtime} {helpers} {fields}
            (export "tidemill:plugin/event-handler@0.2.0#handle" (func $handle)))"#,
        imports.concat()
    )
}

/// A handler that imports WASI too and exports a resource of its own, in the words of [`WORLD`].
pub(crate) fn wasi_handler(imports: &[&str], fields: &str) -> Vec<u8> {
    let mut resolve = contract(CURRENT);
    resolve.push_str("wasi.wit", WASI).unwrap();
    resolve.push_str("world.wit", WORLD).unwrap();
    let exports_a_resource = imports.contains(&RESOURCE);
    let world = if exports_a_resource { "owner" } else { "guest" };
    encode(&wat::parse_str(module(imports, RUNTIME, fields)).unwrap(), &resolve, world)
}

/// A handler with an allocator of its own: an expression of the size, `$size`.
pub(crate) fn handler_with_allocator(imports: &[&str], allocate: &str, fields: &str) -> Vec<u8> {
    let begin = RUNTIME.find("(local $at i32)").unwrap();
    let end = RUNTIME.find("(func (export \"cabi_post").unwrap();
    let runtime = format!("{}{allocate})\n{}", &RUNTIME[..begin], &RUNTIME[end..]);
    encode(&wat::parse_str(module(imports, &runtime, fields)).unwrap(), &contract(CURRENT), "handler")
}

/// A handler with debug information, as if it had been written in `guest.wat`.
pub(crate) fn handler_with_lines(fields: &str) -> Vec<u8> {
    let text = module(&[], RUNTIME, fields);
    let core = wat::Parser::new()
        .generate_dwarf(wat::GenerateDwarf::Full)
        .parse_str(Some(Path::new("guest.wat")), text)
        .unwrap();
    encode(&core, &contract(CURRENT), "handler")
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

/// The repository's contract, under another version if one is given; under that of a frozen one, the frozen one.
pub(crate) fn contract(version: &str) -> Resolve {
    // The tests of another package use this file too.
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let dir = above.map(|dir| dir.join("wit")).find(|dir| dir.is_dir()).unwrap();
    let frozen = dir.join("frozen").join(version);
    let dir = if frozen.is_dir() { frozen } else { dir };
    let mut text = format!("package tidemill:plugin@{version};\n");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files.into_iter().filter(|file| file.is_file()) {
        let file = std::fs::read_to_string(file).unwrap();
        let (package, rest) = file.split_once(";\n").unwrap();
        assert!(package.starts_with("package tidemill:plugin@"));
        text.push_str(rest);
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
