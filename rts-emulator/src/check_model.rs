//! The model against queueing theory and against another simulator, in virtual time (rule R5).

use std::fmt;

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use rand_distr::{Distribution as _, Exp1};
use statrs::distribution::{ContinuousCDF as _, StudentsT};

use crate::{
    model::{Call, Event, Model, Nanos, Rules},
    parallel::{in_parallel, threads},
    profile::{Method, ProfileError},
};

mod cases;
#[cfg(test)]
mod tests;

pub use cases::{Case, Expected, Figure, Source, cases};

/// Confidence of the intervals.
const CONFIDENCE: f64 = 0.99;
/// Half the width of the interval of a mean wait at which a case is measured well enough, as a share of the mean.
const PRECISION: f64 = 0.01;
/// Calls of a batch. The means of batches are taken for independent: the memory of a queue at 95 % load, some
/// 1 / (1 - load)² services, is a small part of it.
pub const BATCH: usize = 500_000;
/// Fewest batches that are worth an interval, and most of a case. The first is for warming up.
const BATCHES: (usize, usize) = (20, 1_000);

/// A figure as measured, in mean service times or as a share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The mean over the batches.
    pub mean: f64,
    /// Half the width of its interval.
    pub half_width: f64,
}

/// A case that has been measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What was to be expected.
    pub case: Case,
    /// Calls that were simulated.
    pub calls: usize,
    /// What was measured, in the order of what was expected.
    pub measured: Vec<Measured>,
}

impl Row {
    /// Whether a figure's interval meets that of the reference, which for a formula is a point; and whether it is
    /// narrow enough.
    #[must_use]
    pub fn agrees(&self, place: usize) -> bool {
        let (expected, measured) = (self.case.expected[place], self.measured[place]);
        let off = (measured.mean - expected.value).abs();
        // Wide enough for what integers of nanoseconds round away.
        let meets = off <= measured.half_width + expected.half_width + 1e-7;
        meets && (!expected.figure.is_mean() || measured.half_width <= PRECISION * measured.mean)
    }

    /// Whether all do.
    #[must_use]
    pub fn is_good(&self) -> bool {
        (0..self.measured.len()).all(|place| self.agrees(place))
    }
}

/// The head of the table that [`Row`]s make; times are in mean service times.
pub const HEADER: &str = "\
case                        figure          expected  by               measured  99 % interval    calls
───────────────────────────────────────────────────────────────────────────────────────────────────────";

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (expected, measured)) in self.case.expected.iter().zip(&self.measured).enumerate() {
            let name = if place == 0 { self.case.name.as_str() } else { "" };
            let millions = format!("{:.1} M", self.calls as f64 / 1e6);
            let calls = if place == 0 { millions.as_str() } else { "" };
            if place > 0 {
                writeln!(f)?;
            }
            write!(
                f,
                "{name:<27} {:<14} {:>9.5}  {:<15} {:>9.5}  ±{:<6.2} % {:>12}{}",
                expected.figure.to_string(),
                expected.value,
                expected.source.to_string(),
                measured.mean,
                measured.half_width / measured.mean * 100.0,
                calls,
                if self.agrees(place) { "" } else { "  <- off" },
            )?;
        }
        Ok(())
    }
}

/// Measures cases on all processors, and tells each as it is done. What is measured does not depend on their
/// number.
///
/// # Errors
///
/// [`ProfileError`]; none of the cases has one.
pub fn check(
    cases: Vec<Case>,
    seed: u64,
    batch: usize,
    told: impl Fn(&Row) + Sync,
) -> Result<Vec<Row>, ProfileError> {
    in_parallel(threads(), cases, |case| measure(case, seed, batch).inspect(&told))
}

