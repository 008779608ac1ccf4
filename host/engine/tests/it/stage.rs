//! A plugin on a stage: the same surroundings give the same answer, what it says is written down, and its limits are those of a
//! host.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tidemill_core::config::PluginConfig;
use tidemill_core::failure::FailureKind;
use tidemill_core::limits::Limits;
use tidemill_core::port::{Call, CallSettings};
use tidemill_engine::{Answer, Answers, Performance, Plugin, Request, Requests, Scene, Stage, Voice};

use crate::guest::{CLOCK, HOST, LOG, RANDOM, STATE, STDOUT, TIME_LEFT, answering, handler, wasi_handler};
use crate::http::{ASKER, granted};
use crate::rig::{ENGINE, event, load, load_with, origin, route, standard_route};
use crate::server::Server;
use crate::state::session_of;

fn scene(seed: u64) -> Scene {
    Scene { now: UNIX_EPOCH + Duration::from_millis(1_767_225_600_123), seed, requests: Requests::Refused }
}

fn stage(plugin: Plugin) -> Stage {
    Stage::new(Arc::new(plugin))
}

async fn play(stage: &mut Stage, scene: &Scene, data: &str) -> Performance {
    play_on(stage, scene, &standard_route(), data).await
}

async fn play_on(stage: &mut Stage, scene: &Scene, route: &Arc<CallSettings>, data: &str) -> Performance {
    let (event, origin) = (event(data), origin());
    let state = Some(session_of("guest"));
    let call = Call { event: &event, route, attempt: 1, origin: &origin, state, documents: None };
    stage.call(scene, call).await
}

fn written(performance: Performance) -> Vec<(String, Bytes)> {
    let state = performance.outcome.unwrap().state.unwrap();
    state.writes().iter().map(|(key, value)| (key.clone(), value.clone().unwrap())).collect()
}

/// Puts what the host and WASI give into the state: `h` and `w` eight random bytes each, `n` the time.
fn gambler() -> Vec<u8> {
    wasi_handler(
        &[HOST, STATE, RANDOM],
        r#"(data (i32.const 1000) "hwn")
           (func $keep (param $key i32) (param $at i32)
               (call $state_put (local.get $key) (i32.const 1) (i32.load (local.get $at))
                   (i32.load offset=4 (local.get $at)) (i32.const 1200)))
           (func $handle (param i32) (result i32)
               (call $random (i32.const 8) (i32.const 1100))
               (call $keep (i32.const 1000) (i32.const 1100))
               (call $random_bytes (i64.const 8) (i32.const 1112))
               (call $keep (i32.const 1001) (i32.const 1112))
               (call $now (i32.const 1120))
               (call $keep (i32.const 1002) (i32.const 1120))
               (call $ok))"#,
    )
}

#[tokio::test]
async fn the_same_scene_gives_the_same_numbers_and_the_same_hour() {
    let mut one = stage(load(&gambler()));
    let first = written(play(&mut one, &scene(7), "{}").await);
    assert_eq!(first[1], ("n".to_owned(), Bytes::from_static(b"2026-01-01T00:00:00.123Z")));
    assert_ne!(first[0].1, first[2].1, "the host and WASI give numbers of their own");
    assert_eq!(written(play(&mut one, &scene(7), "{}").await), first, "also on an instance that was called before");
    let mut other = stage(load(&gambler()));
    assert_eq!(written(play(&mut other, &scene(7), "{}").await), first, "and on another one");
    let others = written(play(&mut other, &scene(8), "{}").await);
    assert!(others[0] != first[0] && others[2] != first[2] && others[1] == first[1]);
}

#[tokio::test]
async fn a_plugin_that_works_until_its_time_is_used_up_comes_to_an_end() {
    let busy = "(loop $again (br_if $again (i32.gt_u (call $time_left) (i32.const 4000)))) (call $ok)";
    let mut stage = stage(load(&answering(&[TIME_LEFT], busy)));
    for _ in 0..2 {
        assert!(play(&mut stage, &scene(7), "{}").await.outcome.is_ok());
    }
}

#[tokio::test]
async fn in_a_host_numbers_and_hours_are_real() {
    let plugin = load(&gambler());
    let once = crate::rig::call_on(&plugin, &standard_route(), "{}", Some(session_of("guest"))).await.unwrap();
    let again = crate::rig::call_on(&plugin, &standard_route(), "{}", Some(session_of("guest"))).await.unwrap();
    let (once, again) = (once.state.unwrap(), again.state.unwrap());
    assert_ne!(once.writes()["h"], again.writes()["h"]);
    assert_ne!(once.writes()["w"], again.writes()["w"]);
    let year = time::OffsetDateTime::from(SystemTime::now()).year().to_string();
    assert!(once.writes()["n"].as_deref().unwrap().starts_with(year.as_bytes()));
}

#[tokio::test]
async fn an_instance_goes_on_to_the_next_call_and_not_after_a_trap() {
    // Counts its calls in a global, says how many, and traps when the data begins with `x`.
    let counting = handler(
        &[],
        r#"(data (i32.const 1000) "0")
           (func $handle (param $in i32) (result i32)
               (i32.store8 (i32.const 1000) (i32.add (i32.load8_u (i32.const 1000)) (i32.const 1)))
               (if (i32.eq (i32.load8_u (i32.load (i32.add (local.get $in) (i32.const 80)))) (i32.const 120))
                   (then unreachable))
               (call $reject (i32.const 1000) (i32.const 1)))"#,
    );
    let mut stage = stage(load(&counting));
    let mut said = Vec::new();
    for data in ["{}", "{}", "x", "{}"] {
        let performance = play(&mut stage, &scene(1), data).await;
        said.push((
            performance.outcome.unwrap_err().text.lines().next().unwrap().to_owned(),
            performance.started.is_some(),
        ));
    }
    let trap = "the guest trapped: wasm `unreachable` instruction executed";
    let said: Vec<_> = said.iter().map(|(text, started)| (text.as_str(), *started)).collect();
    assert_eq!(said, [("1", true), ("2", false), (trap, false), ("1", true)]);
}

