//! Makes the tables of the log, in large batches: what costs in a create is random index pages, so they are
//! written after the answer, many at a time, in their own order.

use std::{sync::Arc, time::Duration};

use service_kit::{clock::Ids, config::Chain, retry::Backoff};
use tokio::{select, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    log::{Tail, unpack},
    metrics::Metrics,
    store::{Advance, Batch, Incoming, Store, StoreError},
    watchers::Watchers,
};

/// Most entries of one batch.
const BATCH: usize = 8_192;
/// From the beginning of a batch to the next, unless a full one waits or the P-job wants the tables. Nobody else waits for
/// them, because every read looks at the tail, and fuller batches touch each index page less often (`tillsync ceiling` gave
/// 0.36 with a second between two batches where 25 ms gave 0.28). The price: under load a search looks through a second's
/// creates in the tail, and after a crash a second of log is applied before anything is served.
const PAUSE: Duration = Duration::from_secs(1);

/// Applies the log to the tables.
#[derive(Clone)]
pub(crate) struct Follower<S> {
    /// The store.
    pub store: S,
    /// What has not been applied.
    pub tail: Arc<Tail>,
    /// Who is told.
    pub watchers: Arc<Watchers>,
    /// What is counted.
    pub metrics: Metrics,
    /// Chance, for pauses.
    pub ids: Ids,
}

impl<S: Store> Follower<S> {
    /// Applies until the token is cancelled. A batch that fails is tried again until it succeeds: meanwhile the
    /// tail fills up to its bound, and creates are refused.
    pub async fn run(self, stop: CancellationToken) {
        let mut backoff = Backoff::new(self.ids.clone(), Duration::from_millis(10), Duration::from_secs(5));
        while stop.run_until_cancelled(self.tail.grown()).await.is_some() {
            loop {
                let pause = sleep(PAUSE);
                match self.try_once().await {
                    Ok(0) => break,
                    Ok(applied) => {
                        backoff.reset();
                        if applied < BATCH {
                            select! {
                                () = pause => {}
                                () = self.tail.holds(BATCH) => {}
                                () = self.tail.wanted() => {}
                                () = stop.cancelled() => {}
                            }
                        }
                    }
                    Err(error) => {
                        error!(error = %Chain(&error), "the tables failed");
                        sleep(backoff.pause()).await;
                    }
                }
                if stop.is_cancelled() {
                    return;
                }
            }
        }
    }

    /// Applies one batch of the tail; gives its size.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; nothing has been applied.
    pub async fn try_once(&self) -> Result<usize, StoreError> {
        let entries = self.tail.oldest(BATCH);
        let Some((through, _)) = entries.last() else { return Ok(0) };
        let (through, size) = (*through, entries.len());
        let incoming = entries.into_iter().map(|(_, entry)| Incoming::Entry(entry)).collect();
        let batch = Batch { incoming, advance: Advance::Log { through } };
        let applied = self.store.apply(Arc::new(batch)).await?;
        // Only now: a read that no longer finds it in the tail finds it in the tables.
        self.tail.remove_through(through).await;
        self.watchers.changed(&applied.changed);
        self.metrics.applied(size, self.tail.len());
        Ok(size)
    }
}

/// Applies what the log holds and the tables lack, before anything is served. Gives the newest entry there is:
/// of the log, or of one that was there before it was pruned or lost.
///
/// # Errors
///
/// [`StoreError`].
pub(crate) async fn catch_up<S: Store>(store: &S) -> Result<u64, StoreError> {
    let mut through = store.table_progress().await?.applied_through;
    loop {
        let rows = store.read(through).await?;
        let Some(last) = rows.last() else { break };
        let newest = last.through;
        let mut incoming = Vec::new();
        for row in &rows {
            let entries = unpack(row)?.into_iter().filter(|(seq, _)| *seq > through);
            incoming.extend(entries.map(|(_, entry)| Incoming::Entry(entry)));
        }
        let batch = Batch { incoming, advance: Advance::Log { through: newest } };
        store.apply(Arc::new(batch)).await?;
        through = newest;
    }
    let log = store.log_progress().await?;
    Ok(through.max(log.newest).max(log.uploaded_through))
}
