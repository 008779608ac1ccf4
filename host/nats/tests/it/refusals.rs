//! Emits that JetStream does not take: refused before anything is written, or, when a stream changes its mind after the
//! state is committed, held back without holding up the others.

use bytes::Bytes;
use serde_json::json;
use tidemill_core::message::Headers;
use tidemill_core::name::PluginName;
use tidemill_core::port::{
    Admin, Broker, BrokerError, Commit, Delivery, Outgoing, Revision, StateCommit, StateCommitted, StateWrite,
};

use crate::server::{ACK_WAIT, Server, World, commit, outgoing, payload};

fn space() -> PluginName {
    PluginName::try_new("worker").unwrap()
}

fn emitting(delivery: &Delivery, emits: Vec<Outgoing>) -> Commit {
    Commit { emits: emits.into(), ..commit(delivery) }
}

fn counted(commits: Vec<Commit>) -> StateCommit {
    let write = StateWrite { key: "k".to_owned(), value: Some(Bytes::from_static(b"1")), expected: Some(Revision(0)) };
    StateCommit { space: space(), commits, writes: vec![write] }
}

/// The stream `SMALL`, which takes messages up to so many bytes.
async fn small(client: &async_nats::Client, call: &str, max_msg_size: i32) {
    let settings = json!({
        "name": "SMALL", "subjects": ["small.>"], "max_msg_size": max_msg_size, "storage": "file", "num_replicas": 1,
    });
    let answer = client.request(format!("$JS.API.STREAM.{call}.SMALL"), settings.to_string().into()).await.unwrap();
    assert!(!answer.payload.windows(7).any(|part| part == b"\"error\""), "{}", answer.payload.escape_ascii());
}

#[tokio::test]
async fn what_the_stream_will_not_take_is_refused_before_anything_is_written() {
    let server = Server::start();
    let world = World::on(&server).await;
    small(&server.raw().await, "CREATE", 200).await;
    world.publish(["x".to_owned()]).await;
    let delivery = world.take_one().await;
    let mut headers = outgoing("out.a", "headers", "{}");
    headers.message.headers =
        [("ce-id", "1"), ("ce-subject", "y".repeat(70_000).as_str())].into_iter().collect::<Headers>();
    for (impossible, why) in
        [(outgoing("small.a", "size", &"y".repeat(500)), "max_msg_size"), (headers, "bytes of headers")]
    {
        let both = emitting(&delivery, vec![outgoing("out.a", "fine", "fine"), impossible]);
        let plain = world.broker.commit(vec![both.clone()]).await.remove(0);
        let stateful = world.broker.commit_state(counted(vec![both])).await.map(drop);
        for answer in [plain, stateful] {
            assert!(matches!(&answer, Err(BrokerError::Refused(text)) if text.contains(why)), "{answer:?}");
        }
    }
    assert!(world.output().await.is_empty());
    assert_eq!(world.broker.state_get(&space(), "k").await.unwrap().revision, Revision(0));
    assert!(!world.broker.settle_committed(&space(), &commit(&delivery)).await.unwrap());
}

#[tokio::test]
async fn a_message_of_exactly_the_stream_s_size_is_taken() {
    let server = Server::start();
    let world = World::on(&server).await;
    // NATS/1.0, Nats-Msg-Id: id, ce-id: id, the empty line, and the payload.
    small(&server.raw().await, "CREATE", 10 + 17 + 11 + 2 + 100).await;
    world.publish(["x".to_owned()]).await;
    let delivery = world.take_one().await;
    let sized = |size: usize| emitting(&delivery, vec![outgoing("small.a", "id", &"y".repeat(size))]);
    assert!(matches!(world.broker.commit(vec![sized(101)]).await.remove(0), Err(BrokerError::Refused(_))));
    world.broker.commit(vec![sized(100)]).await.remove(0).unwrap();
}

#[tokio::test]
async fn an_emit_that_is_refused_after_the_commit_holds_up_no_other_and_comes_out_later() {
    let server = Server::start();
    let world = World::on(&server).await;
    let raw = server.raw().await;
    small(&raw, "CREATE", 1000).await;
    world.publish(["poison".to_owned(), "other".to_owned()]).await;
    let taken = world.take(2).await;
    let large = || outgoing("small.a", "large", &"y".repeat(500));
    // The settings are remembered, and then changed.
    let first = emitting(&taken[0], vec![outgoing("small.a", "before", "small")]);
    let elsewhere = Commit { receipt: tidemill_core::port::Receipt::new("nobody"), ..first };
    world.broker.commit(vec![elsewhere]).await.remove(0).unwrap();
    small(&raw, "UPDATE", 200).await;

    let batch = counted(vec![emitting(&taken[0], vec![large()]), commit(&taken[1])]);
    let answer = world.broker.commit_state(batch).await.unwrap();
    assert!(matches!(answer, StateCommitted::Done { .. }), "{answer:?}");
    assert_eq!(world.output().await, ["other"]);

    tokio::time::sleep(ACK_WAIT).await;
    let back = world.take_one().await;
    assert_eq!(payload(&back), "poison");
    assert!(world.broker.settle_committed(&space(), &commit(&back)).await.unwrap(), "the guest is not called");
    small(&raw, "UPDATE", 1000).await;
    let back = world.take_one().await;
    assert!(world.broker.settle_committed(&space(), &commit(&back)).await.unwrap());
    world.nothing_comes().await;
    let info = raw.request("$JS.API.STREAM.INFO.SMALL", "{}".into()).await.unwrap();
    let info: serde_json::Value = serde_json::from_slice(&info.payload).unwrap();
    assert_eq!(info["state"]["messages"], 2);
}
