//! A customer was erased at headquarters: nothing of it stays in the tables, in the log, or in memory (rule Z5).

use std::{collections::HashSet, sync::Arc};

use tillsync_proto::CustomerId;
use tokio::time::timeout;
use tracing::info;

use super::{Exchange, JobError};
use crate::{
    log::scrubbed,
    store::{Advance, Batch, Incoming, Store},
};

impl<S: Store> Exchange<S> {
    /// Erases the customers that a page says are erased. Called before the cursor moves past the page: if it is cut off, the
    /// page comes again.
    pub(super) async fn erase(&self, page: &[Incoming]) -> Result<(), JobError> {
        let erased: HashSet<CustomerId> = page
            .iter()
            .filter_map(|incoming| match incoming {
                Incoming::Entry(entry) if entry.row().is_ok_and(|row| row.is_erased()) => Some(entry.id()),
                Incoming::Entry(_) | Incoming::Account(..) => None,
            })
            .collect();
        if erased.is_empty() {
            return Ok(());
        }
        self.store.overwrite_freed(true).await?;
        let done = self.erase_all(page, &erased).await;
        self.store.overwrite_freed(false).await?;
        if done.is_ok() {
            info!(customers = erased.len(), "customers were erased");
        }
        done
    }

    async fn erase_all(&self, page: &[Incoming], erased: &HashSet<CustomerId>) -> Result<(), JobError> {
        // From here on nothing more is logged of them.
        let incoming = page
            .iter()
            .filter(|incoming| matches!(incoming, Incoming::Entry(entry) if erased.contains(&entry.id())))
            .cloned()
            .collect();
        let batch = Batch { incoming, advance: Advance::Contact { epoch: None, at: self.now() } };
        let applied = self.store.apply(Arc::new(batch)).await?;
        self.watchers.changed(&applied.changed);
        // What was decided before is committed, and has left the memory for the tables.
        self.log.settled().await?;
        timeout(super::p_job::TABLES, self.tail.applied()).await.map_err(|_| JobError::Behind)?;
        let mut after = 0;
        loop {
            let rows = self.store.read(after).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.through;
            let mut changed = Vec::new();
            for row in &rows {
                changed.extend(scrubbed(row, erased)?);
            }
            if !changed.is_empty() {
                self.store.rewrite(changed).await?;
            }
        }
    }
}
