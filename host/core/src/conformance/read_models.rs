//! One suite for every store of read models: the sentences of [`ReadModelStore`] as code.
//!
//! Each case takes a projection of its own name, so that the stores which `make` gives may all stand on one database. Where the
//! answer to a question is asserted, it is computed a second time by the plainest code there is: a map, a filter, a sort.

mod asking;
mod claiming;
mod committing;
mod copies;
mod model;
mod reopening;
mod table;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::AT_A_TIME;
use crate::read_model::ReadModelStore;
use table::Table;

type Case = (&'static str, fn(Table) -> BoxFuture<'static, ()>);

macro_rules! cases {
    ($($subject:ident: $($behaviour:ident)+;)+) => {
        vec![$($((
            concat!(stringify!($subject), "::", stringify!($behaviour)),
            (|table| Box::pin($subject::$behaviour(table))) as fn(Table) -> BoxFuture<'static, ()>,
        )),+),+]
    };
}

fn cases() -> Vec<Case> {
    cases! {
        claiming:
            a_projection_that_never_ran_has_an_empty_ledger
            a_claim_is_in_the_ledger_until_it_is_released
            each_claim_has_a_higher_epoch
            an_older_fence_changes_nothing
            a_claim_concerns_one_projection
            a_fence_of_another_projection_is_refused
            a_pause_is_remembered;
        copies:
            a_new_copy_is_empty_and_begins_where_it_was_told
            a_number_is_never_given_again
            activating_keeps_the_copy_before_and_no_other
            activating_the_previous_copy_switches_back
            activating_twice_changes_nothing
            an_active_copy_is_not_removed
            a_removed_copy_is_gone_for_every_question
            copies_do_not_share_documents;
        committing:
            documents_positions_and_counts_come_together
            a_batch_that_builds_on_another_position_changes_nothing_and_says_so
            a_batch_that_does_not_fit_writes_nothing
            a_deleted_document_is_gone
            a_large_document_comes_back_whole
            a_large_batch_is_one_commit
            every_key_and_text_is_kept_as_it_is
            a_key_with_control_characters_reaches_no_store
            commits_to_two_copies_at_once_both_happen;
        asking:
            a_document_is_found_by_its_key
            a_find_answers_in_the_order_of_the_keys
            an_update_moves_a_document_in_every_index
            each_operator_compares_bytes
            mixed_types_have_one_order
            pages_meet_each_document_once_however_many_are_alike
            an_answer_and_its_positions_are_of_one_moment
            a_query_that_takes_too_long_is_given_up
            a_query_that_does_not_fit_is_refused;
        model:
            random_batches_and_queries_agree_with_a_map;
    }
}

/// Runs every case, each on a store from `make`, and panics with the names of those that failed and what they
/// said. Needs a tokio runtime with its clock running.
pub async fn run_all<F>(make: F)
where
    F: Fn() -> BoxFuture<'static, Arc<dyn ReadModelStore>>,
{
    let mut failed = Vec::new();
    for group in cases().chunks(AT_A_TIME) {
        let mut running = Vec::new();
        for (name, body) in group {
            let (body, store) = (*body, make());
            running.push((*name, tokio::spawn(async move { body(Table::new(store.await)).await })));
        }
        for (name, task) in running {
            if let Err(error) = task.await {
                failed.push(format!("{name}: {}", super::said(error)));
            }
        }
    }
    assert!(failed.is_empty(), "the store failed {} cases:\n  {}", failed.len(), failed.join("\n  "));
}

/// What must be there when a store is dropped and opened again: `open` is called twice and both times stands on the same
/// storage.
pub async fn survives_reopening<F>(open: F)
where
    F: Fn() -> BoxFuture<'static, Arc<dyn ReadModelStore>>,
{
    reopening::everything_committed_is_there_again(open).await;
}
