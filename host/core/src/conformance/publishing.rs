//! `Admin::publish` and `Broker::provision`.

use std::time::Duration;

use bytes::Bytes;

use super::bench::{Bench, new_id, nothing_comes, take, take_one};
use crate::message::{Headers, Message};
use crate::port::{BrokerError, Outgoing};

pub(super) async fn what_was_published_arrives_unchanged(bench: Bench) {
    let scene = bench.scene().await;
    let headers: Headers = [("ce-id", "1"), ("Mixed-Case", "kept"), ("twice", "one"), ("twice", "two"), ("empty", "")]
        .into_iter()
        .collect();
    let every_byte: Vec<u8> = (0..=255).collect();
    let messages = [every_byte, Vec::new()].map(|payload| Message {
        subject: bench.subject("in.a.b"),
        headers: headers.clone(),
        payload: Bytes::from(payload),
    });
    let outgoing = messages.iter().map(|message| Outgoing { id: new_id(), message: message.clone() }).collect();
    for result in bench.broker.publish(outgoing).await {
        result.unwrap();
    }

    let delivered = take(&scene.source, 2).await;
    for (sent, came) in messages.iter().zip(&delivered) {
        assert_eq!(came.message.subject, sent.subject);
        assert_eq!(came.message.payload, sent.payload);
        for name in ["ce-id", "Mixed-Case", "twice", "empty"] {
            let values = |headers: &Headers| -> Vec<String> {
                headers.iter().filter(|(known, _)| *known == name).map(|(_, value)| value.to_owned()).collect()
            };
            assert_eq!(values(&came.message.headers), values(&sent.headers), "{name}");
        }
    }
}

pub(super) async fn each_message_is_published_on_its_own_and_answered_in_order(bench: Bench) {
    let scene = bench.scene().await;
    let results = bench
        .broker
        .publish(vec![
            bench.outgoing("in.a", &new_id(), "first"),
            bench.outgoing("nowhere.a", &new_id(), "no stream captures this"),
            bench.outgoing("out.a", &new_id(), "elsewhere"),
            bench.outgoing("in.a", &new_id(), "second"),
        ])
        .await;

    assert_eq!(results.len(), 4);
    assert!(matches!(results[1], Err(BrokerError::Refused(_))), "{:?}", results[1]);
    let published = |index: usize| results[index].clone().unwrap();
    assert_eq!((published(0).stream, published(2).stream), (scene.input.name.clone(), scene.output.name.clone()));
    assert!(published(3).sequence > published(0).sequence);
    assert!(!published(0).duplicate);
    assert_eq!(bench.contents(&scene.input).await, ["first", "second"]);
    assert_eq!(bench.contents(&scene.output).await, ["elsewhere"]);
}

pub(super) async fn the_same_id_is_stored_once(bench: Bench) {
    let scene = bench.scene().await;
    let id = new_id();
    let twice = vec![bench.outgoing("in.a", &id, "x"), bench.outgoing("in.a", &id, "x")];
    let mut results = bench.broker.publish(twice).await;
    results.extend(bench.broker.publish(vec![bench.outgoing("in.a", &id, "x")]).await);
    results.extend(bench.broker.publish(vec![bench.outgoing("in.a", &new_id(), "x")]).await);

    let published: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(published.iter().map(|p| p.duplicate).collect::<Vec<_>>(), [false, true, true, false]);
    assert_eq!(published[0].sequence, published[1].sequence);
    assert_eq!(published[0].sequence, published[2].sequence);
    assert_ne!(published[0].sequence, published[3].sequence);
    take(&scene.source, 2).await;
    nothing_comes(&scene.source).await;
}

pub(super) async fn a_message_that_is_too_large_is_refused(bench: Bench) {
    let scene = bench.scene().await;
    let huge = "x".repeat(9 * 1024 * 1024);
    let results = bench
        .broker
        .publish(vec![bench.outgoing("in.a", &new_id(), &huge), bench.outgoing("in.a", &new_id(), "small")])
        .await;
    assert!(matches!(results[0], Err(BrokerError::Refused(_))), "{:?}", results[0]);
    results[1].as_ref().unwrap();
    assert_eq!(super::bench::payload(&take_one(&scene.source).await), "small");
}

pub(super) async fn a_full_stream_pushes_back(bench: Bench) {
    let mut stream = bench.stream("in");
    stream.max_bytes = Some(64 * 1024);
    bench.broker.provision(std::slice::from_ref(&stream)).await.unwrap();
    let chunk = "x".repeat(10 * 1024);

    let mut stored = 0;
    let refusal = loop {
        let result = bench.broker.publish(vec![bench.outgoing("in.a", &new_id(), &chunk)]).await.remove(0);
        match result {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 10, "a stream of 64 KiB took 100 KiB");
    };
    assert!(matches!(refusal, BrokerError::Unavailable { .. }), "no room may be temporary: {refusal:?}");
    assert!(stored >= 4, "a stream of 64 KiB was full after {stored} messages of 10 KiB");
    assert_eq!(bench.contents(&stream).await.len(), stored);
}

pub(super) async fn provisioning_twice_changes_nothing(bench: Bench) {
    let scene = bench.scene().await;
    bench.publish("in.a", &["kept"]).await;
    bench.broker.provision(&[scene.input.clone(), scene.output.clone()]).await.unwrap();
    assert_eq!(super::bench::payload(&take_one(&scene.source).await), "kept");
}

pub(super) async fn a_stream_with_other_settings_is_refused_with_the_difference(bench: Bench) {
    let stream = bench.stream("in");
    bench.broker.provision(std::slice::from_ref(&stream)).await.unwrap();

    let mut other_subjects = stream.clone();
    other_subjects.subjects = vec![bench.pattern("other.>")];
    let mut other_age = stream.clone();
    other_age.max_age = Some(Duration::from_secs(3600));
    let mut other_size = stream.clone();
    other_size.max_bytes = Some(123 * 1024 * 1024);
    let mut other_window = stream.clone();
    other_window.duplicate_window = Duration::from_secs(77);

    for (changed, field) in [
        (other_subjects, "subjects"),
        (other_age, "max_age"),
        (other_size, "max_bytes"),
        (other_window, "duplicate_window"),
    ] {
        match bench.broker.provision(&[changed]).await {
            Err(BrokerError::Incompatible(text)) => {
                assert!(text.contains(stream.name.as_str()), "names the stream: {text}");
                assert!(text.contains(field), "names `{field}`: {text}");
            }
            other => panic!("`{field}` differs, and the answer is {other:?}"),
        }
    }

    let results = bench
        .broker
        .publish(vec![bench.outgoing("in.a", &new_id(), "x"), bench.outgoing("other.a", &new_id(), "x")])
        .await;
    assert!(results[0].is_ok() && results[1].is_err(), "nothing was changed: {results:?}");
}
