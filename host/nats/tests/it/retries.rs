//! Parking, dead letters and redrives where the conformance suite cannot look.

use std::time::{Duration, SystemTime};

use tidemill_core::message::Message;
use tidemill_core::port::{Admin, Backlog, Broker, DeadLetterQuery, Delivery, Receipt, Redrive, StoredDeadLetter};
use tidemill_core::subject::Subject;

use crate::server::{PATIENCE, Server, World, commit, outgoing, payload, route};

fn unacknowledged(delivery: &Delivery) -> Delivery {
    let receipt = delivery.receipt.as_str().replace("tidemill-work", "nobody");
    Delivery { receipt: Receipt::new(receipt), ..delivery.clone() }
}

fn record(delivery: &Delivery) -> Message {
    let subject = format!("dlq.work.{}.{}", delivery.origin.stream, delivery.origin.sequence);
    Message { subject: Subject::try_new(&subject).unwrap(), ..delivery.message.clone() }
}

async fn letters(world: &World) -> Vec<StoredDeadLetter> {
    world.broker.dead_letters(DeadLetterQuery { route: None, after: 0, limit: 100 }).await.unwrap()
}

#[tokio::test]
async fn parked_comes_back_once_though_the_host_died_before_acknowledging() {
    let server = Server::start();
    let dead = World::on(&server).await;
    dead.publish(["x".to_owned()]).await;
    let delivery = unacknowledged(&dead.take_one().await);
    // Long enough to be seen waiting, also on a loaded machine.
    dead.source.park(&delivery, 2, Duration::from_secs(15), SystemTime::now()).await.unwrap();
    drop(dead);

    // The acknowledgement wait ends after 2 s: the original is delivered again, and let go.
    let world = World::on(&server).await;
    world.nothing_comes().await;
    let waiting = Backlog { parked: 1, ..Backlog::default() };
    assert_eq!(world.broker.backlog(&route()).await.unwrap(), waiting);
    let back = world.take_one().await;
    assert_eq!((payload(&back).as_str(), back.attempt, &back.origin), ("x", 2, &delivery.origin));
    world.broker.commit(vec![commit(&back)]).await.remove(0).unwrap();
    world.nothing_comes().await;
    assert_eq!(world.output().await, ["x"]);
}

#[tokio::test]
async fn an_event_can_be_parked_again_and_again_under_the_same_attempt() {
    let server = Server::start();
    let world = World::on(&server).await;
    world.publish(["x".to_owned()]).await;
    for _ in 0..4 {
        let delivery = world.take_one().await;
        assert_eq!(delivery.attempt, 1, "a fault of the host's is not counted");
        world.source.park(&delivery, 1, Duration::from_millis(10), SystemTime::now()).await.unwrap();
    }
    let delivery = world.take_one().await;
    world.broker.commit(vec![commit(&delivery)]).await.remove(0).unwrap();
    world.nothing_comes().await;
    assert_eq!(world.broker.backlog(&route()).await.unwrap(), Backlog::default());
}

#[tokio::test]
async fn the_original_comes_back_byte_for_byte_with_headers_that_mean_something_to_the_server() {
    let server = Server::start();
    let world = World::on(&server).await;
    let mut sent = outgoing("in.deep.subject", "id-1", "\u{0}\r\nbytes");
    sent.message.headers.append("ce-type", "OrderCreated");
    sent.message.headers.append("Zebra", "last");
    world.broker.publish(vec![sent]).await.remove(0).unwrap();
    let first = world.take_one().await;
    assert_eq!(first.message.headers.get("Nats-Msg-Id"), Some("id-1"));
    world.source.park(&first, 2, Duration::ZERO, SystemTime::now()).await.unwrap();
    let back = world.take_one().await;
    assert_eq!((&back.message, &back.origin), (&first.message, &first.origin));

    world.source.dead_letter(&back, record(&back)).await.unwrap();
    assert_eq!(letters(&world).await[0].message, record(&back));
}

