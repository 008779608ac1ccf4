//! Projections for a person: a line each, or everything about one.

use std::fmt;

use tidemill_core::projection::{CopyStatus, Lag, ProjectionState, ProjectionStatus, RebuildProgress};

use super::short;

/// A line per projection.
pub struct Projections<'a>(pub &'a [ProjectionStatus]);

/// One projection with its copies.
pub struct Details<'a>(pub &'a ProjectionStatus);

impl fmt::Display for Projections<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|one| one.name.len()).max().unwrap_or(0).max("projection".len());
        writeln!(
            f,
            "{:width$}  {:12}  {:>4}  {:>10}  {:>10}  {:>8}  {:>13}  position",
            "projection", "state", "copy", "folded", "lag", "behind", "dead-lettered"
        )?;
        for one in self.0 {
            let active = one.active.as_ref();
            let lag = active.map(together).unwrap_or_default();
            writeln!(
                f,
                "{:width$}  {:12}  {:>4}  {:>10}  {:>10}  {:>8}  {:>13}  {}",
                one.name,
                word(&one.state),
                active.map_or_else(|| "-".to_owned(), |copy| copy.number.to_string()),
                active.map_or(0, |copy| copy.folded),
                lag.events,
                format!("{:.1} s", lag.seconds),
                active.map_or(0, |copy| copy.dead_lettered),
                active.map(position).unwrap_or_default(),
            )?;
            for line in remarks(one) {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Details<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = self.0;
        writeln!(f, "projection  {}", one.name)?;
        writeln!(f, "state       {}", word(&one.state))?;
        for line in remarks(one) {
            writeln!(f, "            {line}")?;
        }
        for (role, copy) in [("active", &one.active), ("building", &one.building), ("previous", &one.previous)] {
            let Some(copy) = copy else { continue };
            writeln!(
                f,
                "{role:10}  copy {}, begun by {}, {} events folded, {} dead-lettered",
                copy.number,
                short(&copy.digest),
                copy.folded,
                copy.dead_lettered
            )?;
            for (stream, position) in &copy.positions {
                let lag =
                    copy.lag.get(stream).map(|lag| format!(", {} events and {:.1} s behind", lag.events, lag.seconds));
                writeln!(f, "            {stream}:{position}{}", lag.unwrap_or_default())?;
            }
        }
        Ok(())
    }
}

/// What a person must know beside the numbers.
fn remarks(one: &ProjectionStatus) -> Vec<String> {
    let mut lines = Vec::new();
    match &one.state {
        ProjectionState::Halted(halt) => {
            let event = halt.event.as_deref().map(|event| format!("before {event}: ")).unwrap_or_default();
            lines.push(format!("halted {event}{}", halt.reason));
        }
        ProjectionState::Waiting { reason } => lines.push(format!("waiting: {reason}")),
        ProjectionState::Standby { holder } => lines.push(format!("active on the host `{holder}`")),
        ProjectionState::Running | ProjectionState::CatchingUp | ProjectionState::Paused | ProjectionState::Stopped => {
        }
    }
    if one.degraded {
        let count = one.active.as_ref().map_or(0, |copy| copy.dead_lettered);
        lines.push(format!(
            "degraded: {count} events could not be folded; `tidemill dlq list --route {}` shows them",
            one.name
        ));
    }
    lines.extend(one.rebuild.as_ref().map(progress));
    lines.extend(one.rebuild_failure.as_ref().map(|why| format!("the last rebuild came to nothing: {why}")));
    lines
}

/// `rebuilding: 41 %, 410000 of 1000000, 38000 events/s, 15 s left`
pub fn progress(rebuild: &RebuildProgress) -> String {
    let RebuildProgress { done, target, events_per_second, eta_seconds } = rebuild;
    let percent = (done * 100).checked_div(*target).unwrap_or(100);
    let left = eta_seconds.map(|seconds| format!(", {seconds} s left")).unwrap_or_default();
    format!("rebuilding: {percent} %, {done} of {target}, {events_per_second:.0} events/s{left}")
}

pub fn word(state: &ProjectionState) -> &'static str {
    match state {
        ProjectionState::Running => "running",
        ProjectionState::CatchingUp => "catching-up",
        ProjectionState::Paused => "paused",
        ProjectionState::Halted(_) => "halted",
        ProjectionState::Waiting { .. } => "waiting",
        ProjectionState::Standby { .. } => "standby",
        ProjectionState::Stopped => "stopped",
    }
}

fn position(copy: &CopyStatus) -> String {
    let streams: Vec<String> = copy.positions.iter().map(|(stream, at)| format!("{stream}:{at}")).collect();
    streams.join(" ")
}

/// All streams: events added up, the oldest age.
fn together(copy: &CopyStatus) -> Lag {
    copy.lag
        .values()
        .fold(Lag::default(), |sum, lag| Lag { events: sum.events + lag.events, seconds: sum.seconds.max(lag.seconds) })
}
