//! One run: a mode at an offered rate, from the first arrival until nothing moves any more.

mod calls;
mod follow;
mod hq;
mod recorder;
pub(crate) mod trust;

use std::{sync::Arc, time::Duration};

use service_kit::clock::Clock;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    acknowledged::Acknowledged,
    arrivals::{Arrival, constant},
    error::Error,
    generator::Generator,
    machine::Usage,
    pacer::pace,
    result::{Backlog, Mode, Process, Run},
    services::{Fleet, LOOK_PAUSE},
};

use calls::Calls;
pub use calls::{CALL_DEADLINE, PROBE_CHANNEL, known_customer};
use follow::Followed;
pub use recorder::Live;
use recorder::Recorder;

/// Time to get everything in place before the first arrival.
const LEAD: Duration = Duration::from_millis(100);
/// How long a run waits, after its load, for pending customers and for followed creates.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(20);
/// A run that was ended before this much of it was measured says nothing.
const LEAST_MEASURED: Duration = Duration::from_millis(250);

/// What stays the same from run to run.
pub struct Bench {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The services, connected to from the generator's runtime.
    pub fleet: Fleet,
    /// Where calls are made.
    pub generator: Generator,
    /// GUIDs that were acknowledged.
    pub acknowledged: Arc<Acknowledged>,
    /// Seed of customers and GUIDs.
    pub seed: u64,
    /// When the session began, in microseconds of wall time: GUIDs are minted as if each run began then.
    pub epoch_micros: i64,
    /// Calls per second of the probe; 0: no probe.
    pub probe_per_s: f64,
    /// The customer that the probe reads.
    pub probe_customer: Uuid,
    /// Most creates of a run that are followed.
    pub sample: usize,
    /// Ends the session early.
    pub stop: CancellationToken,
}

/// What one run is to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Place in the session, from 0.
    pub number: u64,
    /// How creates are made.
    pub mode: Mode,
    /// Creates that fall due per second.
    pub offered_per_s: f64,
    /// How many times faster than recorded; traces only.
    pub speedup: Option<f64>,
    /// When they fall due.
    pub arrivals: Vec<Arrival>,
    /// Load before anything is measured.
    pub warmup: Duration,
    /// How long is measured.
    pub measured: Duration,
}

/// From when to when a run is measured.
#[derive(Debug, Clone, Copy)]
struct Window {
    start: Instant,
    end: Instant,
}

impl Window {
    fn holds(&self, instant: Instant) -> bool {
        self.start <= instant && instant < self.end
    }
}

/// What falls due.
#[derive(Debug, Clone, Copy)]
enum Due {
    Create(usize, Arrival),
    Probe,
}

impl Bench {
    /// Makes a run. `live` is told how it goes. Nothing if it was stopped before it could say anything.
    ///
    /// # Errors
    ///
    /// A service that cannot be read, or a thread that cannot be had.
    pub async fn run(&self, plan: &Plan, live: &Live) -> Result<Option<Run>, Error> {
        let start = self.clock.now() + LEAD;
        let mut window = Window { start: start + plan.warmup, end: start + plan.warmup + plan.measured };
        let recorder = Arc::new(Recorder::new(window, live.clone()));
        let followed = Arc::new(Followed::new(Arc::clone(&self.clock), self.fleet.stores.clone()));
        let tasks = TaskTracker::new();
        let calls = Arc::new(Calls {
            clock: Arc::clone(&self.clock),
            fleet: self.fleet.clone(),
            acknowledged: Arc::clone(&self.acknowledged),
            recorder: Arc::clone(&recorder),
            followed: Arc::clone(&followed),
            seed: self.seed,
            epoch_micros: self.epoch_micros,
            start,
            run: plan.number,
            probe_customer: self.probe_customer,
            window,
            follow_every: self.follow_every(plan),
        });
        let paced = self.start_load(plan, start, &calls, &tasks)?;
        let watching = hq::watch(self.fleet.emulator.clone(), &*self.clock, window, &self.stop, live);
        let (hq, process) = tokio::join!(watching, self.measure_process(window));
        let interrupted = self.stop.is_cancelled();
        // The generator ends by itself with the last arrival, or by the token.
        let _ = paced.await;
        let at_end = self.fleet.pending().await.ok();
        window.end = window.end.min(self.clock.now());
        tasks.close();
        let _ = timeout(CALL_DEADLINE + Duration::from_secs(1), tasks.wait()).await;
        let backlog = self.drain(at_end, live).await?;
        followed.resolve(DRAIN_LIMIT).await;
        followed.search_everywhere().await;
        let measured = window.end.saturating_duration_since(window.start);
        if interrupted && measured < LEAST_MEASURED {
            return Ok(None);
        }
        let mut run = recorder.to_run(plan, measured, followed.summary());
        (run.interrupted, run.hq, run.process, run.backlog) = (interrupted, hq?, process, backlog);
        run.warnings = trust::warnings(&run);
        Ok(Some(run))
    }

