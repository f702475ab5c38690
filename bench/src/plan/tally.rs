//! Counts what happens in a simulated run: as in a measured one, in nanoseconds.

use std::time::Duration;

use super::jobs::Nanos;
use crate::{
    counts::{Counts, Path, Spent, Window},
    measured::{Around, Measured, Sampled},
    result::{Backlog, Hq, Mode, Sample},
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
    counts: Counts,
    sampled: Sampled,
    begun: u64,
    /// When customers that were acknowledged during the load became real after it.
    late: Vec<Nanos>,
}

fn of(nanos: Nanos) -> Duration {
    Duration::from_nanos(nanos)
}

impl Tally {
    /// Nothing yet.
    pub fn new(window: Window, goal: Duration) -> Self {
        Self { counts: Counts::new(window, goal), sampled: Sampled::default(), begun: 0, late: Vec::new() }
    }

    /// A create falls due; gives its number.
    pub fn begun(&mut self) -> u64 {
        self.begun += 1;
        self.begun - 1
    }

    /// A create that was due at `due` ended at `now`.
    pub fn created(&mut self, due: Nanos, now: Nanos, outcome: Result<Created, &'static str>) {
        let outcome = outcome.map(|created| match created {
            Created::Sync => Path::Sync,
            Created::Async => Path::Async,
            Created::Fallback(code) => Path::Fallback(code),
        });
        self.counts.create(of(due), of(now), outcome);
    }

    /// Where the time of a create went that headquarters made.
    pub fn spent(&mut self, due: Nanos, now: Nanos, spent: Spent) {
        self.counts.spent(of(due), of(now), spent);
    }

    /// The account number of a create is back at its store.
    pub fn real(&mut self, due: Nanos, now: Nanos) {
        let took = of(now - due);
        if self.counts.window.holds(of(due)) {
            self.sampled.account.record(took);
        }
        if of(now) > self.counts.window.end {
            self.late.push(now);
        }
    }

    /// Every store finds a create that was followed.
    pub fn findable(&mut self, due: Nanos, now: Nanos) {
        if self.counts.window.holds(of(due)) {
            self.sampled.findable.record(of(now - due));
        }
    }

    /// A probe ended.
    pub fn probe(&mut self, due: Nanos, now: Nanos, outcome: Result<(), &'static str>) {
        self.counts.probe(of(due), of(now), outcome);
    }

    /// Sums up. Whoever is pending longer than `drain` after the load is left.
    pub fn measured(
        mut self,
        mode: Mode,
        offered_per_s: f64,
        repeat: u32,
        hq: Hq,
        drain: Duration,
    ) -> Measured {
        let end = self.counts.window.end;
        let after = |late: &Nanos| of(*late).saturating_sub(end);
        let left = self.late.iter().filter(|late| after(late) > drain).count() as u64;
        let drained = self.late.iter().map(after).max().unwrap_or_default().min(drain);
        let drain_ms = drained.as_secs_f64() * 1e3;
        self.sampled.sample = Sample { followed: self.sampled.findable.count(), ..Sample::default() };
        let around = Around {
            measured: self.counts.window.length(),
            repeat,
            sampled: self.sampled,
            hq: Some(hq),
            backlog: Backlog { at_end: self.late.len() as u64, left, drain_ms, pending: Vec::new() },
            ..Around::default()
        };
        Measured::new(mode, offered_per_s, None, self.counts, around)
    }
}
