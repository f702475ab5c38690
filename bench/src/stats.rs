//! Durations, gathered and summed up: an HDR histogram in microseconds, of bounded size however many there are.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::result::{Latency, Part, TwoPercentiles};

/// Longest duration that is told apart; longer ones count as this. One hour, in microseconds.
const LONGEST_US: u64 = 3_600_000_000;

/// Most points of a distribution that are kept for the report.
const MAX_POINTS: usize = 120;

/// How many samples a percentile needs before it is worth showing: ten beyond it.
#[must_use]
pub fn samples_needed(quantile: f64) -> u64 {
    (10.0 / (1.0 - quantile)).round() as u64
}

/// A set of durations, as exact as three significant digits (190 KiB), or two ([`Durations::coarse`], 28 KiB). In a file
/// it is the list of values and how often each is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Listed", from = "Listed")]
pub struct Durations(Histogram<u64>);

/// Significant digits, and pairs of microseconds and how often.
#[derive(Serialize, Deserialize)]
struct Listed(u8, Vec<(u64, u64)>);

impl From<Durations> for Listed {
    fn from(durations: Durations) -> Self {
        let recorded = durations.0.iter_recorded();
        let pairs = recorded.map(|step| (step.value_iterated_to(), step.count_at_value()));
        Self(durations.0.sigfig(), pairs.collect())
    }
}

impl From<Listed> for Durations {
    fn from(Listed(digits, pairs): Listed) -> Self {
        let mut durations = Self::of_digits(if digits == 2 { 2 } else { 3 });
        for (micros, count) in pairs {
            durations.0.saturating_record_n(micros.clamp(1, LONGEST_US), count);
        }
        durations
    }
}

impl Default for Durations {
    fn default() -> Self {
        Self::of_digits(3)
    }
}

impl Durations {
    /// A set that is as exact as two significant digits.
    #[must_use]
    pub fn coarse() -> Self {
        Self::of_digits(2)
    }

    fn of_digits(digits: u8) -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, digits);
        Self(histogram.unwrap_or_else(|_| unreachable!("these bounds are valid")))
    }

    /// Adds all of another set.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds, so each value of one can be recorded in the other.
        let added = self.0.add(&other.0);
        debug_assert!(added.is_ok());
    }

    /// Mean and two percentiles.
    #[must_use]
    pub fn part(&self) -> Part {
        let mean = (self.count() > 0).then(|| self.0.mean() / 1_000.0);
        Part { mean, p50: self.quantile_ms(0.5), p99: self.quantile_ms(0.99) }
    }

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

/// Median and extremes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one, or the mean of the middle two.
    pub median: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
}

impl Spread {
    /// Of these figures; zero of none.
    #[must_use]
    pub fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let at = |place: usize| figures.get(place).copied().unwrap_or_default();
        let last = figures.len().saturating_sub(1);
        Self { median: (at(last / 2) + at(last.div_ceil(2))) / 2.0, low: at(0), high: at(last) }
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
    fn sets_are_merged_and_written_down_without_loss() {
        let (mut all, mut odd, mut even) = (Durations::default(), Durations::default(), Durations::default());
        for n in 1..=5_000_u64 {
            let duration = Duration::from_micros(n * 37);
            all.record(duration);
            if n % 2 == 0 { even.record(duration) } else { odd.record(duration) }
        }
        let text = serde_json::to_string(&even).unwrap();
        odd.add(&serde_json::from_str(&text).unwrap());
        assert_eq!(odd.latency(), all.latency());
        let mut coarse = Durations::coarse();
        coarse.add(&all);
        assert_eq!(coarse.count(), 5_000);
        assert!((coarse.quantile_ms(0.5).unwrap() / all.quantile_ms(0.5).unwrap() - 1.0).abs() < 0.02);
        assert!((all.part().mean.unwrap() - 92.5185).abs() < 0.1);
    }

    #[test]
    fn the_median_is_the_middle() {
        let of = |figures: &[f64]| Spread::of(figures.iter().copied());
        assert_eq!(of(&[3.0, 1.0, 2.0]), Spread { median: 2.0, low: 1.0, high: 3.0 });
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(of(&[7.0]), Spread { median: 7.0, low: 7.0, high: 7.0 });
        assert_eq!(of(&[]).median, 0.0);
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
