//! When a job runs: by its schedule, or when headquarters asks, and never twice at a time (rule X8).

use std::sync::Arc;

use service_kit::config::Chain;
use tillsync_proto::{Job, JobRun, SessionState};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Exchange, JOBS, MAX_ENDED, Moved, Order};
use crate::store::Store;

/// Runs a job again and again until the token is cancelled.
pub(super) async fn run<S: Store>(exchange: &Arc<Exchange<S>>, job: Job, stop: &CancellationToken) {
    let Some(place) = JOBS.iter().position(|known| *known == job) else { return };
    let mut orders = exchange.orders.subscribe();
    // The last request that was carried out, from the tables: a restart must not repeat it.
    let mut carried_out = exchange.last_request(job).await;
    let mut failing = false;
    loop {
        let order = orders.borrow_and_update()[place];
        let begun = exchange.clock.now();
        let mut due = pause(exchange, begun, &order);
        let request = loop {
            let order = orders.borrow_and_update()[place];
            if let Some(asked) = order.run_request {
                // Headquarters counts anew: it is another database.
                carried_out = if asked < carried_out { 0 } else { carried_out };
                if asked > carried_out.max(order.canceled_through) {
                    break asked;
                }
            }
            let timer = async {
                match due {
                    Some((_, at)) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = timer => break 0,
                // The sender lives as long as the exchange.
                _ = orders.changed() => {
                    let order = orders.borrow()[place];
                    if due.map(|(schedule, _)| schedule) != Some(order.schedule) {
                        due = pause(exchange, begun, &order);
                    }
                }
            }
        };
        let running = exchange.run_once(job, request, canceled(&mut orders, place, request));
        let Some(run) = stop.run_until_cancelled(running).await else { return };
        if request != 0 {
            carried_out = request;
        }
        match (run.error.is_empty(), failing) {
            (false, false) => warn!(job = job.name(), error = run.error, "a job fails"),
            (true, true) => info!(job = job.name(), "a job works again"),
            _ => {}
        }
        failing = !run.error.is_empty();
    }
}

/// Waits until a request is canceled. A scheduled run never is.
async fn canceled(orders: &mut watch::Receiver<[Order; JOBS.len()]>, place: usize, request: u64) {
    if request == 0 || orders.wait_for(|orders| orders[place].canceled_through >= request).await.is_err() {
        std::future::pending().await
    }
}

/// The schedule and when it is due; `None` while it is held.
fn pause<S>(
    exchange: &Exchange<S>,
    since: Instant,
    order: &Order,
) -> Option<(tillsync_proto::Schedule, Instant)> {
    let schedule = order.schedule;
    let stretch = 1.0 + schedule.jitter * exchange.ids.fraction();
    (!schedule.held).then(|| (schedule, since + schedule.interval.mul_f64(stretch)))
}

impl<S: Store> Exchange<S> {
    async fn last_request(&self, job: Job) -> u64 {
        match self.store.job_runs().await {
            Ok(runs) => runs.iter().find(|run| run.job == job).map_or(0, |run| run.run_request),
            Err(error) => {
                error!(error = %Chain(&error), "the last runs cannot be read");
                0
            }
        }
    }

    /// Runs a job once, keeps the run, and reports it if it moved rows, failed, or was asked for.
    pub(super) async fn run_once(
        &self,
        job: Job,
        request: u64,
        canceled: impl Future<Output = ()>,
    ) -> JobRun {
        let (started_at, begun) = (self.now(), self.clock.now());
        let result = tokio::select! {
            result = self.try_once(job) => Some(result),
            () = canceled => None,
        };
        let elapsed = self.clock.now().saturating_duration_since(begun);
        let (Moved { rows, bytes }, state, error) = match result {
            Some(Ok(moved)) => (moved, SessionState::Applied, String::new()),
            Some(Err(error)) => (Moved::default(), error.state(job), error.to_string()),
            None => (Moved::default(), SessionState::Canceled, String::new()),
        };
        let run = JobRun { job, run_request: request, started_at, elapsed, state, rows, bytes, error };
        if let Err(error) = self.store.save_run(&run).await {
            error!(error = %Chain(&error), "the run of a job cannot be kept");
        }
        if run.is_session() {
            let mut ended = self.lock_ended();
            if ended.len() == MAX_ENDED {
                ended.pop_front();
            }
            ended.push_back(run.clone());
            drop(ended);
            self.report.notify_one();
        }
        run
    }
}
