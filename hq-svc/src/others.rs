//! What other processes on the same database have changed, where there may be some (PostgreSQL): orders for channels,
//! flags and definitions, number sequences; and which channels listen to which process.

use std::{collections::BTreeSet, time::Duration};

use service_kit::config::Chain;
use tillsync_proto::ChannelId;
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
    let mut told = None;
    while shutdown.run_until_cancelled(sleep(LOOK)).await.is_some() {
        let done = async {
            hq.tell_others(&mut told).await?;
            hq.look_at_others().await
        };
        if let Err(error) = done.await {
            error!(error = %Chain(&error), "what other processes have changed cannot be read");
        }
    }
}

impl<S: Store> Headquarters<S> {
    /// Says which channels listen here, if that is not what was `told`, and that this process lives.
    async fn tell_others(&self, told: &mut Option<BTreeSet<ChannelId>>) -> Result<()> {
        let listening: BTreeSet<ChannelId> = self.board.connected().into_iter().collect();
        if told.as_ref() == Some(&listening) && self.store.tell_alive().await? {
            return Ok(());
        }
        let names: Vec<String> = listening.iter().map(|channel| channel.as_str().to_owned()).collect();
        self.store.tell_listening(&names).await?;
        *told = Some(listening);
        Ok(())
    }

    /// Takes over what others have changed since the last time.
    ///
    /// # Errors
    ///
    /// The store's; it will be there the next time.
    pub async fn look_at_others(&self) -> Result<()> {
        let set = self.board.schedules_set();
        let (schedules, requests) = (self.store.schedules().await?, self.store.run_requests().await?);
        self.board.refresh(set, schedules, requests);
        self.refresh_configuration().await?;
        Ok(self.store.refresh_sequences().await?)
    }
}
