//! What goes in comes out, whatever it holds.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use proptest::prelude::*;

use super::record as header;
use super::*;
use crate::failure::FailureKind;
use crate::name::StreamName;

const DOCUMENT: &str = include_str!("../../../../docs/dead-letters.md");

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(seconds, 1_500_000)
}

fn letter() -> DeadLetter {
    DeadLetter {
        original: Message {
            subject: Subject::try_new("orders.created").unwrap(),
            headers: [
                ("ce-id", "42"),
                ("Nats-Msg-Id", "m-42"),
                ("nats-rollup", "all"),
                ("Dlq-Reason", "of an earlier life"),
                ("ce-id", "twice"),
            ]
            .into_iter()
            .collect(),
            payload: Bytes::from_static(b"{\"total\":\xff}"),
        },
        origin: Origin { stream: StreamName::try_new("ORDERS").unwrap(), sequence: 42 },
        stored: at(1_769_860_800),
        route: RouteName::try_new("high-value").unwrap(),
        plugin: PluginName::try_new("fraud-check").unwrap(),
        digest: "sha256:abc".to_owned(),
        reason: "trap".to_owned(),
        error: "the guest trapped: 100% ≥ \u{1b}[31mred\u{1b}[0m\nsecond line".to_owned(),
        blame: Blame::Plugin,
        attempts: 5,
        exhausted_by: Some(ExhaustedBy::Attempts),
        first_failure: at(1_769_860_801),
        last_failure: at(1_769_860_900),
        host: "worker-1".to_owned(),
        redriven: 1,
        event_id: Some("42".to_owned()),
        event_type: Some("OrderCreated".to_owned()),
        log_tail: vec!["checking 42".to_owned(), String::new(), " indented".to_owned()],
    }
}

fn encode(letter: &DeadLetter) -> Message {
    letter.encode(&Subject::try_new("dlq.high-value").unwrap()).unwrap()
}

#[test]
fn a_dead_letter_can_be_read_with_any_client() {
    let message = encode(&letter());
    assert_eq!(message.subject.as_str(), "dlq.high-value.ORDERS.42");
    assert_eq!(message.payload, letter().original.payload);
    let headers: Vec<_> = message.headers.iter().collect();
    assert_eq!(
        headers,
        [
            ("ce-id", "42"),
            ("Dlq-Original-Nats-Msg-Id", "m-42"),
            ("Dlq-Original-nats-rollup", "all"),
            ("Dlq-Original-Dlq-Reason", "of an earlier life"),
            ("ce-id", "twice"),
            ("Dlq-Route", "high-value"),
            ("Dlq-Plugin", "fraud-check"),
            ("Dlq-Digest", "sha256:abc"),
            ("Dlq-Reason", "trap"),
            ("Dlq-Error", "the guest trapped: 100%25 %E2%89%A5 red second line"),
            ("Dlq-Blame", "plugin"),
            ("Dlq-Attempts", "5"),
            ("Dlq-Exhausted-By", "attempts"),
            ("Dlq-Stream", "ORDERS"),
            ("Dlq-Sequence", "42"),
            ("Dlq-Subject", "orders.created"),
            ("Dlq-Stored", "2026-01-31T12:00:00.0015Z"),
            ("Dlq-First-Failed", "2026-01-31T12:00:01.0015Z"),
            ("Dlq-Last-Failed", "2026-01-31T12:01:40.0015Z"),
            ("Dlq-Host", "worker-1"),
            ("Dlq-Redriven", "1"),
            ("Dlq-Event-Id", "42"),
            ("Dlq-Event-Type", "OrderCreated"),
            ("Dlq-Log", "checking 42"),
            ("Dlq-Log", "%"),
            ("Dlq-Log", "%20indented"),
        ]
    );
    assert_eq!(DeadLetter::decode(&message).unwrap(), letter().cleaned());
}

