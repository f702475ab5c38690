//! The one task that writes to the log. It also decides whether a create under a GUID of the caller's is a
//! repeat (rule M9), and makes edits to the present state of their customers, because here all of them pass, one
//! after the other.

use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
    time::Duration,
};

use service_kit::{
    config::Chain,
    damage::Trouble,
    group::{Batches, Group, GroupError, group},
};
use tillsync_proto::{Change, CustomerId, Micros, Previous, Violations};
use tokio::time::timeout;
use tracing::error;

use super::{
    Tail,
    entry::{Edit, Entry, EntryError, MAX_EDITS, Row},
    pack::pack,
    tail::together,
    unpack,
};
use crate::{
    metrics::Metrics,
    planted::planted,
    store::{LogStore, Store, StoreError},
    watchers::Watchers,
};

/// Creates that may wait for a commit; at the bound they are refused.
pub(crate) const QUEUE: usize = 4_096;
/// Most entries of one commit.
const BATCH: usize = 512;
/// So many commits after another process has appended, this one appends under the lock.
const CONTENDED: u32 = 64;
/// How long a batch waits for room in the tail before it is refused: longer than any batch of the follower.
const ROOM: Duration = Duration::from_secs(2);

/// Something to append.
enum Item {
    /// What headquarters has told, or a create whose GUID was minted here.
    New(Arc<Entry>),
    /// A create under a GUID that came from the caller, so it may be a repeat.
    Create(Arc<Entry>),
    /// An edit of a customer.
    Edit(Box<EditRequest>),
    /// Somebody who reads waits for the tail to hold everything up to this entry, which another process has appended.
    Reach(u64),
}

impl Item {
    /// Whose present state it depends on.
    fn depends_on(&self) -> Option<CustomerId> {
        match self {
            Self::New(_) | Self::Reach(_) => None,
            Self::Create(entry) => Some(entry.id()),
            Self::Edit(edit) => Some(edit.customer),
        }
    }
}

/// An edit to log (rules E1, E3).
pub(crate) struct EditRequest {
    /// Whose.
    pub customer: CustomerId,
    /// The customer as headquarters has it, for one that this store does not know.
    pub base: Option<Row>,
    /// What changes.
    pub change: Change,
    /// What its maker saw before; absent: what is there.
    pub previous: Option<Previous>,
    /// When it was made.
    pub made_at: Micros,
    /// Empty, or the customer's present version.
    pub etag: String,
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
    /// The edit cannot be made: nothing was written.
    Refused(EditRefusal),
    /// The customer has been erased: nothing was written.
    Erased,
    /// Nothing was asked to be written.
    Nothing,
}

/// Why an edit cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EditRefusal {
    /// Nobody knows the customer.
    Unknown,
    /// The customer has changed since the etag was read.
    Changed,
    /// What would be there breaks rules.
    Invalid(Violations),
    /// Too many edits of the customer wait for headquarters.
    TooMany,
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
    /// The same, because the database is full, or cannot be reached or used.
    #[error("{0}")]
    Database(Trouble),
}

/// The callers' end of the log.
#[derive(Clone)]
pub(crate) struct Log {
    tail: Arc<Tail>,
    group: Group<Item, Result<Appended, LogError>>,
}

impl Log {
    /// Refuses what would be refused if it were appended now, before any work is done for it: at the bound that work is
    /// what the tables need.
    ///
    /// # Errors
    ///
    /// [`LogError::Full`].
    pub fn check_room(&self) -> Result<(), LogError> {
        if self.group.is_full() { Err(LogError::Full) } else { Ok(()) }
    }

