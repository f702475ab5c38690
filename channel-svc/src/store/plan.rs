//! What a batch does to the tables, decided without a database, so that both do the same.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tillsync_proto::{Customer, CustomerId, Micros, Term, terms, terms_of_numbers};

use super::{Advance, Applied, Batch, Incoming, LogRow, StoreError, signed};
use crate::log::entry::{Entry, Row};

/// A customer row to write.
pub(super) struct Upsert {
    pub id: CustomerId,
    pub created_at: i64,
    pub pending: i64,
    pub body: Vec<u8>,
}

/// A term row to write or to remove, as the key of its table is ordered.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TermRow {
    pub kind: i64,
    pub text: String,
    pub id: CustomerId,
}

/// Everything a batch writes, sorted by key: neighbours in an index are written together.
pub(super) struct Plan {
    pub upserts: Vec<Upsert>,
    pub added: Vec<TermRow>,
    pub removed: Vec<TermRow>,
    /// How many more customers, and how many more pending ones.
    pub customers: i64,
    pub pending: i64,
    pub applied: Applied,
}

/// The customers whose present rows a plan needs, each once.
pub(super) fn ids(batch: &Batch) -> Vec<CustomerId> {
    let ids = batch.incoming.iter().map(|incoming| match incoming {
        Incoming::Entry(entry) => entry.id(),
        Incoming::Account(id, _) => *id,
    });
    let unique: HashSet<CustomerId> = ids.collect();
    let mut ids: Vec<CustomerId> = unique.into_iter().collect();
    ids.sort_unstable();
    ids
}

/// Decides what a batch changes, on a thread that may be busy for some milliseconds.
pub(super) async fn plan(present: Vec<Row>, batch: Arc<Batch>) -> Result<Plan, StoreError> {
    let planned = tokio::task::spawn_blocking(move || decide(present, &batch)).await;
    planned.map_err(|error| StoreError::Inconsistent(error.to_string()))?
}

fn decide(present: Vec<Row>, batch: &Batch) -> Result<Plan, StoreError> {
    let before: HashMap<CustomerId, Arc<Entry>> =
        present.into_iter().map(|row| (row.customer.id, Arc::new(Entry::new(row)))).collect();
    let mut after: HashMap<CustomerId, Arc<Entry>> = HashMap::with_capacity(batch.incoming.len());
    for incoming in &batch.incoming {
        let (id, next) = match incoming {
            Incoming::Entry(entry) => {
                let id = entry.id();
                let next = match after.get(&id).or_else(|| before.get(&id)) {
                    None => Some(Arc::clone(entry)),
                    Some(known) => known.merged(entry)?.map(Arc::new),
                };
                (id, next)
            }
            Incoming::Account(id, number) => {
                let known = after.get(id).or_else(|| before.get(id));
                let next = known.map(|known| Ok::<_, StoreError>(known.row()?.with_account(number)));
                (*id, next.transpose()?.flatten().map(|row| Arc::new(Entry::new(row))))
            }
        };
        if let Some(next) = next {
            after.insert(id, next);
        }
    }
    write(&before, after)
}

