//! A channel as far as headquarters can see it.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt as _, rngs::StdRng};
use serde::Serialize;
use service_kit::clock::Clock;
use tillsync_proto::{
    Job, Micros, Schedule, convert,
    pb::{
        common::{ChannelStatus, FeedCursor, Job as WireJob, Operation, operation::Change},
        hq::{
            GetConfigurationRequest, ListCustomerChangesRequest, ReportStatusRequest,
            UploadOperationsRequest, WatchJobsRequest,
            data_exchange_service_client::DataExchangeServiceClient,
        },
    },
};
use tokio::{join, time::sleep};
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};

use super::Calls;
use crate::{
    customers::{customer, guid, rng_of},
    error::Error,
    stats::Durations,
    way::{Way, connect},
};

/// Between two reports, customers of a page and operations of an upload: as the channel service has them.
const REPORT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(5);
const PAGE: i32 = 5_000;
const OPERATIONS: usize = 1_000;
/// Pause before a channel that was cut off listens again.
const AGAIN: Duration = Duration::from_millis(500);

/// What is asked of headquarters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// P-job.
    Upload,
    /// 1010.
    Changes,
    /// 1070 and 1110.
    Configuration,
    /// How the channel is.
    Report,
}

impl Call {
    const ALL: [Self; 4] = [Self::Upload, Self::Changes, Self::Configuration, Self::Report];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Upload => "upload (P-job)",
            Self::Changes => "customers (1010)",
            Self::Configuration => "configuration (1070, 1110)",
            Self::Report => "report",
        }
    }
}

/// What has been counted so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Creates that headquarters has taken.
    pub taken: u64,
    /// Records that came in pages of the feed, to all channels.
    pub told: u64,
}

impl Seen {
    /// What came since then.
    pub fn since(self, then: Self) -> Self {
        Self { taken: self.taken - then.taken, told: self.told - then.told }
    }
}

#[derive(Default)]
struct Count {
    answers: Durations,
    failed: u64,
}

/// What all channels share.
pub(super) struct Shared {
    clock: Arc<dyn Clock>,
    seed: u64,
    /// Creates per second of one channel.
    rate: f64,
    counts: Mutex<[Count; Call::ALL.len()]>,
    told: AtomicU64,
    taken: AtomicU64,
    /// Ends the creates.
    pub creating: CancellationToken,
    /// Ends everything.
    pub stop: CancellationToken,
}

impl Shared {
    /// Nothing has happened yet.
    pub fn new(clock: &Arc<dyn Clock>, seed: u64, rate: f64) -> Self {
        let clock = Arc::clone(clock);
        Self {
            clock,
            seed,
            rate,
            counts: Mutex::default(),
            told: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            creating: CancellationToken::new(),
            stop: CancellationToken::new(),
        }
    }

    /// What has been counted.
    pub fn seen(&self) -> Seen {
        Seen { taken: self.taken.load(Ordering::Relaxed), told: self.told.load(Ordering::Relaxed) }
    }

    /// The calls since this was last asked for, as so many seconds.
    pub fn calls(&self, seconds: f64) -> Vec<Calls> {
        let counts = std::mem::take(&mut *self.counts());
        let calls = Call::ALL.into_iter().zip(counts).map(|(call, count)| Calls {
            call,
            per_s: count.answers.count() as f64 / seconds,
            failed: count.failed,
            answer_ms: count.answers.two(),
        });
        calls.collect()
    }

    fn counts(&self) -> MutexGuard<'_, [Count; Call::ALL.len()]> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A channel.
pub(super) struct Simulated {
    number: u64,
    id: String,
    hq: DataExchangeServiceClient<Way>,
    shared: Arc<Shared>,
    /// As headquarters has told them, in the order of [`Job::ALL`].
    schedules: Mutex<[Schedule; Job::ALL.len()]>,
    /// Where it is in the feed, and of how many records it has been told.
    cursor: Mutex<FeedCursor>,
    told: AtomicU64,
}

impl Simulated {
    /// Connects one.
    ///
    /// # Errors
    ///
    /// As [`connect`].
    pub async fn connect(number: u64, address: &str, shared: Arc<Shared>) -> Result<Self, Error> {
        Ok(Self {
            number,
            id: format!("simulated-{number}"),
            hq: DataExchangeServiceClient::new(connect(address).await?),
            shared,
            schedules: Mutex::new(Job::ALL.map(Schedule::default_for)),
            cursor: Mutex::default(),
            told: AtomicU64::new(0),
        })
    }

    /// Of how many customers it has been told; of nobody twice, as long as nobody is edited.
    pub fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    /// Does what a channel does until it is stopped.
    pub async fn run(self: Arc<Self>) {
        let stop = self.shared.stop.clone();
        let work = async {
            join!(
                self.listen(),
                self.report(),
                self.upload(),
                self.repeat(Job::Customers1010, Self::customers),
                self.repeat(Job::ChannelConfiguration1070, Self::configuration),
                self.repeat(Job::GlobalConfiguration1110, Self::configuration),
            )
        };
        stop.run_until_cancelled(work).await;
    }

    /// Chance of its own, for each thing it does.
    fn chance(&self, what: u64) -> StdRng {
        rng_of(self.shared.seed, 1_000 + what, self.number)
    }

    fn schedule(&self, job: Job) -> Option<Schedule> {
        let schedules = self.schedules.lock().unwrap_or_else(PoisonError::into_inner);
        schedules.iter().find(|schedule| schedule.job == job).copied()
    }

