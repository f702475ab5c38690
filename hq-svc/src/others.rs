//! What other processes on the same database have changed, where there may be some (PostgreSQL): orders for channels,
//! flags and definitions, number sequences.

use std::time::Duration;

use service_kit::config::Chain;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{error::Result, hq::Headquarters, store::Store};

/// How often it looks: so much later than the channels of the process that was told, the others hear of a change.
const LOOK: Duration = Duration::from_millis(500);

/// Looks again and again, until `shutdown`; at once ends where there are no others.
pub(crate) async fn run<S: Store>(hq: Headquarters<S>, shutdown: CancellationToken) {
    if !hq.store.lease().is_shared() {
        return;
    }
    while shutdown.run_until_cancelled(sleep(LOOK)).await.is_some() {
        if let Err(error) = hq.look_at_others().await {
            error!(error = %Chain(&error), "what other processes have changed cannot be read");
        }
    }
}

impl<S: Store> Headquarters<S> {
    /// Takes over what others have changed since the last time.
    ///
    /// # Errors
    ///
    /// The store's; it will be there the next time.
    pub async fn look_at_others(&self) -> Result<()> {
        let (schedules, requests) = (self.store.schedules().await?, self.store.run_requests().await?);
        self.board.refresh(schedules, requests);
        self.refresh_configuration().await?;
        Ok(self.store.refresh_sequences().await?)
    }
}
