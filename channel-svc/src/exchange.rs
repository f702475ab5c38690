//! The Commerce Data Exchange, as this channel drives it (rules X1, X4, X7, X8): the P-job up, 1010, 1070 and
//! 1110 down. Each job is one file with a `try_once` that a test can step; when it runs is said in `runner`.

mod configuration;
mod customers_1010;
mod erasure;
mod headquarters;
mod p_job;
mod recovery;
mod reporter;
mod runner;
mod runs;
mod schedules;
mod watchdog;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use service_kit::{
    clock::{Clock, Ids},
    config::Chain,
    watchdog::Watchdog,
};
use tillsync_proto::{Job, Micros, Schedule, SessionState};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    breaker::Breaker,
    customers::Current,
    log::{Log, LogError},
    metrics::Metrics,
    store::{Store, StoreError},
    watchers::Watchers,
};

use runs::Runs;

pub(crate) use headquarters::Headquarters;

/// The jobs that a channel carries out.
pub(crate) const JOBS: [Job; 4] =
    [Job::Upload, Job::Customers1010, Job::ChannelConfiguration1070, Job::GlobalConfiguration1110];

/// Measurements of the time to an account number that are kept.
const MAX_TIMES: usize = 1_024;

/// Why a run failed. In words without personal data (rule Z5): it is shown at headquarters.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    /// Headquarters could not be reached, or takes nothing at present.
    #[error("headquarters: {0}")]
    Unreached(String),
    /// Headquarters refused, or failed on what it was asked.
    #[error("headquarters: {0}")]
    Refused(String),
    /// Headquarters answered what cannot be used.
    #[error("headquarters answered {0}")]
    Answer(&'static str),
    /// Some records could not be read; the others have been applied.
    #[error("{0} records of headquarters could not be read")]
    Unreadable(u64),
    /// What was logged does not stand in the tables yet.
    #[error("what was logged does not stand in the tables yet")]
    Behind,
    /// The database failed.
    #[error("{error}", error = service_kit::config::Chain(.0))]
    Store(#[from] StoreError),
    /// What other processes have logged could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl JobError {
    /// How far a run came that ended so (rule X9).
    fn state(&self, job: Job) -> SessionState {
        match self {
            Self::Unreached(_) if job.is_upload() => SessionState::UploadFailed,
            Self::Unreached(_) => SessionState::DownloadFailed,
            Self::Refused(_) if !job.is_upload() => SessionState::CreateFailed,
            Self::Refused(_)
            | Self::Answer(_)
            | Self::Unreadable(_)
            | Self::Behind
            | Self::Store(_)
            | Self::Log(_) => SessionState::ApplyFailed,
        }
    }
}

/// What a run has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Moved {
    /// Rows.
    pub rows: u64,
    /// Bytes, as they were encoded.
    pub bytes: u64,
}

impl Moved {
    fn add(&mut self, rows: usize, bytes: usize) {
        self.rows += u64::try_from(rows).unwrap_or(u64::MAX);
        self.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
    }
}

/// What headquarters last told about a job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Order {
    /// When it runs.
    pub schedule: Schedule,
    /// The newest request to run it now, 0 for none; absent until headquarters has told.
    pub run_request: Option<u64>,
    /// Requests up to here have been canceled.
    pub canceled_through: u64,
    /// A scheduled run that began then, or before, is canceled.
    pub canceled_start: Option<Micros>,
}

/// Everything that the jobs need and share.
pub(crate) struct Exchange<S> {
    parts: Parts<S>,
    /// What the watchdog has seen.
    pub supervision: watchdog::Supervision,
    /// One for each of [`JOBS`].
    orders: watch::Sender<[Order; JOBS.len()]>,
    runs: Runs,
    times: Mutex<VecDeque<Duration>>,
    report: Notify,
}

impl<S> std::ops::Deref for Exchange<S> {
    type Target = Parts<S>;

