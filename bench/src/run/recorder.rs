//! What happens during a run: counted for the result, and pictured for whoever watches.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::counts::{Counts, Path, Spent, Window};

/// Counts and pictures a run.
pub struct Recorder {
    counts: Mutex<Counts>,
    acknowledged: AtomicU64,
    failed: AtomicU64,
    in_flight: AtomicU64,
    around: Mutex<Around>,
}

/// What is known from the services, and from other generators.
#[derive(Debug, Clone, Default)]
struct Around {
    queue: u32,
    busy: Option<f64>,
    pending: u64,
    oldest: Option<Duration>,
    others: Vec<Calls>,
}

/// How far a generator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Calls {
    /// Creates that were acknowledged.
    pub acknowledged: u64,
    /// Creates that failed.
    pub failed: u64,
    /// Creates under way.
    pub in_flight: u64,
}

/// A run as it is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Picture {
    /// Of all generators.
    pub calls: Calls,
    /// Median answer so far, in milliseconds.
    pub p50_ms: Option<f64>,
    /// 99th percentile so far.
    pub p99_ms: Option<f64>,
    /// Calls that wait at headquarters.
    pub queue: u32,
    /// Busy share of headquarters' workers of late; absent without an emulator.
    pub busy: Option<f64>,
    /// Customers without an account number, in all stores.
    pub pending: u64,
    /// Age of the oldest of them.
    pub oldest: Option<Duration>,
}

impl Recorder {
    /// Nothing yet.
    #[must_use]
    pub fn new(window: Window, goal: Duration) -> Self {
        Self {
            counts: Mutex::new(Counts::new(window, goal)),
            acknowledged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            around: Mutex::default(),
        }
    }

    /// A call begins; false if as many as `bound` are under way, and it must not.
    pub(crate) fn begin(&self, bound: u64) -> bool {
        let under_way = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        if under_way > bound {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let mut counts = self.counts();
        counts.in_flight_max = counts.in_flight_max.max(under_way);
        true
    }

    /// A call that began has ended.
    pub(crate) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// A call left at `sent` that was due at `due`.
    pub(crate) fn left(&self, due: Duration, sent: Duration) {
        self.counts().left(due, sent);
    }

    /// A create that was due at `due` ended at `now`, and where its time went.
    pub(crate) fn create(
        &self,
        due: Duration,
        now: Duration,
        outcome: Result<Path<'_>, &str>,
        spent: Option<Spent>,
    ) {
        let ended = if outcome.is_ok() { &self.acknowledged } else { &self.failed };
        ended.fetch_add(1, Ordering::Relaxed);
        let mut counts = self.counts();
        counts.create(due, now, outcome);
        if let Some(spent) = spent {
            counts.spent(due, now, spent);
        }
    }

    /// An empty call that was due at `due` was answered at `now`.
    pub(crate) fn yardstick(&self, due: Duration, now: Duration) {
        self.counts().yardstick(due, now);
    }

    /// A probe that was due at `due` ended at `now`.
    pub(crate) fn probe(&self, due: Duration, now: Duration, outcome: Result<(), &str>) {
        self.counts().probe(due, now, outcome);
    }

    /// Headquarters was seen.
    pub(crate) fn hq(&self, queue: u32, busy: Option<f64>) {
        let mut around = self.around();
        (around.queue, around.busy) = (queue, busy);
    }

    /// The stores were seen.
    pub(crate) fn stores(&self, pending: u64, oldest: Option<Duration>) {
        let mut around = self.around();
        (around.pending, around.oldest) = (pending, oldest);
    }

    /// Another generator has told how far it is.
    pub(crate) fn other(&self, number: usize, calls: Calls) {
        let others = &mut self.around().others;
        if others.len() <= number {
            others.resize(number + 1, Calls::default());
        }
        others[number] = calls;
    }

    /// How far this generator is.
    #[must_use]
    pub fn calls(&self) -> Calls {
        let of = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        Calls {
            acknowledged: of(&self.acknowledged),
            failed: of(&self.failed),
            in_flight: of(&self.in_flight),
        }
    }

    /// The run as it is at the moment. Percentiles are those of this generator.
    #[must_use]
    pub fn picture(&self) -> Picture {
        let (own, around) = (self.calls(), self.around().clone());
        let calls = around.others.iter().fold(own, |all, other| Calls {
            acknowledged: all.acknowledged + other.acknowledged,
            failed: all.failed + other.failed,
            in_flight: all.in_flight + other.in_flight,
        });
        let (p50_ms, p99_ms) = {
            let counts = self.counts();
            (counts.latency.quantile_ms(0.5), counts.latency.quantile_ms(0.99))
        };
        let Around { queue, busy, pending, oldest, others: _ } = around;
        Picture { calls, p50_ms, p99_ms, queue, busy, pending, oldest }
    }

    /// Creates that are acknowledged within this time are counted apart.
    pub(crate) fn goal(&self) -> Duration {
        self.counts().goal
    }

    /// What was counted until now.
    #[must_use]
    pub fn counted(&self) -> Counts {
        self.counts().clone()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn around(&self) -> MutexGuard<'_, Around> {
        self.around.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder() -> Recorder {
        let second = Duration::from_secs(1);
        Recorder::new(Window { start: Duration::ZERO, end: second }, second)
    }

    #[test]
    fn z3_calls_under_way_are_bounded() {
        let recorder = recorder();
        assert!(recorder.begin(2) && recorder.begin(2) && !recorder.begin(2));
        recorder.end();
        assert!(recorder.begin(2));
        assert_eq!(recorder.counted().in_flight_max, 2);
    }

    #[test]
    fn b1_the_picture_is_of_all_generators() {
        let recorder = recorder();
        let at = Duration::from_millis(40);
        recorder.create(Duration::ZERO, at, Ok(Path::Sync), None);
        recorder.create(Duration::ZERO, at, Err("UNAVAILABLE"), None);
        recorder.hq(7, Some(0.5));
        recorder.stores(3, Some(at));
        recorder.other(1, Calls { acknowledged: 10, failed: 1, in_flight: 2 });
        let picture = recorder.picture();
        assert_eq!(picture.calls, Calls { acknowledged: 11, failed: 2, in_flight: 2 });
        assert_eq!(
            (picture.queue, picture.busy, picture.pending, picture.oldest),
            (7, Some(0.5), 3, Some(at))
        );
        assert!((picture.p50_ms.unwrap() - 40.0).abs() < 0.1);
    }
}
