//! The crash table of `src/commit.rs`, row by row: a host does a part of the work and is gone, another one goes on.
//!
//! "Gone" is a connection that is dropped without a word; what the dead host had not done yet is left out, or taken back
//! with a raw client. An acknowledgement that must get lost is sent to a receipt that belongs to nobody.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tidemill_core::config::StreamConfig;
use tidemill_core::name::PluginName;
use tidemill_core::port::{
    Admin, Backlog, Broker, Commit, Delivery, Receipt, Revision, StateCommit, StateCommitted, StateWrite,
};

use crate::server::{Server, World, commit, outgoing, payload, route, stream};

/// The same delivery, but its acknowledgement reaches nobody.
fn unacknowledged(delivery: &Delivery) -> Delivery {
    let receipt = delivery.receipt.as_str().replace("tidemill-work", "nobody");
    Delivery { receipt: Receipt::new(receipt), ..delivery.clone() }
}

async fn publish_raw(client: &async_nats::Client, commit: &Commit, index: usize) {
    let emit = &commit.emits[index];
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", emit.id.as_str());
    let subject = emit.message.subject.to_string();
    client.request_with_headers(subject, headers, emit.message.payload.clone()).await.unwrap();
}

fn two_emits(delivery: &Delivery) -> Commit {
    let emits =
        [0, 1].map(|index| outgoing("out.a", &format!("{}/{index}", delivery.origin), &format!("emit {index}")));
    Commit { emits: emits.to_vec().into(), ..commit(delivery) }
}

async fn settled(world: &World) {
    for _ in 0..1000 {
        if world.broker.backlog(&route()).await.unwrap() == Backlog::default() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not settled: {:?}", world.broker.backlog(&route()).await.unwrap());
}

// --- without state ----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn after_the_guest_returned_it_runs_again() {
    let server = Server::start();
    let dead = World::on(&server).await;
    dead.publish(["x".to_owned()]).await;
    let first = dead.take_one().await;
    assert_eq!((first.attempt, first.redelivered), (1, false));
    drop(dead);

    let world = World::on(&server).await;
    let again = world.take_one().await;
    // The host's death is no attempt of the event's, but what it did may have been committed.
    assert_eq!((payload(&again).as_str(), again.attempt, again.redelivered), ("x", 1, true));
    world.broker.commit(vec![commit(&again)]).await.remove(0).unwrap();
    assert_eq!(world.output().await, ["x"]);
    settled(&world).await;
}

#[tokio::test]
async fn after_some_or_all_emits_the_rest_is_published_and_nothing_twice() {
    for published in [1, 2] {
        let server = Server::start();
        let dead = World::on(&server).await;
        dead.publish(["x".to_owned()]).await;
        let delivery = dead.take_one().await;
        let raw = server.raw().await;
        for index in 0..published {
            publish_raw(&raw, &two_emits(&delivery), index).await;
        }
        drop(dead);

        let world = World::on(&server).await;
        let again = world.take_one().await;
        world.broker.commit(vec![two_emits(&again)]).await.remove(0).unwrap();
        assert_eq!(world.output().await, ["emit 0", "emit 1"], "{published} were published before");
        settled(&world).await;
    }
}

#[tokio::test]
async fn after_an_acknowledgement_that_was_lost_nothing_is_published_twice() {
    let server = Server::start();
    let dead = World::on(&server).await;
    dead.publish(["x".to_owned()]).await;
    let delivery = dead.take_one().await;
    dead.broker.commit(vec![two_emits(&unacknowledged(&delivery))]).await.remove(0).unwrap();
    drop(dead);

    let world = World::on(&server).await;
    let again = world.take_one().await;
    world.broker.commit(vec![two_emits(&again)]).await.remove(0).unwrap();
    assert_eq!(world.output().await, ["emit 0", "emit 1"]);
    world.nothing_comes().await;
}

// --- with state -------------------------------------------------------------------------------------------------------

fn space() -> PluginName {
    PluginName::try_new("worker").unwrap()
}

