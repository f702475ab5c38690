//! One mode at one offered rate, and everything that was measured of it.

use std::{collections::BTreeMap, fmt, ops::Add, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Process, ServiceUsage, Warning};
use crate::stats::samples_needed;

/// How creates are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Headquarters or failure.
    Sync,
    /// Headquarters, and async when that fails in communication (rule M4).
    SyncFallback,
    /// The store's own log (rule M2).
    Async,
}

impl Mode {
    /// All of them, in the order they are shown.
    pub const ALL: [Self; 3] = [Self::Sync, Self::SyncFallback, Self::Async];

    /// Each of them once, in the order they are shown.
    #[must_use]
    pub fn distinct(modes: &[Self]) -> Vec<Self> {
        Self::ALL.into_iter().filter(|mode| modes.contains(mode)).collect()
    }

    /// The name in the file, on the command line, and on the terminal.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::SyncFallback => "sync-fallback",
            Self::Async => "async",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Mode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let mode = Self::ALL.into_iter().find(|mode| mode.name() == text);
        mode.ok_or("is not a mode: use sync, sync-fallback, async")
    }
}

/// One mode at one offered rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// How creates were made.
    pub mode: Mode,
    /// Creates that fell due per second, as planned; of a trace, the mean of what was replayed.
    pub offered_per_s: f64,
    /// How many times faster than recorded; traces only.
    pub speedup: Option<f64>,
    /// Seconds that were measured.
    pub seconds: f64,
    /// Ended early by a signal.
    pub interrupted: bool,
    /// The repetitions that the figures sum up, each with arrivals of its own; they are independent of each other.
    pub repetitions: Vec<Repetition>,
    /// The repetitions in slices, in the order of time.
    pub slices: Vec<Slice>,
    /// Creates that fell due while it was measured.
    pub arrivals: u64,
    /// Acknowledgements per second that came back while it was measured.
    pub completed_per_s: f64,
    /// How many of the arrivals were acknowledged, by the way they went.
    pub acknowledged: Paths,
    /// How many of the arrivals failed, by gRPC status name; `GENERATOR_OVERFLOW` was never sent.
    pub errors: BTreeMap<String, u64>,
    /// Why fallbacks were needed: the gRPC status names of the failed calls to headquarters.
    pub fallback_causes: BTreeMap<String, u64>,
    /// From the instant an arrival was due to its acknowledgement.
    pub latency_ms: Latency,
    /// The whole distribution of the same: pairs of quantile and milliseconds.
    pub latency_distribution: Vec<(f64, f64)>,
    /// Where the time of sync creates went; absent where nobody says, as without an emulator.
    pub phases_ms: Option<Phases>,
    /// From the instant an arrival was due to its failure.
    pub failure_latency_ms: Latency,
    /// From the instant an arrival was due until every store finds the customer; of the sample.
    pub findable_everywhere_ms: TwoPercentiles,
    /// From the instant an arrival was due until its channel knows the account number; of the sample.
    pub account_number_ms: TwoPercentiles,
    /// How the sample went.
    pub sample: Sample,
    /// Headquarters, as the emulator saw it; absent without an emulator.
    pub hq: Option<Hq>,
    /// Reads of a customer at headquarters: what creates do to other work there.
    pub probe_latency_ms: TwoPercentiles,
    /// Empty calls to a store beside the run: how fast the machine was at the time.
    pub yardstick_ms: TwoPercentiles,
    /// Probe calls that failed, by gRPC status name.
    pub probe_errors: BTreeMap<String, u64>,
    /// How well the harness itself kept up.
    pub generator: Generator,
    /// Customers that waited for their account number.
    pub backlog: Backlog,
    /// CPU and memory of the harness's process during the run.
    pub process: Process,
    /// CPU and memory of each service, of those that say it.
    pub services: Vec<ServiceUsage>,
    /// Reasons not to trust this run, or to look closer (rule B5).
    pub warnings: Vec<Warning>,
}

impl Run {
    /// Arrivals that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Share of the arrivals that failed, 0 to 1.
    #[must_use]
    pub fn failed_share(&self) -> f64 {
        if self.arrivals == 0 { 0.0 } else { self.failed() as f64 / self.arrivals as f64 }
    }
}

/// Acknowledged creates by the way they went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct Paths {
    /// By one call to headquarters.
    pub sync: u64,
    /// Into the channel's log, because its profile says so.
    #[serde(rename = "async")]
    pub asynchronous: u64,
    /// Into the channel's log, because the call to headquarters failed.
    pub async_fallback: u64,
    /// The channel did not say.
    pub other: u64,
}

impl Add for Paths {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            sync: self.sync + other.sync,
            asynchronous: self.asynchronous + other.asynchronous,
            async_fallback: self.async_fallback + other.async_fallback,
            other: self.other + other.other,
        }
    }
}

impl Paths {
    /// All of them.
    #[must_use]
    pub fn total(self) -> u64 {
        self.sync + self.asynchronous + self.async_fallback + self.other
    }
}

