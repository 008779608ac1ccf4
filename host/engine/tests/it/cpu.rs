//! A guest's time: how much CPU it gets, and that nobody else pays for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_core::config::PluginConfig;
use tidemill_core::failure::{Failure, FailureKind};
use tidemill_core::limits::Limits;
use tidemill_core::name::PluginName;
use tidemill_core::port::Role;
use tidemill_engine::{Engine, EngineOptions, Plugin};

use crate::guest::{CLOCK, LOG, RESOURCE, answering, handler, wasi_handler};
use crate::logging::LOGGED;
use crate::rig::{ENGINE, call, call_on, is_alone, limited, limits, load, load_with, pin_to_one_cpu, route, try_load};

const SPIN: &str = "(loop $again (br $again))";

/// A handler that does this in each call and then succeeds.
fn doing(what: &str) -> Vec<u8> {
    answering(&[], &format!("{what} (call $ok)"))
}

/// Runs a call where calls belong, on the guests' threads.
async fn on_guest_threads(plugin: &Arc<Plugin>, timeout: Duration, limits: Limits) -> Result<(), Failure> {
    let plugin = Arc::clone(plugin);
    let call = async move { call_on(&plugin, &route(timeout, limits), "ok", None).await.map(drop) };
    ENGINE.runtime().spawn(call).await.unwrap()
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_guest_that_only_computes_is_stopped_at_its_cpu_limit() {
    let quadratic = "(local $i i32) (local $j i32)
        (loop $outer
            (local.set $j (i32.const 0))
            (loop $inner
                (local.set $j (i32.add (local.get $j) (i32.const 1)))
                (br_if $inner (i32.lt_u (local.get $j) (i32.const 1000000))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $outer (i32.lt_u (local.get $i) (i32.const 1000000))))";
    for work in [SPIN, quadratic] {
        let plugin = Arc::new(load(&doing(work)));
        let cpu = Duration::from_millis(100);
        let begun = Instant::now();
        let failure = on_guest_threads(&plugin, LONG, limits(|limits| limits.cpu = cpu)).await.unwrap_err();
        let took = begun.elapsed();
        assert_eq!(failure.kind, FailureKind::Timeout);
        assert_eq!(
            failure.text,
            "the call used up its 100ms of CPU time; `plugins.settings.guest.limits.cpu` in runtime.yaml raises it"
        );
        assert!(took >= cpu && took < LONG / 2, "{took:?}");
    }
}

#[tokio::test]
async fn the_cpu_limit_holds_for_the_start_too() {
    let component =
        handler(&[], &format!("(func $spin {SPIN}) (start $spin) (func $handle (param i32) (result i32) (call $ok))"));
    let settings = limited(|limits| {
        limits.cpu = Duration::from_millis(100);
        limits.start = LONG;
    });
    let why = try_load(&component, &settings).err().unwrap().to_string();
    assert_eq!(
        why,
        "could not be started (timeout): the plugin used up its 100ms of CPU time before it was ready for its first \
         event; `plugins.settings.guest.limits.cpu` in runtime.yaml raises it"
    );
}

#[tokio::test]
async fn waiting_in_the_host_costs_no_cpu_time() {
    // A hundred waits of 10 ms.
    let waiting = wasi_handler(
        &[CLOCK],
        "(func $handle (param i32) (result i32) (local $left i32) (local $timer i32)
            (local.set $left (i32.const 100))
            (loop $again
                (local.set $timer (call $subscribe (i64.const 10000000)))
                (call $block (local.get $timer))
                (call $drop_pollable (local.get $timer))
                (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
            (call $ok))",
    );
    let plugin = Arc::new(load(&waiting));
    let begun = Instant::now();
    on_guest_threads(&plugin, LONG, limits(|limits| limits.cpu = Duration::from_millis(500))).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn neighbours_that_compute_cost_a_guest_nothing() {
    let counting = |rounds: u32| {
        doing(&format!(
            "(local $i i32)
             (loop $again
                 (local.set $i (i32.add (local.get $i) (i32.const 1)))
                 (br_if $again (i32.lt_u (local.get $i) (i32.const {rounds}))))"
        ))
    };
    let alone = |plugin: Arc<Plugin>| async move {
        let begun = Instant::now();
        on_guest_threads(&plugin, LONG, Limits::default()).await.unwrap();
        begun.elapsed()
    };
    // So many rounds that they take some ticks even when nothing disturbs them.
    let mut rounds = 1_000_000;
    let (plugin, took_alone) = loop {
        let plugin = Arc::new(load(&counting(rounds)));
        let mut shortest = LONG;
        for _ in 0..3 {
            shortest = shortest.min(alone(Arc::clone(&plugin)).await);
        }
        if shortest >= Duration::from_millis(40) {
            break (plugin, shortest);
        }
        rounds *= 2;
    };

    let spinners = Arc::new(load_with(&doing(SPIN), &PluginConfig { instances: Some(16), ..PluginConfig::default() }));
    // Longer than what is asked of it, however slow the machine is.
    let spin = Duration::from_secs(2).max(took_alone * 20);
    let spinning: Vec<_> = (0..16)
        .map(|_| {
            let spinners = Arc::clone(&spinners);
            let limits = limits(|limits| limits.cpu = LONG);
            tokio::spawn(async move { on_guest_threads(&spinners, spin, limits).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let cpu = took_alone * 3;
    let begun = Instant::now();
    on_guest_threads(&plugin, LONG, limits(|limits| limits.cpu = cpu)).await.unwrap();
    let took = begun.elapsed();
    assert!(took > cpu, "the neighbours did not delay it: {took:?} against {took_alone:?} alone");
    for spinner in spinning {
        assert_eq!(spinner.await.unwrap().unwrap_err().kind, FailureKind::Timeout);
    }
}

/// Guests that owned the threads would make every try fail; a machine that is busy for a moment makes one fail.
async fn spinning_guests_hold_up_nobody() {
    let mut tries = Vec::new();
    while tries.len() < 5 {
        match spin_beside_a_timer_and_a_neighbour().await {
            Ok(()) => return,
            Err(told) => tries.push(told),
        }
    }
    panic!("{tries:?}");
}

/// Twice as many spinning guests as there are threads for them; meanwhile a timer of the host and another plugin.
async fn spin_beside_a_timer_and_a_neighbour() -> Result<(), String> {
    let cores = std::thread::available_parallelism().unwrap().get();
    let settings = PluginConfig { instances: Some(2 * cores), ..PluginConfig::default() };
    let spinners = Arc::new(load_with(&doing(SPIN), &settings));
    let neighbour = Arc::new(load(&doing("")));
    let spinning: Vec<_> = (0..2 * cores)
        .map(|_| {
            let spinners = Arc::clone(&spinners);
            tokio::spawn(async move { on_guest_threads(&spinners, Duration::from_secs(2), Limits::default()).await })
        })
        .collect();
    let calls = tokio::spawn(async move {
        let begun = Instant::now();
        let mut calls = 0_u32;
        while begun.elapsed() < Duration::from_secs(1) {
            on_guest_threads(&neighbour, LONG, Limits::default()).await.unwrap();
            calls += 1;
        }
        calls
    });
    let mut late: Vec<Duration> = Vec::new();
    for _ in 0..50 {
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_millis(10)).await;
        late.push(begun.elapsed().saturating_sub(Duration::from_millis(10)));
    }
    late.sort();
    let calls = calls.await.unwrap();
    let told = format!(
        "timers: half within {:?}, the latest {:?}; {calls} calls of a neighbour in a second",
        late[25], late[49]
    );
    println!("{told}");
    for spinner in spinning {
        assert_eq!(spinner.await.unwrap().unwrap_err().kind, FailureKind::Timeout);
    }
    // Each call waits for at most a tick of each spinner on its thread.
    let fine = late[25] < Duration::from_millis(100) && late[49] < Duration::from_millis(500) && calls >= 10;
    if fine { Ok(()) } else { Err(told) }
}

#[tokio::test]
async fn while_guests_spin_timers_are_on_time_and_another_plugin_progresses() {
    if is_alone("cpu::while_guests_spin_timers_are_on_time_and_another_plugin_progresses") {
        spinning_guests_hold_up_nobody().await;
    }
}

#[tokio::test]
async fn while_guests_spin_on_the_only_cpu_timers_are_on_time_and_another_plugin_progresses() {
    if is_alone("cpu::while_guests_spin_on_the_only_cpu_timers_are_on_time_and_another_plugin_progresses") {
        pin_to_one_cpu();
        spinning_guests_hold_up_nobody().await;
    }
}

#[tokio::test]
async fn a_destructor_that_spins_is_interrupted_too() {
    let plugin = load(&wasi_handler(
        &[RESOURCE],
        "(func $handle (param i32) (result i32)
            (global.set $spin_in_destructor (i32.const 1))
            (call $drop_thing (call $new_thing (i32.const 7)))
            (call $ok))",
    ));
    let route = route(Duration::from_millis(200), Limits::default());
    assert_eq!(call_on(&plugin, &route, "{}", None).await.unwrap_err().kind, FailureKind::Timeout);
}

#[tokio::test]
async fn a_recursion_that_calls_the_host_at_its_bottom_ends_the_call_and_not_the_process() {
    let plugin = load(&handler(
        &[LOG],
        "(func $down (param i32) (result i32)
            (call $log (i32.const 0) (i32.const 0) (i32.const 0))
            (i32.add (call $down (local.get 0)) (i32.const 1)))
         (func $handle (param i32) (result i32) (drop (call $down (i32.const 1))) (call $ok))",
    ));
    let failure = call(&plugin, "{}").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Trap);
    assert!(failure.text.starts_with("the guest's stack of 1 MiB"), "{}", failure.text);
    assert!(call(&load(&doing("")), "{}").await.is_ok());
}

#[tokio::test]
async fn a_frame_that_is_larger_than_the_stack_ends_the_call() {
    // Values that are all live at once, in a function that calls itself.
    let locals = "(local i64)".repeat(5000);
    let set: String = (1..=5000).map(|local| format!("(local.set {local} (i64.load (local.get 0)))")).collect();
    let sum: String = (1..=5000).map(|local| format!("(local.get {local}) i64.add ")).collect();
    let plugin = load(&handler(
        &[],
        &format!(
            "(func $down (param i32) (result i64) {locals} {set} (call $down (local.get 0)) {sum})
             (func $handle (param i32) (result i32) (drop (call $down (i32.const 0))) (call $ok))"
        ),
    ));
    let failure = call(&plugin, "{}").await.unwrap_err();
    assert!(failure.text.starts_with("the guest's stack of 1 MiB"), "{}", failure.text);
}

/// Waits for a timer of this many milliseconds, and lets it go, `times` times.
fn sleeping(millis: u32, times: u32) -> Vec<u8> {
    wasi_handler(
        &[CLOCK],
        &format!(
            "(func $handle (param i32) (result i32) (local $left i32) (local $timer i32)
                (local.set $left (i32.const {times}))
                (loop $again
                    (local.set $timer (call $subscribe (i64.const {millis}000000)))
                    (call $block (local.get $timer))
                    (call $drop_pollable (local.get $timer))
                    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
                (call $ok))"
        ),
    )
}

#[tokio::test]
async fn a_guest_that_sleeps_in_the_host_ends_at_its_time_limit() {
    let plugin = load(&sleeping(3_600_000, 1));
    let begun = Instant::now();
    for _ in 0..2 {
        let failure = call_on(&plugin, &route(Duration::from_millis(200), Limits::default()), "{}", None).await;
        assert_eq!(failure.unwrap_err().kind, FailureKind::Timeout);
    }
    assert!(begun.elapsed() < LONG);
}

#[tokio::test]
async fn a_guest_that_polls_without_waiting_lets_others_progress() {
    let settings = PluginConfig { instances: Some(8), ..PluginConfig::default() };
    let plugin = Arc::new(load_with(&sleeping(0, u32::MAX), &settings));
    let busy = || limits(|limits| limits.cpu = LONG);
    let polling: Vec<_> = (0..8)
        .map(|_| {
            let plugin = Arc::clone(&plugin);
            tokio::spawn(async move { on_guest_threads(&plugin, Duration::from_secs(6), busy()).await })
        })
        .collect();
    let neighbour = Arc::new(load(&doing("")));
    for _ in 0..10 {
        on_guest_threads(&neighbour, LONG, Limits::default()).await.unwrap();
    }
    assert!(polling.iter().all(|call| !call.is_finished()), "they were done before the others");
    for call in polling {
        assert_eq!(call.await.unwrap().unwrap_err().kind, FailureKind::Timeout);
    }
}

#[tokio::test]
async fn when_the_clock_of_the_engine_dies_it_is_started_again() {
    std::sync::LazyLock::force(&LOGGED);
    let engine = Engine::new(EngineOptions { cores: 2, ..EngineOptions::default() }).unwrap();
    let load = |component: &[u8]| {
        engine.load(&PluginName::try_new("guest").unwrap(), component, &PluginConfig::default(), Role::Handler).unwrap()
    };
    let (sleeper, spinner) = (load(&sleeping(3_600_000, 1)), Arc::new(load(&doing(SPIN))));
    engine.kill_ticker();
    // Waiting calls need no clock of the engine to end.
    let route = route(Duration::from_millis(100), Limits::default());
    assert_eq!(call_on(&sleeper, &route, "{}", None).await.unwrap_err().kind, FailureKind::Timeout);
    // A guest that computes is interrupted by the next clock.
    let begun = Instant::now();
    let spinning = engine.runtime().spawn(async move { call_on(&spinner, &route, "{}", None).await });
    assert_eq!(spinning.await.unwrap().unwrap_err().kind, FailureKind::Timeout);
    assert!(begun.elapsed() < LONG, "{:?}", begun.elapsed());
    assert!(engine.ticker_alive());
    assert!(LOGGED.text().contains("the clock that interrupts guests has stopped; another one is started"));
}
