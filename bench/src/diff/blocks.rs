//! The blocks of a run from which a comparison takes its uncertainty.

use crate::result::{Mode, Repetition, Run, Slice, enough};

/// Fewest blocks that say something.
const FEWEST: usize = 3;
/// A single run is cut into blocks if it is at least this long.
const LONG_S: f64 = 30.0;
/// Fewest blocks of a single run.
const FEWEST_CUT: usize = 8;
/// Blocks whose neighbours are alike beyond this many standard errors remember each other.
const MEMORY: f64 = 1.645;

/// A figure that is compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// Its name, with the unit.
    pub name: &'static str,
    /// Whether more of it is better.
    pub more_is_better: bool,
    /// Whether it is a time, which depends on the machine.
    pub is_time: bool,
    /// Whether it is a share: compared by difference; everything else by ratio.
    pub is_share: bool,
}

/// A figure of a run, as a whole and in blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct Blocks {
    /// Of all together.
    pub whole: f64,
    /// Of each block: the logarithm, or the share.
    pub values: Vec<f64>,
}

impl Blocks {
    /// Whether there are enough.
    pub fn can_tell(&self) -> bool {
        self.values.len() >= FEWEST
    }
}

const fn time(name: &'static str) -> Figure {
    Figure { name, more_is_better: false, is_time: true, is_share: false }
}

const DONE: Figure = Figure { name: "done/s", more_is_better: true, is_time: false, is_share: false };
const FAILED: Figure = Figure { name: "failed", more_is_better: false, is_time: false, is_share: true };

/// What is known of a block.
type OfRepetition = fn(&Repetition) -> Option<f64>;
type OfSlice = fn(&Slice) -> Option<f64>;

/// Every figure of a run that there is. Percentiles that have too few samples in a repetition are left out: they would
/// compare the longest of a few.
pub fn figures(run: &Run) -> Vec<(Figure, Blocks)> {
    let fewest =
        run.repetitions.iter().map(|r| r.arrivals - r.failed.min(r.arrivals)).min().unwrap_or_default();
    let latency = &run.latency_ms;
    let answers: [(f64, Figure, Option<f64>, OfRepetition, OfSlice); 3] = [
        (0.5, time("answer p50 ms"), latency.p50, |r| r.p50_ms, |s| s.p50_ms),
        (0.9, time("answer p90 ms"), latency.p90, |r| r.p90_ms, |s| s.p90_ms),
        (0.99, time("answer p99 ms"), latency.p99, |r| r.p99_ms, |s| s.p99_ms),
    ];
    let mut figures = Vec::new();
    for (quantile, figure, whole, of, of_slice) in answers {
        if let Some(whole) = whole.filter(|_| enough(fewest, quantile)) {
            figures.push((figure, Blocks { whole, values: values(run, of, Some(of_slice), f64::ln) }));
        }
    }
    let done =
        values(run, |r| Some(r.completed_per_s), Some(|s| Some(s.completed as f64 / s.seconds)), f64::ln);
    figures.push((DONE, Blocks { whole: run.completed_per_s, values: done }));
    let failed = values(
        run,
        |r| (r.arrivals > 0).then(|| r.failed as f64 / r.arrivals as f64),
        Some(|s| (s.arrivals > 0).then(|| s.failed as f64 / s.arrivals as f64)),
        |share| share,
    );
    figures.push((FAILED, Blocks { whole: run.failed_share(), values: failed }));
    let mut others: Vec<(Figure, Option<f64>, OfRepetition)> =
        vec![(time("probe p50 ms"), run.probe_latency_ms.p50, |r| r.probe_p50_ms)];
    // A sync create is findable, and has its number, with its answer.
    if run.mode != Mode::Sync {
        others.push((time("findable p50 ms"), run.findable_everywhere_ms.p50, |r| r.findable_p50_ms));
        others.push((time("account p50 ms"), run.account_number_ms.p50, |r| r.account_p50_ms));
    }
    for (figure, whole, of) in others {
        if let Some(whole) = whole {
            figures.push((figure, Blocks { whole, values: values(run, of, None, f64::ln) }));
        }
    }
    figures
}

/// The median of an empty call beside the runs: the geometric mean over all repetitions.
pub fn yardstick(runs: &[Run]) -> Option<f64> {
    let of =
        runs.iter().flat_map(|run| &run.repetitions).filter_map(|repetition| repetition.yardstick_p50_ms);
    let logarithms: Vec<f64> = of.filter(|ms| *ms > 0.0).map(f64::ln).collect();
    (!logarithms.is_empty()).then(|| (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp())
}

/// The blocks: repetitions, or the stretches of a single long run. None if a block has no figure.
fn values(run: &Run, of: OfRepetition, of_slice: Option<OfSlice>, scale: fn(f64) -> f64) -> Vec<f64> {
    let scaled = |figure: Option<f64>| figure.map(scale).filter(|value| value.is_finite());
    let repetitions: Option<Vec<f64>> =
        run.repetitions.iter().map(|repetition| scaled(of(repetition))).collect();
    let repetitions = repetitions.unwrap_or_default();
    let is_long = run.repetitions.len() == 1 && run.seconds >= LONG_S;
    let Some(of_slice) = of_slice.filter(|_| is_long && repetitions.len() < FEWEST) else {
        return repetitions;
    };
    let slices: Option<Vec<f64>> = run.slices.iter().map(|slice| scaled(of_slice(slice))).collect();
    without_memory(slices.unwrap_or_default())
}

/// Joins neighbours until they do not resemble each other more than by chance (batch means); none if too few are left.
fn without_memory(mut values: Vec<f64>) -> Vec<f64> {
    while values.len() >= FEWEST_CUT {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let square: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let neighbours: f64 = values.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
        // The first serial correlation coefficient has about the standard error 1 / sqrt(n) if there is none.
        if square == 0.0 || neighbours / square < MEMORY / count.sqrt() {
            return values;
        }
        values = values.chunks_exact(2).map(|pair| f64::midpoint(pair[0], pair[1])).collect();
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_that_are_alike_are_joined() {
        let apart: Vec<f64> = (0..16).map(|n| f64::from(n % 2)).collect();
        assert_eq!(without_memory(apart.clone()), apart);
        let trend: Vec<f64> = (0..16).map(f64::from).collect();
        assert!(without_memory(trend).is_empty());
        assert_eq!(without_memory(vec![1.0; 8]).len(), 8);
        assert!(without_memory(vec![1.0; 7]).is_empty());
    }
}
