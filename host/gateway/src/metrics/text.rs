//! Writes the Prometheus text format, version 0.0.4.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write as _;

use tidemill_core::stats::{BOUNDS, Distribution};

use super::catalogue::{Metric, MetricKind};

/// The text so far. All samples of a metric are written at once, as the format demands.
#[derive(Default)]
pub(super) struct Text(String);

// === impl Text ===

impl Text {
    /// The samples of a counter or a gauge. A metric without samples is left out.
    pub(super) fn family<'a, const N: usize>(
        &mut self,
        metric: &Metric,
        samples: impl IntoIterator<Item = ([&'a str; N], f64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_some() {
            self.head(metric);
        }
        for (labels, value) in samples {
            self.sample(metric, "", &labels, None, value);
        }
    }

    pub(super) fn histograms<'a, const N: usize>(
        &mut self,
        metric: &Metric,
        samples: impl IntoIterator<Item = ([&'a str; N], &'a Distribution)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_some() {
            self.head(metric);
        }
        for (labels, spread) in samples {
            for (bound, count) in BOUNDS.iter().zip(spread.cumulative) {
                self.sample(metric, "_bucket", &labels, Some(("le", &bound.to_string())), count as f64);
            }
            self.sample(metric, "_bucket", &labels, Some(("le", "+Inf")), spread.count as f64);
            self.sample(metric, "_sum", &labels, None, spread.sum);
            self.sample(metric, "_count", &labels, None, spread.count as f64);
        }
    }

    /// Summaries without quantiles: how many, and how much together.
    pub(super) fn summaries<'a, const N: usize>(
        &mut self,
        metric: &Metric,
        samples: impl IntoIterator<Item = ([&'a str; N], u64, f64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_some() {
            self.head(metric);
        }
        for (labels, count, sum) in samples {
            self.sample(metric, "_sum", &labels, None, sum);
            self.sample(metric, "_count", &labels, None, count as f64);
        }
    }

    pub(super) fn finish(self) -> String {
        self.0
    }

    fn head(&mut self, metric: &Metric) {
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
            MetricKind::Summary => "summary",
        };
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {} {}\n# TYPE {} {kind}", metric.name, metric.help, metric.name);
    }

    fn sample(&mut self, metric: &Metric, suffix: &str, values: &[&str], more: Option<(&str, &str)>, value: f64) {
        debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
        self.0.push_str(metric.name);
        self.0.push_str(suffix);
        let labels = metric.labels.iter().copied().zip(values.iter().copied()).chain(more);
        for (index, (name, value)) in labels.enumerate() {
            let _ = write!(self.0, "{}{name}=\"{}\"", if index == 0 { '{' } else { ',' }, escaped(value));
        }
        if !values.is_empty() || more.is_some() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
