//! Builds of one plugin: good ones that say who they are, and bad ones.

use crate::guest::{CLOCK, EMIT, wasi_handler};

/// Emits each event's data to `out.a`, with the type `<label>-<attempt>`. `before` is done first; the event is at `$at`.
fn forwarding(label: &str, before: &str) -> Vec<u8> {
    let last = 1100 + label.len() + 1;
    let length = label.len() + 2;
    let fields = format!(
        r#"
        (data (i32.const 1000) "out.a")
        (data (i32.const 1100) "{label}-0")
        (global $calls (mut i32) (i32.const 0))
        (func $sleep (param $nanos i64) (local $timer i32)
            (local.set $timer (call $subscribe (local.get $nanos)))
            (call $block (local.get $timer))
            (call $drop_pollable (local.get $timer)))
        (func $handle (param $at i32) (result i32)
            (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            {before}
            (i32.store8 (i32.const {last}) (i32.add (i32.const 48) (i32.load offset=96 (local.get $at))))
            (memory.fill (i32.const 200) (i32.const 0) (i32.const 100))
            (i32.store (i32.const 200) (i32.const 1000))
            (i32.store (i32.const 204) (i32.const 5))
            (i32.store (i32.const 208) (i32.const 1100))
            (i32.store (i32.const 212) (i32.const {length}))
            (i32.store (i32.const 260) (i32.load offset=80 (local.get $at)))
            (i32.store (i32.const 264) (i32.load offset=84 (local.get $at)))
            (call $emit_raw (i32.const 200) (i32.const 300))
            (call $ok))"#
    );
    wasi_handler(&[EMIT, CLOCK], &fields)
}

pub(super) fn good(label: &str) -> Vec<u8> {
    forwarding(label, "")
}

pub(super) fn traps() -> Vec<u8> {
    forwarding("bad", "(unreachable)")
}

/// On every fifth call of an instance.
pub(super) fn traps_on_every_fifth() -> Vec<u8> {
    let fifth = "(i32.eqz (i32.rem_u (global.get $calls) (i32.const 5)))";
    forwarding("bad", &format!("(if {fifth} (then (unreachable)))"))
}

pub(super) fn spins() -> Vec<u8> {
    forwarding("bad", "(loop $again (br $again))")
}

/// Longer than anybody would take for chance, without burning what other tests need.
pub(super) fn slow(label: &str) -> Vec<u8> {
    forwarding(label, "(call $sleep (i64.const 30_000_000))")
}

/// Takes 128 KiB at every call and never gives them back.
pub(super) fn leaks() -> Vec<u8> {
    forwarding("bad", "(drop (memory.grow (i32.const 2)))")
}

/// Waits for a minute on events with this many bytes of data.
pub(super) fn stuck_on_long_events(label: &str, bytes: usize) -> Vec<u8> {
    let long = format!("(i32.gt_u (i32.load offset=84 (local.get $at)) (i32.const {bytes}))");
    forwarding(label, &format!("(if {long} (then (call $sleep (i64.const 60_000_000_000))))"))
}

/// The same component under another digest: a custom section at its end.
pub(crate) fn variant(component: &[u8], number: usize) -> Vec<u8> {
    let mut bytes = component.to_vec();
    let text = format!("build {number:06}");
    let name = "counter";
    bytes.extend([0, u8::try_from(1 + name.len() + text.len()).unwrap(), u8::try_from(name.len()).unwrap()]);
    bytes.extend(name.as_bytes());
    bytes.extend(text.as_bytes());
    bytes
}
