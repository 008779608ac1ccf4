//! Messages in, events or sentences out.

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::message::Headers;
use crate::name::StreamName;
use crate::subject::Subject;

mod emits;

fn origin() -> Origin {
    Origin { stream: StreamName::try_new("ORDERS").unwrap(), sequence: 7 }
}

fn message(headers: &[(&str, &str)], payload: impl Into<Bytes>) -> Message {
    Message {
        subject: Subject::try_new("orders.created").unwrap(),
        headers: headers.iter().copied().collect::<Headers>(),
        payload: payload.into(),
    }
}

const REQUIRED: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/shop"), ("ce-type", "OrderCreated")];

/// The required headers, some of them replaced, some added, and left out where the value is `-`.
fn binary(changes: &[(&str, &str)]) -> Message {
    let mut headers: Headers = REQUIRED.into_iter().collect();
    for (name, value) in changes {
        match *value {
            "-" => headers.remove(name),
            value => headers.set(name, value),
        }
    }
    Message { headers, ..message(&[], r#"{"total":1200}"#) }
}

fn cloudevents(message: &Message) -> Result<Event, DecodeError> {
    decode(&Envelope::CloudEvents, message, &origin())
}

fn refusal(message: &Message) -> String {
    cloudevents(message).unwrap_err().to_string()
}

#[test]
fn binary_mode_reads_every_attribute() {
    let event = cloudevents(&binary(&[
        ("ce-time", "2026-01-31T12:00:00.25+01:00"),
        ("ce-subject", "order%2042%20%E2%82%AC"),
        ("ce-dataschema", "https://shop.example/schemas/OrderCreated/2.json"),
        ("content-type", "application/json; charset=utf-8"),
        ("ce-tenant", "acme"),
        ("Ce-CorrelationId", "c-1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "vendor=1"),
        ("Nats-Msg-Id", "ignored"),
    ]))
    .unwrap();
    let attributes: Vec<_> =
        ["id", "source", "type", "specversion", "time", "subject", "dataschema", "datacontenttype"]
            .map(|name| event.attribute(name).unwrap())
            .into();
    assert_eq!(
        attributes,
        [
            "1",
            "/shop",
            "OrderCreated",
            "1.0",
            "2026-01-31T12:00:00.25+01:00",
            "order 42 €",
            "https://shop.example/schemas/OrderCreated/2.json",
            "application/json; charset=utf-8",
        ]
    );
    assert_eq!(
        event.extensions,
        [
            ("tenant", "acme"),
            ("correlationid", "c-1"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("tracestate", "vendor=1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(event.data, r#"{"total":1200}"#);
}

#[test]
fn the_cloudevents_header_wins_over_the_bare_one() {
    let event = cloudevents(&binary(&[
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("ce-traceparent", "00-11111111111111111111111111111111-b7ad6b7169203331-01"),
        ("content-type", "text/plain"),
        ("ce-datacontenttype", "application/xml"),
    ]))
    .unwrap();
    assert_eq!(event.extension("traceparent"), Some("00-11111111111111111111111111111111-b7ad6b7169203331-01"));
    assert_eq!(event.datacontenttype.as_deref(), Some("application/xml"));

    let event = cloudevents(&binary(&[("traceparent", "not a trace")])).unwrap();
    assert_eq!(event.extension("traceparent"), None, "a broken trace must not cost the event");
}

#[test]
fn broken_binary_messages_say_what_is_wrong() {
    let long = "x".repeat(1025);
    for (change, expected) in [
        (("ce-id", "-"), "attribute `id` is missing: expected a text of 1 to 1024 bytes"),
        (("ce-type", "-"), "attribute `type` is missing: expected a text of 1 to 1024 bytes"),
        (("ce-source", ""), "attribute `source` is empty: expected a text, or the attribute left out"),
        (("ce-specversion", "0.3"), "attribute `specversion` is not supported: expected `1.0`, found `0.3`"),
        (("ce-id", long.as_str()), "attribute `id` is too long: expected at most 1024 bytes, found 1025"),
        (
            ("ce-time", "yesterday"),
            "attribute `time` is no time: expected RFC 3339 like `2026-01-31T12:00:00Z`, found `yesterday`",
        ),
        (
            ("ce-id", "a%0d%0aNats-Rollup: all"),
            "attribute `id` holds a control character: expected printable text, found `a  Nats-Rollup: all`",
        ),
        (("ce-id", "%1b%5b2Jx%7f"), "attribute `id` holds a control character: expected printable text, found `x�`"),
        (("ce-id", "100%"), "attribute `id` is badly escaped: expected `%` and two hexadecimal digits, found `%`"),
        (("ce-id", "%ff"), "attribute `id` is not UTF-8 after unescaping, found `%ff`"),
        (("ce-my_ext", "1"), "`my_ext` is not an attribute name: expected 1 to 64 of `a-z` and `0-9`"),
        (("ce-data", "1"), "`data` is not an attribute name: expected 1 to 64 of `a-z` and `0-9`"),
        (("ce-", "1"), "`` is not an attribute name: expected 1 to 64 of `a-z` and `0-9`"),
        (("Ce-Id", "2"), "attribute `id` is given twice"),
        (("ce-specversion", "-"), "attribute `specversion` is missing: expected the header `ce-specversion: 1.0`"),
    ] {
        assert_eq!(refusal(&binary(&[change])), expected, "{change:?}");
    }
    let many: Vec<(String, &str)> = (0..65).map(|n| (format!("ce-x{n}"), "1")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(refusal(&binary(&many)), "there are too many extension attributes: expected at most 64");
}

#[test]
fn times_are_rfc_3339() {
    for (time, good) in [
        ("2026-01-31T12:00:00Z", true),
        ("2026-01-31t12:00:00.123456789z", true),
        ("2026-01-31T12:00:00-23:59", true),
        ("2026-06-30T23:59:60Z", true),
        ("2026-01-31 12:00:00Z", false),
        ("2026-01-31T12:00:00", false),
        ("2026-02-30T12:00:00Z", false),
        ("2026-01-31T24:00:00Z", false),
        ("2026-01-31", false),
        ("1769860800", false),
    ] {
        assert_eq!(cloudevents(&binary(&[("ce-time", time)])).is_ok(), good, "{time}");
    }
}

#[test]
fn structured_mode_is_known_by_its_content_type_or_its_looks() {
    let text = r#" {"specversion":"1.0","id":"1","source":"/shop","type":"OrderCreated","count":3,"vip":true,"none":null,
        "data":{"total": 1.20e3, "name":"ä"}}"#;
    for headers in [
        &[][..],
        &[("Content-Type", "application/cloudevents+json; charset=utf-8")],
        &[("content-type", "application/cloudevents")],
        &[("content-type", "application/json")],
    ] {
        let event = cloudevents(&message(headers, text)).unwrap();
        assert_eq!((event.id.as_str(), event.kind.as_str()), ("1", "OrderCreated"));
        assert_eq!(event.data, r#"{"total": 1.20e3, "name":"ä"}"#, "numbers keep their form");
        assert_eq!(event.datacontenttype, None);
        assert_eq!((event.extension("count"), event.extension("vip")), (Some("3"), Some("true")));
    }
}

#[test]
fn structured_data_has_three_forms() {
    let data = |members: &str| {
        let text = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"T"{members}}}"#);
        cloudevents(&message(&[], text)).map(|event| event.data).map_err(|error| error.to_string())
    };
    assert_eq!(data("").unwrap(), "");
    assert_eq!(data(r#","data":null"#).unwrap(), "null");
    assert_eq!(data(r#","data":"text""#).unwrap(), r#""text""#);
    assert_eq!(data(r#","datacontenttype":"text/xml","data":"<a>\n</a>""#).unwrap(), "<a>\n</a>");
    assert_eq!(data(r#","datacontenttype":"image/png","data_base64":"AAH/""#).unwrap(), &[0u8, 1, 255][..]);
    for (members, message) in [
        (r#","data":1,"data_base64":"AA==""#, "`data` and `data_base64` are both given: expected one of them"),
        (r#","data_base64":"A""#, "attribute `data_base64` is not Base64: Invalid input length: 1"),
        (r#","data_base64":1"#, "attribute `data_base64` has the wrong type: expected a string, found a number"),
        (
            r#","datacontenttype":"text/plain","data":{}"#,
            "attribute `data` has the wrong type: expected a string, since `datacontenttype` is not JSON, found an object",
        ),
    ] {
        assert_eq!(data(members).unwrap_err(), message);
    }
}

#[test]
fn broken_structured_messages_say_what_is_wrong() {
    for (payload, expected) in [
        (
            r#"{"specversion":"1.0","source":"/s","type":"T"}"#,
            "attribute `id` is missing: expected a text of 1 to 1024 bytes",
        ),
        (
            r#"{"specversion":"1.0","id":7,"source":"/s","type":"T"}"#,
            "attribute `id` has the wrong type: expected a string, found the number 7",
        ),
        (
            r#"{"specversion":1.0,"id":"7","source":"/s","type":"T"}"#,
            "attribute `specversion` has the wrong type: expected a string, found the number 1.0",
        ),
        (
            r#"{"specversion":"1.0","id":"7","source":"/s","type":"T","ratio":0.5}"#,
            "attribute `ratio` has the wrong type: expected a string, a boolean or an integer, found the number 0.5",
        ),
        (
            r#"{"specversion":"1.0","id":"7","source":"/s","type":"T","deep":{"a":[]}}"#,
            "attribute `deep` has the wrong type: expected a string, a boolean or an integer, found an object",
        ),
        (
            r#"{"specversion":"1.0","id":"7","source":"/s","type":"T","orderId":"7"}"#,
            "`orderId` is not an attribute name: expected 1 to 64 of `a-z` and `0-9`",
        ),
        (
            r#"{"specversion":"1.0","id":"a\u0000b","source":"/s","type":"T"}"#,
            "attribute `id` holds a control character: expected printable text, found `a�b`",
        ),
    ] {
        assert_eq!(refusal(&message(&[], payload)), expected);
    }
}

#[test]
fn what_is_no_cloudevent_at_all_says_so() {
    let not = |found: &str| {
        format!(
            "the message is no CloudEvent: expected a `ce-specversion` header or a JSON object with `specversion`, found \
             {found}; for plain messages set `envelope: raw` on the stream"
        )
    };
    for (payload, expected) in [
        (&b""[..], not("an empty payload")),
        (b"hello \x1b[31mworld", not("`hello world`")),
        (b"\xff\xfe", not("2 bytes that are not UTF-8")),
        (b"[1]", not("`[1]`")),
        ("€".repeat(100).as_bytes(), not(&format!("`{}…`", "€".repeat(25)))),
        (br#"{"total":1}"#, not("a JSON object without it")),
    ] {
        assert_eq!(refusal(&message(&[], payload.to_vec())), expected);
    }
    for (content_type, payload) in [("application/cloudevents-batch+json", "[]"), ("application/cloudevents+avro", "x")]
    {
        assert_eq!(
            refusal(&message(&[("content-type", content_type)], payload)),
            format!(
                "content type `{content_type}` is not supported: expected binary mode or `application/cloudevents+json`, one \
                 event per message"
            )
        );
    }
    let declared = [("content-type", "application/cloudevents+json")];
    assert_eq!(
        refusal(&message(&declared, "[1]")),
        "the payload is not an event: expected a JSON object, found an array"
    );
    for hostile in ["{\"specversion\":\"1.0\",", "{\"a\":\"\u{0}", &"{\"a\":".repeat(100_000), r#"{"a":1e400}"#] {
        assert!(refusal(&message(&declared, hostile.to_owned())).starts_with("the payload is not usable JSON: "));
    }
    assert!(refusal(&message(&declared, &b"{\"id\":\"\xff\"}"[..])).starts_with("the payload is not usable JSON: "));
}

#[test]
fn raw_takes_anything() {
    let raw = |message: &Message| decode(&Envelope::Raw, message, &origin()).unwrap();
    let event = raw(&message(&[], &b"\xff\x00"[..]));
    assert_eq!((event.kind.as_str(), event.source.as_str()), ("orders.created", "/streams/ORDERS"));
    assert_eq!(event.data, &b"\xff\x00"[..]);
    assert_eq!(event.id, raw(&message(&[], "other")).id, "the id is the position's");
    let elsewhere = Origin { sequence: 8, ..origin() };
    assert_ne!(event.id, decode(&Envelope::Raw, &message(&[], ""), &elsewhere).unwrap().id);

    let event = raw(&message(&[("Nats-Msg-Id", "m-1"), ("Content-Type", "text/csv"), ("traceparent", "no")], "a,b"));
    assert_eq!((event.id.as_str(), event.datacontenttype.as_deref()), ("m-1", Some("text/csv")));
    assert_eq!(event.extensions, []);
}

#[test]
fn seed_reads_both_spellings() {
    let camel = r#"{"eventId":"e-1","eventType":"CustomerRegistered","timestamp":"2026-01-31T12:00:00Z","version":"1.0",
        "source":"crm","correlationId":"c-1","data":{"n": 1.0}}"#;
    let snake = camel
        .replace("eventId", "event_id")
        .replace("eventType", "event_type")
        .replace("correlationId", "correlation_id");
    for text in [camel, &snake] {
        let event = decode(&Envelope::Seed, &message(&[], text.to_owned()), &origin()).unwrap();
        assert_eq!(
            (event.id.as_str(), event.kind.as_str(), event.source.as_str()),
            ("e-1", "CustomerRegistered", "crm")
        );
        assert_eq!(event.time.as_deref(), Some("2026-01-31T12:00:00Z"));
        assert_eq!((event.version.as_deref(), event.extension("correlationid")), (Some("1.0"), Some("c-1")));
        assert_eq!(event.data, r#"{"n": 1.0}"#);
    }
}

#[test]
fn broken_seed_messages_say_what_is_wrong() {
    for (payload, expected) in [
        (
            json!({"eventType": "T", "source": "s"}),
            "attribute `eventId` is missing: expected a text of 1 to 1024 bytes",
        ),
        (
            json!({"eventId": "", "eventType": "T", "source": "s"}),
            "attribute `eventId` is empty: expected a text of 1 to 1024 bytes",
        ),
        (
            json!({"event_id": 5, "eventType": "T", "source": "s"}),
            "attribute `event_id` has the wrong type: expected a string, found a number",
        ),
        (
            json!({"eventId": "1", "event_id": "1", "eventType": "T", "source": "s"}),
            "attribute `eventId` is given twice",
        ),
        (
            json!({"eventId": "1", "eventType": "T", "source": "s", "timestamp": "now"}),
            "attribute `timestamp` is no time: expected RFC 3339 like `2026-01-31T12:00:00Z`, found `now`",
        ),
        (
            json!({"eventId": "1", "eventType": "T", "source": "s", "version": []}),
            "attribute `version` has the wrong type: expected a string or a number, found an array",
        ),
        (json!([]), "the payload is not an event: expected a JSON object, found an array"),
    ] {
        let error = decode(&Envelope::Seed, &message(&[], payload.to_string()), &origin()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_binary_cloudevent_is_read_on_any_stream() {
    for envelope in [Envelope::CloudEvents, Envelope::Raw, Envelope::Seed] {
        let event = decode(&envelope, &binary(&[]), &origin()).unwrap();
        assert_eq!((event.id.as_str(), event.kind.as_str()), ("1", "OrderCreated"));
    }
}

#[test]
fn json_data_is_known_by_its_type() {
    for (content_type, json) in [
        (None, true),
        (Some("application/json"), true),
        (Some("Application/JSON; charset=utf-8"), true),
        (Some("application/vnd.shop.order+json"), true),
        (Some("text/json"), true),
        (Some("application/xml"), false),
        (Some("json"), false),
    ] {
        let mut event = cloudevents(&binary(&[])).unwrap();
        event.datacontenttype = content_type.map(str::to_owned);
        assert_eq!(holds_json(&event), json, "{content_type:?}");
    }
}
