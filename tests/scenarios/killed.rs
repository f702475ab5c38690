//! Processes that are killed (SIGKILL) while they work, and started again.

use std::collections::BTreeSet;

use service_kit::{database::DatabaseUrl, testing::replicated_postgres};
use uuid::Uuid;

use crate::{
    client::{Headquarters, Store, audit, mint, person, until},
    processes::{Process, Tills, free_port},
};

/// Creates that must be acknowledged in each part of a scenario: before the kill, while the service is gone,
/// and after it has come back.
const CREATES: usize = 150;
/// Creates that a terminal acknowledges while it is cut off.
const OFFLINE: usize = 1_000;
/// Headquarters and two stores in processes of their own: the first async, the second sync with the fallback.
struct Chain {
    hq_process: Process,
    store_processes: Vec<Process>,
    hq: Headquarters,
    stores: Vec<Store>,
    folder: tempfile::TempDir,
}

impl Chain {
    async fn start() -> Self {
        Self::with(None).await
    }

    /// The first store on a database of its own.
    async fn with(first_database: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
        let mut first_database = first_database.map(str::to_owned);
        let hq_port = free_port();
        let hq_url = format!("http://127.0.0.1:{hq_port}");
        let hq_process = Process::start(&["hq", &hq_port, &file("hq.db")]);
        let (mut stores, mut store_processes) = (Vec::new(), Vec::new());
        for id in ["store-1", "store-2"] {
            let port = free_port();
            let database = first_database.take().unwrap_or_else(|| file(&format!("{id}.db")));
            store_processes.push(Process::start(&["channel", &port, &database, id, &hq_url, &hq_url]));
            stores.push(Store::new(id, &format!("http://127.0.0.1:{port}")));
        }
        let hq = Headquarters::new(&hq_url);
        hq.answers().await;
        for (store, create_async) in stores.iter().zip([true, false]) {
            until("the store answers", async || store.status().await.is_ok()).await;
            hq.set_mode(store, create_async, true).await;
        }
        Self { hq_process, store_processes, hq, stores, folder }
    }

    /// A terminal of the first store.
    async fn terminal(&self) -> (Process, Store) {
        let port = free_port();
        let database = format!("sqlite:{}", self.folder.path().join("till-1.db").display());
        let process = Process::start(&["terminal", &port, &database, "till-1", &self.stores[0].url]);
        let terminal = Store::new("till-1", &format!("http://127.0.0.1:{port}"));
        until("the terminal answers", async || terminal.status().await.is_ok()).await;
        (process, terminal)
    }

    async fn audit(&self, acknowledged: &BTreeSet<Uuid>) {
        audit(&self.hq, &self.stores.iter().collect::<Vec<_>>(), acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m4_headquarters_is_killed_and_creates_go_on() {
    let mut chain = Chain::start().await;
    let tills = Tills::start(&chain.stores);
    tills.more(CREATES).await;
    chain.hq_process.kill();
    tills.more(CREATES).await;
    chain.hq_process.start_again();
    tills.more(CREATES).await;
    let acknowledged = tills.stop().await;
    assert!(acknowledged.len() >= 3 * CREATES);
    chain.audit(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m8_stores_are_killed_and_every_acknowledged_create_is_there() {
    let mut chain = Chain::start().await;
    let tills = Tills::start(&chain.stores);
    for _ in 0..3 {
        for victim in 0..chain.store_processes.len() {
            tills.more(CREATES / 3).await;
            chain.store_processes[victim].kill();
            chain.store_processes[victim].start_again();
        }
    }
    let acknowledged = tills.stop().await;
    chain.audit(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o4_a_terminal_is_cut_off_and_killed_and_everyone_it_created_arrives_once() {
    let mut chain = Chain::start().await;
    let (mut process, terminal) = chain.terminal().await;
    let online = mint();
    terminal.create(online, person(&online.simple().to_string())).await.expect("the store answers");
    chain.stores[0].get(&online.to_string()).await.expect("online, the customer is in the store");

    chain.store_processes[0].kill();
    let tills = Tills::start(std::slice::from_ref(&terminal));
    tills.more(OFFLINE / 2).await;
    process.kill();
    process.start_again();
    tills.more(OFFLINE / 2).await;
    chain.store_processes[0].start_again();
    tills.more(1).await;
    let mut acknowledged = tills.stop().await;
    acknowledged.insert(online);
    assert!(acknowledged.len() > OFFLINE);
    terminal.drained().await;
    chain.audit(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m12_an_acknowledged_create_survives_the_loss_of_the_database_server_that_took_it() {
    let Some(servers) = replicated_postgres("m12").await else { return };
    let url = |database: &DatabaseUrl| match database {
        DatabaseUrl::Postgres(url) => url.clone(),
        DatabaseUrl::Sqlite(_) => panic!("a PostgreSQL URL"),
    };
    let mut chain = Chain::with(Some(&url(&servers.primary))).await;
    // Nothing is brought to headquarters before the loss: only the standby has what was acknowledged.
    chain.hq.hold(true).await;
    let tills = Tills::start(&chain.stores[..1]);
    tills.more(CREATES).await;
    servers.lose_primary();
    chain.store_processes[0].kill();
    servers.promote().await;
    chain.store_processes[0].start_again_on(&url(&servers.standby));
    tills.more(CREATES).await;
    let acknowledged = tills.stop().await;
    assert!(acknowledged.len() >= 2 * CREATES);
    chain.hq.hold(false).await;
    chain.audit(&acknowledged).await;
}
