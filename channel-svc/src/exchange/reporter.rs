//! Tells headquarters how the channel is, every second and after each run that is worth it (rule S2).

use std::time::Duration;

use tillsync_proto::JobRun;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Exchange, JobError};
use crate::store::Store;

/// Between two reports, if no run has ended.
const INTERVAL: Duration = Duration::from_secs(1);
/// At least, between two reports.
const BREATH: Duration = Duration::from_millis(20);

/// Reports until the token is cancelled.
pub(super) async fn run<S: Store>(exchange: &Exchange<S>, stop: &CancellationToken) {
    loop {
        if let Some(Err(error)) = stop.run_until_cancelled(exchange.report()).await {
            debug!(%error, "the status cannot be reported");
            let _ = timeout(INTERVAL, stop.cancelled()).await;
        }
        let pause = async {
            sleep(BREATH).await;
            let _ = timeout(INTERVAL, exchange.report.notified()).await;
        };
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

impl<S: Store> Exchange<S> {
    /// Reports once.
    async fn report(&self) -> Result<(), JobError> {
        let status = self.status().await?;
        let (ended, running) = self.runs.get(self.now());
        let wire = |runs: &[JobRun]| runs.iter().map(Into::into).collect();
        self.hq.report(status, wire(&ended), wire(&running)).await?;
        self.runs.reported(&ended);
        Ok(())
    }
}
