//! The customer sync job: makes customers real that channels have uploaded (rules X1, X5). Documented under
//! two names, both of which are meant by it: "Synchronize customers and business partners from async mode",
//! "Synchronize customers and channel requests".

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use service_kit::{config::Chain, retry::transaction};
use tillsync_proto::{CustomerId, Job, JobRun, Micros, Reason, SessionState};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::{
    board::HEADQUARTERS,
    conversion::{Rules, plan},
    hq::Headquarters,
    metrics,
    store::{self, Due, Fate, Plan, Session, Settled, Store, Verdict, Write},
};

/// Arrivals in one transaction, by number and by bytes.
const MAX_BATCH: usize = 2_000;
const MAX_BATCH_BYTES: usize = 16 << 20;
/// Channels that have a share of one batch; further ones have theirs once some of these are through.
const MAX_TURNS: usize = 200;
/// Batches in one run; what is left is for the next, so that a run ends while uploads go on.
const MAX_BATCHES: usize = 100;
/// When an operation is tried again on which the database itself failed.
const BROKEN_RETRY: Duration = Duration::from_secs(60);

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    /// Arrivals that were processed.
    pub completed: u64,
    /// Arrivals that were set aside.
    pub set_aside: u64,
    /// Customers that somebody else changed meanwhile; the next run takes them.
    pub postponed: u64,
    /// The number sequence came to its end; creates wait (rule X6).
    pub exhausted: bool,
}

impl Outcome {
    fn error(self) -> String {
        if self.exhausted { "the number sequence has no numbers left".to_owned() } else { String::new() }
    }
}

/// The job. Two that run at once do no harm: each change is made against the record it was worked out from. They would do
/// the same work twice, so of several processes the one that holds the lease runs it.
pub(crate) struct SyncJob<S> {
    hq: Headquarters<S>,
    batch: usize,
    /// Only for whoever holds the lease.
    fenced: bool,
}

/// The runs that there have been.
pub(crate) struct Past {
    /// The newest request that was carried out.
    request: AtomicU64,
    /// When the last one ended.
    ended: Mutex<Instant>,
}

impl Past {
    /// Requests up to this one are nobody's any more, and the next run is due as if one had ended now.
    pub fn new(request: u64, now: Instant) -> Self {
        Self { request: AtomicU64::new(request), ended: Mutex::new(now) }
    }

    fn ended(&self) -> Instant {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, now: Instant) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

impl<S: Store> SyncJob<S> {
    pub fn new(hq: &Headquarters<S>) -> Self {
        Self { hq: hq.clone(), batch: MAX_BATCH, fenced: true }
    }

    /// What a caller has asked this process for.
    pub fn asked(hq: &Headquarters<S>) -> Self {
        Self { fenced: false, ..Self::new(hq) }
    }

    /// The same with batches of another size.
    #[cfg(test)]
    pub fn with_batch(self, batch: usize) -> Self {
        Self { batch, ..self }
    }

    #[cfg(test)]
    pub fn store(&self) -> &S {
        &self.hq.store
    }

    /// One run: everything whose turn it is, in batches. The first is the oldest of all; if that was not everything, the
    /// channels take turns, so that one with much to bring does not keep the others waiting (rule X8). The operations of
    /// each stay in their order.
    ///
    /// # Errors
    ///
    /// The store's. What was committed before stays, and running again is free of effect.
    pub async fn try_once(&self) -> store::Result<Outcome> {
        let mut outcome = Outcome::default();
        // What was lost in a restore comes first, so that nobody gets a second account number.
        if self.hq.store.head().await?.awaited > 0 {
            return Ok(outcome);
        }
        // Customers whose operations did not get through in an earlier batch: the later ones wait.
        let mut waiting: HashSet<CustomerId> = HashSet::new();
        // By channel, how far this run has come with it.
        let mut turns: HashMap<String, i64> = HashMap::new();
        let mut due = self.hq.store.due(None, 0, self.now(), self.batch, MAX_BATCH_BYTES).await?;
        turns.extend(due.iter().map(|due| (due.channel.clone(), due.seq)));
        for _ in 0..MAX_BATCHES {
            if due.is_empty() {
                break;
            }
            due.retain(|due| !waiting.contains(&due.customer));
            // The next is read while this one is written.
            let (through, next) =
                tokio::join!(self.process(due, self.now(), &mut outcome), self.turn(&mut turns));
            waiting.extend(through?);
            due = next?;
        }
        metrics::converted(outcome.completed, outcome.set_aside);
        Ok(outcome)
    }

