//! Every kind of mistake once, as a person sees it.
//!
//! `mistakes.txt` holds the cases: a title, a file, and what is said about it. `UPDATE=1 cargo test` rewrites what is said.

use proptest::prelude::*;

use super::super::load;
use super::lookup;

const CASES: &str = include_str!("mistakes.txt");

struct Case<'t> {
    title: &'t str,
    file: &'t str,
    said: &'t str,
}

fn cases() -> Vec<Case<'static>> {
    let parse = |text: &'static str| {
        let (title, rest) = text.split_once('\n').expect("a title");
        let (file, said) = rest.split_once("\n--->\n").unwrap_or((rest.trim_end(), ""));
        Case { title: title.trim_end_matches(" ==="), file, said: said.trim_end() }
    };
    CASES.split("=== ").skip(1).map(parse).collect()
}

fn said_about(file: &str) -> String {
    match load(file, &lookup()) {
        Ok(_) => "nothing is wrong".to_owned(),
        Err(diagnostics) => diagnostics.render("runtime.yaml").trim_end().to_owned(),
    }
}

#[test]
fn every_mistake_has_a_place_an_expectation_and_a_hint() {
    if std::env::var_os("UPDATE").is_some() {
        let render =
            |case: &Case<'_>| format!("=== {}\n{}\n--->\n{}\n\n", case.title, case.file, said_about(case.file));
        let text: String = cases().iter().map(render).collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/tests/mistakes.txt");
        return std::fs::write(path, text.trim_end().to_owned() + "\n").expect("the file can be written");
    }
    for case in cases() {
        assert_eq!(said_about(case.file), case.said, "\n{}\n{}", case.title, case.file);
        assert_ne!(case.said, "nothing is wrong", "{}", case.title);
    }
}

#[test]
fn no_message_holds_a_secret() {
    for case in cases() {
        assert!(!case.said.contains("hunter2"), "{}", case.title);
    }
}

#[test]
fn diagnostics_are_data_too() {
    let diagnostics = load("version: 1\nroutes: 5\n", &lookup()).unwrap_err();
    let expected = serde_json::json!([{
        "line": 2,
        "column": 9,
        "path": "routes",
        "message": "expected a list, found `5`",
        "hint": null,
    }]);
    assert_eq!(serde_json::to_value(diagnostics).unwrap(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_punctuation_makes_the_reader_panic(text in "[a-c1:{}\\[\\]\"'|>&*!?#$%@`,. \n\t\r-]{0,60}") {
        let _ = load(&text, &lookup());
        let _ = load(&format!("version: 1\nroutes:\n  - name: {text}"), &lookup());
    }
}

#[test]
fn no_text_makes_the_reader_panic() {
    let whole = super::EXAMPLE;
    for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
        let _ = load(&whole[..end], &lookup());
    }
    let deep = "[".repeat(100_000);
    assert!(load(&deep, &lookup()).is_err());
    let deep = (0..2000).map(|level| format!("{}a:\n", " ".repeat(level))).collect::<String>();
    assert!(load(&deep, &lookup()).is_err());
}
