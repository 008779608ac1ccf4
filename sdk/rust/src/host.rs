//! Time, identity and randomness from the host.

use std::time::Duration;

use crate::imports;

/// The current time, RFC 3339 in UTC with milliseconds.
pub fn now() -> String {
    imports::now()
}

/// An id that is the same each time this event is handled by this route: a UUIDv5 of route, stream, sequence and `name`.
/// Use it where a repeated call must make the same thing again.
pub fn stable_id(name: &str) -> String {
    imports::stable_id(name)
}

/// What is left of the call's time limit, in whole milliseconds; zero while the plugin starts.
///
/// It is meant for the timeouts of what may be slow. A request over HTTP that may take no longer than this ends in an error that
/// the plugin can tell, and not in an interruption.
pub fn time_left() -> Duration {
    imports::time_left()
}

/// Random bytes, at most 4096; cryptographically strong.
pub fn random(length: u32) -> Vec<u8> {
    imports::random(length)
}
