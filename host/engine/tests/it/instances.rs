//! Which instance serves which event.

use std::sync::Arc;
use std::time::Duration;

use tidemill_core::config::{InstancePolicy, PluginConfig};
use tidemill_core::failure::FailureKind;
use tidemill_core::limits::Limits;
use tidemill_engine::Plugin;

use crate::guest::{RANDOM_U64, handler, wasi_handler};
use crate::rig::{ENGINE, call_on, failure_text, limited, limits, load_with, route, standard_route, try_load};

/// Rejects each event with the number of events that its instance has seen before, `0` to `9`. An event whose data begins
/// with `x` spins first.
fn counter(grow: &str) -> Vec<u8> {
    handler(
        &[],
        &format!(
            r#"(global $seen (mut i32) (i32.const 47))
               (func $handle (param $in i32) (result i32)
                   (global.set $seen (i32.add (global.get $seen) (i32.const 1)))
                   (if (i32.eq (i32.load8_u (i32.load (i32.add (local.get $in) (i32.const 80)))) (i32.const 120))
                       (then (loop $again (br $again))))
                   {grow}
                   (i32.store8 (i32.const 1000) (global.get $seen))
                   (call $reject (i32.const 1000) (i32.const 1)))"#
        ),
    )
}

fn load_counter(settings: &PluginConfig) -> Plugin {
    load_with(&counter(""), settings)
}

async fn seen(plugin: &Plugin, calls: usize) -> String {
    let mut seen = String::new();
    for _ in 0..calls {
        seen.push_str(&failure_text(plugin).await);
    }
    seen
}

#[tokio::test]
async fn globals_survive_when_instances_are_reused() {
    assert_eq!(seen(&load_counter(&PluginConfig::default()), 5).await, "01234");
}

#[tokio::test]
async fn globals_do_not_survive_when_instances_are_fresh() {
    let settings = PluginConfig { instance: InstancePolicy::Fresh, ..PluginConfig::default() };
    assert_eq!(seen(&load_counter(&settings), 5).await, "00000");
}

#[tokio::test]
async fn an_instance_is_retired_after_its_number_of_events() {
    let settings =
        PluginConfig { limits: limits(|limits| limits.max_events_per_instance = 3), ..PluginConfig::default() };
    assert_eq!(seen(&load_counter(&settings), 7).await, "0120120");
}

#[tokio::test]
async fn an_instance_is_retired_when_its_memory_is_nearly_full() {
    let settings = PluginConfig { limits: limits(|limits| limits.memory = 4 << 20), ..PluginConfig::default() };
    // It begins with 2 pages and takes 16 more for each event; three quarters of the limit are 48 pages.
    let plugin = load_with(&counter("(drop (memory.grow (i32.const 16)))"), &settings);
    assert_eq!(seen(&plugin, 7).await, "0120120");
}

#[tokio::test]
async fn an_instance_is_retired_at_its_age() {
    let aged = |age| limited(|limits| limits.max_instance_age = age);
    assert_eq!(seen(&load_counter(&aged(Duration::ZERO)), 3).await, "000");
    assert_eq!(seen(&load_counter(&aged(Duration::from_secs(3600))), 5).await, "01234");
    // An age differs from the limit by up to a fifth; the calls in between take far less, also on a loaded machine.
    let plugin = load_counter(&aged(Duration::from_secs(4)));
    assert_eq!(seen(&plugin, 2).await, "01");
    tokio::time::sleep(Duration::from_secs(5)).await;
    // The call that finds it too old is its last.
    assert_eq!(seen(&plugin, 3).await, "201");
}

#[tokio::test]
async fn a_plugin_that_does_not_start_any_more_is_left_alone_for_a_while() {
    // It starts in one of four cases.
    let component = wasi_handler(
        &[RANDOM_U64],
        "(func $begin (if (i32.wrap_i64 (i64.and (call $random_u64) (i64.const 3))) (then unreachable)))
         (start $begin)
         (func $handle (param i32) (result i32) (call $ok))",
    );
    let settings = PluginConfig { instance: InstancePolicy::Fresh, ..PluginConfig::default() };
    let plugin = (0..200).find_map(|_| try_load(&component, &settings).ok()).unwrap();
    let mut starts = 0;
    let refused = loop {
        match call_on(&plugin, &standard_route(), "{}", None).await {
            Err(failure) if failure.kind == FailureKind::Unavailable => break failure,
            _ => starts += 1,
        }
        assert!(starts < 1000, "it was never left alone");
    };
    assert!(
        refused.text.starts_with("the plugin failed to start 2 times in a row, it is tried again in "),
        "{}",
        refused.text
    );
    assert!(refused.text.contains("the guest trapped: wasm `unreachable`"), "{}", refused.text);
}

#[tokio::test]
async fn a_dropped_call_takes_its_instance_with_it() {
    let plugin = Arc::new(load_counter(&PluginConfig { instances: Some(1), ..PluginConfig::default() }));
    assert_eq!(seen(&plugin, 2).await, "01");
    let spinning = ENGINE.runtime().spawn({
        let plugin = Arc::clone(&plugin);
        async move { call_on(&plugin, &route(Duration::from_secs(60), Limits::default()), "x", None).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    spinning.abort();
    assert!(spinning.await.unwrap_err().is_cancelled());
    assert_eq!(seen(&plugin, 2).await, "01");
}

#[tokio::test]
async fn calls_at_the_same_time_are_bounded_by_the_instances() {
    let plugin = Arc::new(load_counter(&PluginConfig { instances: Some(1), ..PluginConfig::default() }));
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let plugin = Arc::clone(&plugin);
            ENGINE.runtime().spawn(async move { failure_text(&plugin).await })
        })
        .collect();
    let mut seen = Vec::new();
    for call in calls {
        seen.push(call.await.unwrap());
    }
    seen.sort();
    assert_eq!(seen.concat(), "01234567", "one instance served them all, one after the other");
    assert_eq!(plugin.describe().instances, 1);
}
