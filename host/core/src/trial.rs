//! The probation of a new build: is it worse than the one it replaced?
//!
//! The comparison is made on the same event. Where the new build breaks (traps, runs out of time or memory, wants what it
//! must not), the build before it handles the event instead. If that one succeeds, the new build is to blame, and no event
//! is the worse for it; if it breaks as well, the event is to blame, and nothing speaks against the new build. So a poison
//! event does not roll a good build back, and a bad build dead-letters nothing.
//!
//! A verdict of the new build (`reject`, `retry`) is no sign of a defect: a rule that has become stricter is what somebody wanted. But
//! as long as the build is on probation nothing is dead-lettered for it and no attempt is used up: such an event waits, and
//! runs again after the probation. And a build that cannot read its events any more rejects them too. So the build before it is
//! asked about a rejected event, and its answer thrown away: where the new build rejects more of what the old one handles than
//! it handles itself, it is rolled back in the end. The same goes for a build for which nothing speaks because it broke on events
//! about which neither build proves anything.

mod asking;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::config::Probation;
use crate::event::Event;
use crate::failure::Failure;
use crate::generation::{Generation, Vitals};

pub(crate) use asking::{Asking, ask};

/// A new build beside the one that it replaced.
pub struct Trial {
    pub new: Arc<Generation>,
    pub previous: Arc<Generation>,
    probation: Probation,
    evidence: Mutex<Evidence>,
    standing: watch::Sender<Standing>,
}

/// Where a trial stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Open,
    Passed,
    RolledBack(Grounds),
}

/// What speaks against a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grounds {
    /// It broke on events that the build before it handled.
    Broke { events: u64, calls: u64, first: String },
    /// It broke whenever it was called, on events about which the build before it proves nothing.
    Unproven { calls: u64, first: String },
    /// It rejected most of what it was given, and the build before it handles that.
    Rejects { events: u64, handled: u64, first: String },
    /// It takes many times as long.
    Slow { mean: Duration, before: Duration, calls: u64 },
    /// Its instances keep outgrowing their memory.
    Leaks { instances: u64, calls: u64 },
    /// A person said so.
    Asked,
}

/// What was seen of the new build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Evidence {
    /// Calls of the new build that say something about it.
    calls: u64,
    declined: u64,
    /// Events that it rejected and about which the build before it was asked, by source and id. A rejected event comes again and
    /// again; it is asked about, and counts, once.
    asked: BTreeSet<(String, String)>,
    /// Those of them that the build before it handles.
    rejected: u64,
    /// Events that it broke on and that the build before it did not handle either, each as often as it was tried.
    undecided: u64,
    /// Events that it broke on and that the build before it handled.
    broken: u64,
    first: Option<String>,
    first_undecided: Option<String>,
    first_rejected: Option<String>,
}

/// Below this many broken events a build is rolled back at the end of its probation only: one may be chance.
const BROKEN_AT_ONCE: u64 = 3;

/// More than one event in this many, and the build is rolled back.
const TOLERATED_ONE_IN: u64 = 20;

/// About so many rejected events the build before is asked; more would say the same.
const MOST_ASKED: usize = 1000;

/// Calls of both builds before their times are compared.
const CALLS_TO_COMPARE: u64 = 20;

/// So many times as slow is not a matter of taste, provided that a person could notice it at all.
const SLOWER: u32 = 10;
const NOTICEABLE: Duration = Duration::from_millis(10);

/// An instance that outgrows its memory within fewer calls leaks, unless those of the build before did so, too.
const CALLS_PER_INSTANCE: u64 = 100;

// === impl Trial ===

impl Trial {
    pub fn new(new: Arc<Generation>, previous: Arc<Generation>, probation: Probation) -> Arc<Self> {
        let (standing, _) = watch::channel(Standing::Open);
        Arc::new(Self { new, previous, probation, evidence: Mutex::default(), standing })
    }

    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    pub fn is_open(&self) -> bool {
        *self.standing.borrow() == Standing::Open
    }

