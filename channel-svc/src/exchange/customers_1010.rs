//! 1010: brings customers down. Rows and cursor are saved in one transaction; a row applies only if it is newer
//! (rule X7).

use std::sync::Arc;

use prost::Message as _;
use tillsync_proto::{
    Job, SessionState,
    pb::{common::FeedCursor, hq::ListCustomerChangesResponse},
};

use super::{Exchange, JobError, Moved};
use crate::{
    log::entry::{Entry, Row},
    rts,
    store::{Advance, Batch, Incoming, Store},
};

impl<S: Store> Exchange<S> {
    /// Applies pages until the channel is level with headquarters as it was when the run began.
    pub(super) async fn customers_1010(&self) -> Result<Moved, JobError> {
        let (mut moved, mut unreadable, mut goal) = (Moved::default(), 0, None);
        let progress = self.store.table_progress().await?;
        let mut cursor = FeedCursor { epoch: progress.feed_epoch, version: progress.feed_version };
        let mut fetched = None;
        loop {
            let page = match fetched.take() {
                Some(page) => page,
                None => self.hq.changes(cursor.clone()).await?,
            };
            if let Some(resync) = page.resync {
                let start = resync.cursor.ok_or(JobError::Answer("a resync without a cursor"))?;
                if start == cursor {
                    return Err(JobError::Answer("a resync to where the channel is"));
                }
                // Seldom, and large: not in the future of every run.
                Box::pin(self.bring_lost(&start, &resync.continues)).await?;
                self.start_anew(start.clone(), page.head_version, resync.arrived_through).await?;
                (cursor, goal) = (start, None);
                continue;
            }
            let next = page.next_cursor.clone().ok_or(JobError::Answer("changes without a cursor"))?;
            if next.epoch.is_empty() {
                return Err(JobError::Answer("changes without an epoch"));
            }
            let goal = *goal.get_or_insert(page.head_version);
            self.runs.came(Job::Customers1010, SessionState::Downloaded, moved);
            let bytes = page.encoded_len();
            let more = next.version < goal && next != cursor;
            // The next page comes while this one is applied.
            let following = async { if more { Some(self.hq.changes(next.clone()).await) } else { None } };
            let (applied, following) = tokio::join!(self.apply_page(page, &next), following);
            let (applied, skipped) = applied?;
            moved.add(applied, if applied > 0 { bytes } else { 0 });
            unreadable += skipped;
            if !more {
                break;
            }
            fetched = following.transpose()?;
            cursor = next;
        }
        if unreadable > 0 { Err(JobError::Unreadable(unreadable)) } else { Ok(moved) }
    }

    /// Headquarters' database is another one, or older than what was seen: the feed is read from the given
    /// place, and every operation is sent again that is still held and has not arrived there. Those of a terminal stand
    /// in its store.
    async fn start_anew(&self, start: FeedCursor, head: u64, arrived: Option<u64>) -> Result<(), JobError> {
        let log = self.store.log_progress().await?;
        if !self.terminal && !log.epoch.is_empty() && log.epoch != start.epoch {
            let through = arrived.unwrap_or_default().min(log.uploaded_through);
            self.store.set_uploaded(through, &start.epoch).await?;
        }
        let (epoch, version) = (start.epoch, start.version);
        let advance = Advance::Feed { epoch, version, head: head.max(version + 1), at: self.now() };
        self.store.apply(Arc::new(Batch { incoming: Vec::new(), advance })).await?;
        self.report.notify_one();
        Ok(())
    }

    /// Applies a page; gives how many rows it moved, and how many it could not read. One that cannot be read
    /// stops nobody else (rule X5).
    async fn apply_page(
        &self,
        page: ListCustomerChangesResponse,
        next: &FeedCursor,
    ) -> Result<(usize, u64), JobError> {
        // What a terminal has brought to its store is in what comes back from there, or will be: it is served here only
        // while the store cannot be asked.
        let included = match self.terminal {
            true => Some(self.store.log_progress().await?.uploaded_through),
            false => None,
        };
        let (mut incoming, mut unreadable) = (Vec::with_capacity(page.records.len()), 0);
        for record in page.records {
            let row = record.read().ok().and_then(|record| rts::row(Some(record), &next.epoch).ok());
            match row {
                Some(row) => {
                    let row = Row { included: included.unwrap_or(row.included), ..row };
                    incoming.push(Incoming::Entry(Arc::new(Entry::new(row))));
                }
                None => {
                    unreadable += 1;
                    self.metrics.unreadable();
                }
            }
        }
        Box::pin(self.erase(&incoming)).await?;
        let moved = incoming.len();
        let (epoch, version, head) = (next.epoch.clone(), next.version, page.head_version);
        let advance = Advance::Feed { epoch, version, head, at: self.now() };
        let applied = self.store.apply(Arc::new(Batch { incoming, advance })).await?;
        self.watchers.changed(&applied.changed);
        self.named(&applied.named);
        Ok((moved, unreadable))
    }
}
