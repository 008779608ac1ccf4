//! How times are spread: recorded finely, told in a few buckets.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Longest time that the histogram tells apart; what takes longer is counted as this.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// Upper bounds of the buckets that metrics have, in seconds: from a call that does nothing to an event that waited for hours.
/// They must not change, or the series of years cannot be compared.
pub const BOUNDS: [f64; 20] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 1800.0,
];

/// Times, as a metric tells them.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// For each of [`BOUNDS`], how many took so long at most. Never falls.
    pub cumulative: [u64; BOUNDS.len()],
    pub count: u64,
    /// Seconds, all together.
    pub sum: f64,
}

/// Records times in constant memory, to two digits.
#[derive(Debug)]
pub(crate) struct Timer {
    micros: Histogram<u64>,
    /// Exact, which the histogram is not.
    sum: Duration,
}

// === impl Timer ===

impl Timer {
    pub(crate) fn record(&mut self, time: Duration) {
        self.micros.saturating_record((time.as_micros() as u64).max(1));
        self.sum = self.sum.saturating_add(time);
    }

    /// So many at once that took the same.
    pub(crate) fn record_many(&mut self, time: Duration, count: u64) {
        self.micros.saturating_record_n((time.as_micros() as u64).max(1), count);
        self.sum = self.sum.saturating_add(time.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX)));
    }

    pub(crate) fn micros_at(&self, quantile: f64) -> u64 {
        self.micros.value_at_quantile(quantile)
    }

    pub(crate) fn distribution(&self) -> Distribution {
        let mut cumulative = [0; BOUNDS.len()];
        for step in self.micros.iter_recorded() {
            // What was recorded may be anything up to this; a value is counted where all that it may be fits.
            let longest = self.micros.highest_equivalent(step.value_iterated_to()) as f64 / 1e6;
            if let Some(first) = BOUNDS.iter().position(|bound| longest <= *bound) {
                cumulative[first] += step.count_at_value();
            }
        }
        for index in 1..cumulative.len() {
            cumulative[index] += cumulative[index - 1];
        }
        Distribution { cumulative, count: self.micros.len(), sum: self.sum.as_secs_f64() }
    }

    #[cfg(test)]
    pub(crate) fn size(&self) -> usize {
        self.micros.distinct_values()
    }
}

impl Default for Timer {
    fn default() -> Self {
        #[allow(clippy::expect_used, reason = "the bounds are constants, and the tests construct one")]
        let micros = Histogram::new_with_bounds(1, LONGEST_MICROS, 2).expect("constant bounds are valid");
        Self { micros, sum: Duration::ZERO }
    }
}

impl Default for Distribution {
    fn default() -> Self {
        Self { cumulative: [0; BOUNDS.len()], count: 0, sum: 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_the_buckets_that_it_fits() {
        let mut timer = Timer::default();
        let times: Vec<Duration> = (0..4000_u64).map(|n| Duration::from_micros(n * n * 120)).collect();
        times.iter().for_each(|time| timer.record(*time));
        let told = timer.distribution();
        assert_eq!((told.count, told.sum), (4000, times.iter().sum::<Duration>().as_secs_f64()));
        for (bound, count) in BOUNDS.iter().zip(told.cumulative) {
            let fitting = |bound: f64| times.iter().filter(|time| time.as_secs_f64() <= bound).count() as u64;
            // The histogram knows a time to a hundredth.
            assert!((fitting(bound * 0.98)..=fitting(*bound)).contains(&count), "{bound}: {count}");
        }
        assert!(told.cumulative.is_sorted() && told.cumulative[19] <= told.count);
    }

    #[test]
    fn a_time_beyond_all_buckets_is_counted_and_in_none() {
        let mut timer = Timer::default();
        timer.record(Duration::from_secs(1_000_000));
        let told = timer.distribution();
        assert_eq!((told.cumulative, told.count, told.sum), ([0; 20], 1, 1e6));
    }
}
