//! How a channel is put together.

use std::{path::PathBuf, sync::Arc, time::Duration};

use service_kit::{
    clock::{Clock, Ids},
    config::Chain,
    database::{self, DatabaseUrl},
    network::Incoming,
    serve::{Boxed, ServeError, Server},
    way::{Route, WayError},
};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};
use uuid::Uuid;

use crate::{
    breaker::Breaker,
    config::Config,
    customers::{self, Current, Customers},
    exchange::{self, Exchange, Headquarters},
    find::MAX_PAGES,
    follower::{Follower, catch_up},
    grpc,
    log::{Appender, Tail},
    metrics::Metrics,
    others::Others,
    rts::{Rts, route},
    store::{LogRow, PostgresStore, Settings, SqliteStore, Store, StoreError, TableProgress},
    terminal::Link,
    watchers::Watchers,
};

/// How long the appender may take for what is queued once nothing more comes.
const LAST_COMMITS: Duration = Duration::from_secs(5);
/// How often the log is written back where its database needs that.
const CHECKPOINT: Duration = Duration::from_millis(100);
/// How often it is looked whether log entries can go: every this many checkpoints.
const PRUNE_EVERY: u32 = 10;

/// How far the log of a restored database goes on behind its end: more operations than any channel logs between a backup
/// and its restore.
const LEAP: u64 = 1 << 32;

/// Why a channel could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database cannot be opened.
    #[error(transparent)]
    Database(#[from] database::OpenError),
    /// The tables are corrupted. They were not written to.
    #[error(
        "the database file {path} is corrupted ({what}); it is left as it is. Its tables are built again, from the log and \
         from headquarters, once it has been moved away with its -wal and -shm"
    )]
    Tables {
        /// Their file.
        path: PathBuf,
        /// What SQLite says.
        what: String,
    },
    /// What it holds cannot be read.
    #[error("the database cannot be read: {0}")]
    Content(String),
    /// An address is not one such as `http://127.0.0.1:7200`, or what is to be shown there cannot be used.
    #[error("{what}: {source}")]
    Address {
        /// Which.
        what: &'static str,
        /// Why.
        source: WayError,
    },
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        Self::Content(Chain(&error).to_string())
    }
}

/// A channel, opened, on either database.
pub struct Channel(Opened);

enum Opened {
    Sqlite(Box<Deps<SqliteStore>>),
    Postgres(Box<Deps<PostgresStore>>),
}

/// What serving needs.
pub(crate) struct Deps<S> {
    config: Config,
    store: S,
    settings: Settings,
    /// The newest entry of the log.
    newest: u64,
    /// Whether everything in it has been uploaded.
    level: bool,
    rts: Route,
    hq: Route,
    clock: Arc<dyn Clock>,
    ids: Ids,
}

/// Opens a channel's database, or makes it, and applies what its log holds and its tables lack. Headquarters
/// need not be there.
///
/// # Errors
///
/// [`OpenError`].
#[must_use]
pub fn open(config: &Config, clock: Arc<dyn Clock>, ids: Ids) -> Boxed<'_, Result<Channel, OpenError>> {
    Box::pin(open_store(config, clock, ids))
}

async fn open_store(config: &Config, clock: Arc<dyn Clock>, ids: Ids) -> Result<Channel, OpenError> {
    let opened = match &config.database {
        DatabaseUrl::Sqlite(path) => {
            let store = SqliteStore::open(path, ids.clone()).await.map_err(|error| match error {
                database::OpenError::Corrupt { path: corrupt, what } if corrupt == *path => {
                    OpenError::Tables { path: corrupt, what }
                }
                other => other.into(),
            })?;
            Opened::Sqlite(Box::new(Deps::read(config, store, clock, ids).await?))
        }
        DatabaseUrl::Postgres(url) => {
            let store = PostgresStore::open(url, ids.clone()).await?;
            Opened::Postgres(Box::new(Deps::read(config, store, clock, ids).await?))
        }
    };
    Ok(Channel(opened))
}

/// Notes that a channel's database was restored from a backup, before it is served again. Counters that it may have used
/// since the backup are not used again: headquarters would take what they count for what it has. Terminals of a store send
/// again what they still hold.
///
/// # Errors
///
/// [`OpenError`].
pub async fn mark_restored(database: &DatabaseUrl, ids: Ids) -> Result<(), OpenError> {
    match database {
        DatabaseUrl::Sqlite(path) => {
            go_on_behind(&SqliteStore::open(path, ids.clone()).await?, ids.mint()).await
        }
        DatabaseUrl::Postgres(url) => {
            go_on_behind(&PostgresStore::open(url, ids.clone()).await?, ids.mint()).await
        }
    }
}

