//! One suite for every broker: the sentences of [`port`](crate::port) as code.
//!
//! A broker passes when [`run_all`] returns. The cases ask only what the ports promise, so they hold for a server across
//! the network as well as for a map in memory: what is promised "soon" is awaited with a generous deadline, what is
//! promised "not before" is measured. Each case invents names of its own, so that the brokers that `make` gives may all
//! stand on one server, at the same time and beside what earlier runs have left there.
//!
//! Time is real here, not paused, because a server's clock cannot be.
//!
//! [`read_models`] is the same for stores of read models.

#![allow(clippy::unwrap_used, reason = "a case fails by panicking")]

mod bench;
mod committing;
mod dead_letters;
mod parking;
mod publishing;
pub mod read_models;
mod reading;
mod restart;
mod reviewing;
mod stating;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::task::JoinError;

use crate::port::Broker;
use bench::Bench;

/// One behaviour that every broker has.
pub struct Case {
    /// `subject::behaviour`.
    pub name: &'static str,
    body: fn(Bench) -> BoxFuture<'static, ()>,
}

/// How many cases [`run_all`] runs at a time: most of their time is waiting for something that must not come.
const AT_A_TIME: usize = 8;

macro_rules! cases {
    ($($subject:ident: $($behaviour:ident)+;)+) => {
        /// All cases, to be run one by one.
        pub fn cases() -> Vec<Case> {
            vec![$($(Case {
                name: concat!(stringify!($subject), "::", stringify!($behaviour)),
                body: |bench| Box::pin($subject::$behaviour(bench)),
            }),+),+]
        }
    };
}

cases! {
    publishing:
        what_was_published_arrives_unchanged
        each_message_is_published_on_its_own_and_answered_in_order
        the_same_id_is_stored_once
        a_message_that_is_too_large_is_refused
        a_full_stream_pushes_back
        provisioning_twice_changes_nothing
        a_stream_with_other_settings_is_refused_with_the_difference;
    reading:
        a_first_delivery_says_where_it_stands
        a_pull_gives_at_most_what_was_asked
        an_empty_pull_ends_by_itself
        a_waiting_pull_wakes_up
        a_route_starts_where_it_is_told
        a_route_reads_its_subjects_only
        routes_do_not_share_a_position
        a_cancelled_pull_loses_nothing
        what_is_released_comes_back
        an_unsettled_delivery_is_held_for_the_promised_time
        a_route_on_a_missing_stream_is_an_error
        the_backlog_counts_what_is_not_settled;
    reviewing:
        a_reader_gives_every_message_once_in_order_while_more_are_published
        a_reader_begins_after_its_position
        a_stretch_is_no_longer_than_asked
        a_reader_gives_its_subjects_only_and_is_through_with_the_others
        a_reader_of_an_empty_stream_waits_and_wakes_up
        a_cancelled_next_loses_and_doubles_nothing
        readers_do_not_share_a_position
        a_reader_leaves_routes_alone
        bounds_are_the_sequences_that_a_stream_holds
        a_missing_stream_cannot_be_read
        a_message_is_found_by_its_sequence
        a_dead_letter_of_a_read_event_is_stored_once;
    committing:
        a_commit_publishes_and_settles
        repeating_a_commit_doubles_nothing
        an_id_that_was_emitted_before_is_stored_once
        each_commit_stands_for_itself
        a_large_batch_is_one_call
        emits_of_one_commit_keep_their_order;
    stating:
        a_key_that_was_never_written_has_revision_zero
        state_emits_and_settlement_come_together
        revisions_come_in_the_order_of_the_writes
        keys_are_listed_in_byte_order_by_prefix
        any_key_text_is_kept_apart
        spaces_are_kept_apart
        no_key_reaches_into_another_space
        a_changed_key_is_a_conflict_and_nothing_is_written
        a_blind_write_needs_no_revision
        a_deleted_key_can_be_written_again
        repeating_a_state_commit_finds_it_done
        one_commit_that_was_done_stops_the_batch
        a_state_commit_with_an_impossible_emit_changes_nothing
        settle_committed_knows_what_was_committed;
    parking:
        a_parked_delivery_comes_back_when_it_is_due
        parking_twice_comes_back_once
        parking_under_the_same_attempt_brings_it_back_each_time
        a_parked_delivery_can_be_parked_committed_and_dead_lettered
        parking_concerns_one_route;
    dead_letters:
        a_dead_letter_is_kept_as_it_was_written
        a_dead_letter_is_stored_once
        dead_letters_are_listed_in_pages
        a_discarded_dead_letter_is_gone
        a_redriven_event_returns_to_its_route_only
        a_redriven_event_can_die_again
        redriving_twice_delivers_once;
}

/// Runs every case, each on a broker of its own from `make`, and panics with the names of those that failed and what
/// they said. Needs a tokio runtime with its clock running. A broker whose deliveries come back after a wait is made with
/// one of some ten seconds: longer than a case holds a delivery on a loaded machine, short enough to be sat out.
pub async fn run_all<F>(make: F)
where
    F: Fn() -> BoxFuture<'static, Arc<dyn Broker>>,
{
    let mut failed = Vec::new();
    for group in cases().chunks(AT_A_TIME) {
        let mut running = Vec::new();
        for case in group {
            let (body, broker) = (case.body, make());
            let task = tokio::spawn(async move {
                let broker = broker.await;
                body(Bench::new(Arc::clone(&broker))).await;
                broker.close().await.expect("a broker that did its work closes");
            });
            running.push((case.name, task));
        }
        for (name, task) in running {
            if let Err(error) = task.await {
                failed.push(format!("{name}: {}", said(error)));
            }
        }
    }
    assert!(failed.is_empty(), "the broker failed {} cases:\n  {}", failed.len(), failed.join("\n  "));
}

/// What a case panicked with: its own message stands far above, behind those of the other cases.
fn said(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "it was cancelled".to_owned() };
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked").to_owned()
}

/// What must be there when a broker is closed and opened again: `open` is called twice and both times stands on the same
/// storage. Not for a broker that forgets.
pub async fn survives_restart<F>(open: F)
where
    F: Fn() -> BoxFuture<'static, Arc<dyn Broker>>,
{
    restart::everything_acknowledged_is_there_again(open).await;
}

// === impl Case ===

impl Case {
    /// Runs the case; panics when the broker behaves otherwise.
    pub async fn run(&self, broker: Arc<dyn Broker>) {
        (self.body)(Bench::new(broker)).await;
    }
}
