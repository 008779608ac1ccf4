//! The keys of the tables. Numbers are big-endian, so that the order of the bytes is the order of the numbers; a name
//! that something follows has its length in front, so that no name is another's prefix.

use tidemill_core::name::{PluginName, RouteName, StreamName};
use tidemill_core::port::Origin;
use tidemill_core::subject::{MAX_SUBJECT_BYTES, Subject};

/// Where keys of one prefix end: above every key that begins with it. Names and keys hold no byte 0xff, being UTF-8.
const BEYOND: u8 = 0xff;

/// The longest message id, in bytes. Ids are keys; a kilobyte is far more than any scheme of ids needs.
pub(crate) const MAX_ID_BYTES: usize = MAX_SUBJECT_BYTES;

pub(crate) const REVISION: &[u8] = b"counter/revision";
pub(crate) const DEAD_LETTER: &[u8] = b"counter/dead-letter";
pub(crate) const ID_GENERATION: &[u8] = b"counter/id-generation";
pub(crate) const STREAMS: &[u8] = b"stream/";

pub(crate) fn sequence(sequence: u64) -> [u8; 8] {
    sequence.to_be_bytes()
}

/// The number in a key that is nothing else.
pub(crate) fn read_sequence(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

/// Streams are kept by number: their order is the order of their tables.
pub(crate) fn stream(index: usize) -> Vec<u8> {
    [STREAMS, &(index as u64).to_be_bytes()].concat()
}

pub(crate) fn extent(index: usize) -> Vec<u8> {
    [b"extent/".as_slice(), &(index as u64).to_be_bytes()].concat()
}

pub(crate) fn message_id(stream: usize, id: &str) -> Vec<u8> {
    [(stream as u32).to_be_bytes().as_slice(), id.as_bytes()].concat()
}

/// Which dead letter an event has that was read without a route.
pub(crate) fn grave(record: &Subject) -> Vec<u8> {
    [b"grave/".as_slice(), record.as_str().as_bytes()].concat()
}

pub(crate) fn route(name: &RouteName) -> Vec<u8> {
    name.as_str().as_bytes().to_vec()
}

/// All deliveries of a route that come back apart from their stream.
pub(crate) fn returning_of(route: &RouteName) -> Vec<u8> {
    with_length(route.as_str())
}

pub(crate) fn returning(route: &RouteName, origin: &Origin) -> Vec<u8> {
    let mut key = returning_of(route);
    key.extend(with_length(origin.stream.as_str()));
    key.extend(sequence(origin.sequence));
    key
}

/// The origin in a key of [`returning`], given the route's prefix.
pub(crate) fn read_returning(key: &[u8], prefix: &[u8]) -> Option<Origin> {
    let rest = key.strip_prefix(prefix)?;
    let (length, rest) = rest.split_first()?;
    let (stream, number) = rest.split_at_checked(usize::from(*length))?;
    let stream = StreamName::try_new(std::str::from_utf8(stream).ok()?).ok()?;
    Some(Origin { stream, sequence: read_sequence(number)? })
}

pub(crate) fn state(space: &PluginName, key: &str) -> Vec<u8> {
    let mut full = with_length(space.as_str());
    full.extend_from_slice(key.as_bytes());
    full
}

/// The key above all keys that begin with `prefix`.
pub(crate) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    // A sequence may begin with 0xff bytes, but nobody lives to publish that many messages.
    [prefix, &[BEYOND]].concat()
}

/// A name has at most 63 bytes.
fn with_length(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 16);
    key.push(name.len() as u8);
    key.extend_from_slice(name.as_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returning_key_keeps_its_origin_and_its_route() {
        let (route, other) = (RouteName::try_new("a").unwrap(), RouteName::try_new("ab").unwrap());
        let origin = Origin { stream: StreamName::try_new("ORDERS").unwrap(), sequence: 258 };
        let key = returning(&route, &origin);
        assert_eq!(read_returning(&key, &returning_of(&route)), Some(origin));
        assert_eq!(read_returning(&key, &returning_of(&other)), None);
        assert!(key < after_prefix(&returning_of(&route)));
    }
}
