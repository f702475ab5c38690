//! The one task that writes to the log. It also decides whether a create under a GUID of the caller's is a
//! repeat (rule M9), because here all creates pass, one after the other.

use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
    time::Duration,
};

use service_kit::{
    config::Chain,
    group::{Batches, Group, GroupError, group},
};
use tillsync_proto::CustomerId;
use tokio::time::timeout;
use tracing::error;

use super::{Tail, entry::Entry, pack::pack, tail::together, unpack};
use crate::{
    metrics::Metrics,
    store::{Store, StoreError},
    watchers::Watchers,
};

/// Creates that may wait for a commit; at the bound they are refused.
const QUEUE: usize = 8_192;
/// Most entries of one commit.
const BATCH: usize = 512;
/// How long a batch waits for room in the tail before it is refused: longer than any batch of the follower.
const ROOM: Duration = Duration::from_secs(2);

/// Something to append.
struct Item {
    entry: Arc<Entry>,
    /// The GUID came from the caller, so it may be a repeat.
    check: bool,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Appended {
    /// It stands in the log for good.
    New(Arc<Entry>),
    /// It was there already: nothing was written. What is known of it now.
    Known(Arc<Entry>),
    /// The GUID belongs to a customer with other content: nothing was written.
    Taken,
}

/// Why nothing was appended, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LogError {
    /// A bound was reached; nothing was done.
    #[error("too many creates are waiting")]
    Full,
    /// The service stops.
    #[error("the service is stopping")]
    Stopped,
    /// The database failed. What the caller sent may have been kept: a repeat under the same GUID tells.
    #[error("the log could not be written")]
    Failed,
}

/// The callers' end of the log.
#[derive(Clone)]
pub(crate) struct Log {
    group: Group<Item, Result<Appended, LogError>>,
}

impl Log {
    /// Appends an entry; with `check` only if its GUID is not known. Returns after the commit (rule M8). Once
    /// queued, the entry is appended even if the caller goes away.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub async fn append(&self, entry: Entry, check: bool) -> Result<Appended, LogError> {
        let item = Item { entry: Arc::new(entry), check };
        match self.group.submit(item).await {
            Ok(result) => result,
            Err(GroupError::Full) => Err(LogError::Full),
            Err(GroupError::Stopped) => Err(LogError::Stopped),
        }
    }
}

/// The task's end.
pub(crate) struct Appender<S> {
    store: S,
    tail: Arc<Tail>,
    watchers: Arc<Watchers>,
    metrics: Metrics,
    batches: Batches<Item, Result<Appended, LogError>>,
    /// The newest entry that the tail has been given.
    newest: u64,
    /// A commit failed: the log may hold entries that the tail has not been given.
    uncertain: bool,
}

impl<S: Store> Appender<S> {
    /// A log whose newest entry is `newest`.
    pub fn new(
        store: S,
        tail: Arc<Tail>,
        watchers: Arc<Watchers>,
        metrics: Metrics,
        newest: u64,
    ) -> (Log, Self) {
        let (group, batches) = group(QUEUE, BATCH);
        (Log { group }, Self { store, tail, watchers, metrics, batches, newest, uncertain: false })
    }

    /// Appends until every [`Log`] is gone.
    pub async fn run(mut self) {
        while let Some((items, replies)) = self.batches.next().await {
            let count = items.len();
            let committed = match timeout(ROOM, self.tail.room()).await {
                Err(_) => Err(LogError::Full),
                Ok(()) => self.commit(items).await,
            };
            match committed {
                Ok((verdicts, appended)) => {
                    replies.send(verdicts.into_iter().map(Ok));
                    self.watchers.changed(&appended);
                    self.metrics.appended(appended.len(), self.tail.len());
                }
                Err(error) => replies.send((0..count).map(|_| Err(error.clone()))),
            }
        }
    }

    async fn commit(&mut self, items: Vec<Item>) -> Result<(Vec<Appended>, Vec<CustomerId>), LogError> {
        let failed = |error: StoreError| {
            error!(error = %Chain(&error), "the log failed");
            LogError::Failed
        };
        if self.uncertain {
            self.catch_up().await.map_err(failed)?;
            self.uncertain = false;
        }
        let known = self.known(&items).await.map_err(failed)?;
        let (verdicts, new) = decide(items, known);
        if new.is_empty() {
            return Ok((verdicts, Vec::new()));
        }
        let first = self.newest + 1;
        if let Err(error) = self.store.append(pack(first, &new)).await {
            // A connection that is lost at the commit leaves the outcome open.
            self.uncertain = true;
            return Err(failed(error));
        }
        self.newest += u64::try_from(new.len()).unwrap_or_default();
        let appended = new.iter().map(|entry| entry.id()).collect();
        // Before the callers are answered: what they have been told, everybody can read.
        self.tail.push((first..).zip(new));
        Ok((verdicts, appended))
    }

    /// What is known of the GUIDs that callers have sent: from the tail first, then from the tables, so that
    /// an entry on its way from one to the other is not missed.
    async fn known(&self, items: &[Item]) -> Result<HashMap<CustomerId, Arc<Entry>>, StoreError> {
        let mut known = HashMap::new();
        let ids: Vec<CustomerId> =
            items.iter().filter(|item| item.check).map(|item| item.entry.id()).collect();
        if ids.is_empty() {
            return Ok(known);
        }
        known.extend(ids.iter().filter_map(|id| Some((*id, self.tail.get(*id)?))));
        for row in self.store.rows(&ids).await? {
            let id = row.customer.id;
            let tail = known.get(&id).map(AsRef::as_ref);
            known.extend(together(Some(row), tail).map(|row| (id, Arc::new(Entry::new(row)))));
        }
        Ok(known)
    }

    /// Gives the tail what the log holds beyond it.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        loop {
            let rows = self.store.read(self.newest).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in rows {
                let mut entries = unpack(&row)?;
                entries.retain(|(seq, _)| *seq > self.newest);
                self.tail.push(entries);
                self.newest = row.through;
            }
        }
    }
}

/// The verdict for each item, and the entries to append.
fn decide(items: Vec<Item>, mut known: HashMap<CustomerId, Arc<Entry>>) -> (Vec<Appended>, Vec<Arc<Entry>>) {
    let mut new = Vec::with_capacity(items.len());
    let verdicts = items.into_iter().map(|Item { entry, check }| {
        if check {
            match known.entry(entry.id()) {
                hash_map::Entry::Occupied(there) => {
                    let asked = entry.row.origin.as_ref().map(|origin| origin.fingerprint);
                    return match asked.is_none_or(|fingerprint| there.get().row.repeats(fingerprint)) {
                        true => Appended::Known(Arc::clone(there.get())),
                        false => Appended::Taken,
                    };
                }
                hash_map::Entry::Vacant(place) => {
                    place.insert(Arc::clone(&entry));
                }
            }
        }
        new.push(Arc::clone(&entry));
        Appended::New(entry)
    });
    let verdicts = verdicts.collect();
    (verdicts, new)
}
