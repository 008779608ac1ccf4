//! Streams and consumers that exist already.

use std::time::Duration;

use serde_json::{Value, json};
use tidemill_core::config::Start;
use tidemill_core::name::RouteName;
use tidemill_core::port::{Admin, Broker, BrokerError, DeadLetterQuery};
use tidemill_core::subject::Subject;

use crate::server::{Server, World, route, stream};

async fn api(client: &async_nats::Client, call: &str, body: Value) -> Value {
    let answer = client.request(format!("$JS.API.{call}"), body.to_string().into()).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
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
    let delivery = source.pull(1).await.unwrap().remove(0);
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