#[test]
fn a_dead_letter_of_a_dead_letter_keeps_both_records() {
    let inner = letter().cleaned();
    let outer = DeadLetter { original: encode(&inner), route: RouteName::try_new("repair").unwrap(), ..letter() };
    let outer = DeadLetter::decode(&encode(&outer)).unwrap();
    assert_eq!(outer.route.as_str(), "repair");
    assert_eq!(DeadLetter::decode(&outer.original).unwrap(), inner);
}

#[test]
fn a_redrive_is_the_original_and_counts() {
    let stored = StoredDeadLetter { id: 9, stored: at(0), message: encode(&letter()) };
    let redrive = redrive(&stored).unwrap();
    assert_eq!((redrive.dead_letter, redrive.redriven, redrive.route.as_str()), (9, 2, "high-value"));
    assert_eq!(redrive.message, letter().original);
    assert_eq!((redrive.origin, redrive.stored), (letter().origin, letter().stored));
}

#[test]
fn what_is_no_dead_letter_says_so() {
    let refusal = |name: &str, value: Option<&str>| {
        let mut message = encode(&letter());
        message.headers.remove(name);
        value.into_iter().for_each(|value| message.headers.append(name, value));
        DeadLetter::decode(&message).unwrap_err().to_string()
    };
    for (name, value, expected) in [
        ("Dlq-Route", None, "the message is no dead letter: header `Dlq-Route` is missing"),
        (
            "Dlq-Route",
            Some("A b"),
            "the message is no dead letter: header `Dlq-Route` should be a route name, found `A b`",
        ),
        (
            "Dlq-Sequence",
            Some("-1"),
            "the message is no dead letter: header `Dlq-Sequence` should be a number, found `-1`",
        ),
        (
            "Dlq-Blame",
            Some("nobody"),
            "the message is no dead letter: header `Dlq-Blame` should be `event`, `plugin` or `host`, found `nobody`",
        ),
        (
            "Dlq-Stored",
            Some("soon"),
            "the message is no dead letter: header `Dlq-Stored` should be a time such as `2026-01-31T12:00:00Z`, found `soon`",
        ),
        (
            "Dlq-Error",
            Some("%ff"),
            "the message is no dead letter: header `Dlq-Error` should be percent-encoded UTF-8, found `%ff`",
        ),
    ] {
        assert_eq!(refusal(name, value), expected);
    }
}

#[test]
fn the_record_has_a_bound() {
    let worst = DeadLetter {
        original: Message {
            subject: Subject::try_new(&"ä".repeat(512)).unwrap(),
            headers: Headers::new(),
            payload: Bytes::new(),
        },
        origin: Origin { stream: StreamName::try_new(&"S".repeat(63)).unwrap(), sequence: u64::MAX },
        route: RouteName::try_new(&"r".repeat(63)).unwrap(),
        plugin: PluginName::try_new(&"p".repeat(63)).unwrap(),
        digest: format!("sha256:{}", "a".repeat(64)),
        error: "ä".repeat(10_000),
        host: "h".repeat(253),
        event_id: Some("ä".repeat(512)),
        event_type: Some("ä".repeat(512)),
        log_tail: vec!["ä%".to_owned(); 10_000],
        ..letter()
    };
    let message = encode(&worst);
    let size: usize = message.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    assert!(size <= MAX_RECORD_BYTES, "{size}");
    let kept = DeadLetter::decode(&message).unwrap();
    assert!(kept.error.len() <= MAX_ERROR_BYTES && kept.error.ends_with('…'));
    assert!(kept.log_tail.iter().map(String::len).sum::<usize>() <= MAX_LOG_BYTES && kept.log_tail.len() > 100);
}

#[test]
fn a_prefix_without_room_is_refused() {
    let prefix = Subject::try_new(&"a".repeat(1020)).unwrap();
    assert!(matches!(letter().encode(&prefix), Err(SubjectError::TooLong(_))));
}

