//! `Broker::commit_state`, `settle_committed`, `state_get` and `state_keys`.

use bytes::Bytes;

use super::bench::{Bench, Scene, new_id, nothing_comes, take, take_one};
use crate::name::PluginName;
use crate::port::{Backlog, BrokerError, Commit, Revision, StateCommit, StateCommitted, StateWrite};

fn write(key: &str, value: &str, expected: Option<Revision>) -> StateWrite {
    StateWrite { key: key.to_owned(), value: Some(Bytes::copy_from_slice(value.as_bytes())), expected }
}

fn delete(key: &str, expected: Option<Revision>) -> StateWrite {
    StateWrite { key: key.to_owned(), value: None, expected }
}

fn batch(space: &PluginName, commits: Vec<Commit>, writes: Vec<StateWrite>) -> StateCommit {
    StateCommit { space: space.clone(), commits, writes }
}

async fn commit_state(bench: &Bench, batch: StateCommit) -> StateCommitted {
    bench.broker.commit_state(batch).await.unwrap()
}

fn revisions(committed: StateCommitted) -> Vec<Revision> {
    match committed {
        StateCommitted::Done { revisions } => revisions,
        other => panic!("expected the batch to be done: {other:?}"),
    }
}

async fn value(bench: &Bench, space: &PluginName, key: &str) -> Option<String> {
    let entry = bench.broker.state_get(space, key).await.unwrap();
    entry.value.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

/// Writes to the state in the name of a fresh delivery.
async fn put(bench: &Bench, scene: &Scene, space: &PluginName, writes: Vec<StateWrite>) -> Vec<Revision> {
    bench.publish("in.a", &["x"]).await;
    let delivery = take_one(&scene.source).await;
    revisions(commit_state(bench, batch(space, vec![scene.commit(&delivery, vec![])], writes)).await)
}

pub(super) async fn a_key_that_was_never_written_has_revision_zero(bench: Bench) {
    bench.scene().await;
    let entry = bench.broker.state_get(&bench.space("s"), "key").await.unwrap();
    assert_eq!((entry.value, entry.revision), (None, Revision(0)));
    assert!(bench.broker.state_keys(&bench.space("s"), "").await.unwrap().is_empty());
}

pub(super) async fn state_emits_and_settlement_come_together(bench: Bench) {
    let scene = bench.scene().await;
    let space = bench.space("s");
    bench.publish("in.a", &["1", "2"]).await;
    let taken = take(&scene.source, 2).await;
    let commits = vec![
        scene.commit(&taken[0], vec![bench.outgoing("out.a", &new_id(), "one")]),
        scene.commit(&taken[1], vec![bench.outgoing("out.a", &new_id(), "two")]),
    ];
    let writes = vec![write("count", "2", Some(Revision(0)))];
    revisions(commit_state(&bench, batch(&space, commits, writes)).await);

    assert_eq!(value(&bench, &space, "count").await.as_deref(), Some("2"));
    assert_eq!(bench.contents(&scene.output).await, ["one", "two"]);
    bench.backlog_becomes(&scene.route, Backlog::default()).await;
    nothing_comes(&scene.source).await;
}

pub(super) async fn revisions_come_in_the_order_of_the_writes(bench: Bench) {
    let scene = bench.scene().await;
    let space = bench.space("s");
    let writes = vec![write("b", "1", None), write("a", "2", None), write("c", "3", None)];
    let answered = put(&bench, &scene, &space, writes).await;
    assert_eq!(answered.len(), 3);
    for (key, revision) in ["b", "a", "c"].iter().zip(&answered) {
        assert_eq!(bench.broker.state_get(&space, key).await.unwrap().revision, *revision, "{key}");
        assert_ne!(*revision, Revision(0));
    }
    let next = put(&bench, &scene, &space, vec![write("a", "4", Some(answered[1]))]).await;
    assert_ne!(next[0], answered[1]);
}

pub(super) async fn keys_are_listed_in_byte_order_by_prefix(bench: Bench) {
    let scene = bench.scene().await;
    let space = bench.space("s");
    let keys = ["b/2", "a", "b/10", "b", "B", "b/é", "c"];
    put(&bench, &scene, &space, keys.iter().map(|key| write(key, "x", None)).collect()).await;
    put(&bench, &scene, &space, vec![delete("c", None)]).await;

    let list = |prefix: &'static str| {
        let (broker, space) = (bench.broker.clone(), space.clone());
        async move { broker.state_keys(&space, prefix).await.unwrap() }
    };
    assert_eq!(list("").await, ["B", "a", "b", "b/10", "b/2", "b/é"]);
    assert_eq!(list("b/").await, ["b/10", "b/2", "b/é"]);
    assert!(list("c").await.is_empty(), "a deleted key does not exist");
    assert!(list("zzz").await.is_empty());
}

