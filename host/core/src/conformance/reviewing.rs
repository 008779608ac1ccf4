//! `Broker::read`, `Broker::bounds` and `Broker::dead_letter_read`: streams as projections read them.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout};

use super::bench::{Bench, QUIET, SOON, same_millisecond};
use crate::config::StreamConfig;
use crate::dead_letter::DeadLetter;
use crate::failure::Blame;
use crate::name::StreamName;
use crate::port::{Backlog, BrokerError, Origin, ReadFrom, Reader, Recorded, StreamBounds};

async fn stream(bench: &Bench) -> StreamConfig {
    let stream = bench.stream("in");
    bench.broker.provision(std::slice::from_ref(&stream)).await.unwrap();
    stream
}

fn from(stream: &StreamConfig, after: u64) -> ReadFrom {
    ReadFrom { stream: stream.name.clone(), subjects: stream.subjects.clone(), after }
}

fn payload(recorded: &Recorded) -> String {
    String::from_utf8(recorded.message.payload.to_vec()).unwrap()
}

/// Reads until `count` messages have come.
async fn take(reader: &mut Box<dyn Reader>, count: usize) -> Vec<Recorded> {
    let deadline = Instant::now() + SOON;
    let mut taken: Vec<Recorded> = Vec::new();
    while taken.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} messages came", taken.len());
        taken.extend(reader.next(count - taken.len()).await.unwrap().messages);
    }
    taken
}

/// Reads until the reader is through with everything up to `sequence`, and answers what came on the way.
async fn through(reader: &mut Box<dyn Reader>, sequence: u64) -> Vec<Recorded> {
    let deadline = Instant::now() + SOON;
    let mut taken = Vec::new();
    loop {
        let stretch = reader.next(100).await.unwrap();
        taken.extend(stretch.messages);
        assert!(stretch.last >= stretch.through, "{} {}", stretch.last, stretch.through);
        if stretch.through >= sequence {
            return taken;
        }
        assert!(Instant::now() < deadline, "through {} of {sequence}", stretch.through);
    }
}

pub(super) async fn a_reader_gives_every_message_once_in_order_while_more_are_published(bench: Bench) {
    const COUNT: usize = 1500;
    let stream = stream(&bench).await;
    let publisher = tokio::spawn({
        let bench = bench.clone();
        async move {
            for part in (0..COUNT).collect::<Vec<_>>().chunks(50) {
                let payloads: Vec<String> = part.iter().map(ToString::to_string).collect();
                let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
                let messages = payloads.iter().map(|it| bench.outgoing("in.a", &super::bench::new_id(), it)).collect();
                for result in bench.broker.publish(messages).await {
                    result.unwrap();
                }
            }
        }
    });
    let mut reader = bench.broker.read(from(&stream, 0)).await.unwrap();
    let before = SystemTime::now();
    let taken = take(&mut reader, COUNT).await;
    publisher.await.unwrap();
    assert!(taken.windows(2).all(|pair| pair[0].sequence + 1 == pair[1].sequence), "dense, in the stream's order");
    let mut numbers: Vec<usize> = taken.iter().map(|recorded| payload(recorded).parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..COUNT), "each once");
    let slack = Duration::from_secs(30);
    assert!(taken.iter().all(|it| it.stored + slack > before && it.stored < before + slack), "when it was stored");
    assert_eq!(taken[0].message.subject, bench.subject("in.a"));
    assert!(reader.next(10).await.unwrap().messages.is_empty());
}

pub(super) async fn a_reader_begins_after_its_position(bench: Bench) {
    let stream = stream(&bench).await;
    let published = bench.publish("in.a", &["1", "2", "3", "4"]).await;
    for (after, expected) in [(0, vec!["1", "2", "3", "4"]), (published[1].sequence, vec!["3", "4"])] {
        let mut reader = bench.broker.read(from(&stream, after)).await.unwrap();
        let found: Vec<_> = take(&mut reader, expected.len()).await.iter().map(payload).collect();
        assert_eq!(found, expected);
    }
    let last = published[3].sequence;
    let mut at_end = bench.broker.read(from(&stream, last)).await.unwrap();
    assert!(at_end.next(10).await.unwrap().messages.is_empty());
    bench.publish("in.a", &["5"]).await;
    assert_eq!(payload(&take(&mut at_end, 1).await[0]), "5");
}