#[tokio::test]
async fn everything_that_a_guest_says_is_written_down_in_order() {
    let talking = wasi_handler(
        &[LOG, STDOUT],
        r#"(data (i32.const 1000) "first\nsecond")
           (func $handle (param i32) (result i32)
               (call $log (i32.const 3) (i32.const 1000) (i32.const 5))
               (call $write (call $stdout) (i32.const 1006) (i32.const 6) (i32.const 1100))
               (call $ok))"#,
    );
    let performance = play(&mut stage(load(&talking)), &scene(1), "{}").await;
    let lines: Vec<_> = performance.log.iter().map(|it| (it.level.as_str(), it.from, it.text.as_str())).collect();
    assert_eq!(lines, [("warn", Voice::Log, "first"), ("info", Voice::Stdout, "second")]);
}

#[tokio::test]
async fn limits_are_those_of_a_host_and_cpu_time_is_measured() {
    let spinning = answering(&[], "(loop $again (br $again)) unreachable");
    let route = route(Duration::from_millis(100), Limits::default());
    let mut spins = stage(load(&spinning));
    let performance = ENGINE.runtime().spawn(async move { play_on(&mut spins, &scene(1), &route, "{}").await }).await;
    let performance = performance.unwrap();
    assert_eq!(performance.outcome.unwrap_err().kind, FailureKind::Timeout);
    let (cpu, took) = (performance.cpu, performance.took);
    assert!(cpu >= Duration::from_millis(5) && cpu <= took + Duration::from_millis(5), "{cpu:?} of {took:?}");

    // Sleeps for 100 ms: waiting is no CPU time.
    let sleeping = wasi_handler(
        &[CLOCK],
        r#"(func $handle (param i32) (result i32)
               (local $pollable i32)
               (local.set $pollable (call $subscribe (i64.const 100000000)))
               (call $block (local.get $pollable))
               (call $drop_pollable (local.get $pollable))
               (call $ok))"#,
    );
    let performance = play(&mut stage(load(&sleeping)), &scene(1), "{}").await;
    assert!(performance.outcome.is_ok());
    assert!(performance.took >= Duration::from_millis(100) && performance.cpu < Duration::from_millis(50));
    assert!(performance.memory >= 2 * 64 * 1024, "{}", performance.memory);
}

#[tokio::test]
async fn requests_are_not_sent_unless_the_scene_says_so() {
    let server = Server::start().await;
    let settings: PluginConfig = granted(&[format!("http://127.0.0.1:{}", server.port)], Limits::default());
    let wish = format!(r#"{{"do":"ask","authority":"127.0.0.1:{}","path":"/"}}"#, server.port);
    let mut asks = stage(load_with(&ASKER, &settings));
    let refused = play(&mut asks, &scene(1), &wish).await;
    let line = format!(
        "the request to `http://127.0.0.1:{}` was not sent, because this call is only tried; `tidemill invoke --send-requests` sends it",
        server.port
    );
    assert!(refused.log.iter().any(|it| it.text == line), "{:?}", refused.log);
    let arrived = || server.seen.heads.lock().unwrap().len();
    assert_eq!(arrived(), 0);
    assert_eq!(refused.requests[0].line(), format!("GET http://127.0.0.1:{}/", server.port));
    play(&mut asks, &Scene { requests: Requests::Sent, ..scene(1) }, &wish).await.outcome.unwrap();
    assert_eq!(arrived(), 1);
}

/// Answers whoever asks for `/teapot`.
struct Teapot;

impl Answers for Teapot {
    fn answer(&self, request: &Request) -> Option<Answer> {
        let headers = vec![("x-made-of".to_owned(), "china".to_owned())];
        let answer = || Answer { status: 418, headers, body: Bytes::from_static(b"short and stout") };
        request.url.ends_with("/teapot").then(answer)
    }
}

#[tokio::test]
async fn a_request_is_answered_on_the_stage_and_only_where_it_is_granted() {
    let settings = granted(&["https://api.example.com".to_owned()], Limits::default());
    let mut asks = stage(load_with(&ASKER, &settings));
    let answered = Scene { requests: Requests::Answered(Arc::new(Teapot)), ..scene(1) };
    let wish = |authority: &str, path: &str| {
        format!(r#"{{"do":"ask","scheme":"https","authority":"{authority}","path":"{path}"}}"#)
    };
    let told = play(&mut asks, &answered, &wish("api.example.com", "/teapot")).await;
    let emits = told.outcome.unwrap().emits;
    let said = String::from_utf8_lossy(&emits[0].data);
    assert!(said.contains("418") && said.contains("short and stout"), "{said}");
    assert_eq!(told.requests[0].line(), "GET https://api.example.com/teapot");
    let unanswered = play(&mut asks, &answered, &wish("api.example.com", "/kettle")).await;
    let line = "the request `GET https://api.example.com/kettle` has no answer in this case; `http` gives it one";
    assert!(unanswered.log.iter().any(|it| it.text == line), "{:?}", unanswered.log);
    let denied = play(&mut asks, &answered, &wish("evil.example", "/teapot")).await;
    assert!(denied.requests.is_empty(), "{:?}", denied.requests);
    assert!(denied.log[0].text.contains("allowed_outbound_hosts"), "{:?}", denied.log);
}
