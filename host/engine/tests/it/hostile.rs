//! Guests that do not stop, take too much or break: they end, the host goes on, the next event is handled.

use std::time::{Duration, Instant};

use tidemill_core::config::PluginConfig;
use tidemill_core::failure::FailureKind;
use tidemill_core::limits::Limits;

use crate::guest::{EMIT, answering, handler};
use crate::rig::{ENGINE, call, call_on, limits, load, load_with, route, try_load};

/// Does the bad thing when the data begins with `x`, and succeeds otherwise.
fn bad_on_x(fields: &str, bad: &str) -> Vec<u8> {
    handler(
        &[],
        &format!(
            r#"{fields}
            (func $handle (param $in i32) (result i32)
                (if (i32.eq (i32.load8_u (i32.load (i32.add (local.get $in) (i32.const 80)))) (i32.const 120))
                    (then {bad}))
                (call $ok))"#
        ),
    )
}

#[tokio::test]
async fn after_a_trap_the_next_event_gets_a_fresh_instance() {
    let plugin = load(&bad_on_x("(func $deeper unreachable)", "(call $deeper)"));
    assert!(call(&plugin, "ok").await.is_ok());
    let failure = call(&plugin, "x").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Trap);
    let mut lines = failure.text.lines();
    assert_eq!(lines.next().unwrap(), "the guest trapped: wasm `unreachable` instruction executed");
    assert!(lines.next().unwrap().ends_with("deeper"), "{}", failure.text);
    assert!(call(&plugin, "ok").await.is_ok());
}

#[tokio::test]
async fn an_endless_loop_is_interrupted_and_timers_stay_on_time() {
    let plugin = load(&bad_on_x("", "(loop $again (br $again))"));
    let limit = Duration::from_secs(2);
    let spinning = ENGINE.runtime().spawn(async move {
        let begun = Instant::now();
        let limits = Limits { cpu: limit * 10, ..Limits::default() };
        let failure = call_on(&plugin, &route(limit, limits), "x", None).await.unwrap_err();
        let took = begun.elapsed();
        assert!(call(&plugin, "ok").await.is_ok());
        (failure, took)
    });
    let mut latest = Duration::ZERO;
    while !spinning.is_finished() {
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_millis(10)).await;
        latest = latest.max(begun.elapsed());
    }
    let (failure, took) = spinning.await.unwrap();
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert_eq!(failure.text, "the call took longer than its 2s; `timeout` of route `orders` in runtime.yaml raises it");
    assert!(took >= limit && took < limit * 10, "{took:?}");
    // Behind a guest that owned the timers it would be as late as the whole call takes.
    assert!(latest < limit * 3 / 4, "a timer of 10 ms took {latest:?}");
    assert!(ENGINE.ticker_alive());
}

#[tokio::test]
async fn spinning_guests_share_their_threads() {
    let plugin = load(&bad_on_x("", "(loop $again (br $again))"));
    let plugin = std::sync::Arc::new(plugin);
    let quick = std::sync::Arc::new(load(&answering(&[], "(call $ok)")));
    let spin = Duration::from_secs(4);
    let spinners: Vec<_> = (0..8)
        .map(|_| {
            let plugin = std::sync::Arc::clone(&plugin);
            let limits = Limits { cpu: Duration::from_secs(60), ..Limits::default() };
            let route = route(spin, limits);
            ENGINE.runtime().spawn(async move { call_on(&plugin, &route, "x", None).await })
        })
        .collect();
    let begun = Instant::now();
    let answered = ENGINE.runtime().spawn(async move { call(&quick, "ok").await.is_ok() });
    assert!(answered.await.unwrap());
    assert!(begun.elapsed() < spin / 2, "{:?}", begun.elapsed());
    for spinner in spinners {
        assert_eq!(spinner.await.unwrap().unwrap_err().kind, FailureKind::Timeout);
    }
}

