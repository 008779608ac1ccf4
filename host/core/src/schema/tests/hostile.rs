//! Schemas that were made to harm: each is refused when it is read, or harmless when events arrive.

use super::*;

/// Definitions `d0`, `d1`, … of which each is made from a reference to the next one.
fn definitions(count: usize, last: Value, each: impl Fn(Value) -> Value) -> Value {
    let mut definitions: serde_json::Map<String, Value> =
        (0..count).map(|n| (format!("d{n}"), each(json!({ "$ref": format!("#/$defs/d{}", n + 1) })))).collect();
    definitions.insert(format!("d{count}"), last);
    json!({ "$defs": definitions, "$ref": "#/$defs/d0" })
}

#[test]
fn a_schema_that_applies_itself_a_billion_times_is_refused() {
    let twice_here = |next: Value| json!({ "allOf": [next, next] });
    let choice = |next: Value| json!({ "anyOf": [next, { "not": next }] });
    let twice_below = |next: Value| json!({ "properties": { "x": { "allOf": [next, next] } } });
    let twice_by_pattern = |next: Value| json!({ "properties": { "x": next }, "patternProperties": { "^x": next } });
    let twice_in_items = |next: Value| json!({ "items": next, "contains": next });
    let shapes: [&dyn Fn(Value) -> Value; 5] = [&twice_here, &choice, &twice_below, &twice_by_pattern, &twice_in_items];
    for (number, shape) in shapes.into_iter().enumerate() {
        let start = Instant::now();
        let text = problems(&[("T.json", definitions(20, json!({ "type": "object" }), shape))]);
        assert!(text.starts_with("`T.json` applies more than 4096 schemas to the same value"), "{number}: {text}");
        assert!(start.elapsed() < Duration::from_secs(60), "{number}: {:?}", start.elapsed());

        // Up to the bound it is only work.
        let schemas = schemas(&[("T.json", definitions(6, json!(true), shape))]);
        assert!(!schemas.is_empty(), "{number}");
    }
}

#[test]
fn wide_schemas_are_not_heavy() {
    // As in FHIR: a choice among many, all of which refer to the same parts and to each other.
    let kinds: Vec<Value> = (0..150).map(|n| json!({ "$ref": format!("#/$defs/r{n}") })).collect();
    let mut definitions = serde_json::Map::new();
    for n in 0..150 {
        let properties = json!({
            "kind": { "const": n }, "id": { "$ref": "#/$defs/id" }, "extension": { "items": { "$ref": "#/$defs/extension" } },
            "contained": { "items": { "$ref": "#" } },
        });
        definitions.insert(format!("r{n}"), json!({ "required": ["kind"], "properties": properties }));
    }
    definitions.insert("id".to_owned(), json!({ "type": "string" }));
    let values: serde_json::Map<String, Value> =
        (0..50).map(|n| (format!("value{n}"), json!({ "$ref": "#/$defs/id" }))).collect();
    let mut extension = json!({ "properties": values });
    extension["properties"]["extension"] = json!({ "items": { "$ref": "#/$defs/extension" } });
    definitions.insert("extension".to_owned(), extension);
    let schemas = schemas(&[("T.json", json!({ "oneOf": kinds, "$defs": definitions }))]);
    let check = |data: Value| schemas.check(&event("T", None, None), Some(&data)).is_ok();
    let extension = json!([{ "value7": "x", "extension": [{ "value8": "y" }] }]);
    assert!(check(json!({ "kind": 149, "contained": [{ "kind": 3, "extension": extension }] })));
    assert!(!check(json!({ "kind": 149, "contained": [{ "kind": 3, "extension": [{ "value7": 1 }] }] })));
}

#[test]
fn explaining_a_circle_that_doubles_takes_no_time() {
    let again = json!({ "$ref": "#" });
    let twice = json!([{ "properties": { "x": again } }, { "properties": { "x": again } }]);
    let mut bad = json!(5);
    for _ in 0..60 {
        bad = json!({ "x": bad });
    }
    let start = Instant::now();
    let text = verdict(json!({ "type": "object", "allOf": twice }), bad.clone());
    assert_eq!(text, "/: expected data that matches the schema, found data that does not");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());

    let text = verdict(json!({ "type": "object", "properties": { "x": { "$ref": "#" } } }), bad);
    assert!(text.ends_with("expected an object, found 5"), "a simple circle is explained: {text}");
}

