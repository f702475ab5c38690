//! The use cases of the point of sale: what they share, and reading one customer.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use service_kit::{
    clock::{Clock, Ids},
    deadline::{Deadline, remaining_or},
};
use tillsync_proto::{CustomerId, CustomerRef, Feature, Violations};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    breaker::Breaker,
    error::Error,
    log::{
        Appended, Log, Tail,
        entry::{Entry, Row},
        together,
    },
    metrics::Metrics,
    rts::{CallError, Rts},
    store::{Settings, Store, StoreError},
    watchers::Watchers,
};

/// Longest share of a caller's time that is kept back from a call to headquarters, so that what follows it can
/// still be committed and answered.
const RESERVE: Duration = Duration::from_millis(100);

/// What headquarters has told, in memory: replaced as a whole after it has been stored, and in force once the cache
/// has expired (rule F2).
pub(crate) struct Current {
    state: RwLock<Cached>,
    cache: Duration,
    clock: Arc<dyn Clock>,
}

struct Cached {
    in_force: Arc<Settings>,
    /// What has arrived, and when it is in force; absent if that is the same.
    arrived: Option<(Arc<Settings>, Instant)>,
}

impl Current {
    /// These settings, with a cache that lasts so long after something has arrived.
    pub fn new(settings: Settings, cache: Duration, clock: Arc<dyn Clock>) -> Self {
        let state = Cached { in_force: Arc::new(settings), arrived: None };
        Self { state: RwLock::new(state), cache, clock }
    }

    /// The settings in force.
    pub fn get(&self) -> Arc<Settings> {
        {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            match &state.arrived {
                None => return Arc::clone(&state.in_force),
                Some((_, at)) if self.clock.now() < *at => return Arc::clone(&state.in_force),
                Some(_) => {}
            }
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((arrived, at)) = state.arrived.take() {
            if self.clock.now() < at {
                state.arrived = Some((arrived, at));
            } else {
                state.in_force = arrived;
            }
        }
        Arc::clone(&state.in_force)
    }

    /// The settings that have arrived, in force or not.
    pub fn arrived(&self) -> Arc<Settings> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(state.arrived.as_ref().map_or(&state.in_force, |(arrived, _)| arrived))
    }

    /// How long the cache lasts.
    pub fn cache(&self) -> Duration {
        self.cache
    }

    /// Something has arrived.
    pub fn change(&self, change: impl FnOnce(&mut Settings)) {
        // Under one lock: 1070 and 1110 may bring something at the same time.
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let known = state.arrived.as_ref().map_or(&state.in_force, |(arrived, _)| arrived);
        let mut arrived = Settings::clone(known);
        change(&mut arrived);
        state.arrived = Some((Arc::new(arrived), self.clock.now() + self.cache));
    }

    /// Whether a flag is in force.
    pub fn has(&self, feature: Feature) -> bool {
        self.get().features.has(feature)
    }
}

/// Everything that the use cases need.
pub(crate) struct Parts<S> {
    /// What is kept.
    pub store: S,
    /// Where it is kept first.
    pub log: Log,
    /// What is kept already and not indexed yet.
    pub tail: Arc<Tail>,
    /// Who is told.
    pub watchers: Arc<Watchers>,
    /// Profile and flags.
    pub current: Arc<Current>,
    /// Headquarters.
    pub rts: Rts,
    /// Whether it is asked.
    pub breaker: Arc<Breaker>,
    /// Pages of all customers that may be read at the same time.
    pub pages: Semaphore,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids and chance.
    pub ids: Ids,
    /// What is counted.
    pub metrics: Metrics,
    /// A terminal: creates are async, whatever the profile says (rule M4).
    pub offline: bool,
    /// Ends the watches.
    pub shutdown: CancellationToken,
}

/// The use cases of the point of sale.
pub(crate) struct Customers<S>(Arc<Parts<S>>);

impl<S> Clone for Customers<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> std::ops::Deref for Customers<S> {
    type Target = Parts<S>;

    fn deref(&self) -> &Parts<S> {
        &self.0
    }
}

/// Where to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// This store.
    Store,
    /// All stores, by a call to headquarters.
    AllStores,
}

/// A customer's name as a caller sends it (rule M7).
///
/// # Errors
///
/// The field `customer`.
pub(crate) fn reference(text: &str) -> Result<CustomerRef, Error> {
    text.parse().map_err(|error| Violations::one("customer", error).into())
}

impl<S: Store> Customers<S> {
    /// The use cases with what they need.
    pub fn new(parts: Parts<S>) -> Self {
        Self(Arc::new(parts))
    }

    /// Reads one customer.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; with [`Scope::AllStores`] what headquarters answers.
    pub async fn get(&self, name: &str, scope: Scope, deadline: Option<Deadline>) -> Result<Row, Error> {
        let name = reference(name)?;
        match scope {
            Scope::Store => match self.find(&name).await? {
                Some(row) if row.is_erased() => Err(Error::Erased(row.customer.id)),
                Some(row) => Ok(row),
                None => Err(Error::NotFound("customer")),
            },
            Scope::AllStores => self.at_headquarters(&name, deadline).await,
        }
    }

