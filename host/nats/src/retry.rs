//! Events that come back: parked until their next attempt, or redriven from the dead letters.
//!
//! A parked event is a scheduled message on `tidemill.sched.<route>.<stream>.<sequence>.<stored>`; the server moves it to
//! `tidemill.retry.…` when its time has come. There is one such place per event, so parking again replaces. A redriven
//! event is published to `tidemill.retry.…` at once. Both subjects are on one work-queue stream that has a consumer per
//! route: settling the retry removes it, and nothing grows.
//!
//! The original stands in the message as it was: payload, headers (those that mean something to the server under another
//! name, see [`repack`](crate::repack)), and in headers of our own its subject, origin, attempt and times.
//!
//! If the host dies between parking and acknowledging, the original is delivered again while its retry waits. The source
//! then finds the place taken and lets the original go ([`superseded`]); without that the event would run twice side by
//! side, harmlessly but visibly.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tidemill_core::message::{Headers, Message};
use tidemill_core::name::{RouteName, StreamName};
use tidemill_core::port::{BrokerError, Delivery, Origin, Redrive};
use tidemill_core::subject::Subject;

use crate::connection::{Connection, Patience};
use crate::error::NatsError;
use crate::publisher::{is_no_responders, read_ack};
use crate::repack::{Again, pack};
use crate::stored;
use crate::subjects;
use crate::wire::{AckSubject, HeaderBlock, Outbound, ack_of, nanoseconds, parse_rfc3339, rfc3339};

const SUBJECT: &str = "Tidemill-Nats-Subject";
const STREAM: &str = "Tidemill-Nats-Stream";
const SEQUENCE: &str = "Tidemill-Nats-Sequence";
const ATTEMPT: &str = "Tidemill-Nats-Attempt";
pub(crate) const STORED: &str = "Tidemill-Nats-Stored";
const FIRST_FAILURE: &str = "Tidemill-Nats-First-Failure";
const REDRIVEN: &str = "Tidemill-Nats-Redriven";
/// Room for the names and values above.
const OWN_HEADERS: usize = 512;

/// The original that a retry carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) message: Message,
    pub(crate) origin: Origin,
    pub(crate) attempt: u32,
    pub(crate) stored: SystemTime,
    pub(crate) first_failure: Option<SystemTime>,
    pub(crate) redriven: u32,
}

impl Carried {
    /// Reads what [`park`] or [`redrive`] wrote; `None` if it is something else.
    pub(crate) fn read(headers: &Headers, original: (Headers, Bytes)) -> Option<Self> {
        Some(Self {
            message: Message {
                subject: Subject::try_new(headers.get(SUBJECT)?).ok()?,
                headers: original.0,
                payload: original.1,
            },
            origin: Origin {
                stream: StreamName::try_new(headers.get(STREAM)?).ok()?,
                sequence: headers.get(SEQUENCE)?.parse().ok()?,
            },
            attempt: headers.get(ATTEMPT)?.parse().ok()?,
            stored: parse_rfc3339(headers.get(STORED)?)?,
            first_failure: headers.get(FIRST_FAILURE).and_then(parse_rfc3339),
            redriven: headers.get(REDRIVEN).and_then(|text| text.parse().ok()).unwrap_or_default(),
        })
    }

    fn write(&self, headers: &mut HeaderBlock) {
        headers.push(SUBJECT, self.message.subject.as_str());
        headers.push(STREAM, self.origin.stream.as_str());
        headers.push_number(SEQUENCE, self.origin.sequence);
        headers.push_number(ATTEMPT, u64::from(self.attempt));
        headers.push(STORED, &rfc3339(self.stored));
        if let Some(time) = self.first_failure {
            headers.push(FIRST_FAILURE, &rfc3339(time));
        }
        headers.push_number(REDRIVEN, u64::from(self.redriven));
    }
}