    /// The build that serves events now: the new one, unless it was rolled back.
    pub(crate) fn build(&self) -> &Arc<Generation> {
        if matches!(*self.standing.borrow(), Standing::RolledBack(_)) { &self.previous } else { &self.new }
    }

    /// The new build handled an event, or broke on one as the build before it did.
    pub(crate) fn answered(&self) {
        self.note(|evidence| evidence.calls += 1);
    }

    /// The new build said `reject` or `retry`. Such an event comes again and again while the probation lasts, so it must not
    /// bring its end closer.
    pub(crate) fn declined(&self) {
        self.note(|evidence| evidence.declined += 1);
    }

    /// Whether the build before is to be asked about an event that the new one rejected. Not twice: what it sends over HTTP leaves,
    /// although its answer is thrown away.
    pub(crate) fn asks_about(&self, event: &Event) -> bool {
        let mut evidence = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        evidence.asked.len() < MOST_ASKED && evidence.asked.insert((event.source.clone(), event.id.clone()))
    }

    /// The new build rejected an event that the build before it handles.
    pub(crate) fn rejected(&self, failure: &Failure) {
        self.note(|evidence| {
            evidence.declined += 1;
            evidence.rejected += 1;
            evidence.first_rejected.get_or_insert_with(|| failure.text.clone());
        });
    }

    /// The new build broke on an event, and the build before it handled the event.
    pub(crate) fn broke(&self, failure: &Failure) {
        self.note(|evidence| {
            evidence.calls += 1;
            evidence.broken += 1;
            evidence.first.get_or_insert_with(|| format!("{}: {}", failure.kind.code(), failure.text));
        });
    }

    /// The new build broke on an event, or wants what the broker refuses, and the build before it proves nothing. It speaks
    /// against the new build only if nothing speaks for it.
    pub(crate) fn undecided(&self, failure: &Failure) {
        self.note(|evidence| {
            evidence.undecided += 1;
            evidence.first_undecided.get_or_insert_with(|| format!("{}: {}", failure.kind.code(), failure.text));
        });
    }

    fn note(&self, change: impl FnOnce(&mut Evidence)) {
        let mut evidence = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut evidence);
        let over = evidence.calls >= self.probation.calls;
        if let Some(standing) = judge(&evidence, self.new.vitals(), self.previous.vitals(), over) {
            self.end(standing);
        }
    }

    /// Waits for the end of the probation. Time alone ends it only after the build has answered at least once: of a build
    /// that nobody called nothing is known. Cancel-safe.
    pub async fn concluded(&self) -> Standing {
        let mut standing = self.standing.subscribe();
        let mut deadline = Instant::now() + self.probation.time;
        loop {
            tokio::select! {
                changed = standing.wait_for(|standing| *standing != Standing::Open) => {
                    // The sender is `self`'s, so it cannot be gone.
                    return changed.map_or(Standing::Passed, |standing| standing.clone());
                }
                () = sleep_until(deadline) => {
                    deadline = Instant::now() + self.probation.time;
                    self.time_is_over();
                }
            }
        }
    }

    fn time_is_over(&self) {
        let evidence = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        if evidence.calls + evidence.declined + evidence.undecided > 0
            && let Some(standing) = judge(&evidence, self.new.vitals(), self.previous.vitals(), true)
        {
            self.end(standing);
        }
    }

    /// Ends the trial against the new build because a person asked for it. No effect on a trial that has ended.
    pub fn roll_back(&self) {
        self.end(Standing::RolledBack(Grounds::Asked));
    }

    /// The first word is the last.
    fn end(&self, end: Standing) {
        self.standing.send_if_modified(|standing| {
            let open = *standing == Standing::Open;
            if open {
                *standing = end;
            }
            open
        });
    }
}

