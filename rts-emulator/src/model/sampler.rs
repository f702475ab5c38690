//! Service times, drawn. Every shape is scaled to an explicit mean.

use rand::Rng;
use rand_distr::{Distribution as _, Exp1, Gamma, StandardNormal, StandardUniform};

use super::{
    Nanos,
    rules::{at_most, least, ms, nanos},
};
use crate::profile::{Distribution, ProfileError, ServiceTime, Wrong};

/// Least and largest coefficient of variation.
const CV: (f64, f64) = (0.01, 100.0);

/// Draws service times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sampler {
    /// In nanoseconds.
    mean: f64,
    shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq)]
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
}

impl Sampler {
    /// Checks a service time; `path` is where the profile has it.
    pub(super) fn new(path: &str, time: &ServiceTime) -> Result<Self, ProfileError> {
        let field = |name: &str| format!("{path}.{name}");
        let wrong = |name, wrong| ProfileError::Field { field: field(name), wrong };
        ms(&field("mean_ms"), time.mean_ms)?;
        let mean = time.mean_ms * 1e6;
        let spread = match time.distribution {
            Distribution::Lognormal | Distribution::Gamma => {
                let cv = time.cv.ok_or_else(|| wrong("cv", Wrong::Missing))?;
                at_most(&field("cv"), least(&field("cv"), cv, CV.0)?, CV.1)?
            }
            Distribution::Uniform => {
                let width = time.half_width_ms.ok_or_else(|| wrong("half_width_ms", Wrong::Missing))?;
                ms(&field("half_width_ms"), width)?;
                at_most(&field("half_width_ms"), width, time.mean_ms)? * 1e6
            }
            Distribution::Constant | Distribution::Exponential => 0.0,
        };
        let takes_cv = matches!(time.distribution, Distribution::Lognormal | Distribution::Gamma);
        if time.cv.is_some() && !takes_cv {
            return Err(wrong("cv", Wrong::Meaningless));
        }
        if time.half_width_ms.is_some() && time.distribution != Distribution::Uniform {
            return Err(wrong("half_width_ms", Wrong::Meaningless));
        }
        let shape = match time.distribution {
            // Nothing to spread around, and gamma and lognormal have no mean of 0.
            _ if mean == 0.0 => Shape::Constant,
            Distribution::Constant => Shape::Constant,
            Distribution::Uniform => Shape::Uniform { half_width: spread },
            Distribution::Exponential => Shape::Exponential,
            Distribution::Lognormal => {
                let variance = spread.mul_add(spread, 1.0).ln();
                Shape::Lognormal { mu: mean.ln() - variance / 2.0, sigma: variance.sqrt() }
            }
            Distribution::Gamma => {
                let gamma = Gamma::new(spread.powi(-2), mean * spread.powi(2));
                Shape::Gamma(gamma.map_err(|_| wrong("cv", Wrong::NotFinite))?)
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
        nanos(match self.shape {
            Shape::Constant => self.mean,
            Shape::Uniform { half_width } => {
                let fraction: f64 = StandardUniform.sample(&mut rng());
                (2.0 * fraction - 1.0).mul_add(half_width, self.mean)
            }
            Shape::Exponential => {
                let drawn: f64 = Exp1.sample(&mut rng());
                drawn * self.mean
            }
            Shape::Lognormal { mu, sigma } => {
                let drawn: f64 = StandardNormal.sample(&mut rng());
                drawn.mul_add(sigma, mu).exp()
            }
            Shape::Gamma(gamma) => gamma.sample(&mut rng()),
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    /// Mean and coefficient of variation of many draws, in milliseconds.
    fn moments(time: ServiceTime) -> (f64, f64) {
        let sampler = Sampler::new("service", &time).unwrap();
        let n = 40_000_u32;
        let mut rng = StdRng::seed_from_u64(1);
        let draws: Vec<f64> = (0..n).map(|_| sampler.draw(|| &mut rng) as f64 / 1e6).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
        (mean, variance.sqrt() / mean)
    }

    #[test]
    fn r2_every_shape_has_the_mean_and_the_variation_it_is_given() {
        let time =
            |distribution, cv, half_width_ms| ServiceTime { distribution, mean_ms: 40.0, cv, half_width_ms };
        let cases = [
            (time(Distribution::Constant, None, None), 0.0),
            (time(Distribution::Uniform, None, Some(30.0)), 30.0 / 40.0 / 3.0_f64.sqrt()),
            (time(Distribution::Exponential, None, None), 1.0),
            (time(Distribution::Lognormal, Some(0.5), None), 0.5),
            (time(Distribution::Gamma, Some(0.3), None), 0.3),
            (time(Distribution::Gamma, Some(2.0), None), 2.0),
        ];
        for (time, cv) in cases {
            let (mean, measured) = moments(time);
            assert!((mean / 40.0 - 1.0).abs() < 0.03, "{time:?}: mean {mean}");
            assert!((measured - cv).abs() < 0.03 * cv.max(0.001), "{time:?}: cv {measured}");
        }
    }

    #[test]
    fn a_mean_of_zero_is_a_pass_through_for_every_shape() {
        for distribution in [Distribution::Exponential, Distribution::Gamma, Distribution::Lognormal] {
            let cv = (distribution != Distribution::Exponential).then_some(1.0);
            let time = ServiceTime { distribution, mean_ms: 0.0, cv, half_width_ms: None };
            let sampler = Sampler::new("service", &time).unwrap();
            assert_eq!(sampler.draw(|| StdRng::seed_from_u64(1)), 0);
        }
    }
}
