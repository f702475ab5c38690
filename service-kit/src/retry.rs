//! Bounded, jittered retries of transactions, and the pauses between attempts at anything else.

use std::time::Duration;

use tracing::warn;

use crate::{clock::Ids, database::is_transient};

/// Attempts at a transaction before its error is given to the caller.
const MAX_ATTEMPTS: u32 = 8;

/// Pauses that double from `first` to `longest`, each shortened at random by up to half.
#[derive(Clone)]
pub struct Backoff {
    ids: Ids,
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Pauses from `first` to `longest`.
    #[must_use]
    pub fn new(ids: Ids, first: Duration, longest: Duration) -> Self {
        Self { ids, first, longest, failures: 0 }
    }

    /// Something worked: the next pause is the first one again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The pause after one more failure.
    pub fn pause(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        doubled.mul_f64(1.0 - self.ids.fraction() / 2.0)
    }
}

/// An error that may go away when the whole transaction is tried again.
pub trait Transient {
    /// Whether it may.
    fn is_transient(&self) -> bool;
}

impl Transient for sqlx::Error {
    fn is_transient(&self) -> bool {
        is_transient(self)
    }
}

/// Runs a transaction, again if the database says that it lost a race (serialization failure, deadlock, busy).
/// `name` is what the log says. The transaction must be repeatable as a whole.
///
/// # Errors
///
/// The transaction's own error, after the last attempt.
pub async fn transaction<T, E: Transient, F: Future<Output = Result<T, E>>>(
    name: &'static str,
    ids: &Ids,
    mut attempt: impl FnMut() -> F,
) -> Result<T, E> {
    let mut backoff = Backoff::new(ids.clone(), Duration::from_millis(2), Duration::from_millis(200));
    for tries in 1..MAX_ATTEMPTS {
        match attempt().await {
            Err(error) if error.is_transient() => {
                warn!(transaction = name, tries, "lost a race; trying again");
                tokio::time::sleep(backoff.pause()).await;
            }
            result => return result,
        }
    }
    attempt().await
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::Arc};

    use super::*;
    use crate::clock::SystemClock;

    struct Lost(bool);

    impl Transient for Lost {
        fn is_transient(&self) -> bool {
            self.0
        }
    }

    #[tokio::test(start_paused = true)]
    async fn z3_a_lost_race_is_tried_again_a_bounded_number_of_times() {
        let ids = Ids::seeded(Arc::new(SystemClock), 1);
        for (transient, attempts) in [(true, MAX_ATTEMPTS), (false, 1)] {
            let made = Cell::new(0);
            let result: Result<(), Lost> = transaction("test", &ids, async || {
                made.set(made.get() + 1);
                Err(Lost(transient))
            })
            .await;
            assert!(result.is_err());
            assert_eq!(made.get(), attempts);
        }
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let ids = Ids::seeded(Arc::new(SystemClock), 1);
        let mut backoff = Backoff::new(ids, Duration::from_millis(10), Duration::from_secs(1));
        let pauses: Vec<_> = (0..40).map(|_| backoff.pause()).collect();
        assert!(pauses[0] <= Duration::from_millis(10) && pauses[39] >= Duration::from_millis(500));
        assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(1)));
    }
}
