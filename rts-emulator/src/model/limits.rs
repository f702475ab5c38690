//! Rate limits, by governor on virtual time. A limit starts full: its whole burst passes at once.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    nanos::Nanos as Reading,
    state::{InMemoryState, NotKeyed},
};

use super::{
    Nanos,
    draw::{ChannelKey, HashedMap},
    rules::nanos,
};
use crate::profile::RateLimit;

/// Most channels with a limit of their own. At the bound those whose limit is full again are forgotten, which
/// changes nothing for them; if there is none, further channels share one limit.
const MAX_CHANNELS: usize = 10_000;

/// The limits of a profile.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Quotas {
    pub(super) per_channel: Option<RateLimit>,
    pub(super) overall: Option<RateLimit>,
}

/// Virtual time as governor reads it.
#[derive(Debug, Clone, Default)]
struct VirtualClock(Arc<AtomicU64>);

impl Clock for VirtualClock {
    type Instant = Reading;

    fn now(&self) -> Reading {
        Reading::from(self.0.load(Ordering::Relaxed))
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, VirtualClock, NoOpMiddleware<Reading>>;

/// The limits in force.
pub(super) struct Limits {
    clock: VirtualClock,
    overall: Option<Limiter>,
    per_channel: Option<PerChannel>,
}

struct PerChannel {
    quota: Quota,
    /// From empty to full.
    refill: Nanos,
    /// Each with its last use.
    limiters: HashedMap<ChannelKey, (Limiter, Nanos)>,
    /// What channels beyond the bound share.
    shared: Limiter,
}

impl Limits {
    pub(super) fn new(quotas: Quotas, now: Nanos) -> Self {
        let clock = VirtualClock(Arc::new(AtomicU64::new(now)));
        let limiter = |quota| RateLimiter::direct_with_clock(quota, clock.clone());
        let per_channel = quotas.per_channel.map(|limit| PerChannel {
            quota: quota(limit),
            refill: nanos(f64::from(limit.burst) / limit.per_s * 1e9),
            limiters: HashedMap::default(),
            shared: limiter(quota(limit)),
        });
        Self { overall: quotas.overall.map(|limit| limiter(quota(limit))), per_channel, clock }
    }

    /// Lets a call through, or says how long it is until one like it could pass. A call that its channel's
    /// limit refuses does not count for the overall one.
    pub(super) fn check(&mut self, now: Nanos, channel: ChannelKey) -> Result<(), Nanos> {
        self.clock.0.store(now, Ordering::Relaxed);
        if let Some(limits) = &mut self.per_channel {
            check(limits.limiter(now, channel, &self.clock), now)?;
        }
        self.overall.as_ref().map_or(Ok(()), |limiter| check(limiter, now))
    }
}

impl PerChannel {
    fn limiter(&mut self, now: Nanos, channel: ChannelKey, clock: &VirtualClock) -> &Limiter {
        if !self.limiters.contains_key(&channel) {
            if self.limiters.len() >= MAX_CHANNELS {
                let refill = self.refill;
                self.limiters.retain(|_, (_, used)| now.saturating_sub(*used) < refill);
            }
            if self.limiters.len() >= MAX_CHANNELS {
                return &self.shared;
            }
        }
        let new = || (RateLimiter::direct_with_clock(self.quota, clock.clone()), now);
        let (limiter, used) = self.limiters.entry(channel).or_insert_with(new);
        *used = now;
        limiter
    }
}

fn check(limiter: &Limiter, now: Nanos) -> Result<(), Nanos> {
    limiter.check().map_err(|not_until| {
        let wait = not_until.wait_time_from(Reading::from(now));
        u64::try_from(wait.as_nanos()).unwrap_or(Nanos::MAX)
    })
}

fn quota(limit: RateLimit) -> Quota {
    let period = Duration::from_nanos(nanos(1e9 / limit.per_s).max(1));
    let burst = NonZeroU32::new(limit.burst).unwrap_or(NonZeroU32::MIN);
    // A period of 0, the only one refused, has been ruled out.
    Quota::with_period(period).unwrap_or_else(|| Quota::per_second(burst)).allow_burst(burst)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    fn limit(per_s: f64, burst: u32) -> Option<RateLimit> {
        Some(RateLimit { per_s, burst })
    }

    #[test]
    fn r2_a_burst_passes_and_then_the_rate_with_an_exact_hint() {
        let mut limits = Limits::new(Quotas { per_channel: None, overall: limit(100.0, 3) }, 0);
        let passed: Vec<_> = (0..5).map(|_| limits.check(0, ChannelKey::of("s1"))).collect();
        assert_eq!(passed, [Ok(()), Ok(()), Ok(()), Err(10 * MS), Err(10 * MS)]);
        assert_eq!(limits.check(4 * MS, ChannelKey::of("s1")), Err(6 * MS));
        assert_eq!(limits.check(10 * MS, ChannelKey::of("s1")), Ok(()));
        let second =
            (0..1_000).filter(|ms| limits.check((1_000 + ms) * MS, ChannelKey::of("s1")).is_ok()).count();
        assert!((100..=103).contains(&second), "{second} calls in a second at 100 per second");
    }

    #[test]
    fn r2_each_channel_has_its_own_limit_and_all_share_the_overall_one() {
        let mut limits = Limits::new(Quotas { per_channel: limit(1.0, 1), overall: limit(1.0, 2) }, 0);
        assert_eq!(limits.check(0, ChannelKey::of("a")), Ok(()));
        assert!(limits.check(0, ChannelKey::of("a")).is_err());
        assert_eq!(
            limits.check(0, ChannelKey::of("b")),
            Ok(()),
            "what its channel's limit refused took nothing overall"
        );
        assert!(limits.check(0, ChannelKey::of("c")).is_err(), "the overall limit is spent");
    }

    #[test]
    fn z3_channels_beyond_the_bound_share_a_limit_until_others_are_full_again() {
        let mut limits = Limits::new(Quotas { per_channel: limit(1.0, 1), overall: None }, 0);
        for n in 0..MAX_CHANNELS {
            assert_eq!(limits.check(0, ChannelKey::of(&n.to_string())), Ok(()));
        }
        assert_eq!(limits.check(0, ChannelKey::of("x")), Ok(()));
        assert!(limits.check(0, ChannelKey::of("y")).is_err(), "shares with x");
        assert!(limits.check(0, ChannelKey::of("7")).is_err(), "is still known");
        assert_eq!(limits.check(1_000 * MS, ChannelKey::of("y")), Ok(()));
        assert_eq!(limits.check(1_000 * MS, ChannelKey::of("z")), Ok(()));
        assert!(limits.per_channel.unwrap().limiters.len() <= MAX_CHANNELS);
    }
}
