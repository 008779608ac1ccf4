//! Where one route stands: what it has settled, what is under way, what waits.
//!
//! Durable are the next sequence to deliver and those before it that are not settled yet ([`Position::encode`]), and one
//! row per delivery that comes back apart from its stream. So delivering writes nothing, settling in order rewrites a
//! few bytes per group, and a delivery that stays long under way costs its own number and not those of all later ones.
//!
//! ```text
//! sequence   1 2 3 4 5 6 7 8 9
//!            s s u s s u s . .      s settled   u under way   . not delivered        next = 8, delivered = {3, 6}
//! ```
//!
//! Everything here is memory and decisions. Who settles writes the row in the same transaction.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tidemill_core::name::StreamName;
use tidemill_core::port::{Backlog, Origin};
use tidemill_core::subject::SubjectPattern;
use tokio::time::Instant;

use crate::row::{Damaged, RowReader, RowWriter};

/// Which messages of a stream a route wants.
#[derive(Debug, Clone)]
pub(crate) struct Interest {
    patterns: Vec<SubjectPattern>,
    /// The patterns admit whatever the stream captures.
    everything: bool,
}

/// The durable half of a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PositionRow {
    pub(crate) stream: StreamName,
    pub(crate) next: u64,
    /// Below `next` and not settled, in order.
    pub(crate) unsettled: Vec<u64>,
}

#[derive(Debug)]
pub(crate) struct Position {
    stream: StreamName,
    pub(crate) interest: Interest,
    /// The first sequence that was not looked at yet.
    next: u64,
    /// The first sequence that is not stored yet.
    end: u64,
    /// How many from `next` below `end` are of interest.
    ahead: u64,
    /// Looked at, of interest and not settled.
    delivered: BTreeMap<u64, Place>,
    /// Parked or redriven, and not settled.
    returning: HashMap<Origin, Returning>,
    /// What to hand out before the stream is read on. An entry counts only while its place is [`Place::Ready`].
    ready: VecDeque<Claim>,
    timers: BTreeMap<Due, Origin>,
    counts: Counts,
}

/// When a parked delivery is due; the second part tells equal times apart.
type Due = (Instant, u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Ready,
    InFlight,
    Parked(Due),
}

#[derive(Debug)]
struct Returning {
    attempt: u32,
    redriven: u32,
    place: Place,
}

#[derive(Debug, Default)]
struct Counts {
    ready: u64,
    in_flight: u64,
    parked: u64,
    /// Parkings so far, for [`Due`].
    timers: u64,
}

/// Something that a source has taken and will hand out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A message of the stream.
    Stored(u64),
    /// A delivery with a row of its own.
    Returning(Origin),
}

/// When something that returns shall be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Now,
    At(Instant),
}

// === impl Position ===

impl Position {
    /// As it is after a start: whatever was under way is ready again.
    pub(crate) fn restore(row: PositionRow, interest: Interest, end: u64, ahead: u64) -> Self {
        let mut position = Self {
            stream: row.stream,
            interest,
            next: row.next,
            end,
            ahead,
            delivered: BTreeMap::new(),
            returning: HashMap::new(),
            ready: VecDeque::new(),
            timers: BTreeMap::new(),
            counts: Counts::default(),
        };
        for sequence in row.unsettled {
            position.delivered.insert(sequence, Place::Ready);
            position.ready.push_back(Claim::Stored(sequence));
            position.counts.ready += 1;
        }
        position
    }

    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Below this sequence everything is settled: nobody will ask for those messages again.
    pub(crate) fn floor(&self) -> u64 {
        self.delivered.keys().next().copied().unwrap_or(self.next)
    }

    /// Whether nothing of interest is ahead, so that reading on would find nothing.
    pub(crate) fn nothing_ahead(&self) -> bool {
        self.ahead == 0
    }

    pub(crate) fn backlog(&self, now: Instant) -> Backlog {
        let due = self.timers.range(..=(now, u64::MAX)).count() as u64;
        Backlog {
            undelivered: self.ahead + self.counts.ready + due,
            in_flight: self.counts.in_flight,
            parked: self.counts.parked - due,
        }
    }

