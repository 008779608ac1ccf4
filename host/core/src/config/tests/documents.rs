//! The files that are made from the written types: `runtime.schema.json` and `tests.schema.json`, and the tables of
//! `docs/configuration.md` and `docs/testing.md`.
//! `UPDATE=1 cargo test` rewrites them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::{cases, json_schema, show};
use super::{EXAMPLE, lookup};

const TABLE_BEGIN: &str = "<!-- fields of ";
const TABLE_END: &str = "<!-- end of fields -->";

fn repository_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

/// Compares a file with what it should hold, or rewrites it.
fn assert_current(name: &str, expected: &str) {
    let path = repository_file(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, expected).expect("the file can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "{name} is not what the source says; `UPDATE=1 cargo test -p tidemill-core` rewrites it"
    );
}

#[test]
fn the_schema_file_is_current() {
    let text = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    assert_current("runtime.schema.json", &text);
}

#[test]
fn the_schema_file_of_cases_is_current() {
    let text = serde_json::to_string_pretty(&cases::json_schema()).unwrap() + "\n";
    assert_current("tests.schema.json", &text);
}

#[test]
fn the_reference_is_current_and_complete() {
    the_tables_are_current("docs/configuration.md", &json_schema(), "Runtime");
}

#[test]
fn the_reference_of_cases_is_current_and_complete() {
    the_tables_are_current("docs/testing.md", &cases::json_schema(), "Cases");
}

/// Each record of the schema has its table; the one that is the whole file is called `root`.
fn the_tables_are_current(file: &str, schema: &Value, root: &str) {
    let written = std::fs::read_to_string(repository_file(file)).unwrap();
    let (mut text, mut documented, mut rest) = (String::new(), BTreeSet::new(), written.as_str());
    while let Some((before, after)) = rest.split_once(TABLE_BEGIN) {
        let (record, after) = after.split_once(" -->\n").expect("a table's first line is a comment of its own");
        let (_, after) = after.split_once(TABLE_END).expect("a table has an end");
        documented.insert(record.to_owned());
        let fields = if record == root { schema } else { record_schema(schema, record) };
        text += &format!("{before}{TABLE_BEGIN}{record} -->\n{}{TABLE_END}", table(fields));
        rest = after;
    }
    text += rest;
    let records = schema["$defs"].as_object().unwrap().keys().cloned().chain([root.to_owned()]);
    let missing: Vec<String> = records.filter(|record| !documented.contains(record)).collect();
    assert_eq!(missing, Vec::<String>::new(), "{file} has no table for these");
    assert_current(file, &text);
}

#[test]
fn the_configuration_at_the_root_is_correct() {
    let text = std::fs::read_to_string(repository_file("runtime.yaml")).unwrap();
    assert!(!super::loaded(&text).routes.is_empty());
}

// --- tables ------------------------------------------------------------------------------------------------------------

fn record_schema<'s>(schema: &'s Value, record: &str) -> &'s Value {
    if record == "Runtime" { schema } else { &schema["$defs"][record] }
}

fn table(record: &Value) -> String {
    let required = record["required"].as_array().cloned().unwrap_or_default();
    let mut text = "\n| field | value | default | meaning |\n|---|---|---|---|\n".to_owned();
    let mut fields: Vec<_> = record["properties"].as_object().into_iter().flatten().collect();
    fields.sort_by_key(|(name, _)| !required.contains(&json!(name)));
    for (name, field) in fields {
        let default = match field.get("default") {
            Some(default) => format!("`{}`", inline(default)),
            None if required.contains(&json!(name)) => "**required**".to_owned(),
            None => "–".to_owned(),
        };
        let example = field["examples"].get(0).map(|example| format!(" Example: `{name}: {}`.", inline(example)));
        let meaning = field["description"].as_str().unwrap_or_default().replace('\n', " ");
        text += &format!("| `{name}` | {} | {default} | {meaning}{} |\n", kind(field), example.unwrap_or_default());
    }
    text + "\n"
}