#[tokio::test]
async fn a_plugin_that_spins_while_it_starts_is_not_loaded() {
    let component = handler(
        &[],
        "(func $spin (loop $again (br $again))) (start $spin) (func $handle (param i32) (result i32) (call $ok))",
    );
    let begun = Instant::now();
    let settings =
        PluginConfig { limits: limits(|limits| limits.start = Duration::from_millis(300)), ..PluginConfig::default() };
    let why = try_load(&component, &settings).err().unwrap().to_string();
    assert_eq!(
        why,
        "could not be started (timeout): the plugin was not ready 300ms after its start; it does too much before its \
         first event; `plugins.settings.guest.limits.start` in runtime.yaml raises it"
    );
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn the_time_limit_holds_wherever_the_guest_spins() {
    let route = route(Duration::from_millis(100), Limits::default());
    // The host allocates in the guest to copy the event in: the second call spins there.
    let plugin = load(&answering(&[], "(global.set $spin_in_realloc (i32.const 1)) (call $ok)"));
    assert!(call(&plugin, "ok").await.is_ok());
    assert_eq!(call_on(&plugin, &route, "ok", None).await.unwrap_err().kind, FailureKind::Timeout);
    // And it lets the guest clean up after it has read the result.
    let plugin = load(&answering(&[], "(global.set $spin_in_post_return (i32.const 1)) (call $ok)"));
    assert_eq!(call_on(&plugin, &route, "ok", None).await.unwrap_err().kind, FailureKind::Timeout);
    let filling = "(loop $again (memory.fill (i32.const 1000) (i32.const 1) (i32.const 60000)) (br $again))";
    let plugin = load(&bad_on_x("", filling));
    assert_eq!(call_on(&plugin, &route, "x", None).await.unwrap_err().kind, FailureKind::Timeout);
}

#[tokio::test]
async fn growing_beyond_the_limit_is_told_with_the_limits_name() {
    let bomb = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let settings = PluginConfig { limits: limits(|limits| limits.memory = 8 << 20), ..PluginConfig::default() };
    let plugin = load_with(&bad_on_x("", bomb), &settings);
    let failure = call(&plugin, "x").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::OutOfMemory);
    assert_eq!(
        failure.text,
        "the plugin wanted 8.1 MiB of memory; its limit is 8 MiB; `plugins.settings.guest.limits.memory` in \
         runtime.yaml raises it"
    );
    assert!(call(&plugin, "ok").await.is_ok());
}

#[tokio::test]
async fn a_plugin_that_needs_more_than_its_limit_from_the_start_is_not_loaded() {
    let settings = PluginConfig { limits: limits(|limits| limits.memory = 64 << 10), ..PluginConfig::default() };
    let why = try_load(&answering(&[], "(call $ok)"), &settings).err().unwrap().to_string();
    assert!(why.starts_with("could not be started (out-of-memory): the plugin wanted 128 KiB of memory"), "{why}");
}

#[tokio::test]
async fn a_table_bomb_is_refused() {
    let plugin = load(&bad_on_x(
        "(table $t 1 funcref)",
        "(if (i32.eq (table.grow $t (ref.null func) (i32.const 100000000)) (i32.const -1)) (then unreachable))",
    ));
    let failure = call(&plugin, "x").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::OutOfMemory);
    assert_eq!(
        failure.text,
        "the plugin wanted 100000001 table elements; its limit is 200000; \
         `plugins.settings.guest.limits.table_elements` in runtime.yaml raises it"
    );
}

#[tokio::test]
async fn endless_recursion_ends_the_call_and_not_the_process() {
    let plugin = load(&bad_on_x(
        "(func $down (param i32) (result i32) (i32.add (call $down (local.get 0)) (i32.const 1)))",
        "(drop (call $down (i32.const 1)))",
    ));
    let failure = call(&plugin, "x").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Trap);
    assert!(
        failure.text.starts_with("the guest's stack of 1 MiB, the same for all plugins, is used up"),
        "{}",
        failure.text
    );
    assert!(failure.text.lines().count() <= 11, "{}", failure.text);
    assert!(call(&plugin, "ok").await.is_ok());
}

#[tokio::test]
async fn results_that_break_the_contract_are_traps() {
    for (body, reason) in [
        ("(i32.const -8)", "out of bounds"),
        ("(i32.const 17)", "aligned"),
        ("(i32.store8 (i32.const 16) (i32.const 9)) (i32.const 16)", "discriminant"),
        ("(call $reject (i32.const 2000000) (i32.const 10))", "out of bounds"),
        ("(i32.store8 (i32.const 1000) (i32.const 255)) (call $reject (i32.const 1000) (i32.const 1))", "utf-8"),
    ] {
        let plugin = load(&answering(&[], body));
        let failure = call(&plugin, "{}").await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Trap, "{body}");
        assert!(failure.text.contains(reason), "{body}: {}", failure.text);
    }
}

#[tokio::test]
async fn a_huge_emit_is_stopped_before_the_host_copies_it() {
    let plugin = load_with(
        &answering(
            &[EMIT],
            "(drop (memory.grow (i32.const 500))) (drop (call $emit (i32.const 0) (i32.const 30000000))) (call $ok)",
        ),
        &PluginConfig::default(),
    );
    let failure = call(&plugin, "{}").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::EffectRefused);
    assert_eq!(
        failure.text,
        "the plugin handed the host more than 9437184 bytes at once; the largest of `emit_bytes`, `state_bytes`, \
         `document_bytes` and `log_bytes` under `plugins.settings.guest.limits` in runtime.yaml decides"
    );
}
