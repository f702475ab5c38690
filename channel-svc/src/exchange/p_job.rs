//! P-job: brings the channel's operations to headquarters, page by page. Each is answered on its own, and only
//! what has been answered is cleared (rule X4).

use std::{sync::Arc, time::Duration};

use prost::Message as _;
use tillsync_proto::{
    CustomerId, Job, SessionState,
    pb::{
        common,
        hq::{OperationResult, UploadOperationsResponse},
    },
};
use tokio::time::timeout;

use super::{Exchange, JobError, Moved};
use crate::{
    log::{entry::operation, slices},
    planted::planted,
    store::{Advance, Batch, Incoming, Store, StoreError},
};

/// Most operations of a page, and their bytes unless a single one has more: well below the 4 MiB of a message.
const PAGE_OPERATIONS: usize = 1_000;
const PAGE_BYTES: usize = 3 * 1024 * 1024;

/// How long a run waits for the tables to hold what is logged; then it brings what they do hold.
pub(super) const TABLES: Duration = Duration::from_secs(5);

impl<S: Store> Exchange<S> {
    /// Brings what was logged and applied before the run began.
    pub(super) async fn upload(&self) -> Result<Moved, JobError> {
        self.log.level(&self.store).await?;
        // What has been brought is in the tables, so that an account number in the answer finds its customer.
        let _ = timeout(TABLES, self.tail.applied()).await;
        let goal = self.store.table_progress().await?.applied_through;
        let mut moved = Moved::default();
        let mut page = self.page(self.store.log_progress().await?.uploaded_through, goal).await?;
        while let Some(last) = page.last().map(|operation| operation.counter) {
            let bytes = page.iter().map(prost::Message::encoded_len).sum();
            self.runs.came(Job::Upload, SessionState::Available, moved);
            // The next page is read while this one is on its way.
            let (answered, next) = tokio::join!(self.bring(page), self.page(last, goal));
            let (answered, through) = answered?;
            moved.add(answered, bytes);
            self.runs.came(Job::Upload, SessionState::Uploaded, moved);
            page = if through == last { next? } else { self.page(through, goal).await? };
        }
        Ok(moved)
    }

    /// The oldest operations after one, up to another.
    async fn page(&self, after: u64, goal: u64) -> Result<Vec<common::Operation>, JobError> {
        let (mut page, mut bytes) = (Vec::new(), 0);
        for row in self.store.read_operations(after).await? {
            for (seq, entry) in slices(&row)?.into_iter().filter(|(seq, _)| *seq > after) {
                let Some(operation) = operation(seq, entry).map_err(StoreError::from)? else { continue };
                bytes += operation.encoded_len() + 8;
                let full = page.len() == PAGE_OPERATIONS || (bytes > PAGE_BYTES && !page.is_empty());
                if full || seq > goal {
                    return Ok(page);
                }
                page.push(operation);
            }
        }
        Ok(page)
    }

    /// Brings one page; gives how many operations were answered, and up to which they need not be sent again.
    async fn bring(&self, page: Vec<common::Operation>) -> Result<(usize, u64), JobError> {
        let asked: Vec<(u64, String)> =
            page.iter().map(|operation| (operation.counter, operation.customer_id.clone())).collect();
        let answer = self.hq.upload(page).await?;
        if answer.epoch.is_empty() {
            return Err(JobError::Answer("without an epoch"));
        }
        let known = self.store.log_progress().await?;
        let answered = answered(&asked, &answer);
        self.name(&asked, &answer, answered).await?;
        // Another database took them than took those before: it may lack them, so all are sent again.
        let other = !known.epoch.is_empty() && known.epoch != answer.epoch;
        let cleared = if planted("the whole page is cleared") { asked.len() } else { answered };
        let through = match cleared.checked_sub(1).and_then(|last| asked.get(last)) {
            _ if other => 0,
            Some((counter, _)) => *counter,
            None => return Err(JobError::Answer("none of the operations")),
        };
        self.store.set_uploaded(through, &answer.epoch).await?;
        self.metrics.uploaded(answered);
        Ok((answered, through))
    }

    /// Applies the account numbers of customers that are real already.
    async fn name(
        &self,
        asked: &[(u64, String)],
        answer: &UploadOperationsResponse,
        answered: usize,
    ) -> Result<(), JobError> {
        let numbers = asked.iter().zip(&answer.outcomes).take(answered).filter_map(|((_, id), outcome)| {
            let id: CustomerId = id.parse().ok()?;
            let number = outcome.account_number.clone();
            (!number.is_empty()).then_some(Incoming::Account(id, number))
        });
        let batch = Batch { incoming: numbers.collect(), advance: Advance::Contact { at: self.now() } };
        let applied = self.store.apply(Arc::new(batch)).await?;
        self.watchers.changed(&applied.changed);
        self.named(&applied.named);
        Ok(())
    }
}

/// How many operations have been answered, from the first on and without a gap.
fn answered(asked: &[(u64, String)], answer: &UploadOperationsResponse) -> usize {
    let pairs = asked.iter().zip(&answer.outcomes);
    pairs
        .take_while(|((counter, _), outcome)| {
            outcome.counter == *counter && outcome.result() != OperationResult::Unspecified
        })
        .count()
}
