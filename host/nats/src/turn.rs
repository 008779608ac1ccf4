//! Taking turns: one host at a time changes the subjects of the stream of dead letters.
//!
//! The server has no compare-and-set for the settings of a stream. Two hosts that read them, add a subject and write them
//! back lose one of the two. And there is worse: a server that is no cluster (seen with 2.15.1) compares two changes that
//! come at the same time with the same old settings, so it may end up listing a subject whose messages it does not take.
//! Messages do have a compare-and-set: whoever stores one where none may be has the turn, until it removes it. A host that
//! dies meanwhile leaves it to the server, which removes it when its time is over.

use std::time::Duration;

use async_nats::Subject;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use bytes::Bytes;
use tidemill_core::port::BrokerError;
use tokio::time::{Instant, sleep};

use crate::connection::{Connection, Patience};
use crate::error::{NatsError, unavailable};
use crate::publisher::{is_no_responders, read_ack};
use crate::stored;
use crate::subjects;
use crate::wire::{HeaderBlock, Outbound};

/// Far more than a change takes, little enough to be waited for when a host died in the middle of one.
const LONGEST: Duration = Duration::from_secs(10);
/// So long another host's turn is waited for: several of them, or one that died.
const PATIENCE: Duration = Duration::from_secs(30);

/// The turn of this host. Given back, or over after [`LONGEST`].
#[must_use = "others wait for it"]
pub(crate) struct Turn<'a> {
    connection: &'a Connection,
    sequence: u64,
}

// === impl Turn ===

impl<'a> Turn<'a> {
    /// Waits for the turn.
    pub(crate) async fn take(connection: &'a Connection) -> Result<Self, BrokerError> {
        let deadline = Instant::now() + PATIENCE;
        // Known again by this when the answer to the first try is lost and the second one is refused.
        let mark = Bytes::from(format!("{:032x}", fastrand::u128(..)));
        loop {
            if let Some(sequence) = try_to_take(connection, &mark).await? {
                return Ok(Self { connection, sequence });
            }
            if Instant::now() >= deadline {
                let (stream, seconds) = (subjects::DEAD_LETTER_STREAM, PATIENCE.as_secs());
                return Err(unavailable(format!(
                    "other hosts have been changing the stream `{stream}` for {seconds} s"
                )));
            }
            sleep(Duration::from_millis(fastrand::u64(5..50))).await;
        }
    }

    pub(crate) async fn give_back(self) {
        // If that fails, it is over by itself.
        let _ = stored::delete(self.connection, subjects::RETRY_STREAM, self.sequence).await;
    }
}

async fn try_to_take(connection: &Connection, mark: &Bytes) -> Result<Option<u64>, NatsError> {
    let mut headers = HeaderBlock::new(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0", 64);
    headers.push("Nats-TTL", &format!("{}s", LONGEST.as_secs()));
    let question =
        || Outbound { subject: Subject::from(subjects::TURN), headers: Some(headers.clone()), payload: mark.clone() };
    let what = || format!("publishing to `{}`", subjects::TURN);
    let answer = connection.request(&what(), question, Patience::PUBLISH).await?;
    if is_no_responders(&answer) {
        return Err(NatsError::NoResponders { subject: subjects::TURN.to_owned() });
    }
    match read_ack(&what, &answer) {
        Ok(ack) => Ok(Some(ack.sequence)),
        Err(NatsError::Api { error, .. }) if error.is_wrong_last_sequence() => {
            let places = [subjects::TURN.to_owned()];
            let held = stored::last_of_leader(connection, subjects::RETRY_STREAM, &places).await?.pop().flatten();
            Ok(held.filter(|held| held.payload == *mark).map(|held| held.sequence))
        }
        Err(error) => Err(error),
    }
}
