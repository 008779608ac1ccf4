//! Time, identity and randomness from the host.

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

/// Random bytes, at most 4096; cryptographically strong.
pub fn random(length: u32) -> Vec<u8> {
    imports::random(length)
}
