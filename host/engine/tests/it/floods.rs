//! Guests that want too much of the host at once: emits, headers, lines.

use std::time::Duration;

use tidemill_core::failure::FailureKind;

use crate::guest::{EMIT, LOG, STDOUT, answering, handler, wasi_handler};
use crate::rig::{call, call_on, limits, load, route};

#[tokio::test]
async fn a_million_emits_are_refused_at_the_limit_and_nothing_leaves() {
    let plugin = load(&handler(
        &[EMIT],
        r#"(data (i32.const 1000) "fraud.a")
           (func $handle (param i32) (result i32) (local $left i32)
               (local.set $left (i32.const 1000000))
               (loop $again
                   (drop (call $emit (i32.const 1000) (i32.const 7)))
                   ;; Forgets the text of the refusal.
                   (global.set $top (i32.const 65536))
                   (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
               (call $ok))"#,
    ));
    // Not what ends it, also on a loaded machine.
    let long = Duration::from_secs(1200);
    let route = route(long, limits(|limits| limits.cpu = long));
    let failure = call_on(&plugin, &route, "{}", None).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::EffectRefused);
    assert!(failure.text.contains("the limit `emits` of 100"), "{}", failure.text);
}

#[tokio::test]
async fn emitted_bytes_fit_exactly_or_not_at_all() {
    // Emits its event's data to `fraud.a`.
    let plugin = load(&handler(
        &[EMIT],
        r#"(data (i32.const 1000) "fraud.a")
           (data (i32.const 1100) "T")
           (func $handle (param $in i32) (result i32)
               (i32.store (i32.const 1200) (i32.const 1000))
               (i32.store (i32.const 1204) (i32.const 7))
               (i32.store (i32.const 1208) (i32.const 1100))
               (i32.store (i32.const 1212) (i32.const 1))
               (i32.store (i32.const 1260) (i32.load offset=80 (local.get $in)))
               (i32.store (i32.const 1264) (i32.load offset=84 (local.get $in)))
               (call $emit_raw (i32.const 1200) (i32.const 1300))
               (call $ok))"#,
    ));
    // What counts besides the data is found out, not assumed.
    let with_limit = async |bytes: u64, data: &str| {
        let route = route(Duration::from_secs(5), limits(|limits| limits.emit_bytes = bytes));
        call_on(&plugin, &route, data, None).await
    };
    let mut overhead = 0;
    while with_limit(overhead, "").await.is_err() {
        overhead += 1;
        assert!(overhead < 100);
    }
    let data = "x".repeat(20_000);
    assert_eq!(with_limit(20_000 + overhead, &data).await.unwrap().emits[0].data.len(), 20_000);
    let failure = with_limit(20_000 + overhead - 1, &data).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::EffectRefused);
    assert!(failure.text.contains("the limit `emit_bytes`"), "{}", failure.text);
}

#[tokio::test]
async fn a_subject_made_from_event_data_cannot_leave_its_grant() {
    let component = answering(
        &[EMIT],
        "(drop (call $emit (i32.load offset=80 (local.get $in)) (i32.load offset=84 (local.get $in)))) (call $ok)",
    );
    let plugin = load(&component);
    assert_eq!(call(&plugin, "fraud.a").await.unwrap().emits.len(), 1);
    let long = format!("fraud.{}", "a".repeat(5000));
    for subject in [
        "orders.created",
        "orders.*",
        ">",
        "fraud.>",
        "fraud.*",
        "$JS.API.STREAM.DELETE.X",
        "$SYS.x",
        "$KV.x",
        "_INBOX.x",
        "fraud.a b",
        "fraud.a\r\nPUB x 0",
        "fraud.\u{0}",
        "fraud..a",
        "fraud.",
        ".fraud",
        "",
        &long,
    ] {
        let answer = call(&plugin, subject).await;
        let failure = answer.expect_err(subject);
        assert_eq!(failure.kind, FailureKind::EffectRefused, "{subject}");
    }
}