fn counted(commits: Vec<Commit>, value: &str, expected: u64) -> StateCommit {
    let value = Some(Bytes::copy_from_slice(value.as_bytes()));
    let write = StateWrite { key: "count".to_owned(), value, expected: Some(Revision(expected)) };
    StateCommit { space: space(), commits, writes: vec![write] }
}

/// Forgets ids soon: what is published again later is stored again.
fn forgetful() -> StreamConfig {
    StreamConfig { duplicate_window: Duration::from_millis(100), ..stream("FORGETFUL", "forgetful.>") }
}

fn forgetful_emit(delivery: &Delivery) -> Commit {
    let emits = vec![outgoing("forgetful.a", &format!("{}/0", delivery.origin), "emitted")];
    Commit { emits: emits.into(), ..commit(delivery) }
}

async fn messages(client: &async_nats::Client, stream: &str) -> u64 {
    let answer = client.request(format!("$JS.API.STREAM.INFO.{stream}"), "{}".into()).await.unwrap();
    let info: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    info["state"]["messages"].as_u64().unwrap()
}

#[tokio::test]
async fn after_a_part_of_the_batch_nothing_is_written_and_the_guest_runs_again() {
    let server = Server::start();
    let dead = World::on(&server).await;
    dead.publish(["x".to_owned()]).await;
    let delivery = dead.take_one().await;
    assert_eq!(dead.broker.state_get(&space(), "count").await.unwrap().value, None);
    let raw = server.raw().await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Batch-Id", "cut-off");
    headers.insert("Nats-Batch-Sequence", "1");
    raw.publish_with_headers("tidemill.state.worker.k.count", headers, "1".into()).await.unwrap();
    raw.flush().await.unwrap();
    drop((dead, delivery));

    let world = World::on(&server).await;
    let again = world.take_one().await;
    assert!(!world.broker.settle_committed(&space(), &commit(&again)).await.unwrap());
    assert_eq!(world.broker.state_get(&space(), "count").await.unwrap().value, None);
    let done = world.broker.commit_state(counted(vec![commit(&again)], "1", 0)).await.unwrap();
    assert!(matches!(done, StateCommitted::Done { .. }), "{done:?}");
    assert_eq!(world.output().await, ["x"]);
    settled(&world).await;
}

/// A host commits one event with one emit to the stream and dies before the acknowledgement arrives. Before another one
/// goes on by the marker, `meanwhile` is done to the stream. How many messages it holds in the end.
async fn stored_after_the_marker(out: StreamConfig, emit: impl Fn(&Delivery) -> Commit, meanwhile: Meanwhile) -> u64 {
    let server = Server::start();
    let dead = World::on(&server).await;
    let name = out.name.to_string();
    dead.broker.provision(&[out]).await.unwrap();
    dead.publish(["x".to_owned()]).await;
    let delivery = dead.take_one().await;
    let done = dead.broker.commit_state(counted(vec![emit(&unacknowledged(&delivery))], "1", 0)).await.unwrap();
    assert!(matches!(done, StateCommitted::Done { .. }), "{done:?}");
    let raw = server.raw().await;
    assert_eq!(messages(&raw, &name).await, 1);
    match meanwhile {
        Meanwhile::Nothing => {}
        Meanwhile::EmitsAreTakenBack => {
            raw.request(format!("$JS.API.STREAM.PURGE.{name}"), json!({}).to_string().into()).await.unwrap();
            tokio::time::sleep(WINDOW_IS_OVER).await;
        }
        Meanwhile::WindowEnds => tokio::time::sleep(WINDOW_IS_OVER).await,
    }
    drop(dead);

    let world = World::on(&server).await;
    let again = world.take_one().await;
    let elsewhere = Commit { emits: vec![].into(), ..commit(&again) };
    assert!(world.broker.settle_committed(&space(), &elsewhere).await.unwrap(), "the guest is not called");
    let entry = world.broker.state_get(&space(), "count").await.unwrap();
    assert_eq!(entry.value, Some(Bytes::from_static(b"1")), "the state changes once");
    settled(&world).await;
    world.nothing_comes().await;
    messages(&raw, &name).await
}

