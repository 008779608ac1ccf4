//! The server goes away, and comes back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidemill_core::name::PluginName;
use tidemill_core::port::{
    Admin, Backlog, Broker, BrokerError, Delivery, Revision, StateCommit, StateCommitted, StateWrite,
};
use tokio::sync::Notify;

use crate::server::{PATIENCE, Server, World, commit, outgoing, payload, route};

/// Commits until it succeeds, as the host does.
async fn commit_all(world: &World, deliveries: &[Delivery]) {
    let mut open: Vec<_> = deliveries.iter().map(commit).collect();
    while !open.is_empty() {
        let results = world.broker.commit(open.clone()).await;
        open = open
            .into_iter()
            .zip(results)
            .filter_map(|(commit, result)| match result {
                Ok(()) => None,
                Err(BrokerError::Unavailable { .. }) => Some(commit),
                Err(error) => panic!("{error}"),
            })
            .collect();
    }
}

/// Kills the server several times while events flow, and gives it back.
async fn kill_often(mut server: Server, times: usize, enough: Arc<Notify>) -> Server {
    for _ in 0..times {
        tokio::time::sleep(Duration::from_millis(400)).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        server = tokio::task::spawn_blocking(move || {
            server.run();
            server
        })
        .await
        .unwrap();
    }
    enough.notify_one();
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_server_loses_nothing_and_doubles_no_emit() {
    const EVENTS: usize = 4000;
    let server = Server::start();
    let world = World::on(&server).await;
    world.publish((0..EVENTS).map(|number| number.to_string())).await;
    let enough = Arc::new(Notify::new());
    let killer = tokio::spawn(kill_often(server, 4, Arc::clone(&enough)));

    let mut seen = BTreeSet::new();
    let deadline = Instant::now() + PATIENCE * 3;
    while seen.len() < EVENTS || !world.broker.backlog(&route()).await.is_ok_and(|left| left == Backlog::default()) {
        assert!(Instant::now() < deadline, "{} of {EVENTS} came", seen.len());
        if let Ok(deliveries) = world.source.pull(64).await {
            commit_all(&world, &deliveries).await;
            seen.extend(deliveries.iter().map(payload));
            // Slow enough that the kills fall among the events.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let _server = killer.await.unwrap();
    let output = world.output().await;
    assert_eq!(output.len(), EVENTS);
    assert_eq!(output.into_iter().collect::<BTreeSet<_>>(), seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_server_counts_every_event_once_in_the_state() {
    const EVENTS: u64 = 600;
    let server = Server::start();
    let world = World::on(&server).await;
    let space = PluginName::try_new("worker").unwrap();
    world.publish((0..EVENTS).map(|number| number.to_string())).await;
    let enough = Arc::new(Notify::new());
    let killer = tokio::spawn(kill_often(server, 4, Arc::clone(&enough)));

    let deadline = Instant::now() + PATIENCE * 3;
    while !world.broker.backlog(&route()).await.is_ok_and(|left| left == Backlog::default()) {
        assert!(Instant::now() < deadline, "still open: {:?}", world.broker.backlog(&route()).await);
        for delivery in world.source.pull(8).await.unwrap_or_default() {
            count_one(&world, &space, &delivery).await;
        }
    }
    let _server = killer.await.unwrap();
    let total = world.broker.state_get(&space, "count").await.unwrap().value.unwrap();
    assert_eq!(total, Bytes::from(EVENTS.to_string()));
    assert_eq!(world.output().await.into_iter().collect::<BTreeSet<_>>().len() as u64, EVENTS);
}

/// What a counting handler and its host do with one delivery, until it is settled.
async fn count_one(world: &World, space: &PluginName, delivery: &Delivery) {
    loop {
        if delivery.redelivered && world.broker.settle_committed(space, &commit(delivery)).await.unwrap_or(false) {
            return;
        }
        let Ok(entry) = world.broker.state_get(space, "count").await else { continue };
        let before: u64 = entry.value.map_or(0, |bytes| std::str::from_utf8(&bytes).unwrap().parse().unwrap());
        let value = Some(Bytes::from((before + 1).to_string()));
        let write = StateWrite { key: "count".to_owned(), value, expected: Some(Revision(entry.revision.0)) };
        let batch = StateCommit { space: space.clone(), commits: vec![commit(delivery)], writes: vec![write] };
        match world.broker.commit_state(batch).await {
            Ok(StateCommitted::Done { .. }) => return,
            Ok(StateCommitted::Conflict { already_committed }) if !already_committed.is_empty() => return,
            Ok(StateCommitted::Conflict { .. }) | Err(BrokerError::Unavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_is_away_every_call_ends_and_says_so() {
    let mut server = Server::start();
    let world = World::on(&server).await;
    world.publish(["x".to_owned()]).await;
    let delivery = world.take_one().await;
    let space = PluginName::try_new("worker").unwrap();
    server.kill();

    let begun = Instant::now();
    let unavailable = |result: Result<(), BrokerError>, what: &str| {
        assert!(matches!(result, Err(BrokerError::Unavailable { .. })), "{what}: {result:?}");
        begun.elapsed()
    };
    let publish = async {
        let result = world.broker.publish(vec![outgoing("out.a", "late", "perhaps")]).await.remove(0);
        unavailable(result.map(drop), "publish")
    };
    let pull = async { unavailable(world.source.pull(1).await.map(drop), "pull") };
    let get = async { unavailable(world.broker.state_get(&space, "k").await.map(drop), "state_get") };
    let backlog = async { unavailable(world.broker.backlog(&route()).await.map(drop), "backlog") };
    let park = async {
        let now = std::time::SystemTime::now();
        unavailable(world.source.park(&delivery, 2, Duration::from_secs(1), now).await, "park")
    };
    let letter =
        async { unavailable(world.source.dead_letter(&delivery, delivery.message.clone()).await, "dead_letter") };
    let took = tokio::join!(publish, pull, get, backlog, park, letter);
    // A pull waits for a second, the others for 10: more than these is the machine's.
    assert!(took.1 < Duration::from_secs(9), "{took:?}");
    for each in [took.0, took.2, took.3, took.4, took.5] {
        assert!(each < Duration::from_secs(20), "{took:?}");
    }

    server.run();
    let again = world.take_one().await;
    assert_eq!(again.origin, delivery.origin);
    commit_all(&world, &[again]).await;
    let mut output = world.output().await;
    // Whether it took effect is unknown.
    output.retain(|payload| payload != "perhaps");
    assert_eq!(output, ["x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_back_at_once_is_not_noticed_by_the_caller() {
    let mut server = Server::start();
    let world = World::on(&server).await;
    server.kill();
    let (result, _server) = tokio::join!(
        world.broker.publish(vec![outgoing("out.a", "1", "over the gap")]),
        tokio::task::spawn_blocking(move || {
            server.run();
            server
        })
    );
    result.into_iter().for_each(|result| drop(result.unwrap()));
    assert_eq!(world.output().await, ["over the gap"]);
}
