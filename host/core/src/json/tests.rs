//! What is accepted, what is refused and where, and what it costs.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn accepted(text: &str) -> Value {
    parse(text.as_bytes(), &JsonLimits::default()).expect(text)
}

fn refused(bytes: &[u8]) -> JsonError {
    parse(bytes, &JsonLimits::default()).expect_err("must be refused")
}

#[test]
fn json_is_read_as_serde_json_reads_it() {
    for text in [
        "null",
        " [1, -1, 1.5, 18446744073709551615, -9223372036854775808, 1e300, 0.1, 123456789012345678901234567890] ",
        r#"{"a":{"b":[true,false,null]},"ä":"\u00e4\n\"\\ \ud83d\ude00","":""}"#,
        "\"text\"",
    ] {
        assert_eq!(accepted(text), serde_json::from_str::<Value>(text).expect(text), "{text}");
    }
    assert_eq!(accepted("[1, 1.0]"), json!([1, 1.0]), "an integer stays one");
}

#[test]
fn every_refusal_says_what_and_where() {
    for (text, message) in [
        (&b""[..], "expected a JSON value, found nothing"),
        (b" \n ", "expected a JSON value, found nothing"),
        (b"{\"a\":1", "the JSON text ends before its value does at line 1, column 7 (byte 6)"),
        (b"[1,", "the JSON text ends before its value does at line 1, column 4 (byte 3)"),
        (b"\"abc", "the JSON text ends before its value does at line 1, column 5 (byte 4)"),
        (b"{\"a\":1} x y", "expected the end of the JSON text, found `x` at line 1, column 9 (byte 8)"),
        (b"{}{}", "expected the end of the JSON text, found `{}` at line 1, column 3 (byte 2)"),
        ("1 ä".as_bytes(), "expected the end of the JSON text, found `ä` at line 1, column 3 (byte 2)"),
        (
            b"{\n  \"a\": 1,\n  \"b\": 2,\n  \"a\" : 3\n}",
            "the key `a` occurs a second time in the same object at line 4, column 3 (byte 24)",
        ),
        (
            br#"{"x":[{"a\"b":1,"a\"b"}]}"#,
            "the key `a\"b` occurs a second time in the same object at line 1, column 17 (byte 16)",
        ),
        (br#"{"a":1,"\u0061":2}"#, "the key `a` occurs a second time in the same object at line 1, column 8 (byte 7)"),
        (
            "{\"ä\": \"ü\",\n \"ä\": 1}".as_bytes(),
            "the key `ä` occurs a second time in the same object at line 2, column 2 (byte 14)",
        ),
        (b"{\"a\":1e400}", "the number `1e400` is out of the range of a 64-bit float at line 1, column 6 (byte 5)"),
        (
            b"[-1E+99999999999]",
            "the number `-1E+99999999999` is out of the range of a 64-bit float at line 1, column 2 (byte 1)",
        ),
        (b"\"a\xffb\"", "the byte 0xff is not valid UTF-8 at line 1, column 3 (byte 2)"),
        (b"\n\"\xc3\xa4\xed\xa0\x80\"", "the byte 0xed is not valid UTF-8 at line 2, column 3 (byte 4)"),
        (b"{a:1}", "expected a key in double quotes at line 1, column 2 (byte 1)"),
        (b"[1 2]", "expected `,` or `]` at line 1, column 4 (byte 3)"),
        (b"{\"a\" 1}", "expected `:` at line 1, column 6 (byte 5)"),
        (b"[nulx]", "expected `true`, `false` or `null` at line 1, column 5 (byte 4)"),
        (b"[NaN]", "expected a value at line 1, column 2 (byte 1)"),
        ("[ä]".as_bytes(), "expected a value at line 1, column 2 (byte 1)"),
        (b"[01]", "invalid number at line 1, column 3 (byte 2)"),
        (b"[1,]", "expected another entry after the comma at line 1, column 4 (byte 3)"),
        (br#""\ud800""#, "unexpected end of hex escape at line 1, column 8 (byte 7)"),
        (br#""\x""#, "invalid escape at line 1, column 3 (byte 2)"),
        (
            b"\"a\nb\"",
            "expected control characters in strings to be escaped, as in `\\n`, at line 1, column 3 (byte 2)",
        ),
    ] {
        assert_eq!(refused(text).to_string(), message, "{:?}", String::from_utf8_lossy(text));
    }
}

#[test]
fn nesting_bombs_are_refused_while_parsing() {
    for (opening, closing) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
        let bomb = opening.repeat(1_000_000);
        assert!(matches!(refused(bomb.as_bytes()), JsonError::TooDeep { limit: 64, .. }), "{opening}");
        let levels = 64 / opening.matches(['[', '{']).count();
        accepted(&format!("{}1{}", opening.repeat(levels), closing.repeat(levels)));
    }
    let limits = JsonLimits { depth: 2, ..JsonLimits::default() };
    assert!(parse(b"[[1],{}]", &limits).is_ok());
    for text in ["[[1],[ [ ]]]", "[[1],[ {\"a\":1}]]", "[[1],[ [  , "] {
        let error = parse(text.as_bytes(), &limits).expect_err(text);
        assert_eq!(
            error.to_string(),
            "arrays and objects are nested deeper than 2 levels at line 1, column 8 (byte 7)"
        );
    }
}

#[test]
fn no_limit_on_depth_can_be_asked_for_that_the_parser_does_not_hold() {
    let limits = JsonLimits { depth: usize::MAX, ..JsonLimits::default() };
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(parse(nested(JsonLimits::DEEPEST).as_bytes(), &limits).is_ok());
    for levels in [JsonLimits::DEEPEST + 1, 128, 129, 100_000] {
        assert!(matches!(parse(nested(levels).as_bytes(), &limits), Err(JsonError::TooDeep { .. })), "{levels}");
    }
}

#[test]
fn size_is_checked_before_anything_is_read() {
    let limits = JsonLimits { bytes: 4, ..JsonLimits::default() };
    assert!(parse(b"1234", &limits).is_ok());
    assert_eq!(
        parse(b"\xff\xff\xff\xff\xff", &limits).expect_err("too large").to_string(),
        "the JSON text has 5 bytes, at most 4 are accepted"
    );
}

#[test]
fn hostile_keys_are_fit_for_a_log_line() {
    let key = format!("\\u001b[31m{}", "k".repeat(10_000));
    let message = refused(format!("{{\"{key}\":1,\"{key}\":2}}").as_bytes()).to_string();
    assert!(message.len() < 200 && !message.contains('\u{1b}'), "{message}");
}

proptest! {
    #[test]
    fn whatever_is_accepted_is_what_serde_json_reads(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(value) = parse(&bytes, &JsonLimits::default()) {
            prop_assert_eq!(value, serde_json::from_slice::<Value>(&bytes).expect("valid"));
        }
    }

    #[test]
    fn texts_that_look_like_json_never_panic(text in "[\\[\\]{}\",:0-9eE+.\\-a\\\\ \nä]{0,60}") {
        match parse(text.as_bytes(), &JsonLimits::default()) {
            Ok(value) => prop_assert_eq!(value, serde_json::from_str::<Value>(&text).expect("valid")),
            Err(error) => prop_assert!(error.position().is_none_or(|at| at.offset <= text.len())),
        }
    }
}