async fn go_on_behind<S: Store>(store: &S, identity: Uuid) -> Result<(), OpenError> {
    let in_use = || OpenError::Content("a service uses it".to_owned());
    if !store.lease().won().await.map_err(StoreError::from)? {
        return Err(in_use());
    }
    let known = catch_up(store).await?;
    let newest = store.newest_of_all().await?.unwrap_or(known);
    let through = newest.max(known) + LEAP;
    // A row without entries: the next one is numbered behind it.
    let gap = LogRow { through, operation_through: None, body: Vec::new() };
    if !store.append(newest, vec![gap]).await? {
        return Err(in_use());
    }
    store.identify_anew(identity).await?;
    store.close().await;
    Ok(())
}

/// Serves a channel on a listener, follows its log and runs its jobs, until `shutdown` is cancelled and the last
/// call has ended, or the drain has taken too long.
///
/// # Errors
///
/// [`ServeError`].
#[must_use]
pub fn serve(
    incoming: impl Into<Incoming>,
    shutdown: CancellationToken,
    channel: Channel,
) -> Boxed<'static, Result<(), ServeError>> {
    channel.serve(incoming.into(), shutdown)
}

impl Channel {
    fn serve(
        self,
        incoming: Incoming,
        shutdown: CancellationToken,
    ) -> Boxed<'static, Result<(), ServeError>> {
        match self.0 {
            Opened::Sqlite(deps) => Box::pin(deps.serve(incoming, shutdown)),
            Opened::Postgres(deps) => Box::pin(deps.serve(incoming, shutdown)),
        }
    }
}

impl<S: Store> Deps<S> {
    pub(crate) async fn read(
        config: &Config,
        store: S,
        clock: Arc<dyn Clock>,
        ids: Ids,
    ) -> Result<Self, OpenError> {
        let address = |what, text: &str| {
            let route = route(text, &config.credentials);
            let route = route.map_err(|source| OpenError::Address { what, source })?;
            Ok::<_, OpenError>(route.over(config.network.clone()))
        };
        let (rts, hq) = (address("--rts", &config.rts)?, address("--hq", &config.hq)?);
        // While another process holds the lease it makes the tables, and what they lack goes to the tail.
        let newest = match store.lease().is_held() {
            true => catch_up(&store).await?,
            false => store.table_progress().await?.applied_through,
        };
        let log = store.log_progress().await?;
        let level = log.uploaded_through >= log.newest_operation;
        let mut settings = store.settings().await?;
        if settings.identity.is_none() {
            store.identify(ids.mint()).await?;
            settings = store.settings().await?;
        }
        Ok(Self { config: config.clone(), store, settings, newest, level, rts, hq, clock, ids })
    }

    pub(crate) async fn serve(
        self,
        incoming: Incoming,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let store = self.store.clone();
        let (link, web, door) = (self.link(), self.config.web_origins.clone(), self.config.door.clone());
        let running = self.wire(&shutdown);
        let Running { customers, exchange, appender, follower, housekeeper, clock, others } = running;
        let stop = CancellationToken::new();
        // Dropping this future stops the tasks as a crash would: what was acknowledged is in the log.
        let mut tasks = JoinSet::new();
        let lease = store.lease().clone();
        tasks.spawn(others.run(lease.clone(), stop.clone()));
        let (keeper, kept, until) = (lease.clone(), Arc::clone(&clock), stop.clone());
        tasks.spawn(async move { keeper.keep(kept, until).await });
        let (background, until) = (Arc::clone(&exchange), stop.clone());
        tasks.spawn(async move {
            let work = |turn: CancellationToken| {
                let (follower, housekeeper) = (follower.clone(), housekeeper.clone());
                let exchange = Arc::clone(&background);
                async move {
                    tokio::join!(
                        follower.run(turn.clone()),
                        housekeeper.run(turn.clone()),
                        exchange.run(turn)
                    );
                }
            };
            lease.while_held(&until, work).await;
        });
        let mut commits = JoinSet::new();
        commits.spawn(appender.run());

        let (routes, names, access) = match link {
            None => (grpc::routes(customers, exchange), grpc::NAMES, grpc::ACCESS),
            Some(link) => {
                tasks.spawn(Arc::clone(&link).run(store.clone(), stop.clone()));
                (
                    grpc::terminal_routes(customers, exchange, link),
                    grpc::TERMINAL_NAMES,
                    grpc::TERMINAL_ACCESS,
                )
            }
        };
        let server = Server { routes, names, descriptors: grpc::REFLECTED, web, door, access, clock };
        let served = server.serve(incoming, shutdown).await;
        stop.cancel();
        let _ = timeout(LAST_COMMITS, async { while tasks.join_next().await.is_some() {} }).await;
        // The appender ends when the last caller is gone.
        if timeout(LAST_COMMITS, commits.join_next()).await.is_err() {
            debug!("the appender is stopped with callers still there");
        }
        let _ = timeout(LAST_COMMITS, store.close()).await;
        served
    }

