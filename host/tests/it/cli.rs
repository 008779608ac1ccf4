//! What a person gets from the command line when something is wrong.

use std::time::{Duration, Instant};

use tidemill_embedded::EmbeddedBroker;

use crate::harness::{Home, On, root};

const MINIMAL: &str = r#"version: 1
schemas: { on_missing: allow }
streams:
  - { name: ORDERS, subjects: ["orders.>"] }
  - { name: FRAUD, subjects: ["fraud.>"] }
routes:
  - name: fraud
    source: { stream: ORDERS, start: all }
    handler: fraud-check
    emits: ["fraud.>"]
"#;

const ORDER: &str = r#"{"subject":"orders.created","event":{"specversion":"1.0","id":"1","source":"/t","type":"OrderCreated","data":{"order_id":"o-1","customer_id":"c-1","total":2000}}}"#;

fn home(config: &str) -> Home {
    let home = Home::new(On::Embedded, config);
    home.install(&["fraud-check"]);
    home
}

#[test]
fn all_mistakes_of_a_configuration_at_once_with_place_and_hint() {
    let broken =
        MINIMAL.replace("handler: fraud-check", "handlr: fraud-check").replace("stream: ORDERS", "stream: ORDRES");
    let ran = home(&broken).run(&["check"]);
    assert_eq!(ran.code, 78, "{}", ran.err);
    for part in ["runtime.yaml:8:", "runtime.yaml:9:", "did you mean `handler`", "did you mean `ORDERS`"] {
        assert!(ran.err.contains(part), "{part:?} in:\n{}", ran.err);
    }
}

#[test]
fn a_missing_plugin_is_named_with_those_that_are_there() {
    let ran = home(&MINIMAL.replace("handler: fraud-check", "handler: fraud-chek")).run(&["check"]);
    assert_eq!(ran.code, 78, "{}", ran.err);
    assert!(ran.err.contains("fraud-chek.wasm") && ran.err.contains("`fraud-check`"), "{}", ran.err);
}

#[test]
fn a_plugin_that_is_not_built_yet_is_named_with_what_builds_it() {
    let config =
        format!("{MINIMAL}plugins: {{ settings: {{ fraud-check: {{ project: ./handlers/fraud-check }} }} }}\n");
    let home = Home::new(On::Embedded, &config);
    let ran = home.run(&["run", "--until-idle"]);
    assert_eq!(ran.code, 78, "{}", ran.err);
    assert!(ran.err.contains("handlers/fraud-check` makes it, and `tidemill dev`"), "{}", ran.err);
}

#[test]
fn what_is_no_component_is_refused_before_anything_starts() {
    let home = home(MINIMAL);
    for (bytes, says) in [(&b"\0asm\x01\0\0\0"[..], "component"), (b"hello", "component"), (b"", "component")] {
        std::fs::write(home.path("plugins/fraud-check.wasm"), bytes).unwrap();
        let ran = home.run(&["run", "--until-idle"]);
        assert_eq!(ran.code, 78, "{}", ran.err);
        assert!(ran.err.contains(says), "{}", ran.err);
    }
    assert!(!home.path(".tidemill/log").exists(), "a refused start touches no event");
}

#[test]
fn no_configuration_says_what_to_do() {
    let home = home(MINIMAL);
    let ran = home.run(&["check", "--config", "nowhere.yaml"]);
    assert_eq!(ran.code, 78);
    assert!(ran.err.contains("nowhere.yaml") && ran.err.contains("--config"), "{}", ran.err);
}

#[test]
fn a_build_takes_no_other_configuration_than_the_named_one() {
    let home = home(MINIMAL);
    home.write("handlers/one/go.mod", "module one\n");
    let ran = home.run(&["build", "--config", "nowhere.yaml", "handlers/one"]);
    assert_eq!(ran.code, 78, "{}", ran.err);
    assert!(ran.err.contains("nowhere.yaml"), "{}", ran.err);
    assert!(!home.path("handlers/one/build").exists(), "nothing is built");
}

#[test]
fn a_server_that_is_not_there_is_code_69() {
    let text = format!("{MINIMAL}broker: {{ nats: {{ servers: [\"nats://127.0.0.1:9\"] }} }}\n");
    let ran = home(&text).run(&["run", "--until-idle"]);
    assert_eq!(ran.code, 69, "{}", ran.err);
    assert!(ran.err.contains("127.0.0.1:9"), "{}", ran.err);
}

