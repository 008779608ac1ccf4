//! Folders in, verdicts and sentences out.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;

use super::*;

mod hostile;

fn files(files: &[(&str, Value)]) -> Vec<SchemaFile> {
    files.iter().map(|(path, schema)| SchemaFile { path: (*path).to_owned(), text: schema.to_string() }).collect()
}

fn schemas(list: &[(&str, Value)]) -> Schemas {
    Schemas::compile(files(list)).unwrap()
}

/// The problems of a folder, one per line.
fn problems(list: &[(&str, Value)]) -> String {
    let problems = Schemas::compile(files(list)).unwrap_err();
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn event(kind: &str, dataschema: Option<&str>, version: Option<&str>) -> Event {
    Event {
        id: "1".to_owned(),
        source: "/s".to_owned(),
        kind: kind.to_owned(),
        time: None,
        subject: None,
        datacontenttype: None,
        dataschema: dataschema.map(str::to_owned),
        version: version.map(str::to_owned),
        extensions: Vec::new(),
        data: Bytes::new(),
    }
}

/// What a single schema says about data: an empty text when it is valid.
fn verdict(schema: Value, data: Value) -> String {
    let schemas = schemas(&[("T.json", schema)]);
    schemas.check(&event("T", None, None), Some(&data)).map_or_else(|error| error.to_string(), |()| String::new())
}

fn nested(levels: usize, key: &str) -> Value {
    (0..levels).fold(json!({}), |inner, _| json!({ key: inner }))
}

#[test]
fn violations_read_well() {
    for (schema, data, expected) in [
        (
            json!({"properties": {"total": {"minimum": 0}}}),
            json!({"total": -5}),
            "/total: expected a number ≥ 0, found -5",
        ),
        (json!({"type": "object"}), json!([1]), "/: expected an object, found [1]"),
        (json!({"type": ["string", "null"]}), json!(1), "/: expected null or a string, found 1"),
        (
            json!({"required": ["customer/id"]}),
            json!({}),
            "/customer~1id: expected a value, since the property is required, found nothing",
        ),
        (
            json!({"properties": {"a": true}, "additionalProperties": false}),
            json!({"a": 1, "totl": 5}),
            "/totl: expected no property of this name, found 5",
        ),
        (
            json!({"enum": ["new", "paid", 3]}),
            json!("gone"),
            "/: expected one of \"new\", \"paid\" or 3, found \"gone\"",
        ),
        (json!({"const": "EUR"}), json!("USD"), "/: expected \"EUR\", found \"USD\""),
        (json!({"exclusiveMinimum": 0.5}), json!(0.5), "/: expected a number > 0.5, found 0.5"),
        (json!({"multipleOf": 0.01}), json!(1.005), "/: expected a multiple of 0.01, found 1.005"),
        (json!({"minLength": 1}), json!(""), "/: expected a string of at least 1 character, found \"\""),
        (
            json!({"items": {"maxLength": 2}}),
            json!(["a", "abc"]),
            "/1: expected a string of at most 2 characters, found \"abc\"",
        ),
        (
            json!({"pattern": "^[A-Z]{2}$"}),
            json!("usa"),
            "/: expected a string that matches `^[A-Z]{2}$`, found \"usa\"",
        ),
        (json!({"format": "email"}), json!("nobody"), "/: expected an e-mail address, found \"nobody\""),
        (
            json!({"format": "date-time"}),
            json!("2026-02-30T00:00:00Z"),
            "/: expected a date and time like `2026-01-31T12:00:00Z`, found \"2026-02-30T00:00:00Z\"",
        ),
        (json!({"minItems": 1}), json!([]), "/: expected an array of at least 1 item, found []"),
        (json!({"uniqueItems": true}), json!([1, 1]), "/: expected an array whose items all differ, found [1,1]"),
        (json!({"not": {"type": "null"}}), json!(null), "/: expected a value that does not match `not`, found null"),
        (json!({"properties": {"a": false}}), json!({"a": 1}), "/a: expected no value at all, found 1"),
        (
            json!({"propertyNames": {"pattern": "^[a-z]+$"}}),
            json!({"A": 1}),
            "/: expected only property names that are a string that matches `^[a-z]+$`, found {\"A\":1}",
        ),
        (
            json!({"anyOf": [{"type": "string"}, {"properties": {"a": {"type": "integer"}}, "required": ["a"]}]}),
            json!({"a": "x"}),
            "/: expected a value that matches one of the 2 alternatives of `anyOf` (the nearest is number 2: /a: expected an \
             integer, found \"x\"), found {\"a\":\"x\"}",
        ),
        (
            json!({"oneOf": [true, true]}),
            json!(1),
            "/: expected a value that matches only one of the 2 alternatives of `oneOf`, not several, found 1",
        ),
        (
            json!({"dependentRequired": {"a": ["b"]}}),
            json!({"a": 1}),
            "/b: expected a value, since the property is required, found nothing",
        ),
        (
            json!({"properties": {"a": {"type": "string"}, "b": {"minimum": 3}}}),
            json!({"a": 1, "b": 2}),
            "/a: expected a string, found 1; /b: expected a number ≥ 3, found 2",
        ),
    ] {
        assert_eq!(verdict(schema, data), expected);
    }
}

#[test]
fn a_flood_of_violations_is_short_and_clean() {
    let text = verdict(
        json!({"items": {"type": "string"}}),
        (0..100).map(|_| json!({ "a\u{1b}[2J": "x\u{9b}".repeat(100_000) })).collect(),
    );
    assert_eq!(text.matches("expected a string").count(), 8);
    assert!(text.ends_with("; and more"), "{text}");
    assert!(text.len() < 2000 && !text.chars().any(char::is_control), "{text}");
}

#[test]
fn every_draft_is_known_by_its_name() {
    // `exclusiveMinimum` is a boolean in draft 4 and a number since; `prefixItems` came with 2020-12.
    for (dialect, schema, bad) in [
        ("http://json-schema.org/draft-04/schema#", json!({"minimum": 1, "exclusiveMinimum": true}), json!(1)),
        ("http://json-schema.org/draft-06/schema#", json!({"exclusiveMinimum": 1}), json!(1)),
        ("http://json-schema.org/draft-07/schema#", json!({"if": {"minimum": 5}, "then": {"maximum": 7}}), json!(9)),
        ("https://json-schema.org/draft/2019-09/schema", json!({"items": [{"type": "string"}]}), json!([1])),
        ("https://json-schema.org/draft/2020-12/schema", json!({"prefixItems": [{"type": "string"}]}), json!([1])),
    ] {
        let mut schema = schema;
        schema["$schema"] = json!(dialect);
        assert_ne!(verdict(schema.clone(), bad), "", "{dialect}");
        let draft = schemas(&[("T.json", schema)]).list()[0].draft;
        assert!(dialect.contains(draft.trim_start_matches("draft-")), "{dialect} is not {draft}");
    }
    assert_eq!(
        problems(&[("T.json", json!({"$schema": "http://json-schema.org/draft-03/schema#"}))]),
        "`T.json` `$schema` is `http://json-schema.org/draft-03/schema#`: expected draft 4, 6, 7, 2019-09 or 2020-12, such as \
         `https://json-schema.org/draft/2020-12/schema`"
    );
}

#[test]
fn the_event_names_its_version() {
    let version = |n: i32| json!({ "const": n });
    let schemas = schemas(&[
        ("Order.json", version(0)),
        ("Order/1.2.json", version(1)),
        ("Order/1.10.json", version(2)),
        ("Order/2.json", json!({"const": 3, "$id": "https://shop.example/order-two"})),
        ("Plain.json", version(4)),
    ]);
    for (kind, dataschema, named, answer) in [
        ("Order", None, None, Ok(3)),
        ("Order", Some("https://x/schemas/Order/1.2.json"), None, Ok(1)),
        ("Order", Some("1.10"), Some("2"), Ok(2)),
        ("Order", Some("https://shop.example/order-two#"), None, Ok(3)),
        ("Order", Some("https://x/Order.json"), None, Ok(3)),
        ("Order", None, Some("1.2"), Ok(1)),
        ("Plain", None, Some("7"), Ok(4)),
        (
            "Order",
            None,
            Some("3"),
            Err(
                "there is no schema for `Order` version `3`: registered are `1.2`, `1.10`, `2`; expected `Order/3.json` in the \
                 schema folder",
            ),
        ),
        (
            "Order",
            Some("https://x/schemas/Order/9.json"),
            None,
            Err(
                "there is no schema for `Order` version `9`: registered are `1.2`, `1.10`, `2`; expected `Order/9.json` in the \
                 schema folder",
            ),
        ),
        (
            "acme/gone",
            None,
            Some("1"),
            Err(
                "there is no schema for `acme/gone`: expected `acme%2Fgone.json` or `acme%2Fgone/<version>.json` in the schema \
                 folder",
            ),
        ),
    ] {
        let event = event(kind, dataschema, named);
        match answer {
            Ok(right) => {
                let passed: Vec<i32> = (0..5).filter(|n| schemas.check(&event, Some(&json!(n))).is_ok()).collect();
                assert_eq!(passed, [right], "{dataschema:?} {named:?}");
            }
            Err(text) => {
                let error = schemas.check(&event, Some(&json!(0))).unwrap_err();
                assert!(matches!(error, SchemaError::Missing { .. }));
                assert_eq!(error.to_string(), text);
            }
        }
    }
    let list: Vec<_> = schemas.list().iter().map(|entry| (entry.path, entry.newest)).collect();
    assert_eq!(
        list,
        [
            ("Order.json", false),
            ("Order/1.2.json", false),
            ("Order/1.10.json", false),
            ("Order/2.json", true),
            ("Plain.json", true)
        ]
    );
}

#[test]
fn data_that_is_not_json_does_not_match() {
    let schemas = schemas(&[("T.json", json!(true))]);
    let event = Event { datacontenttype: Some("text/csv".to_owned()), ..event("T", None, None) };
    let error = schemas.check(&event, None).unwrap_err();
    assert_eq!(error.to_string(), "/: expected JSON, since there is a schema for it, found `text/csv`");
}

#[test]
fn references_reach_the_files_of_the_folder() {
    let money = json!({"type": "object", "required": ["amount"], "properties": {"currency": {"$ref": "currency.json#/$defs/code"}}});
    let currency = json!({"$defs": {"code": {"enum": ["EUR", "USD"]}}});
    for (order, money) in [
        (json!({"properties": {"total": {"$ref": "../_shared/money.json"}}}), money.clone()),
        (json!({"properties": {"total": {"$ref": "/_shared/money.json"}}}), money.clone()),
        // By path although an `$id` moves the schema elsewhere, be it like the folder or not.
        (
            json!({"$id": "https://shop.example/v1/Order/1.json", "properties": {"total": {"$ref": "../_shared/money.json"}}}),
            money.clone(),
        ),
        (
            json!({"$id": "https://shop.example/a/b/whatever", "properties": {"total": {"$ref": "../_shared/money.json"}}}),
            money.clone(),
        ),
        // By `$id`.
        (json!({"properties": {"total": {"$ref": "https://shop.example/money"}}}), {
            let mut money = money.clone();
            money["$id"] = json!("https://shop.example/money");
            money
        }),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"total": {"$ref": "../_shared/money.json"}}}),
            money.clone(),
        ),
    ] {
        let schemas = schemas(&[
            ("Order/1.json", order),
            ("_shared/money.json", money),
            ("_shared/currency.json", currency.clone()),
        ]);
        let check =
            |data: Value| schemas.check(&event("Order", None, None), Some(&data)).map_err(|error| error.to_string());
        assert_eq!(check(json!({"total": {"amount": 1, "currency": "EUR"}})), Ok(()));
        assert_eq!(
            check(json!({"total": {"amount": 1, "currency": "XXX"}})),
            Err("/total/currency: expected one of \"EUR\" or \"USD\", found \"XXX\"".to_owned())
        );
        assert_eq!(schemas.list().len(), 1, "shared files belong to no type");
    }
}

