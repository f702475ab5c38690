//! What stores, and the ways to them, add to a create: always the same, or drawn from what was measured.

use rand::{Rng, RngExt as _};

use super::jobs::Nanos;

/// The overhead of both ways to create.
#[derive(Debug, Clone, PartialEq)]
pub struct Overhead {
    sync: Drawn,
    asynchronous: Drawn,
}

/// Quantiles, from above 0 to 1 at most, each with its duration, both ascending. Between them durations are alike.
#[derive(Debug, Clone, PartialEq)]
struct Drawn(Vec<(f64, f64)>);

impl Overhead {
    /// Always the same, in milliseconds: what is added to a sync create, and how long an async one takes.
    #[must_use]
    pub fn fixed(sync_ms: f64, async_ms: f64) -> Self {
        Self::measured(&[(1.0, sync_ms)], &[(1.0, async_ms)])
    }

    /// As measured: quantiles and milliseconds.
    #[must_use]
    pub fn measured(sync_ms: &[(f64, f64)], async_ms: &[(f64, f64)]) -> Self {
        let nanos = |quantiles: &[(f64, f64)]| {
            Drawn(quantiles.iter().map(|(q, ms)| (*q, ms.max(0.0) * 1e6)).collect())
        };
        Self { sync: nanos(sync_ms), asynchronous: nanos(async_ms) }
    }

    /// What a sync create takes besides the call to headquarters; half before it and half after it.
    pub fn of_sync(&self, rng: &mut impl Rng) -> Nanos {
        self.sync.draw(rng)
    }

    /// What an async create takes, or one that falls back.
    pub fn of_async(&self, rng: &mut impl Rng) -> Nanos {
        self.asynchronous.draw(rng)
    }

    /// The means, in milliseconds.
    #[must_use]
    pub fn means_ms(&self) -> (f64, f64) {
        (self.sync.mean() / 1e6, self.asynchronous.mean() / 1e6)
    }
}

impl Drawn {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and is not negative"
    )]
    fn draw(&self, rng: &mut impl Rng) -> Nanos {
        if let [(_, always)] = self.0[..] {
            return always as Nanos;
        }
        let drawn: f64 = rng.random();
        let place = self.0.partition_point(|(quantile, _)| *quantile < drawn);
        let Some((upper, longest)) = self.0.get(place).copied() else {
            return self.0.last().map_or(0, |(_, longest)| *longest as Nanos);
        };
        let (lower, shortest) = place.checked_sub(1).map_or((0.0, self.0[0].1), |before| self.0[before]);
        let share = if upper > lower { (drawn - lower) / (upper - lower) } else { 1.0 };
        (longest - shortest).mul_add(share, shortest) as Nanos
    }

    fn mean(&self) -> f64 {
        let mut before = (0.0, self.0.first().map_or(0.0, |(_, shortest)| *shortest));
        let mut sum = 0.0;
        for (quantile, duration) in &self.0 {
            sum += (quantile - before.0) * (before.1 + duration) / 2.0;
            before = (*quantile, *duration);
        }
        sum + (1.0 - before.0).max(0.0) * before.1
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::SmallRng};

    use super::*;

    #[test]
    fn b10_what_was_measured_is_drawn_again() {
        let measured = [(0.0, 1.0), (0.5, 2.0), (0.9, 4.0), (0.99, 10.0)];
        let overhead = Overhead::measured(&measured, &[(1.0, 7.0)]);
        let mut rng = SmallRng::seed_from_u64(1);
        let mut drawn: Vec<f64> = (0..100_000).map(|_| overhead.of_sync(&mut rng) as f64 / 1e6).collect();
        drawn.sort_unstable_by(f64::total_cmp);
        for (quantile, ms) in [(0.25, 1.5), (0.5, 2.0), (0.9, 4.0), (0.95, 7.33), (0.995, 10.0)] {
            assert!((drawn[(quantile * 1e5) as usize] / ms - 1.0).abs() < 0.03, "{quantile}");
        }
        let mean = drawn.iter().sum::<f64>() / 1e5;
        assert!(
            (overhead.means_ms().0 / mean - 1.0).abs() < 0.01 && (overhead.means_ms().1 - 7.0).abs() < 1e-9
        );
        assert_eq!(overhead.of_async(&mut rng), 7_000_000);
    }
}
