//! Events that a plugin cannot fold: set aside, with the projection degraded, or halted before.

use serde_json::json;
use tidemill_core::projection::ProjectionState;

use crate::guest::{READ_MODEL, projection};
use crate::harness::{Home, On};
use crate::reload::digest;

const RETRY: &str =
    "retry: { max_attempts: 2, backoff: { type: exponential, initial: 10ms, multiplier: 1, max: 10ms, jitter: 0 } }";

fn config(on_failure: &str) -> String {
    format!(
        r#"version: 1
schemas: {{ on_missing: allow }}
streams: [{{ name: NOTES, subjects: ["notes.>"] }}]
plugins: {{ probation: {{ calls: 30, time: 1s }} }}
projections:
  - name: notes
    sources: [{{ stream: NOTES }}]
    plugin: keeper
    collections: {{ notes: {{}} }}
    on_failure: {on_failure}
    {RETRY}
http: {{ listen: 127.0.0.1:0, ingest: [{{ type: [Note], subject: notes.a }}] }}
"#
    )
}

/// Keeps each event's data under its id; `first` is done before, with the event at `$at`.
fn keeper(first: &str) -> Vec<u8> {
    let fields = format!(
        r#"
        (data (i32.const 1000) "notes")
        (func $handle (param $at i32) (result i32)
            {first}
            (call $put (i32.const 1000) (i32.const 5)
                (i32.load (local.get $at)) (i32.load offset=4 (local.get $at))
                (i32.load offset=80 (local.get $at)) (i32.load offset=84 (local.get $at)) (i32.const 300))
            (call $ok))"#
    );
    projection(&[READ_MODEL], &fields)
}

/// Traps after the put, so that there is something to undo, on events with more than this many bytes of data.
fn traps_on_long_events() -> Vec<u8> {
    let trap = r#"
        (call $put (i32.const 1000) (i32.const 5) (i32.const 1000) (i32.const 5)
            (i32.load offset=80 (local.get $at)) (i32.load offset=84 (local.get $at)) (i32.const 300))
        (unreachable)"#;
    keeper(&format!("(if (i32.gt_u (i32.load offset=84 (local.get $at)) (i32.const 30)) (then {trap}))"))
}

const LONG: &str = "a note that is far too long for this build";

fn emit(home: &Home, notes: &[(&str, &str)]) {
    let line = |(id, text): &(&str, &str)| {
        let event = json!({ "specversion": "1.0", "id": id, "source": "/t", "type": "Note", "data": { "text": text } });
        json!({ "subject": "notes.a", "event": event }).to_string() + "\n"
    };
    home.write("notes.jsonl", &notes.iter().map(line).collect::<String>());
    assert_eq!(home.json(&["emit", "notes.jsonl"])["published"], notes.len());
}

fn keys(home: &Home) -> Vec<String> {
    let page = home.json(&["projection", "query", "notes"]);
    page["items"].as_array().unwrap().iter().map(|item| item["key"].as_str().unwrap().to_owned()).collect()
}

fn home(on: On, on_failure: &str) -> Home {
    let home = Home::new(on, &config(on_failure));
    home.put_plugin("keeper", &traps_on_long_events());
    home
}

