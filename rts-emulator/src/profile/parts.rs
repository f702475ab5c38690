//! The parts of a profile.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Method;

/// How long a call holds its worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceTime {
    /// Shape of the service time.
    pub distribution: Distribution,
    /// Its mean, in milliseconds. 0 is a pass-through: the call takes what the real headquarters takes.
    /// Required by all but empirical, where the histogram has a mean, and is stretched to this one if given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_ms: Option<f64>,
    /// Coefficient of variation (standard deviation divided by mean), 0.01 to 100. Lognormal and gamma only,
    /// and required by them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cv: Option<f64>,
    /// Half the width of the interval around the mean, in milliseconds, at most the mean. Uniform only, and
    /// required by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_width_ms: Option<f64>,
    /// Upper bounds in milliseconds, ascending, each with the number of calls between the one before and it; the
    /// first counts from 0. 1 to 1,000. Within a bin all times are alike. Empirical only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram: Option<Vec<(f64, f64)>>,
    /// In place of the histogram: the CSV file that has it, beside the profile's own file. Columns `upper_ms`
    /// and `count`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl ServiceTime {
    /// A shape that needs no more than its mean.
    #[must_use]
    pub fn new(distribution: Distribution, mean_ms: f64) -> Self {
        let mean_ms = Some(mean_ms);
        Self { distribution, mean_ms, cv: None, half_width_ms: None, histogram: None, file: None }
    }

    /// The mean, in milliseconds; of a histogram its own, unless another was given.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let measured = || {
            let bins = self.histogram.as_deref().unwrap_or_default();
            let lower = std::iter::once(0.0).chain(bins.iter().map(|(upper, _)| *upper));
            let sum: f64 =
                bins.iter().zip(lower).map(|((upper, count), lower)| (lower + upper) / 2.0 * count).sum();
            let count: f64 = bins.iter().map(|(_, count)| count).sum();
            if count > 0.0 { sum / count } else { 0.0 }
        };
        self.mean_ms.unwrap_or_else(measured)
    }
}

/// Shapes of service time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Always the mean.
    Constant,
    /// Anything within the half width of the mean, alike.
    Uniform,
    /// Memoryless.
    Exponential,
    /// Long right tail.
    Lognormal,
    /// Between exponential (coefficient of variation 1) and constant (0), and beyond.
    Gamma,
    /// As measured.
    Empirical,
}

/// Who is served first. A call that is being served is never interrupted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Priority {
    /// Class of whatever is not named below: 0, which is served first, to 9.
    #[serde(default)]
    pub default: u8,
    /// Class by method.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_method: BTreeMap<Method, u8>,
    /// Class by channel; counts before the method. At most 1,000.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_channel: BTreeMap<String, u8>,
}

/// The Universal Scalability Law (N. J. Gunther, "Guerrilla Capacity Planning", 2007): with n calls being served
/// each takes `1 + contention (n - 1) + coherency n (n - 1)` times as long as alone.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scalability {
    /// What calls wait for each other, 0 to 1.
    #[serde(default)]
    pub contention: f64,
    /// What each pair of them costs, 0 to 1. More than 0: beyond a peak more calls at once mean less throughput.
    #[serde(default)]
    pub coherency: f64,
}

impl Scalability {
    /// How many times as long as alone a call takes when this many are being served.
    #[must_use]
    pub fn slowness(self, calls: u32) -> f64 {
        let (n, others) = (f64::from(calls), f64::from(calls.saturating_sub(1)));
        self.contention.mul_add(others, 1.0) + self.coherency * n * others
    }
}

/// A part of the service that only one call at a time can be in, such as a continuous number sequence.
/// Creates only. A call holds its worker while it waits for the section.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialSection {
    /// Share of a create's service time, more than 0, at most 1. It comes last.
    pub share: f64,
    /// How many numbers are fetched at once, 1 to 1,000,000. 1 is a continuous sequence: every create passes
    /// the section. With more, one create fetches a block, and those after it that find a number are done
    /// without the section.
    #[serde(default = "one")]
    pub block: u32,
}

