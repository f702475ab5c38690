//! What other processes of the same channel have done to its database, where there may be some (PostgreSQL): what they
//! have logged, what of it stands in the tables, and what headquarters has told them.

use std::time::Duration;

use service_kit::{config::Chain, lease::Lease};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    customers::Customers,
    error::Error,
    store::{Store, StoreError, TableProgress},
};

/// How often it looks. A read looks by itself; this is for the follower, who makes tables of what all have logged, and for
/// whoever watches a customer.
const LOOK: Duration = Duration::from_millis(200);

/// Looks at what others do until the token is cancelled.
pub(crate) struct Others<S> {
    /// What reads look at.
    pub customers: Customers<S>,
    /// The tables as they were last seen.
    pub seen: TableProgress,
}

impl<S: Store> Others<S> {
    /// Looks again and again; at once ends where there are no others.
    pub async fn run(mut self, lease: Lease, stop: CancellationToken) {
        if !lease.is_shared() {
            return;
        }
        while stop.run_until_cancelled(sleep(LOOK)).await.is_some() {
            if let Err(error) = self.look(&lease).await {
                error!(error = %Chain(&error), "what other processes have done cannot be read");
            }
        }
    }

    /// Takes over what they have done since the last time.
    ///
    /// # Errors
    ///
    /// [`Error`]; it will be there the next time.
    pub async fn look(&mut self, lease: &Lease) -> Result<(), Error> {
        self.customers.level().await?;
        if lease.is_held() {
            // This process makes the tables, and hears what headquarters tells.
            return Ok(());
        }
        let tables = self.customers.store.table_progress().await?;
        let tail = &self.customers.tail;
        tail.remove_through(tables.applied_through).await;
        self.customers.metrics.applied(0, tail.len());
        if tables != self.seen {
            self.seen = tables;
            self.customers.watchers.all_changed();
        }
        Ok(self.told().await?)
    }

    /// What headquarters has told the others.
    async fn told(&self) -> Result<(), StoreError> {
        let (settings, current) = (self.customers.store.settings().await?, &self.customers.current);
        if *current.arrived() != settings {
            current.change(|known| *known = settings);
        }
        Ok(())
    }
}