/// What the evidence says; `None` while it is too early. `over`: nothing more will be seen.
fn judge(evidence: &Evidence, new: Vitals, previous: Vitals, over: bool) -> Option<Standing> {
    let &Evidence { calls, broken, undecided, rejected, .. } = evidence;
    let too_often = broken.saturating_mul(TOLERATED_ONE_IN) > calls;
    let handled = calls.saturating_sub(broken);
    let nothing_for_it = broken + undecided > 0 && calls == broken;
    let comparable = new.calls.min(previous.calls) >= CALLS_TO_COMPARE;
    let leaks = new.outgrown > 1 && new.per_instance() * 2 < CALLS_PER_INSTANCE.min(previous.per_instance());
    let grounds = if broken > 0 && too_often && (over || broken >= BROKEN_AT_ONCE) {
        Grounds::Broke { events: broken, calls, first: evidence.first.clone().unwrap_or_default() }
    } else if over && nothing_for_it {
        Grounds::Unproven { calls: undecided, first: evidence.first_undecided.clone().unwrap_or_default() }
    } else if over && rejected > handled {
        let first = evidence.first_rejected.clone().unwrap_or_default();
        Grounds::Rejects { events: rejected, handled, first }
    } else if over && comparable && new.mean() > NOTICEABLE && new.mean() > previous.mean() * SLOWER {
        // At the end only: what an instance does once, on its first event, must not count for all.
        Grounds::Slow { mean: new.mean(), before: previous.mean(), calls }
    } else if comparable && leaks {
        Grounds::Leaks { instances: new.outgrown, calls }
    } else {
        return over.then_some(Standing::Passed);
    };
    Some(Standing::RolledBack(grounds))
}

