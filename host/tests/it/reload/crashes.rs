//! SIGKILL around swaps: the next start always has a build to serve with (case E10).

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::guests::{good, traps, variant};
use super::{SHORT, digest, each_once, emit, home, put, serves};
use crate::harness::{Home, Host};

const ROUNDS: usize = 15;
const EVENTS_PER_ROUND: usize = 60;

/// Waits until the build that serves is remembered for the next start.
fn until_remembered(home: &Home, host: &Host, build: &[u8]) {
    host.until("remembered", |_| {
        let record = fs::read(home.path(".tidemill/plugins/generations.json")).unwrap_or_default();
        let record: Value = serde_json::from_slice(&record).unwrap_or_default();
        record["plugins"]["forward"]["live"] == digest(build)
    });
}

#[test]
fn killed_at_random_moments_of_swaps_the_host_always_starts_again() {
    let seed =
        std::env::var("TIDEMILL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("TIDEMILL_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let build = good("one");
    let home = home(SHORT, &build);
    let host = home.start();
    until_remembered(&home, &host, &build);
    host.kill();
    for round in 0..ROUNDS {
        let events = round * EVENTS_PER_ROUND;
        emit(&home, events..events + EVENTS_PER_ROUND);
        // It starts, whatever the round before has left in the folder; or this panics.
        let host = home.start();
        let next = match random.u8(0..4) {
            0 => variant(&traps(), round),
            1 => b"no component at all".to_vec(),
            _ => variant(&build, round),
        };
        put(&home, &next);
        thread::sleep(Duration::from_millis(random.u64(0..700)));
        host.kill();
    }
    let last = good("two");
    put(&home, &last);
    let host = home.start();
    host.until_plugin("the last build", serves(&last));
    host.stop();
    let ran = home.run(&["run", "--until-idle"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    each_once(&home, ROUNDS * EVENTS_PER_ROUND);
}

#[test]
fn a_start_with_garbage_in_the_folder_serves_with_the_build_that_ran_last() {
    let build = good("one");
    let home = home("", &build);
    let host = home.start();
    until_remembered(&home, &host, &build);
    host.kill();
    put(&home, b"garbage");
    let host = home.start();
    let plugin = host.plugin();
    assert_eq!(plugin.digest, digest(&build));
    let refused = plugin.refused.unwrap();
    assert_eq!(refused.digest, Some(digest(b"garbage")));
    assert!(refused.why.contains("is not WebAssembly"), "{}", refused.why);
    emit(&home, 0..10);
    host.until_done("forward", 10);
    host.stop();
    each_once(&home, 10);
}

#[test]
fn a_start_with_garbage_and_no_memory_is_refused() {
    let home = home("", b"garbage");
    let log = home.try_start().err().expect("there is nothing to serve with");
    assert!(log.contains("is not WebAssembly") && log.contains("1 unusable plugin"), "{log}");
}
