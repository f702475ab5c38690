//! One run: a mode at an offered rate, from the first arrival until nothing moves any more.

mod calls;
mod drive;
mod follow;
pub mod generators;
mod hq;
mod recorder;
mod stores;

use std::{sync::Arc, time::Duration};

use service_kit::clock::Clock;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    acknowledged::Acknowledged,
    counts::Window,
    error::Error,
    generator::Generator,
    load::Load,
    machine::Usage,
    measured::{Around, Measured},
    relay::Relays,
    result::{Backlog, Mode, Process, ServiceUsage},
    scenario::{Action, Due},
    services::{Fleet, LOOK_PAUSE, toml_of},
    usage::Usages,
};

use calls::Calls;
pub use calls::{CALL_DEADLINE, PROBE_CHANNEL, known_customer};
use drive::{Beside, Driven, Share};
use follow::Followed;
use generators::Generators;
pub use recorder::{Calls as CallsSoFar, Picture, Recorder};

/// Time to get everything in place before the first arrival.
const LEAD: Duration = Duration::from_millis(100);
/// How long a run waits, after its load, for pending customers and for followed creates.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(20);
/// Empty calls beside a run: how fast the machine is at the time, for comparisons.
const YARDSTICK_PER_S: f64 = 10.0;
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
    /// Other processes that make calls.
    pub generators: Generators,
    /// GUIDs that were acknowledged.
    pub acknowledged: Arc<Acknowledged>,
    /// Seed of customers and GUIDs.
    pub seed: u64,
    /// When the session began, in microseconds of wall time: GUIDs are minted as if each run began then.
    pub epoch_micros: i64,
    /// How long a channel waits for headquarters.
    pub rts_timeout: Duration,
    /// The ways between channels and headquarters, where they can be cut.
    pub relays: Option<Relays>,
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
    /// What falls due.
    pub load: Load,
    /// Of which repetition it is, from 1.
    pub repeat: u32,
    /// What else happens, in the order of time.
    pub dues: Arc<[Due]>,
}

/// The start of a run's load, and what of it is measured.
#[derive(Debug, Clone, Copy)]
struct Timeline {
    zero: Instant,
    start: Instant,
    end: Instant,
}

impl Timeline {
    fn new(zero: Instant, window: Window) -> Self {
        Self { zero, start: zero + window.start, end: zero + window.end }
    }
}

impl Bench {
    /// Makes a run; the recorder counts it, and can be looked at meanwhile. Nothing if it was stopped before it could
    /// say anything.
    ///
    /// # Errors
    ///
    /// A service that cannot be read, a generator that has failed, or a thread that cannot be had.
    pub async fn run(&self, plan: &Plan, recorder: &Arc<Recorder>) -> Result<Option<Measured>, Error> {
        let time = Timeline::new(self.clock.now() + LEAD, plan.load.window());
        let followed = Arc::new(Followed::new(Arc::clone(&self.clock), self.fleet.stores.clone()));
        let calls = Arc::new(Calls {
            clock: Arc::clone(&self.clock),
            fleet: self.fleet.clone(),
            acknowledged: Arc::clone(&self.acknowledged),
            recorder: Arc::clone(recorder),
            followed: Arc::clone(&followed),
            seed: self.seed,
            epoch_micros: self.epoch_micros,
            start: time.zero,
            run: plan.number,
            probe_customer: self.probe_customer,
            window: plan.load.window(),
            follow_every: plan.load.follow_every(self.sample, self.generators.count()),
        });
        let share = Share { number: 0, of: self.generators.count() };
        let beside = Beside { probe_per_s: self.probe_per_s, yardstick_per_s: YARDSTICK_PER_S };
        let start_micros = self.wall_micros(time.zero);
        let mut driven = Driven::start(&calls, &self.generator, &plan.load, share, beside, &self.stop)?;
        let (hq, pending, (process, services), others, changed) = tokio::join!(
            hq::watch(&self.fleet, &*self.clock, time, &self.stop, recorder),
            stores::watch(&self.fleet, &*self.clock, time, &self.stop, recorder),
            self.measure_use(time),
            self.generators.make(plan, start_micros, recorder, &self.stop),
            self.change_all(&plan.dues, time),
        );
        // A run that was ended early may have come no further than the beginning of an outage.
        self.set_right(&plan.dues).await?;
        changed?;
        driven.made().await;
        let interrupted = self.stop.is_cancelled();
        let at_end = self.fleet.pending().await.ok();
        let end = time.end.min(self.clock.now());
        driven.ended().await;
        let backlog = self.drain(at_end, recorder).await?;
        followed.resolve(DRAIN_LIMIT).await;
        followed.search_everywhere().await;
        let measured = end.saturating_duration_since(time.start);
        if interrupted && measured < LEAST_MEASURED {
            return Ok(None);
        }
        let mut counts = recorder.counted();
        others?.iter().for_each(|others| counts.add(others));
        let around = Around {
            measured,
            interrupted,
            repeat: plan.repeat,
            sampled: followed.sampled(),
            hq: hq?,
            backlog: Backlog { pending, ..backlog },
            process,
            services,
        };
        let load = &plan.load;
        Ok(Some(Measured::new(plan.mode, load.per_s, load.speedup, counts, around)))
    }

