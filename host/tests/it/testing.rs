//! `tidemill test`: cases that hold, cases that do not, and time that is not waited for.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::guest::{CLOCK, EMIT, HOST, answering, handler, wasi_handler};
use crate::harness::{Home, On, root};

const CONFIG: &str = r#"version: 1
schemas: { on_missing: allow }
streams:
  - { name: IN, subjects: ["in.>"] }
  - { name: OUT, subjects: ["out.>"] }
retry_policies:
  standard: { max_attempts: 4, max_age: 1d, backoff: { initial: 1s, multiplier: 2, jitter: 0.2 } }
routes:
  - { name: first, source: { stream: IN, subjects: ["in.first"] }, handler: guest, emits: ["out.>"] }
  - { name: second, source: { stream: IN, subjects: ["in.second"] }, handler: other, emits: ["out.>"] }
"#;

fn home(guest: &[u8], other: &[u8], cases: &str) -> Home {
    let home = Home::new(On::Embedded, CONFIG);
    home.put_plugin("guest", guest);
    home.put_plugin("other", other);
    home.write("cases/a_test.yaml", &format!("version: 1\ntests:\n{cases}"));
    home
}

/// The cases of the answer, which must have this exit code.
fn cases(home: &Home, code: i32) -> Vec<Value> {
    let ran = home.run(&["test", "--output", "json"]);
    assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    answer["cases"].as_array().unwrap().clone()
}

#[test]
fn the_shop_keeps_what_its_cases_promise() {
    let home = home(&answering(&[], "(call $ok)"), &answering(&[], "(call $ok)"), "");
    let (config, folder) = (root().join("runtime.yaml"), root().join("examples/shop"));
    let arguments = ["test", &folder.display().to_string(), "--config", &config.display().to_string()];
    let ran = home.run(&arguments);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("12 cases: 12 ok, in "), "{}", ran.out);
}

/// Asks to be tried again an hour later on the first attempt, and then emits what time it is.
fn patient() -> Vec<u8> {
    handler(
        &[EMIT, HOST],
        r#"(data (i32.const 1000) "out.nowbusytext/plain")
           (func $handle (param $in i32) (result i32)
               (if (i32.eq (i32.load (i32.add (local.get $in) (i32.const 96))) (i32.const 1))
                   (then (return (call $retry (i32.const 1) (i32.const 3600000) (i32.const 1007) (i32.const 4)))))
               (call $now (i32.const 1100))
               (memory.fill (i32.const 200) (i32.const 0) (i32.const 100))
               (i32.store (i32.const 200) (i32.const 1000))
               (i32.store (i32.const 204) (i32.const 7))
               (i32.store (i32.const 208) (i32.const 100))
               (i32.store (i32.const 212) (i32.const 1))
               (i32.store8 (i32.const 228) (i32.const 1))
               (i32.store (i32.const 232) (i32.const 1011))
               (i32.store (i32.const 236) (i32.const 10))
               (i32.store (i32.const 260) (i32.load (i32.const 1100)))
               (i32.store (i32.const 264) (i32.load (i32.const 1104)))
               (call $emit_raw (i32.const 200) (i32.const 300))
               (call $ok))"#,
    )
}

/// Waits in a host function for a tenth of a second of real time.
fn sleeper() -> Vec<u8> {
    wasi_handler(
        &[CLOCK],
        r#"(func $handle (param i32) (result i32)
               (local $pollable i32)
               (local.set $pollable (call $subscribe (i64.const 100000000)))
               (call $block (local.get $pollable))
               (call $drop_pollable (local.get $pollable))
               (call $ok))"#,
    )
}

