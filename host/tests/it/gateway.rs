//! The gateway as a host has it: what it says of the host's health, and where its answers come from.

mod health;
mod metrics;
mod registration;

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::Answer;

/// Asks until the answer is as wanted.
fn until(what: &str, mut asked: impl FnMut() -> Answer, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = asked();
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "not {what}: {answer:?}");
        thread::sleep(Duration::from_millis(20));
    }
}
