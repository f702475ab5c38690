//! Follows a sample of creates until every store finds the customer and its channel knows the account number.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use service_kit::clock::Clock;
use tillsync_proto::pb::channel::{
    CreatePath, Scope, SearchCustomersRequest, WatchCustomerRequest, search_customers_request::Criterion,
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{customers::unique_email, measured::Sampled, services::Store};

/// Most sync creates of a run that are looked for by the search in all stores.
const MAX_SEARCHES: usize = 8;
/// How long such a search may take.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(10);

/// An acknowledged create.
#[derive(Debug, Clone, Copy)]
pub struct Arrived {
    /// The GUID.
    pub id: Uuid,
    /// The channel that took it.
    pub channel: usize,
    /// When it was due.
    pub due: Instant,
    /// When it was acknowledged.
    pub acknowledged: Instant,
    /// Which way it went.
    pub path: CreatePath,
}

/// The sample of a run.
pub struct Followed {
    clock: Arc<dyn Clock>,
    stores: Vec<Store>,
    watches: TaskTracker,
    given_up: CancellationToken,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    sampled: Sampled,
    /// Sync creates to look for, at most [`MAX_SEARCHES`].
    searches: Vec<Arrived>,
}

impl Followed {
    /// Nobody yet.
    pub fn new(clock: Arc<dyn Clock>, stores: Vec<Store>) -> Self {
        let (watches, given_up) = (TaskTracker::new(), CancellationToken::new());
        Self { clock, stores, watches, given_up, inner: Mutex::default() }
    }

    /// Follows a create. One that headquarters made is real, and found by the search in all stores at once
    /// (rules M1, C4): its times are those of its acknowledgement, and some are looked for after the run.
    pub fn follow(followed: &Arc<Self>, arrived: Arrived) {
        let mut inner = followed.lock();
        inner.sampled.sample.followed += 1;
        if arrived.path == CreatePath::Sync {
            let took = arrived.acknowledged.saturating_duration_since(arrived.due);
            inner.sampled.findable.record(took);
            inner.sampled.account.record(took);
            if inner.searches.len() < MAX_SEARCHES {
                inner.searches.push(arrived);
            }
            return;
        }
        drop(inner);
        let followed_by = Arc::clone(followed);
        followed.watches.spawn(async move { followed_by.watch(arrived).await });
    }

    async fn watch(self: Arc<Self>, arrived: Arrived) {
        let mut watches = JoinSet::new();
        for place in 0..self.stores.len() {
            let own = place == arrived.channel;
            let followed = Arc::clone(&self);
            watches.spawn(async move { (own, followed.seen(place, arrived.id, own).await) });
        }
        let (mut account, mut everywhere) = (None, Some(arrived.acknowledged));
        let all = async {
            while let Some(Ok((own, seen))) = watches.join_next().await {
                if own {
                    account = seen;
                }
                // With one store nobody else can find it before headquarters has it.
                if !own || self.stores.len() == 1 {
                    everywhere = everywhere.zip(seen).map(|(before, now)| before.max(now));
                }
            }
        };
        tokio::select! {
            () = all => {}
            () = self.given_up.cancelled() => everywhere = None,
        }
        let mut inner = self.lock();
        let took = |seen: Instant| seen.saturating_duration_since(arrived.due);
        account.inspect(|seen| inner.sampled.account.record(took(*seen)));
        everywhere.inspect(|seen| inner.sampled.findable.record(took(*seen)));
        inner.sampled.sample.unresolved += u64::from(account.is_none() || everywhere.is_none());
    }

    /// When a store knows the customer, for its own store with the account number; nothing if the watch broke.
    async fn seen(&self, place: usize, id: Uuid, with_account: bool) -> Option<Instant> {
        let request = WatchCustomerRequest { customer: id.to_string(), allow_missing: true };
        let number = usize::from(id.as_bytes()[15]);
        let mut states = self.stores[place].watcher(number).watch_customer(request).await.ok()?.into_inner();
        while let Some(state) = states.message().await.ok()? {
            let known = state.customer.is_some_and(|c| !with_account || !c.account_number.is_empty());
            if known {
                return Some(self.clock.now());
            }
        }
        None
    }

    /// Waits for the watches, and gives up on those that take longer than `limit`.
    pub async fn resolve(&self, limit: Duration) {
        self.watches.close();
        if timeout(limit, self.watches.wait()).await.is_err() {
            self.given_up.cancel();
            self.watches.wait().await;
        }
    }

    /// Looks for the first sync creates in another store, by the search in all stores.
    pub async fn search_everywhere(self: &Arc<Self>) {
        let searches = std::mem::take(&mut self.lock().searches);
        let mut looking = JoinSet::new();
        for arrived in searches {
            let followed = Arc::clone(self);
            looking.spawn(async move { followed.found(arrived).await });
        }
        while let Some(looked) = looking.join_next().await {
            let sample = &mut self.lock().sampled.sample;
            match looked {
                Ok(true) => sample.remote_search_verified += 1,
                Ok(false) | Err(_) => sample.remote_search_failed += 1,
            }
        }
    }

    async fn found(&self, arrived: Arrived) -> bool {
        let other = &self.stores[(arrived.channel + 1) % self.stores.len()];
        let request = SearchCustomersRequest {
            criterion: Some(Criterion::Email(unique_email(arrived.id))),
            scope: Scope::AllStores.into(),
            ..SearchCustomersRequest::default()
        };
        let answer = timeout(SEARCH_TIMEOUT, other.till(0).search_customers(request)).await;
        let id = arrived.id.to_string();
        matches!(answer, Ok(Ok(found)) if found.get_ref().customers.iter().any(|c| c.customer_id == id))
    }

    /// How the sample went.
    pub fn sampled(&self) -> Sampled {
        self.lock().sampled.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
