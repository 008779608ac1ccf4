//! A build that is worse than the one it replaces is rolled back and quarantined, and no event is the worse for it.

use std::fs;

use serde_json::Value;
use tidemill::status::PluginState;

use super::guests::{good, leaks, slow, spins, traps, traps_on_every_fifth, variant};
use super::{SHORT, digest, each_once, emit, home, put, serves};
use crate::harness::Home;

/// As `plugins list --output json` shows the only plugin.
fn listed(home: &Home) -> Value {
    let list = home.json(&["plugins", "list"]);
    assert_eq!(list["running"], true);
    list["plugins"][0].clone()
}

/// Drops `bad` beside a build that works, under events, and follows its story to the next good build.
fn a_bad_build_is_rolled_back(settings: &str, bad: &[u8], grounds: &str) {
    let build = good("one");
    let home = home(&format!("{SHORT}  settings: {{ forward: {settings} }}\n"), &build);
    let host = home.start();
    emit(&home, 0..40);
    host.until_done("forward", 40);

    put(&home, bad);
    host.until_plugin("the bad build on probation", |plugin| plugin.digest == digest(bad) || plugin.refused.is_some());
    emit(&home, 40..100);
    let back = host.until_plugin("rolled back", |plugin| serves(&build)(plugin) && plugin.refused.is_some());
    let refused = back.refused.unwrap();
    assert_eq!(back.state, PluginState::Live);
    assert_eq!(refused.digest.as_deref(), Some(&*digest(bad)));
    assert!(refused.why.contains(grounds) && refused.why.contains("quarantined"), "{}", refused.why);
    assert_eq!(listed(&home)["refused"]["digest"], digest(bad));
    let told = host.until_logged(1, "rolled back and quarantined");
    assert_eq!((&told["digest"], &told["serving"]), (&Value::from(digest(bad)), &Value::from(digest(&build))));
    host.until_done("forward", 100);

    // It stays out after a restart, and the build that was remembered serves.
    host.stop();
    let record: Value =
        serde_json::from_slice(&fs::read(home.path(".tidemill/plugins/generations.json")).unwrap()).unwrap();
    assert_eq!(record["plugins"]["forward"]["quarantined"][0]["digest"], digest(bad), "{record}");
    let host = home.start();
    let plugin = host.plugin();
    assert_eq!((plugin.digest.as_str(), plugin.state), (&*digest(&build), PluginState::Live));
    assert!(plugin.refused.unwrap().why.contains("quarantined"));
    emit(&home, 100..120);
    host.until_done("forward", 20);

    // Another file gets its chance.
    let next = good("two");
    put(&home, &next);
    host.until_plugin("the next build", serves(&next));
    emit(&home, 120..160);
    host.until_done("forward", 60);
    host.until_plugin("trusted", |plugin| plugin.state == PluginState::Live && plugin.refused.is_none());
    host.stop();

    let by_build = each_once(&home, 160);
    assert_eq!(by_build.get("two-1"), Some(&40), "{by_build:?}");
    assert!(by_build.keys().all(|build| build.ends_with("-1")), "nothing was tried twice: {by_build:?}");
}

#[test]
fn a_build_that_traps_on_every_event() {
    a_bad_build_is_rolled_back("{}", &traps(), "trap");
}

#[test]
fn a_build_that_traps_on_every_fifth_event() {
    a_bad_build_is_rolled_back("{ instances: 1 }", &traps_on_every_fifth(), "trap");
}

#[test]
fn a_build_that_spins() {
    a_bad_build_is_rolled_back("{ limits: { cpu: 100ms } }", &spins(), "timeout");
}

#[test]
fn a_build_that_is_many_times_slower() {
    a_bad_build_is_rolled_back("{}", &slow("bad"), "on average");
}

#[test]
fn a_build_that_leaks() {
    a_bad_build_is_rolled_back("{ limits: { memory: 1MiB } }", &leaks(), "outgrew their memory");
}

#[test]
fn a_released_build_runs_again() {
    let (build, bad) = (good("one"), traps());
    let home = home(SHORT, &build);
    let host = home.start();
    put(&home, &bad);
    host.until_plugin("the bad build on probation", serves(&bad));
    emit(&home, 0..10);
    host.until_plugin("rolled back", |plugin| serves(&build)(plugin) && plugin.refused.is_some());
    let told = home.run(&["plugins", "release", "forward"]);
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.out.contains(&digest(&bad)), "{}", told.out);
    host.until_plugin("on probation again", |plugin| serves(&bad)(plugin) && plugin.state == PluginState::Probation);
    // Only one that was quarantined can be released.
    put(&home, &variant(&build, 1));
    host.until_plugin("another build", serves(&variant(&build, 1)));
    let told = home.run(&["plugins", "release", "forward"]);
    assert!(told.out.contains("not quarantined") || told.code != 0, "{} {}", told.out, told.err);
    host.until_done("forward", 10);
    host.stop();
    each_once(&home, 10);
}
