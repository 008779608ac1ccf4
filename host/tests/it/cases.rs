//! Data in, expectation out: every folder of `tests/cases` is run on both brokers.
//!
//! | file | holds |
//! |---|---|
//! | `runtime.yaml` | the configuration; plugins are the repository's, schemas are the case's own |
//! | `in.jsonl` | what is published, as `tidemill emit` takes it |
//! | `out.jsonl` | `{"stream", "type", "data"}` of every event that must come out, and no other, in any order |
//! | `dead-letters.jsonl` | `{"route", "reason", "error"}` of every dead letter, `error` as a part of the text that fits no other |

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Home, On, root};

#[test]
fn on_the_embedded_log() {
    every_case(On::Embedded);
}

#[test]
fn on_nats() {
    every_case(On::Nats);
}

fn every_case(on: On) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 5, "the cases are there");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for case in cases {
        println!("{on:?} {}", case.display());
        runtime.block_on(one_case(on, &case));
    }
}

async fn one_case(on: On, case: &Path) {
    let config = fs::read_to_string(case.join("runtime.yaml")).unwrap();
    let home = Home::new(on, &config.replace("PLUGINS", &root().join("plugins").display().to_string()));
    copy_schemas(case, &home);
    let feed = case.join("in.jsonl").display().to_string();
    let ran = home.run(&["run", "--feed", &feed, "--until-idle"]);
    assert_eq!(ran.code, 0, "{}: {}", case.display(), ran.err);

    let wanted = lines(&case.join("out.jsonl"));
    let streams: BTreeSet<String> = home.config().streams.iter().map(|stream| stream.name.to_string()).collect();
    let broker = home.broker().await;
    let mut came_out = Vec::new();
    for stream in streams.iter().filter(|stream| stream.starts_with("OUT")) {
        for event in home.events(&broker, stream).await {
            let data: Value = serde_json::from_slice(&event.data).unwrap();
            assert!(event.extension("causationid").is_some() && event.extension("correlationid").is_some());
            came_out.push(json!({ "stream": stream, "type": event.kind, "data": data }));
        }
    }
    broker.close().await.unwrap();
    drop(broker);
    assert_eq!(sorted(came_out), sorted(wanted), "{on:?} {}: what came out", case.display());
    dead_letters_are(&home, case);
}

fn dead_letters_are(home: &Home, case: &Path) {
    let mut wanted = lines(&case.join("dead-letters.jsonl"));
    for letter in home.json(&["dlq", "list"]).as_array().unwrap() {
        let fits = |wanted: &Value| {
            wanted["route"] == letter["route"]
                && wanted["reason"] == letter["reason"]
                && letter["error"].as_str().unwrap().contains(wanted["error"].as_str().unwrap())
        };
        let found = wanted.iter().position(fits);
        let Some(found) = found else { panic!("{}: unexpected dead letter {letter:#}", case.display()) };
        wanted.remove(found);
    }
    assert!(wanted.is_empty(), "{}: missing dead letters {wanted:?}", case.display());
}

fn copy_schemas(case: &Path, home: &Home) {
    let folder = case.join("schemas");
    let mut open = vec![folder.clone()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            home.write(&format!("schemas/{}", path.strip_prefix(&folder).unwrap().display()), &text);
        }
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter(|line| !line.trim().is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sorted(mut values: Vec<Value>) -> Vec<Value> {
    values.sort_by_key(Value::to_string);
    values
}
