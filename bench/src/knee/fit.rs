//! How the share of creates that miss the goal grows with the rate, near the rate at which it is what the goal allows:
//! a straight line for its logarithm, fitted by quasi-likelihood (McCullagh and Nelder, "Generalized Linear Models", 1989,
//! chapter 9). Creates wait in one queue and miss together, in clusters that come at random (D. Aldous, "Probability
//! Approximations via the Poisson Clumping Heuristic", 1989): the variance of how many miss is their mean times the size
//! of the clusters, which is taken from the clusters, and from how the runs scatter.

use std::ops::RangeInclusive;

use statrs::distribution::{ContinuousCDF as _, StudentsT};

use super::Seen;
use crate::diff::Interval;

/// Rates at which the fitted share is outside of this, in e-folds of the goal's, are left out: far below nothing is seen,
/// and far above no short run gets as far as the queue would.
const WINDOW: RangeInclusive<f64> = -3.0..=1.2;
/// Rates that are near to the guess, as multiples of it: narrow where the share grows fast, wide where it does not.
const NEAR: [RangeInclusive<f64>; 2] = [0.92..=1.06, 0.75..=1.2];
/// Rounds of choosing the window, and steps of each fit.
const ROUNDS: usize = 4;
const STEPS: usize = 50;
/// Fewest runs, and fewest clusters, that make a line; and how sure the interval is by itself. Because a search stops when
/// it is narrow, it holds less often: in searches for the knee of an M/M/1, which is known, four times of five.
const FEWEST: usize = 5;
const CLUSTERS: u64 = 5;
const CONFIDENCE: f64 = 0.95;
/// Runs begin at an empty queue, which makes the knee look higher by up to about this share of it (1.5 % in searches for
/// the knee of an M/M/1, which is known): that is part of the interval.
const START: f64 = 0.02;
/// Logarithms are kept within this.
const STEEPEST: f64 = 25.0;

/// Where the line crosses the goal's share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crossing {
    /// The rate, with its interval.
    pub per_s: Interval,
    /// By how much the rate grows while the share grows e-fold.
    pub per_fold: f64,
}

/// The line `offset + slope * (rate - centre)`.
#[derive(Debug, Clone, Copy)]
struct Line {
    centre: f64,
    offset: f64,
    slope: f64,
}

impl Line {
    fn logarithm(&self, per_s: f64) -> f64 {
        (self.offset + self.slope * (per_s - self.centre)).clamp(-STEEPEST, STEEPEST)
    }

    /// How many creates of a run are expected to miss.
    fn expected(&self, seen: &Seen) -> f64 {
        seen.arrivals as f64 * self.logarithm(seen.per_s).exp()
    }
}

/// The crossing of the goal's `share`, looked for around `guess`: among the runs that are nearest, or, if those say too
/// little, among more. Nothing if the runs make no rising line.
#[must_use]
pub fn crossing(seen: &[Seen], goal: f64, guess: f64) -> Option<Crossing> {
    let within =
        |near: RangeInclusive<f64>| seen.iter().filter(move |seen| near.contains(&(seen.per_s / guess)));
    NEAR.into_iter().find_map(|near| crossing_of(within(near).collect(), goal.ln(), guess))
}

fn crossing_of(mut near: Vec<&Seen>, goal: f64, guess: f64) -> Option<Crossing> {
    let mut found = None;
    for _ in 0..ROUNDS {
        if near.len() < FEWEST {
            break;
        }
        let (line, information) = fit(&near, guess)?;
        if line.slope <= 0.0 {
            break;
        }
        found = cross(line, information, &near, goal).or(found);
        near.retain(|seen| WINDOW.contains(&(line.logarithm(seen.per_s) - goal)));
    }
    found
}

/// The line, and what is known of it: the information matrix of offset and slope.
fn fit(seen: &[&Seen], centre: f64) -> Option<(Line, [f64; 3])> {
    let (missed, arrivals) = seen.iter().fold((0, 0), |(m, n), seen| (m + seen.missed, n + seen.arrivals));
    let pooled = missed as f64 / (arrivals as f64).max(1.0);
    let mut line = Line { centre, offset: pooled.clamp(1e-4, 1.0).ln(), slope: 10.0 / centre };
    let mut information = [0.0; 3];
    for _ in 0..STEPS {
        let (mut matrix, mut score) = ([0.0; 3], [0.0; 2]);
        for seen in seen {
            let (x, expected) = (seen.per_s - centre, line.expected(seen));
            let residual = seen.missed as f64 - expected;
            matrix = [matrix[0] + expected, matrix[1] + expected * x, matrix[2] + expected * x * x];
            score = [score[0] + residual, score[1] + residual * x];
        }
        let determinant = matrix[0] * matrix[2] - matrix[1] * matrix[1];
        if determinant.is_nan() || determinant <= 0.0 {
            return None;
        }
        // Near a knee the line is steep: no step may throw it over.
        let offset = ((matrix[2] * score[0] - matrix[1] * score[1]) / determinant).clamp(-1.0, 1.0);
        let slope = (matrix[0] * score[1] - matrix[1] * score[0]) / determinant;
        let slope = slope.clamp(-5.0 / centre, 5.0 / centre);
        (line.offset, line.slope, information) = (line.offset + offset, line.slope + slope, matrix);
        if offset.abs() < 1e-9 && (slope * centre).abs() < 1e-9 {
            break;
        }
    }
    (line.offset.is_finite() && line.slope.is_finite()).then_some((line, information))
}

/// Where the line crosses, by the delta method.
fn cross(line: Line, information: [f64; 3], seen: &[&Seen], goal: f64) -> Option<Crossing> {
    let sum = |of: fn(&Seen) -> u64| seen.iter().map(|seen| of(seen)).sum::<u64>();
    let (clusters, missed, squares) = (sum(|s| s.clusters), sum(|s| s.missed), sum(|s| s.squares));
    if clusters < CLUSTERS {
        return None;
    }
    let scatter = seen.iter().map(|seen| {
        let expected = line.expected(seen);
        (seen.missed as f64 - expected).powi(2) / expected
    });
    let freedom = seen.len() as f64 - 2.0;
    // Few runs may look alike by chance: the variance is at least that of so many clusters.
    let scatter = (scatter.sum::<f64>() / freedom).max(squares as f64 / missed as f64);
    let x = (goal - line.offset) / line.slope;
    let determinant = information[0] * information[2] - information[1] * information[1];
    let gradient = [-1.0 / line.slope, -x / line.slope];
    let variance = scatter
        * (gradient[0] * gradient[0] * information[2] - 2.0 * gradient[0] * gradient[1] * information[1]
            + gradient[1] * gradient[1] * information[0])
        / determinant;
    // Clusters are what is counted: of few, their size is little known.
    let students = StudentsT::new(0.0, 1.0, freedom.min(clusters as f64 - 2.0)).ok()?;
    let half = students.inverse_cdf(f64::midpoint(1.0, CONFIDENCE)) * variance.sqrt();
    let middle = line.centre + x;
    let half = half.hypot(START * middle);
    let fits = middle.is_finite() && half.is_finite() && middle > 0.0;
    let per_s = Interval { middle, low: (middle - half).max(0.0), high: middle + half };
    fits.then_some(Crossing { per_s, per_fold: 1.0 / line.slope })
}
