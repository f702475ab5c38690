//! Service times, drawn. Every shape is scaled to an explicit mean.

use std::sync::Arc;

use rand::{Rng, RngExt as _};
use rand_distr::{Distribution as _, Exp1, Gamma, StandardNormal, StandardUniform};

use super::{
    Nanos,
    rules::{at_most, entries, least, ms, nanos},
};
use crate::profile::{Distribution, ProfileError, ServiceTime, Wrong};

/// Least and largest coefficient of variation.
const CV: (f64, f64) = (0.01, 100.0);
/// Most bins of a histogram.
const MAX_BINS: u32 = 1_000;

/// Draws service times.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sampler {
    /// In nanoseconds.
    mean: f64,
    shape: Shape,
}

#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Constant,
    Uniform {
        half_width: f64,
    },
    Exponential,
    /// Of the underlying normal distribution.
    Lognormal {
        mu: f64,
        sigma: f64,
    },
    Gamma(Gamma<f64>),
    /// Cumulated shares, each with the bounds of its bin in nanoseconds.
    Empirical(Arc<[(f64, f64, f64)]>),
}

impl Sampler {
    /// Checks a service time; `path` is where the profile has it.
    pub(super) fn new(path: &str, time: &ServiceTime) -> Result<Self, ProfileError> {
        let field = |name: &str| format!("{path}.{name}");
        let wrong = |name, wrong| ProfileError::field(field(name), wrong);
        use Distribution as D;
        for (name, is_there, has_a_meaning) in [
            ("cv", time.cv.is_some(), matches!(time.distribution, D::Lognormal | D::Gamma)),
            ("half_width_ms", time.half_width_ms.is_some(), time.distribution == D::Uniform),
            ("histogram", time.histogram.is_some(), time.distribution == D::Empirical),
        ] {
            match (is_there, has_a_meaning) {
                (true, false) => return Err(wrong(name, Wrong::Meaningless)),
                (false, true) => return Err(wrong(name, Wrong::Missing)),
                _ => {}
            }
        }
        if time.mean_ms.is_none() && time.distribution != D::Empirical {
            return Err(wrong("mean_ms", Wrong::Missing));
        }
        let bins = bins(&field("histogram"), time.histogram.as_deref().unwrap_or_default())?;
        if bins.is_empty() && time.distribution == D::Empirical {
            return Err(wrong("histogram", Wrong::NoCounts));
        }
        let mean_ms = time.mean();
        ms(&field("mean_ms"), mean_ms)?;
        let mean = mean_ms * 1e6;
        let spread = match time.distribution {
            D::Lognormal | D::Gamma => {
                let cv = time.cv.unwrap_or_default();
                at_most(&field("cv"), least(&field("cv"), cv, CV.0)?, CV.1)?
            }
            D::Uniform => {
                let width = time.half_width_ms.unwrap_or_default();
                ms(&field("half_width_ms"), width)?;
                at_most(&field("half_width_ms"), width, mean_ms)? * 1e6
            }
            D::Constant | D::Exponential | D::Empirical => 0.0,
        };
        let shape = match time.distribution {
            // Nothing to spread around, and gamma and lognormal have no mean of 0.
            _ if mean == 0.0 => Shape::Constant,
            D::Constant => Shape::Constant,
            D::Uniform => Shape::Uniform { half_width: spread },
            D::Exponential => Shape::Exponential,
            D::Lognormal => {
                let variance = spread.mul_add(spread, 1.0).ln();
                Shape::Lognormal { mu: mean.ln() - variance / 2.0, sigma: variance.sqrt() }
            }
            D::Gamma => {
                let gamma = Gamma::new(spread.powi(-2), mean * spread.powi(2));
                Shape::Gamma(gamma.map_err(|_| wrong("cv", Wrong::NotFinite))?)
            }
            D::Empirical => {
                let measured = ServiceTime { mean_ms: None, ..time.clone() }.mean() * 1e6;
                let stretch = |bound: f64| bound * (mean / measured);
                let bins =
                    bins.into_iter().map(|(share, lower, upper)| (share, stretch(lower), stretch(upper)));
                Shape::Empirical(bins.collect())
            }
        };
        Ok(Self { mean, shape })
    }

    /// The mean.
    pub(super) fn mean(&self) -> Nanos {
        nanos(self.mean)
    }

