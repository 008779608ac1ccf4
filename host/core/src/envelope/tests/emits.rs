//! What leaves: deterministic, readable by everybody, tied to its parent.

use proptest::prelude::*;
use time::macros::datetime;

use super::*;
use crate::effect::Emit;
use crate::name::RouteName;
use crate::port::Outgoing;

const NOW: time::OffsetDateTime = datetime!(2026-01-31 12:00:00.5 UTC);
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn emit() -> Emit {
    Emit {
        to: Subject::try_new("fraud.checked").unwrap(),
        kind: "FraudChecked".to_owned(),
        subject: Some("order 42".to_owned()),
        datacontenttype: None,
        dataschema: None,
        extensions: vec![("tenant".to_owned(), "ärger".to_owned())],
        data: Bytes::from_static(br#"{"score":1}"#),
    }
}

fn encode(index: usize, parent: &Event, sequence: u64) -> (Event, Outgoing) {
    let route = RouteName::try_new("high-value").unwrap();
    let origin = Origin { sequence, ..origin() };
    encode_emit(emit(), index, parent, &EmitIds { route: &route, origin: &origin }, NOW)
}

#[test]
fn an_emit_carries_its_ancestry() {
    let parent =
        cloudevents(&binary(&[("ce-correlationid", "c-1"), ("traceparent", TRACEPARENT), ("tracestate", "v=1")]));
    let (event, outgoing) = encode(0, &parent.unwrap(), 7);
    let headers: Vec<_> = outgoing.message.headers.iter().collect();
    assert_eq!(
        headers,
        [
            ("ce-specversion", "1.0"),
            ("ce-id", "c8c6862a-ec6c-5d4e-820f-6791117cc2f4"),
            ("ce-source", "/tidemill/high-value"),
            ("ce-type", "FraudChecked"),
            ("ce-time", "2026-01-31T12:00:00.5Z"),
            ("ce-subject", "order%2042"),
            ("ce-datacontenttype", "application/json"),
            ("ce-tenant", "%C3%A4rger"),
            ("ce-correlationid", "c-1"),
            ("ce-causationid", "1"),
            ("ce-traceparent", "00-0af7651916cd43dd8448eb211c80319c-c8c6862aec6c5d4e-01"),
            ("ce-tracestate", "v=1"),
            ("content-type", "application/json"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-c8c6862aec6c5d4e-01"),
            ("tracestate", "v=1"),
        ]
    );
    assert_eq!(outgoing.id, event.id);
    assert_eq!(outgoing.message.subject.as_str(), "fraud.checked");
    assert_eq!(cloudevents(&outgoing.message).unwrap(), event);
}

#[test]
fn a_parent_without_ancestry_starts_one() {
    for trace in [("x", "y"), ("ce-traceparent", "garbage")] {
        let parent = cloudevents(&binary(&[("ce-id", "parent"), trace])).unwrap();
        let (event, _) = encode(0, &parent, 7);
        assert_eq!(event.extension("correlationid"), Some("parent"));
        assert_eq!(event.extension("causationid"), Some("parent"));
        assert_eq!(event.extension("traceparent"), None, "no trace is invented");
    }
}

#[test]
fn the_same_input_gives_the_same_message_and_another_one_does_not() {
    let parent = cloudevents(&binary(&[("traceparent", TRACEPARENT)])).unwrap();
    assert_eq!(encode(0, &parent, 7), encode(0, &parent, 7));
    assert_ne!(encode(0, &parent, 7).1.id, encode(1, &parent, 7).1.id);
    assert_ne!(encode(0, &parent, 7).1.id, encode(0, &parent, 71).1.id);
}

#[test]
fn json_events_become_messages_for_the_command_line() {
    let value =
        json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "T", "tier": 3, "data": {"b": 1, "a": 2}});
    let event = event_from_json(&value).unwrap();
    assert_eq!((event.extension("tier"), event.data.len()), (Some("3"), 13));
    let outgoing = encode_event(&event, Subject::try_new("a.b").unwrap());
    assert_eq!(cloudevents(&outgoing.message).unwrap(), event);
    assert_eq!(
        event_from_json(&json!("T")).unwrap_err().to_string(),
        "the payload is not an event: expected a JSON object, found a string"
    );
}

proptest! {
    #[test]
    fn whatever_is_written_can_be_read(
        texts in prop::collection::vec("[^\\pC]{1,40}", 6),
        name in "[a-z][a-z0-9]{0,10}x",
        data in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let [id, source, kind, subject, dataschema, value] = texts.try_into().unwrap();
        let event = Event {
            id, source, kind,
            time: Some("2026-01-31T12:00:00Z".to_owned()),
            subject: Some(subject),
            datacontenttype: Some("application/octet-stream".to_owned()),
            dataschema: Some(dataschema),
            version: None,
            extensions: vec![(name, value)],
            data: data.into(),
        };
        let outgoing = encode_event(&event, Subject::try_new("a").unwrap());
        for (name, value) in outgoing.message.headers.iter() {
            prop_assert!(name.bytes().chain(value.bytes()).all(|b| (0x21..=0x7e).contains(&b)), "{}: {}", name, value);
        }
        prop_assert_eq!(cloudevents(&outgoing.message).unwrap(), event);
    }

    #[test]
    fn no_message_breaks_the_reader(
        headers in prop::collection::vec(("(ce-)?[a-z-]{0,12}", "\\PC{0,20}|%[0-9a-g]{0,2}"), 0..8),
        payload in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let message = Message {
            subject: Subject::try_new("a").unwrap(),
            headers: headers.into_iter().collect(),
            payload: payload.into(),
        };
        for envelope in [Envelope::CloudEvents, Envelope::Raw, Envelope::Seed] {
            let _ = decode(&envelope, &message, &origin());
        }
    }
}
