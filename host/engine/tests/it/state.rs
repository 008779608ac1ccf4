//! A guest and its keyed state.

use tidemill_core::failure::FailureKind;

use crate::guest::{STATE, answering};
use crate::rig::{call, load};

#[tokio::test]
async fn state_that_cannot_be_reached_is_the_hosts_failure_whatever_the_guest_returns() {
    let read = "(call $state_get (i32.const 1000) (i32.const 1) (i32.const 1100))";
    for end in ["(call $ok)", "(call $reject (i32.const 1000) (i32.const 1))", "unreachable"] {
        let plugin = load(&answering(&[STATE], &format!("{read} {end}"))).await;
        let failure = call(&plugin, "{}").await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unavailable, "{end}");
    }
}
