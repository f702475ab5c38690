//! 1010: brings customers down. Rows and cursor are saved in one transaction; a row applies only if it is newer
//! (rule X7).

use std::sync::Arc;

use prost::Message as _;
use tillsync_proto::{
    Job, SessionState,
    feed::FeedRecord,
    pb::{common::FeedCursor, hq::Resync},
};
use tokio::task::yield_now;

use super::{Exchange, JobError, Moved};
use crate::{
    log::entry::{Entry, Row},
    rts,
    store::{Advance, Batch, Incoming, Store},
};

/// Records that are read without a break: others wait for the thread, among them the page that is applied meanwhile.
const AT_ONCE: usize = 64;

/// A page of changes, read.
struct Page {
    incoming: Vec<Incoming>,
    /// Records that could not be read.
    unreadable: u64,
    bytes: usize,
    next: FeedCursor,
    head: u64,
}

/// What headquarters answers.
enum Told {
    Page(Page),
    /// Start anew; and its newest version.
    Resync(Resync, u64),
}

impl<S: Store> Exchange<S> {
    /// Applies pages until the channel is level with headquarters as it was when the run began.
    pub(super) async fn customers_1010(&self) -> Result<Moved, JobError> {
        let (mut moved, mut unreadable, mut goal) = (Moved::default(), 0, None);
        let mut progress = self.store.table_progress().await?;
        if progress.feed_epoch.is_empty() {
            // What headquarters has told by another way says which database it was: a restored one gets it back.
            self.all_in_tables().await?;
            progress = self.store.table_progress().await?;
        }
        let mut cursor = FeedCursor { epoch: progress.feed_epoch, version: progress.feed_version };
        let (mut fetched, mut new) = (None, false);
        loop {
            let told = match fetched.take() {
                Some(told) => told,
                None => self.fetch(&cursor, new).await?,
            };
            let page = match told {
                Told::Page(page) => page,
                Told::Resync(resync, head) => {
                    let start = resync.cursor.ok_or(JobError::Answer("a resync without a cursor"))?;
                    if start == cursor {
                        return Err(JobError::Answer("a resync to where the channel is"));
                    }
                    // Seldom, and large: not in the future of every run.
                    Box::pin(self.bring_lost(&start, &resync.continues)).await?;
                    self.start_anew(start.clone(), head, resync.arrived_through).await?;
                    (cursor, goal) = (start, None);
                    continue;
                }
            };
            let (next, bytes, skipped) = (page.next.clone(), page.bytes, page.unreadable);
            let goal = *goal.get_or_insert(page.head);
            self.runs.came(Job::Customers1010, SessionState::Downloaded, moved);
            let more = next.version < goal && next != cursor;
            // The next page comes, and is read, while this one is applied.
            let following = async { if more { Some(self.fetch(&next, new).await) } else { None } };
            let (applied, following) = tokio::join!(self.apply_page(page), following);
            let (applied, named) = applied?;
            new = named < applied / 2;
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

    /// Asks for the changes after a cursor, and reads them. One that cannot be read stops nobody else (rule X5).
    /// `new`: most of them are of customers that this channel does not know.
    async fn fetch(&self, cursor: &FeedCursor, new: bool) -> Result<Told, JobError> {
        let page = self.hq.changes(cursor.clone()).await?;
        if let Some(resync) = page.resync {
            return Ok(Told::Resync(resync, page.head_version));
        }
        let bytes = page.encoded_len();
        let next = page.next_cursor.ok_or(JobError::Answer("changes without a cursor"))?;
        if next.epoch.is_empty() {
            return Err(JobError::Answer("changes without an epoch"));
        }
        // What a terminal has brought to its store is in what comes back from there, or will be: it is served here only
        // while the store cannot be asked.
        let included = match self.terminal {
            true => Some(self.store.log_progress().await?.uploaded_through),
            false => None,
        };
        let incoming = read(page.records, &next.epoch, included, new).await;
        let unreadable = incoming.iter().filter(|incoming| incoming.is_none()).count();
        (0..unreadable).for_each(|_| self.metrics.unreadable());
        let incoming = incoming.into_iter().flatten().collect();
        let unreadable = u64::try_from(unreadable).unwrap_or(u64::MAX);
        Ok(Told::Page(Page { incoming, unreadable, bytes, next, head: page.head_version }))
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

    /// Applies a page; gives how many rows it moved, and to how many customers it has brought their account numbers.
    async fn apply_page(&self, page: Page) -> Result<(usize, usize), JobError> {
        let Page { incoming, next: FeedCursor { epoch, version }, head, .. } = page;
        Box::pin(self.erase(&incoming)).await?;
        let moved = incoming.len();
        let advance = Advance::Feed { epoch, version, head, at: self.now() };
        let applied = self.store.apply(Arc::new(Batch { incoming, advance })).await?;
        self.watchers.changed(&applied.changed);
        self.named(&applied.named);
        Ok((moved, applied.named.len()))
    }
}

/// Reads records; none in the place of one that cannot be read. `new`: what the tables keep of one that is new is worked out
/// here, beside the page before it, and not between two statements.
async fn read(
    records: Vec<FeedRecord>,
    epoch: &str,
    included: Option<u64>,
    new: bool,
) -> Vec<Option<Incoming>> {
    let entry = |record: FeedRecord| {
        let row = rts::row(Some(record.read().ok()?), epoch).ok()?;
        let entry = Entry::new(Row { included: included.unwrap_or(row.included), ..row });
        if new {
            entry.prepare();
        }
        Some(Incoming::Entry(Arc::new(entry)))
    };
    let mut read = Vec::with_capacity(records.len());
    for record in records {
        read.push(entry(record));
        if read.len() % AT_ONCE == 0 {
            yield_now().await;
        }
    }
    read
}
