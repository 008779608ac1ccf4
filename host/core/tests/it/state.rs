//! A plugin's state, session by session: what a call sees, when its writes are accepted, and how they become durable.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidemill_core::config::RouteConfig;
use tidemill_core::limits::Limits;
use tidemill_core::port::{Admin, Broker as _, Commit, Delivery, Outgoing, Source as _};
use tidemill_core::state::{StateError, StateOutcome, StateSession, StateSpace};
use tokio::sync::{oneshot, watch};
use tokio::task::yield_now;

use crate::faulty::{Door, Fault, Faulty, FaultySource, SourceTraits};
use crate::rig::{Setup, event_message, stream};

/// A plugin's state over a broker, and deliveries to commit it with.
struct Bench {
    broker: Arc<Faulty>,
    source: Arc<FaultySource>,
    route: RouteConfig,
    space: Arc<StateSpace>,
    stop: watch::Sender<bool>,
}

impl Bench {
    async fn new() -> Self {
        let setup = Setup::default();
        let (broker, route) = (Arc::clone(&setup.broker), setup.config());
        broker.provision(&[stream("IN", "in.>"), stream("OUT", "out.>")]).await.unwrap();
        let source = broker.source(&route, SourceTraits::default()).await;
        let space = StateSpace::new(route.handler.clone(), Arc::clone(&broker) as Arc<dyn Admin>);
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(Arc::clone(&space).run(Arc::clone(&broker) as _, stopped));
        Self { broker, source, route, space, stop }
    }

    async fn deliveries(&self, count: usize) -> Vec<Delivery> {
        for _ in 0..count {
            let outgoing = Outgoing { id: fastrand::u64(..).to_string(), message: event_message("e") };
            self.broker.publish(vec![outgoing]).await.remove(0).unwrap();
        }
        self.source.pull(count).await.unwrap()
    }

    /// Submits a session for a new delivery.
    async fn submit(&self, session: StateSession) -> Option<oneshot::Receiver<StateOutcome>> {
        self.submit_emitting(session, Vec::new()).await
    }

    async fn submit_emitting(
        &self,
        session: StateSession,
        emits: Vec<Outgoing>,
    ) -> Option<oneshot::Receiver<StateOutcome>> {
        let delivery = self.deliveries(1).await.remove(0);
        let commit = Commit {
            route: self.route.name.clone(),
            origin: delivery.origin,
            receipt: delivery.receipt,
            emits: emits.into(),
        };
        self.space.submit(commit, session.finish().unwrap())
    }

    /// Commits one write.
    async fn write(&self, key: &str, value: Option<&str>) {
        let mut session = self.space.session();
        set(&mut session, key, value);
        assert_eq!(self.submit(session).await.unwrap().await, Ok(StateOutcome::Committed));
    }

    async fn stored(&self, key: &str) -> Option<Bytes> {
        self.broker.inner.state_get(&self.route.handler, key).await.unwrap().value
    }
}

fn set(session: &mut StateSession, key: &str, value: Option<&str>) {
    let limits = Limits::default();
    match value {
        Some(value) => session.put(key, Bytes::from(value.to_owned()), &limits).unwrap(),
        None => session.delete(key, &limits).unwrap(),
    }
}

