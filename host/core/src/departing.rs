//! The emits of a call on their way out: they get their ids, are checked like whatever comes in, and are counted on from
//! their cause.
//!
//! A plain function, because it is asked at two places: by an attempt, which commits them, and by a
//! [rehearsal](crate::rehearsal), which only shows them.

use time::OffsetDateTime;

use crate::effect::Emit;
use crate::envelope::{self, EmitIds};
use crate::event::Event;
use crate::failure::{Failure, FailureKind};
use crate::hops;
use crate::incoming::Checks;
use crate::message::Message;
use crate::port::Outgoing;

/// What the emits are the answer to.
#[derive(Clone, Copy)]
pub(crate) struct Cause<'a> {
    pub(crate) event: &'a Event,
    /// The event as it came.
    pub(crate) message: &'a Message,
    pub(crate) ids: EmitIds<'a>,
}

/// Each emit as an event and as the message that carries it. What is invalid must not leave: one bad emit keeps all of them.
pub(crate) fn encode(
    emits: Vec<Emit>,
    cause: Cause<'_>,
    checks: Checks<'_>,
    now: OffsetDateTime,
) -> Result<Vec<(Event, Outgoing)>, Failure> {
    let mut departing = Vec::with_capacity(emits.len());
    for (index, emit) in emits.into_iter().enumerate() {
        let to = emit.to.clone();
        let (event, mut outgoing) = envelope::encode_emit(emit, index, cause.event, &cause.ids, now);
        checks.check_emit(&event).map_err(|failure| {
            let text = format!("emit {index} to `{to}` ({}): {}", event.kind, failure.text);
            Failure::new(FailureKind::EmitInvalid, text)
        })?;
        hops::count(&cause.message.headers, &mut outgoing.message.headers);
        departing.push((event, outgoing));
    }
    Ok(departing)
}
