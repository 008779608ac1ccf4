//! Reading a stream in strict order, for projections.
//!
//! A consumer without acknowledgements, in the server's memory, created where the reader stands. It is a tool and no
//! position: what it has sent counts for nothing until [`next`](Reader::next) has given it, and whenever something may be
//! missing (a gap in the consumer's own count, a new connection, a silent or forgotten request) it is thrown away and another
//! is made after the last message that was received. An outage shows as `Unavailable` and as nothing else.
//!
//! How far a reader of a rare subject has come, the consumer's heartbeats tell. Not a count of what is pending together with
//! the stream's last sequence: the two may come from different servers of a cluster, and then a message could be passed over
//! that the consumer's server has not got yet.
//!
//! A stream that is removed and made anew counts from 1 again, so a consumer after the last message would leave out what comes
//! before. A reader is of the stream that it began with, which the time of the stream's making tells, and reads no other.
//!
//! A message that async-nats cannot read breaks the connection each time (see [`rescue`](crate::rescue)). When it breaks
//! twice at the same place, the reader goes on by hand until it is past such a message.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tidemill_core::message::Message;
use tidemill_core::port::{BrokerError, ReadFrom, Reader, Recorded, Stretch};
use tokio::time::{Instant, timeout_at};

use crate::connection::Connection;
use crate::consumers;
use crate::error::unavailable;
use crate::provision;
use crate::puller::{Arrival, Puller};
use crate::rescue::is_readable;
use crate::source::subject_in;
use crate::stored::{self, Stored, Unparsed};
use crate::wire::{AckSubject, headers_in, parse_headers};

/// How long a call waits for the first message.
const FIRST: Duration = Duration::from_secs(1);
/// How often a consumer with nothing to send says how far it is.
const HEARTBEAT: Duration = Duration::from_millis(250);
/// After so long without a pull the server removes the consumer.
const INACTIVE: Duration = Duration::from_secs(30);
/// Most messages that are asked for at a time.
const MOST: usize = 1000;
/// So many breaks in a row without a message between them are more than bad luck.
const SUSPICIOUS: u32 = 2;
const LANE: usize = 0;

/// A message that was read by its sequence.
pub(crate) fn recorded(stored: Stored) -> Recorded {
    let Stored { subject, sequence, time, headers, payload } = stored;
    Recorded { sequence, stored: time, message: Message { subject: subject_in(&subject), headers, payload } }
}

/// One reading of a stream.
pub(crate) struct NatsReader {
    connection: Arc<Connection>,
    from: ReadFrom,
    /// When the stream was made; `None` until the first consumer is there.
    created: Option<SystemTime>,
    /// `None` after something may have been lost.
    consumer: Option<Consumer>,
    /// Received and not given: empty between calls unless one was cancelled.
    waiting: VecDeque<Recorded>,
    /// The last message that was received.
    received: u64,
    through: u64,
    last: u64,
    /// Breaks of the connection since a message came.
    breaks: u32,
}

struct Consumer {
    puller: Puller,
    /// Messages that came from it.
    count: u64,
}

// === impl NatsReader ===

impl NatsReader {
    pub(crate) async fn open(connection: Arc<Connection>, from: ReadFrom) -> Result<Self, BrokerError> {
        let after = from.after;
        let mut reader = Self {
            connection,
            from,
            created: None,
            consumer: None,
            waiting: VecDeque::new(),
            received: after,
            through: after,
            last: after,
            breaks: 0,
        };
        reader.consumer = Some(reader.create().await?);
        Ok(reader)
    }

    async fn create(&mut self) -> Result<Consumer, BrokerError> {
        let name = format!("tidemill-read-{:016x}", fastrand::u64(..));
        let stream = self.from.stream.to_string();
        let settings = consumers::reader(&name, &self.from.subjects, self.received, INACTIVE);
        consumers::create_reader(&self.connection, &stream, &settings).await?;
        // Behind it: a stream that is made anew from here on takes the consumer with it.
        self.recognize().await?;
        let puller = Puller::new(Arc::clone(&self.connection), vec![(stream, name)]).with_heartbeat(HEARTBEAT);
        Ok(Consumer { puller, count: 0 })
    }

    /// Refuses a stream that is not the one that was read so far.
    async fn recognize(&mut self) -> Result<(), BrokerError> {
        let stream = &self.from.stream;
        let standing = provision::standing(&self.connection, stream.as_str()).await?;
        let (last, created) = (standing.bounds.last, self.created.or(standing.created));
        if created != standing.created || last < self.received {
            return Err(BrokerError::Incompatible(format!(
                "the stream `{stream}` was read up to {}, and is another one now, which ends at {last}: it was removed and \
                 made anew",
                self.received
            )));
        }
        self.created = created;
        Ok(())
    }

    /// Waits for the first message, or until the consumer says that it is further, and takes what is there.
    async fn fill(&mut self, max: usize) -> Result<(), BrokerError> {
        let deadline = Instant::now() + FIRST;
        let before = self.through;
        let mut trouble = None;
        loop {
            self.drain();
            if !self.waiting.is_empty() || self.through > before {
                return self.ask_ahead(max).await;
            }
            if Instant::now() >= deadline {
                return trouble.map_or(Ok(()), Err);
            }
            if let Err(error) = self.go_on(max, deadline).await {
                // A new consumer may put it right. What cannot be put right so is said when there was time to try.
                self.consumer = None;
                trouble = Some(error);
                let pause = Instant::now() + Duration::from_millis(50);
                tokio::time::sleep_until(pause.min(deadline)).await;
            }
        }
    }