    /// Appends an entry; with `check` only if its GUID is not known. Returns after the commit (rule M8). Once
    /// queued, the entry is appended even if the caller goes away.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub async fn append(&self, entry: Entry, check: bool) -> Result<Appended, LogError> {
        let entry = Arc::new(entry);
        self.submit(if check { Item::Create(entry) } else { Item::New(entry) }).await
    }

    /// Makes an edit to the customer's present state and appends it; nothing comes in between. Returns after the
    /// commit. An edit that changes nothing is not written.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub async fn edit(&self, edit: EditRequest) -> Result<Appended, LogError> {
        self.submit(Item::Edit(Box::new(edit))).await
    }

    /// Sees to it that the tail holds everything that was acknowledged before, by whichever process of the channel. Called
    /// before a read looks at the tail.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub async fn level(&self, store: &impl LogStore) -> Result<(), LogError> {
        let newest = store.newest_of_all().await.map_err(|error| failed(&error))?;
        match newest {
            Some(newest) if newest > self.tail.newest() => self.submit(Item::Reach(newest)).await.map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Waits until everything is committed that was asked for before.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub async fn settled(&self) -> Result<(), LogError> {
        self.submit(Item::Reach(0)).await.map(|_| ())
    }

    async fn submit(&self, item: Item) -> Result<Appended, LogError> {
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
    /// A commit failed: the log may hold entries that the tail has not been given.
    uncertain: bool,
    /// Commits that are still made under the lock, because another process appends too.
    contended: u32,
}

impl<S: Store> Appender<S> {
    /// A log, of which the tail knows the newest entries.
    pub fn new(store: S, tail: Arc<Tail>, watchers: Arc<Watchers>, metrics: Metrics) -> (Log, Self) {
        let (group, batches) = group(QUEUE, BATCH);
        (
            Log { tail: Arc::clone(&tail), group },
            Self { store, tail, watchers, metrics, batches, uncertain: false, contended: 0 },
        )
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
        self.try_commit(&items).await.map_err(|error| failed(&error))
    }

    async fn try_commit(&mut self, items: &[Item]) -> Result<(Vec<Appended>, Vec<CustomerId>), StoreError> {
        if self.uncertain {
            self.catch_up().await?;
            self.uncertain = false;
        }
        if self.contended == 0 {
            self.reach(items).await?;
            let decided = self.decide(items).await?;
            if self.append(None, &decided.1).await? {
                return Ok(self.appended(decided));
            }
        }
        // Another process appends too. Under the lock each has its turn, and decides on what all have logged.
        let (locked, newest) = self.store.lock().await?;
        let alone = newest == self.tail.newest();
        self.contended = if alone { self.contended.saturating_sub(1) } else { CONTENDED };
        if !alone {
            self.catch_up().await?;
        }
        let decided = self.decide(items).await?;
        self.append(Some(locked), &decided.1).await?;
        Ok(self.appended(decided))
    }

    /// The verdicts on a batch, and what to append for it.
    async fn decide(&self, items: &[Item]) -> Result<(Vec<Appended>, Vec<Arc<Entry>>), StoreError> {
        Ok(decide(items, self.known(items).await?, self.tail.newest() + 1)?)
    }

    /// False: another process has appended meanwhile; nothing was written.
    async fn append(&mut self, locked: Option<S::Locked>, new: &[Arc<Entry>]) -> Result<bool, StoreError> {
        if new.is_empty() {
            return Ok(true);
        }
        let newest = self.tail.newest();
        let rows = pack(newest + 1, new);
        let appended = match locked {
            None => self.store.append(newest, rows).await,
            Some(locked) => self.store.append_locked(locked, rows).await.map(|()| true),
        };
        // A connection that is lost at the commit leaves the outcome open.
        self.uncertain = appended.is_err();
        appended
    }

    /// Before the callers are answered: what they have been told, everybody can read.
    fn appended(
        &self,
        (verdicts, new): (Vec<Appended>, Vec<Arc<Entry>>),
    ) -> (Vec<Appended>, Vec<CustomerId>) {
        let appended = new.iter().map(|entry| entry.id()).collect();
        self.tail.push((self.tail.newest() + 1..).zip(new));
        (verdicts, appended)
    }

    /// Sees to it that the tail holds what this batch depends on and another process has logged.
    async fn reach(&mut self, items: &[Item]) -> Result<(), StoreError> {
        let wanted =
            items.iter().filter_map(|item| if let Item::Reach(newest) = item { Some(*newest) } else { None });
        let mut wanted = wanted.max().unwrap_or_default();
        // A create that depends on another's is found out when it is appended; an edit may be refused before.
        if items.iter().any(|item| matches!(item, Item::Edit(_))) {
            wanted = wanted.max(self.store.newest_of_all().await?.unwrap_or_default());
        }
        if wanted > self.tail.newest() { self.catch_up().await } else { Ok(()) }
    }

    /// What is known of the GUIDs that callers have sent: from the tail first, then from the tables, so that
    /// an entry on its way from one to the other is not missed.
    async fn known(&self, items: &[Item]) -> Result<HashMap<CustomerId, Arc<Entry>>, StoreError> {
        let mut known = HashMap::new();
        let ids: Vec<CustomerId> = items.iter().filter_map(Item::depends_on).collect();
        if ids.is_empty() {
            return Ok(known);
        }
        known.extend(ids.iter().filter_map(|id| Some((*id, self.tail.get(*id)?))));
        for row in self.store.rows(&ids).await? {
            let id = row.customer.id;
            let tail = known.get(&id).map(AsRef::as_ref);
            known.extend(together(Some(row), tail)?.map(|row| (id, Arc::new(Entry::new(row)))));
        }
        Ok(known)
    }

    /// Gives the tail what the log holds beyond it.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        // What another process has made tables of is found there.
        self.tail.skip_to(self.store.table_progress().await?.applied_through);
        loop {
            let newest = self.tail.newest();
            let rows = self.store.read(newest).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in rows {
                let mut entries = unpack(&row)?;
                entries.retain(|(seq, _)| *seq > newest);
                let changed: Vec<CustomerId> = entries.iter().map(|(_, entry)| entry.id()).collect();
                self.tail.push(entries);
                // A restore leaves a row without entries.
                self.tail.skip_to(row.through);
                self.watchers.changed(&changed);
            }
        }
    }
}

