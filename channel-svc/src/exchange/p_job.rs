//! P-job: brings the channel's operations to headquarters, page by page. Each is answered on its own, and only
//! what has been answered is cleared (rule X4).

use std::{sync::Arc, time::Duration};

use prost::Message as _;
use tillsync_proto::{
    CustomerId, Job, Micros, SessionState,
    pb::{
        common,
        hq::{OperationOutcome, OperationResult, UploadOperationsResponse},
    },
};
use tokio::time::timeout;

use super::{Exchange, JobError, Moved};
use crate::{
    log::{entry::operation, slices},
    planted::planted,
    store::{Advance, Batch, Incoming, LogProgress, Store, StoreError},
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
        let LogProgress { uploaded_through, mut epoch, .. } = self.store.log_progress().await?;
        let (mut moved, mut answered) = (Moved::default(), None);
        let mut page = self.page(uploaded_through, goal).await?;
        while let Some(last) = page.last().map(|operation| operation.counter) {
            let bytes = page.iter().map(prost::Message::encoded_len).sum();
            self.runs.came(Job::Upload, SessionState::Available, moved);
            // While this page is on its way the next is read, and what was answered to the one before is kept.
            let (answer, kept, next) =
                tokio::join!(self.bring(page, &epoch), self.keep(answered.take()), self.page(last, goal));
            if !kept? {
                return Ok(moved);
            }
            let answer = answer?;
            moved.add(answer.count, bytes);
            self.runs.came(Job::Upload, SessionState::Uploaded, moved);
            page = if answer.through == last { next? } else { self.page(answer.through, goal).await? };
            epoch.clone_from(&answer.epoch);
            answered = Some(answer);
        }
        self.keep(answered).await?;
        Ok(moved)
    }

    /// Waits until the tables hold everything that was acknowledged before, by whichever process.
    pub(super) async fn all_in_tables(&self) -> Result<(), JobError> {
        self.log.level(&self.store).await?;
        timeout(TABLES, self.tail.applied()).await.map_err(|_| JobError::Behind)
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

    /// Brings one page. `known` is the database that has answered until now.
    async fn bring(&self, page: Vec<common::Operation>, known: &str) -> Result<Answered, JobError> {
        let asked: Vec<(u64, String)> =
            page.iter().map(|operation| (operation.counter, operation.customer_id.clone())).collect();
        let answer = self.hq.upload(page, known).await?;
        if answer.epoch.is_empty() {
            return Err(JobError::Answer("without an epoch"));
        }
        let count = answered(&asked, &answer);
        // Another database than took those before, which it may lack: all are sent again, in their order.
        let other = !known.is_empty() && known != answer.epoch;
        let cleared = if planted("the whole page is cleared") { asked.len() } else { count };
        let through = match cleared.checked_sub(1).and_then(|last| asked.get(last)) {
            _ if other => 0,
            Some((counter, _)) => *counter,
            None => return Err(JobError::Answer("none of the operations")),
        };
        let numbers = numbers(&asked, &answer, count);
        let (known, epoch) = (known.to_owned(), answer.epoch);
        Ok(Answered { count, through, numbers, known, epoch, at: self.now() })
    }

    /// Keeps what was answered to a page: the account numbers of customers that are real already, and up to where nothing
    /// need be sent again. False: 1010 has found another database meanwhile, and has set from where all is sent again.
    async fn keep(&self, answered: Option<Answered>) -> Result<bool, JobError> {
        let Some(Answered { count, through, numbers, known, epoch, at }) = answered else { return Ok(true) };
        // A terminal's operations are taken by its store, and its feed is headquarters'.
        let first = if known.is_empty() { &epoch } else { &known };
        let advance = Advance::Contact { epoch: (!self.terminal).then(|| first.clone()), at };
        let batch = Batch { incoming: numbers, advance };
        let applied = self.store.apply(Arc::new(batch)).await?;
        self.watchers.changed(&applied.changed);
        self.named(&applied.named);
        if self.store.log_progress().await?.epoch != known {
            return Ok(false);
        }
        self.store.set_uploaded(through, &epoch).await?;
        self.metrics.uploaded(count);
        Ok(true)
    }
}

/// What headquarters has answered to a page.
struct Answered {
    /// How many operations.
    count: usize,
    /// Up to here they need not be sent again.
    through: u64,
    /// The account numbers of those that are real.
    numbers: Vec<Incoming>,
    /// The headquarters database that had answered before, and the one that has now.
    known: String,
    epoch: String,
    /// When.
    at: Micros,
}

/// The account numbers of customers that are real already.
fn numbers(asked: &[(u64, String)], answer: &UploadOperationsResponse, answered: usize) -> Vec<Incoming> {
    let number = |((_, id), outcome): (&(u64, String), &OperationOutcome)| {
        let id: CustomerId = id.parse().ok()?;
        let number = outcome.account_number.clone();
        (!number.is_empty()).then_some(Incoming::Account(id, number))
    };
    asked.iter().zip(&answer.outcomes).take(answered).filter_map(number).collect()
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