#[test]
fn references_without_end_are_measured_and_compiled_without_the_stack() {
    let through_items = definitions(20_000, json!({ "type": "object" }), |next| json!({ "items": next }));
    assert!(!schemas(&[("T.json", through_items)]).is_empty());

    let chain = definitions(100_000, json!({}), |next| next);
    let text = problems(&[("T.json", chain)]);
    assert!(text.contains("at most 1048576 are accepted"), "{text}");
    // Split among files it is small enough for each.
    let names: Vec<String> = (0..100_000).map(|n| format!("_f{n}.json")).collect();
    let chain: Vec<SchemaFile> = (0..names.len())
        .map(|n| SchemaFile {
            path: names[n].clone(),
            text: format!(r#"{{"$ref":"{}"}}"#, names.get(n + 1).unwrap_or(&names[n])),
        })
        .collect();
    let found = Schemas::compile(chain).unwrap_err();
    assert!(found[0].message.starts_with("chains more than 64 schemas"), "{}", found[0]);
}

#[test]
fn nothing_is_fetched_and_no_file_is_read() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = format!("http://{}/schema.json", listener.local_addr().unwrap());
    // A file that is there and would be a good schema.
    let file = std::env::temp_dir().join(format!("tidemill-schema-{}.json", std::process::id()));
    std::fs::write(&file, "{}").unwrap();
    let file_address = format!("file://{}", file.display());

    for target in [&address, &address.replace("http:", "https:"), &file_address, &"file:///etc/passwd".to_owned()] {
        for schema in [
            json!({ "$ref": target }),
            json!({ "$ref": format!("{target}#/$defs/a") }),
            json!({ "properties": { "a": { "$dynamicRef": target } } }),
            json!({ "$id": target, "$ref": "other.json" }),
            json!({ "$schema": target }),
        ] {
            let refused = problems(&[("T.json", schema.clone())]);
            let expected = ["not in the schema folder", "`$schema` is"];
            assert!(expected.iter().any(|text| refused.contains(text)), "{schema}: {refused}");
        }
        // An event's `dataschema` is a name, not a place to look.
        let event = event("T", Some(target), None);
        let registered = schemas(&[("T/7.json", json!(true))]);
        assert!(matches!(registered.check(&event, Some(&json!(1))), Err(SchemaError::Missing { .. })), "{target}");
    }
    std::fs::remove_file(&file).unwrap();
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock, "somebody connected");
}

#[test]
fn patterns_match_in_linear_time_or_are_refused() {
    let long = "a".repeat(1_000_000);
    for (pattern, admitted) in [
        ("^(a+)+$", true),
        ("^(a|a?)+b$", false),
        ("^(.*a){12}.*b$", false),
        ("(?:a?){500}a{500}", true),
        ("^(([a-z])+.)+[A-Z]([a-z])+$", false),
    ] {
        let schemas = schemas(&[("T.json", json!({ "pattern": pattern }))]);
        let data = json!(long);
        let start = Instant::now();
        let passed = schemas.check(&event("T", None, None), Some(&data)).is_ok();
        // Milliseconds when optimised; what backtracks takes longer than the universe.
        assert!(start.elapsed() < Duration::from_secs(60), "{pattern}: {:?}", start.elapsed());
        assert_eq!(passed, admitted, "{pattern}");
    }
    for bad in [
        "a".repeat(1_000_000),
        "(a|b)".repeat(200_000),
        format!("{}{}", "(".repeat(100_000), ")".repeat(100_000)),
        "[a-z]{1000}{1000}{1000}".to_owned(),
        "^(?!a)b".to_owned(),
        "(?<=a)b".to_owned(),
        "(a)\\1".to_owned(),
    ] {
        for schema in [json!({ "pattern": bad }), json!({ "patternProperties": { (bad.as_str()): true } })] {
            let start = Instant::now();
            let found = Schemas::compile(files(&[("T.json", schema)])).unwrap_err();
            assert_eq!(found.len(), 1);
            assert!(found[0].to_string().len() < 1000, "{}", found[0]);
            assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
        }
    }
}

/// <https://github.com/rust-lang/regex/issues/1344>: a pattern of enough states makes the engine panic when it is asked. The
/// bound on a pattern's memory is far below that, so what is accepted answers.
#[test]
fn a_pattern_that_would_make_the_engine_panic_is_refused() {
    let refused = problems(&[("T.json", json!({ "pattern": "^.{0,404600}$" }))]);
    assert!(refused.contains("or it is too large"), "{refused}");
    let mut largest = 0;
    for repeat in [1000, 10_000, 50_000, 100_000, 200_000, 400_000] {
        for atom in [".", "a", "[ab]", "(?s-u:.)"] {
            let schema = json!({ "pattern": format!("^{atom}{{0,{repeat}}}$") });
            let Ok(schemas) = Schemas::compile(files(&[("T.json", schema)])) else { continue };
            largest = largest.max(repeat);
            for data in ["", "a", "\n€"] {
                let verdict = schemas.check(&event("T", None, None), Some(&json!(data)));
                assert!(
                    verdict.is_ok() || !data.is_ascii() || data.contains('\n'),
                    "{atom} {repeat} {data:?}: {verdict:?}"
                );
            }
        }
    }
    assert!(largest >= 50_000, "the largest pattern that was accepted repeats {largest} times");
}
