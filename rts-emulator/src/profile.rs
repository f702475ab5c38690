//! The profile: what the emulated headquarters is like, as TOML (rule R2). Units stand last in names. Every
//! figure is checked, with its bound, where [`crate::model::Rules`] turns it into integer nanoseconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::Rules;

mod error;
#[cfg(test)]
mod tests;

pub use error::{ProfileError, Wrong};

/// Longest profile, in bytes.
pub const MAX_PROFILE_BYTES: usize = 64 * 1024;

/// The profiles that ship with the emulator: name and text.
pub const PRESETS: [(&str, &str); 5] = [
    ("default", include_str!("../profiles/default.toml")),
    ("idle", include_str!("../profiles/idle.toml")),
    ("mm1", include_str!("../profiles/mm1.toml")),
    ("outage", include_str!("../profiles/outage.toml")),
    ("throttled", include_str!("../profiles/throttled.toml")),
];

/// What the emulated headquarters is like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// How many calls headquarters serves at once, 1 to 100,000.
    pub workers: u32,
    /// How many calls may wait for a worker, 0 to 1,000,000; more are refused.
    pub queue_capacity: u32,
    /// How long a call may wait for a worker before it is refused, in milliseconds, more than 0.
    pub longest_wait_ms: f64,
    /// How long a worker is held.
    pub service: ServiceTime,
    /// The same for methods that differ.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub service_by_method: BTreeMap<Method, ServiceTime>,
    /// The part of a create that only one call at a time can be in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial_section: Option<SerialSection>,
    /// The way between channel and headquarters.
    #[serde(default)]
    pub link: Link,
    /// Share of calls, 0 to 1, that fail with each gRPC code once they have been served; at most 1 in all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<GrpcCode, f64>,
    /// Refusal of calls that come too fast.
    #[serde(default)]
    pub rate_limits: RateLimits,
    /// When headquarters is out; at most 1,000 entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<Outage>,
}

/// How long a call holds its worker.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceTime {
    /// Shape of the service time.
    pub distribution: Distribution,
    /// Its mean, in milliseconds. 0 is a pass-through: the call takes what the real headquarters takes.
    pub mean_ms: f64,
    /// Coefficient of variation (standard deviation divided by mean), 0.01 to 100. Lognormal and gamma only,
    /// and required by them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cv: Option<f64>,
    /// Half the width of the interval around the mean, in milliseconds, at most the mean. Uniform only, and
    /// required by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_width_ms: Option<f64>,
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
}

/// A part of the service that only one call at a time can be in, such as a continuous number sequence.
/// Creates only. A call holds its worker while it waits for the section.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialSection {
    /// Share of a create's service time, more than 0, at most 1. It comes last.
    pub share: f64,
}

/// The way between channel and headquarters.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Least time for each way, in milliseconds.
    #[serde(default)]
    pub latency_ms: f64,
    /// Added to each way at random, from 0 to this, in milliseconds.
    #[serde(default)]
    pub jitter_ms: f64,
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

/// The methods of the real-time service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// `CreateCustomer`
    Create,
    /// `GetCustomer`
    Get,
    /// `SearchCustomers`
    Search,
    /// `UpdateCustomer`
    Update,
    /// `SaveAddress`
    SaveAddress,
    /// `IssueLoyaltyCard`
    IssueLoyaltyCard,
}

impl Method {
    /// Every method, in the order of its number.
    pub const ALL: [Self; 6] =
        [Self::Create, Self::Get, Self::Search, Self::Update, Self::SaveAddress, Self::IssueLoyaltyCard];

    /// The name in a profile and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Get => "get",
            Self::Search => "search",
            Self::Update => "update",
            Self::SaveAddress => "save_address",
            Self::IssueLoyaltyCard => "issue_loyalty_card",
        }
    }
}

/// The gRPC codes a call can fail with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names are those of gRPC")]
pub enum GrpcCode {
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl GrpcCode {
    /// The name of gRPC, such as `UNAVAILABLE`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

impl Default for Profile {
    /// A small headquarters without faults: the text of `profiles/default.toml`.
    fn default() -> Self {
        Self {
            workers: 4,
            queue_capacity: 64,
            longest_wait_ms: 2_000.0,
            service: ServiceTime {
                distribution: Distribution::Lognormal,
                mean_ms: 40.0,
                cv: Some(0.5),
                half_width_ms: None,
            },
            service_by_method: BTreeMap::new(),
            serial_section: None,
            link: Link::default(),
            errors: BTreeMap::new(),
            rate_limits: RateLimits::default(),
            outages: Vec::new(),
        }
    }
}

impl Profile {
    /// Reads and checks a profile.
    ///
    /// # Errors
    ///
    /// [`ProfileError`], which names the field or the line.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        if text.len() > MAX_PROFILE_BYTES {
            return Err(ProfileError::TooLong(text.len()));
        }
        let profile: Self = toml::from_str(text).map_err(|error| ProfileError::toml(text, &error))?;
        Rules::new(&profile)?;
        Ok(profile)
    }

    /// The service time of a method.
    #[must_use]
    pub fn service_of(&self, method: Method) -> ServiceTime {
        self.service_by_method.get(&method).copied().unwrap_or(self.service)
    }

    /// A profile that ships with the emulator, by name (rule R8).
    ///
    /// # Errors
    ///
    /// [`ProfileError::UnknownPreset`].
    pub fn preset(name: &str) -> Result<Self, ProfileError> {
        let text = PRESETS.iter().find(|(known, _)| *known == name).map(|(_, text)| text);
        Self::parse(text.ok_or_else(|| ProfileError::UnknownPreset(name.to_owned()))?)
    }

    /// The profile as TOML; [`Profile::parse`] gives it back.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Write`]; a checked profile has none.
    pub fn to_toml(&self) -> Result<String, ProfileError> {
        toml::to_string(self).map_err(|error| ProfileError::Write(error.to_string()))
    }

    /// How many creates headquarters can serve per second in the long run: workers divided by mean service
    /// time, no more than the serial section and the overall rate limit let through. Infinite if nothing limits
    /// it. Outages are not counted.
    #[must_use]
    pub fn capacity_per_s(&self) -> f64 {
        let mean_s = self.service_of(Method::Create).mean_ms / 1_000.0;
        let workers = f64::from(self.workers) / mean_s;
        let serial = self.serial_section.map_or(f64::INFINITY, |section| 1.0 / (section.share * mean_s));
        let limit = self.rate_limits.overall.map_or(f64::INFINITY, |limit| limit.per_s);
        workers.min(serial).min(limit)
    }
}
