//! Listens for schedules and for requests to run now. What was last told is kept, so that "held" survives a
//! restart and an absence of headquarters.

use std::time::Duration;

use service_kit::retry::Backoff;
use tillsync_proto::{convert, pb::hq::WatchJobsResponse};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Exchange, JOBS, JobError, Order, headquarters::failed};
use crate::store::{Setting, Store};

/// Listens until the token is cancelled, again and again.
pub(super) async fn run<S: Store>(exchange: &Exchange<S>, stop: &CancellationToken) {
    let mut backoff = Backoff::new(exchange.ids.clone(), Duration::from_millis(50), Duration::from_secs(2));
    loop {
        let listening = exchange.listen(&mut backoff);
        match stop.run_until_cancelled(listening).await {
            None => return,
            Some(Ok(())) => debug!("headquarters ended the schedules"),
            Some(Err(error)) => debug!(%error, "headquarters tells no schedules"),
        }
        let pause = tokio::time::sleep(backoff.pause());
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

impl<S: Store> Exchange<S> {
    async fn listen(&self, backoff: &mut Backoff) -> Result<(), JobError> {
        let mut told = self.hq.watch().await?;
        loop {
            let next = told.message().await;
            let next = next.map_err(|status| failed(&status))?;
            let Some(next) = next else { return Ok(()) };
            backoff.reset();
            self.told(&next).await?;
        }
    }

    /// Takes what headquarters has told about one job.
    async fn told(&self, told: &WatchJobsResponse) -> Result<(), JobError> {
        let schedule = told.schedule.as_ref().ok_or(JobError::Answer("no schedule"))?;
        let schedule = match convert::schedule(schedule) {
            Ok(schedule) => schedule,
            Err(violations) => {
                warn!(%violations, "headquarters told a schedule that cannot be kept");
                return Ok(());
            }
        };
        // The customer sync job runs at headquarters.
        let Some(place) = JOBS.iter().position(|job| *job == schedule.job) else { return Ok(()) };
        let order = Order {
            schedule,
            run_request: Some(told.run_request),
            canceled_through: told.canceled_through,
            canceled_start: told.canceled_start_time.as_ref().map(|time| convert::micros(Some(time))),
        };
        if self.orders.borrow()[place].schedule != schedule {
            self.store.save_setting(Setting::Schedule(schedule)).await?;
        }
        self.orders.send_if_modified(|orders| std::mem::replace(&mut orders[place], order) != order);
        Ok(())
    }
}