/// Stores the delivery to come back after the delay. Durable on `Ok`; may be repeated.
pub(crate) async fn park(
    connection: &Connection,
    route: &RouteName,
    delivery: &Delivery,
    attempt: u32,
    after: Duration,
    first_failure: SystemTime,
) -> Result<(), BrokerError> {
    let Delivery { origin, redriven, .. } = delivery;
    let carried = Carried {
        message: delivery.message.clone(),
        origin: origin.clone(),
        attempt,
        stored: delivery.stored,
        first_failure: Some(first_failure),
        redriven: *redriven,
    };
    let at = rfc3339(SystemTime::now() + after);
    // The id names the message that is parked, not the event: an event that fails through the host's fault is parked again
    // and again under the same attempt, each time from another message of the retry stream.
    let parked = AckSubject::parse(ack_of(&delivery.receipt));
    let (stream, sequence, stored) =
        parked.map_or(("", 0, 0), |parked| (parked.stream, parked.sequence, nanoseconds(parked.stored)));
    let id = format!("park.{route}.{stream}.{sequence}.{stored}.{attempt}");
    store(connection, subjects::parked(route, origin, delivery.stored), &id, &carried, |headers| {
        headers.push("Nats-Schedule", &format!("@at {at}"));
        headers.push("Nats-Schedule-Target", &subjects::retry(route, origin, delivery.stored));
    })
    .await?;
    Ok(())
}

/// Puts the original in front of its route. Repeating it changes nothing within the retry stream's duplicate window, and
/// after it as long as the event has not been settled.
pub(crate) async fn redrive(connection: &Connection, redrive: &Redrive) -> Result<(), BrokerError> {
    let carried = Carried {
        message: redrive.message.clone(),
        origin: redrive.origin.clone(),
        attempt: 1,
        stored: redrive.stored,
        first_failure: None,
        redriven: redrive.redriven,
    };
    let id = format!("redrive.{}.{}", redrive.dead_letter, nanoseconds(redrive.stored));
    let subject = subjects::retry(&redrive.route, &redrive.origin, redrive.stored);
    let stored = store(connection, subject, &id, &carried, |headers| {
        headers.push_number("Nats-Expected-Last-Subject-Sequence", 0);
    });
    match stored.await {
        // It is there already.
        Err(NatsError::Api { error, .. }) if error.is_wrong_last_sequence() => Ok(()),
        stored => Ok(stored?),
    }
}

async fn store(
    connection: &Connection,
    subject: String,
    id: &str,
    carried: &Carried,
    extra: impl FnOnce(&mut HeaderBlock),
) -> Result<(), NatsError> {
    let mut headers = HeaderBlock::new(async_nats::header::NATS_MESSAGE_ID, id, OWN_HEADERS);
    extra(&mut headers);
    carried.write(&mut headers);
    let again = Again { message: &carried.message, origin: Some(&carried.origin), stays: |_| false };
    let payload = pack(&mut headers, &again, connection.max_payload())?;
    let question = || Outbound {
        subject: async_nats::Subject::from(subject.as_str()),
        headers: Some(headers.clone()),
        payload: payload.clone(),
    };
    let what = || format!("publishing to `{subject}`");
    let answer = connection.request(&what(), question, Patience::PUBLISH).await?;
    if is_no_responders(&answer) {
        return Err(NatsError::NoResponders { subject });
    }
    read_ack(&what, &answer)?;
    Ok(())
}

/// Which of these redelivered events wait or stand elsewhere already. `own` is the sequence on the retry stream of a
/// delivery that came from there.
pub(crate) async fn superseded(
    connection: &Connection,
    route: &RouteName,
    deliveries: &[(&Delivery, Option<u64>)],
) -> Result<Vec<bool>, NatsError> {
    let places: Vec<String> = deliveries
        .iter()
        .flat_map(|(Delivery { origin, stored, .. }, _)| {
            [subjects::parked(route, origin, *stored), subjects::retry(route, origin, *stored)]
        })
        .collect();
    let found = stored::last_of_leader(connection, subjects::RETRY_STREAM, &places).await?;
    Ok(found
        .chunks(2)
        .zip(deliveries)
        .map(|(places, (_, own))| {
            let parked = places[0].is_some();
            let elsewhere = places[1].as_ref().is_some_and(|retry| Some(retry.sequence) != *own);
            parked || elsewhere
        })
        .collect())
}
