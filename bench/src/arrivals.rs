//! When arrivals are due (rule B2): an absolute schedule, made before the run from a seed or a trace, so that
//! nothing that happens during the run can change it.

use std::{sync::Arc, time::Duration};

use rand::{Rng, RngExt as _};
use rand_distr::{Distribution as _, Exp};
use serde::{Deserialize, Serialize};

/// Most arrivals of one run; a plan that needs more is refused. Recorded ones are kept in memory, 24 bytes each.
pub const MAX_ARRIVALS: usize = 5_000_000;

/// One create that falls due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// When, from the start of the run.
    pub due: Duration,
    /// At which channel, by its place in the list of channels.
    pub channel: usize,
}

/// Arrivals that know nothing of each other: exponential gaps of mean `1 / per_s`, each at a channel drawn
/// evenly, so that every channel sees Poisson arrivals too.
pub fn poisson<R: Rng + Send>(
    per_s: f64,
    length: Duration,
    channels: usize,
    mut rng: R,
) -> impl Iterator<Item = Arrival> {
    let gaps = Exp::new(per_s).ok();
    let mut due = 0.0;
    std::iter::from_fn(move || {
        due += gaps?.sample(&mut rng);
        let channel = rng.random_range(0..channels.max(1));
        (due < length.as_secs_f64()).then(|| Arrival { due: Duration::from_secs_f64(due), channel })
    })
    .fuse()
    .take(MAX_ARRIVALS)
}

/// Arrivals at equal distances, at the channels in turn. The first is due after half a distance.
pub fn constant(per_s: f64, length: Duration, channels: usize) -> impl Iterator<Item = Arrival> {
    let dues = (0..MAX_ARRIVALS).map(move |index| (index as f64 + 0.5) / per_s);
    dues.take_while(move |due| *due < length.as_secs_f64()).enumerate().map(move |(index, due)| Arrival {
        due: Duration::from_secs_f64(due),
        channel: index % channels.max(1),
    })
}

/// Poisson arrivals at a rate that changes: pairs of ascending seconds and creates per second, with straight lines between
/// them, level before the first and after the last. Drawn at the highest rate, and kept as often as the rate of the
/// moment is less (thinning; Lewis and Shedler, 1979).
pub fn varying<R: Rng + Send>(
    points: Arc<[(f64, f64)]>,
    length: Duration,
    channels: usize,
    mut rng: R,
) -> impl Iterator<Item = Arrival> {
    let most = points.iter().map(|(_, per_s)| *per_s).fold(0.0, f64::max);
    let gaps = Exp::new(most).ok().filter(|_| most > 0.0);
    let mut at = 0.0;
    std::iter::from_fn(move || {
        loop {
            at += gaps?.sample(&mut rng);
            if at >= length.as_secs_f64() {
                return None;
            }
            let channel = rng.random_range(0..channels.max(1));
            if rng.random::<f64>() * most < rate_at(&points, at) {
                return Some(Arrival { due: Duration::from_secs_f64(at), channel });
            }
        }
    })
    .fuse()
    .take(MAX_ARRIVALS)
}

/// The rate at an instant.
fn rate_at(points: &[(f64, f64)], at: f64) -> f64 {
    let after = points.partition_point(|(when, _)| *when <= at);
    match (after.checked_sub(1).map(|before| points[before]), points.get(after)) {
        (Some((t0, r0)), Some((t1, r1))) => r0 + (r1 - r0) * (at - t0) / (t1 - t0),
        (Some((_, rate)), None) => rate,
        (None, first) => first.map_or(0.0, |(_, rate)| *rate),
    }
}

/// The mean rate of the first so many seconds.
#[must_use]
pub fn mean_rate(points: &[(f64, f64)], seconds: f64) -> f64 {
    // Between two corners the rate is a straight line: the mean of its ends.
    let corners = points.iter().map(|(at, _)| *at).filter(|at| (0.0..seconds).contains(at));
    let corners: Vec<f64> = [0.0].into_iter().chain(corners).chain([seconds]).collect();
    let areas = corners.windows(2).map(|pair| {
        let (from, to) = (rate_at(points, pair[0]), rate_at(points, pair[1].next_down()));
        (pair[1] - pair[0]) * f64::midpoint(from, to)
    });
    areas.sum::<f64>() / seconds
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn b2_constant_arrivals_have_the_exact_rate() {
        let arrivals: Vec<Arrival> = constant(40.0, Duration::from_secs(10), 2).collect();
        assert_eq!(arrivals.len(), 400);
        assert_eq!(arrivals[1].due - arrivals[0].due, Duration::from_millis(25));
        assert_eq!(arrivals.iter().filter(|a| a.channel == 0).count(), 200);
    }

    #[test]
    fn b2_poisson_arrivals_have_mean_and_variance_of_poisson() {
        let arrivals: Vec<Arrival> = poisson(100.0, HOUR, 2, StdRng::seed_from_u64(1)).collect();
        let mut counts = vec![0.0_f64; 3600];
        for arrival in &arrivals {
            counts[arrival.due.as_secs() as usize] += 1.0;
        }
        let mean = counts.iter().sum::<f64>() / 3600.0;
        let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / 3599.0;
        // Standard errors: the mean's 10 / 60 = 0.17, the variance's 100 * sqrt(2 / 3600) = 2.4.
        assert!((mean - 100.0).abs() < 0.7, "{mean}");
        assert!((variance - 100.0).abs() < 10.0, "{variance}");
        let first = arrivals.iter().filter(|a| a.channel == 0).count() as f64;
        assert!((first / arrivals.len() as f64 - 0.5).abs() < 0.01);
        assert!(arrivals.is_sorted_by_key(|a| a.due));
    }

    #[test]
    fn b2_a_rate_that_changes_is_followed() {
        let points: Arc<[(f64, f64)]> = [(0.0, 10.0), (1_000.0, 110.0), (2_000.0, 0.0)].into();
        assert!((mean_rate(&points, 2_000.0) - 57.5).abs() < 1e-9);
        let length = Duration::from_secs(3_000);
        let arrivals: Vec<Arrival> = varying(points, length, 2, StdRng::seed_from_u64(1)).collect();
        let in_s = |from: u64, to: u64| {
            let within = |arrival: &&Arrival| (from..to).contains(&arrival.due.as_secs());
            arrivals.iter().filter(within).count() as f64
        };
        // Poisson counts: within four standard deviations of 60,000, 20,000 and 55,000.
        assert!((in_s(0, 1_000) - 60_000.0).abs() < 1_000.0);
        assert!((in_s(0, 500) - 17_500.0).abs() < 530.0, "{}", in_s(0, 500));
        assert!((in_s(1_000, 2_000) - 55_000.0).abs() < 940.0);
        assert_eq!(in_s(2_000, 3_000), 0.0);
    }

    #[test]
    fn r3_the_seed_decides() {
        let of = |seed| poisson(50.0, HOUR, 2, StdRng::seed_from_u64(seed)).collect::<Vec<_>>();
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }
}
