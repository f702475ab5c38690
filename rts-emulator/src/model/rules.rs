//! A checked profile in integer nanoseconds. Making one is the only check of a profile's values.

use tillsync_proto::ChannelId;

use super::{
    Call, Nanos,
    draw::{ChannelKey, HashedMap},
    limits::Quotas,
    sampler::Sampler,
    throttle::Bounds,
    timeline::{Plan, Window},
    waiting::CLASSES,
};
use crate::profile::{
    Batch, GrpcCode, Link, Method, Outage, Priority, Profile, ProfileError, RateLimit, Scalability,
    SerialSection, SlowStart, Throttle, Wrong,
};

/// Longest duration in a profile: 366 days, in milliseconds. Sums of a few stay far below the 584 years of
/// [`Nanos`].
pub const MAX_MS: f64 = 366.0 * 24.0 * 3_600_000.0;
/// Most workers.
const MAX_WORKERS: u32 = 100_000;
/// Longest queue.
const MAX_QUEUE: u32 = 1_000_000;
/// Most scheduled outages, most batches, and most channels with a class of their own.
const MAX_ENTRIES: u32 = 1_000;
/// Largest block of numbers.
const MAX_BLOCK: u32 = 1_000_000;
/// Largest share of messages that are lost, and most repetitions of one.
const MAX_LOSS: f64 = 0.5;
const MAX_REPETITIONS: u32 = 6;
/// Longest window of a throttle, in seconds; most calls in it, and most at once.
const MAX_WINDOW_S: f64 = 86_400.0;
const MAX_REQUESTS: u32 = 1_000_000_000;
const MAX_CONCURRENT: u32 = 1_000_000;
/// How many times as long a call may take after an outage.
const MAX_FACTOR: f64 = 1_000.0;
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
    /// Numbers that are fetched at once.
    pub(super) block: u32,
    classes: Classes,
    pub(super) scalability: Option<Scalability>,
    pub(super) link: Way,
    /// Cumulated shares of calls that fail.
    faults: Vec<(f64, GrpcCode)>,
    pub(super) quotas: Quotas,
    pub(super) throttle: Option<Bounds>,
    pub(super) plan: Plan,
}

/// The way between channel and headquarters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    latency: Nanos,
    jitter: Nanos,
    loss: f64,
    retransmit: Nanos,
}

/// Classes of priority.
#[derive(Debug, Clone)]
struct Classes {
    by_method: [u8; Method::ALL.len()],
    by_channel: HashedMap<ChannelKey, u8>,
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
            serial_share: profile.serial_section.map_or(Ok(0.0), |SerialSection { share, .. }| {
                at_most("serial_section.share", positive("serial_section.share", share)?, 1.0)
            })?,
            block: profile.serial_section.map_or(Ok(1), |SerialSection { block, .. }| {
                count("serial_section.block", block, 1, MAX_BLOCK)
            })?,
            classes: classes(profile.priority.as_ref())?,
            scalability: scalability(profile.scalability)?,
            link: way(profile.link)?,
            faults: faults(profile)?,
            quotas: Quotas {
                per_channel: rate("rate_limits.per_channel", profile.rate_limits.per_channel)?,
                overall: rate("rate_limits.overall", profile.rate_limits.overall)?,
            },
            throttle: profile.throttle.as_ref().map(throttle).transpose()?,
            plan: Plan {
                outages: outages(&profile.outages)?,
                batches: batches(&profile.batches)?,
                slow_start: profile.slow_start.map(slow_start).transpose()?,
            },
        })
    }

    pub(super) fn service(&self, method: Method) -> &Sampler {
        &self.service[method as usize]
    }

    /// The class of a call: by its channel, or by its method.
    pub(super) fn class(&self, call: &Call<'_>, channel: ChannelKey) -> u8 {
        let by_method = self.classes.by_method[call.method as usize];
        if self.classes.by_channel.is_empty() {
            return by_method;
        }
        self.classes.by_channel.get(&channel).copied().unwrap_or(by_method)
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
    let sum = (sum * 1e9).round() / 1e9;
    if sum > 1.0 { wrong("errors", Wrong::SumTooLarge(sum)) } else { Ok(faults) }
}

impl Way {
    /// How long a message is on its way, given numbers from 0 to 1 that are drawn for the jitter and for the loss.
    pub(super) fn time(&self, jitter: impl FnOnce() -> f64, loss: impl FnOnce() -> f64) -> Nanos {
        let mut time = self.latency;
        if self.jitter > 0 {
            time += nanos(jitter() * self.jitter as f64);
        }
        if self.loss > 0.0 {
            // Each repetition is lost with the same chance, so one number says how many there are.
            let mut drawn = loss();
            let mut pause = self.retransmit;
            for _ in 0..MAX_REPETITIONS {
                if drawn >= self.loss {
                    break;
                }
                (time, pause, drawn) =
                    (time.saturating_add(pause), pause.saturating_mul(2), drawn / self.loss);
            }
        }
        time
    }
}

fn way(link: Link) -> Result<Way, ProfileError> {
    Ok(Way {
        latency: ms("link.latency_ms", link.latency_ms)?,
        jitter: ms("link.jitter_ms", link.jitter_ms)?,
        loss: at_most("link.loss", least("link.loss", link.loss, 0.0)?, MAX_LOSS)?,
        retransmit: positive_ms("link.retransmit_ms", link.retransmit_ms)?,
    })
}