    /// One service time. `rng` is only made if chance has a part in it.
    pub(super) fn draw<R: Rng>(&self, rng: impl FnOnce() -> R) -> Nanos {
        nanos(match &self.shape {
            Shape::Constant => self.mean,
            Shape::Uniform { half_width } => {
                let fraction: f64 = StandardUniform.sample(&mut rng());
                (2.0 * fraction - 1.0).mul_add(*half_width, self.mean)
            }
            Shape::Exponential => {
                let drawn: f64 = Exp1.sample(&mut rng());
                drawn * self.mean
            }
            Shape::Lognormal { mu, sigma } => {
                let drawn: f64 = StandardNormal.sample(&mut rng());
                drawn.mul_add(*sigma, *mu).exp()
            }
            Shape::Gamma(gamma) => gamma.sample(&mut rng()),
            Shape::Empirical(bins) => {
                let mut rng = rng();
                let (share, within): (f64, f64) = (rng.random(), rng.random());
                let bin = bins.partition_point(|(up_to, ..)| *up_to <= share).min(bins.len() - 1);
                let (_, lower, upper) = bins[bin];
                (upper - lower).mul_add(within, lower)
            }
        })
    }
}

/// Checks a histogram: bins as cumulated share, lower and upper bound in nanoseconds; without those that are
/// empty.
fn bins(path: &str, histogram: &[(f64, f64)]) -> Result<Vec<(f64, f64, f64)>, ProfileError> {
    entries(path, histogram.len(), MAX_BINS)?;
    let mut lower = 0.0;
    let mut sum = 0.0;
    let mut bins = Vec::with_capacity(histogram.len());
    for (index, (upper, calls)) in histogram.iter().enumerate() {
        let place = format!("{path}[{index}]");
        ms(&place, *upper)?;
        at_most(&place, least(&place, *calls, 0.0)?, 1e15)?;
        if index > 0 && *upper * 1e6 <= lower {
            return Err(ProfileError::field(place, Wrong::NotAscending(*upper)));
        }
        sum += calls;
        if *calls > 0.0 {
            bins.push((sum, lower, upper * 1e6));
        }
        lower = upper * 1e6;
    }
    bins.iter_mut().for_each(|(up_to, ..)| *up_to /= sum);
    Ok(bins)
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    /// Mean and coefficient of variation of many draws, in milliseconds.
    fn moments(time: &ServiceTime) -> (f64, f64) {
        let sampler = Sampler::new("service", time).unwrap();
        let n = 40_000_u32;
        let mut rng = StdRng::seed_from_u64(1);
        let draws: Vec<f64> = (0..n).map(|_| sampler.draw(|| &mut rng) as f64 / 1e6).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
        (mean, variance.sqrt() / mean)
    }

    #[test]
    fn r2_every_shape_has_the_mean_and_the_variation_it_is_given() {
        let time = |distribution, cv, half_width_ms| ServiceTime {
            cv,
            half_width_ms,
            ..ServiceTime::new(distribution, 40.0)
        };
        let measured = Some(vec![(10.0, 0.0), (30.0, 3.0), (50.0, 0.0), (90.0, 1.0)]);
        let empirical = |mean_ms| ServiceTime {
            mean_ms,
            histogram: measured.clone(),
            ..time(Distribution::Empirical, None, None)
        };
        // Three quarters around 20, one around 70, and what is within the bins: 32.5 and its variation.
        let variance = 0.75 * (12.5_f64.powi(2) + 400.0 / 12.0) + 0.25 * (37.5_f64.powi(2) + 1_600.0 / 12.0);
        let cases = [
            (time(Distribution::Constant, None, None), 0.0),
            (time(Distribution::Uniform, None, Some(30.0)), 30.0 / 40.0 / 3.0_f64.sqrt()),
            (time(Distribution::Exponential, None, None), 1.0),
            (time(Distribution::Lognormal, Some(0.5), None), 0.5),
            (time(Distribution::Gamma, Some(0.3), None), 0.3),
            (time(Distribution::Gamma, Some(2.0), None), 2.0),
            (empirical(Some(40.0)), variance.sqrt() / 32.5),
        ];
        assert!((empirical(None).mean() - 32.5).abs() < 1e-9);
        for (time, cv) in cases {
            let (mean, measured) = moments(&time);
            assert!((mean / 40.0 - 1.0).abs() < 0.03, "{time:?}: mean {mean}");
            assert!((measured - cv).abs() < 0.03 * cv.max(0.001), "{time:?}: cv {measured}");
        }
    }

    #[test]
    fn a_mean_of_zero_is_a_pass_through_for_every_shape() {
        for distribution in [Distribution::Exponential, Distribution::Gamma, Distribution::Lognormal] {
            let cv = (distribution != Distribution::Exponential).then_some(1.0);
            let time = ServiceTime { cv, ..ServiceTime::new(distribution, 0.0) };
            let sampler = Sampler::new("service", &time).unwrap();
            assert_eq!(sampler.draw(|| StdRng::seed_from_u64(1)), 0);
        }
    }
}