fn write(
    before: &HashMap<CustomerId, Arc<Entry>>,
    after: HashMap<CustomerId, Arc<Entry>>,
) -> Result<Plan, StoreError> {
    let mut after: Vec<(CustomerId, Arc<Entry>)> = after.into_iter().collect();
    after.sort_unstable_by_key(|(id, _)| *id);
    let mut plan = Plan {
        upserts: Vec::with_capacity(after.len()),
        added: Vec::with_capacity(after.len() * 6),
        removed: Vec::new(),
        customers: 0,
        pending: 0,
        applied: Applied::default(),
    };
    for (id, entry) in after {
        let (old, row) = (before.get(&id), entry.row()?);
        let was_pending = old.is_some_and(|old| old.account_number().is_none());
        let is_pending = row.customer.is_pending();
        plan.customers += i64::from(old.is_none());
        plan.pending += i64::from(is_pending) - i64::from(was_pending);
        if let Some(old) = old.filter(|_| was_pending && !is_pending) {
            plan.applied.named.push(old.row()?.customer.created_at);
        }
        match (old, entry.known_terms()) {
            (None, Some(known)) => plan.added.extend(known.iter().map(|term| term_row(term.clone(), id))),
            _ => {
                let old = old.map(|old| old.row()).transpose()?;
                plan.change_terms(old.as_deref().map(|old| &old.customer), &row.customer);
            }
        }
        plan.upserts.push(Upsert {
            id,
            created_at: row.customer.created_at.0,
            pending: is_pending.into(),
            body: entry.body().to_vec(),
        });
        plan.applied.changed.push(id);
    }
    plan.added.sort_unstable();
    plan.removed.sort_unstable();
    Ok(plan)
}

impl Plan {
    /// What a customer is found by, in place of what it was found by.
    fn change_terms(&mut self, old: Option<&Customer>, new: &Customer) {
        let id = new.id;
        // Most of what headquarters tells is an account number: the rest is what it was.
        let same = old.is_some_and(|old| old.content == new.content);
        let of = if same { terms_of_numbers } else { terms };
        let (old, new) = (old.map(of).unwrap_or_default(), of(new));
        self.removed.extend(old.iter().filter(|t| !new.contains(t)).map(|t| term_row(t.clone(), id)));
        self.added.extend(new.into_iter().filter(|t| !old.contains(t)).map(|t| term_row(t, id)));
    }
}

fn term_row(term: Term, id: CustomerId) -> TermRow {
    TermRow { kind: term.kind as i64, text: term.text, id }
}

/// The new values of the progress row: null leaves a value as it is.
#[derive(Default)]
pub(super) struct ProgressRow {
    pub applied_through: Option<i64>,
    pub feed_epoch: Option<String>,
    /// The same, unless there is one.
    pub first_epoch: Option<String>,
    pub feed_version: Option<i64>,
    pub feed_head: Option<i64>,
    pub level_at: Option<i64>,
    pub contact_at: Option<i64>,
}

impl ProgressRow {
    pub fn of(batch: &Batch) -> Self {
        match &batch.advance {
            Advance::Log { through } => Self {
                applied_through: Some(signed(*through)),
                first_epoch: batch.incoming.iter().find_map(told_by),
                ..Self::default()
            },
            Advance::Feed { epoch, version, head, at } => Self {
                feed_epoch: Some(epoch.clone()),
                feed_version: Some(signed(*version)),
                feed_head: Some(signed(*head)),
                level_at: (version >= head).then_some(at.0),
                contact_at: Some(at.0),
                ..Self::default()
            },
            Advance::Contact { epoch, at: Micros(at) } => {
                Self { contact_at: Some(*at), first_epoch: epoch.clone(), ..Self::default() }
            }
        }
    }
}

/// The headquarters database that has told this.
fn told_by(incoming: &Incoming) -> Option<String> {
    let Incoming::Entry(entry) = incoming else { return None };
    Some(entry.stamp()?.epoch.clone())
}

/// Which of some log rows, given as (through, bytes) in order, are read at once: the last one's number.
pub(super) fn page_end(sizes: &[(i64, i64)]) -> Option<i64> {
    let mut bytes = 0;
    let within = sizes.iter().take_while(|(_, size)| {
        let fits = bytes == 0 || bytes + size <= super::LOG_PAGE_BYTES;
        bytes += size;
        fits
    });
    within.last().map(|(through, _)| *through)
}

/// A log row as both databases give it.
pub(super) fn log_row((through, operation_through, body): (i64, Option<i64>, Vec<u8>)) -> LogRow {
    LogRow {
        through: super::unsigned(through),
        operation_through: operation_through.map(super::unsigned),
        body,
    }
}