    /// When the next parked delivery is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.timers.keys().next().map(|(due, _)| *due)
    }

    // --- handing out --------------------------------------------------------------------------------------------------

    /// Claims up to `max` of what waits apart from the stream: due, redriven, given back.
    pub(crate) fn claim_ready(&mut self, max: usize, now: Instant) -> Vec<Claim> {
        self.wake_due(now);
        let mut claims = Vec::new();
        while claims.len() < max {
            let Some(claim) = self.ready.pop_front() else { break };
            if self.place(&claim) == Some(Place::Ready) {
                self.set_place(&claim, Place::InFlight);
                claims.push(claim);
            }
        }
        claims
    }

    /// Claims what was found when the stream was read from [`next`](Self::next) to below `next`.
    pub(crate) fn claim_read(&mut self, next: u64, found: &[u64]) {
        for sequence in found {
            self.delivered.insert(*sequence, Place::InFlight);
        }
        self.counts.in_flight += found.len() as u64;
        self.ahead = self.ahead.saturating_sub(found.len() as u64);
        self.next = self.next.max(next);
    }

    /// Makes claims available again that were not handed out, or come back unprocessed.
    pub(crate) fn give_back(&mut self, claims: impl IntoIterator<Item = Claim>) {
        for claim in claims {
            if self.place(&claim) == Some(Place::InFlight) {
                self.set_place(&claim, Place::Ready);
                self.ready.push_back(claim);
            }
        }
    }

    /// Makes a delivery available again that comes back unprocessed.
    pub(crate) fn release(&mut self, origin: &Origin) {
        if self.returning.contains_key(origin) {
            self.give_back([Claim::Returning(origin.clone())]);
        } else if let Some(sequence) = self.stored(origin) {
            self.give_back([Claim::Stored(sequence)]);
        }
    }

    /// Makes everything that is under way available again: whoever had it is gone.
    pub(crate) fn give_all_back(&mut self) {
        let stored = self.delivered.keys().map(|sequence| Claim::Stored(*sequence));
        let returning = self.returning.keys().cloned().map(Claim::Returning);
        let all: Vec<_> = stored.chain(returning).collect();
        self.give_back(all);
    }

    fn wake_due(&mut self, now: Instant) {
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let claim = Claim::Returning(entry.remove());
            self.set_place(&claim, Place::Ready);
            self.ready.push_back(claim);
        }
    }

    // --- settling -----------------------------------------------------------------------------------------------------

    /// Whether somebody may settle this: it was handed out, or could be.
    pub(crate) fn is_unsettled(&self, origin: &Origin) -> bool {
        self.stored(origin).is_some_and(|sequence| self.delivered.contains_key(&sequence))
            || self.returning.contains_key(origin)
    }

    /// Whether the origin lies in the part of the stream that was never looked at.
    pub(crate) fn is_ahead(&self, origin: &Origin) -> bool {
        self.stored(origin).is_some_and(|sequence| sequence >= self.next)
    }

    /// Whether the delivery is older than what is known of its origin: the answer to a call that is repeated late.
    pub(crate) fn is_stale(&self, origin: &Origin, redriven: u32) -> bool {
        self.returning.get(origin).is_some_and(|known| redriven < known.redriven)
    }

    /// Whether the origin is past this attempt, or waits for it already. One that is in flight as this attempt does not
    /// wait: a fault of the host costs no attempt, so it is parked again under the same number.
    pub(crate) fn has_attempt(&self, origin: &Origin, attempt: u32) -> bool {
        self.returning.get(origin).is_some_and(|known| {
            attempt < known.attempt || (attempt == known.attempt && known.place != Place::InFlight)
        })
    }

    /// Forgets an unsettled origin. Says whether it had a row of its own, which must go in the same transaction.
    pub(crate) fn settle(&mut self, origin: &Origin) -> bool {
        if let Some(sequence) = self.stored(origin)
            && let Some(place) = self.delivered.remove(&sequence)
        {
            self.counts.leave(place);
        }
        match self.returning.remove(origin) {
            Some(returning) => {
                self.leave(returning.place);
                true
            }
            None => false,
        }
    }

    /// A delivery whose row is durable comes back apart from its stream.
    pub(crate) fn comes_back(&mut self, origin: Origin, attempt: u32, redriven: u32, when: When) {
        self.settle(&origin);
        let place = match when {
            When::Now => {
                self.ready.push_back(Claim::Returning(origin.clone()));
                Place::Ready
            }
            When::At(due) => {
                self.counts.timers += 1;
                let key = (due, self.counts.timers);
                self.timers.insert(key, origin.clone());
                Place::Parked(key)
            }
        };
        self.counts.enter(place);
        self.returning.insert(origin, Returning { attempt, redriven, place });
    }

    // --- the stream ---------------------------------------------------------------------------------------------------

    /// Messages were stored up to below `end`, this many of them of interest.
    pub(crate) fn grown(&mut self, end: u64, of_interest: u64) {
        self.end = end;
        self.ahead += of_interest;
    }

    /// What must survive a restart.
    pub(crate) fn row(&self) -> PositionRow {
        PositionRow {
            stream: self.stream.clone(),
            next: self.next,
            unsettled: self.delivered.keys().copied().collect(),
        }
    }

    /// Takes another interest and how much of it is ahead.
    pub(crate) fn turn_to(&mut self, interest: Interest, end: u64, ahead: u64) {
        (self.interest, self.end, self.ahead) = (interest, end, ahead);
    }

    // --- places -------------------------------------------------------------------------------------------------------

    fn stored(&self, origin: &Origin) -> Option<u64> {
        (origin.stream == self.stream).then_some(origin.sequence)
    }

    fn place(&self, claim: &Claim) -> Option<Place> {
        match claim {
            Claim::Stored(sequence) => self.delivered.get(sequence).copied(),
            Claim::Returning(origin) => self.returning.get(origin).map(|returning| returning.place),
        }
    }

    fn set_place(&mut self, claim: &Claim, place: Place) {
        let slot = match claim {
            Claim::Stored(sequence) => self.delivered.get_mut(sequence),
            Claim::Returning(origin) => self.returning.get_mut(origin).map(|returning| &mut returning.place),
        };
        if let Some(slot) = slot {
            let before = std::mem::replace(slot, place);
            self.leave(before);
            self.counts.enter(place);
        }
    }

    fn leave(&mut self, place: Place) {
        self.counts.leave(place);
        if let Place::Parked(due) = place {
            self.timers.remove(&due);
        }
    }
}

