//! Notices that something waits and nothing moves (rule X10). Progress is read from the tables.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use service_kit::{
    config::Chain,
    watchdog::{Look, Watchdog},
};
use tillsync_proto::{Job, Micros, pb::common};
use tokio::time::sleep;
use tracing::error;

use super::Exchange;
use crate::store::{LogProgress, Store, StoreError, TableProgress};

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

/// What the watchdog has seen. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Supervision(Arc<Mutex<(Option<common::Stall>, u32)>>);

impl Supervision {
    /// Why nothing moves, unless all is well; and how often the jobs were started anew.
    pub fn get(&self) -> (Option<common::Stall>, u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, stall: Option<common::Stall>, restart: bool) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.0 = stall;
        seen.1 += u32::from(restart);
    }
}

/// How far the exchange is: uploaded, applied from the feed, pending.
pub(super) type Progress = (u64, u64, u64);

/// Returns when it is time to start the jobs anew.
pub(super) async fn stalled<S: Store>(exchange: &Exchange<S>, watchdog: &mut Watchdog<Progress>) {
    loop {
        sleep(LOOK.min(exchange.watchdog)).await;
        match exchange.look(watchdog).await {
            Ok(false) => {}
            Ok(true) => return,
            Err(failure) => error!(error = %Chain(&failure), "the watchdog cannot read the progress"),
        }
    }
}

impl<S: Store> Exchange<S> {
    async fn look(&self, watchdog: &mut Watchdog<Progress>) -> Result<bool, StoreError> {
        let (log, tables) = (self.store.log_progress().await?, self.store.table_progress().await?);
        let progress = (log.uploaded_through, tables.feed_version, tables.pending);
        let waits = self.what_waits(&log, &tables);
        let (now, wall) = (self.clock.now(), self.clock.wall_micros());
        let look = watchdog.look(progress, waits.is_some(), now, wall);
        let (Look::Stalled { since, again }, Some(waits)) = (look, waits) else {
            self.supervision.set(None, false);
            self.metrics.stalled(false);
            return Ok(false);
        };
        let reason = self.why(waits).await?;
        if again {
            error!(reason, "the exchange stands still; its jobs are started anew");
            self.metrics.exchange_restarted();
        }
        self.metrics.stalled(true);
        self.supervision.set(Some(common::Stall { reason, since: Some(Micros(since).into()) }), again);
        Ok(again)
    }

    /// The job that has something to do; for what waits at headquarters that is the customer sync job.
    fn what_waits(&self, log: &LogProgress, tables: &TableProgress) -> Option<Job> {
        if log.uploaded_through < log.newest_operation {
            Some(Job::Upload)
        } else if tables.feed_version < tables.feed_head {
            Some(Job::Customers1010)
        } else {
            // A terminal's customers wait for its store's headquarters, which is the store's to watch.
            (tables.pending > 0 && !self.terminal).then_some(Job::CustomerSync)
        }
    }

    async fn why(&self, job: Job) -> Result<String, StoreError> {
        if job == Job::CustomerSync {
            return Ok("customers wait at headquarters: for the customer sync job, or their operations have failed (rule X5)"
                .to_owned());
        }
        let name = if job == Job::Upload { "the P-job" } else { "1010" };
        if self.order(job).is_some_and(|order| order.schedule.held) {
            return Ok(format!("{name} is held (rule X8)"));
        }
        let runs = self.store.job_runs().await?;
        let failed = runs.into_iter().find(|run| run.job == job && !run.error.is_empty());
        Ok(match failed {
            Some(run) => format!("{name} fails: {} (rule X9)", run.error),
            None => format!("{name} moves nothing (rule X10)"),
        })
    }
}
