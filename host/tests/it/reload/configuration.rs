//! `runtime.yaml`, schemas and plugins change together or not at all, and what did not change is not touched (case E9).

use std::fs;

use super::guests::{good, traps};
use super::{Feed, SHORT, config, digest, each_once, emit, home, home_with, line, put, serves};
use crate::harness::{Home, Host, On};

const SCHEMA: &str = r#"{ "$id": "Input", "type": "object", "required": ["seq"] }"#;

/// Writes `runtime.yaml` as an editor does.
pub(crate) fn configure(home: &Home, config: &str) {
    fs::write(home.path("runtime.new"), config).unwrap();
    fs::rename(home.path("runtime.new"), home.path("runtime.yaml")).unwrap();
}

/// Waits for a refusal of the whole with this sentence.
pub(crate) fn until_refused(host: &Host, sentence: &str) {
    host.until(&format!("refused for `{sentence}`"), |status| {
        status.reload.last.as_ref().is_some_and(|last| !last.ok && last.text.contains(sentence))
    });
}

/// Waits for a reload that did all of this at once.
pub(crate) fn until_applied(host: &Host, parts: &[&str]) {
    host.until(&format!("{parts:?} applied"), |status| {
        status.reload.last.as_ref().is_some_and(|last| last.ok && parts.iter().all(|part| last.text.contains(part)))
    });
}

