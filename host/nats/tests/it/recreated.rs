//! A stream that was removed and made anew: its sequences begin again, and a new event is not taken for an old one.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tidemill_core::message::Message;
use tidemill_core::name::PluginName;
use tidemill_core::port::{
    Admin, Broker, DeadLetterQuery, Delivery, Receipt, Revision, StateCommit, StateCommitted, StateWrite,
};
use tidemill_core::subject::Subject;

use crate::server::{ACK_WAIT, Server, World, commit, payload};

/// The input stream again, empty, with one event that has the sequence of the first.
async fn recreated(server: &Server, old: World) -> (World, Delivery) {
    drop(old);
    server.raw().await.request("$JS.API.STREAM.DELETE.IN", "".into()).await.unwrap();
    let world = World::on(server).await;
    world.publish(["new".to_owned()]).await;
    let delivery = world.take_one().await;
    assert_eq!((payload(&delivery).as_str(), delivery.origin.sequence), ("new", 1));
    (world, delivery)
}

async fn first(server: &Server) -> (World, Delivery) {
    let world = World::on(server).await;
    world.publish(["old".to_owned()]).await;
    let delivery = world.take_one().await;
    (world, delivery)
}

#[tokio::test]
async fn its_dead_letters_stand_beside_the_old_ones() {
    let record = |delivery: &Delivery| {
        let subject = format!("dlq.work.{}.{}", delivery.origin.stream, delivery.origin.sequence);
        Message { subject: Subject::try_new(&subject).unwrap(), ..delivery.message.clone() }
    };
    let server = Server::start();
    let (world, old) = first(&server).await;
    world.source.dead_letter(&old, record(&old)).await.unwrap();
    let (world, new) = recreated(&server, world).await;
    for _ in 0..2 {
        world.source.dead_letter(&new, record(&new)).await.unwrap();
    }
    let letters = world.broker.dead_letters(DeadLetterQuery { route: None, after: 0, limit: 9 }).await.unwrap();
    let payloads: Vec<&[u8]> = letters.iter().map(|letter| letter.message.payload.as_ref()).collect();
    assert_eq!(payloads, [b"old", b"new"]);
}

#[tokio::test]
async fn its_events_are_not_found_committed() {
    let space = PluginName::try_new("worker").unwrap();
    let counted = |delivery: &Delivery, value: &'static str, expected: u64| StateCommit {
        space: space.clone(),
        commits: vec![tidemill_core::port::Commit { emits: vec![].into(), ..commit(delivery) }],
        writes: vec![StateWrite {
            key: "count".to_owned(),
            value: Some(Bytes::from_static(value.as_bytes())),
            expected: Some(Revision(expected)),
        }],
    };
    let server = Server::start();
    let (world, old) = first(&server).await;
    let done = world.broker.commit_state(counted(&old, "1", 0)).await.unwrap();
    let StateCommitted::Done { revisions } = done else { panic!("{done:?}") };
    let (world, new) = recreated(&server, world).await;
    assert!(!world.broker.settle_committed(&space, &commit(&new)).await.unwrap());

    // By way of a retry it is still the same event.
    world.source.park(&new, 2, Duration::ZERO, SystemTime::now()).await.unwrap();
    let back = world.take_one().await;
    let lost = Delivery { receipt: Receipt::new(back.receipt.as_str().replace("tidemill-work", "nobody")), ..back };
    let done = world.broker.commit_state(counted(&lost, "2", revisions[0].0)).await.unwrap();
    assert!(matches!(done, StateCommitted::Done { .. }), "{done:?}");
    let again = world.take_one().await;
    assert!(world.broker.settle_committed(&space, &commit(&again)).await.unwrap());
    world.nothing_comes().await;
}

#[tokio::test]
async fn its_events_wait_for_their_own_retries() {
    let server = Server::start();
    let (world, old) = first(&server).await;
    world.source.park(&old, 2, ACK_WAIT * 3, SystemTime::now()).await.unwrap();
    let (world, new) = recreated(&server, world).await;
    // Delivered again, it is not let go for the sake of the old one.
    world.source.release(&[new]).await.unwrap();
    let new = world.take_one().await;
    world.source.park(&new, 2, ACK_WAIT * 3, SystemTime::now()).await.unwrap();
    let mut back: Vec<String> = world.take(2).await.iter().map(payload).collect();
    back.sort();
    assert_eq!(back, ["new", "old"]);
}