enum Meanwhile {
    Nothing,
    /// As if the host had died before it published them.
    EmitsAreTakenBack,
    WindowEnds,
}

/// The server forgets ids a moment after the window has ended.
const WINDOW_IS_OVER: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn after_the_state_the_recorded_emits_are_published_without_the_guest() {
    assert_eq!(stored_after_the_marker(forgetful(), forgetful_emit, Meanwhile::EmitsAreTakenBack).await, 1);
}

#[tokio::test]
async fn recorded_emits_are_stored_once_within_the_duplicate_window() {
    let remembers = stream("FORGETFUL", "forgetful.>");
    assert_eq!(stored_after_the_marker(remembers, forgetful_emit, Meanwhile::Nothing).await, 1);
}

#[tokio::test]
async fn recorded_emits_are_stored_again_after_the_duplicate_window() {
    assert_eq!(stored_after_the_marker(forgetful(), forgetful_emit, Meanwhile::WindowEnds).await, 2);
}

#[tokio::test]
async fn after_the_emits_they_are_published_again_under_the_same_ids() {
    let server = Server::start();
    let dead = World::on(&server).await;
    dead.publish(["x".to_owned()]).await;
    let delivery = dead.take_one().await;
    let batch = counted(vec![two_emits(&unacknowledged(&delivery))], "1", 0);
    dead.broker.commit_state(batch).await.unwrap();
    drop(dead);

    let world = World::on(&server).await;
    let again = world.take_one().await;
    // The host may also take the long way: run the guest, and find out at the commit.
    let answer = world.broker.commit_state(counted(vec![two_emits(&again)], "2", 0)).await.unwrap();
    assert_eq!(answer, StateCommitted::Conflict { already_committed: vec![0] });
    assert_eq!(world.output().await, ["emit 0", "emit 1"]);
    let entry = world.broker.state_get(&space(), "count").await.unwrap();
    assert_eq!(entry.value, Some(Bytes::from_static(b"1")));
    settled(&world).await;
}

#[tokio::test]
async fn two_hosts_that_write_the_same_key_lose_no_count() {
    let server = Server::start();
    let one = World::on(&server).await;
    let other = World::on(&server).await;
    one.publish(["1".to_owned(), "2".to_owned()]).await;
    let taken = one.take(2).await;
    let read = one.broker.state_get(&space(), "count").await.unwrap();
    assert_eq!(other.broker.state_get(&space(), "count").await.unwrap(), read);

    let done = one.broker.commit_state(counted(vec![commit(&taken[0])], "1", 0)).await.unwrap();
    let StateCommitted::Done { revisions } = done else { panic!("{done:?}") };
    let late = other.broker.commit_state(counted(vec![commit(&taken[1])], "1", 0)).await.unwrap();
    assert_eq!(late, StateCommitted::Conflict { already_committed: vec![] });
    let now = other.broker.state_get(&space(), "count").await.unwrap();
    assert_eq!((now.value.as_deref(), now.revision), (Some(&b"1"[..]), revisions[0]));
    let done = other.broker.commit_state(counted(vec![commit(&taken[1])], "2", now.revision.0)).await.unwrap();
    assert!(matches!(done, StateCommitted::Done { .. }), "{done:?}");
    assert_eq!(one.output().await, ["1", "2"]);
    settled(&one).await;
}

#[tokio::test]
async fn emits_larger_than_a_message_are_recorded_in_parts() {
    let server = Server::start();
    let world = World::on(&server).await;
    world.publish(["x".to_owned()]).await;
    let delivery = world.take_one().await;
    let large = "y".repeat(700 * 1024);
    let emits: Vec<_> = (0..4).map(|index| outgoing("out.a", &format!("large/{index}"), &large)).collect();
    let batch = Commit { emits: emits.into(), ..commit(&unacknowledged(&delivery)) };
    world.broker.commit_state(counted(vec![batch], "1", 0)).await.unwrap();
    assert!(world.broker.settle_committed(&space(), &commit(&delivery)).await.unwrap());
    let lengths: Vec<usize> = world.output().await.iter().map(String::len).collect();
    assert_eq!(lengths, [large.len(); 4]);
}