    /// What headquarters knows of a customer.
    pub(crate) async fn at_headquarters(
        &self,
        name: &CustomerRef,
        deadline: Option<Deadline>,
    ) -> Result<Row, Error> {
        Ok(self.rts.get(written(name), self.call_time(deadline)).await?)
    }

    /// See [`Log::level`].
    pub(crate) async fn level(&self) -> Result<(), Error> {
        Ok(self.log.level(&self.store).await?)
    }

    /// What this store knows of a customer: the tail first, then the tables, so that one on its way from there
    /// to here is not missed.
    pub(crate) async fn find(&self, name: &CustomerRef) -> Result<Option<Row>, Error> {
        match name {
            CustomerRef::Id(id) => self.find_id(*id).await,
            CustomerRef::Account(number) => {
                self.level().await?;
                let id = match self.tail.id_of_account(number) {
                    Some(id) => Some(id),
                    None => self.store.id_of_account(number).await?,
                };
                match id {
                    Some(id) => self.at_hand(id).await,
                    None => Ok(None),
                }
            }
        }
    }

    /// The same by GUID.
    pub(crate) async fn find_id(&self, id: CustomerId) -> Result<Option<Row>, Error> {
        self.level().await?;
        self.at_hand(id).await
    }

    /// The same for a caller who is level.
    async fn at_hand(&self, id: CustomerId) -> Result<Option<Row>, Error> {
        let tail = self.tail.get(id);
        let tables = self.store.rows(&[id]).await?.pop();
        Ok(together(tables, tail.as_deref()).map_err(StoreError::from)?)
    }

    /// The same for many, in the order of their GUIDs.
    pub(crate) async fn find_ids(&self, ids: &[CustomerId]) -> Result<Vec<Row>, Error> {
        let tails: Vec<Option<Arc<Entry>>> = ids.iter().map(|id| self.tail.get(*id)).collect();
        let mut tables: std::collections::HashMap<CustomerId, Row> =
            self.store.rows(ids).await?.into_iter().map(|row| (row.customer.id, row)).collect();
        let rows = ids.iter().zip(tails).map(|(id, tail)| together(tables.remove(id), tail.as_deref()));
        let rows = rows.filter_map(Result::transpose).collect::<Result<_, _>>();
        Ok(rows.map_err(StoreError::from)?)
    }

    /// How long a call to headquarters may take: as the profile says, and no longer than what remains of the
    /// caller's time without the reserve (rule Z2).
    pub(crate) fn call_time(&self, deadline: Option<Deadline>) -> Duration {
        let limit = self.current.get().profile.rts_timeout;
        let Some(deadline) = deadline else { return limit };
        let remaining = remaining_or(Some(deadline), self.clock.now(), Duration::MAX);
        limit.min(remaining.saturating_sub(RESERVE.min(remaining / 10)))
    }

    /// Keeps what headquarters has told about a customer; returns after the commit (rule M8). In a task of its
    /// own callers may go away: headquarters has done it, so it is kept.
    pub(crate) async fn keep(&self, row: Row) -> Result<Row, Error> {
        match self.log.append(Entry::new(row), false).await? {
            Appended::New(entry) | Appended::Known(entry) => logged(&entry),
            Appended::Taken | Appended::Erased | Appended::Refused(_) | Appended::Nothing => {
                Err(Error::Internal)
            }
        }
    }
}

/// The row of an entry that stands in the log.
pub(crate) fn logged(entry: &Entry) -> Result<Row, Error> {
    Ok(entry.row().map_err(StoreError::from)?.into_owned())
}

/// A reference as headquarters is sent it.
fn written(name: &CustomerRef) -> String {
    match name {
        CustomerRef::Id(id) => id.to_string(),
        CustomerRef::Account(number) => number.clone(),
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(refusal) => Self::Refused(refusal),
            CallError::Failed(failure) => Self::Unreached(failure),
            CallError::Unreadable => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use service_kit::clock::SystemClock;

    use super::*;

    /// A clock that a test moves, in seconds.
    struct Moved(Instant, AtomicU64);

    impl Clock for Moved {
        fn now(&self) -> Instant {
            self.0 + Duration::from_secs(self.1.load(Ordering::Relaxed))
        }

        fn wall_micros(&self) -> i64 {
            0
        }
    }

    #[test]
    fn f2_settings_are_in_force_once_the_cache_has_expired_and_not_before() {
        let clock = Arc::new(Moved(SystemClock.now(), AtomicU64::new(0)));
        let current =
            Current::new(Settings::default(), Duration::from_secs(10), Arc::clone(&clock) as Arc<dyn Clock>);
        current.change(|settings| settings.profile_version = 1);
        clock.1.store(9, Ordering::Relaxed);
        assert_eq!((current.get().profile_version, current.arrived().profile_version), (0, 1));
        clock.1.store(10, Ordering::Relaxed);
        assert_eq!(current.get().profile_version, 1);
        // Two that arrive within the cache's time: each keeps what the other has brought.
        current.change(|settings| settings.profile_version = 2);
        current.change(|settings| settings.features_version = 7);
        clock.1.store(20, Ordering::Relaxed);
        let settings = current.get();
        assert_eq!((settings.profile_version, settings.features_version), (2, 7));
    }
}
