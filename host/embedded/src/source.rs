//! The input of one route.
//!
//! A pull reads the store by itself and asks the writer for nothing: it claims in the route's position what it hands
//! out, which is memory, and writes nothing. Between claiming and returning there is no await, so a pull that is
//! dropped has claimed nothing.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tidemill_core::message::Message;
use tidemill_core::port::{BrokerError, Delivery, Origin, Receipt, Source};
use tokio::time::{Instant, sleep_until};

use crate::dead_letters;
use crate::keys;
use crate::log::{Log, lock};
use crate::position::Claim;
use crate::retry;
use crate::route::Route;
use crate::row::{Damaged, MessageRow, ReturningRow};
use crate::store::{Store, Table};
use crate::writer::Writer;

/// How long a pull waits for the first delivery.
const PULL_WAIT: Duration = Duration::from_secs(1);

/// How many messages of other subjects a pull passes over before it lets others run: some milliseconds of reading.
const LOOK_AT_ONCE: usize = 4096;

pub(crate) struct EmbeddedSource {
    pub(crate) log: Arc<Log>,
    pub(crate) writer: Arc<Writer>,
    pub(crate) route: Arc<Route>,
}

/// What one look has found.
enum Look {
    Found(Vec<Delivery>),
    /// Nothing so far, and not at the end yet.
    GoOn,
    Nothing,
}

impl EmbeddedSource {
    fn look(&self, max: usize) -> Result<Look, BrokerError> {
        self.log.check()?;
        self.log.read(|store| {
            let _reading = lock(&self.route.reading);
            let claims = lock(&self.route.position).claim_ready(max, Instant::now());
            let mut found = Vec::new();
            for claim in &claims {
                match self.read_claim(store, claim) {
                    Ok(delivery) => found.extend(delivery),
                    Err(error) => {
                        lock(&self.route.position).give_back(claims);
                        return Err(error);
                    }
                }
            }
            if found.len() == max {
                return Ok(Look::Found(found));
            }
            match self.read_on(store, max - found.len(), &mut found) {
                // What was claimed is handed out; the error will show again.
                Err(error) if found.is_empty() => Err(error),
                Ok(true) if found.is_empty() => Ok(Look::GoOn),
                Ok(false) if found.is_empty() => Ok(Look::Nothing),
                _ => Ok(Look::Found(found)),
            }
        })
    }

    /// The delivery for a claim; none if its message is gone, which settles it.
    fn read_claim(&self, store: &Store, claim: &Claim) -> Result<Option<Delivery>, BrokerError> {
        let (origin, delivery) = match claim {
            Claim::Stored(sequence) => {
                let row = store.get(self.route.messages, &keys::sequence(*sequence), MessageRow::decode)?;
                let delivery = row.transpose()?.map(|row| self.first_delivery(*sequence, row));
                (Origin { stream: self.route.stream.clone(), sequence: *sequence }, delivery)
            }
            Claim::Returning(origin) => {
                let key = keys::returning(&self.route.name, origin);
                let row = store.get(Table::RETURNING, &key, ReturningRow::decode)?;
                (origin.clone(), row.transpose()?.map(|row| self.later_delivery(origin, row)))
            }
        };
        if delivery.is_none() {
            tracing::warn!(route = %self.route.name, %origin, "a delivery's message was removed meanwhile; it is skipped");
            lock(&self.route.position).settle(&origin);
        }
        Ok(delivery)
    }

