//! Plugins that answer themselves or each other.

use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;
use tidemill_core::failure::{Blame, FailureKind};
use tidemill_core::filter::Filter;
use tidemill_core::hops;
use tidemill_core::message::Message;
use tidemill_core::port::{Admin as _, Redrive};
use tidemill_core::stats::RouteSummary;

use crate::rig::{Rig, Seen, Setup, emit, emits, event_message, failed, nothing, policy};

/// A route whose plugin emits every event to the route's own input.
async fn echo(setup: Setup) -> (Rig, Seen) {
    let seen = Seen::default();
    let log = seen.clone();
    let rig = setup
        .start(move |call| {
            log.note(&call);
            async { emits(vec![emit("in.again", "echo"), emit("out.seen", "echo")]) }.boxed()
        })
        .await;
    (rig, seen)
}

fn after(id: &str, hops: &str) -> Message {
    let mut message = event_message(id);
    message.headers.set(hops::HEADER, hops);
    message
}

fn hops_of(messages: &[Message]) -> Vec<u32> {
    messages.iter().map(|message| hops::of(&message.headers)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_emits_to_its_own_input_ends_as_one_dead_letter() {
    let (rig, seen) = echo(Setup::default()).await;
    rig.publish(&["a"]).await;
    rig.settled().await;

    // The event from outside and 32 echoes are handled; what they emitted elsewhere is there, each once.
    assert_eq!(seen.attempts(), [1; 33]);
    assert_eq!(hops_of(&rig.emitted().await), (1..=33).collect::<Vec<_>>());
    let letter = rig.dead_letter().await;
    assert_eq!((letter.reason.as_str(), letter.blame, letter.attempts), ("loop", Blame::Event, 1));
    assert_eq!(hops_of(&[letter.original]), [33]);
    assert!(letter.error.contains("`max_hops: 33` in runtime.yaml"), "{}", letter.error);
    let RouteSummary { received, done, retried, dead_lettered, emitted, .. } = rig.summary();
    assert_eq!((received, done, retried, dead_lettered, emitted), (34, 33, 0, 1, 66));
}

#[tokio::test(start_paused = true)]
async fn a_plugin_with_state_that_emits_to_its_own_input_ends_too() {
    let setup = Setup { uses_state: true, ..Setup::default() };
    let (rig, seen) = echo(setup).await;
    rig.publish(&["a"]).await;
    rig.settled().await;
    assert_eq!((seen.attempts().len(), rig.dead_letter().await.reason.as_str()), (33, "loop"));
}

#[tokio::test(start_paused = true)]
async fn retries_are_no_hops() {
    let setup = Setup { retry: policy(3, Duration::from_secs(36_000)), ..Setup::default() };
    let seen = Seen::default();
    let log = seen.clone();
    let rig = setup
        .start(move |call| {
            log.note(&call);
            let again = call.attempt < 3;
            async move {
                if again { failed(FailureKind::Trap) } else { emits(vec![emit("in.again", "x"), emit("out.x", "x")]) }
            }
            .boxed()
        })
        .await;
    rig.publish(&["a"]).await;
    rig.settled().await;
    assert_eq!(seen.attempts(), [1, 2, 3].repeat(33));
    assert_eq!(hops_of(&rig.emitted().await), (1..=33).collect::<Vec<_>>());
    assert_eq!(rig.dead_letters().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_forges_the_count_only_hurts_the_own_event() {
    let rig = Setup::default().start(|_| async { emits(vec![emit("out.x", "x")]) }.boxed()).await;
    rig.publish_messages(vec![after("far", "4294967295"), after("odd", "-7"), after("last", "32")]).await;
    rig.settled().await;
    let letter = rig.dead_letter().await;
    assert_eq!((letter.event_id.as_deref(), letter.reason.as_str()), (Some("far"), "loop"));
    let mut hops = hops_of(&rig.emitted().await);
    hops.sort_unstable();
    assert_eq!(hops, [1, 33], "what cannot be read counts as none");
}

#[tokio::test(start_paused = true)]
async fn no_guest_sees_or_sets_the_count() {
    let rig = Setup::default()
        .start(|call| {
            let seen = call.event.extensions.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
            let mut emitted = emit("out.x", &seen.join(","));
            let forged = ["hops", "tidemillhops", "Tidemill-Hops"];
            emitted.extensions = forged.map(|name| (name.to_owned(), "0".to_owned())).to_vec();
            async { emits(vec![emitted]) }.boxed()
        })
        .await;
    rig.publish_messages(vec![after("a", "5")]).await;
    rig.settled().await;
    let emitted = rig.emitted().await;
    assert_eq!((hops_of(&emitted), &*emitted[0].payload), (vec![6], &b"\"\""[..]));
}

#[tokio::test(start_paused = true)]
async fn a_route_that_does_not_want_the_event_lets_it_pass() {
    let setup = Setup { filter: Some(Filter::compile(&json!({ "id": ["wanted"] })).unwrap()), ..Setup::default() };
    let rig = setup.start(|_| async { nothing() }.boxed()).await;
    rig.publish_messages(vec![after("a", "33"), after("wanted", "33")]).await;
    rig.settled().await;
    let RouteSummary { skipped, dead_lettered, .. } = rig.summary();
    assert_eq!((skipped, dead_lettered), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_redriven_event_keeps_its_count() {
    let (rig, _) = echo(Setup::default()).await;
    rig.publish(&["a"]).await;
    rig.settled().await;
    let letter = rig.dead_letter().await;
    let id = rig.dead_letter_id().await;
    let redrive = Redrive {
        dead_letter: id,
        route: letter.route,
        origin: letter.origin,
        message: letter.original,
        stored: letter.stored,
        redriven: 1,
    };
    assert!(rig.broker.redrive(redrive).await.unwrap());
    rig.settled().await;
    let again = rig.dead_letter().await;
    assert_eq!((again.reason.as_str(), again.redriven, rig.summary().done), ("loop", 1, 33));
}
