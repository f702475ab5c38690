//! Which rate to try next, and what is known so far: plain logic over what was seen.

use std::ops::RangeInclusive;

use super::{
    Seen,
    fit::{self, Crossing},
};
use crate::diff::Interval;

/// How far apart the ends of the bracket are before the knee is looked for inside it.
const NEAR: f64 = 1.3;
/// How far from the middle the next rate is while the share grows e-fold, at least and at most, as shares of it; and as
/// long as nobody knows how fast it grows.
const STEP: RangeInclusive<f64> = 0.01..=0.05;
const BLIND_STEP: f64 = 0.04;
/// Where the next rates are, in e-folds of the share that misses: on both sides, so that the slope is known too.
const OFFSETS: [f64; 4] = [0.4, -0.8, 0.6, -0.2];
/// How far from the middle of the bracket the line's answer may be.
const AROUND: RangeInclusive<f64> = 0.85..=1.18;

/// What is looked for, and how far to go for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wanted {
    /// The share of creates that may miss the goal.
    pub share: f64,
    /// Where to begin, in creates per second.
    pub start: f64,
    /// The least and the most that are tried.
    pub range: (f64, f64),
    /// The interval's half width at which it is enough, as a share of the rate.
    pub precision: f64,
    /// Most runs.
    pub runs: usize,
}

/// What is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found {
    /// The rate at which the goal is just kept.
    Knee(Interval),
    /// The goal was kept at the most that was tried.
    AtLeast(f64),
    /// It was missed at the least that was tried.
    Below(f64),
    /// It lies between these; the runs were too few to say more.
    Between(f64, f64),
}

/// A run to make.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Next {
    /// Its rate.
    pub per_s: f64,
    /// Whether it is near the knee, and worth more time.
    pub is_fine: bool,
}

/// A search.
#[derive(Debug, Clone)]
pub struct Search {
    wanted: Wanted,
    /// What was seen, in the order of time.
    pub seen: Vec<Seen>,
}

impl Search {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, seen: Vec::new() }
    }

    /// A run was made.
    pub fn add(&mut self, seen: Seen) {
        self.seen.push(seen);
    }

    /// The rate to try next; nothing if it is enough, or no more runs are to be made.
    #[must_use]
    pub fn next(&self) -> Option<Next> {
        let Wanted { start, range, runs, .. } = self.wanted;
        if self.seen.len() >= runs {
            return None;
        }
        let rough = |per_s| Some(Next { per_s, is_fine: false });
        if self.seen.is_empty() {
            return rough(start.clamp(range.0, range.1));
        }
        match self.bracket() {
            (Some(kept), None) if kept >= range.1 => None,
            (Some(kept), None) => rough((kept * 2.0).min(range.1)),
            (None, Some(missed)) if missed <= range.0 => None,
            (None, Some(missed)) => rough((missed / 2.0).max(range.0)),
            (Some(kept), Some(missed)) if missed / kept > NEAR => rough((kept * missed).sqrt()),
            _ if self.is_enough() => None,
            _ => Some(Next { per_s: self.beside().clamp(range.0, range.1), is_fine: true }),
        }
    }

    /// What is known so far.
    #[must_use]
    pub fn found(&self) -> Found {
        match self.bracket() {
            (Some(kept), None) => Found::AtLeast(kept),
            (None, missed) => Found::Below(missed.unwrap_or(self.wanted.start)),
            (Some(kept), Some(missed)) => match self.crossing(&self.seen) {
                Some(crossing) => Found::Knee(crossing.per_s),
                None => Found::Between(kept, missed),
            },
        }
    }

    /// A rate beside the middle of the bracket: a line may lie far off while little is known, the bracket does not.
    fn beside(&self) -> f64 {
        let guess = self.guess();
        let crossing = self.crossing(&self.seen);
        let step = crossing.map_or(BLIND_STEP, |crossing| crossing.per_fold / guess);
        guess * (1.0 + OFFSETS[self.seen.len() % OFFSETS.len()] * step.clamp(*STEP.start(), *STEP.end()))
    }

    fn crossing(&self, seen: &[Seen]) -> Option<Crossing> {
        let guess = self.guess();
        let crossing = fit::crossing(seen, self.wanted.share, guess)?;
        // Far outside of what was tried a line says nothing.
        AROUND.contains(&(crossing.per_s.middle / guess)).then_some(crossing)
    }

    /// Whether the interval is narrow enough, and was so when a third of the runs had not been made: an interval that is
    /// looked at after each run is narrow by chance before it is so for good.
    fn is_enough(&self) -> bool {
        let narrow = |crossing: Crossing| {
            let Interval { middle, low, high } = crossing.per_s;
            (high - low) / 2.0 <= self.wanted.precision * middle
        };
        let before = &self.seen[..self.seen.len() * 2 / 3];
        self.crossing(&self.seen).is_some_and(narrow) && self.crossing(before).is_some_and(narrow)
    }

    /// The middle of the bracket.
    fn guess(&self) -> f64 {
        match self.bracket() {
            (Some(kept), Some(missed)) => (kept * missed).sqrt(),
            (one, other) => one.or(other).unwrap_or(self.wanted.start),
        }
    }

    /// The highest rate at which the goal was kept, and the lowest at which it was missed: of the shares that grow with
    /// the rate and are nearest to those that were seen (isotonic regression, by pooling adjacent violators), so that a
    /// lucky run at a high rate counts together with the unlucky ones below it.
    fn bracket(&self) -> (Option<f64>, Option<f64>) {
        let mut pools: Vec<Pool> = Vec::new();
        for seen in by_rate(&self.seen) {
            let Seen { per_s, arrivals, missed, .. } = seen;
            let mut pool = Pool { missed, arrivals, lowest: per_s, highest: per_s };
            while let Some(before) = pools.pop_if(|before| before.share() >= pool.share()) {
                let (missed, arrivals) = (before.missed + pool.missed, before.arrivals + pool.arrivals);
                pool = Pool { missed, arrivals, lowest: before.lowest, highest: pool.highest };
            }
            pools.push(pool);
        }
        let kept = pools.iter().rfind(|pool| pool.share() <= self.wanted.share).map(|pool| pool.highest);
        let missed = pools.iter().find(|pool| pool.share() > self.wanted.share).map(|pool| pool.lowest);
        (kept, missed)
    }
}