/// A latency in milliseconds; percentiles are absent without samples.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Samples.
    pub count: u64,
    /// Median.
    pub p50: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// 99.9th percentile.
    pub p999: Option<f64>,
    /// 99.99th percentile.
    pub p9999: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
}

/// Two percentiles in milliseconds, absent without samples.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct TwoPercentiles {
    /// Samples.
    pub count: u64,
    /// Median.
    pub p50: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
}

/// Where the time of the creates went that headquarters made: means add up to the mean answer.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Phases {
    /// Waiting for a worker at headquarters.
    pub queue: Part,
    /// With a worker at headquarters.
    pub service: Part,
    /// On the way between channel and headquarters.
    pub link: Part,
    /// In the channel, on the way to it, and before it was sent.
    pub channel: Part,
}

/// A part of a latency in milliseconds; absent without samples.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Part {
    /// Mean.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
}

/// One repetition of a run: what a comparison takes its uncertainty from (rule B7).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Repetition {
    /// Creates that fell due while it was measured.
    pub arrivals: u64,
    /// Of these: failed.
    pub failed: u64,
    /// Acknowledgements per second.
    pub completed_per_s: f64,
    /// Of the answer: median.
    pub p50_ms: Option<f64>,
    /// Of the answer: 90th percentile.
    pub p90_ms: Option<f64>,
    /// Of the answer: 99th percentile.
    pub p99_ms: Option<f64>,
    /// Until every store finds the customer: median of the sample.
    pub findable_p50_ms: Option<f64>,
    /// Until the account number is back: median of the sample.
    pub account_p50_ms: Option<f64>,
    /// Of the probe: median.
    pub probe_p50_ms: Option<f64>,
    /// Of the empty call: median.
    pub yardstick_p50_ms: Option<f64>,
    /// Busy share of headquarters' workers.
    pub utilization: Option<f64>,
}

/// A slice of a repetition: what happened in some hundreds of milliseconds or some seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Slice {
    /// Of which repetition, from 1.
    pub repeat: u32,
    /// When it began, in seconds since the start of what was measured.
    pub at_s: f64,
    /// How long it is.
    pub seconds: f64,
    /// Creates that fell due in it.
    pub arrivals: u64,
    /// Acknowledgements that came back in it.
    pub completed: u64,
    /// Creates that fell due in it and failed.
    pub failed: u64,
    /// Of the creates that fell due in it and were acknowledged, from due to answer: median.
    pub p50_ms: Option<f64>,
    /// 90th percentile.
    pub p90_ms: Option<f64>,
    /// 99th percentile; of few samples it is the longest.
    pub p99_ms: Option<f64>,
    /// The longest.
    pub max_ms: Option<f64>,
}

/// Whether there are enough samples for a percentile (rule B5); figures without are marked `~`.
#[must_use]
pub fn enough(count: u64, quantile: f64) -> bool {
    count >= samples_needed(quantile)
}

/// The creates that were followed on their way to every store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Acknowledged creates that were followed.
    pub followed: u64,
    /// Of these: not seen everywhere, or without an account number, when the wait was given up.
    pub unresolved: u64,
    /// Sync creates that another channel found at once by the search in all stores (rules M1, C4).
    pub remote_search_verified: u64,
    /// The same, not found.
    pub remote_search_failed: u64,
}

/// Headquarters, as the emulator saw it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Hq {
    /// Busy worker time as a share of all worker time, 0 to 1, while it was measured.
    pub utilization: f64,
    /// The longest queue.
    pub queue_max: u32,
    /// Calls that arrived.
    pub arrived: u64,
    /// Calls that were served.
    pub completed: u64,
    /// Calls that were refused, for whatever reason.
    pub refused: u64,
    /// Mean wait for a worker, of calls that were served.
    pub mean_wait_ms: f64,
    /// Waiting calls over time: pairs of seconds since the start of what was measured and calls.
    pub queue: Vec<(f64, u32)>,
    /// Busy share of the workers over time: pairs of seconds and the share since the pair before.
    pub busy: Vec<(f64, f64)>,
}

/// How well the harness itself kept up.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Generator {
    /// How late a call left after its arrival was due, median.
    pub late_p50_ms: Option<f64>,
    /// The same, 99th percentile.
    pub late_p99_ms: Option<f64>,
    /// The same, the latest.
    pub late_max_ms: Option<f64>,
    /// Most calls that were under way at once.
    pub in_flight_max: u64,
}

/// Customers that waited for their account number.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Backlog {
    /// In all channels, when the load ended.
    pub at_end: u64,
    /// Still, when the wait for them ended.
    pub left: u64,
    /// How long that wait was.
    pub drain_ms: f64,
    /// While it was measured, of the first repetition.
    pub pending: Vec<Pending>,
}

/// Customers that waited for their account number at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Pending {
    /// Seconds since the start of what was measured.
    pub at_s: f64,
    /// How many, in all stores.
    pub pending: u64,
    /// Age of the oldest; 0 if there was none.
    pub oldest_s: f64,
}
