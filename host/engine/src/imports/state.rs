//! `tidemill:plugin/state`: the plugin's keyed state, as this call sees it.
//!
//! A store that cannot be reached is remembered beside the answer: the call is then run again without counting an
//! attempt, whatever the guest makes of the error.

use bytes::Bytes;
use tidemill_core::limits::Limits;
use tidemill_core::state::{StateError, StateSession};

use super::NO_CALL;
use crate::bindings::tidemill::plugin::state::{Host, StateError as GuestError};
use crate::guest::{CurrentCall, Guest};

/// Keys that one call of `list` gives at most.
const MAX_LISTED: u32 = 1000;

impl Host for Guest {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, GuestError> {
        let (state, _, call) = open(self)?;
        let found = state.get(&key).await;
        call.answer(found).map(|value| value.map(Vec::from))
    }

    async fn put(&mut self, key: String, value: Vec<u8>) -> Result<(), GuestError> {
        let (state, limits, call) = open(self)?;
        let done = state.put(&key, value.into(), limits);
        call.answer(done)
    }

    async fn delete(&mut self, key: String) -> Result<(), GuestError> {
        let (state, limits, call) = open(self)?;
        let done = state.delete(&key, limits);
        call.answer(done)
    }

    async fn compare_and_set(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
    ) -> Result<bool, GuestError> {
        let (state, limits, call) = open(self)?;
        let done = state.compare_and_set(&key, expected.as_deref(), value.map(Bytes::from), limits).await;
        call.answer(done)
    }

    async fn list(&mut self, prefix: String, after: Option<String>, limit: u32) -> Result<Vec<String>, GuestError> {
        let (state, _, call) = open(self)?;
        let found = state.list(&prefix, after.as_deref(), limit.min(MAX_LISTED) as usize).await;
        call.answer(found)
    }
}

/// Where it is kept why the state could not be reached.
struct Outage<'a>(&'a mut Option<String>);

fn open(guest: &mut Guest) -> Result<(&mut StateSession, &Limits, Outage<'_>), GuestError> {
    if let Some(recorder) = &guest.reach.recorder {
        recorder.state();
    }
    match &mut guest.call {
        Some(CurrentCall { state: Some(state), settings, unavailable, .. }) => {
            Ok((state, &settings.limits, Outage(unavailable)))
        }
        Some(CurrentCall { unavailable, .. }) => {
            Outage(unavailable).answer(Err(StateError::Unavailable("the host gave the call none".to_owned())))
        }
        None => Err(GuestError::Unavailable(NO_CALL.to_owned())),
    }
}

impl Outage<'_> {
    fn answer<T>(self, result: Result<T, StateError>) -> Result<T, GuestError> {
        result.map_err(|error| {
            let text = error.to_string();
            match error {
                StateError::BadKey { .. } => GuestError::InvalidKey(text),
                StateError::Limit { .. } | StateError::TooManyReads => GuestError::Limit(text),
                StateError::Unavailable(_) => {
                    self.0.get_or_insert_with(|| text.clone());
                    GuestError::Unavailable(text)
                }
            }
        })
    }
}