#[test]
fn references_reach_nothing_else() {
    for (reference, expected) in [
        ("../../../etc/passwd", "`T/1.json` `$ref` `../../../etc/passwd` leaves the schema folder"),
        ("../U.json", "`T/1.json` `$ref` leads to `U.json`, which is not in the schema folder"),
        ("file:///etc/passwd", "leads to `file:///etc/passwd`, which is not in the schema folder; nothing is fetched"),
        (
            "https://x.example/y",
            "leads to `https://x.example/y`, which is not in the schema folder; nothing is fetched",
        ),
        ("http://169.254.169.254/latest/", "nothing is fetched"),
        ("#/$defs/gone", "`T/1.json` has a `$ref` that leads nowhere: Pointer '/$defs/gone' does not exist"),
    ] {
        let text = problems(&[("T/1.json", json!({"$ref": reference}))]);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn broken_folders_say_everything_at_once() {
    let mut list = files(&[
        ("A.json", json!({"type": "strnig"})),
        ("B.json", json!({"properties": {"a": {"pattern": "^(?=a)b"}}})),
        ("C.json", json!({"minimum": "x"})),
        ("D.json", json!({"pattern": "(((a{100}){100}){100}){100}"})),
    ]);
    let text = |list: &[SchemaFile]| {
        let problems = Schemas::compile(list.to_vec()).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let found = text(&list);
    assert_eq!(found.len(), 4);
    assert!(
        found[0].starts_with("`A.json` is not a valid schema: /type: expected a value that matches one of"),
        "{}",
        found[0]
    );
    assert_eq!(
        found[1],
        "`B.json` has a bad pattern at `/properties/a/pattern`: `^(?=a)b` is not a regular expression of the linear-time kind \
         (without look-around and back-references), or it is too large"
    );
    assert_eq!(found[2], "`C.json` is not a valid schema: /minimum: expected a number, found \"x\"");
    assert!(found[3].starts_with("`D.json` has a bad pattern"));

    list.extend([
        SchemaFile { path: "E.json".to_owned(), text: "{".to_owned() },
        SchemaFile { path: "F.json".to_owned(), text: "{\"a\":".repeat(65) + "1" + &"}".repeat(65) },
        SchemaFile { path: "G.json".to_owned(), text: " ".repeat(1024 * 1024) + "{}" },
        SchemaFile { path: "H.json".to_owned(), text: "5".to_owned() },
        SchemaFile { path: "I.yaml".to_owned(), text: "{}".to_owned() },
    ]);
    let found = text(&list);
    let paths: Vec<_> = found.iter().map(|text| &text[..8]).collect();
    assert_eq!(paths, ["`E.json`", "`F.json`", "`G.json`", "`H.json`", "`I.yaml`"]);

    let twins = problems(&[("a%2Fb.json", json!(true)), ("a%2fb.json", json!(true))]);
    assert_eq!(twins, "`a%2fb.json` is the same type and version as `a%2Fb.json`");
}

#[test]
fn circles_of_references_end() {
    let deep = nested(63, "x");
    for schema in [
        json!({"$ref": "#"}),
        json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
        json!({"anyOf": [{"$ref": "#"}, {"type": "string"}]}),
        json!({"allOf": [{"$ref": "#"}], "type": "object"}),
        json!({"not": {"$ref": "#"}}),
        json!({"type": "object", "additionalProperties": {"$ref": "#"}}),
        json!({"$dynamicAnchor": "node", "type": "object", "additionalProperties": {"$dynamicRef": "#node"}}),
        json!({"unevaluatedProperties": {"$ref": "#"}, "type": "object"}),
    ] {
        verdict(schema.clone(), deep.clone());
        verdict(schema, json!(5));
    }
    let circle = schemas(&[("A.json", json!({"$ref": "B.json"})), ("B.json", json!({"$ref": "A.json"}))]);
    assert!(circle.check(&event("A", None, None), Some(&deep)).is_ok());
}

#[test]
fn chains_of_references_are_bounded() {
    let chain = |length: usize, last: Value| {
        let mut definitions: serde_json::Map<String, Value> =
            (0..length).map(|n| (format!("d{n}"), json!({ "$ref": format!("#/$defs/d{}", n + 1) }))).collect();
        definitions.insert(format!("d{length}"), last);
        json!({"$defs": definitions, "$ref": "#/$defs/d0"})
    };
    for length in [70, 1000, 10_000] {
        assert_eq!(
            problems(&[("T.json", chain(length, json!({})))]),
            "`T.json` chains more than 64 schemas that apply to the same value (`$ref`, `allOf`, …): expected a flatter schema"
        );
    }
    let through_files: Vec<(String, Value)> =
        (0..80).map(|n| (format!("_f{n}.json"), json!({ "$ref": format!("_f{}.json", (n + 1) % 80) }))).collect();
    let through_files: Vec<(&str, Value)> =
        through_files.iter().map(|(path, schema)| (path.as_str(), schema.clone())).collect();
    assert!(problems(&through_files).contains("chains more than 64"));

    // The longest chain that is allowed, again at each level of the deepest data, on a worker thread's small stack.
    let schemas = schemas(&[("T.json", chain(60, json!({"type": "object", "additionalProperties": {"$ref": "#"}})))]);
    let mut bad = json!(5);
    for _ in 0..63 {
        bad = json!({ "x": bad });
    }
    let check = move || {
        assert!(schemas.check(&event("T", None, None), Some(&nested(63, "x"))).is_ok());
        schemas.check(&event("T", None, None), Some(&bad)).unwrap_err().to_string()
    };
    let text = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(check).unwrap().join().unwrap();
    assert!(text.ends_with("expected an object, found 5"), "{text}");
}

#[test]
fn explaining_a_recursive_choice_takes_no_time() {
    let schema = json!({"anyOf": [
        {"required": ["x"], "properties": {"x": {"$ref": "#"}}},
        {"required": ["x"], "properties": {"x": {"$ref": "#"}, "y": true}},
    ]});
    let start = Instant::now();
    let text = verdict(schema, nested(63, "x"));
    assert!(
        text.starts_with("/: expected a value that matches one of the 2 alternatives of `anyOf`, found {\"x\":"),
        "{text}"
    );
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn explanations_survive_references_into_alternatives_and_unevaluated_properties() {
    let schema = json!({
        "anyOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"required": ["b"]}],
        "properties": {"c": {"$ref": "#/anyOf/0"}, "total": {"minimum": 0}},
        "unevaluatedProperties": false,
    });
    assert_eq!(verdict(schema.clone(), json!({"a": "x"})), "");
    assert_eq!(
        verdict(schema, json!({"a": "x", "total": -1})),
        "/: expected data that matches the schema, found data that does not"
    );
    let schema = json!({
        "$defs": {"positive": {"minimum": 0}},
        "anyOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"required": ["b"]}],
        "properties": {"total": {"$ref": "#/$defs/positive"}},
        "unevaluatedProperties": false,
    });
    assert_eq!(verdict(schema, json!({"a": "x", "total": -1})), "/total: expected a number ≥ 0, found -1");
}