fn one() -> u32 {
    1
}

/// The way between channel and headquarters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Least time for each way, in milliseconds.
    #[serde(default)]
    pub latency_ms: f64,
    /// Added to each way at random, from 0 to this, in milliseconds.
    #[serde(default)]
    pub jitter_ms: f64,
    /// Share of messages that are lost on each way, 0 to 0.5, and sent again after [`Link::retransmit_ms`], and
    /// again after twice that, and so on, as TCP does (RFC 6298); the sixth repetition always arrives.
    #[serde(default)]
    pub loss: f64,
    /// How long the sender waits before it sends a lost message again, in milliseconds, more than 0. Linux
    /// waits 200 at least.
    #[serde(default = "retransmit_ms")]
    pub retransmit_ms: f64,
}

fn retransmit_ms() -> f64 {
    200.0
}

impl Default for Link {
    /// No way at all.
    fn default() -> Self {
        Self { latency_ms: 0.0, jitter_ms: 0.0, loss: 0.0, retransmit_ms: retransmit_ms() }
    }
}

/// Refusal of calls that come too fast, by GCRA (a leaky bucket).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimits {
    /// For each channel by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_channel: Option<RateLimit>,
    /// For all channels together. Only calls that pass their channel's limit count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overall: Option<RateLimit>,
}

/// A rate with its burst.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Calls per second in the long run, 0.001 to 1,000,000.
    pub per_s: f64,
    /// Calls at once after a pause, 1 to 1,000,000.
    pub burst: u32,
}

/// Throttling as a headquarters' platform documents it: what each channel has used in a window that slides, how
/// many of its calls are under way, and how busy headquarters is. A refusal carries a hint, in whole seconds,
/// when to come again; whoever comes earlier is given a hint twice as long each time, up to the window.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    /// Length of the window, in seconds, 1 to 86,400. It slides in steps of 1/300 of its length.
    pub window_s: f64,
    /// Calls of a channel that are let in during a window, 1 to 1,000,000,000; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// Time that workers spend on a channel's calls during a window, in seconds, more than 0; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_s: Option<f64>,
    /// Calls of a channel that wait or are served at once, 1 to 1,000,000; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u32>,
    /// From which share of busy workers on a class of priority, and all below it, is refused. At most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub above_busy: Vec<AboveBusy>,
}

/// A class of priority that is refused while headquarters is busy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AboveBusy {
    /// The class, 0 to 9; see [`Priority`].
    pub priority: u8,
    /// Share of workers that are busy, more than 0, at most 1.
    pub share: f64,
}

/// After an outage everything is cold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowStart {
    /// How long it takes to warm up, in milliseconds, more than 0.
    pub duration_ms: f64,
    /// How many times as long a call takes at first, 1 to 1,000. It falls to 1 in 32 even steps.
    pub factor: f64,
}

/// Batch work that takes workers: month end, or the customer sync job itself. Workers that serve a call finish
/// it first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// How many workers it takes, 1 to 100,000. What it takes beyond those there are is without effect.
    pub workers: u32,
    /// When it starts, in milliseconds after the profile came into force.
    pub start_ms: f64,
    /// How long it lasts, in milliseconds, more than 0.
    pub duration_ms: f64,
    /// Time from one start to the next, in milliseconds, more than the duration; absent: once only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat_ms: Option<f64>,
}

/// When headquarters is out: calls that arrive or wait are refused, and the answer of a call that ends then
/// is lost, though headquarters has done it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    /// When it starts, in milliseconds after the profile came into force.
    pub start_ms: f64,
    /// How long it lasts, in milliseconds, more than 0.
    pub duration_ms: f64,
    /// Time from one start to the next, in milliseconds, more than the duration; absent: once only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat_ms: Option<f64>,
}