    /// The next batch, in which every channel whose turn it is has its share.
    async fn turn(&self, turns: &mut HashMap<String, i64>) -> store::Result<Vec<Due>> {
        let channels = self.hq.store.due_channels(self.now(), MAX_TURNS).await?;
        let share = (self.batch / channels.len().max(1)).max(1);
        let bytes = MAX_BATCH_BYTES / channels.len().max(1);
        let mut batch = Vec::new();
        for channel in channels {
            let after = turns.get(&channel).copied().unwrap_or_default();
            let due = self.hq.store.due(Some(&channel), after, self.now(), share, bytes).await?;
            if let Some(last) = due.last() {
                turns.insert(channel, last.seq);
            }
            batch.extend(due);
        }
        batch.sort_unstable_by_key(|due| due.seq);
        Ok(batch)
    }

    fn now(&self) -> Micros {
        Micros(self.hq.clock.wall_micros())
    }

    /// Processes one operation alone, whether its turn has come or not.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn process_one(&self, due: Due) -> store::Result<()> {
        const TRIES: usize = 20;
        for _ in 0..TRIES {
            let mut outcome = Outcome::default();
            self.process(vec![due.clone()], self.now(), &mut outcome).await?;
            metrics::converted(outcome.completed, outcome.set_aside);
            if outcome.postponed == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Processes operations; gives the customers whose later ones have to wait.
    async fn process(
        &self,
        due: Vec<Due>,
        now: Micros,
        outcome: &mut Outcome,
    ) -> store::Result<Vec<CustomerId>> {
        let mut customers: Vec<CustomerId> = due.iter().map(|due| due.customer).collect();
        customers.sort_unstable();
        customers.dedup();
        let known = self.hq.store.customers(&customers).await?;
        let configuration = self.hq.configuration();
        let rules = Rules { now, ids: &self.hq.ids, definitions: &configuration.attributes };
        let (customers, mut plans): (Vec<_>, Vec<_>) = plan(due, known, &rules).into_iter().unzip();
        let settled = self.settle(&mut plans, now).await?;
        let settled = customers.into_iter().zip(&plans).zip(settled);
        Ok(settled
            .filter_map(|((customer, plan), settled)| (!outcome.count(plan, &settled)).then_some(customer))
            .collect())
    }

    /// Carries out plans in one transaction. If the database refuses it, each in one of its own: one bad row
    /// stops nobody else. A plan on which the database fails alone is replaced by one that sets its first
    /// operation aside.
    async fn settle(&self, plans: &mut [Plan], now: Micros) -> store::Result<Vec<Settled>> {
        match self.settle_all(plans).await {
            Err(error) if error.is_of_the_batch() => {
                error!(error = %Chain(&error), plans = plans.len(), "a batch failed; trying one by one");
            }
            result => return result,
        }
        let mut settled = Vec::with_capacity(plans.len());
        for plan in plans {
            let one = match self.settle_all(std::slice::from_ref(plan)).await {
                Err(error) if error.is_of_the_batch() => {
                    error!(error = %Chain(&error), "the database failed on an operation; it is set aside");
                    *plan = give_up(plan, now);
                    self.settle_all(std::slice::from_ref(plan)).await?
                }
                result => result?,
            };
            settled.extend(one);
        }
        Ok(settled)
    }

    async fn settle_all(&self, plans: &[Plan]) -> store::Result<Vec<Settled>> {
        let store = &self.hq.store;
        transaction("convert arrivals", &self.hq.ids, async || match self.fenced {
            true => store.settle_fenced(plans).await,
            false => store.settle(plans).await,
        })
        .await
    }

    /// Runs by its schedule and whenever it is asked to, one run at a time (rule X8), until `shutdown`. It goes on behind
    /// the runs of whoever drove it before: to be started anew, or to be told something else, puts off nothing.
    pub async fn drive(self, shutdown: CancellationToken, past: &Past) {
        let mut changes = self.hq.board.watch();
        loop {
            let order = self.hq.board.order(Job::CustomerSync, HEADQUARTERS);
            let request = order.waiting(past.request.load(Ordering::Relaxed));
            if request.is_none() {
                let pause = order.schedule.interval;
                let pause = pause + pause.mul_f64(order.schedule.jitter * self.hq.ids.fraction());
                let due = past.ended() + pause;
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    there = changes.changed() => if there { continue } else { return },
                    () = tokio::time::sleep_until(due), if !order.schedule.held => {}
                }
            }
            if shutdown.is_cancelled() {
                return;
            }
            self.run(request.unwrap_or_default()).await;
            past.request.fetch_max(request.unwrap_or_default(), Ordering::Relaxed);
            past.end(self.hq.clock.now());
        }
    }

