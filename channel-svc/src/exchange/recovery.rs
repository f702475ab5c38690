//! Headquarters was restored from a backup: before the channel starts anew it brings what headquarters has lost. That is
//! what headquarters had told after the backup; what it had not told yet goes up as operations, which are sent again.

use std::collections::HashSet;

use prost::Message as _;
use tillsync_proto::{
    CustomerId,
    pb::common::{CustomerRecord, FeedCursor},
};

use super::{Exchange, JobError};
use crate::{
    log::{
        entry::{CreatePath, Entry, Origin, Row},
        unpack,
    },
    store::Store,
};

/// Customers that are read at once.
const PAGE: usize = 500;
/// Most customers that are brought at once, and their bytes.
const RECORDS: usize = 500;
const BYTES: usize = 2 << 20;

impl<S: Store> Exchange<S> {
    /// Brings the customers that headquarters, which begins anew at `start`, does not have from the databases that it
    /// continues. Doing it again is free of effect.
    pub(super) async fn bring_lost(
        &self,
        start: &FeedCursor,
        continues: &[FeedCursor],
    ) -> Result<(), JobError> {
        if self.terminal || continues.is_empty() {
            return Ok(());
        }
        self.all_in_tables().await?;
        let (mut lost, mut bytes, mut pending) = (Vec::new(), 0, HashSet::new());
        let mut after = None;
        loop {
            let rows = self.store.page(after, PAGE).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.customer.id);
            for row in rows {
                if row.is_create() && row.customer.is_pending() {
                    pending.insert(row.customer.id);
                }
                if !is_lost(&row, start, continues) {
                    continue;
                }
                let record = record(&row);
                bytes += record.encoded_len() + 8;
                if lost.len() == RECORDS || (bytes > BYTES && !lost.is_empty()) {
                    bytes = record.encoded_len() + 8;
                    self.hq.recover(std::mem::take(&mut lost)).await?;
                }
                lost.push(record);
            }
        }
        if !lost.is_empty() {
            self.hq.recover(lost).await?;
        }
        self.log_again(pending).await
    }

    /// Logs creates again that wait for headquarters and are not in the log any more: they had arrived there, and were
    /// lost with it.
    async fn log_again(&self, mut pending: HashSet<CustomerId>) -> Result<(), JobError> {
        let mut after = 0;
        while !pending.is_empty() {
            let rows = self.store.read_operations(after).await?;
            let Some(through) = rows.last().and_then(|row| row.operation_through) else { break };
            after = through;
            for row in &rows {
                for (_, entry) in unpack(row)?.into_iter().filter(|(_, entry)| entry.is_create()) {
                    pending.remove(&entry.id());
                }
            }
        }
        let pending: Vec<CustomerId> = pending.into_iter().collect();
        for ids in pending.chunks(PAGE) {
            for row in self.store.rows(ids).await? {
                let customer = row.customer;
                let fingerprint = row.origin.as_ref().map(|origin| origin.fingerprint);
                let path = row.origin.and_then(|origin| origin.path);
                let (content, own) = customer.content.into_wire();
                let origin = Origin {
                    fingerprint: fingerprint.unwrap_or(own),
                    path: path.or(Some(CreatePath::Async)),
                };
                let entry = Entry::create(customer.id, content, customer.created_at, &origin).0;
                self.log.append(entry, false).await?;
            }
        }
        Ok(())
    }
}

/// Whether headquarters has told this of a customer and does not know it any more.
fn is_lost(row: &Row, start: &FeedCursor, continues: &[FeedCursor]) -> bool {
    let Some(stamp) = &row.stamp else { return !row.customer.is_pending() };
    let known = continues.iter().find(|known| known.epoch == stamp.epoch);
    stamp.epoch != start.epoch && known.is_none_or(|known| stamp.version > known.version)
}

fn record(row: &Row) -> CustomerRecord {
    CustomerRecord {
        customer: Some((&row.customer).into()),
        version: row.stamp.as_ref().map_or(0, |stamp| stamp.version),
        included_counter: row.included,
        fingerprint: row
            .origin
            .as_ref()
            .map(|origin| origin.fingerprint.into_bytes().to_vec())
            .unwrap_or_default(),
    }
}
