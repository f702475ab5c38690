//! What has been acknowledged and does not stand in the tables yet. A read looks here first, so it sees every
//! create that was acknowledged before it began.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use tillsync_proto::{Criterion, CustomerId};
use tokio::{sync::Notify, task::yield_now};

use super::{
    entry::{Entry, EntryError, Row},
    index::Index,
};

/// Entries that leave it at a time.
const STEP: usize = 256;

/// The newest part of the log, in memory. Bounded by the appender, which waits for [`Tail::room`].
pub(crate) struct Tail {
    bound: usize,
    /// The newest entry that it has been given.
    newest: AtomicU64,
    state: RwLock<State>,
    /// Locked before the state where both are.
    index: Mutex<Index>,
    /// Something was added.
    grown: Notify,
    /// Something was removed.
    shrunk: Notify,
    /// Somebody waits for the tables.
    wanted: Notify,
}

#[derive(Default)]
struct State {
    /// In the order of the log.
    queue: VecDeque<(u64, Arc<Entry>)>,
    /// What is known of each customer from the whole tail, and the newest entry that says so.
    customers: HashMap<CustomerId, (u64, Arc<Entry>)>,
    /// By account number, of those that have one.
    accounts: HashMap<String, CustomerId>,
    /// Those of whom more is known than an async create alone.
    more: HashSet<CustomerId>,
}

impl State {
    /// The entries after one.
    fn after(&self, seq: u64) -> impl Iterator<Item = &(u64, Arc<Entry>)> {
        let start = self.queue.partition_point(|(at, _)| *at <= seq);
        self.queue.range(start..)
    }
}

impl Tail {
    /// An empty tail of at most `bound` entries, behind the entry `newest`.
    pub fn new(bound: usize, newest: u64) -> Self {
        let (grown, shrunk, wanted) = (Notify::new(), Notify::new(), Notify::new());
        Self {
            bound,
            newest: AtomicU64::new(newest),
            state: RwLock::default(),
            index: Mutex::default(),
            grown,
            shrunk,
            wanted,
        }
    }