#[test]
fn emit_refuses_what_its_schema_refuses_and_publishes_the_rest() {
    let home = home(MINIMAL);
    home.write(
        "schemas/OrderCreated.json",
        r#"{"type":"object","properties":{"total":{"type":"number","minimum":0}}}"#,
    );
    let bad = ORDER.replace("2000", "-5").replace(r#""id":"1""#, r#""id":"2""#);
    home.write("orders.jsonl", &format!("{ORDER}\n{bad}\nno json\n"));
    let ran = home.run(&["emit", "orders.jsonl"]);
    assert_eq!(ran.code, 65, "{}", ran.err);
    assert!(ran.out.contains("1 published"), "{}", ran.out);
    assert!(ran.err.contains("line 2") && ran.err.contains("/total") && ran.err.contains("line 3"), "{}", ran.err);
}

#[test]
fn emit_and_dlq_reach_a_running_host() {
    let home = home(MINIMAL);
    let mut host = home.command(&["run"]).spawn().unwrap();
    let socket = home.path(".tidemill/control.sock");
    while !socket.exists() {
        assert!(host.try_wait().unwrap().is_none(), "the host runs");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    home.write("orders.jsonl", &format!("{ORDER}\n{}\n", r#"{"subject":"orders.created","payload":"no event"}"#));
    assert_eq!(home.json(&["emit", "orders.jsonl", "--no-validate"])["published"], 2);
    assert_eq!(home.json(&["emit", "orders.jsonl", "--no-validate"])["duplicates"], 2);
    let listed = || home.json(&["dlq", "list"]).as_array().unwrap().len();
    while listed() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(listed(), 1);
    let refused = home.run(&["run", "--until-idle"]);
    assert_eq!(refused.code, 69, "two hosts on one folder: {}", refused.err);
    let killed = std::process::Command::new("kill").arg(host.id().to_string()).status().unwrap();
    assert!(killed.success() && host.wait().unwrap().success(), "SIGTERM drains and ends with 0");
}

#[test]
fn explain_says_why_a_route_takes_an_event_or_not() {
    let home = home(
        &MINIMAL
            .replace("    handler:", "    filter: { data: { total: [{ numeric: [\">=\", 1000] }] } }\n    handler:"),
    );
    home.write("order.jsonl", ORDER);
    assert!(home.run(&["routes", "explain", "order.jsonl"]).out.contains("✓ fraud"));
    home.write("order.jsonl", &ORDER.replace("2000", "5"));
    let ran = home.run(&["routes", "explain", "order.jsonl"]);
    assert!(ran.out.contains("✗ fraud") && ran.out.contains("total"), "{}", ran.out);
}

#[test]
fn the_sample_of_the_repository_is_in_order() {
    let home = home(MINIMAL);
    let sample = root().join("runtime.yaml").display().to_string();
    let ran = home.run(&["check", "--config", &sample]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let shown = home.json(&["config", "show", "--config", &sample]);
    assert_eq!(shown["routes"].as_array().unwrap().len(), 7);
}

#[test]
fn a_host_waits_for_a_command_that_holds_the_embedded_log() {
    let home = home(MINIMAL);
    assert_eq!(home.run(&["run", "--until-idle"]).code, 0, "compiles, so that the next start comes to the log at once");
    let held = EmbeddedBroker::open(&home.path(".tidemill")).unwrap();
    let holding = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(4));
        drop(held);
    });
    let ran = home.run(&["run", "--until-idle"]);
    holding.join().unwrap();
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("Another process holds the embedded log"), "{}", ran.err);
}

/// Waiting would not help.
#[test]
fn a_log_that_cannot_be_opened_is_refused_at_once() {
    let home = home(&format!("{MINIMAL}broker: {{ embedded: {{ dir: ./data }} }}\n"));
    home.write("data", "a file, and no folder");
    let begun = Instant::now();
    let ran = home.run(&["run", "--until-idle"]);
    assert_eq!(ran.code, 69, "{}", ran.err);
    assert!(begun.elapsed() < Duration::from_secs(25), "it was waited for something: {:?}", begun.elapsed());
    assert!(!ran.err.contains("Another process holds"), "{}", ran.err);
}

#[test]
fn a_list_of_dead_letters_that_is_cut_says_so() {
    let home = home(MINIMAL);
    let bad = |id: &str| {
        ORDER.replace("\"id\":\"1\"", &format!("\"id\":\"{id}\"")).replace("\"total\":2000", "\"total\":\"much\"")
    };
    home.write("orders.jsonl", &format!("{}\n{}\n", bad("a"), bad("b")));
    assert_eq!(home.run(&["run", "--feed", "orders.jsonl", "--until-idle"]).code, 0);
    let more = "and there are more";
    let cut = home.run(&["dlq", "list", "--limit", "1"]).out;
    assert!(cut.contains(more) && cut.lines().count() == 3, "{cut}");
    let whole = home.run(&["dlq", "list", "--limit", "2"]).out;
    assert!(!whole.contains(more) && whole.lines().count() == 3, "{whole}");
}
