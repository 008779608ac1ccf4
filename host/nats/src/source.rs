//! The input of one route: its own consumer and what comes back from the retry stream, as one flow of deliveries.
//!
//! Never more messages are in memory than the last `pull` asked for. The retry stream gets a small share of the credits,
//! which doubles while retries come and falls back when none do; the rest is for new events. (A route with one event in
//! flight cannot share a single credit: it may hold one more event in memory, which is not handed out.)

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tidemill_core::config::RouteConfig;
use tidemill_core::message::Message;
use tidemill_core::name::StreamName;
use tidemill_core::port::{BrokerError, Delivery, Origin, Receipt, Source};
use tidemill_core::subject::{MAX_SUBJECT_BYTES, Subject};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::connection::{Connection, Patience};
use crate::dead_letters::{Burial, DeadLetters, Owner};
use crate::error::unavailable;
use crate::puller::{Arrival, Puller};
use crate::repack;
use crate::rescue::{Rescue, Rescued};
use crate::retry::{self, Carried};
use crate::subjects;
use crate::wire::{AckSubject, Outbound, ack_of, headers_in, parse_headers, retry_receipt};

/// How long a pull waits for its first delivery.
const FIRST: Duration = Duration::from_secs(1);
/// Retry delays above this are parked. Below a third of `ack_wait`, so that waiting in the host costs no heartbeat.
const HOLD_LIMIT: Duration = Duration::from_secs(10);
/// So often an event may be delivered without a result before each further delivery counts as an attempt.
const INNOCENT_DELIVERIES: u32 = 50;
const MAIN: usize = 0;
const RETRY: usize = 1;

/// A route's input on JetStream.
pub(crate) struct NatsSource {
    connection: Arc<Connection>,
    dead_letters: Arc<DeadLetters>,
    route: RouteConfig,
    ack_wait: Duration,
    /// Where the route's dead letters are stored.
    dead_letter_stream: String,
    intake: Mutex<Intake>,
}

struct Intake {
    puller: Puller,
    /// Taken from the server and not handed out yet: empty between pulls, unless a pull was cancelled.
    waiting: VecDeque<Waiting>,
    /// Credits of the retry stream.
    retry_share: usize,
    last_pull: Instant,
    rescue: Rescue,
}

struct Waiting {
    delivery: Delivery,
    /// Delivered before, so it may stand elsewhere already; with its sequence if it came from the retry stream.
    doubtful: Option<Option<u64>>,
}

// === impl NatsSource ===

impl NatsSource {
    pub(crate) fn new(
        connection: Arc<Connection>,
        dead_letters: Arc<DeadLetters>,
        route: RouteConfig,
        ack_wait: Duration,
        dead_letter_stream: String,
    ) -> Self {
        let consumers = vec![
            (route.stream.to_string(), subjects::consumer(&route.name)),
            (subjects::RETRY_STREAM.to_owned(), subjects::retry_consumer(&route.name)),
        ];
        let puller = Puller::new(Arc::clone(&connection), consumers);
        let intake = Intake {
            puller,
            waiting: VecDeque::new(),
            retry_share: 1,
            last_pull: Instant::now(),
            rescue: Rescue::default(),
        };
        Self { connection, dead_letters, route, ack_wait, dead_letter_stream, intake: Mutex::new(intake) }
    }

