//! The model on the observed arrivals, and how near it comes to the observed durations.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{log::Interval, mean};
use crate::{
    model::{Call, Event, Model, Nanos, Rules},
    profile::{Method, Profile, ProfileError},
};

/// Runs with other chances that a profile is judged by.
const SEEDS: u64 = 3;
/// Fewest calls of a group whose mean says something.
const FEW: usize = 30;
/// Percentiles that are compared.
const QUANTILES: [f64; 4] = [0.5, 0.75, 0.9, 0.99];
/// Groups by calls under way: each up to this many, itself included.
const GROUPS: [usize; 14] = [1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 25, 40, 80, usize::MAX];

/// Durations, in milliseconds: what is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    mean: f64,
    quantiles: [f64; QUANTILES.len()],
    /// By [`GROUPS`]: mean and number.
    groups: Vec<(f64, usize)>,
    /// Most calls under way at once.
    pub(super) most: usize,
}

impl Seen {
    /// Of calls by their start.
    pub(super) fn of(calls: &[Interval]) -> Self {
        let (mut sums, mut counts) = (vec![0.0; GROUPS.len()], vec![0_usize; GROUPS.len()]);
        let mut ends: BinaryHeap<Reverse<Ordered>> = BinaryHeap::new();
        let mut most = 0;
        for call in calls {
            while ends.peek().is_some_and(|Reverse(end)| end.0 <= call.start) {
                ends.pop();
            }
            ends.push(Reverse(Ordered(call.end)));
            most = most.max(ends.len());
            let group = GROUPS.partition_point(|upto| *upto < ends.len());
            sums[group] += call.end - call.start;
            counts[group] += 1;
        }
        let mut durations: Vec<f64> = calls.iter().map(|call| call.end - call.start).collect();
        durations.sort_unstable_by(f64::total_cmp);
        let at = |quantile: f64| durations[((durations.len() - 1) as f64 * quantile).round() as usize];
        let groups =
            sums.iter().zip(&counts).map(|(sum, count)| (sum / (*count).max(1) as f64, *count)).collect();
        Self { mean: mean(&durations), quantiles: QUANTILES.map(at), groups, most }
    }

    /// Of runs with other chances.
    fn average(runs: &[Self]) -> Self {
        let n = runs.len() as f64;
        let over = |figure: &dyn Fn(&Self) -> f64| runs.iter().map(figure).sum::<f64>() / n;
        let group = |place: usize| {
            let count: usize = runs.iter().map(|run| run.groups[place].1).sum();
            let sum: f64 = runs.iter().map(|run| run.groups[place].0 * run.groups[place].1 as f64).sum();
            (sum / count.max(1) as f64, count / runs.len())
        };
        Self {
            mean: over(&|run| run.mean),
            quantiles: std::array::from_fn(|place| over(&|run| run.quantiles[place])),
            groups: (0..GROUPS.len()).map(group).collect(),
            most: runs.iter().map(|run| run.most).max().unwrap_or_default(),
        }
    }

    /// Mean duration where most calls were under way, of a tenth of the calls at least.
    pub(super) fn busiest(&self) -> f64 {
        let all: usize = self.groups.iter().map(|(_, count)| count).sum();
        let (mut sum, mut count) = (0.0, 0);
        for (mean, calls) in self.groups.iter().rev() {
            if count * 10 >= all {
                break;
            }
            (sum, count) = (sum + mean * *calls as f64, count + calls);
        }
        sum / count.max(1) as f64
    }

    /// For a table.
    pub(super) fn rows(&self) -> Vec<(String, f64)> {
        let mut rows = vec![("mean".to_owned(), self.mean)];
        rows.extend(QUANTILES.iter().zip(self.quantiles).map(|(q, ms)| (format!("p{:.0}", q * 100.0), ms)));
        let groups = GROUPS.iter().zip(&self.groups).filter(|(_, (_, count))| *count >= FEW);
        rows.extend(groups.map(|(upto, (ms, _))| {
            let name = if *upto == usize::MAX { "more".to_owned() } else { format!("{upto}") };
            (format!("{name} under way"), *ms)
        }));
        rows
    }