#[test]
fn configuration_schema_and_plugin_are_applied_together_or_not_at_all() {
    let (one, two, three) = (good("one"), good("two"), good("three"));
    let home = home("", &one);
    home.write("schemas/Input.json", SCHEMA);
    let host = home.start();
    let feed = Feed::start(&home, 100, |_| "in.a");
    host.until_done("forward", 1);
    let untouched = |build: &[u8]| assert_eq!(host.plugin().digest, digest(build));
    let with =
        |in_flight: usize| config("").replace("    emits:", &format!("    max_in_flight: {in_flight}\n    emits:"));

    // A broken configuration holds everything back until all of it is there; then the plugin turns out to be bad.
    configure(&home, "version: 1\nroutes: nonsense\n");
    until_refused(&host, "runtime.yaml:2");
    put(&home, b"garbage");
    home.write("schemas/Input.json", &SCHEMA.replace("object\"", "object\", \"title\": \"new\""));
    configure(&home, &with(7));
    until_refused(&host, "is not WebAssembly");
    untouched(&one);
    put(&home, &two);
    until_applied(&host, &["routes restarted: forward", "plugins loaded: forward", "schemas"]);
    untouched(&two);

    // The same with a schema that is bad.
    configure(&home, "version: 1\nroutes: nonsense\n");
    until_refused(&host, "runtime.yaml:2");
    put(&home, &three);
    home.write("schemas/Input.json", r#"{ "type": "no such type" }"#);
    configure(&home, &with(9));
    until_refused(&host, "Input.json");
    untouched(&two);
    home.write("schemas/Input.json", SCHEMA);
    until_applied(&host, &["routes restarted: forward", "plugins loaded: forward", "schemas"]);
    untouched(&three);

    let events = feed.stop();
    host.stop();
    let ran = home.run(&["run", "--until-idle"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    each_once(&home, events);
}

#[test]
fn what_a_running_host_cannot_change_is_refused_with_the_reason() {
    let home = home("", &good("one"));
    let host = home.start();
    let changes = [
        ("broker: { embedded: { dir: ./elsewhere } }\n", "`broker` has changed"),
        ("", "`plugins.dir`, `plugins.cache_dir`"),
    ];
    for (line, sentence) in changes {
        let dir = if line.is_empty() { "  dir: ./other\n" } else { "" };
        configure(&home, &(config(dir) + line));
        until_refused(&host, sentence);
    }
    until_refused(&host, "restart it");
    // Back to what runs there is nothing to do, and nothing was restarted meanwhile.
    configure(&home, &config(""));
    emit(&home, 0..5);
    host.until_done("forward", 5);
    assert_eq!(host.logged("Route is running").len(), 1);
    host.stop();
    each_once(&home, 5);
}

fn second(in_flight: usize) -> String {
    format!(
        r#"
  - name: second
    source: {{ stream: IN, subjects: ["in.b"], start: all }}
    handler: forward
    max_in_flight: {in_flight}
    emits: ["out.>"]
"#
    )
}

/// Also case E11: the route is removed and changed while events wait on it.
#[test]
fn a_route_comes_goes_and_changes_while_another_goes_on_untouched() {
    let both = |number: usize| if number.is_multiple_of(2) { "in.a" } else { "in.b" };
    let home = home_with(On::Embedded, &config(""), &good("one"));
    let host = home.start();
    let feed = Feed::start(&home, 400, both);
    host.until_done("forward", 1);
    configure(&home, &(config("") + &second(8)));
    until_applied(&host, &["routes started: second"]);
    host.until("the second route works", |status| {
        status.routes.routes.len() == 2 && status.routes.routes[1].counts.done > 50
    });
    configure(&home, &config(""));
    until_applied(&host, &["routes stopped: second"]);
    assert_eq!(host.status().routes.routes.len(), 1);
    let before = host.route("forward").done;
    host.until("the first route goes on", |status| status.routes.routes[0].counts.done > before + 50);
    configure(&home, &(config("") + &second(8)));
    until_applied(&host, &["routes started: second"]);
    host.until("the second route works again", |status| status.routes.routes[1].counts.done > 50);
    configure(&home, &(config("") + &second(3)));
    until_applied(&host, &["routes restarted: second"]);
    let events = feed.stop();
    host.until_done("forward", events.div_ceil(2));
    let routes = host.status().routes.routes;
    assert_eq!(routes[0].counts.done, events.div_ceil(2) as u64, "the first route counts since the start");
    let started = host.logged("Route is running");
    let of_first = started.iter().filter(|line| line["route"] == "forward").count();
    assert_eq!((of_first, started.len()), (1, 4));
    host.stop();
    let ran = home.run(&["run", "--until-idle"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    // A position that was lost would read the events of `in.b` from the beginning: doubled, were it not for their ids.
    each_once(&home, events);
}

/// What the second route did, it does not do again: what waits for it is all that it is given.
#[test]
fn a_route_that_comes_back_goes_on_where_it_was() {
    let home = home_with(On::Embedded, &(config("") + &second(8)), &good("one"));
    let host = home.start();
    let publish = |numbers: std::ops::Range<usize>| {
        let lines: Vec<String> =
            numbers.map(|number| line("in.b", &format!("e-{number}"), &serde_json::json!({ "seq": number }))).collect();
        home.write("events.jsonl", &(lines.join("\n") + "\n"));
        home.json(&["emit", "events.jsonl"]);
    };
    publish(0..30);
    host.until_done("second", 30);
    configure(&home, &config(""));
    until_applied(&host, &["routes stopped: second"]);
    publish(30..40);
    configure(&home, &(config("") + &second(8)));
    until_applied(&host, &["routes started: second"]);
    host.until_done("second", 10);
    assert_eq!(host.route("second").received, 10, "only what came while it was away");
    host.stop();
    each_once(&home, 40);
}

#[test]
fn a_look_can_be_asked_for() {
    let (one, two, three) = (good("one"), good("two"), good("three"));
    let home = home("", &one);
    let host = home.start();
    assert!(home.run(&["reload"]).out.contains("nothing has changed"));
    put(&home, &two);
    assert_eq!(home.run(&["reload"]).code, 0);
    assert_eq!(host.plugin().digest, digest(&two), "whoever is answered finds it done");

    host.signal("HUP");
    host.until_logged(1, "SIGHUP");
    put(&home, &three);
    host.signal("HUP");
    host.until_logged(2, "SIGHUP");
    host.until_plugin("the third build", serves(&three));

    // What is wrong is told to whoever asks.
    configure(&home, &config("").replace("subjects: [\"in.a\"]", "subjects: [\"nowhere.a\"]"));
    let told = home.run(&["reload"]);
    assert!(told.code != 0 && told.err.contains("nowhere.a"), "{} {}", told.out, told.err);
    host.stop();
}

/// A configuration that cannot be read must not hide the host that runs with the one before.
#[test]
fn a_broken_configuration_is_shown_by_status() {
    let home = home("", &good("one"));
    let host = home.start();
    configure(&home, "version: 1\nroutes: nonsense\n");
    until_refused(&host, "runtime.yaml:2");
    let status = home.json(&["status"]);
    assert_eq!(status["reload"]["last"]["ok"], false, "{status}");
    assert!(status["reload"]["last"]["text"].as_str().unwrap().contains("runtime.yaml:2"), "{status}");
    assert_eq!(home.json(&["plugins", "list"])["running"], true);
    host.stop();
}

/// A quarantined file in the folder is an old story; it must not keep a new configuration out.
#[test]
fn after_a_rollback_the_configuration_can_still_be_changed() {
    let (build, bad) = (good("one"), traps());
    let home = home(SHORT, &build);
    let host = home.start();
    emit(&home, 0..40);
    host.until_done("forward", 40);
    put(&home, &bad);
    host.until_plugin("on probation", |plugin| plugin.digest == digest(&bad));
    emit(&home, 40..60);
    host.until_plugin("rolled back", |plugin| serves(&build)(plugin) && plugin.refused.is_some());
    let with_timeout = |timeout: &str| config(SHORT).replace("emits:", &format!("timeout: {timeout}\n    emits:"));
    configure(&home, &with_timeout("4s"));
    until_applied(&host, &["routes restarted: forward"]);
    configure(&home, &with_timeout("3s"));
    let asked = home.run(&["reload"]);
    assert_eq!(asked.code, 0, "{}", asked.err);
    host.stop();
}
