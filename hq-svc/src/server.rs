//! Opens headquarters and serves it.

use std::{sync::Arc, time::Duration};

use service_kit::{
    clock::{Clock, Ids},
    database::DatabaseUrl,
    door::DoorConfig,
    network::Incoming,
    serve::{Boxed, Server},
};
use tillsync_proto::{ChannelId, pb};
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use service_kit::{database::OpenError, serve::ServeError as ListenerError};

use crate::{
    config::Config,
    duplicates, erasure, grpc,
    hq::Headquarters,
    others,
    store::{PostgresStore, SqliteStore, Store, StoreError},
    supervision,
};

/// How long tasks may go on after the last call has ended: a batch that is being committed.
const TASKS_END: Duration = Duration::from_secs(5);

/// Headquarters on an open database.
pub struct Hq {
    store: AnyStore,
    clock: Arc<dyn Clock>,
    ids: Ids,
    watchdog: Duration,
    door: DoorConfig,
}

enum AnyStore {
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
}

/// Why serving ended early, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// What is remembered between runs could not be read.
    #[error("the state of headquarters cannot be read")]
    State(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The listener failed.
    #[error(transparent)]
    Listener(#[from] ListenerError),
}

/// Why a restore could not be noted.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be written.
    #[error("the restore cannot be noted")]
    Store(#[from] StoreError),
}

impl From<StoreError> for ServeError {
    fn from(error: StoreError) -> Self {
        Self::State(error.into())
    }
}

/// Opens the database, makes it if it is missing, and brings its tables up to date.
///
/// # Errors
///
/// [`OpenError`].
#[must_use]
pub fn open(config: &Config, clock: Arc<dyn Clock>, ids: Ids) -> Boxed<'_, Result<Hq, OpenError>> {
    Box::pin(open_store(config, clock, ids))
}

async fn open_store(config: &Config, clock: Arc<dyn Clock>, ids: Ids) -> Result<Hq, OpenError> {
    let store = match &config.database {
        DatabaseUrl::Sqlite(path) => AnyStore::Sqlite(SqliteStore::open(path, config, &ids).await?),
        DatabaseUrl::Postgres(url) => AnyStore::Postgres(PostgresStore::open(url, config, &ids).await?),
    };
    Ok(Hq { store, clock, ids, watchdog: config.watchdog, door: config.door.clone() })
}

/// Notes that the database was restored from a backup, before it is served again: another epoch begins, and nothing changes
/// until the channels that it knows, and `expected` ones, have brought what it has lost. Gives whom it waits for.
///
/// # Errors
///
/// [`RestoreError`].
pub async fn mark_restored(
    config: &Config,
    expected: &[ChannelId],
    ids: Ids,
) -> Result<Vec<String>, RestoreError> {
    let epoch = ids.mint();
    Ok(match &config.database {
        DatabaseUrl::Sqlite(path) => {
            SqliteStore::open(path, config, &ids).await?.mark_restored(epoch, expected).await?
        }
        DatabaseUrl::Postgres(url) => {
            PostgresStore::open(url, config, &ids).await?.mark_restored(epoch, expected).await?
        }
    })
}

/// Serves on a listener, and runs the customer sync job, until `shutdown` is cancelled. Then streams end, calls
/// end within `service_kit::serve::DRAIN`, and what they have committed has been answered.
///
/// # Errors
///
/// [`ServeError`].
#[must_use]
pub fn serve(
    incoming: impl Into<Incoming>,
    shutdown: CancellationToken,
    hq: Hq,
) -> Boxed<'static, Result<(), ServeError>> {
    hq.serve(incoming.into(), shutdown)
}

impl Hq {
    fn serve(
        self,
        incoming: Incoming,
        shutdown: CancellationToken,
    ) -> Boxed<'static, Result<(), ServeError>> {
        let Self { store, clock, ids, watchdog, door } = self;
        match store {
            AnyStore::Sqlite(store) => Box::pin(run(incoming, shutdown, store, (clock, ids), watchdog, door)),
            AnyStore::Postgres(store) => {
                Box::pin(run(incoming, shutdown, store, (clock, ids), watchdog, door))
            }
        }
    }
}

pub(crate) async fn run<S: Store>(
    incoming: Incoming,
    shutdown: CancellationToken,
    store: S,
    (clock, ids): (Arc<dyn Clock>, Ids),
    watchdog: Duration,
    door: DoorConfig,
) -> Result<(), ServeError> {
    // Ends what runs beside the server when the server ends, for whatever reason.
    let stop = shutdown.child_token();
    let (hq, waited) = Headquarters::open(store, Arc::clone(&clock), ids, stop.clone()).await?;
    let waited = tokio::spawn(waited.run());
    let job = tokio::spawn(supervision::supervise(hq.clone(), watchdog, stop.clone()));
    let (lease, kept, until) = (hq.store.lease().clone(), Arc::clone(&clock), stop.clone());
    let keeper = lease.clone();
    let keeper = tokio::spawn(async move { keeper.keep(kept, until).await });
    let (finding, until) = (hq.clone(), stop.clone());
    let finder = tokio::spawn(async move {
        let work = |turn: CancellationToken| {
            let (finding, erasing, until) = (finding.clone(), finding.clone(), turn.clone());
            async move {
                tokio::join!(duplicates::run(finding, turn), erasure::run(erasing, until));
            }
        };
        lease.while_held(&until, work).await;
    });
    let others = tokio::spawn(others::run(hq.clone(), stop.clone()));
    let server = Server {
        routes: grpc::routes(&hq),
        names: grpc::NAMES,
        descriptors: pb::DESCRIPTORS,
        web: Vec::new(),
        door,
        access: grpc::ACCESS,
        clock,
    };
    // What callers wait for ends when nobody can wait any more.
    drop(hq);
    let served = server.serve(incoming, shutdown).await;
    stop.cancel();
    let ended = async {
        let mut failed = false;
        for task in [waited, job, finder, others, keeper] {
            failed |= task.await.is_err();
        }
        failed
    };
    match tokio::time::timeout(TASKS_END, ended).await {
        Ok(false) => {}
        Ok(true) => warn!("a task of headquarters had failed"),
        Err(_) => warn!("a task of headquarters was still at work and is left behind"),
    }
    Ok(served?)
}