    fn deref(&self) -> &Parts<S> {
        &self.parts
    }
}

/// What an exchange is made of.
pub(crate) struct Parts<S> {
    pub store: S,
    pub log: Log,
    pub hq: Headquarters,
    pub tail: Arc<crate::log::Tail>,
    pub watchers: Arc<Watchers>,
    pub current: Arc<Current>,
    pub clock: Arc<dyn Clock>,
    pub ids: Ids,
    pub metrics: Metrics,
    pub breaker: Arc<Breaker>,
    /// Whether this is a terminal, and its headquarters a store.
    pub terminal: bool,
    /// How long something may wait without anything moving (rule X10).
    pub watchdog: Duration,
}

impl<S: Store> Exchange<S> {
    /// An exchange with the default schedules, until it runs.
    pub fn new(parts: Parts<S>) -> Self {
        let orders = JOBS.map(|job| Order {
            schedule: Schedule::default_for(job),
            run_request: None,
            canceled_through: 0,
            canceled_start: None,
        });
        Self {
            parts,
            supervision: watchdog::Supervision::default(),
            orders: watch::channel(orders).0,
            runs: Runs::default(),
            times: Mutex::default(),
            report: Notify::new(),
        }
    }

    /// Runs everything until the token is cancelled. When nothing moves although something waits, the jobs are
    /// started anew (rule X10): what is under way is dropped, and nothing is lost by it.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut watchdog = Watchdog::new(self.watchdog, self.clock.now(), self.clock.wall_micros());
        self.remember_schedules().await;
        let mut ended = [self.clock.now(); JOBS.len()];
        let jobs = async {
            loop {
                let [upload, customers, channel, global] = &mut ended;
                let jobs = async {
                    tokio::join!(
                        runner::run(&self, Job::Upload, upload, &stop),
                        runner::run(&self, Job::Customers1010, customers, &stop),
                        runner::run(&self, Job::ChannelConfiguration1070, channel, &stop),
                        runner::run(&self, Job::GlobalConfiguration1110, global, &stop),
                        schedules::run(&self, &stop),
                    );
                };
                tokio::select! {
                    () = jobs => return,
                    () = watchdog::stalled(&self, &mut watchdog) => {}
                }
            }
        };
        tokio::join!(jobs, reporter::run(&self, &stop));
    }

    /// Takes the schedules that were last told, maybe to another process.
    async fn remember_schedules(&self) {
        let known = match self.store.settings().await {
            Ok(settings) => settings.schedules,
            Err(error) => return error!(error = %Chain(&error), "the schedules cannot be read"),
        };
        self.orders.send_modify(|orders| {
            for order in orders {
                let told = known.iter().find(|told| told.job == order.schedule.job);
                order.schedule = told.copied().unwrap_or(order.schedule);
            }
        });
    }

    /// Runs a job once; gives what it has moved.
    ///
    /// # Errors
    ///
    /// [`JobError`]; what was moved before it stays moved.
    pub async fn try_once(&self, job: Job) -> Result<Moved, JobError> {
        match job {
            // Boxed: four runners and everything around them would hold room for them.
            Job::Upload => Box::pin(self.upload()).await,
            Job::Customers1010 => Box::pin(self.customers_1010()).await,
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
        let now = self.now();
        let mut times = self.lock_times();
        times.extend(created.iter().map(|created| now.since(*created)));
        let excess = times.len().saturating_sub(MAX_TIMES);
        times.drain(..excess);
    }

    fn lock_times(&self) -> MutexGuard<'_, VecDeque<Duration>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What headquarters last told about a job.
    fn order(&self, job: Job) -> Option<Order> {
        let place = JOBS.iter().position(|known| *known == job)?;
        Some(self.orders.borrow()[place])
    }

    /// The present instant, for showing.
    fn now(&self) -> Micros {
        Micros(self.clock.wall_micros())
    }
}
