//! A guest and its keyed state.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use tidemill_core::config::{RouteConfig, StreamConfig};
use tidemill_core::failure::FailureKind;
use tidemill_core::limits::Limits;
use tidemill_core::message::Message;
use tidemill_core::name::{PluginName, StreamName};
use tidemill_core::port::{
    Admin, Backlog, Broker, BrokerError, Commit, DeadLetterQuery, Origin, Outgoing, Published, ReadFrom, Reader,
    Recorded, Redrive, Revision, Source, StateCommit, StateCommitted, StateEntry, StoredDeadLetter, StreamBounds,
};
use tidemill_core::state::{StateSession, StateSpace};
use tidemill_core::subject::Subject;

use crate::guest::{STATE, answering, handler};
use crate::rig::{call, call_on, load, route, standard_route};

/// A broker that is asked for a key.
#[derive(Clone, Copy)]
enum Store {
    Knows(&'static str),
    Unreachable,
    NeverAnswers,
    Panics,
}

/// A session of a plugin whose state holds nothing.
pub(crate) fn session_of(plugin: &str) -> StateSession {
    StateSpace::new(PluginName::try_new(plugin).unwrap(), Arc::new(Store::Unreachable)).session()
}

fn session(store: Store) -> StateSession {
    StateSpace::new(PluginName::try_new("guest").unwrap(), Arc::new(store)).session()
}

/// A guest that reads the key `a`, then ends.
fn reading(end: &str) -> Vec<u8> {
    let read = "(i32.store8 (i32.const 1000) (i32.const 97)) (call $state_get (i32.const 1000) (i32.const 1) (i32.const 1100))";
    answering(&[STATE], &format!("{read} {end}"))
}

#[tokio::test]
async fn a_guest_reads_what_is_stored_and_what_it_wrote_itself() {
    // Reads `count`, puts it under `copy`, reads that, and rejects with what it read.
    let plugin = load(&handler(
        &[STATE],
        r#"(data (i32.const 1000) "countcopy")
           (func $handle (param i32) (result i32)
               (call $state_get (i32.const 1000) (i32.const 5) (i32.const 1100))
               (call $state_put (i32.const 1005) (i32.const 4) (i32.load (i32.const 1108)) (i32.load (i32.const 1112))
                   (i32.const 1200))
               (call $state_get (i32.const 1005) (i32.const 4) (i32.const 1300))
               (call $reject (i32.load (i32.const 1308)) (i32.load (i32.const 1312))))"#,
    ));
    let failure = call_on(&plugin, &standard_route(), "{}", Some(session(Store::Knows("41")))).await.unwrap_err();
    assert_eq!((failure.kind, failure.text.as_str()), (FailureKind::Rejected, "41"));
}

#[tokio::test]
async fn a_successful_call_hands_its_writes_over() {
    let plugin = load(&handler(
        &[STATE],
        r#"(data (i32.const 1000) "count42")
           (func $handle (param i32) (result i32)
               (call $state_put (i32.const 1000) (i32.const 5) (i32.const 1005) (i32.const 2) (i32.const 1200))
               (call $ok))"#,
    ));
    let effects = call_on(&plugin, &standard_route(), "{}", Some(session(Store::Unreachable))).await.unwrap();
    let state = effects.state.unwrap();
    let writes: Vec<_> = state.writes().iter().collect();
    assert_eq!(writes, [(&"count".to_owned(), &Some(Bytes::from_static(b"42")))]);
}

#[tokio::test]
async fn state_that_cannot_be_reached_is_the_hosts_failure_whatever_the_guest_returns() {
    for end in ["(call $ok)", "(call $reject (i32.const 1000) (i32.const 1))", "unreachable"] {
        let plugin = load(&reading(end));
        let unreachable = Some(session(Store::Unreachable));
        let failure = call_on(&plugin, &standard_route(), "{}", unreachable).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unavailable, "{end}");
        assert!(failure.text.contains("nobody answers"), "{}", failure.text);
        assert_eq!(call(&plugin, "{}").await.unwrap_err().kind, FailureKind::Unavailable, "no session at all");
    }
}