#[tokio::test]
async fn what_is_settled_leaves_the_retry_stream() {
    let server = Server::start();
    let world = World::on(&server).await;
    world.publish((0..20).map(|number| number.to_string())).await;
    for delivery in world.take(20).await {
        world.source.park(&delivery, 2, Duration::from_millis(50), SystemTime::now()).await.unwrap();
    }
    let back = world.take(20).await;
    let (done, dead) = back.split_at(10);
    for result in world.broker.commit(done.iter().map(commit).collect()).await {
        result.unwrap();
    }
    for delivery in dead {
        world.source.dead_letter(delivery, record(delivery)).await.unwrap();
    }
    let raw = server.raw().await;
    for _ in 0..1000 {
        let answer = raw.request("$JS.API.STREAM.INFO.TIDEMILL_RETRY", "{}".into()).await.unwrap();
        let info: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
        if info["state"]["messages"] == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the retry stream keeps what is settled");
}

#[tokio::test]
async fn an_event_that_dies_again_before_its_old_record_is_gone_is_not_lost() {
    let server = Server::start();
    let world = World::on(&server).await;
    world.publish(["x".to_owned()]).await;
    let delivery = world.take_one().await;
    world.source.dead_letter(&delivery, record(&delivery)).await.unwrap();
    let old = letters(&world).await.remove(0);

    // The redrive has published the event and not yet removed the record; the event fails again meanwhile.
    let again = Delivery { redriven: 1, ..delivery };
    let mut second = record(&again);
    second.payload = "the second time".into();
    world.source.dead_letter(&again, second).await.unwrap();
    let now = letters(&world).await;
    assert_eq!(now.len(), 1);
    assert_eq!(now[0].message.payload.as_ref(), b"the second time");
    assert!(now[0].id > old.id);
    assert!(!world.broker.discard(old.id).await.unwrap(), "what the redrive removes is the old one");
    assert_eq!(letters(&world).await, now);
}

#[tokio::test]
async fn closing_gives_back_what_was_pulled_and_not_handed_out() {
    let server = Server::start();
    // What is not given back would come again long after the end of this test.
    let ack_wait = PATIENCE * 5;
    let closing = World::of(server.host_that_waits(ack_wait).await).await;
    assert!(closing.source.pull(64).await.unwrap().is_empty());
    // The request stands at the server: these arrive at a host that does not look any more. What is still on its way when the
    // host closes would wait, so a busy machine gets time.
    closing.publish((0..10).map(|number| number.to_string())).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    closing.broker.close().await.unwrap();

    let world = World::of(server.host_that_waits(ack_wait).await).await;
    world.take(10).await;
}

#[tokio::test]
async fn an_event_that_fills_a_message_can_be_parked_dead_lettered_and_redriven() {
    let server = Server::start();
    let world = World::on(&server).await;
    let large = "x".repeat(1024 * 1024 - 200);
    world.broker.publish(vec![outgoing("in.a", "large", &large)]).await.remove(0).unwrap();
    let delivery = world.take_one().await;
    world.source.park(&delivery, 2, Duration::ZERO, SystemTime::now()).await.unwrap();
    let back = world.take_one().await;
    assert_eq!(back.message, delivery.message);

    world.source.dead_letter(&back, record(&back)).await.unwrap();
    let letter = letters(&world).await.remove(0);
    assert_eq!(letter.message, record(&back));
    let redrive = Redrive {
        dead_letter: letter.id,
        route: route().name,
        origin: delivery.origin.clone(),
        message: delivery.message.clone(),
        stored: delivery.stored,
        redriven: 1,
    };
    assert!(world.broker.redrive(redrive).await.unwrap());
    let again = world.take_one().await;
    assert_eq!((payload(&again), again.redriven), (large, 1));
}

#[tokio::test]
async fn an_event_whose_headers_are_full_can_be_parked_dead_lettered_and_redriven() {
    let server = Server::start();
    let world = World::on(&server).await;
    let mut sent = outgoing("in.a", "1", "{}");
    sent.message.headers.append("x", "y".repeat(65_000));
    world.broker.publish(vec![sent]).await.remove(0).unwrap();
    let delivery = world.take_one().await;
    world.source.park(&delivery, 2, Duration::ZERO, SystemTime::now()).await.unwrap();
    let back = world.take_one().await;
    assert_eq!((&back.message, back.attempt), (&delivery.message, 2));

    let mut record = record(&back);
    record.headers.append("Dlq-Reason", "trap");
    world.source.dead_letter(&back, record).await.unwrap();
    let letter = letters(&world).await.remove(0);
    assert_eq!(letter.message.headers.get("Dlq-Reason"), Some("trap"));
    assert_eq!(letter.message.headers.get("x").map(str::len), Some(65_000));
    assert_eq!(world.broker.dead_letter(letter.id).await.unwrap(), Some(letter.clone()));
    let redrive = Redrive {
        dead_letter: letter.id,
        route: route().name,
        origin: delivery.origin.clone(),
        message: delivery.message.clone(),
        stored: delivery.stored,
        redriven: 1,
    };
    assert!(world.broker.redrive(redrive).await.unwrap());
    let again = world.take_one().await;
    assert_eq!((&again.message, again.redriven), (&delivery.message, 1));
}

#[tokio::test]
async fn an_event_that_waits_after_a_redrive_is_not_redriven_beside_itself() {
    let server = Server::start();
    let world = World::on(&server).await;
    world.publish(["x".to_owned()]).await;
    let delivery = world.take_one().await;
    for _ in 0..2 {
        // Another record each time, so another id: the retry stream cannot know it by that.
        world.source.dead_letter(&delivery, record(&delivery)).await.unwrap();
        let redrive = Redrive {
            dead_letter: letters(&world).await.remove(0).id,
            route: route().name,
            origin: delivery.origin.clone(),
            message: delivery.message.clone(),
            stored: delivery.stored,
            redriven: 1,
        };
        assert!(world.broker.redrive(redrive).await.unwrap());
        assert!(letters(&world).await.is_empty());
    }
    let back = world.take_one().await;
    world.broker.commit(vec![commit(&back)]).await.remove(0).unwrap();
    world.nothing_comes().await;
}
