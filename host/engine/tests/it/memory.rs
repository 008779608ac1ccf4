//! What a guest may hold: memory, tables, handles; and what it cannot make the host hold.

use std::sync::Arc;
use std::time::Duration;

use tidemill_core::config::{InstancePolicy, PluginConfig};
use tidemill_core::failure::FailureKind;
use tidemill_core::limits::Limits;

use crate::guest::{CLOCK, LOG, RANDOM, RESOURCE, answering, handler, handler_with_allocator, wasi_handler};
use crate::rig::{
    ENGINE, call, call_on, failure_text, is_alone, limited, load, load_with, peak_resident, resident, route,
    standard_route, try_load,
};

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn a_memory_bomb_costs_the_host_no_more_than_its_limit() {
    if !is_alone("memory::a_memory_bomb_costs_the_host_no_more_than_its_limit") {
        return;
    }
    // 4 GiB in one step, then page by page, each page written to.
    let plugin = load_with(
        &answering(
            &[],
            "(local $page i32)
             (if (i32.ne (memory.grow (i32.const 65533)) (i32.const -1)) (then unreachable))
             (loop $again
                 (local.set $page (memory.grow (i32.const 1)))
                 (if (i32.eq (local.get $page) (i32.const -1)) (then unreachable))
                 (i32.store (i32.mul (local.get $page) (i32.const 65536)) (i32.const 1))
                 (br $again))
             (call $ok)",
        ),
        &limited(|limits| limits.memory = 32 * MIB),
    );
    let before = resident();
    for _ in 0..10 {
        let failure = call(&plugin, "{}").await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::OutOfMemory);
        assert!(
            failure.text.starts_with("the plugin wanted 4095.9 MiB of memory; its limit is 32 MiB"),
            "{}",
            failure.text
        );
    }
    let most = peak_resident() - before;
    assert!(most < 48 * MIB, "{} KiB", most >> 10);
}

#[tokio::test]
async fn fifty_memories_are_refused_before_anything_runs() {
    let memories = "(memory 1000)".repeat(49);
    let component = handler(&[], &format!("{memories} (func $handle (param i32) (result i32) (call $ok))"));
    let why = try_load(&component, &PluginConfig::default()).err().unwrap().to_string();
    assert!(why.contains("50") && why.contains("memories"), "{why}");
}

#[tokio::test]
async fn a_table_that_is_too_large_from_the_start_is_refused() {
    for elements in ["1000000000", "4294967295", "200001"] {
        let component =
            handler(&[], &format!("(table {elements} funcref) (func $handle (param i32) (result i32) (call $ok))"));
        let why = try_load(&component, &PluginConfig::default()).err().unwrap().to_string();
        assert!(why.contains("table") && why.contains(elements), "{why}");
    }
}

#[tokio::test]
async fn table_elements_are_bounded_as_the_plugin_says() {
    let component = handler(
        &[],
        "(table $t 1 funcref)
         (func $handle (param i32) (result i32)
             (if (i32.eq (table.grow $t (ref.null func) (i32.const 100)) (i32.const -1)) (then unreachable))
             (call $ok))",
    );
    assert!(call(&load(&component), "{}").await.is_ok());
    let plugin = load_with(&component, &limited(|limits| limits.table_elements = 100));
    let failure = call(&plugin, "{}").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::OutOfMemory);
    assert_eq!(
        failure.text,
        "the plugin wanted 101 table elements; its limit is 100; `plugins.settings.guest.limits.table_elements` in \
         runtime.yaml raises it"
    );
}

#[tokio::test]
async fn a_leak_is_bounded_by_replacing_the_instance() {
    if !is_alone("memory::a_leak_is_bounded_by_replacing_the_instance") {
        return;
    }
    // A page of 64 KiB for each event, written to.
    let plugin = load_with(
        &answering(&[], "(i32.store (i32.mul (memory.grow (i32.const 1)) (i32.const 65536)) (i32.const 1)) (call $ok)"),
        &limited(|limits| limits.memory = 4 * MIB),
    );
    let run = async |calls: u32| {
        for _ in 0..calls {
            call(&plugin, "{}").await.unwrap();
        }
    };
    run(500).await;
    let before = resident();
    run(10_000).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 8 * MIB, "{} KiB after 625 MiB of leaks", grown >> 10);
}

