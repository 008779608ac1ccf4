//! Getting an event past the client that cannot read it.
//!
//! NATS does not look into headers: any client may store a header block that is not UTF-8, or not headers at all.
//! async-nats closes the connection when it meets one, the server delivers it again after `ack_wait`, and so on for ever:
//! one such event would cut off every route of the host, twice a minute, and never be settled.
//!
//! So when the connection has broken repeatedly under a route, the messages that its consumer has delivered and not seen
//! settled are fetched through the JSON API, which carries headers in base64. What async-nats cannot read is handed out
//! from there, with its headers read as far as they can be; the host decodes it or dead-letters it like any other. The
//! acknowledgement goes by the sequence, so a subject made by hand settles it.

use std::collections::{HashMap, VecDeque};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use async_nats::HeaderName;
use tidemill_core::port::Receipt;
use tidemill_core::subject::SubjectPattern;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::consumers;
use crate::error::NatsError;
use crate::stored::{self, Unparsed};

/// So many breaks within [`WINDOW`] are more than bad luck. A server that restarts makes one.
const SUSPICIOUS: usize = 2;
const WINDOW: Duration = Duration::from_secs(180);
/// Whoever was handed an event and lost it gets it again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(600);
/// Most messages that are looked at: those next to the acknowledged ones and the latest.
const MOST: u64 = 5_000;

/// Counts how often the connection broke while messages were awaited, and remembers what was rescued.
#[derive(Default)]
pub(crate) struct Rescue {
    breaks: VecDeque<Instant>,
    /// When each was handed out. It may be settled since, which cannot be seen from outside.
    rescued: HashMap<u64, Instant>,
}

/// A message that async-nats cannot read, and the receipt that settles it.
pub(crate) struct Rescued {
    pub(crate) message: Unparsed,
    pub(crate) receipt: Receipt,
}

// === impl Rescue ===

impl Rescue {
    /// Notes a break; says whether it is time to look.
    pub(crate) fn suspicious(&mut self) -> bool {
        let now = Instant::now();
        self.breaks.push_back(now);
        while self.breaks.front().is_some_and(|first| now.duration_since(*first) > WINDOW) {
            self.breaks.pop_front();
        }
        self.breaks.len() >= SUSPICIOUS
    }

    /// The unreadable messages among those that the consumer has delivered and not seen settled.
    pub(crate) async fn look(
        &mut self,
        connection: &Connection,
        stream: &str,
        consumer: &str,
        subjects: &[SubjectPattern],
    ) -> Result<Vec<Rescued>, NatsError> {
        let Some(info) = consumers::info(connection, stream, consumer).await? else { return Ok(Vec::new()) };
        let (first, last) = (info.ack_floor.stream_seq + 1, info.delivered.stream_seq);
        let early = first..=last.min(first.saturating_add(MOST));
        let late = (*early.end() + 1).max(last.saturating_sub(MOST))..=last;
        let mut found = Vec::new();
        self.rescued.retain(|_, handed_out| handed_out.elapsed() < AGAIN_AFTER);
        for message in stored::unparsed(connection, stream, early.chain(late).collect()).await? {
            let ours = subjects.is_empty() || subjects.iter().any(|pattern| pattern.matches(&message.subject));
            if ours && !is_readable(&message.headers) && !self.rescued.contains_key(&message.sequence) {
                self.rescued.insert(message.sequence, Instant::now());
                tracing::warn!(
                    stream,
                    sequence = message.sequence,
                    subject = message.subject,
                    "an event has headers that the NATS client cannot read; it was fetched another way"
                );
                let receipt = Receipt::new(receipt(stream, consumer, &message));
                found.push(Rescued { message, receipt });
            }
        }
        Ok(found)
    }
}

fn receipt(stream: &str, consumer: &str, message: &Unparsed) -> String {
    let nanoseconds = message.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("$JS.ACK.{stream}.{consumer}.1.{}.1.{nanoseconds}.0", message.sequence)
}

/// Whether async-nats takes this header block; the same rules as its parser.
pub(crate) fn is_readable(raw: &[u8]) -> bool {
    if raw.is_empty() {
        return true;
    }
    let Ok(text) = std::str::from_utf8(raw) else { return false };
    let mut lines = text.lines();
    let Some(status) = lines.next().and_then(|line| line.strip_prefix("NATS/1.0")).map(str::trim) else { return false };
    let status = status.split(' ').next().unwrap_or_default();
    let status_is_readable = status.is_empty() || async_nats::StatusCode::from_str(status).is_ok();
    let mut continues = false;
    status_is_readable
        && lines.filter(|line| !line.is_empty()).all(|line| {
            if continues && line.starts_with(char::is_whitespace) {
                return true;
            }
            continues = true;
            line.split_once(':').is_some_and(|(name, _)| HeaderName::from_str(name).is_ok())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_cannot_read_is_told_apart() {
        for readable in
            [&b""[..], b"NATS/1.0\r\nce-id: 1\r\n\r\n", b"NATS/1.0 503\r\n\r\n", b"NATS/1.0\r\na: b\r\n more\r\n\r\n"]
        {
            assert!(is_readable(readable), "{}", readable.escape_ascii());
        }
        for unreadable in [
            &b"NATS/1.0\r\nname: Gr\xf6\xdfe\r\n\r\n"[..],
            b"NATS/1.0\r\nno colon\r\n\r\n",
            b"NATS/1.0\r\nbad name: x\r\n\r\n",
            b"NATS/1.0 what\r\n\r\n",
            b"HTTP/1.1 200\r\n\r\n",
        ] {
            assert!(!is_readable(unreadable), "{}", unreadable.escape_ascii());
        }
    }
}
