//! The customer sync job: makes customers real that channels have uploaded (rules X1, X5). Documented under
//! two names, both of which are meant by it: "Synchronize customers and business partners from async mode",
//! "Synchronize customers and channel requests".

use std::{collections::HashSet, sync::Arc, time::Duration};

use service_kit::{
    clock::{Clock, Ids},
    config::Chain,
    retry::transaction,
};
use tillsync_proto::{CustomerId, Job, Micros, Reason};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::{
    board::{Board, HEADQUARTERS},
    conversion::plan,
    hq::Headquarters,
    metrics,
    store::{self, Fate, Plan, Session, Settled, Store, Verdict, Write},
};

/// Arrivals in one transaction, by number and by bytes.
const MAX_BATCH: usize = 2_000;
const MAX_BATCH_BYTES: usize = 16 << 20;
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

/// The job. Two that run at once do no harm: each change is made against the record it was worked out from.
pub(crate) struct SyncJob<S> {
    store: S,
    clock: Arc<dyn Clock>,
    ids: Ids,
    board: Board,
    batch: usize,
}

impl<S: Store> SyncJob<S> {
    pub fn new(hq: &Headquarters<S>) -> Self {
        Self {
            store: hq.store.clone(),
            clock: Arc::clone(&hq.clock),
            ids: hq.ids.clone(),
            board: hq.board.clone(),
            batch: MAX_BATCH,
        }
    }

    /// The same with batches of another size.
    #[cfg(test)]
    pub fn with_batch(self, batch: usize) -> Self {
        Self { batch, ..self }
    }

    #[cfg(test)]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// One run: everything whose turn it is, in the order of arrival, in batches.
    ///
    /// # Errors
    ///
    /// The store's. What was committed before stays, and running again is free of effect.
    pub async fn try_once(&self) -> store::Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut after = 0;
        // Customers whose operations did not get through in an earlier batch: the later ones wait.
        let mut waiting: HashSet<CustomerId> = HashSet::new();
        for _ in 0..MAX_BATCHES {
            let now = Micros(self.clock.wall_micros());
            let due = self.store.due(after, now, self.batch, MAX_BATCH_BYTES).await?;
            let Some(last) = due.last() else { break };
            after = last.seq;
            let due: Vec<_> = due.into_iter().filter(|due| !waiting.contains(&due.customer)).collect();
            let mut customers: Vec<CustomerId> = due.iter().map(|due| due.customer).collect();
            customers.sort_unstable();
            customers.dedup();
            let known = self.store.customers(&customers).await?;
            let (customers, mut plans): (Vec<_>, Vec<_>) =
                plan(due, known, now, &self.ids).into_iter().unzip();
            let settled = self.settle(&mut plans, now).await?;
            for ((customer, plan), settled) in customers.into_iter().zip(&plans).zip(settled) {
                if !outcome.count(plan, &settled) {
                    waiting.insert(customer);
                }
            }
        }
        metrics::converted(outcome.completed, outcome.set_aside);
        Ok(outcome)
    }

    /// Carries out plans in one transaction. If the database refuses it, each in one of its own: one bad row
    /// stops nobody else. A plan on which the database fails alone is replaced by one that sets its first
    /// operation aside.
    async fn settle(&self, plans: &mut [Plan], now: Micros) -> store::Result<Vec<Settled>> {
        match self.settle_all(plans).await {
            Err(error) if !error.is_unreachable() => {
                error!(error = %Chain(&error), plans = plans.len(), "a batch failed; trying one by one");
            }
            result => return result,
        }
        let mut settled = Vec::with_capacity(plans.len());
        for plan in plans {
            let one = match self.settle_all(std::slice::from_ref(plan)).await {
                Err(error) if !error.is_unreachable() => {
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
        transaction("convert arrivals", &self.ids, || self.store.settle(plans)).await
    }

    /// Runs by its schedule and whenever it is asked to, one run at a time (rule X8), until `shutdown`.
    pub async fn drive(self, shutdown: CancellationToken) {
        let mut changes = self.board.watch();
        // Nobody waits any more for what was asked before the start.
        let mut done = self.board.order(Job::CustomerSync, HEADQUARTERS).run_request;
        loop {
            let order = self.board.order(Job::CustomerSync, HEADQUARTERS);
            if order.run_request <= done {
                let pause = order.schedule.interval;
                let pause = pause + pause.mul_f64(order.schedule.jitter * self.ids.fraction());
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    there = changes.changed() => if there { continue } else { return },
                    () = tokio::time::sleep(pause), if !order.schedule.held => {}
                }
            }
            if shutdown.is_cancelled() {
                return;
            }
            let run_request = if order.run_request > done { order.run_request } else { 0 };
            self.run(run_request).await;
            done = done.max(order.run_request);
        }
    }

    /// One run with its session.
    async fn run(&self, run_request: u64) {
        let (started_at, start) = (Micros(self.clock.wall_micros()), self.clock.now());
        let result = self.try_once().await;
        let elapsed = self.clock.now().saturating_duration_since(start);
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
        if rows > 0 || !error.is_empty() || run_request > 0 {
            let job = Job::CustomerSync;
            let session = Session { channel: None, job, run_request, started_at, elapsed, rows, error };
            let add = || self.store.add_session(&session);
            if let Err(error) = transaction("keep a session", &self.ids, add).await {
                error!(error = %Chain(&error), "a session of the customer sync job is lost");
            }
            self.board.sessions_changed();
        }
        if let (Ok(head), Ok(counts)) = (self.store.head().await, self.store.arrival_counts().await) {
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
    Plan { write: Write::Nothing, verdicts: first.into_iter().collect() }
}

impl Outcome {
    /// Counts a plan; false if the customer's later operations have to wait.
    fn count(&mut self, plan: &Plan, settled: &Settled) -> bool {
        match settled {
            Settled::Done | Settled::Written(_) => {
                let aside = plan.verdicts.iter().filter(|verdict| verdict.fate != Fate::Completed).count();
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