pub(super) async fn a_stretch_is_no_longer_than_asked(bench: Bench) {
    let stream = stream(&bench).await;
    bench.publish("in.a", &["1", "2", "3", "4", "5"]).await;
    let mut reader = bench.broker.read(from(&stream, 0)).await.unwrap();
    let mut found = Vec::new();
    let deadline = Instant::now() + SOON;
    while found.len() < 5 {
        assert!(Instant::now() < deadline, "{found:?}");
        let stretch = reader.next(2).await.unwrap();
        assert!(stretch.messages.len() <= 2);
        if let Some(last) = stretch.messages.last() {
            assert!(stretch.through >= last.sequence);
            // What is not given yet is not passed over.
            assert!(stretch.through <= stretch.messages[0].sequence + 1, "{stretch:?}");
        }
        found.extend(stretch.messages.iter().map(payload));
    }
    assert_eq!(found, ["1", "2", "3", "4", "5"]);
}

pub(super) async fn a_reader_gives_its_subjects_only_and_is_through_with_the_others(bench: Bench) {
    let stream = stream(&bench).await;
    let subjects = vec![bench.pattern("in.created"), bench.pattern("in.*.eu")];
    let wanted = ReadFrom { subjects, ..from(&stream, 0) };
    let mut reader = bench.broker.read(wanted).await.unwrap();
    let mut last = 0;
    for subject in ["in.created", "in.shipped", "in.shipped.eu", "in.shipped.us", "in.created.us"] {
        last = bench.publish(subject, &[subject]).await[0].sequence;
    }
    let found: Vec<_> = through(&mut reader, last).await.iter().map(payload).collect();
    assert_eq!(found, ["in.created", "in.shipped.eu"]);

    let last = bench.publish("in.other", &["a", "b", "c"]).await[2].sequence;
    assert!(through(&mut reader, last).await.is_empty(), "nothing fits, and it knows");
    bench.publish("in.created", &["at last"]).await;
    assert_eq!(payload(&take(&mut reader, 1).await[0]), "at last");
}

pub(super) async fn a_reader_of_an_empty_stream_waits_and_wakes_up(bench: Bench) {
    let stream = stream(&bench).await;
    let mut reader = bench.broker.read(from(&stream, 0)).await.unwrap();
    let stretch = timeout(SOON, reader.next(10)).await.expect("it ends").unwrap();
    assert!(stretch.messages.is_empty());
    assert_eq!((stretch.through, stretch.last), (0, 0));
    let waiting = tokio::spawn(async move { take(&mut reader, 1).await.remove(0) });
    tokio::time::sleep(Duration::from_millis(300)).await;
    bench.publish("in.a", &["first"]).await;
    assert_eq!(payload(&waiting.await.unwrap()), "first");
}