fn an_event_that_traps_is_a_dead_letter_and_the_projection_degraded(on: On) {
    let home = home(on, "dead_letter");
    let host = home.start();
    emit(&home, &[("n-1", "one"), ("n-2", LONG), ("n-3", "three")]);
    let status = host.until_projection("notes", "three met", |one| {
        one.active.as_ref().is_some_and(|copy| copy.folded + copy.dead_lettered == 3)
    });
    assert!(status.degraded && status.state == ProjectionState::Running, "{status:?}");
    assert_eq!(keys(&home), ["n-1", "n-3"], "what the failed call wrote is not kept");

    // Its dead letter says what it was, and cannot be folded later than those behind it.
    let letters = home.json(&["dlq", "list", "--route", "notes"]);
    let letter = &letters.as_array().unwrap()[..];
    assert_eq!(letter.len(), 1, "{letters}");
    assert_eq!((&letter[0]["reason"], &letter[0]["attempts"]), (&json!("trap"), &json!(2)), "{letters}");
    let id = letter[0]["id"].to_string();
    for arguments in [&["dlq", "redrive", &id][..], &["dlq", "redrive", "--route", "notes"]] {
        let refused = home.run(arguments);
        assert_eq!(refused.code, 65, "{arguments:?}: {}", refused.err);
        let sentence = "`notes` is a projection, which folds events in their order: repair the plugin, then `tidemill \
                        projection rebuild notes` folds all of them again; nothing was done";
        assert!(refused.err.contains(sentence), "{}", refused.err);
    }
    assert_eq!(home.json(&["dlq", "redrive", "--all"])["redriven"], 0, "those of projections are passed over");
    let list = home.run(&["projection", "list"]).out;
    let remark = "degraded: 1 events could not be folded; `tidemill dlq list --route notes` shows them";
    assert!(list.contains(remark), "{list}");
    let traps = host.get("/metrics").body;
    for line in [
        "tidemill_projection_events_dead_lettered_total{projection=\"notes\",reason=\"trap\"} 1",
        "tidemill_projection_degraded{projection=\"notes\"} 1",
        "tidemill_plugin_traps_total{plugin=\"keeper\",kind=\"trap\"} 2",
    ] {
        assert!(traps.lines().any(|found| found == line), "{line} in:\n{traps}");
    }

    // Repaired and rebuilt, nothing is missing any more.
    home.put_plugin("keeper", &keeper(""));
    host.until_plugin("the repaired build", |plugin| plugin.digest == digest(&keeper("")));
    emit(&home, &[("n-4", "four")]);
    let ran = home.run(&["projection", "rebuild", "notes"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!host.until_folded("notes").degraded);
    assert_eq!(keys(&home), ["n-1", "n-2", "n-3", "n-4"]);
    host.stop();
}

#[test]
fn a_dead_letter_of_a_projection_on_the_embedded_log() {
    an_event_that_traps_is_a_dead_letter_and_the_projection_degraded(On::Embedded);
}

#[test]
fn a_dead_letter_of_a_projection_on_nats() {
    an_event_that_traps_is_a_dead_letter_and_the_projection_degraded(On::Nats);
}

#[test]
fn a_halted_projection_waits_for_a_person_and_goes_on_with_a_good_build() {
    let home = home(On::Embedded, "halt");
    let host = home.start();
    emit(&home, &[("n-1", "one"), ("n-2", LONG), ("n-3", "three")]);
    let halted = |count: usize| {
        host.until_logged(count, "the projection halts before it");
        host.until_projection("notes", "halted", |one| matches!(one.state, ProjectionState::Halted(_)))
    };
    let status = halted(1);
    let ProjectionState::Halted(halt) = &status.state else { unreachable!() };
    assert_eq!(halt.event.as_deref(), Some("NOTES:2"));
    assert!(halt.reason.starts_with("trap"), "{}", halt.reason);
    assert!(!status.degraded);
    assert_eq!(keys(&home), ["n-1"]);
    assert_eq!(home.json(&["dlq", "list"]).as_array().unwrap().len(), 0);
    let list = home.run(&["status"]).out;
    assert!(list.contains("halted before NOTES:2: trap"), "{list}");

    // Nothing has changed: it halts again, also after a restart.
    assert_eq!(home.run(&["projection", "resume", "notes"]).code, 0);
    halted(2);
    host.stop();
    let host = home.start();
    host.until_projection("notes", "halted again", |one| matches!(one.state, ProjectionState::Halted(_)));
    home.put_plugin("keeper", &keeper(""));
    let status = host.until_folded("notes");
    assert_eq!((status.active.unwrap().folded, status.degraded), (3, false));
    assert_eq!(keys(&home), ["n-1", "n-2", "n-3"]);
    host.stop();
}