pub(super) async fn any_key_text_is_kept_apart(bench: Bench) {
    let scene = bench.scene().await;
    let space = bench.space("s");
    let long = "k".repeat(256);
    let keys = ["a.b", "a b", "*", ">", "a/b", "ключ", "=eq=", "%41", "A", "a", "_", "$", long.as_str()];
    put(&bench, &scene, &space, keys.iter().map(|key| write(key, key, None)).collect()).await;
    for key in keys {
        assert_eq!(value(&bench, &space, key).await.as_deref(), Some(key));
    }
    let mut expected: Vec<&str> = keys.to_vec();
    expected.sort_unstable();
    assert_eq!(bench.broker.state_keys(&space, "").await.unwrap(), expected);
}

pub(super) async fn spaces_are_kept_apart(bench: Bench) {
    let scene = bench.scene().await;
    let (one, longer) = (bench.space("s"), bench.space("s2"));
    put(&bench, &scene, &one, vec![write("2x", "one", None)]).await;
    put(&bench, &scene, &longer, vec![write("x", "two", None)]).await;
    assert_eq!(value(&bench, &one, "2x").await.as_deref(), Some("one"));
    assert_eq!(value(&bench, &longer, "2x").await, None);
    assert_eq!(bench.broker.state_keys(&one, "").await.unwrap(), ["2x"]);
    assert_eq!(bench.broker.state_keys(&longer, "").await.unwrap(), ["x"]);
}

pub(super) async fn no_key_reaches_into_another_space(bench: Bench) {
    let scene = bench.scene().await;
    let (victim, hostile) = (bench.space("victim"), bench.space("hostile"));
    put(&bench, &scene, &victim, vec![write("x", "secret", None)]).await;
    let up = format!("../{victim}/x");
    let dotted = format!("{victim}.x");
    let keys = ["../x", "*", ">", "x.*", "..", "/", up.as_str(), dotted.as_str(), victim.as_str()];
    for key in keys {
        assert_eq!(value(&bench, &hostile, key).await, None, "{key}");
    }
    put(&bench, &scene, &hostile, keys.iter().map(|key| write(key, "mine", None)).collect()).await;
    put(&bench, &scene, &hostile, keys.iter().map(|key| delete(key, None)).collect()).await;
    assert_eq!(value(&bench, &victim, "x").await.as_deref(), Some("secret"));
    assert_eq!(bench.broker.state_keys(&victim, "").await.unwrap(), ["x"]);
    for prefix in ["", "../", "*", ">"] {
        assert_eq!(bench.broker.state_keys(&hostile, prefix).await.unwrap(), [""; 0], "{prefix}");
    }
}

pub(super) async fn a_changed_key_is_a_conflict_and_nothing_is_written(bench: Bench) {
    let scene = bench.scene().await;
    let space = bench.space("s");
    let stale = put(&bench, &scene, &space, vec![write("k", "1", Some(Revision(0)))]).await[0];
    let fresh = put(&bench, &scene, &space, vec![write("k", "2", Some(stale))]).await[0];

    bench.publish("in.a", &["x"]).await;
    let delivery = take_one(&scene.source).await;
    let commit = scene.commit(&delivery, vec![bench.outgoing("out.a", &new_id(), "emitted")]);
    for wrong in [Revision(0), stale, Revision(fresh.0 + 1000)] {
        let writes = vec![write("other", "x", None), write("k", "3", Some(wrong))];
        let answer = commit_state(&bench, batch(&space, vec![commit.clone()], writes)).await;
        assert_eq!(answer, StateCommitted::Conflict { already_committed: vec![] }, "expected revision {wrong:?}");
    }
    assert_eq!(value(&bench, &space, "k").await.as_deref(), Some("2"));
    assert_eq!(value(&bench, &space, "other").await, None);
    assert!(bench.contents(&scene.output).await.is_empty());
    bench.backlog_becomes(&scene.route, Backlog { in_flight: 1, ..Backlog::default() }).await;

    let again = batch(&space, vec![commit], vec![write("k", "3", Some(fresh))]);
    revisions(commit_state(&bench, again).await);
    assert_eq!(bench.contents(&scene.output).await, ["emitted"]);
}

pub(super) async fn a_blind_write_needs_no_revision(bench: Bench) {
    let scene = bench.scene().await;
    let space = bench.space("s");
    put(&bench, &scene, &space, vec![write("k", "1", None)]).await;
    put(&bench, &scene, &space, vec![write("k", "2", None)]).await;
    assert_eq!(value(&bench, &space, "k").await.as_deref(), Some("2"));
    put(&bench, &scene, &space, vec![delete("k", None)]).await;
    put(&bench, &scene, &space, vec![delete("never-there", None)]).await;
    assert_eq!(value(&bench, &space, "k").await, None);
}

