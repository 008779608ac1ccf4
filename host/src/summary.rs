//! What a run did, as a table for a person or JSON for a program.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use tidemill_core::projection::ProjectionSummary;
use tidemill_core::stats::RouteSummary;

/// One line per route and per projection, in the order of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub routes: Vec<Line>,
    pub projections: Vec<ProjectionLine>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectionLine {
    pub projection: String,
    #[serde(flatten)]
    pub counts: ProjectionSummary,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub route: String,
    #[serde(flatten)]
    pub counts: RouteSummary,
}

// === impl Summary ===

impl Summary {
    pub fn of<'a>(
        routes: impl Iterator<Item = (&'a str, RouteSummary)>,
        projections: impl Iterator<Item = (&'a str, ProjectionSummary)>,
    ) -> Self {
        let projections = projections.map(|(name, counts)| ProjectionLine { projection: name.to_owned(), counts });
        Self {
            routes: routes.map(|(route, counts)| Line { route: route.to_owned(), counts }).collect(),
            projections: projections.collect(),
        }
    }

    /// Dead letters of all routes and projections by reason.
    pub fn reasons(&self) -> BTreeMap<String, u64> {
        let mut sum = BTreeMap::new();
        let of_routes = self.routes.iter().flat_map(|line| &line.counts.dead_lettered_by_reason);
        let of_projections = self.projections.iter().flat_map(|line| &line.counts.dead_lettered_by_reason);
        for (reason, count) in of_routes.chain(of_projections) {
            *sum.entry(reason.clone()).or_default() += count;
        }
        sum
    }
}

impl Summary {
    fn fmt_projections(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.projections.is_empty() {
            return Ok(());
        }
        let names = self.projections.iter().map(|line| line.projection.len());
        let width = names.chain([self.width()]).max().unwrap_or(0).max("projection".len());
        writeln!(
            f,
            "\n{:width$}  {:>9} {:>9} {:>9} {:>9} {:>13} {:>9} {:>9} {:>9}",
            "projection", "received", "folded", "skipped", "retried", "dead-lettered", "batches", "p50", "p99"
        )?;
        for ProjectionLine { projection, counts } in &self.projections {
            writeln!(
                f,
                "{projection:width$}  {:>9} {:>9} {:>9} {:>9} {:>13} {:>9} {:>9} {:>9}",
                counts.received,
                counts.folded,
                counts.skipped,
                counts.retried,
                counts.dead_lettered,
                counts.batches,
                time(counts.p50_us),
                time(counts.p99_us),
            )?;
        }
        Ok(())
    }

    /// Of the first column.
    fn width(&self) -> usize {
        self.routes.iter().map(|line| line.route.len()).max().unwrap_or(0).max("route".len())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.width();
        writeln!(
            f,
            "{:width$}  {:>9} {:>9} {:>9} {:>9} {:>13} {:>9} {:>9} {:>9}",
            "route", "received", "done", "skipped", "retried", "dead-lettered", "emitted", "p50", "p99"
        )?;
        for Line { route, counts } in &self.routes {
            writeln!(
                f,
                "{route:width$}  {:>9} {:>9} {:>9} {:>9} {:>13} {:>9} {:>9} {:>9}",
                counts.received,
                counts.done,
                counts.skipped,
                counts.retried,
                counts.dead_lettered,
                counts.emitted,
                time(counts.p50_us),
                time(counts.p99_us),
            )?;
        }
        self.fmt_projections(f)?;
        let reasons = self.reasons();
        if !reasons.is_empty() {
            let list: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            writeln!(f, "\ndead letters: {}", list.join(", "))?;
        }
        Ok(())
    }
}

/// Microseconds in the unit that reads best.
fn time(micros: u64) -> String {
    match micros {
        0 => "-".to_owned(),
        1..1_000 => format!("{micros}us"),
        1_000..1_000_000 => format!("{:.1}ms", micros as f64 / 1e3),
        _ => format!("{:.1}s", micros as f64 / 1e6),
    }
}
