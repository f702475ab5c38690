//! The profile: what the emulated headquarters is like, as TOML (rule R2). Units stand last in names. Every
//! figure is checked, with its bound, where [`crate::model::Rules`] turns it into integer nanoseconds.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::model::Rules;

mod error;
mod histogram;
mod names;
mod parts;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_bad;

pub use error::{ProfileError, Wrong};
pub use names::{GrpcCode, Method};
pub use parts::{
    AboveBusy, Batch, Distribution, Link, Outage, Priority, RateLimit, RateLimits, Scalability,
    SerialSection, ServiceTime, SlowStart, Throttle,
};

/// Longest profile, and longest histogram file, in bytes.
pub const MAX_PROFILE_BYTES: usize = 64 * 1024;

macro_rules! presets {
    ($($name:literal),*) => {
        /// The profiles that ship with the emulator: name and text.
        pub const PRESETS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../profiles/", $name, ".toml")))),*];

        /// Their names, as help and errors list them.
        pub const PRESET_NAMES: &str = presets!(@list $($name),*);
    };
    (@list $first:literal $(, $rest:literal)*) => { concat!($first $(, ", ", $rest)*) };
}

presets!(
    "default",
    "idle",
    "busy",
    "month-end",
    "mm1",
    "outage",
    "platform",
    "slow-link",
    "stall",
    "throttled"
);

/// What the emulated headquarters is like. Each part is independent of the others, and off when it is absent.
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
    /// Who is served first; absent: first come, first served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// How calls that are served at the same time slow each other down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scalability: Option<Scalability>,
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
    /// Refusal of calls that together were too much for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Throttle>,
    /// What happens after an outage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<SlowStart>,
    /// Batch work that takes workers; at most 1,000 entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub batches: Vec<Batch>,
    /// When headquarters is out; at most 1,000 entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<Outage>,
}

impl Default for Profile {
    /// A small headquarters without faults: the text of `profiles/default.toml`.
    fn default() -> Self {
        Self {
            workers: 4,
            queue_capacity: 64,
            longest_wait_ms: 2_000.0,
            service: ServiceTime { cv: Some(0.5), ..ServiceTime::new(Distribution::Lognormal, 40.0) },
            service_by_method: BTreeMap::new(),
            priority: None,
            scalability: None,
            serial_section: None,
            link: Link::default(),
            errors: BTreeMap::new(),
            rate_limits: RateLimits::default(),
            throttle: None,
            slow_start: None,
            batches: Vec::new(),
            outages: Vec::new(),
        }
    }
}

impl Profile {
    /// Reads and checks a profile. It has to be complete: a histogram stands in it, not in a file of its own.
    ///
    /// # Errors
    ///
    /// [`ProfileError`], which names the field and the line.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        Self::from_text(text, |file| Err(Wrong::File(file.to_owned())))
    }

    /// Reads and checks a preset, by its name, or a file. Histogram files are looked for beside it and become
    /// part of the profile.
    ///
    /// # Errors
    ///
    /// [`ProfileError`].
    pub fn load(path: &Path) -> Result<Self, ProfileError> {
        if let Some((_, text)) = PRESETS.iter().find(|(name, _)| path.as_os_str() == *name) {
            return Self::parse(text);
        }
        let read = |path: &Path| fs::read_to_string(path).map_err(|error| error.to_string());
        let text = read(path).map_err(ProfileError::Read)?;
        let folder = path.parent().map(PathBuf::from).unwrap_or_default();
        Self::from_text(&text, |file| {
            let text = read(&folder.join(file)).map_err(|error| Wrong::Unreadable(file.to_owned(), error))?;
            histogram::parse(&text).map_err(|error| Wrong::Histogram(file.to_owned(), error))
        })
    }

    fn from_text(
        text: &str,
        read: impl Fn(&str) -> Result<Vec<(f64, f64)>, Wrong>,
    ) -> Result<Self, ProfileError> {
        if text.len() > MAX_PROFILE_BYTES {
            return Err(ProfileError::TooLong(text.len()));
        }
        let mut profile: Self = toml::from_str(text).map_err(|error| ProfileError::toml(text, &error))?;
        for (path, time) in profile.service_times() {
            let Some(file) = &time.file else { continue };
            let field = format!("{path}.file");
            let histogram = match &time.histogram {
                Some(_) => Err(Wrong::Meaningless),
                None => read(file),
            };
            time.histogram =
                Some(histogram.map_err(|wrong| ProfileError::field(field, wrong).at_line(text))?);
            time.file = None;
        }
        Rules::new(&profile).map_err(|error| error.at_line(text))?;
        Ok(profile)
    }

    /// Every service time, with its place.
    fn service_times(&mut self) -> impl Iterator<Item = (String, &mut ServiceTime)> {
        let by_method = self.service_by_method.iter_mut();
        let by_method =
            by_method.map(|(method, time)| (format!("service_by_method.{}", method.name()), time));
        std::iter::once(("service".to_owned(), &mut self.service)).chain(by_method)
    }

    /// The service time of a method.
    #[must_use]
    pub fn service_of(&self, method: Method) -> &ServiceTime {
        self.service_by_method.get(&method).unwrap_or(&self.service)
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

    /// The same where there is a limit.
    #[must_use]
    pub fn limit_per_s(&self) -> Option<f64> {
        Some(self.capacity_per_s()).filter(|capacity| capacity.is_finite())
    }

    /// The profile as TOML; [`Profile::parse`] gives it back.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Write`]; a checked profile has none.
    pub fn to_toml(&self) -> Result<String, ProfileError> {
        toml::to_string(self).map_err(|error| ProfileError::Write(error.to_string()))
    }

    /// How many creates headquarters can serve per second in the long run: what its workers do at the number at
    /// which they do most together, no more than the serial section and the overall rate limit let through.
    /// Infinite if nothing limits it. Outages, batches and throttling are not counted.
    #[must_use]
    pub fn capacity_per_s(&self) -> f64 {
        let mean_s = self.service_of(Method::Create).mean() / 1_000.0;
        let (share, block) = self.serial_section.map_or((0.0, 1.0), |s| (s.share, f64::from(s.block)));
        // Only one create of a block has to do with the section.
        let held_s = mean_s * (1.0 - share + share / block);
        let together = |n: u32| f64::from(n) / self.scalability.map_or(1.0, |s| s.slowness(n)) / held_s;
        // With coherency there are numbers of calls that do less together than fewer would.
        let most = match self.scalability {
            None => together(self.workers),
            Some(_) => (1..=self.workers).map(together).fold(0.0, f64::max),
        };
        let serial = if share > 0.0 { block / (share * mean_s) } else { f64::INFINITY };
        let limit = self.rate_limits.overall.map_or(f64::INFINITY, |limit| limit.per_s);
        most.min(serial).min(limit)
    }
}
