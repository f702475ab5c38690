//! Time and chance. The lint `disallowed-methods` keeps ambient clocks and random sources out of every other
//! file of the services.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::Instant;
use uuid::{Builder, Uuid};

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Monotonic time, for durations and deadlines. It follows tokio's paused time.
    fn now(&self) -> Instant;

    /// Wall-clock microseconds since 1970-01-01 UTC. For showing only: nothing is ordered by it.
    fn wall_micros(&self) -> i64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    fn now(&self) -> Instant {
        Instant::now()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    fn wall_micros(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}

/// The operating system has no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random numbers")]
pub struct NoChance;

/// 256 bits that nobody can guess, from the operating system: for what opens doors.
///
/// # Errors
///
/// [`NoChance`].
pub fn secret() -> Result<[u8; 32], NoChance> {
    let mut secret = [0; 32];
    SystemRandom::new().fill(&mut secret).map_err(|_| NoChance)?;
    Ok(secret)
}

/// A source of ids and of random numbers that depends on nothing but its clock and its seed.
#[derive(Clone)]
pub struct Ids {
    clock: Arc<dyn Clock>,
    rng: Arc<Mutex<StdRng>>,
}

impl Ids {
    /// A source with a seed of its own.
    #[must_use]
    pub fn seeded(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self { clock, rng: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))) }
    }

    /// A source seeded by the operating system.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    pub fn from_os(clock: Arc<dyn Clock>) -> Self {
        Self::seeded(clock, rand::random())
    }

    /// A UUIDv7: it begins with the wall clock's milliseconds, so that new ones lie side by side in an index.
    #[must_use]
    pub fn mint(&self) -> Uuid {
        let millis = u64::try_from(self.clock.wall_micros() / 1_000).unwrap_or_default();
        let random: [u8; 10] = self.rng.lock().unwrap_or_else(PoisonError::into_inner).random();
        Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// A random number from 0 (included) to 1 (excluded).
    #[must_use]
    pub fn fraction(&self) -> f64 {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m6_ids_are_version_7_and_repeatable_from_a_seed() {
        struct Stopped;
        impl Clock for Stopped {
            fn now(&self) -> Instant {
                SystemClock.now()
            }
            fn wall_micros(&self) -> i64 {
                1_700_000_000_000_000
            }
        }
        let ids = || Ids::seeded(Arc::new(Stopped), 7);
        assert_eq!(ids().mint(), ids().mint());
        assert_eq!(ids().mint().get_version_num(), 7);
        let one = ids();
        assert_ne!(one.mint(), one.mint());
    }
}