/// Runs that have the same share.
#[derive(Debug, Clone, Copy)]
struct Pool {
    missed: u64,
    arrivals: u64,
    lowest: f64,
    highest: f64,
}

impl Pool {
    fn share(&self) -> f64 {
        self.missed as f64 / (self.arrivals as f64).max(1.0)
    }
}

fn by_rate(seen: &[Seen]) -> Vec<Seen> {
    let mut seen = seen.to_vec();
    seen.sort_by(|a, b| a.per_s.total_cmp(&b.per_s));
    seen
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::{SeedableRng as _, rngs::StdRng};
    use rts_emulator::Profile;

    use super::*;
    use crate::{
        arrivals::poisson,
        plan::{Schedules, overhead::Overhead, scenario::Scenario, sim::simulate},
        result::Mode,
    };

    const WANTED: Wanted =
        Wanted { share: 0.01, start: 5.0, range: (0.5, 1_000.0), precision: 0.05, runs: 60 };

    fn search(wanted: Wanted, mut measure: impl FnMut(Next, u64) -> Seen) -> Search {
        let mut search = Search::new(wanted);
        while let Some(next) = search.next() {
            let seen = measure(next, search.seen.len() as u64);
            search.add(seen);
        }
        search
    }

    /// A run of an M/M/1 in virtual time: 50 calls per second, 20 seconds after 5.
    fn mm1(next: Next, seed: u64) -> Seen {
        let Next { per_s, is_fine } = next;
        let profile = Profile::preset("mm1").unwrap();
        let measured = Duration::from_secs(if is_fine { 60 } else { 10 });
        let warmup = Duration::from_secs(5);
        let jobs = crate::plan::jobs(Schedules([0.5; 3]));
        let scenario = Scenario {
            seed,
            warmup,
            measured,
            goal: Duration::from_millis(500),
            rts_timeout: Duration::from_secs(60),
            ..Scenario::new(profile, Mode::Sync, 2, Overhead::fixed(0.0, 1.0), jobs)
        };
        let arrivals = poisson(per_s, warmup + measured, 2, StdRng::seed_from_u64(seed));
        let measured = simulate(&scenario, Mode::Sync, per_s, arrivals).unwrap();
        Seen::of(&measured)
    }

    #[test]
    fn b4_the_knee_is_where_theory_has_it_and_the_interval_holds_it() {
        // P(T > t) = exp(-(mu - lambda) t) in an M/M/1 (Kleinrock, 1975): 1 % at 500 ms.
        let theory = 50.0 - 100_f64.ln() / 0.5;
        let (mut held, mut runs, mut off) = (0, 0, 0.0);
        const SEARCHES: u64 = 20;
        for seed in 0..SEARCHES {
            let search = search(WANTED, |next, run| mm1(next, 1_000 * seed + run));
            let Found::Knee(knee) = search.found() else { panic!("{:?}", search.found()) };
            assert!((knee.high - knee.low) / 2.0 <= 0.05 * knee.middle || search.seen.len() == WANTED.runs);
            held += u32::from(knee.low <= theory && theory <= knee.high);
            runs += search.seen.len();
            off += knee.middle / theory - 1.0;
        }
        let (runs, off) = (runs as f64 / SEARCHES as f64, off / SEARCHES as f64);
        // Four of five do, see `fit`. Binomial(20, 0.8): below 11 with probability 0.003.
        assert!(held >= 11, "{held} of {SEARCHES} intervals hold {theory}; {runs} runs each, off by {off}");
        assert!(off.abs() < 0.03, "off by {off} on the average");
        assert!(runs < 55.0, "{runs} runs");
    }

    #[test]
    fn b4_a_goal_that_is_always_or_never_kept_is_told_so() {
        let seen = |missed: u64| {
            move |next: Next, _: u64| Seen {
                per_s: next.per_s,
                arrivals: 1_000,
                missed,
                clusters: missed.min(1),
                squares: missed * missed,
            }
        };
        let always = search(WANTED, seen(0));
        assert_eq!((always.found(), always.seen.len()), (Found::AtLeast(1_000.0), 9));
        let never = search(WANTED, seen(1_000));
        assert_eq!(never.found(), Found::Below(0.5));
        // A cliff has no line: what is known is where it lies.
        let cliff = |next: Next, run| seen(if next.per_s > 70.0 { 1_000 } else { 0 })(next, run);
        match search(WANTED, cliff).found() {
            Found::Between(low, high) => assert!(low <= 70.0 && 70.0 <= high && high / low < 1.3),
            Found::Knee(knee) => assert!((knee.middle / 70.0 - 1.0).abs() < 0.08, "{knee:?}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(search(WANTED, |next, _| Seen { per_s: next.per_s, ..Seen::default() }).seen.len(), 9);
    }
}
