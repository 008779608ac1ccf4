//! How rows are written: numbers as LEB128, texts with their length, in a fixed order.
//!
//! By hand and not with a serialisation crate: six small rows, one of them on the hot path, and a format that must stay
//! readable for as long as the number in [`directory`](crate::directory) says so.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tidemill_core::message::{Headers, Message};
use tidemill_core::name::{RouteName, StreamName};
use tidemill_core::port::{BrokerError, Origin};
use tidemill_core::subject::{Subject, SubjectPattern};

/// A row that does not read as what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the log is damaged: {0} cannot be read; restore the directory from a backup, or move it away to begin anew")]
pub(crate) struct Damaged(pub(crate) &'static str);

impl From<Damaged> for BrokerError {
    fn from(error: Damaged) -> Self {
        crate::log::unavailable(error)
    }
}

type Read<T> = Result<T, Damaged>;

/// Writes a row from front to back.
#[derive(Default)]
pub(crate) struct RowWriter(Vec<u8>);

/// Reads a row from front to back.
pub(crate) struct RowReader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

/// A message in its stream.
pub(crate) struct MessageRow {
    pub(crate) stored: SystemTime,
    pub(crate) message: Message,
}

/// A delivery that comes back apart from its stream. It carries its message, so that the stream may forget the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReturningRow {
    pub(crate) attempt: u32,
    pub(crate) redriven: u32,
    /// Wall time; monotonic clocks do not survive a restart.
    pub(crate) due: SystemTime,
    pub(crate) first_failure: Option<SystemTime>,
    pub(crate) stored: SystemTime,
    pub(crate) message: Message,
}

/// A dead letter.
pub(crate) struct DeadLetterRow {
    pub(crate) route: RouteName,
    pub(crate) stored: SystemTime,
    pub(crate) message: Message,
}

// === impl RowWriter ===

impl RowWriter {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn number(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// The last field of a row.
    pub(crate) fn rest(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn time(&mut self, time: SystemTime) -> &mut Self {
        self.number(nanos(time))
    }

    /// `None` as 0, else one more than the value.
    pub(crate) fn maybe(&mut self, value: Option<u64>) -> &mut Self {
        self.number(value.map_or(0, |value| value.saturating_add(1)))
    }

    /// Subject, headers and payload: the last fields of a row.
    fn message(&mut self, message: &Message) -> &mut Self {
        self.text(message.subject.as_str()).number(message.headers.len() as u64);
        for (name, value) in message.headers.iter() {
            self.text(name).text(value);
        }
        self.rest(&message.payload)
    }
}

// === impl RowReader ===

impl<'a> RowReader<'a> {
    /// `what` names the row in an error.
    pub(crate) fn new(row: &'a [u8], what: &'static str) -> Self {
        Self { rest: row, what }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn number(&mut self) -> Read<u64> {
        let mut value = 0_u64;
        for (index, byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(self.damaged())
    }

    pub(crate) fn small_number(&mut self) -> Read<u32> {
        u32::try_from(self.number()?).map_err(|_| self.damaged())
    }

    pub(crate) fn text(&mut self) -> Read<&'a str> {
        let length = usize::try_from(self.number()?).map_err(|_| self.damaged())?;
        let (text, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.damaged())?;
        self.rest = rest;
        std::str::from_utf8(text).map_err(|_| self.damaged())
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(crate) fn time(&mut self) -> Read<SystemTime> {
        Ok(from_nanos(self.number()?))
    }

    pub(crate) fn maybe(&mut self) -> Read<Option<u64>> {
        Ok(self.number()?.checked_sub(1))
    }

    pub(crate) fn pattern(&mut self) -> Read<SubjectPattern> {
        SubjectPattern::try_new(self.text()?).map_err(|_| self.damaged())
    }

    pub(crate) fn stream(&mut self) -> Read<StreamName> {
        StreamName::try_new(self.text()?).map_err(|_| self.damaged())
    }

    fn message(&mut self) -> Read<Message> {
        let subject = Subject::try_new(self.text()?).map_err(|_| self.damaged())?;
        let count = self.small_number()?;
        let mut headers = Headers::with_capacity(count.min(64) as usize);
        for _ in 0..count {
            headers.append(self.text()?, self.text()?);
        }
        Ok(Message { subject, headers, payload: Bytes::copy_from_slice(self.rest()) })
    }

    pub(crate) fn damaged(&self) -> Damaged {
        Damaged(self.what)
    }
}

// === impl MessageRow ===

impl MessageRow {
    /// Encodes into `row`, whatever that held before.
    pub(crate) fn encode<'a>(row: &'a mut RowWriter, stored: SystemTime, message: &Message) -> &'a [u8] {
        row.0.clear();
        &row.time(stored).message(message).0
    }

    pub(crate) fn decode(row: &[u8]) -> Read<Self> {
        let mut row = RowReader::new(row, "a message");
        Ok(Self { stored: row.time()?, message: row.message()? })
    }

    /// When it was stored, without reading the rest.
    pub(crate) fn stored(row: &[u8]) -> Read<SystemTime> {
        RowReader::new(row, "a message").time()
    }

    /// Its subject, without reading the rest.
    pub(crate) fn subject(row: &[u8]) -> Read<&str> {
        let mut row = RowReader::new(row, "a message");
        row.time()?;
        row.text()
    }
}

// === impl ReturningRow ===

impl ReturningRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = RowWriter::with_capacity(size_of(&self.message) + 32);
        row.number(u64::from(self.attempt)).number(u64::from(self.redriven)).time(self.due);
        row.maybe(self.first_failure.map(nanos)).time(self.stored).message(&self.message);
        row.finish()
    }