fn handles_text(limit: u32) -> String {
    format!(
        "the plugin wanted more than the {limit} resource handles of its limit; \
         `plugins.settings.guest.limits.handles` in runtime.yaml raises it"
    )
}

#[tokio::test]
async fn handles_are_bounded_whoever_defined_the_resource() {
    let own = "(drop (call $new_thing (i32.const 0)))";
    let hosts = "(drop (call $subscribe (i64.const 1000000000)))";
    for (import, keep_one) in [(RESOURCE, own), (CLOCK, hosts)] {
        let component = wasi_handler(
            &[import],
            &format!(
                "(func $handle (param i32) (result i32) (local $left i32)
                    (local.set $left (i32.const 200000))
                    (loop $again
                        {keep_one}
                        (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
                    (call $ok))"
            ),
        );
        for limit in [10_000, 100] {
            let plugin = load_with(&component, &limited(|limits| limits.handles = limit));
            let failure = call(&plugin, "{}").await.unwrap_err();
            assert_eq!((failure.kind, failure.text), (FailureKind::OutOfMemory, handles_text(limit)));
        }
    }
}

#[tokio::test]
async fn too_many_handles_at_the_start_are_told_as_such() {
    let component = wasi_handler(
        &[RESOURCE],
        "(func $hoard (loop $again (drop (call $new_thing (i32.const 0))) (br $again)))
         (start $hoard)
         (func $handle (param i32) (result i32) (call $ok))",
    );
    let why = try_load(&component, &limited(|limits| limits.handles = 10)).err().unwrap().to_string();
    assert_eq!(why, format!("could not be started (out-of-memory): {}", handles_text(10)));
}

#[tokio::test]
async fn what_a_guest_returns_is_measured_before_it_is_copied() {
    if !is_alone("memory::what_a_guest_returns_is_measured_before_it_is_copied") {
        return;
    }
    // A reason of 60 MiB; one of 1 GiB, which it does not have; log fields: four million and a hundred million empty ones.
    let fields = |count: u32| {
        format!(
            "(call $log_raw (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const {count})) (call $ok)"
        )
    };
    let cases = [
        (
            "(call $reject (i32.const 0) (i32.const 62914560))".to_owned(),
            FailureKind::EffectRefused,
            "handed the host more",
        ),
        ("(call $reject (i32.const 0) (i32.const 1073741824))".to_owned(), FailureKind::Trap, "out of bounds"),
        (fields(3_900_000), FailureKind::EffectRefused, "handed the host more"),
        (fields(100_000_000), FailureKind::Trap, "out of bounds"),
    ];
    let plugins: Vec<_> = cases
        .iter()
        .map(|(body, ..)| load(&answering(&[LOG], &format!("(drop (memory.grow (i32.const 1000))) {body}"))))
        .collect();
    let before = peak_resident();
    for (plugin, (body, kind, reason)) in plugins.iter().zip(&cases) {
        let failure = call(plugin, "{}").await.unwrap_err();
        assert_eq!(failure.kind, *kind, "{body}: {}", failure.text);
        assert!(failure.text.contains(reason), "{body}: {}", failure.text);
    }
    let most = peak_resident() - before;
    assert!(most < 16 * MIB, "{} KiB", most >> 10);
}

#[tokio::test]
async fn an_allocator_that_breaks_the_contract_ends_the_call() {
    let reenter = "(call $log_raw (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 8)";
    for (allocate, reason) in [
        ("(i32.const -16)", "beyond end of memory"),
        ("(i32.const 3)", "aligned"),
        ("unreachable", "unreachable"),
        (reenter, "cannot leave component instance"),
    ] {
        let fields = "(func $handle (param i32) (result i32) (call $ok))";
        let plugin = load(&handler_with_allocator(&[LOG], allocate, fields));
        for _ in 0..2 {
            let failure = call(&plugin, "{}").await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::Trap);
            assert!(failure.text.contains(reason), "{allocate}: {}", failure.text);
        }
    }
    // Zero, and the same for each: the guest overwrites itself, and nobody else.
    for allocate in ["(i32.const 0)", "(i32.const 4096)"] {
        let fields = "(func $handle (param i32) (result i32) (call $ok))";
        let plugin = load(&handler_with_allocator(&[], allocate, fields));
        assert!(call(&plugin, "{}").await.is_ok(), "{allocate}");
    }
}

