//! Counts what happens in a simulated run, as the recorder of a live one does.

use std::{collections::BTreeMap, time::Duration};

use super::jobs::Nanos;
use crate::{
    result::{Backlog, Generator, Mode, Paths, Process, Run, Sample},
    stats::Durations,
};

/// How a create was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// By headquarters.
    Sync,
    /// By its store.
    Async,
    /// By its store, after headquarters had failed with this status.
    Fallback(&'static str),
}

/// The counts.
pub struct Tally {
    start: Nanos,
    end: Nanos,
    goal: Nanos,
    within_goal: u64,
    begun: u64,
    arrivals: u64,
    completed: u64,
    paths: Paths,
    errors: BTreeMap<&'static str, u64>,
    causes: BTreeMap<&'static str, u64>,
    latency: Durations,
    failures: Durations,
    findable: Durations,
    account: Durations,
    probe: Durations,
    probe_errors: BTreeMap<&'static str, u64>,
    /// When customers that were acknowledged during the load became real after it.
    late: Vec<Nanos>,
}

impl Tally {
    /// Nothing yet; measured is from `start` to `end`.
    pub fn new(start: Nanos, end: Nanos, goal: Nanos) -> Self {
        Self {
            start,
            end,
            goal,
            within_goal: 0,
            begun: 0,
            arrivals: 0,
            completed: 0,
            paths: Paths::default(),
            errors: BTreeMap::new(),
            causes: BTreeMap::new(),
            latency: Durations::default(),
            failures: Durations::default(),
            findable: Durations::default(),
            account: Durations::default(),
            probe: Durations::default(),
            probe_errors: BTreeMap::new(),
            late: Vec::new(),
        }
    }

    /// A create falls due; gives its number.
    pub fn begun(&mut self) -> u64 {
        self.begun += 1;
        self.begun - 1
    }

    /// Creates that were acknowledged within the goal.
    pub fn within_goal(&self) -> u64 {
        self.within_goal
    }

    fn holds(&self, at: Nanos) -> bool {
        self.start <= at && at < self.end
    }

    /// A create that was due at `due` ended at `now`.
    pub fn created(&mut self, due: Nanos, now: Nanos, outcome: Result<Created, &'static str>) {
        if outcome.is_ok() && self.holds(now) {
            self.completed += 1;
        }
        if !self.holds(due) {
            return;
        }
        self.arrivals += 1;
        let took = Duration::from_nanos(now - due);
        match outcome {
            Err(code) => {
                self.failures.record(took);
                *self.errors.entry(code).or_default() += 1;
            }
            Ok(created) => {
                self.latency.record(took);
                self.within_goal += u64::from(now - due <= self.goal);
                match created {
                    Created::Sync => self.paths.sync += 1,
                    Created::Async => self.paths.asynchronous += 1,
                    Created::Fallback(code) => {
                        self.paths.async_fallback += 1;
                        *self.causes.entry(code).or_default() += 1;
                    }
                }
            }
        }
    }

    /// The account number of a create is back at its store.
    pub fn real(&mut self, due: Nanos, now: Nanos) {
        if self.holds(due) {
            self.account.record(Duration::from_nanos(now - due));
        }
        if now > self.end {
            self.late.push(now);
        }
    }

    /// Every store finds a create that was followed.
    pub fn findable(&mut self, due: Nanos, now: Nanos) {
        if self.holds(due) {
            self.findable.record(Duration::from_nanos(now - due));
        }
    }

    /// A probe ended.
    pub fn probe(&mut self, due: Nanos, now: Nanos, outcome: Result<(), &'static str>) {
        if !self.holds(due) {
            return;
        }
        match outcome {
            Ok(()) => self.probe.record(Duration::from_nanos(now - due)),
            Err(code) => *self.probe_errors.entry(code).or_default() += 1,
        }
    }

    /// Sums up. Whoever is pending longer than `drain` after the load is left.
    pub fn run(self, mode: Mode, offered_per_s: f64, measured: Duration, drain: Nanos) -> Run {
        let named = |counts: BTreeMap<&'static str, u64>| {
            counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
        };
        let after = |late: &Nanos| late.saturating_sub(self.end);
        let left = self.late.iter().filter(|late| after(late) > drain).count() as u64;
        let drained = self.late.iter().map(after).max().unwrap_or_default().min(drain);
        Run {
            mode,
            offered_per_s,
            speedup: None,
            seconds: measured.as_secs_f64(),
            interrupted: false,
            arrivals: self.arrivals,
            completed_per_s: self.completed as f64 / measured.as_secs_f64().max(f64::EPSILON),
            acknowledged: self.paths,
            errors: named(self.errors),
            fallback_causes: named(self.causes),
            latency_ms: self.latency.latency(),
            latency_distribution: self.latency.distribution(),
            failure_latency_ms: self.failures.latency(),
            findable_everywhere_ms: self.findable.two(),
            account_number_ms: self.account.two(),
            sample: Sample { followed: self.findable.count(), ..Sample::default() },
            hq: None,
            probe_latency_ms: self.probe.two(),
            probe_errors: named(self.probe_errors),
            generator: Generator::default(),
            backlog: Backlog { at_end: self.late.len() as u64, left, drain_ms: drained as f64 / 1e6 },
            process: Process::default(),
            warnings: Vec::new(),
        }
    }
}
