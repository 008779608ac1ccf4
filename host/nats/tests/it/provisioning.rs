//! Streams and consumers that exist already.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidemill_core::config::Start;
use tidemill_core::message::Message;
use tidemill_core::name::RouteName;
use tidemill_core::port::{Admin, Broker, BrokerError, DeadLetterQuery, Delivery, Source};
use tidemill_core::subject::Subject;

use crate::server::{PATIENCE, Server, World, route, stream};

async fn api(client: &async_nats::Client, call: &str, body: Value) -> Value {
    let answer = client.request(format!("$JS.API.{call}"), body.to_string().into()).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

async fn one(source: &Arc<dyn Source>) -> Delivery {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(delivery) = source.pull(1).await.unwrap().pop() {
            return delivery;
        }
        assert!(Instant::now() < deadline, "nothing came");
    }
}

/// Dead-letters the next event of a route.
async fn bury(source: &Arc<dyn Source>, below: &Subject) {
    let delivery = one(source).await;
    let subject =
        Subject::try_new(&format!("{below}.{}.{}", delivery.origin.stream, delivery.origin.sequence)).unwrap();
    let record = Message { subject, ..delivery.message.clone() };
    source.dead_letter(&delivery, record).await.unwrap();
}

#[tokio::test]
async fn an_existing_stream_is_compared_field_by_field_and_left_alone() {
    let server = Server::start();
    let raw = server.raw().await;
    let theirs = json!({
        "name": "IN", "subjects": ["in.>", "more.>"], "storage": "file", "description": "somebody's",
        "max_age": 3_600_000_000_000_u64, "duplicate_window": 120_000_000_000_u64,
    });
    api(&raw, "STREAM.CREATE.IN", theirs).await;
    let before = api(&raw, "STREAM.INFO.IN", json!({})).await["config"].clone();

    let mut wanted = stream("IN", "in.>");
    wanted.duplicate_window = Duration::from_secs(600);
    wanted.max_bytes = Some(1 << 30);
    let error = server.host().await.provision(&[wanted]).await.unwrap_err();
    assert!(matches!(error, BrokerError::Incompatible(_)), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the stream `IN` exists with other settings: \
         discard: runtime.yaml says `new`, the stream has `old`; \
         duplicate_window: runtime.yaml says 10m, the stream has 2m; \
         max_age: runtime.yaml says no limit, the stream has 1h; \
         max_bytes: runtime.yaml says 1GiB, the stream has no limit; \
         subjects: runtime.yaml says `in.>`, the stream has `in.>`, `more.>`. \
         Nothing was changed: make runtime.yaml say what the stream has, or change the stream with `nats stream edit IN`"
    );
    assert_eq!(api(&raw, "STREAM.INFO.IN", json!({})).await["config"], before);
}

#[tokio::test]
async fn a_route_with_another_filter_or_start_is_refused_and_another_size_is_taken() {
    let server = Server::start();
    let world = World::on(&server).await;

    let mut smaller = route();
    smaller.max_in_flight = 7;
    world.broker.open(&smaller).await.unwrap();
    let raw = server.raw().await;
    let info = api(&raw, "CONSUMER.INFO.IN.tidemill-work", json!({})).await;
    assert_eq!(info["config"]["max_ack_pending"], 7);

    let mut other = route();
    other.subjects = vec![tidemill_core::subject::SubjectPattern::try_new("in.created").unwrap()];
    other.start = Start::New;
    let error = world.broker.open(&other).await.err().unwrap();
    assert!(matches!(error, BrokerError::Incompatible(_)), "{error:?}");
    let text = error.to_string();
    for part in [
        "deliver_policy: runtime.yaml asks for `new`, the consumer has `all`",
        "filter_subjects: runtime.yaml asks for `in.created`, the consumer has `in.>`",
        "`nats consumer rm IN tidemill-work`",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_start_at_the_same_time_agree() {
    let server = Server::start();
    let mut hosts = Vec::new();
    for number in 0..6 {
        let host = server.host().await;
        hosts.push(tokio::spawn(async move {
            host.provision(&[stream("IN", "in.>")]).await.unwrap();
            let mut own = route();
            own.name = RouteName::try_new(&format!("work-{number}")).unwrap();
            own.dead_letter = Subject::try_new(&format!("dlq.work-{number}")).unwrap();
            host.open(&route()).await.unwrap();
            host.open(&own).await.unwrap();
        }));
    }
    for host in hosts {
        host.await.unwrap();
    }
    let info = api(&server.raw().await, "STREAM.INFO.TIDEMILL_DLQ", json!({})).await;
    let subjects = info["config"]["subjects"].to_string();
    for number in 0..6 {
        assert!(subjects.contains(&format!("dlq.work-{number}.>")), "{subjects}");
    }
}

#[tokio::test]
async fn dead_letters_go_where_the_subject_says_also_into_a_stream_of_the_users() {
    let server = Server::start();
    let world = World::on(&server).await;
    world.broker.provision(&[stream("OURS", "failed.>")]).await.unwrap();
    let mut routed = route();
    routed.name = RouteName::try_new("elsewhere").unwrap();
    routed.dead_letter = Subject::try_new("failed.here").unwrap();
    let source = world.broker.open(&routed).await.unwrap();
    world.publish(["poison".to_owned()]).await;
    let delivery = one(&source).await;
    let mut record = delivery.message.clone();
    record.subject = Subject::try_new("failed.here.IN.1").unwrap();
    source.dead_letter(&delivery, record).await.unwrap();

    let info = api(&server.raw().await, "STREAM.INFO.OURS", json!({})).await;
    assert_eq!(info["state"]["messages"], 1);
    let query = DeadLetterQuery { route: Some(routed.name), after: 0, limit: 10 };
    let letters = world.broker.dead_letters(query).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].message.payload.as_ref(), b"poison");
    assert_eq!(world.broker.dead_letter(letters[0].id).await.unwrap().as_ref(), letters.first());
    assert!(world.broker.discard(letters[0].id).await.unwrap());
}