#[test]
fn an_hour_of_waiting_takes_no_time_and_moves_every_clock() {
    let home = home(
        &patient(),
        &sleeper(),
        r#"
  - name: whoever asks for an hour is called an hour later
    now: 2026-05-01T12:00:00Z
    events:
      - { subject: in.first, event: { type: A } }
      - { subject: in.second, event: { type: B } }
    expect:
      emits:
        - { route: first, to: out.now, data: { $contains: "2026-05-01T13:00:0" }, time: { $contains: "2026-05-01T13:00:0" } }
      routes:
        first: { retried: 1, done: 1 }
        second: { done: 1, retried: 0 }        # its real tenth of a second is no hour of the host's timers
"#,
    );
    let begun = Instant::now();
    let cases = cases(&home, 0);
    assert!(cases[0]["ok"].as_bool().unwrap(), "{cases:?}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn a_guest_that_spins_is_stopped_by_real_limits_and_given_up_in_paused_time() {
    let spinning = answering(&[], "(loop $again (br $again)) unreachable");
    let home = home(
        &spinning,
        &answering(&[], "(call $ok)"),
        r#"
  - name: it ends as a timeout after four attempts
    events: [{ subject: in.first, event: { type: A } }]
    expect:
      dead_letters: [{ route: first, reason: timeout, attempts: 4, exhausted_by: attempts, error: used up its }]
  - name: one call is stopped, too
    plugin: guest
    events: [{ event: { type: A } }]
    expect: { outcome: { timeout: used up its } }
"#,
    );
    home.configure(&format!("{CONFIG}plugins: {{ settings: {{ guest: {{ limits: {{ cpu: 50ms }} }} }} }}\n"));
    assert!(cases(&home, 0).iter().all(|case| case["ok"] == true));
}

#[test]
fn a_circle_of_routes_comes_to_rest() {
    // Emits to the subject `7` the data `7`.
    let echo = handler(
        &[EMIT],
        r#"(data (i32.const 1000) "7")
           (func $handle (param i32) (result i32)
               (drop (call $emit (i32.const 1000) (i32.const 1)))
               (call $ok))"#,
    );
    let home = home(
        &echo,
        &answering(&[], "(call $ok)"),
        r#"
  - name: who answers itself is stopped
    events: [{ subject: "7", event: { type: A } }]
    expect:
      dead_letters: [{ route: first, reason: loop }]
      routes: { first: { done: 3, emitted: 3 } }
"#,
    );
    let circle = CONFIG
        .replace("version: 1", "version: 1\nmax_hops: 2")
        .replace("[\"in.>\"]", "[\"in.>\", \"7\"]")
        .replace("[\"in.first\"] }, handler: guest, emits: [\"out.>\"]", "[\"7\"] }, handler: guest, emits: [\"7\"]");
    home.configure(&circle);
    assert!(cases(&home, 0).iter().all(|case| case["ok"] == true));
}

const FAILING: &str = r#"
  # Says no.
  - name: it is done
    plugin: guest
    events: [{ event: { type: A } }]
    expect:
      outcome: done            # it is not
      emits: []
  - name: it is refused
    plugin: guest
    events: [{ event: { type: A } }]
    expect:
      outcome: { rejected: "no" }
"#;

fn saying_no() -> Vec<u8> {
    handler(
        &[],
        r#"(data (i32.const 1000) "no <way>")
           (func $handle (param i32) (result i32) (call $reject (i32.const 1000) (i32.const 8)))"#,
    )
}

#[test]
fn a_failure_says_where_what_was_expected_and_what_was_found() {
    let home = home(&saying_no(), &answering(&[], "(call $ok)"), FAILING);
    let ran = home.run(&["test", "--junit", "report.xml"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    for part in [
        "cases/a_test.yaml\n",
        "FAILED  it is done (line 5)",
        "          outcome\n            expected done\n            found    rejected: no <way>\n",
        "ok      it is refused",
        "2 cases: 1 ok, 1 FAILED, in ",
    ] {
        assert!(ran.out.contains(part), "{part:?} in:\n{}", ran.out);
    }
    let xml = std::fs::read_to_string(home.path("report.xml")).unwrap();
    for part in [
        "<testsuite name=\"cases/a_test.yaml\" tests=\"2\" failures=\"1\"",
        "<testcase name=\"it is done\" classname=\"cases/a_test.yaml\" file=\"cases/a_test.yaml\" line=\"5\"",
        "<failure message=\"outcome\">outcome&#10;  expected done&#10;  found    rejected: no &lt;way&gt;</failure>",
    ] {
        assert!(xml.contains(part), "{part:?} in:\n{xml}");
    }
    assert_eq!(home.run(&["test", "--filter", "refused"]).code, 0);
    let none = home.run(&["test", "--filter", "nothing of this kind"]);
    assert_eq!(none.code, 65, "a run of no case is no success: {}", none.out);
}

#[test]
fn an_update_makes_the_cases_hold_and_leaves_the_rest_as_it_is() {
    let unfinished = "  - name: nobody knows yet\n    events: [{ subject: in.first, event: { type: A } }]\n";
    let home = home(&saying_no(), &answering(&[], "(call $ok)"), &format!("{FAILING}{unfinished}"));
    let before = home.run(&["test"]);
    assert!(before.out.contains("`tidemill test --update` writes down what comes out"), "{}", before.out);
    let ran = home.run(&["test", "--update"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("cases/a_test.yaml: 2 expectations updated"), "{}", ran.out);
    let text = std::fs::read_to_string(home.path("cases/a_test.yaml")).unwrap();
    let expected = r#"version: 1
tests:

  # Says no.
  - name: it is done
    plugin: guest
    events: [{ event: { type: A } }]
    expect:
      outcome: { rejected: "no <way>" }
      emits: []
  - name: it is refused
    plugin: guest
    events: [{ event: { type: A } }]
    expect:
      outcome: { rejected: "no" }
  - name: nobody knows yet
    events: [{ subject: in.first, event: { type: A } }]
    expect:
      emits: []
      dead_letters: [{ route: first, reason: rejected, error: "no <way>" }]
"#;
    assert_eq!(text, expected);
    assert!(cases(&home, 0).iter().all(|case| case["ok"] == true));
}

#[test]
fn an_update_of_an_event_that_the_filter_skips_can_be_read_again() {
    let home = home(&saying_no(), &answering(&[], "(call $ok)"), FAILING);
    home.configure(&CONFIG.replace("[\"in.first\"] }", "[\"in.first\"] }, filter: { type: [B] }"));
    let ran = home.run(&["test", "--update"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let text = std::fs::read_to_string(home.path("cases/a_test.yaml")).unwrap();
    assert_eq!(text.matches("outcome: skipped\n").count(), 2, "{text}");
    assert!(cases(&home, 0).iter().all(|case| case["ok"] == true));
}

#[test]
fn a_file_that_is_named_twice_is_run_and_updated_once() {
    let home = home(&saying_no(), &answering(&[], "(call $ok)"), FAILING);
    let answer = home.run(&["test", "cases/a_test.yaml", ".", "cases/../cases/a_test.yaml", "--output", "json"]);
    let answer: Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(answer["cases"].as_array().unwrap().len(), 2, "{answer}");
    let ran = home.run(&["test", ".", "cases/a_test.yaml", "--update"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("cases/a_test.yaml: 1 expectation updated"), "{}", ran.out);
    assert!(cases(&home, 0).iter().all(|case| case["ok"] == true));
}

#[test]
fn a_file_that_cannot_be_updated_says_so_and_keeps_no_other_from_it() {
    let home = home(&saying_no(), &answering(&[], "(call $ok)"), FAILING);
    let one_line = "version: 1\ntests:\n  - { name: a, plugin: guest, events: [{ event: { type: A } }], expect: { outcome: done } }\n";
    home.write("cases/0_test.yaml", one_line);
    let ran = home.run(&["test", "--update"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("error: `cases/0_test.yaml` is left as it is\n  because: line 3: "), "{}", ran.err);
    assert!(ran.out.contains("cases/a_test.yaml: 1 expectation updated"), "{}", ran.out);
    assert_eq!(std::fs::read_to_string(home.path("cases/0_test.yaml")).unwrap(), one_line);
}

#[test]
fn results_are_told_even_if_the_report_cannot_be_written() {
    let home = home(&saying_no(), &answering(&[], "(call $ok)"), FAILING);
    let ran = home.run(&["test", "--junit", "nowhere/report.xml"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.out.contains("2 cases: 1 ok, 1 FAILED, in "), "{}", ran.out);
    assert!(ran.err.contains("writing `nowhere/report.xml`"), "{}", ran.err);
}

#[test]
fn a_file_without_an_event_fails_its_case() {
    let home = home(
        &answering(&[], "(call $ok)"),
        &answering(&[], "(call $ok)"),
        r#"
  - name: the whole
    events: [{ subject: in.first, file: none.jsonl }]
    expect: { emits: [] }
  - name: one plugin
    plugin: guest
    events: [{ file: none.jsonl }]
    expect: { outcome: done }
"#,
    );
    home.write("cases/none.jsonl", "\n\n");
    for case in cases(&home, 1) {
        let trouble = case["trouble"].as_str().unwrap();
        assert!(trouble.contains("none.jsonl") && trouble.contains("it has no event"), "{case}");
    }
    assert_eq!(home.run(&["test", "--update"]).code, 1, "nothing came out that could be expected");
}

#[test]
fn what_a_case_publishes_is_no_emit_whatever_headers_it_has() {
    let home = home(
        &answering(&[], "(call $ok)"),
        &answering(&[], "(call $ok)"),
        r#"
  - name: an event that has come two steps already
    events:
      - subject: in.first
        payload: "{}"
        headers: { Tidemill-Hops: "2", ce-specversion: "1.0", ce-id: "1", ce-source: /elsewhere, ce-type: A, content-type: application/json }
    expect:
      emits: []
      routes: { first: { done: 1, emitted: 0 } }
"#,
    );
    let cases = cases(&home, 0);
    assert!(cases[0]["ok"].as_bool().unwrap(), "{cases:?}");
}

#[test]
fn mistakes_of_all_files_come_at_once_and_nothing_runs() {
    let home = home(
        &saying_no(),
        &answering(&[], "(call $ok)"),
        "  - name: one\n    plugin: gest\n    events: [{ event: { type: A } }]\n    expect: { outcome: done }\n",
    );
    home.write("b_test.yaml", "version: 1\ntests: []\n");
    let ran = home.run(&["test"]);
    assert_eq!(ran.code, 65, "{}", ran.out);
    for part in [
        "a_test.yaml:4:13: tests[0].plugin: ",
        "did you mean `guest`?",
        "b_test.yaml:2:8: tests: expected at least one element",
        "2 errors. Nothing was run.",
    ] {
        assert!(ran.err.contains(part), "{part:?} in:\n{}", ran.err);
    }
    let nowhere = home.run(&["test", "nowhere_test.yaml"]);
    assert_eq!(nowhere.code, 65, "{}", nowhere.err);
    std::fs::create_dir(home.path("empty")).unwrap();
    let empty = home.run(&["test", "empty"]);
    assert!(empty.code == 65 && empty.err.contains("there are no cases"), "{}", empty.err);
}

#[test]
fn a_plugin_that_cannot_be_loaded_is_bad_configuration() {
    let home = home(b"hello", &answering(&[], "(call $ok)"), FAILING);
    let ran = home.run(&["test"]);
    assert_eq!(ran.code, 78, "{}", ran.err);
    assert!(ran.err.contains("is not WebAssembly"), "{}", ran.err);
}

#[test]
fn requests_are_answered_by_the_case_and_looked_at() {
    let asker = std::fs::read(root().join("host/engine/tests/fixtures/asker.wasm")).unwrap();
    let wish = r#"{ do: ask, scheme: https, authority: api.example.com, path: /rates/EUR, fail: true }"#;
    let text = format!(
        r#"
  - name: an answer that is there at the second attempt
    http:
      - {{ request: "GET https://api.example.com/rates/*", status: 503, times: 1 }}
      - {{ request: "GET https://api.example.com/rates/*", body: {{ rate: 1.1 }} }}
    events:
      - {{ subject: in.first, event: {{ type: A, data: {wish} }} }}
      - {{ subject: in.first, event: {{ type: A, data: {wish} }} }}
    expect:
      emits:
        - {{ to: out.told, data: [{{ status: 503 }}] }}
        - {{ to: out.told, data: [{{ status: 200, text: {{ $contains: "1.1" }} }}] }}
      requests:
        - {{ request: "GET https://api.example.com/rates/EUR" }}
        - {{ request: "GET https://api.example.com/rates/EUR", body: null }}
  - name: what has no answer is refused
    plugin: guest
    events: [{{ event: {{ type: A, data: {wish} }} }}]
    expect:
      outcome: {{ retry-requested: "the request failed" }}
      log: [has no answer in this case]
"#
    );
    let home = home(&asker, &answering(&[], "(call $ok)"), &text);
    // The guest emits to a subject of its own.
    let granted = "plugins: { settings: { guest: { allowed_outbound_hosts: [\"https://api.example.com\"] } } }\n";
    let streams = "subjects: [\"out.>\", \"fraud.>\"]";
    let config = CONFIG.replace("subjects: [\"out.>\"]", streams).replace("emits: [\"out.>\"]", "emits: [\"fraud.>\"]");
    home.configure(&format!("{config}{granted}"));
    let text = std::fs::read_to_string(home.path("cases/a_test.yaml")).unwrap();
    home.write("cases/a_test.yaml", &text.replace("out.told", "fraud.told"));
    let ran = home.run(&["test"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}

#[test]
fn no_secret_is_ever_read() {
    let telling = handler(
        &[crate::guest::CONFIG],
        r#"(data (i32.const 1000) "key")
           (func $handle (param i32) (result i32)
               (call $config_get (i32.const 1000) (i32.const 3) (i32.const 1100))
               (call $reject (i32.load (i32.const 1104)) (i32.load (i32.const 1108))))"#,
    );
    let text = r#"
  - name: it is a text that says which one it stands for
    plugin: guest
    events: [{ event: { type: A } }]
    expect: { outcome: { rejected: "***" } }
  - name: a case may give one
    plugin: guest
    secrets: { key: open sesame }
    events: [{ event: { type: A } }]
    expect: { outcome: { rejected: "***" } }
"#;
    let home = home(&telling, &answering(&[], "(call $ok)"), text);
    home.configure(&format!(
        "{CONFIG}plugins: {{ settings: {{ guest: {{ secrets: {{ key: \"${{secret:guest.key}}\" }} }} }} }}\n"
    ));
    assert_eq!(home.run(&["check"]).code, 78, "there is no such secret on this machine");
    assert!(cases(&home, 0).iter().all(|case| case["ok"] == true));
}

#[test]
fn the_schema_for_editors_fits_the_files_that_are_read() {
    let schema = home(&saying_no(), &saying_no(), FAILING).json(&["config", "schema", "--tests"]);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let fits = |text: Value| validator.is_valid(&text);
    let case = |expect: Value| json!({ "version": 1, "tests": [{ "name": "a", "events": [{ "event": { "type": "A" } }], "expect": expect }] });
    assert!(fits(case(
        json!({ "outcome": { "rejected": "no" }, "emits": [{ "to": "out.a", "data": { "$exactly": 1 } }] })
    )));
    assert!(fits(case(json!({ "outcome": ["done", { "retry-requested": "busy", "after": "5s" }] }))));
    assert!(!fits(case(json!({ "outcome": "retry" }))));
    assert!(!fits(case(json!({ "emit": [] }))));
}