impl fmt::Display for Grounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grounds::Broke { events, calls, first } => {
                write!(f, "it broke on {events} of {calls} events that the build before it handled; first: {first}")
            }
            Grounds::Unproven { calls, first } => {
                write!(
                    f,
                    "it broke in each of {calls} calls, on events that the build before it does not handle either; first: {first}"
                )
            }
            Grounds::Rejects { events, handled, first } => {
                write!(
                    f,
                    "it rejected {events} events that the build before it handles, and handled {handled}; first: {first}"
                )
            }
            Grounds::Slow { mean, before, calls } => {
                write!(f, "a call took {mean:.1?} on average of {calls}; the build before it needed {before:.1?}")
            }
            Grounds::Leaks { instances, calls } => {
                write!(f, "{instances} of its instances outgrew their memory within {calls} calls; it leaks")
            }
            Grounds::Asked => f.write_str("it was rolled back by hand"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vitals(calls: u64, mean_micros: u64, outgrown: u64) -> Vitals {
        Vitals { calls, busy: Duration::from_micros(calls * mean_micros), outgrown }
    }

    fn verdict(calls: u64, broken: u64, over: bool) -> Option<&'static str> {
        let evidence = Evidence { calls, broken, first: Some("trap: x".to_owned()), ..Evidence::default() };
        word(judge(&evidence, vitals(calls, 50, 0), vitals(1000, 50, 0), over))
    }

    fn word(standing: Option<Standing>) -> Option<&'static str> {
        standing.map(|standing| match standing {
            Standing::RolledBack(Grounds::Broke { .. }) => "broke",
            Standing::RolledBack(Grounds::Unproven { .. }) => "unproven",
            Standing::RolledBack(Grounds::Rejects { .. }) => "rejects",
            Standing::RolledBack(Grounds::Slow { .. }) => "slow",
            Standing::RolledBack(Grounds::Leaks { .. }) => "leaks",
            Standing::RolledBack(Grounds::Asked) => "asked",
            Standing::Passed => "passed",
            Standing::Open => "open",
        })
    }

    #[test]
    fn a_build_that_breaks_too_often_is_rolled_back() {
        let cases = [
            // calls, broken, over, verdict
            (1, 1, false, None),
            (2, 2, false, None),
            (3, 3, false, Some("broke")),
            (15, 3, false, Some("broke")),
            (60, 3, false, None),
            (59, 3, false, Some("broke")),
            (1, 1, true, Some("broke")),
            (19, 1, true, Some("broke")),
            (100, 5, true, Some("passed")),
            (100, 6, true, Some("broke")),
            (100, 0, true, Some("passed")),
            (50, 0, false, None),
        ];
        for (calls, broken, over, expected) in cases {
            assert_eq!(verdict(calls, broken, over), expected, "{broken} of {calls}, over: {over}");
        }
    }

    #[test]
    fn a_build_for_which_nothing_speaks_is_rolled_back_in_the_end() {
        let judged = |calls, broken, undecided, declined, over| {
            let evidence = Evidence { calls, broken, undecided, declined, ..Evidence::default() };
            word(judge(&evidence, vitals(calls, 50, 0), vitals(1000, 50, 0), over))
        };
        assert_eq!(judged(0, 0, 30, 0, false), None);
        assert_eq!(judged(0, 0, 30, 0, true), Some("unproven"));
        assert_eq!(judged(3, 3, 6, 0, false), Some("broke"), "what is proven is what is told");
        assert_eq!(judged(40, 0, 30, 0, true), Some("passed"), "it handled others");
        assert_eq!(judged(0, 0, 0, 30, true), Some("passed"), "what the build before rejects as well");
    }

    #[test]
    fn a_build_that_mostly_rejects_what_the_build_before_it_handles_is_rolled_back_in_the_end() {
        let judged = |calls, rejected, over| {
            let evidence =
                Evidence { calls, rejected, first_rejected: Some("no total".to_owned()), ..Evidence::default() };
            word(judge(&evidence, vitals(calls, 50, 0), vitals(1000, 50, 0), over))
        };
        assert_eq!(judged(0, 30, false), None, "it may be the first ones only");
        assert_eq!(judged(0, 1, true), Some("rejects"));
        assert_eq!(judged(10, 11, true), Some("rejects"));
        assert_eq!(judged(10, 10, true), Some("passed"), "a stricter rule is what somebody wanted");
        assert_eq!(judged(100, 3, true), Some("passed"));
    }

    #[test]
    fn a_build_that_is_many_times_slower_is_rolled_back() {
        let calm = Evidence { calls: 30, ..Evidence::default() };
        let judged = |new, previous| word(judge(&calm, new, previous, true));
        assert_eq!(judged(vitals(30, 20_000, 0), vitals(500, 1_000, 0)), Some("slow"));
        // Ten times as slow, but nobody would notice.
        assert_eq!(judged(vitals(30, 900, 0), vitals(500, 50, 0)), Some("passed"));
        // Slow as ever.
        assert_eq!(judged(vitals(30, 20_000, 0), vitals(500, 18_000, 0)), Some("passed"));
        // Too few calls to tell.
        assert_eq!(judged(vitals(5, 20_000, 0), vitals(500, 50, 0)), Some("passed"));
        // Its first events may be slow.
        assert_eq!(word(judge(&calm, vitals(30, 20_000, 0), vitals(500, 1_000, 0), false)), None);
    }

    #[test]
    fn a_build_that_leaks_is_rolled_back() {
        let calm = Evidence { calls: 30, ..Evidence::default() };
        assert_eq!(word(judge(&calm, vitals(30, 50, 2), vitals(500, 50, 0), false)), Some("leaks"));
        assert_eq!(word(judge(&calm, vitals(30, 50, 1), vitals(500, 50, 0), false)), None);
        assert_eq!(word(judge(&calm, vitals(30, 50, 2), vitals(500, 50, 30), false)), None, "so did the one before");
        assert_eq!(word(judge(&calm, vitals(30, 50, 2), vitals(0, 0, 0), false)), None, "nothing to compare with");
    }

    #[test]
    fn grounds_are_told_in_a_sentence() {
        let broke = Grounds::Broke { events: 3, calls: 4, first: "trap: unreachable".to_owned() };
        assert_eq!(
            broke.to_string(),
            "it broke on 3 of 4 events that the build before it handled; first: trap: unreachable"
        );
        let slow = Grounds::Slow { mean: Duration::from_millis(52), before: Duration::from_micros(40), calls: 21 };
        assert_eq!(slow.to_string(), "a call took 52.0ms on average of 21; the build before it needed 40.0µs");
    }
}
