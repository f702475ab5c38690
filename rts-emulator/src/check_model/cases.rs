//! The cases, with what is to be expected of each.

use std::{collections::BTreeMap, fmt};

use crate::{
    model::theory::{
        mg1_mean_wait, mmc_mean_wait_s, mmc_patience, mmc_priority_mean_waits, mmc_wait_quantile, mmck,
    },
    profile::{Distribution, Method, Priority, Profile, ServiceTime},
};

/// The mean service time, in milliseconds.
pub(super) const UNIT_MS: f64 = 1_000.0;
/// Loads of queues without a bound, and of those with one.
const LOADS: [f64; 3] = [0.5, 0.8, 0.95];
const BOUNDED_LOADS: [f64; 4] = [0.5, 0.8, 0.95, 1.2];
/// Share of calls of the first class.
const FIRST: f64 = 0.3;
/// A bound that is never reached.
const UNBOUNDED: u32 = 1_000_000;
/// What Ciw, a simulator that is not ours, has found: see `reference/ciw_reference.py`.
const CIW: &str = include_str!("../../reference/ciw_reference.csv");

/// What is measured of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// Mean wait of a class's calls that were served.
    Mean(u8),
    /// The wait that 95 % of them do not exceed.
    P95(u8),
    /// Share of the calls that were not served.
    Refused,
}

impl Figure {
    /// Whether it is a mean wait.
    #[must_use]
    pub fn is_mean(self) -> bool {
        matches!(self, Self::Mean(_))
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mean(0) => "mean wait",
            Self::Mean(_) => "mean, 2nd class",
            Self::P95(0) => "p95 wait",
            Self::P95(_) => "p95, 2nd class",
            Self::Refused => "not served",
        })
    }
}

/// Where an expected figure is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A closed formula of [`crate::model::theory`].
    Formula(&'static str),
    /// Ciw.
    Ciw,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Formula(name) => name,
            Self::Ciw => "Ciw",
        })
    }
}

/// A figure to be expected, in mean service times or as a share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Which.
    pub figure: Figure,
    /// How much.
    pub value: f64,
    /// Half the width of its 99 % confidence interval; 0 for a formula.
    pub half_width: f64,
    /// By whom.
    pub source: Source,
}

/// A queue with Poisson arrivals.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// In Kendall's notation, with the load.
    pub name: String,
    /// Arrival rate, as a share of what the workers can serve.
    pub load: f64,
    /// Workers.
    pub workers: u32,
    /// Service time, of mean [`UNIT_MS`].
    pub service: ServiceTime,
    /// Places in the queue.
    pub places: u32,
    /// How long calls wait at most, in mean service times.
    pub patience: f64,
    /// Share of the first class; absent: there is one class.
    pub first: Option<f64>,
    /// What is to be expected.
    pub expected: Vec<Expected>,
}

impl Case {
    fn new(kind: &str, load: f64, workers: u32, distribution: Distribution, cv: Option<f64>) -> Self {
        Self {
            name: format!("{kind} {load}"),
            load,
            workers,
            service: ServiceTime { cv, ..ServiceTime::new(distribution, UNIT_MS) },
            places: UNBOUNDED,
            patience: 1e6,
            first: None,
            expected: Vec::new(),
        }
    }

    fn expect(mut self, figure: Figure, value: f64, source: &'static str) -> Self {
        self.expected.push(Expected { figure, value, half_width: 0.0, source: Source::Formula(source) });
        self
    }

    /// Adds what Ciw has found of a figure.
    fn expect_ciw(mut self, figure: Figure) -> Self {
        let class = match (self.first, figure) {
            (Some(_), Figure::Mean(0) | Figure::P95(0)) => "first ",
            (Some(_), Figure::Mean(_) | Figure::P95(_)) => "second ",
            _ => "",
        };
        let name = match figure {
            Figure::Mean(_) => "mean",
            Figure::P95(_) => "p95",
            Figure::Refused => "refused",
        };
        let head = format!("{},{class}{name},", self.name);
        let found = CIW.lines().find_map(|line| line.strip_prefix(&head)?.split_once(','));
        let found = found.and_then(|(value, half)| Some((value.parse().ok()?, half.parse().ok()?)));
        self.expected.extend(found.map(|(value, half_width)| Expected {
            figure,
            value,
            half_width,
            source: Source::Ciw,
        }));
        self
    }

    /// The headquarters of this case.
    #[must_use]
    pub fn profile(&self) -> Profile {
        let by_method = BTreeMap::from([(Method::Search, 1)]);
        Profile {
            workers: self.workers,
            queue_capacity: self.places,
            longest_wait_ms: self.patience * UNIT_MS,
            service: self.service.clone(),
            priority: self.first.map(|_| Priority { default: 0, by_method, ..Priority::default() }),
            ..Profile::default()
        }
    }
}

/// All of them.
#[must_use]
pub fn cases() -> Vec<Case> {
    use Distribution::{Constant, Exponential, Gamma, Lognormal};
    use Figure::{Mean, P95, Refused};
    let mut cases = Vec::new();
    for load in LOADS {
        for workers in [1, 2, 4, 16] {
            let offered = load * f64::from(workers);
            let case = Case::new(&format!("M/M/{workers}"), load, workers, Exponential, None);
            let case = case.expect(Mean(0), mmc_mean_wait_s(offered, 1.0, workers), "Erlang C");
            cases.push(case.expect(P95(0), mmc_wait_quantile(offered, workers, 0.95), "Erlang C"));
        }
        for (kind, distribution, cv) in [
            ("M/D/1", Constant, None),
            ("M/G/1 lognormal", Lognormal, Some(1.5)),
            ("M/G/1 gamma", Gamma, Some(0.5)),
        ] {
            let case = Case::new(kind, load, 1, distribution, cv);
            let mean = mg1_mean_wait(load, cv.unwrap_or_default());
            cases.push(case.expect(Mean(0), mean, "P.-Khinchine").expect_ciw(P95(0)));
        }
        for workers in [1, 4] {
            let (first, second) = mmc_priority_mean_waits(load * f64::from(workers), workers, FIRST);
            let kind = format!("M/M/{workers} priority");
            let case = Case { first: Some(FIRST), ..Case::new(&kind, load, workers, Exponential, None) };
            let case = case.expect(Mean(0), first, "Cobham, Kella").expect(Mean(1), second, "Cobham, Kella");
            cases.push(case.expect_ciw(P95(0)).expect_ciw(P95(1)));
        }
    }
    for load in BOUNDED_LOADS {
        let offered = load * 4.0;
        let case = Case { places: 8, ..Case::new("M/M/4/12", load, 4, Exponential, None) };
        let (refused, mean) = mmck(offered, 4, 8);
        let case = case.expect(Mean(0), mean, "birth and death").expect(Refused, refused, "birth and death");
        cases.push(case.expect_ciw(Mean(0)).expect_ciw(P95(0)));
        let case = Case { patience: 1.0, ..Case::new("M/M/4+D", load, 4, Exponential, None) };
        let (refused, mean) = mmc_patience(offered, 4, 1.0);
        let case = case.expect(Mean(0), mean, "Baccelli").expect(Refused, refused, "Baccelli");
        cases.push(case.expect_ciw(Mean(0)).expect_ciw(P95(0)));
    }
    cases
}