    /// Starts the pacer with everything that falls due, the probe included.
    fn start_load(
        &self,
        plan: &Plan,
        start: Instant,
        calls: &Arc<Calls>,
        tasks: &TaskTracker,
    ) -> Result<tokio::sync::oneshot::Receiver<()>, Error> {
        let creates = plan.arrivals.iter().enumerate();
        let mut dues: Vec<(Duration, Due)> =
            creates.map(|(index, arrival)| (arrival.due, Due::Create(index, *arrival))).collect();
        if self.probe_per_s > 0.0 {
            let probes = constant(self.probe_per_s, plan.warmup + plan.measured, 1);
            dues.extend(probes.map(|probe| (probe.due, Due::Probe)));
        }
        dues.sort_by_key(|(due, _)| *due);
        let (instants, dues): (Vec<Duration>, Vec<Due>) = dues.into_iter().unzip();
        let (handle, calls, tasks) = (self.generator.handle(), Arc::clone(calls), tasks.clone());
        let send = move |place: usize, due: Instant| match dues[place] {
            Due::Create(index, arrival) => {
                tasks.spawn_on(Arc::clone(&calls).create(index as u64, arrival.channel, due), &handle);
            }
            Due::Probe => {
                tasks.spawn_on(Arc::clone(&calls).probe(due), &handle);
            }
        };
        Ok(pace(Arc::clone(&self.clock), start, instants, self.stop.clone(), send)?)
    }

    /// Evenly spread: every so many arrivals, so that no more than the sample is followed.
    fn follow_every(&self, plan: &Plan) -> u64 {
        if self.sample == 0 {
            return u64::MAX;
        }
        let measured = plan.arrivals.iter().filter(|arrival| arrival.due >= plan.warmup).count();
        measured.div_ceil(self.sample).max(1) as u64
    }

    async fn measure_process(&self, window: Window) -> Process {
        self.wait_until(window.start).await;
        let usage = Usage::now();
        self.wait_until(window.end).await;
        usage.since()
    }

    async fn wait_until(&self, instant: Instant) {
        tokio::select! {
            () = sleep_until(instant) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Waits, no longer than [`DRAIN_LIMIT`], until no customer is pending. A service that does not answer may
    /// have been killed to see what happens: it has the same time to come back.
    async fn drain(&self, mut at_end: Option<u64>, live: &Live) -> Result<Backlog, Error> {
        let begun = self.clock.now();
        loop {
            let seen = self.fleet.pending().await;
            let waited = self.clock.now().saturating_duration_since(begun);
            let out_of_time = waited > DRAIN_LIMIT;
            match seen {
                Ok(left) => {
                    live.pending(left);
                    let at_end = *at_end.get_or_insert(left);
                    if left == 0 || out_of_time {
                        return Ok(Backlog { at_end, left, drain_ms: waited.as_secs_f64() * 1_000.0 });
                    }
                }
                Err(error) if out_of_time => return Err(error),
                Err(_) => {}
            }
            sleep(LOOK_PAUSE).await;
        }
    }
}
