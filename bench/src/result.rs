//! What was measured, as plain data: the file `result.json`, and all that table and report are made from. Its
//! schema is `schema/result.schema.json`. Units stand last in names.

use std::{fs, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{error::Error, goal::Goal};

mod run;

pub use run::{
    Backlog, Generator, Hq, Latency, Mode, Part, Paths, Pending, Phases, Repetition, Run, Sample, Slice,
    TwoPercentiles, enough,
};

/// Version of the file's schema.
pub const SCHEMA_VERSION: u32 = 2;

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
    /// The highest rates at which modes keep a goal, where they were looked for (rule B4).
    pub knees: Vec<Knee>,
    /// The ledger; absent if the services could not be read.
    pub ledger: Option<Ledger>,
    /// Reasons not to trust the session as a whole (rule B5); each run has its own.
    pub warnings: Vec<Warning>,
    /// What the runs had to keep, and whether they have (rule B7).
    pub checks: Checks,
    /// CPU and memory of the harness's process.
    pub process: Process,
}

impl ResultFile {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] or [`Error::NotResult`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text =
            fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        serde_json::from_str(&text).map_err(|source| Error::NotResult { path: path.to_owned(), source })
    }
}

/// The highest rate at which a mode keeps a goal. Without `per_s` it is only known to be above `low`, or below `high`,
/// or between them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Knee {
    /// The mode.
    pub mode: Mode,
    /// The goal.
    pub goal: Goal,
    /// The rate, in creates per second.
    pub per_s: Option<f64>,
    /// Lower end of its interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Runs that were made to find it.
    pub runs: u32,
}

/// What runs have to keep.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Checks {
    /// Whether doubts about the measurement count as failures.
    pub strict: bool,
    /// Every goal, for every run it is about.
    pub slos: Vec<SloOutcome>,
}

/// A goal and a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SloOutcome {
    /// The goal, in words.
    pub slo: String,
    /// Of which run.
    pub mode: Mode,
    /// Of which run.
    pub offered_per_s: f64,
    /// What the run has, in words.
    pub figure: String,
    /// Whether that keeps the goal.
    pub kept: bool,
    /// Whether the figure has fewer samples behind it than it needs.
    pub few_samples: bool,
}

/// The machine that it ran on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Processors that the process may use.
    pub cpus: usize,
    /// Operating system and processor architecture.
    pub os: String,
}

/// What was asked for. Whoever measures or simulates fills in what it knows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Setup {
    /// Whether the harness started the services itself (loopback TCP) or they were up already.
    pub services: Services,
    /// How many channels took creates.
    pub channels: usize,
    /// What a commit promised.
    pub durability: String,
    /// Creates per second that headquarters can serve at most; absent if nothing limits it or nobody knows.
    pub capacity_per_s: Option<f64>,
    /// The emulator's profile; absent without an emulator.
    pub profile_toml: Option<String>,
    /// The scenario that was gone through; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<Played>,
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
    /// How often each run was made.
    pub repeat: u32,
    /// Processes that made the calls.
    pub generators: u32,
    /// What a simulation assumes of what it does not simulate; absent if it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assumed: Option<Assumed>,
}

/// A duration in whole milliseconds, as files have it.
#[must_use]
pub fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Played {
    /// Its name.
    pub name: String,
    /// What to look for, a paragraph.
    pub look_for: String,
    /// What happened, in the order of time.
    pub events: Vec<Event>,
}

/// Something that happened during a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Seconds since the start of what was measured.
    pub at_s: f64,
    /// In words.
    pub what: String,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Services {
    /// The harness started them: each a process of its own, or all in its own with `--one-process`.
    Embedded,
    /// They were up already (rule B8).
    #[default]
    External,
    /// There were none: the run was simulated, in virtual time (rule B10).
    Simulated,
}

/// Where arrivals came from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Arrivals {
    /// Independent of each other.
    #[default]
    Poisson,
    /// At equal distances.
    Constant,
    /// Closed-loop: when the answer to the one before had come. Latency counts from the call, and a server that stalls
    /// hides its stall.
    Closed {
        /// How many called.
        callers: u16,
    },
    /// As they were recorded.
    Trace {
        /// Name of the file.
        file: String,
        /// The part that was replayed: a date or "busiest"; absent: from the first arrival on.
        day: Option<String>,
        /// Longer pauses were shortened to this many recorded seconds; absent: none were.
        skip_idle_s: Option<f64>,
    },
    /// Poisson, at a rate that follows a scenario.
    Curve,
    /// Poisson, at a rate that follows the day.
    Daily {
        /// Creates of all stores in a day.
        creates_per_day: f64,
    },
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
    /// Share of the time in which somebody waited for a processor, 0 to 1 (the kernel's pressure stall information);
    /// absent where it cannot be read.
    pub starved: Option<f64>,
    /// Share of the processors that the machine's host gave to others, 0 to 1; absent where it cannot be read.
    pub stolen: Option<f64>,
}

/// What a service has used during a run (rule B3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceUsage {
    /// Which; several that are one process.
    pub name: String,
    /// CPU time.
    pub cpu_s: f64,
    /// Memory in use, at the beginning or at the end, whichever was more.
    pub rss_bytes: f64,
    /// What it has handed to the disk; absent where that cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<f64>,
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
    /// The processors were nearly all in use, and there was a queue for them.
    MachineBusy,
    /// The machine's host gave its processors to others.
    MachineStolen,
    /// A percentile has fewer than ten samples beyond it.
    TooFewSamples,
    /// The figures drifted while they were measured.
    Unstable,
    /// A few slices or repetitions are far from all others.
    Outliers,
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

impl WarningKind {
    /// Whether it casts doubt on the measurement, not on what was measured: `--strict` fails for these.
    #[must_use]
    pub fn is_doubt(self) -> bool {
        match self {
            Self::GeneratorLate
            | Self::GeneratorOverflow
            | Self::MachineBusy
            | Self::MachineStolen
            | Self::TooFewSamples
            | Self::Unstable
            | Self::Outliers
            | Self::Unreadable => true,
            Self::Errors
            | Self::ProbeErrors
            | Self::BacklogLeft
            | Self::SampleUnresolved
            | Self::RemoteSearchFailed => false,
        }
    }
}

/// The ledger (rule B6).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Creates that were acknowledged.
    pub acknowledged: u64,
    /// No headquarters was named: the stores alone were read, and what is said of headquarters is said of them.
    #[serde(default)]
    pub stores_only: bool,
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
