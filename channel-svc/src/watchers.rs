//! Who wants to be told when a customer changes (rule S3). A watcher is only woken: it reads the present state
//! by itself, so changes that follow one another closely come as one.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tillsync_proto::CustomerId;
use tokio::sync::watch;

/// Most watches at a time; at the bound they are refused.
const MAX_WATCHERS: usize = 10_000;

/// The watchers of all customers.
#[derive(Default)]
pub(crate) struct Watchers {
    customers: Mutex<HashMap<CustomerId, watch::Sender<()>>>,
    count: AtomicUsize,
}

/// There are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_WATCHERS} customers are being watched already")]
pub(crate) struct TooMany;

/// One watch; ends when dropped.
pub(crate) struct Watch {
    watchers: Arc<Watchers>,
    id: CustomerId,
    changes: Option<watch::Receiver<()>>,
}

impl Watchers {
    fn lock(&self) -> MutexGuard<'_, HashMap<CustomerId, watch::Sender<()>>> {
        self.customers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to watch.
    ///
    /// # Errors
    ///
    /// [`TooMany`].
    pub fn watch(self: &Arc<Self>, id: CustomerId) -> Result<Watch, TooMany> {
        let mut customers = self.lock();
        if self.count.load(Ordering::Relaxed) >= MAX_WATCHERS {
            return Err(TooMany);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let changes = customers.entry(id).or_insert_with(|| watch::channel(()).0).subscribe();
        Ok(Watch { watchers: Arc::clone(self), id, changes: Some(changes) })
    }

    /// Wakes everybody: another process has changed something.
    pub fn all_changed(&self) {
        for sender in self.lock().values() {
            sender.send_replace(());
        }
    }

    /// Wakes whoever watches one of these customers.
    pub fn changed(&self, ids: &[CustomerId]) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let customers = self.lock();
        for sender in ids.iter().filter_map(|id| customers.get(id)) {
            sender.send_replace(());
        }
    }
}

impl Watch {
    /// Waits for a change since the last time.
    pub async fn changed(&mut self) {
        if let Some(changes) = &mut self.changes {
            // The sender stays as long as anybody watches.
            let _ = changes.changed().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut customers = self.watchers.lock();
        self.changes = None;
        self.watchers.count.fetch_sub(1, Ordering::Relaxed);
        if customers.get(&self.id).is_some_and(|sender| sender.receiver_count() == 0) {
            customers.remove(&self.id);
        }
    }
}