    /// While this stretch is folded the next one comes. What cannot be asked now is asked by the next call.
    async fn ask_ahead(&mut self, max: usize) -> Result<(), BrokerError> {
        let waiting = self.waiting.len();
        if let Some(consumer) = self.consumer.as_mut().filter(|consumer| !consumer.puller.is_lost()) {
            consumer.ask(max, waiting).await.ok();
        }
        Ok(())
    }

    /// One step: whatever is needed for the next message, and waiting for it.
    async fn go_on(&mut self, max: usize, deadline: Instant) -> Result<(), BrokerError> {
        if !self.connection.up(deadline).await {
            return Err(unavailable("the connection is lost"));
        }
        if self.consumer.as_ref().is_some_and(|consumer| consumer.puller.is_lost()) {
            self.consumer = None;
            self.breaks += 1;
        }
        if self.breaks >= SUSPICIOUS {
            self.recognize().await?;
            self.by_hand(max).await?;
            self.breaks = 0;
            return Ok(());
        }
        if self.consumer.is_none() {
            self.consumer = Some(self.create().await?);
        }
        let Some(consumer) = &mut self.consumer else { return Ok(()) };
        consumer.puller.check().await?;
        consumer.ask(max, 0).await?;
        match timeout_at(deadline, consumer.puller.next()).await {
            Ok(Ok(Some(arrival))) => self.receive(arrival),
            Ok(Ok(None)) => self.listen(),
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
        Ok(())
    }

    /// Takes what has come, without waiting.
    fn drain(&mut self) {
        while let Some(consumer) = &mut self.consumer
            && self.waiting.len() < 2 * MOST
            && let Some(message) = consumer.puller.ready()
        {
            match consumer.puller.take(message).now_or_never() {
                Some(Ok(Some(arrival))) => self.receive(arrival),
                Some(Ok(None)) => self.listen(),
                // It is gone, or nobody answers for it.
                Some(Err(_)) | None => self.consumer = None,
            }
        }
    }

    fn receive(&mut self, arrival: Arrival) {
        let message = arrival.message;
        let Some(ack) = message.reply.as_deref().and_then(AckSubject::parse) else { return };
        let Some(consumer) = &mut self.consumer else { return };
        if ack.consumer_sequence != consumer.count + 1 || ack.sequence <= self.received {
            tracing::debug!(stream = %self.from.stream, sequence = ack.sequence, "a message is missing; reading anew");
            self.consumer = None;
            return;
        }
        consumer.count += 1;
        self.breaks = 0;
        self.received = ack.sequence;
        self.last = self.last.max(ack.sequence + ack.pending);
        self.waiting.push_back(Recorded {
            sequence: ack.sequence,
            stored: ack.stored,
            message: Message {
                subject: subject_in(&message.subject),
                headers: headers_in(message.headers.as_ref()),
                payload: message.payload,
            },
        });
    }

    /// A heartbeat may say that the consumer has passed over messages that do not fit.
    fn listen(&mut self) {
        let Some(consumer) = &self.consumer else { return };
        let standing = consumer.puller.standing(LANE);
        if standing.consumer > consumer.count {
            tracing::debug!(stream = %self.from.stream, received = self.received, "a message was lost; reading anew");
            self.consumer = None;
        } else if standing.consumer == consumer.count && standing.stream > self.received {
            // A new consumer may begin behind it.
            self.received = standing.stream;
            self.last = self.last.max(standing.stream);
            if self.waiting.is_empty() {
                self.through = self.through.max(standing.stream);
            }
        }
    }

    /// Reads on through the JSON API until a message that async-nats cannot read is behind.
    async fn by_hand(&mut self, max: usize) -> Result<(), BrokerError> {
        let (stream, subjects) = (self.from.stream.as_str(), self.subjects());
        while self.waiting.len() < max {
            let next = stored::next_unparsed(&self.connection, stream, &subjects, self.received).await?;
            let Some(Unparsed { subject, sequence, time, headers, payload }) = next else { break };
            let readable = is_readable(&headers);
            let headers = if headers.is_empty() { Default::default() } else { parse_headers(&headers) };
            let message = Message { subject: subject_in(&subject), headers, payload };
            self.received = sequence;
            self.last = self.last.max(sequence);
            self.waiting.push_back(Recorded { sequence, stored: time, message });
            if !readable {
                tracing::warn!(
                    stream,
                    sequence,
                    "an event has headers that the NATS client cannot read; it was fetched another way"
                );
                break;
            }
        }
        Ok(())
    }

    fn subjects(&self) -> Vec<String> {
        if self.from.subjects.is_empty() {
            return vec![">".to_owned()];
        }
        self.from.subjects.iter().map(ToString::to_string).collect()
    }
}

#[async_trait]
impl Reader for NatsReader {
    async fn next(&mut self, max: usize) -> Result<Stretch, BrokerError> {
        if max > 0 {
            self.fill(max).await?;
        }
        let count = self.waiting.len().min(max);
        let messages: Vec<Recorded> = self.waiting.drain(..count).collect();
        if let Some(last) = messages.last() {
            self.through = self.through.max(last.sequence);
        }
        if self.waiting.is_empty() {
            // What was passed over after the last message.
            self.through = self.through.max(self.received);
        }
        self.last = self.last.max(self.through);
        Ok(Stretch { messages, through: self.through, last: self.last })
    }
}

// === impl Consumer ===

impl Consumer {
    /// Asks for as much as is missing, `waiting` being here already. Not for every single message.
    async fn ask(&mut self, max: usize, waiting: usize) -> Result<(), BrokerError> {
        let target = (2 * max).min(MOST);
        let outstanding = self.puller.outstanding(LANE);
        let missing = target.saturating_sub(outstanding + waiting);
        if missing > 0 && missing >= outstanding {
            self.puller.ask(LANE, missing).await?;
        }
        Ok(())
    }
}