#[tokio::test]
async fn dead_letters_never_go_into_what_the_route_reads() {
    let server = Server::start();
    let world = World::on(&server).await;
    let mut circular = route();
    circular.name = RouteName::try_new("circular").unwrap();
    circular.dead_letter = Subject::try_new("in.dead").unwrap();
    let error = world.broker.open(&circular).await.err().unwrap();
    assert!(matches!(error, BrokerError::Incompatible(_)), "{error:?}");
    assert!(error.to_string().contains("which the route itself reads"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_start_at_the_same_time_can_store_their_dead_letters_at_once() {
    let server = Server::start();
    World::on(&server).await.publish(["poison".to_owned()]).await;
    let mut hosts = Vec::new();
    for host in 0..8 {
        let broker = server.host().await;
        hosts.push(tokio::spawn(async move {
            for number in 0..12 {
                let mut own = route();
                own.name = RouteName::try_new(&format!("work-{host}-{number}")).unwrap();
                own.dead_letter = Subject::try_new(&format!("dlq.work-{host}-{number}")).unwrap();
                let source = broker.open(&own).await.unwrap();
                bury(&source, &own.dead_letter).await;
            }
        }));
    }
    for host in hosts {
        host.await.unwrap();
    }
    let query = DeadLetterQuery { route: None, after: 0, limit: 1000 };
    assert_eq!(server.host().await.dead_letters(query).await.unwrap().len(), 8 * 12);
    let retries = api(&server.raw().await, "STREAM.INFO.TIDEMILL_RETRY", json!({})).await;
    assert_eq!(retries["state"]["messages"], 0, "nobody keeps the turn");
}

/// What happens to a server that changes a stream's subjects twice at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_the_server_lists_and_does_not_listen_to_is_listed_anew() {
    let server = Server::start();
    let world = World::on(&server).await;
    world.publish(["poison".to_owned()]).await;
    let (one, other) = (server.raw().await, server.raw().await);
    let settings = api(&one, "STREAM.INFO.TIDEMILL_DLQ", json!({})).await["config"].clone();
    let with = |subjects: &[&str]| {
        let mut settings = settings.clone();
        settings["subjects"] = json!(subjects);
        settings
    };
    let mut rounds = 0;
    loop {
        let update = "STREAM.UPDATE.TIDEMILL_DLQ";
        let both = ["tidemill.dlq.>", "dlq.work.>", "another.>"];
        let _ = tokio::join!(api(&one, update, with(&both[..1])), api(&other, update, with(&both)));
        let listed = api(&one, "STREAM.INFO.TIDEMILL_DLQ", json!({})).await["config"]["subjects"].clone();
        if listed == json!(both) && one.request("dlq.work.x", "".into()).await.is_err() {
            break;
        }
        api(&one, update, with(&both[..1])).await;
        api(&one, update, with(&both[..2])).await;
        rounds += 1;
        assert!(rounds < 10_000, "this server does not do that: what is tested here is not needed any more");
    }
    bury(&world.source, &route().dead_letter).await;
    let query = DeadLetterQuery { route: None, after: 0, limit: 10 };
    assert_eq!(world.broker.dead_letters(query).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_host_that_died_while_it_changed_the_subjects_holds_up_the_others_for_seconds_only() {
    let server = Server::start();
    let world = World::on(&server).await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-TTL", "3s");
    let raw = server.raw().await;
    raw.request_with_headers("tidemill.sched.turn", headers, "another host's".into()).await.unwrap();
    let begun = Instant::now();
    let mut late = route();
    late.name = RouteName::try_new("late").unwrap();
    late.dead_letter = Subject::try_new("dlq.late").unwrap();
    // What is listed already needs no turn.
    world.broker.open(&route()).await.unwrap();
    assert_eq!(api(&raw, "STREAM.INFO.TIDEMILL_RETRY", json!({})).await["state"]["messages"], 1);
    world.broker.open(&late).await.unwrap();
    assert!(begun.elapsed() > Duration::from_secs(2), "{:?}", begun.elapsed());
    let listed = api(&raw, "STREAM.INFO.TIDEMILL_DLQ", json!({})).await["config"]["subjects"].clone();
    assert_eq!(listed, json!(["tidemill.dlq.>", "dlq.work.>", "dlq.late.>"]));
}