pub(super) async fn a_deleted_key_can_be_written_again(bench: Bench) {
    let scene = bench.scene().await;
    let space = bench.space("s");
    let first = put(&bench, &scene, &space, vec![write("k", "1", Some(Revision(0)))]).await[0];
    put(&bench, &scene, &space, vec![delete("k", Some(first))]).await;
    let gone = bench.broker.state_get(&space, "k").await.unwrap();
    assert_eq!(gone.value, None);
    put(&bench, &scene, &space, vec![write("k", "2", Some(gone.revision))]).await;
    assert_eq!(value(&bench, &space, "k").await.as_deref(), Some("2"));

    // Whoever read the key before it was deleted and written again must not overwrite it.
    bench.publish("in.a", &["x"]).await;
    let delivery = take_one(&scene.source).await;
    let late = batch(&space, vec![scene.commit(&delivery, vec![])], vec![write("k", "3", Some(first))]);
    assert_eq!(commit_state(&bench, late).await, StateCommitted::Conflict { already_committed: vec![] });
}

pub(super) async fn repeating_a_state_commit_finds_it_done(bench: Bench) {
    let scene = bench.scene().await;
    let space = bench.space("s");
    bench.publish("in.a", &["1", "2"]).await;
    let taken = take(&scene.source, 2).await;
    let commits = taken
        .iter()
        .map(|delivery| {
            scene.commit(delivery, vec![bench.outgoing("out.a", &new_id(), &super::bench::payload(delivery))])
        })
        .collect();
    let done = batch(&space, commits, vec![write("k", "1", None)]);
    revisions(commit_state(&bench, done.clone()).await);
    let before = bench.broker.state_get(&space, "k").await.unwrap();

    let answer = commit_state(&bench, done).await;
    assert_eq!(answer, StateCommitted::Conflict { already_committed: vec![0, 1] });
    assert_eq!(bench.broker.state_get(&space, "k").await.unwrap(), before);
    assert_eq!(bench.contents(&scene.output).await, ["1", "2"]);
    bench.backlog_becomes(&scene.route, Backlog::default()).await;
}

pub(super) async fn one_commit_that_was_done_stops_the_batch(bench: Bench) {
    let scene = bench.scene().await;
    let space = bench.space("s");
    bench.publish("in.a", &["1", "2", "3"]).await;
    let taken = take(&scene.source, 3).await;
    let done = scene.commit(&taken[1], vec![bench.outgoing("out.a", &new_id(), "two")]);
    revisions(commit_state(&bench, batch(&space, vec![done.clone()], vec![write("k", "1", None)])).await);

    let first = scene.commit(&taken[0], vec![bench.outgoing("out.a", &new_id(), "one")]);
    let third = scene.commit(&taken[2], vec![]);
    let mixed = batch(&space, vec![first, done, third], vec![write("k", "2", None)]);
    assert_eq!(commit_state(&bench, mixed).await, StateCommitted::Conflict { already_committed: vec![1] });
    assert_eq!(value(&bench, &space, "k").await.as_deref(), Some("1"));
    assert_eq!(bench.contents(&scene.output).await, ["two"]);
    bench.backlog_becomes(&scene.route, Backlog { in_flight: 2, ..Backlog::default() }).await;
}

pub(super) async fn a_state_commit_with_an_impossible_emit_changes_nothing(bench: Bench) {
    let scene = bench.scene().await;
    let space = bench.space("s");
    bench.publish("in.a", &["1"]).await;
    let delivery = take_one(&scene.source).await;
    let emits = vec![bench.outgoing("out.a", &new_id(), "one"), bench.outgoing("nowhere.a", &new_id(), "two")];
    let impossible = batch(&space, vec![scene.commit(&delivery, emits)], vec![write("k", "1", None)]);
    let answer = bench.broker.commit_state(impossible).await;
    assert!(matches!(answer, Err(BrokerError::Refused(_))), "{answer:?}");

    assert_eq!(value(&bench, &space, "k").await, None);
    assert!(bench.contents(&scene.output).await.is_empty());
    bench.backlog_becomes(&scene.route, Backlog { in_flight: 1, ..Backlog::default() }).await;
    assert!(!bench.broker.settle_committed(&space, &scene.commit(&delivery, vec![])).await.unwrap());
}

pub(super) async fn settle_committed_knows_what_was_committed(bench: Bench) {
    let scene = bench.scene().await;
    let space = bench.space("s");
    bench.publish("in.a", &["1"]).await;
    let delivery = take_one(&scene.source).await;
    let commit = scene.commit(&delivery, vec![bench.outgoing("out.a", &new_id(), "one")]);

    assert!(!bench.broker.settle_committed(&space, &commit).await.unwrap());
    bench.backlog_becomes(&scene.route, Backlog { in_flight: 1, ..Backlog::default() }).await;
    revisions(commit_state(&bench, batch(&space, vec![commit.clone()], vec![write("k", "1", None)])).await);

    // A second attempt may have other emits in mind; the recorded ones count.
    let second = scene.commit(&delivery, vec![]);
    assert!(bench.broker.settle_committed(&space, &second).await.unwrap());
    assert!(bench.broker.settle_committed(&space, &commit).await.unwrap());
    assert_eq!(bench.contents(&scene.output).await, ["one"]);
    bench.backlog_becomes(&scene.route, Backlog::default()).await;
}