fn classes(priority: Option<&Priority>) -> Result<Classes, ProfileError> {
    let class = |field: &str, class: u8| count(field, class.into(), 0, CLASSES as u32 - 1).map(|_| class);
    let Priority { default, by_method, by_channel } = priority.cloned().unwrap_or_default();
    let mut classes =
        Classes { by_method: [class("priority.default", default)?; 6], by_channel: HashedMap::default() };
    for (method, number) in by_method {
        let field = format!("priority.by_method.{}", method.name());
        classes.by_method[method as usize] = class(&field, number)?;
    }
    entries("priority.by_channel", by_channel.len(), MAX_ENTRIES)?;
    for (channel, number) in by_channel {
        let field = format!("priority.by_channel.{channel}");
        if channel.parse::<ChannelId>().is_err() {
            return wrong(&field, Wrong::NotAChannel);
        }
        classes.by_channel.insert(ChannelKey::of(&channel), class(&field, number)?);
    }
    Ok(classes)
}

fn scalability(law: Option<Scalability>) -> Result<Option<Scalability>, ProfileError> {
    if let Some(Scalability { contention, coherency }) = law {
        for (field, value) in [("scalability.contention", contention), ("scalability.coherency", coherency)] {
            at_most(field, least(field, value, 0.0)?, 1.0)?;
        }
    }
    Ok(law.filter(|law| law.contention > 0.0 || law.coherency > 0.0))
}

fn throttle(throttle: &Throttle) -> Result<Bounds, ProfileError> {
    let Throttle { window_s, requests, execution_s, concurrent, above_busy } = throttle;
    if requests.is_none() && execution_s.is_none() && concurrent.is_none() && above_busy.is_empty() {
        return wrong("throttle", Wrong::Empty("requests, execution_s, concurrent and above_busy"));
    }
    let window_s = at_most("throttle.window_s", least("throttle.window_s", *window_s, 1.0)?, MAX_WINDOW_S)?;
    let bound = |field, value: Option<u32>, most| {
        value.map_or(Ok(u64::MAX), |value| count(field, value, 1, most).map(u64::from))
    };
    let execution = execution_s.map_or(Ok(Nanos::MAX), |seconds| {
        at_most("throttle.execution_s", positive("throttle.execution_s", seconds)?, MAX_MS / 1e3)
            .map(|seconds| nanos(seconds * 1e9))
    })?;
    // More than can be busy.
    let mut busy = [2.0_f64; CLASSES];
    let mut named = [false; CLASSES];
    for (index, above) in above_busy.iter().enumerate() {
        let field = |name: &str| format!("throttle.above_busy[{index}].{name}");
        count(&field("priority"), above.priority.into(), 0, CLASSES as u32 - 1)?;
        let share = at_most(&field("share"), positive(&field("share"), above.share)?, 1.0)?;
        if std::mem::replace(&mut named[usize::from(above.priority)], true) {
            return wrong(&field("priority"), Wrong::Twice);
        }
        // The classes below are refused as well.
        busy[usize::from(above.priority)..].iter_mut().for_each(|bound| *bound = bound.min(share));
    }
    Ok(Bounds {
        window: nanos(window_s * 1e9),
        requests: bound("throttle.requests", *requests, MAX_REQUESTS)?,
        execution,
        concurrent: bound("throttle.concurrent", *concurrent, MAX_CONCURRENT)?,
        busy,
    })
}

fn slow_start(slow: SlowStart) -> Result<(Nanos, f64), ProfileError> {
    let factor = at_most("slow_start.factor", least("slow_start.factor", slow.factor, 1.0)?, MAX_FACTOR)?;
    Ok((positive_ms("slow_start.duration_ms", slow.duration_ms)?, factor))
}

fn outages(outages: &[Outage]) -> Result<Vec<Window>, ProfileError> {
    entries("outages", outages.len(), MAX_ENTRIES)?;
    let of = |(index, outage): (usize, &Outage)| {
        window(&format!("outages[{index}]"), outage.start_ms, outage.duration_ms, outage.repeat_ms)
    };
    outages.iter().enumerate().map(of).collect()
}

fn batches(batches: &[Batch]) -> Result<Vec<(Window, u32)>, ProfileError> {
    entries("batches", batches.len(), MAX_ENTRIES)?;
    let of = |(index, batch): (usize, &Batch)| {
        let workers = count(&format!("batches[{index}].workers"), batch.workers, 1, MAX_WORKERS)?;
        let field = format!("batches[{index}]");
        Ok((window(&field, batch.start_ms, batch.duration_ms, batch.repeat_ms)?, workers))
    };
    batches.iter().enumerate().map(of).collect()
}

fn window(
    field: &str,
    start_ms: f64,
    duration_ms: f64,
    repeat_ms: Option<f64>,
) -> Result<Window, ProfileError> {
    let field = |name: &str| format!("{field}.{name}");
    let repeat = match repeat_ms {
        Some(repeat_ms) => {
            let repeat = positive_ms(&field("repeat_ms"), repeat_ms)?;
            if repeat_ms <= duration_ms {
                return wrong(&field("repeat_ms"), Wrong::Overlaps { repeat_ms, duration_ms });
            }
            Some(repeat)
        }
        None => None,
    };
    let duration = positive_ms(&field("duration_ms"), duration_ms)?;
    Ok(Window { start: ms(&field("start_ms"), start_ms)?, duration, repeat })
}

/// A list that is not too long.
pub(super) fn entries(field: &str, number: usize, most: u32) -> Result<(), ProfileError> {
    if number > most as usize { wrong(field, Wrong::TooMany { number, most }) } else { Ok(()) }
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
    Err(ProfileError::field(field.to_owned(), wrong))
}

pub(super) fn count(field: &str, value: u32, fewest: u32, most: u32) -> Result<u32, ProfileError> {
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
    // Most processors that this is compiled for have no instruction for `round`.
    (value.max(0.0) + 0.5) as Nanos
}
