//! A checked profile in integer nanoseconds. Making one is the only check of a profile's values.

use crate::{
    model::{Nanos, limits::Quotas, outage::Window, sampler::Sampler},
    profile::{GrpcCode, Method, Outage, Profile, ProfileError, RateLimit, SerialSection, Wrong},
};

/// Longest duration in a profile: 366 days, in milliseconds. Sums of a few stay far below the 584 years of
/// [`Nanos`].
pub const MAX_MS: f64 = 366.0 * 24.0 * 3_600_000.0;
/// Most workers.
const MAX_WORKERS: u32 = 100_000;
/// Longest queue.
const MAX_QUEUE: u32 = 1_000_000;
/// Most scheduled outages.
const MAX_OUTAGES: usize = 1_000;
/// Least and highest rate of a limit, and its largest burst.
const RATES_PER_S: (f64, f64) = (0.001, 1_000_000.0);
const MAX_BURST: u32 = 1_000_000;

/// A checked profile.
#[derive(Debug, Clone)]
pub struct Rules {
    pub(super) workers: u32,
    pub(super) queue_capacity: usize,
    pub(super) longest_wait: Nanos,
    /// By [`Method`].
    service: [Sampler; Method::ALL.len()],
    /// Share of a create's service time in the serial section.
    pub(super) serial_share: f64,
    pub(super) link_latency: Nanos,
    pub(super) link_jitter: Nanos,
    /// Cumulated shares of calls that fail.
    faults: Vec<(f64, GrpcCode)>,
    pub(super) quotas: Quotas,
    pub(super) outages: Vec<Window>,
}

impl Rules {
    /// Checks a profile.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Field`] for the first value that makes no sense.
    pub fn new(profile: &Profile) -> Result<Self, ProfileError> {
        let service = |method: Method| match profile.service_by_method.get(&method) {
            Some(time) => Sampler::new(&format!("service_by_method.{}", method.name()), time),
            None => Sampler::new("service", &profile.service),
        };
        let [create, get, search, update, address, card] = Method::ALL.map(service);
        Ok(Self {
            workers: count("workers", profile.workers, 1, MAX_WORKERS)?,
            queue_capacity: count("queue_capacity", profile.queue_capacity, 0, MAX_QUEUE)? as usize,
            longest_wait: positive_ms("longest_wait_ms", profile.longest_wait_ms)?,
            service: [create?, get?, search?, update?, address?, card?],
            serial_share: match profile.serial_section {
                Some(SerialSection { share }) => {
                    at_most("serial_section.share", positive("serial_section.share", share)?, 1.0)?
                }
                None => 0.0,
            },
            link_latency: ms("link.latency_ms", profile.link.latency_ms)?,
            link_jitter: ms("link.jitter_ms", profile.link.jitter_ms)?,
            faults: faults(profile)?,
            quotas: Quotas {
                per_channel: rate("rate_limits.per_channel", profile.rate_limits.per_channel)?,
                overall: rate("rate_limits.overall", profile.rate_limits.overall)?,
            },
            outages: windows(profile)?,
        })
    }

    pub(super) fn service(&self, method: Method) -> &Sampler {
        &self.service[method as usize]
    }

    /// The fault that a number drawn from 0 to 1 stands for.
    pub(super) fn fault(&self, drawn: impl FnOnce() -> f64) -> Option<GrpcCode> {
        if self.faults.is_empty() {
            return None;
        }
        let drawn = drawn();
        self.faults.iter().find(|(up_to, _)| drawn < *up_to).map(|(_, code)| *code)
    }
}

fn faults(profile: &Profile) -> Result<Vec<(f64, GrpcCode)>, ProfileError> {
    let mut sum = 0.0;
    let mut faults = Vec::new();
    for (code, share) in &profile.errors {
        let field = format!("errors.{}", code.name());
        sum += at_most(&field, least(&field, *share, 0.0)?, 1.0)?;
        faults.push((sum, *code));
    }
    // A sum of decimal shares may miss 1 by its rounding.
    at_most("the sum of errors", (sum * 1e9).round() / 1e9, 1.0)?;
    Ok(faults)
}

fn windows(profile: &Profile) -> Result<Vec<Window>, ProfileError> {
    let most = u32::try_from(MAX_OUTAGES).unwrap_or(u32::MAX);
    count("the number of outages", u32::try_from(profile.outages.len()).unwrap_or(u32::MAX), 0, most)?;
    let window = |(index, outage): (usize, &Outage)| {
        let field = |name: &str| format!("outages[{index}].{name}");
        let repeat = match outage.repeat_ms {
            Some(repeat_ms) => {
                let repeat = positive_ms(&field("repeat_ms"), repeat_ms)?;
                if repeat_ms <= outage.duration_ms {
                    let wrong = Wrong::Overlaps { repeat_ms, duration_ms: outage.duration_ms };
                    return Err(ProfileError::Field { field: field("repeat_ms"), wrong });
                }
                Some(repeat)
            }
            None => None,
        };
        Ok(Window {
            start: ms(&field("start_ms"), outage.start_ms)?,
            duration: positive_ms(&field("duration_ms"), outage.duration_ms)?,
            repeat,
        })
    };
    profile.outages.iter().enumerate().map(window).collect()
}

fn rate(field: &str, limit: Option<RateLimit>) -> Result<Option<RateLimit>, ProfileError> {
    if let Some(limit) = limit {
        let per_s = format!("{field}.per_s");
        at_most(&per_s, least(&per_s, limit.per_s, RATES_PER_S.0)?, RATES_PER_S.1)?;
        count(&format!("{field}.burst"), limit.burst, 1, MAX_BURST)?;
    }
    Ok(limit)
}

fn wrong<T>(field: &str, wrong: Wrong) -> Result<T, ProfileError> {
    Err(ProfileError::Field { field: field.to_owned(), wrong })
}

fn count(field: &str, value: u32, fewest: u32, most: u32) -> Result<u32, ProfileError> {
    at_most(field, least(field, value.into(), fewest.into())?, most.into()).map(|_| value)
}

/// A finite number that is at least `bound`.
pub(super) fn least(field: &str, value: f64, bound: f64) -> Result<f64, ProfileError> {
    match value {
        value if !value.is_finite() => wrong(field, Wrong::NotFinite),
        value if value < bound => wrong(field, Wrong::TooSmall { value, least: bound }),
        value => Ok(value),
    }
}

/// A finite number above 0.
pub(super) fn positive(field: &str, value: f64) -> Result<f64, ProfileError> {
    match value {
        value if !value.is_finite() => wrong(field, Wrong::NotFinite),
        value if value <= 0.0 => wrong(field, Wrong::NotPositive(value)),
        value => Ok(value),
    }
}

pub(super) fn at_most(field: &str, value: f64, most: f64) -> Result<f64, ProfileError> {
    if value > most { wrong(field, Wrong::TooLarge { value, most }) } else { Ok(value) }
}

/// Milliseconds, 0 or more.
pub(super) fn ms(field: &str, value: f64) -> Result<Nanos, ProfileError> {
    at_most(field, least(field, value, 0.0)?, MAX_MS).map(|ms| nanos(ms * 1e6))
}

fn positive_ms(field: &str, value: f64) -> Result<Nanos, ProfileError> {
    positive(field, value)?;
    ms(field, value).map(|nanos| nanos.max(1))
}

/// Rounds; what is negative becomes 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
pub(super) fn nanos(value: f64) -> Nanos {
    value.max(0.0).round() as Nanos
}
