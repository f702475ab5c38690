//! Headquarters, the emulator and two stores in this process, over loopback, on either database.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use service_kit::{
    clock::{Clock, Ids, SystemClock},
    database::DatabaseUrl,
    testing::postgres,
};
use tempfile::TempDir;
use tillsync_proto::pb::{
    channel::{Scope, SearchCustomersRequest, search_customers_request::Criterion},
    common::Customer,
    emulator::emulator_service_client::EmulatorServiceClient,
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::client::{Headquarters, Store, audit};

/// Runs a scenario on both databases.
macro_rules! on_both_databases {
    ($($scenario:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                let chain = crate::chain::Chain::start(crate::chain::Database::Sqlite, stringify!($scenario)).await;
                super::$scenario(chain.expect("SQLite is built in")).await;
            })*
        }
        mod postgresql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                if let Some(chain) = crate::chain::Chain::start(crate::chain::Database::Postgres, stringify!($scenario)).await {
                    super::$scenario(chain).await;
                }
            })*
        }
    };
}

pub(crate) use on_both_databases;

/// Headquarters, the emulator and two stores.
pub struct Chain {
    pub hq: Headquarters,
    pub emulator: EmulatorServiceClient<Channel>,
    pub stores: [Store; 2],
    pub hq_url: String,
    pub rts_url: String,
    stop: CancellationToken,
    services: JoinSet<()>,
    folder: TempDir,
}

/// Which database the services use.
#[derive(Clone, Copy)]
pub enum Database {
    Sqlite,
    Postgres,
}

impl Chain {
    /// `None` if the machine lacks the database.
    pub async fn start(database: Database, test: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut databases = Vec::new();
        for name in ["hq", "store-1", "store-2"] {
            databases.push(match database {
                Database::Sqlite => DatabaseUrl::Sqlite(folder.path().join(format!("{name}.db"))),
                Database::Postgres => postgres(test).await?,
            });
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids = || Ids::from_os(Arc::clone(&clock));
        let stop = CancellationToken::new();
        let mut services = JoinSet::new();
        let mut databases = databases.into_iter();
        let mut next_database = || databases.next().expect("one for each service");

        let (listener, hq_url) = listen().await;
        let config = hq_svc::Config { database: next_database(), ..hq_svc::Config::default() };
        let hq = hq_svc::open(&config, Arc::clone(&clock), ids()).await.expect("headquarters opens");
        let token = stop.clone();
        services.spawn(async move { hq_svc::serve(listener, token, hq).await.expect("headquarters serves") });

        let (listener, rts_url) = listen().await;
        let deps =
            rts_emulator::Deps::forwarding(rts_emulator::Profile::default(), &hq_url, Arc::clone(&clock));
        let token = stop.clone();
        services.spawn(async move { rts_emulator::serve(listener, token, deps).await.expect("it serves") });

        let mut stores = Vec::new();
        for id in ["store-1", "store-2"] {
            let id_ok = id.parse().expect("a name");
            let config = channel_svc::Config::new(id_ok, next_database(), &rts_url, &hq_url);
            stores.push(serve(&mut services, &stop, config).await);
        }
        let stores = stores.try_into().unwrap_or_else(|_| unreachable!("two were made"));
        let emulator = EmulatorServiceClient::connect(rts_url.clone()).await.expect("the emulator answers");
        let hq = Headquarters::new(&hq_url);
        Some(Self { hq, emulator, stores, hq_url, rts_url, stop, services, folder })
    }

    /// Adds a store with an empty database.
    pub async fn join(&mut self, id: &str) -> Store {
        let database = DatabaseUrl::Sqlite(self.folder.path().join(format!("{id}.db")));
        let id = id.parse().expect("a name");
        let config = channel_svc::Config::new(id, database, &self.rts_url, &self.hq_url);
        serve(&mut self.services, &self.stop, config).await
    }

    /// Nobody is lost, nobody doubled, and every store knows them.
    pub async fn audit(&self, acknowledged: &BTreeSet<uuid::Uuid>) {
        audit(&self.hq, &[&self.stores[0], &self.stores[1]], acknowledged).await;
    }

    /// Ends every service, and waits until it has.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let drained = async { while self.services.join_next().await.is_some_and(|ended| ended.is_ok()) {} };
        tokio::time::timeout(Duration::from_secs(30), drained).await.expect("the services drain");
    }
}

async fn serve(services: &mut JoinSet<()>, stop: &CancellationToken, config: channel_svc::Config) -> Store {
    let (listener, url) = listen().await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ids = Ids::from_os(Arc::clone(&clock));
    let store = channel_svc::open(&config, clock, ids).await.expect("the store opens");
    let token = stop.clone();
    services.spawn(async move { channel_svc::serve(listener, token, store).await.expect("it serves") });
    Store::new(config.channel_id.as_str(), &url)
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    (listener, url)
}

/// Whom a store finds by e-mail.
pub async fn found(store: &Store, email: &str, scope: Scope) -> Vec<Customer> {
    let request = SearchCustomersRequest {
        criterion: Some(Criterion::Email(email.to_owned())),
        scope: scope.into(),
        ..SearchCustomersRequest::default()
    };
    store.tills.clone().search_customers(request).await.expect("a search").into_inner().customers
}