    /// The newest entry that it knows or has known: reads see everything up to it.
    pub fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    /// Entries up to this one stand in the tables already.
    pub fn skip_to(&self, newest: u64) {
        self.newest.fetch_max(newest, Ordering::Release);
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds entries that have been committed, in order.
    pub fn push(&self, entries: impl IntoIterator<Item = (u64, Arc<Entry>)>) {
        let mut state = self.write();
        let mut newest = 0;
        for (seq, entry) in entries {
            newest = seq;
            let id = entry.id();
            let known = match state.customers.get(&id) {
                None => Arc::clone(&entry),
                Some((_, before)) => match before.merged(&entry) {
                    Ok(None) => Arc::clone(before),
                    Ok(Some(merged)) => Arc::new(merged),
                    // What cannot be read says so to whoever reads it.
                    Err(_) => Arc::clone(&entry),
                },
            };
            if let Some(number) = known.account_number() {
                state.accounts.insert(number.to_owned(), id);
            }
            if !known.is_create() {
                state.more.insert(id);
            }
            state.customers.insert(id, (seq, known));
            state.queue.push_back((seq, entry));
        }
        drop(state);
        self.newest.fetch_max(newest, Ordering::Release);
        self.grown.notify_one();
    }

    /// Removes entries that the tables hold now, some at a time: nobody waits for more than that.
    pub async fn remove_through(&self, through: u64) {
        loop {
            let removed = self.remove_some(through);
            self.index().remove(&removed);
            self.shrunk.notify_waiters();
            if removed.len() < STEP {
                return;
            }
            yield_now().await;
        }
    }

    /// Removes at most [`STEP`] of them from all but the index.
    fn remove_some(&self, through: u64) -> Vec<(u64, Arc<Entry>)> {
        let mut state = self.write();
        let some = state.queue.iter().take(STEP).take_while(|(seq, _)| *seq <= through).count();
        let removed: Vec<_> = state.queue.drain(..some).collect();
        for (seq, entry) in &removed {
            let id = entry.id();
            if state.customers.get(&id).is_some_and(|(newest, _)| newest == seq)
                && let Some((_, known)) = state.customers.remove(&id)
            {
                if let Some(number) = known.account_number() {
                    state.accounts.remove(number);
                }
                state.more.remove(&id);
            }
        }
        removed
    }

    /// The oldest entries, at most `max`.
    pub fn oldest(&self, max: usize) -> Vec<(u64, Arc<Entry>)> {
        self.read().queue.iter().take(max).cloned().collect()
    }

    /// How many entries it holds.
    pub fn len(&self) -> usize {
        self.read().queue.len()
    }

    /// The numbers of those that are async creates.
    pub fn creates(&self) -> Vec<u64> {
        let state = self.read();
        state.queue.iter().filter(|(_, entry)| entry.is_create()).map(|(seq, _)| *seq).collect()
    }

    /// What the tail knows of a customer.
    pub fn get(&self, id: CustomerId) -> Option<Arc<Entry>> {
        self.read().customers.get(&id).map(|(_, entry)| Arc::clone(entry))
    }

    /// The customer of an account number.
    pub fn id_of_account(&self, number: &str) -> Option<CustomerId> {
        self.read().accounts.get(number).copied()
    }

    /// What the tail knows of every customer in it.
    pub fn customers(&self) -> Vec<Arc<Entry>> {
        self.read().customers.values().map(|(_, entry)| Arc::clone(entry)).collect()
    }

    /// The customers in the tail that match, with their rank; and with 0 those that do not match and may have matched
    /// before, so that what the tables say of them can be left out. A create alone never did.
    ///
    /// # Errors
    ///
    /// As [`Entry::row`].
    pub fn ranks(&self, criterion: &Criterion) -> Result<HashMap<CustomerId, usize>, EntryError> {
        let mut index = self.index();
        // What has come since the last search; read without the state, which creates wait for.
        let new: Vec<(u64, Arc<Entry>)> = self.read().after(index.through()).cloned().collect();
        index.add(&new)?;
        let found = index.find(criterion);
        drop(index);
        let known: HashMap<CustomerId, Arc<Entry>> = {
            let state = self.read();
            let found = found.into_iter().filter_map(|seq| {
                let place = state.queue.binary_search_by_key(&seq, |(at, _)| *at).ok()?;
                Some(state.queue[place].1.id())
            });
            let ids = found.chain(state.more.iter().copied());
            ids.filter_map(|id| Some((id, Arc::clone(&state.customers.get(&id)?.1)))).collect()
        };
        let ranks = known.into_iter().map(|(id, entry)| Ok((id, criterion.rank(entry.terms()?), entry)));
        let told = |(id, rank, entry): (CustomerId, usize, Arc<Entry>)| {
            (rank > 0 || !entry.is_create()).then_some((id, rank))
        };
        ranks.filter_map(|one| one.map(told).transpose()).collect()
    }

    /// Waits until there is room for one more batch.
    pub async fn room(&self) {
        self.shrunk_until(|state| state.queue.len() < self.bound).await;
    }

    /// Asks for the tables to hold what is in the tail now, and waits until they do.
    pub async fn applied(&self) {
        let Some(newest) = self.read().queue.back().map(|(seq, _)| *seq) else { return };
        self.wanted.notify_one();
        self.shrunk_until(|state| state.queue.front().is_none_or(|(seq, _)| *seq > newest)).await;
    }

    /// Waits until somebody waits for the tables, unless somebody has begun to since the last time.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    async fn shrunk_until(&self, enough: impl Fn(&State) -> bool) {
        loop {
            // Made before the look: what is removed after it is not missed.
            let shrunk = self.shrunk.notified();
            if enough(&self.read()) {
                return;
            }
            shrunk.await;
        }
    }

    /// Waits until it holds so many entries, or as many as there is room for.
    pub async fn holds(&self, entries: usize) {
        while self.len() < entries.min(self.bound) {
            self.grown().await;
        }
    }

    /// Waits until something has been added since the last time.
    pub async fn grown(&self) {
        self.grown.notified().await;
    }
}

/// What is known of a customer from the tables and from the tail, which is newer.
///
/// # Errors
///
/// As [`Entry::row`].
pub(crate) fn together(tables: Option<Row>, tail: Option<&Entry>) -> Result<Option<Row>, EntryError> {
    let Some(tail) = tail else { return Ok(tables) };
    let tail = tail.row()?;
    Ok(Some(match tables {
        None => tail.into_owned(),
        Some(tables) => tables.merged(&tail).unwrap_or(tables),
    }))
}

