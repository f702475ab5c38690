//! Counts what happens during a run.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tillsync_proto::pb::channel::CreatePath;
use tokio::time::Instant;

use super::{Plan, Window, follow::Summary};
use crate::{
    result::{Generator, Paths, Run},
    stats::Durations,
};

/// Figures of the run that is going on, for the display.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<LiveFigures>);

#[derive(Debug, Default)]
struct LiveFigures {
    acknowledged: AtomicU64,
    failed: AtomicU64,
    in_flight: AtomicU64,
    pending: AtomicU64,
    queue: AtomicU32,
}

impl Live {
    /// Acknowledged, failed, under way, pending, waiting at headquarters.
    #[must_use]
    pub fn read(&self) -> (u64, u64, u64, u64, u32) {
        let of = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let live = &self.0;
        let queue = live.queue.load(Ordering::Relaxed);
        (of(&live.acknowledged), of(&live.failed), of(&live.in_flight), of(&live.pending), queue)
    }

    pub(super) fn pending(&self, pending: u64) {
        self.0.pending.store(pending, Ordering::Relaxed);
    }

    pub(super) fn queue(&self, queue: u32) {
        self.0.queue.store(queue, Ordering::Relaxed);
    }
}

/// Counts what happens during a run.
pub struct Recorder {
    window: Window,
    live: Live,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    arrivals: u64,
    completed_in_window: u64,
    paths: Paths,
    errors: BTreeMap<String, u64>,
    causes: BTreeMap<String, u64>,
    latency: Durations,
    failures: Durations,
    late: Durations,
    in_flight_max: u64,
    probe: Durations,
    probe_errors: BTreeMap<String, u64>,
}

/// How a create was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Which way it went.
    pub path: CreatePath,
    /// Why a fallback was needed.
    pub cause: String,
}

impl Recorder {
    /// Nothing yet.
    pub fn new(window: Window, live: Live) -> Self {
        Self { window, live, counts: Mutex::default() }
    }