/// Measures one case: as many batches as it takes.
fn measure(case: Case, seed: u64, batch: usize) -> Result<Row, ProfileError> {
    let mut simulation = Simulation::new(&case, seed)?;
    simulation.batch(&case, batch);
    let mut figures: Vec<Vec<f64>> = vec![Vec::new(); case.expected.len()];
    let mut batches = 0;
    loop {
        for (series, figure) in figures.iter_mut().zip(simulation.batch(&case, batch)) {
            series.push(figure);
        }
        batches += 1;
        if batches < BATCHES.0 {
            continue;
        }
        let measured: Vec<Measured> = figures.iter().map(|series| interval(series)).collect();
        let wide = |(expected, measured): (&Expected, &Measured)| {
            expected.figure.is_mean() && measured.half_width > PRECISION * measured.mean
        };
        if batches >= BATCHES.1 || !case.expected.iter().zip(&measured).any(wide) {
            return Ok(Row { case, calls: (batches + 1) * batch, measured });
        }
    }
}

/// Mean and interval of what is taken for independent, by Student.
#[must_use]
pub fn interval(series: &[f64]) -> Measured {
    let n = series.len() as f64;
    let mean = series.iter().sum::<f64>() / n;
    let variance = series.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let quantile =
        StudentsT::new(0.0, 1.0, n - 1.0).map_or(f64::INFINITY, |t| t.inverse_cdf((1.0 + CONFIDENCE) / 2.0));
    Measured { mean, half_width: quantile * (variance / n).sqrt() }
}

/// A case that is being simulated, with Poisson arrivals. Its unit is a mean service time, [`cases::UNIT_MS`].
struct Simulation {
    model: Model,
    rng: SmallRng,
    at: f64,
    sent: u64,
    gap: f64,
}

/// What a batch of calls came to: by class the waits of those that were served, in mean service times; and how
/// many were not.
#[derive(Default)]
struct Batch {
    waits: [Vec<f64>; 2],
    refused: usize,
}

impl Simulation {
    fn new(case: &Case, seed: u64) -> Result<Self, ProfileError> {
        let model = Model::new(Rules::new(&case.profile())?, seed);
        let gap = cases::UNIT_MS * 1e6 / (case.load * f64::from(case.workers));
        Ok(Self { model, rng: SmallRng::seed_from_u64(seed), at: 0.0, sent: 0, gap })
    }

    /// The figures of the next calls: of those that end while so many are sent.
    fn batch(&mut self, case: &Case, calls: usize) -> Vec<f64> {
        let mut batch = Batch::default();
        for _ in 0..calls {
            let gap: f64 = Exp1.sample(&mut self.rng);
            self.at += gap * self.gap;
            let of_first = case.first.is_none_or(|share| self.rng.random::<f64>() < share);
            let method = if of_first { Method::Get } else { Method::Search };
            let channel = if of_first { "first" } else { "second" };
            let subject = self.sent.to_le_bytes();
            self.sent += 1;
            let at = to_nanos(self.at);
            self.model.arrive_once(at, Call { channel, method, subject: &subject });
            for event in self.model.advance(at) {
                match event {
                    Event::Finished { served, .. } => {
                        let wait = served.wait() as f64 / (cases::UNIT_MS * 1e6);
                        batch.waits[usize::from(served.class)].push(wait);
                    }
                    Event::Refused { .. } => batch.refused += 1,
                    Event::Started { .. } => {}
                }
            }
        }
        case.expected.iter().map(|expected| batch.figure(expected.figure)).collect()
    }
}

impl Batch {
    fn figure(&mut self, figure: Figure) -> f64 {
        let all = self.waits[0].len() + self.waits[1].len() + self.refused;
        match figure {
            Figure::Mean(class) => {
                let waits = &self.waits[usize::from(class)];
                waits.iter().sum::<f64>() / waits.len() as f64
            }
            Figure::P95(class) => {
                let waits = &mut self.waits[usize::from(class)];
                let place = (waits.len() as f64 * 0.95).ceil() as usize;
                *waits.select_nth_unstable_by(place.saturating_sub(1), f64::total_cmp).1
            }
            Figure::Refused => self.refused as f64 / all as f64,
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
fn to_nanos(at: f64) -> Nanos {
    at as Nanos
}
