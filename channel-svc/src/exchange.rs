//! The Commerce Data Exchange, as this channel drives it (rules X1, X4, X7, X8): the P-job up, 1010, 1070 and
//! 1110 down. Each job is one file with a `try_once` that a test can step; when it runs is said in `runner`.

mod configuration;
mod customers_1010;
mod headquarters;
mod p_job;
mod reporter;
mod runner;
mod schedules;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use service_kit::clock::{Clock, Ids};
use tillsync_proto::{Job, Micros, Schedule};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    breaker::Breaker,
    customers::Current,
    metrics::Metrics,
    store::{JobRun, Store, StoreError},
    watchers::Watchers,
};

pub(crate) use headquarters::Headquarters;

/// The jobs that a channel carries out.
pub(crate) const JOBS: [Job; 4] =
    [Job::Upload, Job::Customers1010, Job::ChannelConfiguration1070, Job::GlobalConfiguration1110];

/// Ended runs that wait to be reported; beyond it the oldest are forgotten.
const MAX_ENDED: usize = 100;
/// Measurements of the time to an account number that are kept.
const MAX_TIMES: usize = 1_024;

/// Why a run failed. In words without personal data (rule Z5): it is shown at headquarters.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    /// Headquarters refused or could not be reached.
    #[error("headquarters: {0}")]
    Headquarters(String),
    /// Headquarters answered what cannot be used.
    #[error("headquarters answered {0}")]
    Answer(&'static str),
    /// Some records could not be read; the others have been applied.
    #[error("{0} records of headquarters could not be read")]
    Unreadable(u64),
    /// The database failed.
    #[error("{error}", error = service_kit::config::Chain(.0))]
    Store(#[from] StoreError),
}

/// What headquarters last told about a job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Order {
    /// When it runs.
    pub schedule: Schedule,
    /// The newest request to run it now, 0 for none; absent until headquarters has told.
    pub run_request: Option<u64>,
}

/// Everything that the jobs need and share.
pub(crate) struct Exchange<S> {
    pub store: S,
    pub hq: Headquarters,
    pub tail: Arc<crate::log::Tail>,
    pub watchers: Arc<Watchers>,
    pub current: Arc<Current>,
    pub clock: Arc<dyn Clock>,
    pub ids: Ids,
    pub metrics: Metrics,
    pub breaker: Arc<Breaker>,
    /// One for each of [`JOBS`].
    orders: watch::Sender<[Order; JOBS.len()]>,
    ended: Mutex<VecDeque<JobRun>>,
    times: Mutex<VecDeque<Duration>>,
    report: Notify,
}

/// What an exchange is made of.
pub(crate) struct Parts<S> {
    pub store: S,
    pub hq: Headquarters,
    pub tail: Arc<crate::log::Tail>,
    pub watchers: Arc<Watchers>,
    pub current: Arc<Current>,
    pub clock: Arc<dyn Clock>,
    pub ids: Ids,
    pub metrics: Metrics,
    pub breaker: Arc<Breaker>,
}

impl<S: Store> Exchange<S> {
    /// An exchange with the schedules that headquarters last told, or the default ones.
    pub fn new(parts: Parts<S>) -> Self {
        let known = parts.current.get();
        let orders = JOBS.map(|job| {
            let schedule = known.schedules.iter().find(|schedule| schedule.job == job);
            Order { schedule: schedule.copied().unwrap_or(Schedule::default_for(job)), run_request: None }
        });
        let Parts { store, hq, tail, watchers, current, clock, ids, metrics, breaker } = parts;
        Self {
            store,
            hq,
            tail,
            watchers,
            current,
            clock,
            ids,
            metrics,
            breaker,
            orders: watch::channel(orders).0,
            ended: Mutex::default(),
            times: Mutex::default(),
            report: Notify::new(),
        }
    }

    /// Runs everything until the token is cancelled.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::join!(
            runner::run(&self, Job::Upload, &stop),
            runner::run(&self, Job::Customers1010, &stop),
            runner::run(&self, Job::ChannelConfiguration1070, &stop),
            runner::run(&self, Job::GlobalConfiguration1110, &stop),
            schedules::run(&self, &stop),
            reporter::run(&self, &stop),
        );
    }

    /// Runs a job once; gives how many rows it has moved.
    ///
    /// # Errors
    ///
    /// [`JobError`]; what was moved before it stays moved.
    pub async fn try_once(&self, job: Job) -> Result<u64, JobError> {
        match job {
            Job::Upload => self.upload().await,
            Job::Customers1010 => self.customers_1010().await,
            Job::ChannelConfiguration1070 => self.configuration_1070().await,
            Job::GlobalConfiguration1110 => self.configuration_1110().await,
            Job::CustomerSync => Err(JobError::Answer("with a job that only headquarters runs")),
        }
    }

    /// The time from create to account number of recent customers, in no order.
    pub fn times(&self) -> Vec<Duration> {
        self.lock_times().iter().copied().collect()
    }

    /// Remembers that customers created at these times have their account number now.
    fn named(&self, created: &[Micros]) {
        let now = self.clock.wall_micros();
        let mut times = self.lock_times();
        for created in created {
            let micros = u64::try_from(now.saturating_sub(created.0)).unwrap_or_default();
            times.push_back(Duration::from_micros(micros));
        }
        let excess = times.len().saturating_sub(MAX_TIMES);
        times.drain(..excess);
    }

    fn lock_times(&self) -> MutexGuard<'_, VecDeque<Duration>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_ended(&self) -> MutexGuard<'_, VecDeque<JobRun>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present instant, for showing.
    fn now(&self) -> Micros {
        Micros(self.clock.wall_micros())
    }
}