#[tokio::test]
async fn waiting_for_the_host_counts_as_time_too() {
    let plugin = load(&reading("(call $ok)"));
    let route = route(Duration::from_millis(50), Limits::default());
    let begun = Instant::now();
    let failure = call_on(&plugin, &route, "{}", Some(session(Store::NeverAnswers))).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(call_on(&plugin, &standard_route(), "{}", Some(session(Store::Knows("1")))).await.is_ok());
}

#[tokio::test]
async fn a_panic_of_the_host_fails_the_call_and_says_whose_defect_it_is() {
    let plugin = load(&reading("(call $ok)"));
    let failure = call_on(&plugin, &standard_route(), "{}", Some(session(Store::Panics))).await.unwrap_err();
    assert_eq!(
        failure.text,
        "the host panicked while it served the plugin: a defect of the store; this is a defect of Tidemill"
    );
    assert!(call_on(&plugin, &standard_route(), "{}", Some(session(Store::Knows("1")))).await.is_ok());
}

#[async_trait]
impl Broker for Store {
    fn kind(&self) -> &'static str {
        "test"
    }

    async fn provision(&self, _: &[StreamConfig]) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn open(&self, _: &RouteConfig) -> Result<Arc<dyn Source>, BrokerError> {
        unreachable!("a call reads nothing but state")
    }

    async fn commit(&self, _: Vec<Commit>) -> Vec<Result<(), BrokerError>> {
        unreachable!("a call commits nothing")
    }

    async fn commit_state(&self, _: StateCommit) -> Result<StateCommitted, BrokerError> {
        unreachable!("a call commits nothing")
    }

    async fn settle_committed(&self, _: &PluginName, _: &Commit) -> Result<bool, BrokerError> {
        unreachable!("a call settles nothing")
    }

    async fn read(&self, _: ReadFrom) -> Result<Box<dyn Reader>, BrokerError> {
        unreachable!("a call reads no stream")
    }

    async fn bounds(&self, _: &StreamName) -> Result<StreamBounds, BrokerError> {
        unreachable!("a call reads no stream")
    }

    async fn dead_letter_read(&self, _: &Origin, _: &Subject, _: Message) -> Result<(), BrokerError> {
        unreachable!("a call dead-letters nothing")
    }

    async fn close(&self) -> Result<(), BrokerError> {
        Ok(())
    }
}

#[async_trait]
impl Admin for Store {
    async fn publish(&self, _: Vec<Outgoing>) -> Vec<Result<Published, BrokerError>> {
        unreachable!("a call publishes nothing")
    }

    async fn dead_letters(&self, _: DeadLetterQuery) -> Result<Vec<StoredDeadLetter>, BrokerError> {
        Ok(Vec::new())
    }

    async fn dead_letter(&self, _: u64) -> Result<Option<StoredDeadLetter>, BrokerError> {
        Ok(None)
    }

    async fn redrive(&self, _: Redrive) -> Result<bool, BrokerError> {
        Ok(false)
    }

    async fn discard(&self, _: u64) -> Result<bool, BrokerError> {
        Ok(false)
    }

    async fn backlog(&self, _: &RouteConfig) -> Result<Backlog, BrokerError> {
        Ok(Backlog::default())
    }

    async fn state_get(&self, _: &PluginName, _: &str) -> Result<StateEntry, BrokerError> {
        match self {
            Store::Knows(text) => {
                Ok(StateEntry { value: Some(Bytes::from_static(text.as_bytes())), revision: Revision(1) })
            }
            Store::Unreachable => Err(BrokerError::Unavailable { broker: "test", reason: "nobody answers".to_owned() }),
            Store::NeverAnswers => std::future::pending().await,
            Store::Panics => panic!("a defect of the store"),
        }
    }

    async fn state_keys(&self, _: &PluginName, _: &str) -> Result<Vec<String>, BrokerError> {
        Ok(Vec::new())
    }

    async fn message(&self, _: &StreamName, _: u64) -> Result<Option<Recorded>, BrokerError> {
        unreachable!("a call reads no stream")
    }
}