    /// Root mean square of how far another is off, relatively: the mean, the percentiles, and the groups, which
    /// together count as much as those.
    fn unexplained(&self, other: &Self) -> f64 {
        let off = |a: f64, b: f64| ((b / a).ln()).powi(2).min(4.0);
        let mut all: f64 = off(self.mean, other.mean);
        all += self.quantiles.iter().zip(other.quantiles).map(|(a, b)| off(*a, b)).sum::<f64>();
        let (mut groups, mut weight) = (0.0, 0.0);
        for ((a, n), (b, m)) in self.groups.iter().zip(&other.groups).filter(|((_, n), _)| *n >= FEW) {
            // A group that the other never comes to is off by much.
            let deviation = if *m >= FEW / 2 { off(*a, *b) } else { 0.25 };
            groups += deviation * (*n as f64).sqrt();
            weight += (*n as f64).sqrt();
        }
        let count = 1.0 + QUANTILES.len() as f64;
        ((all / count + groups / f64::max(weight, 1.0)) / 2.0).sqrt()
    }
}

/// Arrivals to run the model on.
pub(super) struct Replay<'a> {
    arrivals: Vec<Nanos>,
    seen: &'a Seen,
}

impl<'a> Replay<'a> {
    pub(super) fn new(calls: &[Interval], seen: &'a Seen) -> Self {
        let first = calls.first().map_or(0.0, |call| call.start);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and is not negative"
        )]
        let nanos = |call: &Interval| ((call.start - first) * 1e6) as Nanos;
        Self { arrivals: calls.iter().map(nanos).collect(), seen }
    }

    /// What a profile gives for these arrivals.
    pub(super) fn run(&self, profile: &Profile, seed: u64) -> Result<Seen, ProfileError> {
        let mut model = Model::new(Rules::new(profile)?, seed);
        let mut calls: Vec<Interval> = Vec::with_capacity(self.arrivals.len());
        let mut take = |event: Event| {
            if let Event::Finished { at, served, .. } = event {
                calls.push(Interval { start: served.arrived as f64 / 1e6, end: at as f64 / 1e6 });
            }
        };
        for (number, at) in self.arrivals.iter().enumerate() {
            let subject = number.to_le_bytes();
            model.arrive_once(*at, Call { channel: "", method: Method::Create, subject: &subject });
            model.advance(*at).for_each(&mut take);
        }
        model.advance(Nanos::MAX / 2).for_each(&mut take);
        calls.sort_by(|a, b| a.start.total_cmp(&b.start));
        Ok(Seen::of(&calls))
    }

    /// How far a profile is off what was observed, on the average over chance.
    pub(super) fn unexplained(&self, profile: &Profile) -> Result<f64, ProfileError> {
        let runs: Result<Vec<Seen>, ProfileError> = (0..SEEDS).map(|seed| self.run(profile, seed)).collect();
        Ok(self.seen.unexplained(&Seen::average(&runs?)))
    }
}

/// Durations of calls that found headquarters idle. Whether others came while they were served makes no difference
/// to take out: a call that is left alone is likelier to be a short one.
pub(super) fn alone(calls: &[Interval]) -> Vec<f64> {
    let mut last_end = f64::NEG_INFINITY;
    let mut alone = Vec::new();
    for call in calls {
        if call.start >= last_end {
            alone.push(call.end - call.start);
        }
        last_end = last_end.max(call.end);
    }
    alone
}

/// One more than the most calls that came before a call and ended after it: so many workers there are at least.
/// Who ends within a twentieth of a mean service does not count: clocks and networks are not exact.
pub(super) fn overtaken(calls: &[Interval], service: f64) -> u32 {
    let slack = service / 20.0;
    let mut under_way: Vec<f64> = Vec::new();
    let mut counts = Vec::with_capacity(calls.len());
    for call in calls {
        under_way.retain(|end| *end > call.start);
        counts.push(under_way.iter().filter(|end| **end > call.end + slack).count());
        under_way.push(call.end);
    }
    // A single stray call is no evidence.
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let most = counts.get(2).copied().unwrap_or_default();
    u32::try_from(most + 1).unwrap_or(super::MAX_WORKERS).min(super::MAX_WORKERS)
}

/// Times, in their order.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ordered(f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