    /// The link of a terminal to its store.
    fn link(&self) -> Option<Arc<Link>> {
        let terminal = self.config.terminal.as_ref()?;
        Some(Link::new(self.hq.connect_lazy(), terminal, self.level))
    }

    /// Puts the parts together.
    pub(crate) fn wire(self, shutdown: &CancellationToken) -> Running<S> {
        let Self { config, store, settings, newest, level: _, rts, hq, clock, ids } = self;
        let metrics = Metrics::new(&config.channel_id);
        let tail = Arc::new(Tail::new(config.max_tail, newest));
        let watchers = Arc::new(Watchers::default());
        let current = Arc::new(Current::new(settings, config.configuration_cache, Arc::clone(&clock)));
        let (log, appender) =
            Appender::new(store.clone(), Arc::clone(&tail), Arc::clone(&watchers), metrics.clone());
        let follower = Follower {
            store: store.clone(),
            tail: Arc::clone(&tail),
            watchers: Arc::clone(&watchers),
            metrics: metrics.clone(),
            ids: ids.clone(),
        };
        let housekeeper = Housekeeper { store: store.clone(), retained: config.retained };
        let breaker = Arc::new(Breaker::default());
        let exchange = Exchange::new(exchange::Parts {
            store: store.clone(),
            log: log.clone(),
            hq: Headquarters::new(&hq, &config.channel_id),
            tail: Arc::clone(&tail),
            watchers: Arc::clone(&watchers),
            current: Arc::clone(&current),
            clock: Arc::clone(&clock),
            ids: ids.clone(),
            metrics: metrics.clone(),
            breaker: Arc::clone(&breaker),
            terminal: config.terminal.is_some(),
            watchdog: config.watchdog,
        });
        let customers = Customers::new(customers::Parts {
            store,
            log,
            tail,
            watchers,
            current,
            rts: Rts::new(&rts, &config.channel_id, metrics.clone()),
            breaker,
            pages: Semaphore::new(MAX_PAGES),
            clock: Arc::clone(&clock),
            ids,
            metrics,
            offline: config.terminal.is_some(),
            shutdown: shutdown.clone(),
        });
        let others = Others { customers: customers.clone(), seen: TableProgress::default() };
        let exchange = Arc::new(exchange);
        Running { customers, exchange, appender, follower, housekeeper, clock, others }
    }
}

/// The parts of a channel that serves.
pub(crate) struct Running<S> {
    pub customers: Customers<S>,
    pub exchange: Arc<Exchange<S>>,
    pub appender: Appender<S>,
    pub follower: Follower<S>,
    pub housekeeper: Housekeeper<S>,
    pub clock: Arc<dyn Clock>,
    pub others: Others<S>,
}

/// Keeps the log from growing without end: writes back what commits leave, and removes the oldest entries.
#[derive(Clone)]
pub(crate) struct Housekeeper<S> {
    pub store: S,
    pub retained: u64,
}

impl<S: Store> Housekeeper<S> {
    async fn run(self, stop: CancellationToken) {
        for round in 1_u32.. {
            if stop.run_until_cancelled(sleep(CHECKPOINT)).await.is_none() {
                return;
            }
            let done = match round % PRUNE_EVERY {
                0 => self.prune().await.map(|_| ()),
                _ => self.store.checkpoint().await,
            };
            if let Err(error) = done {
                error!(error = %Chain(&error), "the log cannot be kept small");
            }
        }
    }

    /// Removes a step of entries that have been answered and applied, and are beyond the bound (rule X4). Gives
    /// how many log rows went.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn prune(&self) -> Result<u64, StoreError> {
        let log = self.store.log_progress().await?;
        let applied = self.store.table_progress().await?.applied_through;
        let mut through = log.newest.saturating_sub(self.retained).min(applied);
        if log.uploaded_through < log.newest_operation {
            through = through.min(log.uploaded_through);
        }
        if through == 0 { Ok(0) } else { self.store.prune(through).await }
    }
}