    /// Keeps the schedules that it is told.
    async fn listen(&self) {
        loop {
            let told = self.hq.clone().watch_jobs(WatchJobsRequest { channel_id: self.id.clone() }).await;
            if let Ok(mut told) = told.map(Response::into_inner) {
                while let Ok(Some(order)) = told.message().await {
                    let schedule =
                        order.schedule.as_ref().and_then(|schedule| convert::schedule(schedule).ok());
                    let mut known = self.schedules.lock().unwrap_or_else(PoisonError::into_inner);
                    for known in known.iter_mut() {
                        *known = schedule.filter(|told| told.job == known.job).unwrap_or(*known);
                    }
                }
            }
            sleep(AGAIN).await;
        }
    }

    /// Runs a job by its schedule.
    async fn repeat(&self, job: Job, run: impl AsyncFn(&Self, Job)) {
        let mut chance = self.chance(job as u64);
        // Channels do not begin all at once.
        let mut stretch = chance.random_range(0.0..1.0);
        loop {
            let Some(schedule) = self.schedule(job) else { return };
            sleep(schedule.interval.mul_f64(stretch)).await;
            if !self.schedule(job).is_some_and(|schedule| schedule.held) {
                run(self, job).await;
            }
            stretch = 1.0 + schedule.jitter * chance.random_range(0.0..1.0);
        }
    }

    /// Makes a call, counted.
    async fn call<A>(
        &self,
        kind: Call,
        call: impl AsyncFnOnce(DataExchangeServiceClient<Way>) -> Result<Response<A>, Status>,
    ) -> Option<A> {
        let begun = self.shared.clock.now();
        let said = call(self.hq.clone()).await;
        let took = self.shared.clock.now().saturating_duration_since(begun);
        let count = &mut self.shared.counts()[kind as usize];
        match &said {
            Ok(_) => count.answers.record(took),
            Err(_) => count.failed += 1,
        }
        said.ok().map(Response::into_inner)
    }

    /// 1010, until it is level with headquarters.
    async fn customers(&self, _: Job) {
        loop {
            let cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let request = ListCustomerChangesRequest {
                channel_id: self.id.clone(),
                cursor: Some(cursor),
                page_size: PAGE,
            };
            let page = self.call(Call::Changes, async |mut hq| hq.list_customer_changes(request).await).await;
            let Some(page) = page else { return };
            let (count, head) = (page.records.len() as u64, page.head_version);
            let Some(next) = page.next_cursor.or(page.resync.and_then(|resync| resync.cursor)) else {
                return;
            };
            let level = next.version >= head;
            *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) = next;
            self.told.fetch_add(count, Ordering::Relaxed);
            self.shared.told.fetch_add(count, Ordering::Relaxed);
            if level {
                return;
            }
        }
    }

    /// 1070 or 1110.
    async fn configuration(&self, job: Job) {
        let request = GetConfigurationRequest { channel_id: self.id.clone(), job: WireJob::from(job).into() };
        self.call(Call::Configuration, async |mut hq| hq.get_configuration(request).await).await;
    }

    /// Says how it is.
    async fn report(&self) {
        sleep(REPORT.end().mul_f64(self.chance(100).random_range(0.0..1.0))).await;
        loop {
            let cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let status = ChannelStatus {
                channel_id: self.id.clone(),
                customers: self.told(),
                feed_cursor: Some(cursor),
                last_hq_contact_time: Some(Micros(self.shared.clock.wall_micros()).into()),
                ..ChannelStatus::default()
            };
            let request = ReportStatusRequest { status: Some(status), ..Default::default() };
            self.call(Call::Report, async |mut hq| hq.report_status(request).await).await;
            let Some(customers) = self.schedule(Job::Customers1010) else { return };
            sleep((2 * customers.interval).clamp(*REPORT.start(), *REPORT.end())).await;
        }
    }

    /// Makes customers, and brings them by the P-job's schedule.
    async fn upload(&self) {
        let (mut chance, mut counter) = (self.chance(101), 0);
        let (mut waiting, mut next): (Vec<Operation>, _) = (Vec::new(), self.shared.clock.now());
        next += pause(self.shared.rate, &mut chance);
        loop {
            let Some(schedule) = self.schedule(Job::Upload) else { return };
            sleep(schedule.interval.mul_f64(1.0 + schedule.jitter * chance.random_range(0.0..1.0))).await;
            let until = self.shared.clock.now();
            while next <= until && !self.shared.creating.is_cancelled() {
                counter += 1;
                waiting.push(operation(counter, self.shared.clock.wall_micros(), &mut chance));
                next += pause(self.shared.rate, &mut chance);
            }
            if waiting.is_empty() || schedule.held {
                continue;
            }
            let page = waiting.iter().take(OPERATIONS).cloned().collect();
            let request = UploadOperationsRequest {
                channel_id: self.id.clone(),
                operations: page,
                ..Default::default()
            };
            let said = self.call(Call::Upload, async |mut hq| hq.upload_operations(request).await).await;
            let answered = said.map_or(0, |said| said.outcomes.len());
            waiting.drain(..answered);
            self.shared.taken.fetch_add(answered as u64, Ordering::Relaxed);
        }
    }
}

/// Until the next create, at so many a second.
fn pause(rate: f64, chance: &mut StdRng) -> Duration {
    let seconds = -(1.0 - chance.random_range(0.0..1.0_f64)).ln() / rate;
    // Nobody creates at a rate of 0.
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(1 << 32))
}

fn operation(counter: u64, wall_micros: i64, chance: &mut StdRng) -> Operation {
    let id = guid(wall_micros, chance);
    Operation {
        counter,
        customer_id: id.to_string(),
        log_time: Some(Micros(wall_micros).into()),
        change: Some(Change::Create(customer(id, chance))),
        ..Operation::default()
    }
}
