//! What was measured, as plain data: the file `result.json`, and all that table and report are made from. Its
//! schema is `schema/result.schema.json`. Units stand last in names.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::stats::samples_needed;

/// Version of the file's schema.
pub const SCHEMA_VERSION: u32 = 1;

/// One session: every run, the ledger, and how all of it was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultFile {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of the harness.
    pub version: String,
    /// Commit it was built from, as `git describe` tells it; absent if unknown.
    pub commit: Option<String>,
    /// When the session began, RFC 3339, UTC.
    pub started: String,
    /// How long it took.
    pub elapsed_s: f64,
    /// The command line.
    pub command: Vec<String>,
    /// It was ended early by a signal; the runs are those that were measured until then.
    pub interrupted: bool,
    /// The machine.
    pub machine: Machine,
    /// What was asked for.
    pub setup: Setup,
    /// The runs, in the order they were made.
    pub runs: Vec<Run>,
    /// The ledger; absent if the services could not be read.
    pub ledger: Option<Ledger>,
    /// Reasons not to trust the session as a whole (rule B5); each run has its own.
    pub warnings: Vec<Warning>,
    /// CPU and memory of the harness's process, the embedded services included.
    pub process: Process,
}

/// The machine that it ran on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Processors that the process may use.
    pub cpus: usize,
    /// Operating system and processor architecture.
    pub os: String,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// Whether the services ran in the harness's process (loopback TCP) or were up already.
    pub services: Services,
    /// How many channels took creates.
    pub channels: usize,
    /// What a commit promised.
    pub durability: String,
    /// Creates per second that headquarters can serve at most; absent if nothing limits it or nobody knows.
    pub capacity_per_s: Option<f64>,
    /// The emulator's profile; absent without an emulator.
    pub profile_toml: Option<String>,
    /// Seed of arrivals, customers and GUIDs.
    pub seed: u64,
    /// Where arrivals came from.
    pub arrivals: Arrivals,
    /// Seconds measured of each run.
    pub seconds: f64,
    /// Seconds of load before that.
    pub warmup_s: f64,
    /// Calls per second of the probe.
    pub probe_per_s: f64,
    /// How long a channel waits for headquarters.
    pub rts_timeout_ms: u64,
    /// How long a till waits for its channel.
    pub call_deadline_ms: u64,
    /// Most creates of a run whose way to every store was followed.
    pub sample: usize,
    /// What a simulation assumes of what it does not simulate; absent if it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assumed: Option<Assumed>,
}

/// What a simulation assumes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assumed {
    /// What a store, and the way to it, add to a sync create; mean.
    pub sync_overhead_ms: f64,
    /// How long an async create takes; mean.
    pub async_ms: f64,
    /// Mean pauses between two runs of the P-job, the customer sync job, and 1010.
    pub schedules_ms: [f64; 3],
    /// How much longer, at most, a pause is by chance; a share of it.
    pub jitter: f64,
    /// How long each of these jobs takes, and for each customer.
    pub jobs_ms: [(f64, f64); 3],
    /// Workers that the customer sync job takes from calls while it runs.
    pub conversion_workers: u32,
}

/// Where the services ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Services {
    /// In the harness's process.
    Embedded,
    /// They were up already (rule B8).
    External,
    /// There were none: the run was simulated, in virtual time (rule B10).
    Simulated,
}

/// Where arrivals came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Arrivals {
    /// Independent of each other.
    Poisson,
    /// At equal distances.
    Constant,
    /// As they were recorded.
    Trace {
        /// Name of the file.
        file: String,
        /// The part that was replayed: a date or "busiest"; absent: from the first arrival on.
        day: Option<String>,
        /// Longer pauses were shortened to this many recorded seconds; absent: none were.
        skip_idle_s: Option<f64>,
    },
    /// Poisson, at a rate that follows the day.
    Daily {
        /// Creates of all stores in a day.
        creates_per_day: f64,
    },
}

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
    /// Probe calls that failed, by gRPC status name.
    pub probe_errors: BTreeMap<String, u64>,
    /// How well the harness itself kept up.
    pub generator: Generator,
    /// Customers that waited for their account number.
    pub backlog: Backlog,
    /// CPU and memory of the harness's process during the run, the embedded services included.
    pub process: Process,
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
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Backlog {
    /// In all channels, when the load ended.
    pub at_end: u64,
    /// Still, when the wait for them ended.
    pub left: u64,
    /// How long that wait was.
    pub drain_ms: f64,
}

/// CPU and memory of a process.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Process {
    /// CPU time; absent where it cannot be read.
    pub cpu_s: Option<f64>,
    /// Most memory so far; absent where it cannot be read.
    pub max_rss_bytes: Option<u64>,
    /// Share of all processors that was in use, by anyone, 0 to 1; absent where it cannot be read.
    pub machine_busy: Option<f64>,
}

/// A reason not to trust a figure, or to look closer (rule B5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// What kind.
    pub kind: WarningKind,
    /// In words, with figures.
    pub text: String,
}

/// Kinds of warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningKind {
    /// Calls left late: latencies hold some of the harness's own delay.
    GeneratorLate,
    /// Calls were not sent because too many were under way.
    GeneratorOverflow,
    /// The processors were nearly all in use.
    MachineBusy,
    /// A percentile has fewer than ten samples beyond it.
    TooFewSamples,
    /// Creates failed.
    Errors,
    /// Probe calls failed.
    ProbeErrors,
    /// Customers were still pending when the wait for them ended.
    BacklogLeft,
    /// Followed creates were not seen everywhere in time.
    SampleUnresolved,
    /// A sync create was not found by the search in all stores.
    RemoteSearchFailed,
    /// Something could not be read.
    Unreadable,
}

/// The ledger (rule B6).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Creates that were acknowledged.
    pub acknowledged: u64,
    /// Of these: at headquarters.
    pub in_hq: u64,
    /// Of these: neither at headquarters nor waiting in a channel.
    pub lost: u64,
    /// Customers under two GUIDs or account numbers, and account numbers with two customers.
    pub doubled: u64,
    /// Acknowledged, not at headquarters yet, and waiting in a channel.
    pub pending: u64,
    /// Acknowledged customers that a channel does not know as headquarters does.
    pub differing: u64,
    /// Customers at headquarters, whoever made them.
    pub customers_in_hq: u64,
    /// GUIDs of findings, at most 20.
    pub examples: Vec<String>,
}

impl Ledger {
    /// Nothing was lost or doubled, and after the drain everybody agrees.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.differing == 0
    }
}