    /// Waits for the first message, then takes what is there.
    async fn fill(&self, intake: &mut Intake, max: usize) -> Result<(), BrokerError> {
        let deadline = Instant::now() + FIRST;
        while intake.waiting.is_empty() {
            if !self.connection.up(deadline).await {
                return Err(unavailable("the connection is lost"));
            }
            if intake.puller.check().await? && intake.rescue.suspicious() {
                self.rescue(intake).await?;
                continue;
            }
            intake.ask(max).await?;
            match timeout_at(deadline, intake.puller.next()).await {
                Ok(Ok(Some(arrival))) => self.receive(intake, arrival).await?,
                Ok(Ok(None)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Ok(()),
            }
        }
        while intake.waiting.len() < max {
            let Some(message) = intake.puller.ready() else { break };
            if let Some(arrival) = intake.puller.take(message).await? {
                self.receive(intake, arrival).await?;
            }
        }
        Ok(())
    }

    async fn receive(&self, intake: &mut Intake, arrival: Arrival) -> Result<(), BrokerError> {
        let Arrival { lane, message } = arrival;
        let reply = message.reply.as_deref().unwrap_or_default();
        let Some(ack) = AckSubject::parse(reply) else { return Ok(()) };
        let delivered_before = ack.delivered > 1;
        if lane == MAIN {
            let delivery = first_hand(&message, ack, Receipt::new(reply), &self.route.stream);
            intake.waiting.push_back(Waiting { delivery, doubtful: delivered_before.then_some(None) });
            return Ok(());
        }
        let own = ack.sequence;
        let headers = headers_in(message.headers.as_ref());
        let original = repack::unpack(&self.connection, &headers, message.payload.clone()).await?;
        let Some(carried) = Carried::read(&headers, original) else {
            tracing::error!(
                route = %self.route.name, subject = message.subject.as_str(), sequence = own,
                "a message in the retry stream was not written by Tidemill; it is left out"
            );
            return self.connection.send(reply, Bytes::from_static(b"+TERM not written by Tidemill")).await;
        };
        let delivery = Delivery {
            message: carried.message,
            origin: carried.origin,
            attempt: attempt(carried.attempt, ack.delivered),
            // A redriven event may have been committed by a host that died before it removed it from the retry stream.
            redelivered: true,
            stored: carried.stored,
            first_failure: carried.first_failure,
            redriven: carried.redriven,
            receipt: retry_receipt(reply, carried.stored),
        };
        intake.waiting.push_back(Waiting { delivery, doubtful: delivered_before.then_some(Some(own)) });
        intake.retry_share = (intake.retry_share * 2).min(self.route.max_in_flight.div_ceil(4));
        Ok(())
    }

    /// Fetches what breaks the connection whenever it is delivered.
    async fn rescue(&self, intake: &mut Intake) -> Result<(), BrokerError> {
        let consumer = subjects::consumer(&self.route.name);
        let (stream, patterns) = (&self.route.stream, &self.route.subjects);
        for Rescued { message, receipt } in
            intake.rescue.look(&self.connection, stream.as_str(), &consumer, patterns).await?
        {
            let delivery = Delivery {
                message: Message {
                    subject: subject_in(&message.subject),
                    headers: parse_headers(&message.headers),
                    payload: message.payload,
                },
                origin: Origin { stream: stream.clone(), sequence: message.sequence },
                attempt: 1,
                redelivered: true,
                stored: message.time,
                first_failure: None,
                redriven: 0,
                receipt,
            };
            intake.waiting.push_back(Waiting { delivery, doubtful: Some(None) });
        }
        Ok(())
    }

    /// Lets go what stands elsewhere already: the host died after parking it and before acknowledging.
    async fn drop_superseded(&self, intake: &mut Intake) -> Result<(), BrokerError> {
        if intake.waiting.iter().all(|waiting| waiting.doubtful.is_none()) {
            return Ok(());
        }
        let doubtful: Vec<_> =
            intake.waiting.iter().filter_map(|waiting| Some((&waiting.delivery, waiting.doubtful?))).collect();
        let mut superseded = retry::superseded(&self.connection, &self.route.name, &doubtful).await?.into_iter();
        let mut kept = VecDeque::with_capacity(intake.waiting.len());
        for mut waiting in intake.waiting.drain(..) {
            if waiting.doubtful.take().is_some() && superseded.next() == Some(true) {
                tracing::debug!(route = %self.route.name, origin = %waiting.delivery.origin, "it waits for a retry already");
                self.connection.send(ack_of(&waiting.delivery.receipt), Bytes::from_static(b"+ACK")).await?;
            } else {
                kept.push_back(waiting);
            }
        }
        intake.waiting = kept;
        Ok(())
    }

    /// Gives back what was taken and not handed out, and asks for nothing more.
    pub(crate) async fn give_back(&self) -> Result<(), BrokerError> {
        let mut intake = self.intake.lock().await;
        // First, or the request that still stands at the server would get back what is given back.
        let unseen = intake.puller.leave().await?;
        let replies = unseen.into_iter().filter_map(|message| message.reply);
        for reply in replies.filter(|reply| AckSubject::parse(reply).is_some()) {
            self.connection.send(&reply, Bytes::from_static(b"-NAK")).await?;
        }
        while let Some(waiting) = intake.waiting.pop_front() {
            self.connection.send(ack_of(&waiting.delivery.receipt), Bytes::from_static(b"-NAK")).await?;
        }
        Ok(())
    }

    /// Settles for good, and waits until the server has seen it.
    async fn settle(&self, receipt: &Receipt, how: Bytes) -> Result<(), BrokerError> {
        let question =
            || Outbound { subject: async_nats::Subject::from(ack_of(receipt)), headers: None, payload: how.clone() };
        self.connection.request("settling a delivery", question, Patience::API).await?;
        Ok(())
    }
}

// === impl Intake ===

impl Intake {
    /// Asks for as much as is missing. Not for every single message: a request costs the server as much as a delivery.
    async fn ask(&mut self, max: usize) -> Result<(), BrokerError> {
        let share = self.retry_share.min(max - 1).max(1);
        if self.puller.outstanding(RETRY) == 0 {
            // Fewer than the share came while the last request stood: calm again.
            self.retry_share = (self.retry_share / 2).max(1);
            self.puller.ask(RETRY, share).await?;
        }
        let target = (max - 1).max(1).min(max.saturating_sub(self.puller.outstanding(RETRY)).max(1));
        let outstanding = self.puller.outstanding(MAIN);
        let missing = target.saturating_sub(outstanding);
        if missing > 0 && missing >= outstanding {
            self.puller.ask(MAIN, missing).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Source for NatsSource {
    async fn pull(&self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let mut intake = self.intake.lock().await;
        if intake.last_pull.elapsed() > self.ack_wait / 2 {
            // What came meanwhile is about to be delivered again, perhaps to somebody else.
            intake.puller.close();
            intake.waiting.clear();
        }
        intake.last_pull = Instant::now();
        self.fill(&mut intake, max).await?;
        self.drop_superseded(&mut intake).await?;
        let count = intake.waiting.len().min(max);
        Ok(intake.waiting.drain(..count).map(|waiting| waiting.delivery).collect())
    }

    fn ack_wait(&self) -> Option<Duration> {
        Some(self.ack_wait)
    }

    fn hold_limit(&self) -> Duration {
        HOLD_LIMIT.min(self.ack_wait / 3)
    }

    async fn in_progress(&self, receipts: &[Receipt]) -> Result<(), BrokerError> {
        for receipt in receipts {
            self.connection.send(ack_of(receipt), Bytes::from_static(b"+WPI")).await?;
        }
        Ok(())
    }

    async fn park(
        &self,
        delivery: &Delivery,
        attempt: u32,
        after: Duration,
        first_failure: SystemTime,
    ) -> Result<(), BrokerError> {
        retry::park(&self.connection, &self.route.name, delivery, attempt, after, first_failure).await?;
        self.settle(&delivery.receipt, Bytes::from_static(b"+ACK")).await
    }

    async fn dead_letter(&self, delivery: &Delivery, record: Message) -> Result<(), BrokerError> {
        let owner = Owner::of(&self.route);
        self.dead_letters.store(&owner, &self.dead_letter_stream, &Burial::of(delivery, &record)).await?;
        let reason = format!("+TERM dead-lettered to {}", record.subject);
        self.settle(&delivery.receipt, Bytes::from(reason)).await
    }

    async fn release(&self, deliveries: &[Delivery]) -> Result<(), BrokerError> {
        for delivery in deliveries {
            self.connection.send(ack_of(&delivery.receipt), Bytes::from_static(b"-NAK")).await?;
        }
        Ok(())
    }
}

/// A delivery of the original message.
fn first_hand(message: &async_nats::Message, ack: AckSubject<'_>, receipt: Receipt, stream: &StreamName) -> Delivery {
    Delivery {
        message: Message {
            subject: subject_in(&message.subject),
            headers: headers_in(message.headers.as_ref()),
            payload: message.payload.clone(),
        },
        origin: Origin { stream: stream.clone(), sequence: ack.sequence },
        attempt: attempt(1, ack.delivered),
        redelivered: ack.delivered > 1,
        stored: ack.stored,
        first_failure: None,
        redriven: 0,
        receipt,
    }
}

/// The attempt that a delivery is. The server's count grows by crashes, reconnects and shutdowns too, none of which the
/// event is to blame for, so it does not count. Unless there is no end of it: an event that takes the whole process down
/// whenever it is handled must not do so for ever.
fn attempt(carried: u32, delivered: u32) -> u32 {
    carried.max(delivered.saturating_sub(INNOCENT_DELIVERIES))
}

/// NATS allows subjects that Tidemill does not (very long ones, control characters). Such an event must still be
/// processed or dead-lettered, so the subject is shown as near to the real one as can be.
pub(crate) fn subject_in(subject: &str) -> Subject {
    Subject::try_new(subject).unwrap_or_else(|_| {
        let mut cleaned: String =
            subject.chars().map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect();
        cleaned.truncate((0..=MAX_SUBJECT_BYTES).rev().find(|end| cleaned.is_char_boundary(*end)).unwrap_or(0));
        let cleaned = cleaned.trim_end_matches('.');
        Subject::try_new(cleaned).unwrap_or_else(|_| unreadable_subject())
    })
}

fn unreadable_subject() -> Subject {
    Subject::try_new("unreadable").expect("a plain word is a subject")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_no_attempts_until_there_is_no_end_of_them() {
        for (carried, delivered, expected) in [(1, 1, 1), (1, 50, 1), (3, 12, 3), (1, 52, 2), (3, 52, 3), (3, 60, 10)] {
            assert_eq!(attempt(carried, delivered), expected, "{carried} {delivered}");
        }
    }
}