/// A value as it may stand in YAML's flow style.
fn inline(value: &Value) -> String {
    match value {
        Value::String(text) if text.contains("${") || text.contains('>') => format!("\"{text}\""),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}: {}", inline(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

/// What kind of value a field takes, in words.
fn kind(schema: &Value) -> String {
    let link = |target: &str| {
        let record = target.trim_start_matches("#/$defs/");
        format!("[{record}](#{})", record.to_lowercase())
    };
    let alternatives =
        || schema["anyOf"].as_array().into_iter().flatten().filter(|other| **other != json!({ "type": "null" }));
    if let Some(title) = schema["title"].as_str() {
        title.to_owned()
    } else if let Some(target) = schema["$ref"].as_str() {
        link(target)
    } else if schema["items"].is_object() {
        format!("list of {}", kind(&schema["items"]))
    } else if schema["additionalProperties"].is_object() {
        format!("names to {}", kind(&schema["additionalProperties"]))
    } else if schema["anyOf"].is_array() {
        alternatives().map(kind).collect::<Vec<_>>().join(" or ")
    } else {
        schema["type"].as_str().map_or("text", |kind| if kind == "string" { "text" } else { kind }).to_owned()
    }
}

// --- what the schema says is what the reader does ----------------------------------------------------------------------

fn accepts(file: &Value) -> bool {
    jsonschema::validator_for(&json_schema()).unwrap().is_valid(file)
}

#[test]
fn the_schema_accepts_what_is_shown() {
    assert!(accepts(&show(EXAMPLE, &lookup()).unwrap()));
    assert!(accepts(&json!({
        "version": 1,
        "broker": null,
        "defaults": { "timeout": "${env:T}", "max_in_flight": "${env:N:-5}", "retry": { "max_attempts": 2 } },
        "schemas": { "on_missing": "${env:M}" },
    })));
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    for file in [
        json!({}),
        json!({ "version": 2 }),
        json!({ "version": 1, "aggregates": [] }),
        json!({ "version": 1, "max_hops": 0 }),
        json!({ "version": 1, "shutdown_grace": 5 }),
        json!({ "version": 1, "shutdown_grace": "5 s" }),
        json!({ "version": 1, "defaults": { "max_in_flight": 1001 } }),
        json!({ "version": 1, "schemas": { "on_missing": "ignore" } }),
        json!({ "version": 1, "streams": [{ "name": "A", "subjects": [] }] }),
        json!({ "version": 1, "streams": [{ "name": "A" }] }),
        json!({ "version": 1, "streams": [{ "name": "A", "subjects": ["a"], "max_bytes": 1000 }] }),
        json!({ "version": 1, "broker": { "embedded": {}, "nats": { "servers": ["nats://x"] } } }),
    ] {
        assert!(!accepts(&file), "{file}");
        assert!(show(&file.to_string(), &lookup()).is_err(), "{file}");
    }
}

#[test]
fn documented_defaults_are_those_that_take_effect() {
    let smallest = "version: 1\nbroker: { nats: { servers: [\"nats://x\"], tls: {} } }\n\
                    streams: [{ name: A, subjects: [a] }]\nplugins: { settings: { h: {} } }\n\
                    routes: [{ name: r, handler: h, source: { stream: A } }]";
    let shown = show(smallest, &lookup()).unwrap();
    let schema = json_schema();
    for (record, value) in [
        ("Runtime", &shown),
        ("Nats", &shown["broker"]["nats"]),
        ("Tls", &shown["broker"]["nats"]["tls"]),
        ("Stream", &shown["streams"][0]),
        ("Schemas", &shown["schemas"]),
        ("Plugins", &shown["plugins"]),
        ("Plugin", &shown["plugins"]["settings"]["h"]),
        ("Limits", &shown["plugins"]["settings"]["h"]["limits"]),
        ("Route", &shown["routes"][0]),
        ("Defaults", &shown["routes"][0]),
        ("Source", &shown["routes"][0]["source"]),
        ("RetryPolicy", &shown["routes"][0]["retry"]),
        ("Backoff", &shown["routes"][0]["retry"]["backoff"]),
    ] {
        for (name, field) in record_schema(&schema, record)["properties"].as_object().unwrap() {
            let Some(default) = field.get("default").filter(|default| **default != "standard") else { continue };
            let same = value[name] == *default || (name == "max" && value[name] == "1m");
            assert!(same, "{record}.{name}: documented {default}, effective {}", value[name]);
        }
    }
}
