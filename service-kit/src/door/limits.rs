//! How often a caller may call, by governor.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use governor::{
    Quota, RateLimiter, clock::Clock as Readable, middleware::NoOpMiddleware, nanos::Nanos,
    state::keyed::HashMapStateStore,
};
use tokio::time::Instant;

use super::Caller;
use crate::clock::Clock;

/// Most callers with a limit of their own. At the bound those whose limit is full again are forgotten, which changes
/// nothing for them; if there are none, further callers share the limits of strangers.
const MAX_CALLERS: usize = 20_000;
/// Limits that strangers share, by their address: whoever comes from many addresses takes no more memory.
const STRANGERS: u64 = 1_024;

/// Time since the service began.
#[derive(Clone)]
struct Since(Arc<dyn Clock>, Instant);

impl Readable for Since {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.now().saturating_duration_since(self.1).into()
    }
}

/// Whose limit it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Caller(Arc<Caller>),
    Stranger(u64),
}

type Limiter = RateLimiter<Key, HashMapStateStore<Key>, Since, NoOpMiddleware<Nanos>>;

pub(super) struct Limits {
    limiter: Limiter,
    time: Since,
    hasher: RandomState,
}

impl Limits {
    /// None if it is 0. A limit starts full: one second's calls may come at once.
    pub fn new(calls_per_second: u32, clock: Arc<dyn Clock>) -> Option<Self> {
        let quota = Quota::per_second(NonZeroU32::new(calls_per_second)?);
        let start = clock.now();
        let time = Since(clock, start);
        let limiter = RateLimiter::new(quota, HashMapStateStore::default(), time.clone());
        Some(Self { limiter, time, hasher: RandomState::new() })
    }

    /// Counts a call.
    ///
    /// # Errors
    ///
    /// How long to wait.
    pub fn check(&self, caller: Option<&Arc<Caller>>, address: Option<IpAddr>) -> Result<(), Duration> {
        let stranger = |number: u64| Key::Stranger(number % STRANGERS);
        let key = match caller {
            None => stranger(self.hasher.hash_one(address)),
            Some(caller) => {
                if self.limiter.len() >= MAX_CALLERS {
                    self.limiter.retain_recent();
                }
                match self.limiter.len() >= MAX_CALLERS {
                    true => stranger(self.hasher.hash_one(caller)),
                    false => Key::Caller(Arc::clone(caller)),
                }
            }
        };
        let refused = self.limiter.check_key(&key).err();
        refused.map_or(Ok(()), |until| Err(until.wait_time_from(self.time.now())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn caller(number: usize) -> Arc<Caller> {
        Arc::new(Caller { role: "channel", name: format!("store-{number}") })
    }

    #[tokio::test(start_paused = true)]
    async fn z4_each_caller_has_a_limit_of_its_own_and_is_told_when_to_come_back() {
        let limits = Limits::new(10, Arc::new(SystemClock)).unwrap();
        let (one, other) = (caller(1), caller(2));
        for _ in 0..10 {
            assert_eq!(limits.check(Some(&one), None), Ok(()));
        }
        let wait = limits.check(Some(&one), None).unwrap_err();
        assert!(wait > Duration::from_millis(90) && wait <= Duration::from_millis(100), "{wait:?}");
        assert_eq!(limits.check(Some(&other), None), Ok(()));
        tokio::time::advance(wait).await;
        assert_eq!(limits.check(Some(&one), None), Ok(()));
        assert!(limits.check(Some(&one), None).is_err());
        assert!(Limits::new(0, Arc::new(SystemClock)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn z4_whoever_comes_as_many_takes_no_more_memory() {
        let limits = Limits::new(1, Arc::new(SystemClock)).unwrap();
        for number in 0..50_000_u32 {
            let _ = limits.check(None, Some(IpAddr::from(number.to_be_bytes())));
        }
        assert!(limits.limiter.len() <= STRANGERS as usize);
        for number in 0..MAX_CALLERS + 5_000 {
            let _ = limits.check(Some(&caller(number)), None);
        }
        assert!(limits.limiter.len() <= MAX_CALLERS + STRANGERS as usize, "{}", limits.limiter.len());
        // Those that have been quiet are forgotten.
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(limits.check(Some(&caller(0)), None), Ok(()));
        assert_eq!(limits.limiter.len(), 1);
    }
}