    pub(crate) fn decode(row: &[u8]) -> Read<Self> {
        let mut row = RowReader::new(row, "a parked delivery");
        Ok(Self {
            attempt: row.small_number()?,
            redriven: row.small_number()?,
            due: row.time()?,
            first_failure: row.maybe()?.map(from_nanos),
            stored: row.time()?,
            message: row.message()?,
        })
    }
}

// === impl DeadLetterRow ===

impl DeadLetterRow {
    pub(crate) fn encode(&self, origin: &Origin) -> Vec<u8> {
        let mut row = RowWriter::with_capacity(size_of(&self.message) + 160);
        row.text(self.route.as_str()).text(origin.stream.as_str()).number(origin.sequence);
        row.time(self.stored).message(&self.message);
        row.finish()
    }

    pub(crate) fn decode(row: &[u8]) -> Read<Self> {
        let mut row = RowReader::new(row, "a dead letter");
        let route = RouteName::try_new(row.text()?).map_err(|_| row.damaged())?;
        row.text()?;
        row.number()?;
        Ok(Self { route, stored: row.time()?, message: row.message()? })
    }

    /// The name of its route, without reading the rest.
    pub(crate) fn route(row: &[u8]) -> Read<&str> {
        RowReader::new(row, "a dead letter").text()
    }
}

/// About how many bytes a message takes in the log: exact but for the lengths of its parts.
pub(crate) fn size_of(message: &Message) -> usize {
    let headers: usize = message.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    message.payload.len() + message.subject.as_str().len() + headers + 16
}

pub(crate) fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn from_nanos(nanos: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            subject: Subject::try_new("orders.created").unwrap(),
            headers: [("ce-id", "1"), ("twice", "a"), ("twice", "")].into_iter().collect(),
            payload: Bytes::from_static(&[0, 255, 7]),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let stored = from_nanos(1_700_000_000_123_456_789);
        let read = MessageRow::decode(MessageRow::encode(&mut RowWriter::default(), stored, &message())).unwrap();
        assert_eq!((read.stored, read.message), (stored, message()));

        let returning = ReturningRow {
            attempt: 3,
            redriven: 1,
            due: stored + Duration::from_secs(9),
            first_failure: None,
            stored,
            message: message(),
        };
        assert_eq!(ReturningRow::decode(&returning.encode()).unwrap(), returning);
    }

    #[test]
    fn numbers_of_every_size() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut row = RowWriter::default();
            row.number(value).text("é");
            let row = row.finish();
            let mut reader = RowReader::new(&row, "a test");
            assert_eq!((reader.number().unwrap(), reader.text().unwrap()), (value, "é"));
            assert!(reader.is_at_end());
        }
    }

    #[test]
    fn a_damaged_row_is_an_error_wherever_it_ends() {
        let mut row = RowWriter::default();
        let row = MessageRow::encode(&mut row, SystemTime::now(), &message());
        for length in 0..row.len() - 3 {
            assert!(MessageRow::decode(&row[..length]).is_err(), "cut at {length}");
        }
        assert!(RowReader::new(&[0xff; 11], "a test").number().is_err());
        assert!(RowReader::new(&[2, 0xc3, 0x28], "a test").text().is_err());
    }
}