// === impl Counts ===

impl Counts {
    fn enter(&mut self, place: Place) {
        *self.of(place) += 1;
    }

    fn leave(&mut self, place: Place) {
        *self.of(place) -= 1;
    }

    fn of(&mut self, place: Place) -> &mut u64 {
        match place {
            Place::Ready => &mut self.ready,
            Place::InFlight => &mut self.in_flight,
            Place::Parked(_) => &mut self.parked,
        }
    }
}

// === impl Interest ===

impl Interest {
    pub(crate) fn new(wanted: &[SubjectPattern], stream_subjects: &[SubjectPattern]) -> Self {
        let covered = |theirs: &SubjectPattern| wanted.iter().any(|pattern| pattern.covers(theirs));
        let everything = wanted.is_empty() || stream_subjects.iter().all(covered);
        Self { patterns: wanted.to_vec(), everything }
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.everything
    }

    pub(crate) fn admits(&self, subject: &str) -> bool {
        self.everything || self.patterns.iter().any(|pattern| pattern.matches(subject))
    }
}

// === impl PositionRow ===

impl PositionRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = RowWriter::with_capacity(64 + 2 * self.unsettled.len());
        row.text(self.stream.as_str()).number(self.next);
        let mut before = 0;
        for sequence in &self.unsettled {
            row.number(sequence - before);
            before = *sequence;
        }
        row.finish()
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Self, Damaged> {
        let mut row = RowReader::new(row, "a route's position");
        let (stream, next) = (row.stream()?, row.number()?);
        let (mut unsettled, mut before) = (Vec::new(), 0_u64);
        while !row.is_at_end() {
            before = before.checked_add(row.number()?).ok_or_else(|| row.damaged())?;
            unsettled.push(before);
        }
        Ok(Self { stream, next, unsettled })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn origin(sequence: u64) -> Origin {
        Origin { stream: StreamName::try_new("IN").unwrap(), sequence }
    }

    fn position() -> Position {
        let row = PositionRow { stream: StreamName::try_new("IN").unwrap(), next: 1, unsettled: vec![] };
        let interest = Interest { patterns: vec![], everything: true };
        Position::restore(row, interest, 10, 9)
    }

    #[test]
    fn only_what_is_under_way_is_remembered() {
        let mut position = position();
        position.claim_read(6, &[1, 2, 3, 4, 5]);
        for sequence in [1, 2, 4] {
            position.settle(&origin(sequence));
        }
        let row = position.row();
        assert_eq!((row.next, row.unsettled.as_slice(), position.floor()), (6, [3, 5].as_slice(), 3));
        assert_eq!(PositionRow::decode(&row.encode()).unwrap(), row);
        assert!(!position.is_unsettled(&origin(4)) && position.is_unsettled(&origin(5)));
        assert_eq!(position.backlog(Instant::now()), Backlog { undelivered: 4, in_flight: 2, parked: 0 });
    }

    #[test]
    fn after_a_restart_what_was_under_way_is_handed_out_again_and_first() {
        let mut before = position();
        before.claim_read(4, &[1, 2, 3]);
        before.settle(&origin(2));
        let interest = before.interest.clone();
        let mut after = Position::restore(before.row(), interest, 10, 6);
        assert_eq!(after.claim_ready(10, Instant::now()), [Claim::Stored(1), Claim::Stored(3)]);
        assert_eq!(after.next(), 4);
    }

    #[test]
    fn what_is_parked_waits_for_its_time_and_is_settled_once() {
        let now = Instant::now();
        let mut position = position();
        position.claim_read(2, &[1]);
        position.comes_back(origin(1), 2, 0, When::At(now + Duration::from_secs(5)));
        assert_eq!(position.backlog(now), Backlog { undelivered: 8, in_flight: 0, parked: 1 });
        assert!(position.claim_ready(10, now).is_empty());
        assert!(position.has_attempt(&origin(1), 2) && !position.has_attempt(&origin(1), 3));

        let later = now + Duration::from_secs(5);
        assert_eq!(position.claim_ready(10, later), [Claim::Returning(origin(1))]);
        assert!(position.claim_ready(10, later).is_empty());
        assert!(position.settle(&origin(1)), "its row must go");
        assert!(!position.settle(&origin(1)));
        assert_eq!(position.backlog(later), Backlog { undelivered: 8, in_flight: 0, parked: 0 });
    }

    #[test]
    fn giving_back_twice_hands_out_once() {
        let mut position = position();
        position.claim_read(3, &[1, 2]);
        position.give_back([Claim::Stored(1), Claim::Stored(1)]);
        position.settle(&origin(2));
        position.give_back([Claim::Stored(2)]);
        assert_eq!(position.claim_ready(10, Instant::now()), [Claim::Stored(1)]);
    }
}