    /// A call begins; false if as many as `bound` are under way, and it must not.
    pub fn begin(&self, bound: u64) -> bool {
        let under_way = self.live.0.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        if under_way > bound {
            self.live.0.in_flight.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let mut counts = self.lock();
        counts.in_flight_max = counts.in_flight_max.max(under_way);
        true
    }

    /// A call that began has ended.
    pub fn end(&self) {
        self.live.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// A call left at `now` that was due at `due`.
    pub fn left(&self, due: Instant, now: Instant) {
        if self.window.holds(due) {
            self.lock().late.record(now.saturating_duration_since(due));
        }
    }

    /// A create that was due at `due` ended at `now`: with an acknowledgement, or with the name of a status.
    pub fn create(&self, due: Instant, now: Instant, outcome: Result<&Acknowledgement, &str>) {
        let live = if outcome.is_ok() { &self.live.0.acknowledged } else { &self.live.0.failed };
        live.fetch_add(1, Ordering::Relaxed);
        let mut counts = self.lock();
        if outcome.is_ok() && self.window.holds(now) {
            counts.completed_in_window += 1;
        }
        if !self.window.holds(due) {
            return;
        }
        counts.arrivals += 1;
        let took = now.saturating_duration_since(due);
        match outcome {
            Err(code) => {
                counts.failures.record(took);
                *counts.errors.entry(code.to_owned()).or_default() += 1;
            }
            Ok(acknowledgement) => {
                counts.latency.record(took);
                match acknowledgement.path {
                    CreatePath::Sync => counts.paths.sync += 1,
                    CreatePath::Async => counts.paths.asynchronous += 1,
                    CreatePath::AsyncFallback => {
                        counts.paths.async_fallback += 1;
                        *counts.causes.entry(acknowledgement.cause.clone()).or_default() += 1;
                    }
                    CreatePath::Unspecified => counts.paths.other += 1,
                }
            }
        }
    }

    /// A probe that was due at `due` ended at `now`.
    pub fn probe(&self, due: Instant, now: Instant, outcome: Result<(), &str>) {
        if !self.window.holds(due) {
            return;
        }
        let mut counts = self.lock();
        match outcome {
            Ok(()) => counts.probe.record(now.saturating_duration_since(due)),
            Err(code) => *counts.probe_errors.entry(code.to_owned()).or_default() += 1,
        }
    }

    /// Sums up. What the recorder does not know is left at its default.
    pub fn to_run(&self, plan: &Plan, measured: Duration, summary: Summary) -> Run {
        let counts = self.lock();
        Run {
            mode: plan.mode,
            offered_per_s: plan.offered_per_s,
            speedup: plan.speedup,
            seconds: measured.as_secs_f64(),
            interrupted: false,
            arrivals: counts.arrivals,
            completed_per_s: counts.completed_in_window as f64 / measured.as_secs_f64().max(f64::EPSILON),
            acknowledged: counts.paths,
            errors: counts.errors.clone(),
            fallback_causes: counts.causes.clone(),
            latency_ms: counts.latency.latency(),
            latency_distribution: counts.latency.distribution(),
            failure_latency_ms: counts.failures.latency(),
            findable_everywhere_ms: summary.findable.two(),
            account_number_ms: summary.account.two(),
            sample: summary.sample,
            hq: None,
            probe_latency_ms: counts.probe.two(),
            probe_errors: counts.probe_errors.clone(),
            generator: Generator {
                late_p50_ms: counts.late.quantile_ms(0.5),
                late_p99_ms: counts.late.quantile_ms(0.99),
                late_max_ms: counts.late.max_ms(),
                in_flight_max: counts.in_flight_max,
            },
            backlog: crate::result::Backlog::default(),
            process: crate::result::Process::default(),
            warnings: Vec::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use service_kit::clock::{Clock as _, SystemClock};

    use super::*;
    use crate::result::Mode;

    fn acknowledged(path: CreatePath) -> Acknowledgement {
        Acknowledgement { path, cause: "UNAVAILABLE".to_owned() }
    }

    #[test]
    fn b2_latency_counts_from_the_due_instant_and_only_the_window_counts() {
        let start = SystemClock.now();
        let at = |millis| start + Duration::from_millis(millis);
        let recorder = Recorder::new(Window { start: at(100), end: at(1_100) }, Live::default());
        // Due in the warm-up, answered in the window: throughput, not latency.
        recorder.create(at(50), at(150), Ok(&acknowledged(CreatePath::Sync)));
        // Due in the window; sent late, which does not hide.
        recorder.left(at(200), at(600));
        recorder.create(at(200), at(700), Ok(&acknowledged(CreatePath::AsyncFallback)));
        recorder.create(at(300), at(400), Err("RESOURCE_EXHAUSTED"));
        // Due in the window, answered after it: latency, not throughput.
        recorder.create(at(1_000), at(2_000), Ok(&acknowledged(CreatePath::Async)));
        recorder.probe(at(500), at(540), Ok(()));
        recorder.probe(at(600), at(640), Err("UNAVAILABLE"));
        let plan = Plan {
            number: 0,
            mode: Mode::Sync,
            offered_per_s: 3.0,
            speedup: None,
            arrivals: Vec::new(),
            warmup: Duration::ZERO,
            measured: Duration::from_secs(1),
        };
        let run = recorder.to_run(&plan, plan.measured, Summary::default());
        assert_eq!((run.arrivals, run.failed(), run.completed_per_s), (3, 1, 2.0));
        assert_eq!((run.latency_ms.count, run.failure_latency_ms.count), (2, 1));
        assert!((run.latency_ms.p50.unwrap() - 500.0).abs() < 1.0);
        assert!((run.generator.late_p99_ms.unwrap() - 400.0).abs() < 1.0);
        assert_eq!(run.acknowledged, Paths { sync: 0, asynchronous: 1, async_fallback: 1, other: 0 });
        assert_eq!(run.fallback_causes, BTreeMap::from([("UNAVAILABLE".to_owned(), 1)]));
        assert_eq!((run.probe_latency_ms.count, run.probe_errors["UNAVAILABLE"]), (1, 1));
    }

    #[test]
    fn z3_calls_under_way_are_bounded() {
        let now = SystemClock.now();
        let recorder = Recorder::new(Window { start: now, end: now }, Live::default());
        assert!(recorder.begin(2) && recorder.begin(2) && !recorder.begin(2));
        recorder.end();
        assert!(recorder.begin(2));
    }
}
