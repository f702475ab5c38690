//! The circuit breaker before the real-time service (rule M10): a channel whose creates keep failing there stops
//! paying the timeout on each. It opens after some failures in a row; then creates go straight to the log, and a
//! probe asks headquarters at growing pauses until it answers. No customer waits for the probe.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use service_kit::retry::Backoff;
use tillsync_proto::{Micros, pb::common};
use tokio::time::sleep;
use tracing::info;
use uuid::Uuid;

use crate::{customers::Customers, rts::CallError, store::Store};

/// Failures in a row that open it: one or two happen to a headquarters that is well.
pub(crate) const TRIPS: u32 = 5;
/// First and longest pause between two probes.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));
/// What a create is told that it fell back for, without a call.
pub(crate) const CIRCUIT_OPEN: &str = "CIRCUIT_OPEN";

/// The breaker.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

/// How it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct State {
    /// Communication failures since the last answer.
    failures: u32,
    /// When it opened; absent while it is closed.
    open_since: Option<Micros>,
}

impl Breaker {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether creates are to go straight to the log.
    pub fn is_open(&self) -> bool {
        self.lock().open_since.is_some()
    }

    /// Headquarters has answered, with a refusal perhaps: it is there.
    pub fn answered(&self) {
        *self.lock() = State::default();
    }

    /// A call failed in communication. Gives whether that has opened it: then somebody has to probe.
    pub fn failed(&self, now: Micros) -> bool {
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        let opens = state.failures >= TRIPS && state.open_since.is_none();
        if opens {
            state.open_since = Some(now);
        }
        opens
    }

    /// As the status shows it.
    pub fn status(&self) -> common::CircuitBreaker {
        let State { failures, open_since } = *self.lock();
        common::CircuitBreaker { open: open_since.is_some(), failures, open_time: open_since.map(Into::into) }
    }
}

impl<S: Store> Customers<S> {
    /// Counts how a create ended at headquarters, where the profile wants it counted.
    pub(crate) fn tell_breaker<T>(&self, result: &Result<T, CallError>) {
        match result {
            _ if !self.current.get().profile.circuit_breaker => {}
            Err(CallError::Failed(_)) => {
                if self.breaker.failed(Micros(self.clock.wall_micros())) {
                    info!("headquarters does not answer: creates go straight to the log");
                    self.metrics.circuit_open(true);
                    let this = self.clone();
                    tokio::spawn(async move { this.shutdown.run_until_cancelled(this.probe()).await });
                }
            }
            _ => self.breaker.answered(),
        }
    }

    /// Asks headquarters until it answers, by a call that changes nothing.
    async fn probe(&self) {
        let mut backoff = Backoff::new(self.ids.clone(), PAUSES.0, PAUSES.1);
        loop {
            sleep(backoff.pause()).await;
            let asked = self.rts.get(Uuid::nil().to_string(), self.call_time(None)).await;
            if !matches!(asked, Err(CallError::Failed(_))) {
                self.breaker.answered();
                self.metrics.circuit_open(false);
                info!("headquarters answers again");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m10_it_opens_once_after_failures_in_a_row() {
        let breaker = Breaker::default();
        for _ in 1..TRIPS {
            assert!(!breaker.failed(Micros(1)));
        }
        breaker.answered();
        for _ in 1..TRIPS {
            assert!(!breaker.failed(Micros(2)));
        }
        assert!(!breaker.is_open());
        assert!(breaker.failed(Micros(3)) && breaker.is_open());
        assert!(!breaker.failed(Micros(4)), "it is open already, and probed");
        let status = breaker.status();
        assert_eq!((status.open, status.failures), (true, TRIPS + 1));
        assert_eq!(status.open_time, Some(Micros(3).into()));
        breaker.answered();
        assert_eq!(breaker.status(), common::CircuitBreaker::default());
    }
}