/// Emits to `fraud.a` with this many times the same extension.
fn with_extension(name: &str, value: &str, times: u32) -> Vec<u8> {
    let escaped = |text: &str| text.bytes().map(|byte| format!("\\{byte:02x}")).collect::<String>();
    handler(
        &[EMIT],
        &format!(
            r#"(data (i32.const 1000) "fraud.a")
               (data (i32.const 1100) "T")
               (data (i32.const 1400) "{}")
               (data (i32.const 1600) "{}")
               (func $handle (param i32) (result i32) (local $at i32)
                   (local.set $at (i32.const 2000))
                   (loop $again
                       (i32.store (local.get $at) (i32.const 1400))
                       (i32.store offset=4 (local.get $at) (i32.const {}))
                       (i32.store offset=8 (local.get $at) (i32.const 1600))
                       (i32.store offset=12 (local.get $at) (i32.const {}))
                       (local.set $at (i32.add (local.get $at) (i32.const 16)))
                       (br_if $again (i32.lt_u (local.get $at) (i32.const {}))))
                   (i32.store (i32.const 1200) (i32.const 1000))
                   (i32.store (i32.const 1204) (i32.const 7))
                   (i32.store (i32.const 1208) (i32.const 1100))
                   (i32.store (i32.const 1212) (i32.const 1))
                   (i32.store (i32.const 1252) (i32.const 2000))
                   (i32.store (i32.const 1256) (i32.const {times}))
                   (call $emit_raw (i32.const 1200) (i32.const 1300))
                   (call $ok))"#,
            escaped(name),
            escaped(value),
            name.len(),
            value.len(),
            2000 + 16 * times,
        ),
    )
}

#[tokio::test]
async fn headers_that_are_the_hosts_or_break_out_are_refused() {
    let emits = call(&load(&with_extension("tenant", "a", 1)), "{}").await.unwrap().emits;
    assert_eq!(emits[0].extensions, [("tenant".to_owned(), "a".to_owned())]);
    for (name, value, times) in [
        ("tenant", "a\r\nNats-Rollup: all", 1),
        ("te\r\nnant", "a", 1),
        ("Nats-Msg-Id", "1", 1),
        ("Nats-Expected-Last-Sequence", "1", 1),
        ("Nats-Rollup", "all", 1),
        ("id", "forged", 1),
        ("source", "forged", 1),
        ("tenant", "a", 1000),
    ] {
        let failure = call(&load(&with_extension(name, value, times)), "{}").await.expect_err(name);
        assert_eq!(failure.kind, FailureKind::EffectRefused, "{name}: {}", failure.text);
    }
}

#[tokio::test]
async fn one_long_line_is_cut_and_the_call_succeeds() {
    // Four megabytes in one line, which the log limit takes whole.
    let body = "(drop (memory.grow (i32.const 100)))
        (memory.fill (i32.const 70000) (i32.const 120) (i32.const 4000000))
        (call $log (i32.const 2) (i32.const 70000) (i32.const 4000000))";
    let generous = route(Duration::from_secs(5), limits(|limits| limits.log_bytes = 8_000_000));
    let plugin = load(&answering(&[LOG], &format!("{body} (call $ok)")));
    call_on(&plugin, &generous, "{}", None).await.unwrap();
    let failing = load(&answering(&[LOG], &format!("{body} unreachable")));
    let failure = call_on(&failing, &generous, "{}", None).await.unwrap_err();
    let [line] = failure.log_tail.as_slice() else { panic!("{} lines", failure.log_tail.len()) };
    assert!(line.len() <= 8192 && line.ends_with('…'), "{} bytes", line.len());
}

#[tokio::test]
async fn a_flood_on_standard_output_is_cut_and_never_blocks_or_traps() {
    // Ten megabytes, without one line end.
    let flood = |end: &str| {
        wasi_handler(
            &[STDOUT],
            &format!(
                "(func $handle (param i32) (result i32) (local $left i32) (local $out i32)
                    (local.set $out (call $stdout))
                    (memory.fill (i32.const 1000) (i32.const 120) (i32.const 4096))
                    (local.set $left (i32.const 2560))
                    (loop $again
                        (call $write (local.get $out) (i32.const 1000) (i32.const 4096) (i32.const 6000))
                        (if (i32.load8_u (i32.const 6000)) (then unreachable))
                        (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
                    {end})"
            ),
        )
    };
    call(&load(&flood("(call $ok)")), "{}").await.unwrap();
    let failure = call(&load(&flood("(call $reject (i32.const 1000) (i32.const 1))")), "{}").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Rejected);
    let last = failure.log_tail.last().unwrap();
    assert!(last.contains("were dropped: the limit `stdout_bytes` of 65536 is used up"), "{last}");
}