#[cfg(test)]
mod tests {
    use std::{future::Future as _, pin::pin, task::Poll};

    use tillsync_proto::{Customer, Micros, convert};
    use uuid::Uuid;

    use super::*;
    use crate::tests::shop::person;

    fn entry(id: u128) -> Arc<Entry> {
        let id = CustomerId(Uuid::from_u128(id));
        let content = convert::content(id, person("tail")).unwrap();
        let customer =
            Customer { id, account_number: None, content, loyalty_cards: Vec::new(), created_at: Micros(0) };
        Arc::new(Entry::new(Row::new(customer, None, None)))
    }

    #[tokio::test]
    async fn c3_the_tail_finds_what_a_look_at_each_would_find() {
        let tail = Tail::new(100, 0);
        let name = |text: &str| Criterion::name(text).unwrap();
        let found = |criterion: &Criterion| {
            let mut found: Vec<_> = tail.ranks(criterion).unwrap().into_iter().collect();
            found.sort_unstable();
            let mut looked_at: Vec<_> = tail
                .customers()
                .iter()
                .map(|entry| (entry.id(), criterion.rank(entry.terms().unwrap())))
                .collect();
            looked_at.retain(|(_, rank)| *rank > 0);
            looked_at.sort_unstable();
            assert_eq!(found, looked_at);
            found.len()
        };
        let all = name("persontail");
        assert_eq!(found(&all), 0);
        tail.push((1..=3).map(|seq| (seq, entry(seq.into()))));
        assert_eq!(found(&all), 3);
        tail.push((4..=9).map(|seq| (seq, entry(seq.into()))));
        tail.remove_through(2).await;
        assert_eq!([found(&all), found(&name("pers zoe")), found(&name("tale"))], [7, 7, 0]);
        // One that goes before anybody has searched for it.
        tail.push([(10, entry(10))]);
        tail.remove_through(10).await;
        assert_eq!(found(&all), 0);
        assert!(tail.index().find(&all).is_empty());
        tail.push([(11, entry(11)), (12, entry(11))]);
        assert_eq!(found(&all), 1);
    }

    #[tokio::test]
    async fn all_that_the_tables_hold_leaves_in_however_many_steps() {
        let tail = Tail::new(10 * STEP, 0);
        let name = Criterion::name("persontail").unwrap();
        let all = 2 * STEP as u64 + 3;
        tail.push((1..=all).map(|seq| (seq, entry(seq.into()))));
        assert_eq!(tail.ranks(&name).unwrap().len() as u64, all);
        tail.remove_through(all - 2).await;
        assert_eq!([tail.len(), tail.customers().len(), tail.ranks(&name).unwrap().len()], [2, 2, 2]);
        tail.remove_through(all).await;
        assert_eq!([tail.len(), tail.customers().len(), tail.index().find(&name).len()], [0, 0, 0]);
    }

    #[tokio::test]
    async fn who_waits_for_the_tables_is_heard_and_waits_for_what_was_there() {
        let tail = Tail::new(3, 0);
        tail.applied().await;
        tail.push([(1, entry(1)), (2, entry(2))]);
        let (mut applied, mut room) = (pin!(tail.applied()), pin!(tail.room()));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let (mut held, mut more) = (pin!(tail.holds(2)), pin!(tail.holds(9)));
        assert_eq!(room.as_mut().poll(&mut cx), Poll::Ready(()));
        assert_eq!(applied.as_mut().poll(&mut cx), Poll::Pending);
        assert_eq!(held.as_mut().poll(&mut cx), Poll::Ready(()));
        assert_eq!(more.as_mut().poll(&mut cx), Poll::Pending);
        tail.wanted().await;
        tail.push([(3, entry(3))]);
        assert_eq!(more.as_mut().poll(&mut cx), Poll::Ready(()), "the tail is full");
        let mut room = pin!(tail.room());
        assert_eq!(room.as_mut().poll(&mut cx), Poll::Pending, "the tail is full");
        tail.remove_through(1).await;
        assert_eq!(room.as_mut().poll(&mut cx), Poll::Ready(()));
        assert_eq!(applied.as_mut().poll(&mut cx), Poll::Pending);
        tail.remove_through(2).await;
        assert_eq!(applied.as_mut().poll(&mut cx), Poll::Ready(()), "what came later is not waited for");
    }
}
