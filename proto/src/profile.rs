//! Functionality profiles, jobs and schedules.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of one channel, made at headquarters and carried down by 1070.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionalityProfile {
    /// "Create customer in async mode" (rule M2).
    pub create_customer_async: bool,
    /// Turn a sync create into an async one when the call to headquarters fails in communication (rule M4).
    pub async_fallback: bool,
    /// How long a create waits for headquarters, 10 ms to 10 min.
    pub rts_timeout: Duration,
    /// Creates that keep failing at headquarters go straight to the log until it answers (rule M10). Has effect with
    /// `async_fallback` only.
    #[serde(default)]
    pub circuit_breaker: bool,
    /// "Filter shared customer data tables": no customer is created offline (rule O3).
    #[serde(default)]
    pub filter_shared_customer_data: bool,
}

impl Default for FunctionalityProfile {
    /// The documented behaviour: sync, with the fallback.
    fn default() -> Self {
        Self {
            create_customer_async: false,
            async_fallback: true,
            rts_timeout: Duration::from_secs(5),
            circuit_breaker: false,
            filter_shared_customer_data: false,
        }
    }
}

/// The jobs of the exchange, in the order that makes a pending customer real (rule X1), then configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Job {
    /// P-job.
    Upload,
    /// Customer sync job; the only one that runs at headquarters.
    CustomerSync,
    /// 1010.
    Customers1010,
    /// 1070.
    ChannelConfiguration1070,
    /// 1110.
    GlobalConfiguration1110,
}

impl Job {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [
        Self::Upload,
        Self::CustomerSync,
        Self::Customers1010,
        Self::ChannelConfiguration1070,
        Self::GlobalConfiguration1110,
    ];

    /// The short name: in storage, logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Upload => "p-job",
            Self::CustomerSync => "customer-sync",
            Self::Customers1010 => "1010",
            Self::ChannelConfiguration1070 => "1070",
            Self::GlobalConfiguration1110 => "1110",
        }
    }

    /// The job of a short name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|job| job.name() == name)
    }
}

/// When a job runs (rule X8).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Which job.
    pub job: Job,
    /// Pause between two runs, 50 ms to 24 h.
    pub interval: Duration,
    /// Share of the interval, 0 to 1, by which each pause is lengthened at random.
    pub jitter: f64,
    /// Runs only when asked for.
    pub held: bool,
}

impl Schedule {
    /// The default: a pending customer is real within a few seconds, and nobody has to set anything.
    #[must_use]
    pub fn default_for(job: Job) -> Self {
        let interval = match job {
            Job::Upload | Job::CustomerSync | Job::Customers1010 => Duration::from_millis(500),
            Job::ChannelConfiguration1070 | Job::GlobalConfiguration1110 => Duration::from_secs(2),
        };
        Self { job, interval, jitter: 0.2, held: false }
    }
}
