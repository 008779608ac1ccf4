//! Reading a stream in order while everything that is in the way happens.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tidemill_core::name::StreamName;
use tidemill_core::port::{Broker, BrokerError, ReadFrom, Reader, StreamBounds};
use tidemill_core::subject::SubjectPattern;

use crate::server::{PATIENCE, Server, World, stream};
use crate::unreadable;

fn from(after: u64) -> ReadFrom {
    ReadFrom {
        stream: StreamName::try_new("IN").unwrap(),
        subjects: vec![SubjectPattern::try_new("in.>").unwrap()],
        after,
    }
}

/// Reads until `count` messages have come; an outage is waited out.
async fn take(reader: &mut Box<dyn Reader>, count: usize) -> Vec<(u64, String)> {
    let deadline = Instant::now() + PATIENCE;
    let mut taken = Vec::new();
    while taken.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} came", taken.len());
        match reader.next(100).await {
            Ok(stretch) => {
                taken.extend(stretch.messages.iter().map(|recorded| {
                    (recorded.sequence, String::from_utf8_lossy(&recorded.message.payload).into_owned())
                }))
            }
            Err(BrokerError::Unavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_server_leaves_nothing_out_and_gives_nothing_twice() {
    const EVENTS: u64 = 5000;
    let mut server = Server::start();
    let world = World::on(&server).await;
    world.publish((1..=EVENTS).map(|number| number.to_string())).await;
    let mut reader = world.broker.read(from(0)).await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.extend(take(&mut reader, 300).await);
        server.kill();
        server.run();
    }
    taken.extend(take(&mut reader, EVENTS as usize - taken.len()).await);
    assert!(taken.iter().map(|(sequence, _)| *sequence).eq(1..=EVENTS));
    assert!(taken.iter().all(|(sequence, text)| *text == sequence.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_is_away_a_reader_says_so_and_then_goes_on() {
    let mut server = Server::start();
    let world = World::on(&server).await;
    world.publish(["1".to_owned()]).await;
    let mut reader = world.broker.read(from(0)).await.unwrap();
    take(&mut reader, 1).await;
    server.kill();
    let deadline = Instant::now() + PATIENCE;
    while !matches!(reader.next(10).await, Err(BrokerError::Unavailable { .. })) {
        assert!(Instant::now() < deadline, "it never noticed");
    }
    server.run();
    world.publish(["2".to_owned()]).await;
    assert_eq!(take(&mut reader, 1).await, [(2, "2".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_removed_is_made_anew_where_the_reader_is() {
    let server = Server::start();
    let world = World::on(&server).await;
    let mut reader = world.broker.read(from(0)).await.unwrap();
    let raw = server.raw().await;
    for round in 1..=3_u64 {
        world.publish([round.to_string()]).await;
        assert_eq!(take(&mut reader, 1).await, [(round, round.to_string())]);
        for name in readers(&raw).await {
            raw.request(format!("$JS.API.CONSUMER.DELETE.IN.{name}"), "".into()).await.unwrap();
        }
    }
}

/// The names of the consumers of readers.
async fn readers(raw: &async_nats::Client) -> Vec<String> {
    let list = raw.request("$JS.API.CONSUMER.NAMES.IN", "".into()).await.unwrap();
    let list: serde_json::Value = serde_json::from_slice(&list.payload).unwrap();
    let names = list["consumers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    names.filter(|name| name.starts_with("tidemill-read-")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_message_that_was_lost_on_the_way_is_read_again_before_another_one_comes() {
    let server = Server::start();
    let world = World::on(&server).await;
    let mut reader = world.broker.read(from(0)).await.unwrap();
    world.publish(["1".to_owned()]).await;
    let raw = server.raw().await;
    for name in readers(&raw).await {
        // Somebody else gets it.
        let inbox = raw.new_inbox();
        let mut lost = raw.subscribe(inbox.clone()).await.unwrap();
        raw.publish_with_reply(format!("$JS.API.CONSUMER.MSG.NEXT.IN.{name}"), inbox, "".into()).await.unwrap();
        assert_eq!(lost.next().await.unwrap().payload, "1");
    }
    assert_eq!(take(&mut reader, 1).await, [(1, "1".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_stream_no_longer_holds_is_passed_over() {
    let server = Server::start();
    let world = World::on(&server).await;
    world.publish((1..=5).map(|number: u64| number.to_string())).await;
    server.raw().await.request("$JS.API.STREAM.PURGE.IN", r#"{"seq":4}"#.into()).await.unwrap();
    let stream = StreamName::try_new("IN").unwrap();
    assert_eq!(world.broker.bounds(&stream).await.unwrap(), StreamBounds { first: 4, last: 5 });
    let mut reader = world.broker.read(from(1)).await.unwrap();
    assert_eq!(take(&mut reader, 2).await, [(4, "4".to_owned()), (5, "5".to_owned())]);

    server.raw().await.request("$JS.API.STREAM.PURGE.IN", "{}".into()).await.unwrap();
    assert_eq!(world.broker.bounds(&stream).await.unwrap(), StreamBounds { first: 6, last: 5 }, "empty");
    let mut reader = world.broker.read(from(0)).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while reader.next(10).await.unwrap().through < 5 {
        assert!(Instant::now() < deadline, "it is never through with what was purged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_cannot_read_is_given_in_its_place() {
    let server = Server::start();
    let world = World::on(&server).await;
    world.publish(["before".to_owned()]).await;
    unreadable::publish(&server, "in.a", b"NATS/1.0\r\nce-id: 7\r\nname: Gr\xf6\xdfe\r\n\r\n", b"unreadable").await;
    unreadable::publish(&server, "in.a", b"NATS/1.0\r\nno colon\r\n\r\n", b"no header").await;
    world.publish(["after".to_owned()]).await;
    // Without a route, which would break the connection, too.
    let broker = server.host().await;
    drop(world);
    let mut reader = broker.read(from(0)).await.unwrap();
    let texts: Vec<String> = take(&mut reader, 4).await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["before", "unreadable", "no header", "after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_rested_goes_on_without_reading_anything_again() {
    let server = Server::start();
    let world = World::on(&server).await;
    world.publish((1..=500).map(|number: u64| number.to_string())).await;
    let mut reader = world.broker.read(from(0)).await.unwrap();
    let mut taken = Vec::new();
    taken.extend(reader.next(10).await.unwrap().messages.iter().map(|recorded| recorded.sequence));
    // Longer than a request stands, and than the server may be silent.
    tokio::time::sleep(Duration::from_secs(6)).await;
    taken.extend(take(&mut reader, 500 - taken.len()).await.into_iter().map(|(sequence, _)| sequence));
    assert!(taken.into_iter().eq(1..=500));
}

/// The new stream is shorter than what was read, and as long or longer: its first events shall be missed by nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_removed_and_made_anew_is_not_read_on() {
    for events in [3_u64, 15] {
        let server = Server::start();
        let world = World::on(&server).await;
        world.publish((1..=10).map(|number: u64| number.to_string())).await;
        let mut reader = world.broker.read(from(0)).await.unwrap();
        take(&mut reader, 10).await;
        server.raw().await.request("$JS.API.STREAM.DELETE.IN", "".into()).await.unwrap();
        world.broker.provision(&[stream("IN", "in.>")]).await.unwrap();
        world.publish((1..=events).map(|number| format!("new {number}"))).await;

        let deadline = Instant::now() + PATIENCE;
        let refused = loop {
            assert!(Instant::now() < deadline, "it never noticed");
            match reader.next(10).await {
                Ok(stretch) => assert!(stretch.messages.is_empty(), "{:?}", stretch.messages),
                Err(BrokerError::Incompatible(reason)) => break reason,
                Err(_) => {}
            }
        };
        assert!(refused.contains("`IN`") && refused.contains("read up to 10"), "{refused}");
        assert!(matches!(reader.next(10).await, Err(BrokerError::Incompatible(_))), "and it stays so");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_does_not_begin_beyond_the_end_of_its_stream() {
    let server = Server::start();
    let world = World::on(&server).await;
    world.publish(["1".to_owned()]).await;
    assert!(world.broker.read(from(1)).await.is_ok());
    assert!(matches!(world.broker.read(from(2)).await, Err(BrokerError::Incompatible(_))));
}
