//! The marker: the record that a delivery was committed, with the emits that it wanted.
//!
//! It is written in the same atomic batch as the state, and read when the delivery comes again: then the guest is not
//! called, and the recorded emits are published under the same ids. The encoding is our own and begins with a version:
//! lengths as LEB128, texts as UTF-8. JSON would have to escape payloads, which are bytes.
//!
//! ```text
//! version, parts, commit id (16), emits, then for each: id, subject, headers (name, value)*, payload
//! ```

use bytes::Bytes;
use tidemill_core::message::{Headers, Message};
use tidemill_core::port::Outgoing;
use tidemill_core::subject::Subject;

const VERSION: u8 = 1;
/// Version, number of parts, commit id.
const HEAD: usize = 1 + 1 + 16;

/// Names one call of commit, so that the caller can tell its own marker from one of an earlier attempt.
pub(crate) type CommitId = [u8; 16];

/// What a marker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) commit: CommitId,
    pub(crate) emits: Vec<Outgoing>,
}

/// Why stored bytes are not a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MarkerError {
    #[error("it has version {0}, expected {VERSION}; a newer Tidemill wrote it")]
    Version(u8),
    #[error("it is cut off or damaged")]
    Damaged,
}

impl Marker {
    /// The marker in as many parts as a message of `part_size` bytes needs; at least one. `None` if that is more than
    /// 255.
    pub(crate) fn encode(commit: CommitId, emits: &[Outgoing], part_size: usize) -> Option<Vec<Bytes>> {
        let mut bytes = Vec::with_capacity(HEAD + 8 + emits.len() * 512);
        bytes.push(VERSION);
        bytes.push(1);
        bytes.extend_from_slice(&commit);
        put_number(&mut bytes, emits.len());
        for Outgoing { id, message } in emits {
            put_bytes(&mut bytes, id.as_bytes());
            put_bytes(&mut bytes, message.subject.as_str().as_bytes());
            put_number(&mut bytes, message.headers.len());
            for (name, value) in message.headers.iter() {
                put_bytes(&mut bytes, name.as_bytes());
                put_bytes(&mut bytes, value.as_bytes());
            }
            put_bytes(&mut bytes, &message.payload);
        }
        bytes[1] = u8::try_from(bytes.len().div_ceil(part_size.max(HEAD))).ok()?;
        let whole = Bytes::from(bytes);
        let parts = (0..whole.len()).step_by(part_size.max(HEAD));
        Some(parts.map(|start| whole.slice(start..(start + part_size.max(HEAD)).min(whole.len()))).collect())
    }

    /// How many parts the marker has whose first part this is.
    pub(crate) fn parts(first: &[u8]) -> Result<usize, MarkerError> {
        match first {
            [VERSION, parts, ..] if *parts > 0 => Ok(usize::from(*parts)),
            [version, ..] if *version != VERSION => Err(MarkerError::Version(*version)),
            _ => Err(MarkerError::Damaged),
        }
    }

    /// Reads all parts, put together.
    pub(crate) fn decode(whole: &Bytes) -> Result<Self, MarkerError> {
        Self::parts(whole)?;
        let mut reader = Reader { whole, at: 2 };
        let commit = reader.take(16)?.as_ref().try_into().map_err(|_| MarkerError::Damaged)?;
        let count = reader.number()?;
        let mut emits = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            let id = reader.text()?;
            let subject = Subject::try_new(&reader.text()?).map_err(|_| MarkerError::Damaged)?;
            let mut headers = Headers::new();
            for _ in 0..reader.number()? {
                let name = reader.text()?;
                headers.append(name, reader.text()?);
            }
            let payload = reader.bytes()?;
            emits.push(Outgoing { id, message: Message { subject, headers, payload } });
        }
        Ok(Self { commit, emits })
    }
}

fn put_number(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len());
    out.extend_from_slice(bytes);
}

struct Reader<'a> {
    whole: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, length: usize) -> Result<Bytes, MarkerError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.whole.len()).ok_or(MarkerError::Damaged)?;
        let taken = self.whole.slice(self.at..end);
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self) -> Result<usize, MarkerError> {
        let mut number = 0usize;
        for shift in (0..28).step_by(7) {
            let byte = self.take(1)?[0];
            number |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(MarkerError::Damaged)
    }

    fn bytes(&mut self) -> Result<Bytes, MarkerError> {
        let length = self.number()?;
        self.take(length)
    }

    fn text(&mut self) -> Result<String, MarkerError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| MarkerError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emits() -> Vec<Outgoing> {
        let message = |payload: &'static [u8]| Message {
            subject: Subject::try_new("fraud.flagged").unwrap(),
            headers: [("ce-id", "1"), ("ce-type", "Größe")].into_iter().collect(),
            payload: Bytes::from_static(payload),
        };
        vec![
            Outgoing { id: "a".to_owned(), message: message(&[0, 255, 13, 10]) },
            Outgoing { id: "b".to_owned(), message: message(&[7; 300]) },
        ]
    }

    #[test]
    fn a_marker_comes_back_whole_from_one_part_and_from_many() {
        for part_size in [1 << 20, 64] {
            let parts = Marker::encode([9; 16], &emits(), part_size).unwrap();
            assert_eq!(Marker::parts(&parts[0]), Ok(parts.len()));
            assert!(parts.iter().all(|part| part.len() <= part_size));
            let whole = Bytes::from(parts.concat());
            assert_eq!(Marker::decode(&whole), Ok(Marker { commit: [9; 16], emits: emits() }));
        }
    }

    #[test]
    fn what_is_no_marker_is_refused_and_never_panics() {
        let whole = Bytes::from(Marker::encode([9; 16], &emits(), 1 << 20).unwrap().concat());
        for length in 0..whole.len() {
            assert!(Marker::decode(&whole.slice(..length)).is_err(), "{length}");
        }
        assert_eq!(Marker::decode(&Bytes::from_static(&[2, 1])), Err(MarkerError::Version(2)));
    }
}
