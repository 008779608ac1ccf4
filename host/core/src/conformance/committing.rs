//! `Broker::commit`: effects and settlement of handlers without state.

use super::bench::{Bench, new_id, nothing_comes, take, take_one};
use crate::port::{Backlog, BrokerError, Commit};

pub(super) async fn a_commit_publishes_and_settles(bench: Bench) {
    let scene = bench.scene().await;
    bench.publish("in.a", &["1", "2"]).await;
    let taken = take(&scene.source, 2).await;
    let commits =
        vec![scene.commit(&taken[0], vec![bench.outgoing("out.a", &new_id(), "one")]), scene.commit(&taken[1], vec![])];
    for result in bench.broker.commit(commits).await {
        result.unwrap();
    }
    bench.backlog_becomes(&scene.route, Backlog::default()).await;
    assert_eq!(bench.contents(&scene.output).await, ["one"]);
    nothing_comes(&scene.source).await;
}

pub(super) async fn repeating_a_commit_doubles_nothing(bench: Bench) {
    let scene = bench.scene().await;
    bench.publish("in.a", &["1"]).await;
    let delivery = take_one(&scene.source).await;
    let commit = scene.commit(&delivery, vec![bench.outgoing("out.a", &new_id(), "one")]);
    for _ in 0..3 {
        bench.broker.commit(vec![commit.clone()]).await.remove(0).unwrap();
    }
    bench.backlog_becomes(&scene.route, Backlog::default()).await;
    assert_eq!(bench.contents(&scene.output).await, ["one"]);
}

pub(super) async fn an_id_that_was_emitted_before_is_stored_once(bench: Bench) {
    let scene = bench.scene().await;
    bench.publish("in.a", &["1", "2"]).await;
    let taken = take(&scene.source, 2).await;
    let id = new_id();
    let commits: Vec<Commit> =
        taken.iter().map(|delivery| scene.commit(delivery, vec![bench.outgoing("out.a", &id, "one")])).collect();
    for result in bench.broker.commit(commits).await {
        result.unwrap();
    }
    bench.backlog_becomes(&scene.route, Backlog::default()).await;
    assert_eq!(bench.contents(&scene.output).await, ["one"]);
}

pub(super) async fn each_commit_stands_for_itself(bench: Bench) {
    let scene = bench.scene().await;
    bench.publish("in.a", &["1", "2", "3"]).await;
    let taken = take(&scene.source, 3).await;
    let results = bench
        .broker
        .commit(vec![
            scene.commit(&taken[0], vec![bench.outgoing("out.a", &new_id(), "one")]),
            scene.commit(&taken[1], vec![bench.outgoing("nowhere.a", &new_id(), "no stream captures this")]),
            scene.commit(&taken[2], vec![bench.outgoing("out.a", &new_id(), "three")]),
        ])
        .await;

    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    assert!(matches!(results[1], Err(BrokerError::Refused(_))), "{results:?}");
    bench.backlog_becomes(&scene.route, Backlog { in_flight: 1, ..Backlog::default() }).await;
    assert_eq!(bench.contents(&scene.output).await, ["one", "three"]);

    // The refused one is still the host's to settle.
    bench.broker.commit(vec![scene.commit(&taken[1], vec![])]).await.remove(0).unwrap();
    bench.backlog_becomes(&scene.route, Backlog::default()).await;
}

pub(super) async fn a_large_batch_is_one_call(bench: Bench) {
    const COUNT: usize = 300;
    let scene = bench.scene().await;
    let payloads: Vec<String> = (0..COUNT).map(|n| n.to_string()).collect();
    bench.publish("in.a", &payloads.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let taken = take(&scene.source, COUNT).await;
    let commits = taken
        .iter()
        .map(|delivery| {
            scene.commit(delivery, vec![bench.outgoing("out.a", &new_id(), &super::bench::payload(delivery))])
        })
        .collect();
    let results = bench.broker.commit(commits).await;
    assert_eq!(results.len(), COUNT);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    bench.backlog_becomes(&scene.route, Backlog::default()).await;
    let mut found = bench.contents(&scene.output).await;
    found.sort_by_key(|text| text.parse::<usize>().unwrap());
    assert_eq!(found, payloads);
}

pub(super) async fn emits_of_one_commit_keep_their_order(bench: Bench) {
    let scene = bench.scene().await;
    bench.publish("in.a", &["x"]).await;
    let delivery = take_one(&scene.source).await;
    let payloads: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let emits = payloads.iter().map(|text| bench.outgoing("out.a", &new_id(), text)).collect();
    bench.broker.commit(vec![scene.commit(&delivery, emits)]).await.remove(0).unwrap();
    assert_eq!(bench.contents(&scene.output).await, payloads);
}
