//! Durations, gathered and summed up: an HDR histogram in microseconds with three significant digits.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::result::{Latency, TwoPercentiles};

/// Longest duration that is told apart; longer ones count as this. One hour, in microseconds.
const LONGEST_US: u64 = 3_600_000_000;

/// Most points of a distribution that are kept for the report.
const MAX_POINTS: usize = 120;

/// How many samples a percentile needs before it is worth showing: ten beyond it.
#[must_use]
pub fn samples_needed(quantile: f64) -> u64 {
    (10.0 / (1.0 - quantile)).round() as u64
}

/// A set of durations.
#[derive(Debug, Clone)]
pub struct Durations(Histogram<u64>);

impl Default for Durations {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, 3);
        Self(histogram.unwrap_or_else(|_| unreachable!("these bounds are valid")))
    }
}

impl Durations {
    /// Adds one.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(LONGEST_US);
        self.0.saturating_record(micros.clamp(1, LONGEST_US));
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The duration that a share of `quantile` (0 to 1) does not exceed, in milliseconds.
    #[must_use]
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        (self.count() > 0).then(|| millis(self.0.value_at_quantile(quantile)))
    }

    /// The longest, in milliseconds.
    #[must_use]
    pub fn max_ms(&self) -> Option<f64> {
        (self.count() > 0).then(|| millis(self.0.max()))
    }

    /// The summary of a latency.
    #[must_use]
    pub fn latency(&self) -> Latency {
        Latency {
            count: self.count(),
            p50: self.quantile_ms(0.5),
            p90: self.quantile_ms(0.9),
            p99: self.quantile_ms(0.99),
            p999: self.quantile_ms(0.999),
            p9999: self.quantile_ms(0.9999),
            max: self.max_ms(),
        }
    }

    /// Median and 99th percentile.
    #[must_use]
    pub fn two(&self) -> TwoPercentiles {
        TwoPercentiles { count: self.count(), p50: self.quantile_ms(0.5), p99: self.quantile_ms(0.99) }
    }

    /// The whole distribution: quantile and milliseconds, at most [`MAX_POINTS`], closer together towards the
    /// slow end.
    #[must_use]
    pub fn distribution(&self) -> Vec<(f64, f64)> {
        // The longest of n samples stands for the last n-th, not for all that might ever come.
        let rarest = 1.0 - 0.5 / self.count().max(1) as f64;
        let points = self.0.iter_quantiles(5);
        let points = points.map(|step| (step.quantile().min(rarest), millis(step.value_iterated_to())));
        points.take(MAX_POINTS).collect()
    }
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_samples() {
        let mut durations = Durations::default();
        assert_eq!(durations.two(), TwoPercentiles { count: 0, p50: None, p99: None });
        assert!(durations.distribution().is_empty());
        for millis in 1..=10_000 {
            durations.record(Duration::from_millis(millis));
        }
        let latency = durations.latency();
        let near = |got: Option<f64>, expected: f64| (got.unwrap() / expected - 1.0).abs() < 0.002;
        assert!(near(latency.p50, 5_000.0) && near(latency.p90, 9_000.0) && near(latency.p99, 9_900.0));
        assert!(near(latency.p999, 9_990.0) && near(latency.p9999, 9_999.0) && near(latency.max, 10_000.0));
        assert_eq!(latency.count, 10_000);
        let distribution = durations.distribution();
        assert!(distribution.len() <= MAX_POINTS && distribution.is_sorted_by(|a, b| a.1 <= b.1));
        assert!(distribution.last().unwrap().0 > 0.999);
    }

    #[test]
    fn nothing_is_too_short_or_too_long() {
        let mut durations = Durations::default();
        durations.record(Duration::ZERO);
        durations.record(Duration::MAX);
        assert_eq!(durations.count(), 2);
        assert!(durations.max_ms().unwrap() >= 3_600_000.0);
    }

    #[test]
    fn b5_a_percentile_needs_ten_samples_beyond_it() {
        assert_eq!([0.5, 0.9, 0.99, 0.999].map(samples_needed), [20, 100, 1_000, 10_000]);
    }
}
