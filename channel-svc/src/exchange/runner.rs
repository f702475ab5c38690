//! When a job runs: by its schedule, or when headquarters asks, and never twice at a time (rule X8).

use std::sync::Arc;

use service_kit::config::Chain;
use tillsync_proto::{Job, JobRun, Micros, SessionState};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Exchange, JOBS, Order};
use crate::store::Store;

/// Runs a job again and again until the token is cancelled. `ended`: when the last run did, or the service began; whoever
/// starts the jobs anew does not put off what is due.
pub(super) async fn run<S: Store>(
    exchange: &Arc<Exchange<S>>,
    job: Job,
    ended: &mut Instant,
    stop: &CancellationToken,
) {
    let Some(place) = JOBS.iter().position(|known| *known == job) else { return };
    let mut orders = exchange.orders.subscribe();
    // The last request that was carried out, from the tables: a restart must not repeat it.
    let mut carried_out = exchange.last_request(job).await;
    let mut failing = false;
    loop {
        let order = orders.borrow_and_update()[place];
        let mut due = pause(exchange, *ended, &order);
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
                        due = pause(exchange, *ended, &order);
                    }
                }
            }
        };
        let started_at = exchange.now();
        let canceled = canceled(&mut orders, place, request, started_at);
        let running = exchange.run_once(job, request, started_at, canceled);
        let Some(run) = stop.run_until_cancelled(running).await else { return };
        *ended = exchange.clock.now();
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

/// Waits until a run is canceled: by its request, or a scheduled one by its start.
async fn canceled(
    orders: &mut watch::Receiver<[Order; JOBS.len()]>,
    place: usize,
    request: u64,
    started_at: Micros,
) {
    let canceled = |order: &Order| match request {
        0 => order.canceled_start >= Some(started_at),
        _ => order.canceled_through >= request,
    };
    if orders.wait_for(|orders| canceled(&orders[place])).await.is_err() {
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
        started_at: Micros,
        canceled: impl Future<Output = ()>,
    ) -> JobRun {
        let (running, begun) = (self.runs.begin(job, request, started_at), self.clock.now());
        let result = tokio::select! {
            result = self.try_once(job) => Some(result),
            () = canceled => None,
        };
        let elapsed = self.clock.now().saturating_duration_since(begun);
        let (moved, state, error) = match result {
            Some(Ok(moved)) => (moved, SessionState::Applied, String::new()),
            // What was moved before it stays moved.
            Some(Err(error)) => (running.moved(), error.state(job), error.to_string()),
            None => (running.moved(), SessionState::Canceled, String::new()),
        };
        let (rows, bytes) = (moved.rows, moved.bytes);
        let run = JobRun { job, run_request: request, started_at, elapsed, state, rows, bytes, error };
        if let Err(error) = self.store.save_run(&run).await {
            error!(error = %Chain(&error), "the run of a job cannot be kept");
        }
        if running.end(&run) {
            self.report.notify_one();
        }
        run
    }
}
