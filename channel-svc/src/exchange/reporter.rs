//! Tells headquarters how the channel is, every second or more seldom, and after each run that is worth it (rule S2).

use std::time::Duration;

use tillsync_proto::{Job, JobRun};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Exchange, JobError};
use crate::store::Store;

/// Between two reports, if no run has ended: twice the interval of 1010, which is longer where many channels share one
/// headquarters, and within these.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5);
/// At least, between two reports.
const BREATH: Duration = Duration::from_millis(20);

/// Reports until the token is cancelled.
pub(super) async fn run<S: Store>(exchange: &Exchange<S>, stop: &CancellationToken) {
    loop {
        if let Some(Err(error)) = stop.run_until_cancelled(exchange.report()).await {
            debug!(%error, "the status cannot be reported");
            let _ = timeout(SHORTEST, stop.cancelled()).await;
        }
        let interval = exchange.report_interval();
        let pause = async {
            sleep(BREATH).await;
            let _ = timeout(interval, exchange.report.notified()).await;
        };
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

/// Between two reports where 1010 has this interval.
fn between(customers: Duration) -> Duration {
    (2 * customers).clamp(SHORTEST, LONGEST)
}

impl<S: Store> Exchange<S> {
    fn report_interval(&self) -> Duration {
        let orders = self.orders.borrow();
        let customers = orders.iter().find(|order| order.schedule.job == Job::Customers1010);
        customers.map_or(SHORTEST, |order| between(order.schedule.interval))
    }

    /// Reports once.
    async fn report(&self) -> Result<(), JobError> {
        let status = self.status().await?;
        let (ended, running) = self.runs.get(self.now());
        let wire = |runs: &[JobRun]| runs.iter().map(Into::into).collect();
        let epoch = self.hq.report(status, wire(&ended), wire(&running)).await?;
        self.runs.reported(&ended);
        // The store of this terminal is another one, or was restored from a backup: it may lack what it has taken.
        let known = if self.terminal { self.store.log_progress().await?.epoch } else { String::new() };
        if !known.is_empty() && !epoch.is_empty() && known != epoch {
            self.store.set_uploaded(0, &epoch).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_a_channel_reports_within_seconds_whatever_its_schedules() {
        let reports = [50, 500, 2_000, 86_400_000].map(|ms| between(Duration::from_millis(ms)).as_secs());
        assert_eq!(reports, [1, 1, 4, 5]);
    }
}