    /// Reads the stream on and claims what is found. Says whether there is more to look at.
    fn read_on(&self, store: &Store, max: usize, found: &mut Vec<Delivery>) -> Result<bool, BrokerError> {
        let (from, end, interest) = {
            let mut position = lock(&self.route.position);
            if position.nothing_ahead() {
                let end = position.end();
                position.claim_read(end, &[]);
                return Ok(false);
            }
            (position.next(), position.end(), position.interest.clone())
        };
        let (mut next, mut looked_at, mut claimed) = (end, 0, Vec::new());
        let mut damaged = None;
        store.scan(self.route.messages, &keys::sequence(from), &keys::sequence(end), |key, row| {
            looked_at += 1;
            let sequence = keys::read_sequence(key).unwrap_or(from);
            match self.read_message(&interest, sequence, row) {
                Ok(Some(delivery)) => {
                    claimed.push(sequence);
                    found.push(delivery);
                }
                Ok(None) => {}
                Err(error) => {
                    damaged = Some(error);
                    next = sequence;
                    return ControlFlow::Break(());
                }
            }
            if claimed.len() == max || looked_at == LOOK_AT_ONCE {
                next = sequence + 1;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        lock(&self.route.position).claim_read(next, &claimed);
        match damaged {
            Some(error) => Err(error.into()),
            None => Ok(next < end),
        }
    }

    fn read_message(
        &self,
        interest: &crate::position::Interest,
        sequence: u64,
        row: &[u8],
    ) -> Result<Option<Delivery>, Damaged> {
        if !interest.is_everything() && !interest.admits(MessageRow::subject(row)?) {
            return Ok(None);
        }
        Ok(Some(self.first_delivery(sequence, MessageRow::decode(row)?)))
    }

    fn first_delivery(&self, sequence: u64, row: MessageRow) -> Delivery {
        Delivery {
            message: row.message,
            origin: Origin { stream: self.route.stream.clone(), sequence },
            attempt: 1,
            redelivered: false,
            stored: row.stored,
            first_failure: None,
            redriven: 0,
            receipt: self.route.receipt.clone(),
        }
    }

    fn later_delivery(&self, origin: &Origin, row: ReturningRow) -> Delivery {
        Delivery {
            message: row.message,
            origin: origin.clone(),
            attempt: row.attempt,
            redelivered: row.attempt > 1,
            stored: row.stored,
            first_failure: row.first_failure,
            redriven: row.redriven,
            receipt: self.route.receipt.clone(),
        }
    }
}

#[async_trait]
impl Source for EmbeddedSource {
    async fn pull(&self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + PULL_WAIT;
        loop {
            // Listening begins before looking, so that nothing arrives unheard in between.
            let changed = self.route.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.look(max)? {
                Look::Found(deliveries) => return Ok(deliveries),
                Look::GoOn => tokio::task::yield_now().await,
                Look::Nothing => {
                    let due = lock(&self.route.position).next_due();
                    tokio::select! {
                        () = changed => {}
                        () = sleep_until(due.map_or(deadline, |due| due.min(deadline))) => {}
                    }
                    if Instant::now() >= deadline {
                        // One last look, for what came due at this very moment.
                        return match self.look(max)? {
                            Look::Found(deliveries) => Ok(deliveries),
                            Look::GoOn | Look::Nothing => Ok(Vec::new()),
                        };
                    }
                }
            }
        }
    }

    /// As long as the process lives nobody else takes a delivery.
    fn ack_wait(&self) -> Option<Duration> {
        None
    }

    /// Parking is one row in a group that is written anyway.
    fn hold_limit(&self) -> Duration {
        Duration::ZERO
    }

    async fn in_progress(&self, _receipts: &[Receipt]) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn park(
        &self,
        delivery: &Delivery,
        attempt: u32,
        after: Duration,
        first_failure: SystemTime,
    ) -> Result<(), BrokerError> {
        // Taken here: only inside the runtime does a paused clock stand still.
        let due = Instant::now() + after;
        let row = ReturningRow {
            attempt,
            redriven: delivery.redriven,
            due: self.log.now() + after,
            first_failure: Some(first_failure),
            stored: delivery.stored,
            message: delivery.message.clone(),
        };
        let (route, origin) = (Arc::clone(&self.route), delivery.origin.clone());
        self.writer.submit(move |tx| retry::park(tx, &route, origin, &row, due)).await
    }

    async fn dead_letter(&self, delivery: &Delivery, record: Message) -> Result<(), BrokerError> {
        let (route, origin, redriven) = (Arc::clone(&self.route), delivery.origin.clone(), delivery.redriven);
        self.writer.submit(move |tx| dead_letters::bury(tx, &route, &origin, redriven, record)).await
    }

    /// They keep their attempt: nobody has tried.
    async fn release(&self, deliveries: &[Delivery]) -> Result<(), BrokerError> {
        {
            let mut position = lock(&self.route.position);
            for delivery in deliveries {
                position.release(&delivery.origin);
            }
        }
        self.route.changed.notify_waiters();
        Ok(())
    }
}