fn failed(error: &StoreError) -> LogError {
    error!(error = %Chain(error), "the log failed");
    error.trouble().map_or(LogError::Failed, LogError::Database)
}

type Known = HashMap<CustomerId, Arc<Entry>>;

/// The verdict for each item, and the entries to append, which are numbered from `first` on.
fn decide(
    items: &[Item],
    mut known: Known,
    first: u64,
) -> Result<(Vec<Appended>, Vec<Arc<Entry>>), EntryError> {
    let mut new = Vec::with_capacity(items.len());
    let mut verdict = |item: &Item| {
        let entry = match item {
            Item::New(entry) => {
                // An edit behind it in the same commit builds on it.
                if let Some(there) = known.get_mut(&entry.id())
                    && let Some(merged) = there.merged(entry)?
                {
                    *there = Arc::new(merged);
                }
                Arc::clone(entry)
            }
            Item::Create(entry) => match known.entry(entry.id()) {
                hash_map::Entry::Occupied(there) if !planted("a repeat is logged") => {
                    let asked = entry.row()?.origin.as_ref().map(|origin| origin.fingerprint);
                    let there = there.get();
                    let row = there.row()?;
                    if row.is_erased() {
                        return Ok(Appended::Erased);
                    }
                    return Ok(match asked.is_none_or(|fingerprint| row.repeats(fingerprint)) {
                        true => Appended::Known(Arc::clone(there)),
                        false => Appended::Taken,
                    });
                }
                hash_map::Entry::Occupied(_) => Arc::clone(entry),
                hash_map::Entry::Vacant(place) => Arc::clone(place.insert(Arc::clone(entry))),
            },
            Item::Edit(edit) => {
                let seq = first + u64::try_from(new.len()).unwrap_or_default();
                match make(edit, &known, seq)? {
                    Ok(entry) => {
                        known.insert(entry.id(), Arc::clone(&entry));
                        entry
                    }
                    Err(verdict) => return Ok(verdict),
                }
            }
            Item::Reach(_) => return Ok(Appended::Nothing),
        };
        new.push(Arc::clone(&entry));
        Ok(Appended::New(entry))
    };
    let verdicts = items.iter().map(&mut verdict).collect::<Result<_, EntryError>>()?;
    Ok((verdicts, new))
}

/// The entry of an edit, or why there is none.
fn make(edit: &EditRequest, known: &Known, seq: u64) -> Result<Result<Arc<Entry>, Appended>, EntryError> {
    let EditRequest { customer, base, change, previous, made_at, etag } = edit;
    let refused = |refusal| Ok(Err(Appended::Refused(refusal)));
    let there = match (known.get(customer), base) {
        (Some(there), _) => Arc::clone(there),
        (None, Some(base)) => Arc::new(Entry::new(base.clone())),
        (None, None) => return refused(EditRefusal::Unknown),
    };
    let row = there.row()?;
    if row.is_erased() {
        return Ok(Err(Appended::Erased));
    }
    if !etag.is_empty() && row.customer.etag() != *etag {
        return refused(EditRefusal::Changed);
    }
    let content = &row.customer.content;
    let previous = previous.clone().unwrap_or_else(|| Previous::of(change, content));
    let edited = row.edited(Edit { seq, logged_at: *made_at, change: change.clone(), previous });
    if edited.customer.content == *content {
        drop(row);
        return Ok(Err(Appended::Known(there)));
    }
    if let Err(violations) = edited.customer.content.validate() {
        return refused(EditRefusal::Invalid(violations));
    }
    if row.edits.len() >= MAX_EDITS {
        return refused(EditRefusal::TooMany);
    }
    Ok(Ok(Arc::new(Entry::new(edited))))
}