#[test]
fn the_json_view_shows_text_or_base64() {
    let binary = letter();
    let view = serde_json::to_value(binary.view(9)).unwrap();
    assert_eq!(view["payload_base64"], "eyJ0b3RhbCI6/30=");
    assert_eq!(view.get("payload"), None);
    assert_eq!((&view["id"], &view["headers"][1][1]), (&9.into(), &"m-42".into()));

    let mut text = letter();
    text.original.payload = Bytes::from_static(b"{}");
    let view = serde_json::to_value(text.view(9)).unwrap();
    assert_eq!((&view["payload"], view.get("payload_base64")), (&"{}".into(), None));
    assert_eq!((&view["stored"], &view["exhausted_by"]), (&"2026-01-31T12:00:00.0015Z".into(), &"attempts".into()));
}

#[test]
fn every_reason_and_every_header_is_documented() {
    for kind in FailureKind::ALL {
        let row = format!("| `{}` | {} |", kind.code(), kind.blame().as_str());
        assert!(DOCUMENT.contains(&row), "docs/dead-letters.md lacks a row that begins with {row}");
    }
    let message = encode(&DeadLetter {
        original: Message { headers: [("a\n", "b")].into_iter().collect(), ..letter().original },
        ..letter()
    });
    for (name, _) in message.headers.iter() {
        let name = name.strip_suffix("a%0A").map_or_else(|| name.to_owned(), |prefix| format!("{prefix}*"));
        assert!(DOCUMENT.contains(&format!("| `{name}` |")), "docs/dead-letters.md lacks the header {name}");
    }
    assert!(DOCUMENT.contains("| `Dlq-Original-*` |"));
}

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ \\r\\n\\t%:a\\x00-\\x1f\\x7f-\\x9f€]{0,20}",
        Just("%".to_owned()),
        Just(String::new()),
        Just("x\r\nNats-Rollup: all\r\n\r\nbody".to_owned()),
    ]
}

fn header_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z-]{1,12}",
        "(?i)(nats|dlq)-[A-Za-z-]{0,10}",
        "Dlq-(Original|Escaped)-(Route|Dlq-Log|Nats-Msg-Id|)",
        hostile(),
    ]
}

proptest! {
    #[test]
    fn every_dead_letter_survives(
        headers in prop::collection::vec((header_name(), hostile()), 0..6),
        payload in prop::collection::vec(any::<u8>(), 0..64),
        [digest, reason, error, host] in prop::array::uniform4(hostile()),
        ids in prop::array::uniform2(prop::option::of(hostile().prop_filter("an id is not empty", |id| !id.is_empty()))),
        log_tail in prop::collection::vec(hostile(), 0..5),
        (attempts, redriven, sequence) in any::<(u32, u32, u64)>(),
        (seconds, nanoseconds) in (0u64..253_402_300_799, 0u32..1_000_000_000),
    ) {
        let [event_id, event_type] = ids;
        let letter = DeadLetter {
            original: Message { headers: headers.into_iter().collect(), payload: payload.into(), ..letter().original },
            origin: Origin { sequence, ..letter().origin },
            stored: SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds),
            exhausted_by: None,
            digest, reason, error, host, attempts, redriven, event_id, event_type, log_tail,
            ..letter()
        };
        let message = encode(&letter);
        for (name, value) in message.headers.iter() {
            prop_assert!(!name.is_empty() && name.bytes().all(|b| (0x21..=0x7e).contains(&b) && b != b':'), "{:?}", name);
            prop_assert!(!value.chars().any(char::is_control) && value.trim() == value, "{:?}", value);
            prop_assert!(!name.to_ascii_lowercase().starts_with("nats-"));
        }
        prop_assert_eq!(message.headers.get(header::ROUTE), Some("high-value"));
        let decoded = DeadLetter::decode(&message).unwrap();
        prop_assert_eq!(&decoded, &letter.cleaned());
        // What was read is written the same again.
        prop_assert_eq!(encode(&decoded), message);
    }

    #[test]
    fn no_message_breaks_the_reader(headers in prop::collection::vec((header_name(), hostile()), 0..6)) {
        let mut message = encode(&letter());
        headers.into_iter().for_each(|(name, value)| message.headers.set(&name, value));
        let _ = DeadLetter::decode(&message);
    }
}