#[tokio::test]
async fn a_request_for_endless_random_bytes_is_refused() {
    for wanted in [1_u64 << 40, u64::MAX, 65_537] {
        let component = wasi_handler(
            &[RANDOM],
            &format!(
                "(func $handle (param i32) (result i32)
                    (call $random_bytes (i64.const {}) (i32.const 1000)) (call $ok))",
                wanted.cast_signed()
            ),
        );
        let failure = call(&load(&component), "{}").await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Trap);
        assert!(failure.text.contains(&format!("requested len {wanted} exceeds limit 65536")), "{}", failure.text);
    }
}

#[tokio::test]
async fn calls_beyond_the_engines_room_are_told_so_and_succeed_later() {
    if !is_alone("memory::calls_beyond_the_engines_room_are_told_so_and_succeed_later") {
        return;
    }
    // More instances than the engine has memories and stacks for, each waiting for a second.
    let settings = PluginConfig { instances: Some(300), instance: InstancePolicy::Fresh, ..PluginConfig::default() };
    let component = wasi_handler(
        &[CLOCK],
        "(func $handle (param i32) (result i32) (call $block (call $subscribe (i64.const 1000000000))) (call $ok))",
    );
    let plugin = Arc::new(load_with(&component, &settings));
    let mut waiting: Vec<_> = (0..300).collect();
    let mut rounds = 0;
    while !waiting.is_empty() {
        let calls: Vec<_> = waiting
            .drain(..)
            .map(|number| {
                let plugin = Arc::clone(&plugin);
                let route = route(Duration::from_secs(30), Limits::default());
                (number, ENGINE.runtime().spawn(async move { call_on(&plugin, &route, "{}", None).await }))
            })
            .collect();
        for (number, call) in calls {
            if let Err(failure) = call.await.unwrap() {
                assert_eq!(failure.kind, FailureKind::Unavailable, "{}", failure.text);
                assert!(failure.text.starts_with("the engine has no room for another instance"), "{}", failure.text);
                waiting.push(number);
            }
        }
        rounds += 1;
        assert!(rounds < 20, "{} calls never found room", waiting.len());
    }
    assert!(rounds > 1, "there was room for all at once");
}

#[tokio::test]
async fn a_fresh_instance_finds_nothing_of_the_one_before() {
    // Looks at a global, at memory below its own data, and at a page that it grows; then leaves a secret in each.
    let settings = PluginConfig { instance: InstancePolicy::Fresh, ..PluginConfig::default() };
    let component = handler(
        &[],
        r#"(global $kept (mut i32) (i32.const 0))
           (table $t 1 funcref)
           (data (i32.const 1000) "dirty")
           (func $handle (param i32) (result i32) (local $page i32) (local $at i32)
               (local.set $page (i32.mul (memory.grow (i32.const 20)) (i32.const 65536)))
               (if (i32.or
                       (i32.or (global.get $kept) (i32.load (i32.const 40000)))
                       (i32.or (i32.load (local.get $page)) (i32.load offset=1300000 (local.get $page))))
                   (then (return (call $reject (i32.const 1000) (i32.const 5)))))
               (global.set $kept (i32.const 0x5ec4e7))
               (i32.store (i32.const 40000) (i32.const 0x5ec4e7))
               (i32.store (local.get $page) (i32.const 0x5ec4e7))
               (i32.store offset=1300000 (local.get $page) (i32.const 0x5ec4e7))
               (call $ok))"#,
    );
    // The check itself works: a reused instance sees what it left.
    let reused = load(&component);
    assert!(call(&reused, "{}").await.is_ok());
    assert_eq!(failure_text(&reused).await, "dirty");

    let tenants = [load_with(&component, &settings), load_with(&component, &settings)];
    for round in 0..20_000 {
        let answer = call_on(&tenants[round % 2], &standard_route(), "{}", None).await;
        assert!(answer.is_ok(), "round {round}: {answer:?}");
    }
}
