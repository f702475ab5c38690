//! When creates fall due in a plan of whole days and many stores: drawn one after the other.

use std::time::Duration;

use rand::{Rng, RngExt as _, SeedableRng as _, rngs::SmallRng};
use rand_distr::{Distribution as _, Exp1, StandardNormal};

use crate::arrivals::Arrival;

/// How many of 4,340 first purchases at a real retailer fell into each hour of the day: the trace
/// `traces/online-retail-new-customers.csv`, all its days together.
pub const DAY: [u16; 24] =
    [0, 0, 0, 0, 0, 0, 0, 5, 127, 339, 489, 488, 718, 664, 559, 493, 246, 137, 43, 27, 5, 0, 0, 0];

const HOUR_S: f64 = 3_600.0;

/// The stores of a chain, by how much they do.
#[derive(Debug, Clone, PartialEq)]
pub struct Sizes {
    /// Cumulated shares of all creates.
    up_to: Vec<f64>,
}

impl Sizes {
    /// Stores by their share, whatever its unit.
    #[must_use]
    pub fn new(shares: &[f64]) -> Self {
        let all: f64 = shares.iter().sum();
        let mut sum = 0.0;
        let up_to = shares.iter().map(|share| {
            sum += share;
            sum / all
        });
        Self { up_to: up_to.collect() }
    }

    /// So many stores, whose sizes are lognormal: `spread` is the standard deviation of their logarithms; 0: all
    /// are alike.
    #[must_use]
    pub fn drawn(stores: usize, spread: f64, rng: &mut impl Rng) -> Self {
        let mut size = || {
            let drawn: f64 = StandardNormal.sample(rng);
            (drawn * spread).exp()
        };
        let mut sizes: Vec<f64> = (0..stores).map(|_| if spread > 0.0 { size() } else { 1.0 }).collect();
        // The largest first, so that a store's number says what it is.
        sizes.sort_unstable_by(|a, b| b.total_cmp(a));
        Self::new(&sizes)
    }

    /// How many stores there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.up_to.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.up_to.is_empty()
    }

    /// A store's share of all creates.
    #[must_use]
    pub fn share(&self, store: usize) -> f64 {
        let before = store.checked_sub(1).map_or(0.0, |before| self.up_to[before]);
        self.up_to[store] - before
    }

    fn draw(&self, rng: &mut impl Rng) -> usize {
        let drawn: f64 = rng.random();
        self.up_to.partition_point(|up_to| *up_to <= drawn).min(self.up_to.len().saturating_sub(1))
    }
}

/// Creates of all stores per second, by the hour.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    per_s: Vec<f64>,
}

impl Curve {
    /// A day of so many creates, with the shape of [`DAY`].
    #[must_use]
    pub fn day(creates: f64) -> Self {
        let all: f64 = DAY.iter().map(|count| f64::from(*count)).sum();
        Self { per_s: DAY.iter().map(|count| f64::from(*count) / all * creates / HOUR_S).collect() }
    }

    /// Always the same.
    #[must_use]
    pub fn steady(per_s: f64) -> Self {
        Self { per_s: vec![per_s] }
    }

    /// Creates per second in an hour, counted from the start; the day comes again.
    #[must_use]
    pub fn at_hour(&self, hour: usize) -> f64 {
        self.per_s.get(hour % self.per_s.len().max(1)).copied().unwrap_or_default()
    }

    /// The most of all hours.
    #[must_use]
    pub fn peak(&self) -> f64 {
        self.per_s.iter().copied().fold(0.0, f64::max)
    }

    /// The hours, one rate each.
    #[must_use]
    pub fn hours(&self) -> &[f64] {
        &self.per_s
    }
}

/// Creates as they fall due: Poisson along a curve.
pub struct Traffic<'a> {
    curve: &'a Curve,
    sizes: &'a Sizes,
    until_s: f64,
    rng: SmallRng,
    /// The last create.
    at_s: f64,
}

impl<'a> Traffic<'a> {
    /// Until so long after the start.
    #[must_use]
    pub fn drawn(curve: &'a Curve, sizes: &'a Sizes, until: Duration, seed: u64) -> Self {
        let rng = SmallRng::seed_from_u64(seed);
        Self { curve, sizes, until_s: until.as_secs_f64(), rng, at_s: 0.0 }
    }
}

impl Iterator for Traffic<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        // What is left of a unit exponential after each hour's share of it: exact for a rate that changes by steps.
        let mut left: f64 = Exp1.sample(&mut self.rng);
        while self.at_s < self.until_s {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "positive, and not too large"
            )]
            let hour = (self.at_s / HOUR_S) as usize;
            let (end, rate) = ((hour + 1) as f64 * HOUR_S, self.curve.at_hour(hour));
            if rate * (end - self.at_s) > left {
                self.at_s += left / rate;
                break;
            }
            left -= rate * (end - self.at_s);
            self.at_s = end;
        }
        let channel = self.sizes.draw(&mut self.rng);
        (self.at_s < self.until_s).then(|| Arrival { due: Duration::from_secs_f64(self.at_s), channel })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Trace;

    #[test]
    fn b10_the_day_is_that_of_the_trace() {
        let trace = Trace::parse(include_str!("../../traces/online-retail-new-customers.csv")).unwrap();
        assert_eq!(trace.by_hour(), DAY.map(u64::from));
    }

    #[test]
    fn b10_a_day_has_its_creates_in_its_hours_and_stores() {
        let curve = Curve::day(200_000.0);
        let sizes = Sizes::new(&[3.0, 1.0]);
        let day = Duration::from_secs(86_400);
        let arrivals: Vec<Arrival> = Traffic::drawn(&curve, &sizes, day, 1).collect();
        // Standard deviations: 447, 178 and 194.
        assert!((arrivals.len() as f64 - 200_000.0).abs() < 1_500.0, "{}", arrivals.len());
        let noon = arrivals.iter().filter(|a| a.due.as_secs() / 3_600 == 12).count() as f64;
        assert!((noon - 200_000.0 * 718.0 / 4_340.0).abs() < 600.0, "{noon}");
        let first = arrivals.iter().filter(|a| a.channel == 0).count() as f64;
        assert!((first - 0.75 * arrivals.len() as f64).abs() < 600.0, "{first}");
        assert!(
            arrivals.is_sorted_by_key(|a| a.due) && arrivals.iter().all(|a| a.due.as_secs() >= 7 * 3_600)
        );
        assert!((curve.peak() - 200_000.0 * 718.0 / 4_340.0 / 3_600.0).abs() < 1e-9);
        let steady: Vec<Arrival> = Traffic::drawn(&Curve::steady(10.0), &sizes, day, 1).collect();
        assert!((steady.len() as f64 - 864_000.0).abs() < 3_000.0, "{}", steady.len());
    }

    #[test]
    fn b10_sizes_are_shares_the_largest_first() {
        let sizes = Sizes::drawn(100, 1.0, &mut SmallRng::seed_from_u64(1));
        let shares: Vec<f64> = (0..100).map(|store| sizes.share(store)).collect();
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9 && shares.is_sorted_by(|a, b| a >= b));
        assert!(shares[0] > 4.0 * shares[50]);
        let alike = Sizes::drawn(4, 0.0, &mut SmallRng::seed_from_u64(1));
        assert!((0..4).all(|store| (alike.share(store) - 0.25).abs() < 1e-12));
    }
}