pub(super) async fn a_cancelled_next_loses_and_doubles_nothing(bench: Bench) {
    const COUNT: usize = 60;
    let stream = stream(&bench).await;
    let mut reader = bench.broker.read(from(&stream, 0)).await.unwrap();
    let mut found = Vec::new();
    for round in 0..COUNT as u64 {
        bench.publish("in.a", &["x"]).await;
        if let Ok(stretch) = timeout(Duration::from_micros(round * 40), reader.next(4)).await {
            found.extend(stretch.unwrap().messages.iter().map(|recorded| recorded.sequence));
        }
    }
    found.extend(take(&mut reader, COUNT - found.len()).await.iter().map(|recorded| recorded.sequence));
    assert!(found.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{found:?}");
    let deadline = Instant::now() + QUIET;
    while Instant::now() < deadline {
        assert!(reader.next(4).await.unwrap().messages.is_empty());
    }
}

pub(super) async fn readers_do_not_share_a_position(bench: Bench) {
    let stream = stream(&bench).await;
    let mut one = bench.broker.read(from(&stream, 0)).await.unwrap();
    let mut other = bench.broker.read(from(&stream, 0)).await.unwrap();
    bench.publish("in.a", &["1", "2"]).await;
    for reader in [&mut one, &mut other] {
        let found: Vec<_> = take(reader, 2).await.iter().map(payload).collect();
        assert_eq!(found, ["1", "2"]);
    }
}

pub(super) async fn a_reader_leaves_routes_alone(bench: Bench) {
    let scene = bench.scene().await;
    let last = bench.publish("in.a", &["1", "2"]).await[1].sequence;
    let mut reader = bench.broker.read(from(&scene.input, 0)).await.unwrap();
    assert_eq!(through(&mut reader, last).await.len(), 2);
    bench.backlog_becomes(&scene.route, Backlog { undelivered: 2, ..Backlog::default() }).await;
}

pub(super) async fn bounds_are_the_sequences_that_a_stream_holds(bench: Bench) {
    let stream = stream(&bench).await;
    assert_eq!(bench.broker.bounds(&stream.name).await.unwrap(), StreamBounds { first: 1, last: 0 }, "empty");
    let published = bench.publish("in.a", &["1", "2", "3"]).await;
    let expected = StreamBounds { first: published[0].sequence, last: published[2].sequence };
    assert_eq!(bench.broker.bounds(&stream.name).await.unwrap(), expected);
}

pub(super) async fn a_missing_stream_cannot_be_read(bench: Bench) {
    let missing = StreamName::try_new("NOT_THERE_AT_ALL").unwrap();
    let from = ReadFrom { stream: missing.clone(), subjects: vec![bench.pattern(">")], after: 0 };
    assert!(matches!(bench.broker.read(from).await, Err(BrokerError::Refused(_))));
    assert!(matches!(bench.broker.bounds(&missing).await, Err(BrokerError::Refused(_))));
}

pub(super) async fn a_message_is_found_by_its_sequence(bench: Bench) {
    let stream = stream(&bench).await;
    let published = bench.publish("in.a", &["1", "2"]).await;
    let mut reader = bench.broker.read(from(&stream, 0)).await.unwrap();
    for recorded in take(&mut reader, 2).await {
        let found = bench.broker.message(&stream.name, recorded.sequence).await.unwrap().unwrap();
        assert_eq!((found.sequence, &found.message), (recorded.sequence, &recorded.message));
        assert!(same_millisecond(found.stored, recorded.stored));
    }
    assert!(bench.broker.message(&stream.name, published[1].sequence + 1).await.unwrap().is_none());
    let missing = StreamName::try_new("NOT_THERE_AT_ALL").unwrap();
    assert!(bench.broker.message(&missing, 1).await.unwrap().is_none());
}

pub(super) async fn a_dead_letter_of_a_read_event_is_stored_once(bench: Bench) {
    let stream = stream(&bench).await;
    bench.publish("in.a", &["poison", "poison"]).await;
    let mut reader = bench.broker.read(from(&stream, 0)).await.unwrap();
    let route = bench.route("view", &stream);
    let bury = async |recorded: &Recorded, reason: &str| {
        let letter = letter(&bench, &stream, recorded, reason);
        let record = letter.encode(&route.dead_letter).unwrap();
        bench.broker.dead_letter_read(&letter.origin, &route.dead_letter, record).await.unwrap();
    };
    let poison = take(&mut reader, 2).await;
    for reason in ["trap", "timeout", "trap"] {
        bury(&poison[0], reason).await;
    }
    bury(&poison[1], "trap").await;

    let letters = bench.dead_letters(&route).await;
    assert_eq!(letters.len(), 2);
    let kept = DeadLetter::decode(&letters[0].message).unwrap();
    assert_eq!(kept, letter(&bench, &stream, &poison[0], "trap"), "as it was written first");
    assert!(bench.broker.discard(letters[0].id).await.unwrap());
    bury(&poison[0], "trap").await;
    assert_eq!(bench.dead_letters(&route).await.len(), 2, "what was discarded may come again");
}

fn letter(bench: &Bench, stream: &StreamConfig, recorded: &Recorded, reason: &str) -> DeadLetter {
    let route = bench.route("view", stream);
    DeadLetter {
        original: recorded.message.clone(),
        origin: Origin { stream: stream.name.clone(), sequence: recorded.sequence },
        stored: recorded.stored,
        route: route.name,
        plugin: route.handler,
        digest: "sha256:abc".to_owned(),
        reason: reason.to_owned(),
        error: "on purpose".to_owned(),
        blame: Blame::Plugin,
        attempts: 1,
        exhausted_by: None,
        first_failure: recorded.stored,
        last_failure: recorded.stored,
        host: "bench".to_owned(),
        redriven: 0,
        event_id: None,
        event_type: None,
        log_tail: Vec::new(),
    }
}
