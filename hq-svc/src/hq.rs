//! Headquarters, opened: what all use cases share.

use std::{
    future::Future,
    sync::{Arc, PoisonError, RwLock, atomic::AtomicBool},
};

use service_kit::clock::{Clock, Ids};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    board::Board,
    contacts::Contacts,
    creates::{Committer, Creates, creates},
    crowd::{Asked, Crowd, crowd},
    error::{Error, Result},
    store::{self, GlobalConfiguration, Store},
    supervision::Supervision,
};

/// What the use cases share. Clones are the same headquarters.
#[derive(Clone)]
pub(crate) struct Headquarters<S> {
    pub store: S,
    pub clock: Arc<dyn Clock>,
    pub ids: Ids,
    /// Identity of the database, which does not change while it is open.
    pub epoch: Uuid,
    pub board: Board,
    pub contacts: Contacts<S>,
    pub creates: Creates,
    /// What channels ask and say all the time.
    pub crowd: Crowd<S>,
    /// Flags and definitions as the table has them: nobody else changes it.
    configuration: Arc<RwLock<Arc<GlobalConfiguration>>>,
    /// Whether the database was restored and channels may still have to bring what it has lost.
    pub recovering: Arc<AtomicBool>,
    /// What the watchdog says of the customer sync job.
    pub supervision: Supervision,
    /// Cancelled when the service stops: whoever waits then waits no longer.
    pub shutdown: CancellationToken,
}

/// What callers wait for together.
pub(crate) struct Waited<S> {
    committer: Committer<S>,
    asked: Asked<S>,
}

impl<S: Store> Waited<S> {
    /// Works until every [`Headquarters`] is gone.
    pub async fn run(self) {
        tokio::join!(self.committer.run(), self.asked.run());
    }
}

impl<S: Store> Headquarters<S> {
    /// Reads what is remembered between runs. Run what callers wait for in a task of its own.
    pub async fn open(
        store: S,
        clock: Arc<dyn Clock>,
        ids: Ids,
        shutdown: CancellationToken,
    ) -> store::Result<(Self, Waited<S>)> {
        let head = store.head().await?;
        let (epoch, recovering) = (head.epoch, Arc::new(AtomicBool::new(head.awaited > 0)));
        let board = Board::new(store.schedules().await?, store.run_requests().await?);
        let known = store.channels().await?;
        let contacts = Contacts::new(store.clone(), ids.clone(), Arc::clone(&clock), known);
        let (creates, committer) = creates(store.clone(), ids.clone());
        let (crowd, asked) = crowd(&store, ids.clone(), Arc::clone(&clock));
        let configuration = Arc::new(RwLock::new(Arc::new(store.configuration().await?)));
        let supervision = Supervision::default();
        let hq = Self {
            store,
            clock,
            ids,
            epoch,
            board,
            contacts,
            creates,
            crowd,
            recovering,
            configuration,
            supervision,
            shutdown,
        };
        Ok((hq, Waited { committer, asked }))
    }

    /// The flags and the definitions of attributes.
    pub fn configuration(&self) -> Arc<GlobalConfiguration> {
        Arc::clone(&self.configuration.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads them again, after a change.
    pub async fn refresh_configuration(&self) -> Result<()> {
        let read = Arc::new(self.store.configuration().await?);
        let mut known = self.configuration.write().unwrap_or_else(PoisonError::into_inner);
        // Two changes may come here in the other order than they were made.
        if read.version > known.version {
            *known = read;
        }
        Ok(())
    }

    /// Runs a use case that writes in a task of its own, so that a caller who goes away does not cancel it
    /// between its commit and what follows (rule M8).
    pub async fn unhurried<T, F>(&self, work: impl FnOnce(Self) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        tokio::spawn(work(self.clone())).await.unwrap_or(Err(Error::Broken))
    }
}