    /// Does what is due when it is due.
    async fn change_all(&self, dues: &[Due], time: Timeline) -> Result<(), Error> {
        for due in dues {
            until(time.zero + due.at, &self.stop).await;
            if self.stop.is_cancelled() {
                break;
            }
            self.change(&due.action).await?;
        }
        Ok(())
    }

    /// Mends the ways, and ends an outage.
    async fn set_right(&self, dues: &[Due]) -> Result<(), Error> {
        self.relays.iter().for_each(Relays::mend);
        if dues.iter().any(|due| matches!(due.action, Action::Outage(_))) {
            self.fleet.end_outage().await?;
        }
        Ok(())
    }

    /// Changes headquarters, the way to it, or the stores.
    ///
    /// # Errors
    ///
    /// A service that refuses, or there is no emulator to change.
    pub async fn change(&self, action: &Action) -> Result<(), Error> {
        match action {
            Action::Outage(time) => self.fleet.start_outage(*time).await?,
            Action::Profile(profile) => self.fleet.set_emulator(&toml_of(profile)?).await?,
            Action::Mode(mode) => self.fleet.set_mode(*mode, self.rts_timeout).await?,
            Action::Cut => self.relays.iter().for_each(Relays::cut),
            Action::Mend => self.relays.iter().for_each(Relays::mend),
        }
        Ok(())
    }

    /// The wall time of an instant near now.
    fn wall_micros(&self, instant: Instant) -> i64 {
        let ahead = instant.saturating_duration_since(self.clock.now());
        self.clock.wall_micros() + i64::try_from(ahead.as_micros()).unwrap_or_default()
    }

    /// What this process uses while it is measured, and each service.
    async fn measure_use(&self, time: Timeline) -> (Process, Vec<ServiceUsage>) {
        until(time.start, &self.stop).await;
        let (usage, began) = (Usage::now(), self.clock.now());
        let then = Usages::now(&self.fleet.watched).await;
        until(time.end, &self.stop).await;
        let process = usage.since(self.clock.now().saturating_duration_since(began));
        (process, Usages::now(&self.fleet.watched).await.since(&then))
    }

    /// Waits, no longer than [`DRAIN_LIMIT`], until no customer is pending. A service that does not answer may
    /// have been killed to see what happens: it has the same time to come back.
    async fn drain(&self, mut at_end: Option<u64>, recorder: &Recorder) -> Result<Backlog, Error> {
        let begun = self.clock.now();
        loop {
            let seen = self.fleet.pending().await;
            let waited = self.clock.now().saturating_duration_since(begun);
            let out_of_time = waited > DRAIN_LIMIT;
            match seen {
                Ok(left) => {
                    recorder.stores(left, None);
                    let at_end = *at_end.get_or_insert(left);
                    if left == 0 || out_of_time {
                        let drain_ms = waited.as_secs_f64() * 1_000.0;
                        return Ok(Backlog { at_end, left, drain_ms, ..Backlog::default() });
                    }
                }
                Err(error) if out_of_time => return Err(error),
                Err(_) => {}
            }
            sleep(LOOK_PAUSE).await;
        }
    }
}

/// Until an instant, or the end of everything.
async fn until(instant: Instant, stop: &CancellationToken) {
    tokio::select! {
        () = sleep_until(instant) => {}
        () = stop.cancelled() => {}
    }
}