fn value(text: &str) -> Option<Bytes> {
    Some(Bytes::from(text.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn a_call_reads_what_it_wrote_and_nobody_else_does_before_it_succeeded() {
    let bench = Bench::new().await;
    bench.write("a", Some("old")).await;
    let mut writer = bench.space.session();
    set(&mut writer, "a", Some("new"));
    set(&mut writer, "b", Some("born"));
    assert_eq!((writer.get("a").await, writer.get("b").await), (Ok(value("new")), Ok(value("born"))));
    set(&mut writer, "b", None);
    assert_eq!(writer.get("b").await, Ok(None));
    assert_eq!(bench.space.session().get("a").await, Ok(value("old")));
    drop(writer);
    assert_eq!((bench.space.session().get("a").await, bench.stored("a").await), (Ok(value("old")), value("old")));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_touched_nothing_has_nothing_to_submit() {
    let bench = Bench::new().await;
    assert!(bench.space.session().finish().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_submitted_write_is_seen_before_it_is_durable() {
    let bench = Bench::new().await;
    let answers = bench.broker.plan.hold_answers(Door::CommitState);
    let mut writer = bench.space.session();
    set(&mut writer, "a", Some("1"));
    let committed = bench.submit(writer).await.unwrap();
    let mut reader = bench.space.session();
    assert_eq!(reader.get("a").await, Ok(value("1")));
    set(&mut reader, "a", Some("2"));
    let later = bench.submit(reader).await.expect("it built on the newest value");
    answers.add_permits(2);
    assert_eq!((committed.await, later.await), (Ok(StateOutcome::Committed), Ok(StateOutcome::Committed)));
    assert_eq!(bench.stored("a").await, value("2"));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_reads_have_changed_is_not_accepted() {
    let bench = Bench::new().await;
    bench.write("read", Some("1")).await;
    // Also when the key was only read, was absent, or was listed.
    let mut read = bench.space.session();
    read.get("read").await.unwrap();
    set(&mut read, "other", Some("x"));
    let mut absent = bench.space.session();
    absent.get("absent").await.unwrap();
    let mut listed = bench.space.session();
    listed.list("ab", None, 10).await.unwrap();
    let mut untouched = bench.space.session();
    untouched.get("else").await.unwrap();

    bench.write("read", Some("2")).await;
    bench.write("absent", Some("now here")).await;
    assert!(bench.submit(read).await.is_none());
    assert!(bench.submit(absent).await.is_none());
    assert!(bench.submit(listed).await.is_none());
    assert!(bench.submit(untouched).await.is_some());
    assert_eq!(bench.stored("other").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_listing_shows_the_call_s_own_writes_and_what_is_on_its_way() {
    let bench = Bench::new().await;
    for key in ["k.a", "k.b", "k.c", "l"] {
        bench.write(key, Some("1")).await;
    }
    let answers = bench.broker.plan.hold_answers(Door::CommitState);
    let mut pending = bench.space.session();
    set(&mut pending, "k.b", None);
    set(&mut pending, "k.d", Some("1"));
    let committed = bench.submit(pending).await.unwrap();

    let mut session = bench.space.session();
    set(&mut session, "k.a", None);
    set(&mut session, "k.e", Some("1"));
    set(&mut session, "m", Some("1"));
    assert_eq!(session.list("k.", None, 10).await.unwrap(), ["k.c", "k.d", "k.e"]);
    assert_eq!(session.list("k.", Some("k.c"), 1).await.unwrap(), ["k.d"]);
    assert_eq!(session.list("", None, 10).await.unwrap(), ["k.c", "k.d", "k.e", "l", "m"]);
    answers.add_permits(1);
    committed.await.unwrap();
    assert_eq!(bench.space.session().list("k.", None, 10).await.unwrap(), ["k.a", "k.c", "k.d"]);
}

#[tokio::test(start_paused = true)]
async fn a_listing_does_not_miss_what_is_committed_while_it_is_made() {
    let bench = Bench::new().await;
    let commits = bench.broker.plan.hold_answers(Door::CommitState);
    bench.broker.plan.fail(Door::CommitState, Fault::Unavailable, 1);
    let listings = bench.broker.plan.hold_answers(Door::StateKeys);
    let mut writer = bench.space.session();
    set(&mut writer, "a", Some("1"));
    let committed = bench.submit(writer).await.unwrap();
    let space = Arc::clone(&bench.space);
    // The broker lists the keys while the write waits to be repeated; its answer arrives after the commit's.
    let listing = tokio::spawn(async move {
        let mut session = space.session();
        let keys = session.list("", None, 10).await.unwrap();
        (keys, session)
    });
    yield_now().await;
    commits.add_permits(1);
    assert_eq!(committed.await, Ok(StateOutcome::Committed));
    listings.add_permits(1);
    let (keys, session) = listing.await.unwrap();
    let accepted = bench.submit(session).await.is_some();
    assert!(keys == ["a"] || !accepted, "{keys:?} was accepted after `a` had been written");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_overtaken_by_a_commit_is_not_believed() {
    let bench = Bench::new().await;
    bench.write("a", Some("old")).await;
    bench.write("b", Some("old")).await;
    // What the host knows of `a` has become too old to be used without asking.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let reads = bench.broker.plan.hold_answers(Door::StateGet);
    let space = Arc::clone(&bench.space);
    let reading = tokio::spawn(async move {
        let mut session = space.session();
        let a = session.get("a").await.unwrap();
        let b = session.get("b").await.unwrap();
        (a, b, session)
    });
    yield_now().await;
    // While the answer is on its way another call writes both, and is committed.
    let mut writer = bench.space.session();
    set(&mut writer, "a", Some("new"));
    set(&mut writer, "b", Some("new"));
    assert_eq!(bench.submit(writer).await.unwrap().await, Ok(StateOutcome::Committed));
    reads.add_permits(2);
    let (a, b, mut session) = reading.await.unwrap();
    set(&mut session, "c", Some("x"));
    let accepted = bench.submit(session).await.is_some();
    assert!(a == b || !accepted, "a call that saw `a` = {a:?} and `b` = {b:?} was accepted");
}

#[tokio::test(start_paused = true)]
async fn compare_and_set_writes_only_on_what_was_expected() {
    let bench = Bench::new().await;
    let limits = Limits::default();
    let mut session = bench.space.session();
    assert_eq!(session.compare_and_set("a", Some(b"1"), value("2"), &limits).await, Ok(false));
    assert_eq!(session.compare_and_set("a", None, value("1"), &limits).await, Ok(true));
    assert_eq!(session.compare_and_set("a", None, value("x"), &limits).await, Ok(false));
    assert_eq!(session.compare_and_set("a", Some(b"1"), value("2"), &limits).await, Ok(true));
    assert_eq!(bench.submit(session).await.unwrap().await, Ok(StateOutcome::Committed));
    assert_eq!(bench.stored("a").await, value("2"));
    let mut session = bench.space.session();
    assert_eq!(session.compare_and_set("a", Some(b"2"), None, &limits).await, Ok(true));
    assert_eq!(bench.submit(session).await.unwrap().await, Ok(StateOutcome::Committed));
    assert_eq!(bench.stored("a").await, None);
}

#[tokio::test(start_paused = true)]
async fn each_limit_refuses_the_write_that_passes_it() {
    let bench = Bench::new().await;
    let limits = Limits { state_value: 4, state_writes: 3, state_bytes: 14, ..Limits::default() };
    let put =
        |session: &mut StateSession, key: &str, value: &str| session.put(key, Bytes::from(value.to_owned()), &limits);
    let mut session = bench.space.session();
    assert_eq!(put(&mut session, "a", "12345"), Err(StateError::Limit { limit: "state_value", allowed: 4 }));
    put(&mut session, "a", "1234").unwrap();
    put(&mut session, "b", "1234").unwrap();
    assert_eq!(put(&mut session, "c", "1234"), Err(StateError::Limit { limit: "state_bytes", allowed: 14 }));
    put(&mut session, "c", "").unwrap();
    assert_eq!(session.delete("d", &limits), Err(StateError::Limit { limit: "state_writes", allowed: 3 }));
    put(&mut session, "a", "").unwrap();
    for bad in ["", "a\nb", &"x".repeat(257)] {
        assert!(matches!(session.get(bad).await, Err(StateError::BadKey { .. })), "{bad:?}");
        assert!(matches!(put(&mut session, bad, ""), Err(StateError::BadKey { .. })), "{bad:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_refused_batch_only_the_bad_commit_is_refused() {
    let bench = Bench::new().await;
    let answers = bench.broker.plan.hold_answers(Door::CommitState);
    // The first commit keeps the committer busy; the others become one batch.
    let mut first = bench.space.session();
    set(&mut first, "first", Some("1"));
    let first = bench.submit(first).await.unwrap();
    let mut open: Vec<(usize, oneshot::Receiver<StateOutcome>)> = Vec::new();
    for index in 0..10 {
        open.push((index, submit_numbered(&bench, index).await));
    }
    answers.add_permits(1000);
    first.await.unwrap();
    let mut refused = Vec::new();
    // A conflict means: run again on what the state is now.
    while let Some((index, outcome)) = open.pop() {
        match outcome.await.unwrap() {
            StateOutcome::Committed => {}
            StateOutcome::Conflict => open.insert(0, (index, submit_numbered(&bench, index).await)),
            StateOutcome::Refused(_) => refused.push(index),
        }
    }
    assert_eq!(refused, [6]);
    for index in 0..10 {
        assert_eq!(bench.stored(&format!("k{index}")).await.is_some(), index != 6, "k{index}");
    }
}

/// Writes `k<index>`; number 6 also wants to emit where there is no stream.
async fn submit_numbered(bench: &Bench, index: usize) -> oneshot::Receiver<StateOutcome> {
    let mut session = bench.space.session();
    set(&mut session, &format!("k{index}"), Some("1"));
    let mut message = event_message("x");
    message.subject = tidemill_core::subject::Subject::try_new("nowhere").unwrap();
    let emits = if index == 6 { vec![Outgoing { id: "x".to_owned(), message }] } else { Vec::new() };
    bench.submit_emitting(session, emits).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_write_takes_all_that_was_submitted_meanwhile() {
    let bench = Bench::new().await;
    let answers = bench.broker.plan.hold_answers(Door::CommitState);
    let mut outcomes = Vec::new();
    for _ in 0..50 {
        let mut session = bench.space.session();
        let before =
            session.get("n").await.unwrap().map_or(0, |n| String::from_utf8(n.to_vec()).unwrap().parse().unwrap());
        set(&mut session, "n", Some(&(before + 1).to_string()));
        outcomes.push(bench.submit(session).await.unwrap());
        yield_now().await;
    }
    answers.add_permits(1000);
    for outcome in outcomes {
        assert_eq!(outcome.await, Ok(StateOutcome::Committed));
    }
    assert_eq!(*bench.broker.state_batches.lock().unwrap(), [1, 49]);
    assert_eq!(bench.stored("n").await, value("50"));
}

#[tokio::test(start_paused = true)]
async fn the_committer_ends_when_everything_submitted_is_written() {
    let bench = Bench::new().await;
    bench.broker.plan.fail(Door::CommitState, Fault::Unavailable, 5);
    let mut session = bench.space.session();
    set(&mut session, "a", Some("1"));
    let outcome = bench.submit(session).await.unwrap();
    bench.stop.send(true).unwrap();
    assert_eq!(outcome.await, Ok(StateOutcome::Committed));
    tokio::time::timeout(Duration::from_secs(1), bench.stop.closed()).await.expect("the committer has ended");
}

#[tokio::test(start_paused = true)]
async fn a_committer_that_nobody_can_stop_any_more_ends() {
    let bench = Bench::new().await;
    let (sender, stop) = watch::channel(false);
    let committer = Arc::clone(&bench.space).run(Arc::clone(&bench.broker) as _, stop);
    drop(sender);
    tokio::time::timeout(Duration::from_secs(1), committer).await.expect("it does not spin");
}
