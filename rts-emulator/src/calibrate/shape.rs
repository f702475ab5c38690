//! Which shape the service times have.

use statrs::distribution::{ContinuousCDF, Exp, Gamma, LogNormal, Uniform};

use super::{digits, mean};
use crate::profile::{Distribution, ServiceTime};

/// A variation below this is none.
const CONSTANT_CV: f64 = 0.02;
/// A distance that chance gives to one sample in five, times the root of their number.
const NEAR: f64 = 1.07;
/// Bins of a histogram, if no shape is near.
const BINS: usize = 60;

/// The nearest shape, and its distance (Kolmogorov and Smirnov). The simpler of two that are about as near.
pub(super) fn fit(times: &[f64]) -> (ServiceTime, f64) {
    let mut times = times.to_vec();
    times.sort_unstable_by(f64::total_cmp);
    let n = times.len() as f64;
    let mean = mean(&times);
    let deviation = (times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    let cv = deviation / mean;
    if cv < CONSTANT_CV {
        return (ServiceTime::new(Distribution::Constant, digits(mean)), 0.0);
    }
    let of = |distribution, cv: Option<f64>| ServiceTime {
        cv: cv.map(digits),
        ..ServiceTime::new(distribution, digits(mean))
    };
    let half_width = deviation * 3.0_f64.sqrt();
    let uniform = ServiceTime { half_width_ms: Some(digits(half_width)), ..of(Distribution::Uniform, None) };
    // The lognormal by its logarithms, which a few long calls do not move.
    let logs: Vec<f64> = times.iter().map(|time| time.max(1e-6).ln()).collect();
    let mu = super::mean(&logs);
    let sigma = (logs.iter().map(|log| (log - mu).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    let log_cv = (sigma * sigma).exp_m1().sqrt().clamp(0.01, 100.0);
    let gamma_cv = cv.clamp(0.01, 100.0);
    let shapes = [
        (of(Distribution::Exponential, None), distance(&times, Exp::new(1.0 / mean).ok())),
        (uniform, distance(&times, Uniform::new((mean - half_width).max(0.0), mean + half_width).ok())),
        (
            of(Distribution::Gamma, Some(gamma_cv)),
            distance(&times, Gamma::new(cv.powi(-2), cv.powi(-2) / mean).ok()),
        ),
        (of(Distribution::Lognormal, Some(log_cv)), distance(&times, LogNormal::new(mu, sigma).ok())),
    ];
    // One with a parameter more is only taken if the simpler one is not near enough.
    let simple = shapes[0].1 <= NEAR / n.sqrt();
    let nearest = if simple {
        shapes.into_iter().next()
    } else {
        shapes.into_iter().reduce(|a, b| if b.1 < a.1 { b } else { a })
    };
    match nearest {
        Some((shape, distance)) if distance <= 1.63 / n.sqrt() => (shape, distance),
        Some((_, distance)) => (histogram(&times), distance),
        None => (histogram(&times), 1.0),
    }
}

/// Greatest difference between the share of times up to each and that of the distribution.
fn distance(sorted: &[f64], distribution: Option<impl ContinuousCDF<f64, f64>>) -> f64 {
    let Some(distribution) = distribution else { return 1.0 };
    let n = sorted.len() as f64;
    let at = |(place, time): (usize, &f64)| {
        let share = distribution.cdf(*time);
        (share - place as f64 / n).abs().max((share - (place + 1) as f64 / n).abs())
    };
    sorted.iter().enumerate().map(at).fold(0.0, f64::max)
}

/// Bins with about as many times in each.
fn histogram(sorted: &[f64]) -> ServiceTime {
    let mut bins = vec![((sorted[0] * 0.999).max(0.0), 0.0)];
    for bin in 1..=BINS {
        let upto = sorted.len() * bin / BINS;
        let upper = digits(sorted[upto.max(1) - 1]);
        let (before, counted) = (bins[bins.len() - 1].0, bins.iter().map(|(_, count)| count).sum::<f64>());
        if upper > before {
            bins.push((upper, upto as f64 - counted));
        }
    }
    ServiceTime { mean_ms: None, histogram: Some(bins), ..ServiceTime::new(Distribution::Empirical, 0.0) }
}
