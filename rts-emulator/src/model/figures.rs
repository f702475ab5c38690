//! What the model counts (rule R6).

use super::{Nanos, Reason, Served};

/// Figures of a stretch of virtual time. Every call that arrived in it is in exactly one of `completed`,
/// `injected`, the refusals, `abandoned`, or still in the model.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figures {
    /// Time they cover.
    pub elapsed: Nanos,
    /// Calls that arrived.
    pub arrived: u64,
    /// Calls that were served to the end and not made to fail; answers lost in an outage included.
    pub completed: u64,
    /// Calls that the profile made fail.
    pub injected: u64,
    /// Calls refused because the queue was full.
    pub refused_queue_full: u64,
    /// Calls that left the queue after the longest wait.
    pub refused_longest_wait: u64,
    /// Calls refused by a rate limit.
    pub refused_rate_limit: u64,
    /// Calls that were throttled.
    pub refused_throttle: u64,
    /// Calls refused because of an outage.
    pub refused_outage: u64,
    /// Calls whose caller went away before they were started.
    pub abandoned: u64,
    /// Calls waiting now.
    pub queue_now: u32,
    /// The longest queue.
    pub queue_max: u32,
    /// Workers busy now.
    pub busy_now: u32,
    /// Workers in all.
    pub workers: u32,
    /// Workers that batch work has or waits for now.
    pub batch_now: u32,
    /// How many times as long as alone a call takes now.
    pub slowness: f64,
    /// Busy worker time as a share of all worker time, 0 to 1; batch work included.
    pub utilization: f64,
    /// Mean wait in the queue, of calls that were served.
    pub mean_wait: Nanos,
    /// Mean time a worker was held, of calls that were served.
    pub mean_service: Nanos,
    /// Whether an outage is going on.
    pub outage: bool,
}

impl Figures {
    /// Calls that were refused, for whatever reason.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused_queue_full
            + self.refused_longest_wait
            + self.refused_rate_limit
            + self.refused_throttle
            + self.refused_outage
    }
}

/// Counters behind [`Figures`].
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) figures: Figures,
    since: Nanos,
    last: Nanos,
    busy_time: u128,
    worker_time: u128,
    wait: u128,
    service: u128,
}

impl Tally {
    /// Counting begins anew.
    pub(super) fn at(now: Nanos) -> Self {
        Self { since: now, last: now, ..Self::default() }
    }

    /// Adds the worker time since the last tick. Call it before `busy`, `batch` or `workers` changes.
    pub(super) fn tick(&mut self, now: Nanos, busy: u32, batch: u32, workers: u32) {
        if now <= self.last {
            return;
        }
        let elapsed = u128::from(now - self.last);
        self.busy_time += elapsed * u128::from(busy + batch.min(workers.saturating_sub(busy)));
        // A profile with fewer workers leaves the busy ones at work.
        self.worker_time += elapsed * u128::from(workers.max(busy));
        self.last = now;
    }

    pub(super) fn refused(&mut self, reason: Reason) {
        *match reason {
            Reason::QueueFull => &mut self.figures.refused_queue_full,
            Reason::LongestWait => &mut self.figures.refused_longest_wait,
            Reason::RateLimit => &mut self.figures.refused_rate_limit,
            Reason::Throttle(_) => &mut self.figures.refused_throttle,
            Reason::Outage => &mut self.figures.refused_outage,
        } += 1;
    }

    pub(super) fn served(&mut self, served: &Served, failed: bool) {
        *if failed { &mut self.figures.injected } else { &mut self.figures.completed } += 1;
        self.wait += u128::from(served.wait());
        self.service += u128::from(served.held());
    }

    /// The figures up to now; the caller fills in what is so now.
    pub(super) fn read(&self, now: Nanos) -> Figures {
        let served = self.figures.completed + self.figures.injected;
        let mean = |sum: u128| Nanos::try_from(sum / u128::from(served.max(1))).unwrap_or(Nanos::MAX);
        Figures {
            elapsed: now.saturating_sub(self.since),
            utilization: if self.worker_time == 0 {
                0.0
            } else {
                self.busy_time as f64 / self.worker_time as f64
            },
            mean_wait: mean(self.wait),
            mean_service: mean(self.service),
            ..self.figures
        }
    }
}