    /// One run with its session.
    async fn run(&self, run_request: u64) {
        let clock = &self.hq.clock;
        let (started_at, start) = (Micros(clock.wall_micros()), clock.now());
        let result = self.try_once().await;
        let elapsed = clock.now().saturating_duration_since(start);
        let (rows, error) = match &result {
            Ok(outcome) => (outcome.completed + outcome.set_aside, outcome.error()),
            Err(error) => {
                metrics::sync_job_failed();
                error!(error = %Chain(error), "the customer sync job failed; it will run again");
                (0, error.to_string())
            }
        };
        if let Ok(outcome) = result
            && rows > 0
        {
            debug!(?outcome, ?elapsed, "the customer sync job ran");
        }
        let state = if error.is_empty() { SessionState::Applied } else { SessionState::ApplyFailed };
        let run =
            JobRun { run_request, started_at, elapsed, state, rows, error, ..JobRun::new(Job::CustomerSync) };
        if run.is_session() {
            let (session, now) = (Session { seq: 0, channel: None, run }, Micros(clock.wall_micros()));
            let add = || self.hq.store.add_session(&session, now);
            if let Err(error) = transaction("keep a session", &self.hq.ids, add).await {
                error!(error = %Chain(&error), "a session of the customer sync job is lost");
            }
            self.hq.board.sessions_changed();
        }
        if let (Ok(head), Ok(counts)) = (self.hq.store.head().await, self.hq.store.arrival_counts().await) {
            metrics::tables(&head, counts);
        }
    }
}

/// Sets the first operation of a plan aside, on which the database failed.
fn give_up(plan: &Plan, now: Micros) -> Plan {
    let pause = i64::try_from(BROKEN_RETRY.as_micros()).unwrap_or(i64::MAX);
    let fate = Fate::SetAside {
        reason: Reason::Internal,
        message: "the database failed on it; the log has the cause".to_owned(),
        next_attempt_at: Some(now.0.saturating_add(pause)),
    };
    let first = plan.verdicts.first().map(|verdict| Verdict { seq: verdict.seq, fate });
    Plan { verdicts: first.into_iter().collect(), ..Plan::of(Write::Nothing) }
}

impl Outcome {
    /// Counts a plan; false if the customer's later operations have to wait.
    fn count(&mut self, plan: &Plan, settled: &Settled) -> bool {
        match settled {
            Settled::Done | Settled::Written(_) => {
                let aside = plan
                    .verdicts
                    .iter()
                    .filter(|verdict| matches!(verdict.fate, Fate::SetAside { .. }))
                    .count();
                self.set_aside += aside as u64;
                self.completed += (plan.verdicts.len() - aside) as u64;
                aside == 0
            }
            Settled::Conflict(_) | Settled::Gone => {
                self.postponed += 1;
                false
            }
            Settled::Exhausted => {
                self.exhausted = true;
                false
            }
        }
    }
}
