//! Headquarters, and a store, are lost and come back from an older backup.

use std::{collections::BTreeMap, path::Path, process::Command, sync::Arc};

use service_kit::{
    backup::{backup_sqlite, restore_sqlite},
    clock::{Ids, SystemClock},
    database::DatabaseUrl,
    testing::postgres,
    throwaway::binaries,
};
use tillsync_proto::pb::{
    channel::{CreatePath, IssueLoyaltyCardRequest, UpdateCustomerRequest},
    common::{Customer, Job},
    hq::EndRecoveryRequest,
};
use uuid::Uuid;

use crate::{
    client::{Headquarters, Store, audit, mint, person, until},
    processes::{Process, Tills, free_port},
};

/// Creates that must be acknowledged in each part.
const CREATES: usize = 60;

/// A database, its backup, and what comes of it.
pub struct Data {
    test: &'static str,
    pub url: String,
    pub folder: tempfile::TempDir,
}

impl Data {
    /// `None` if the machine lacks the database.
    pub async fn new(sqlite: bool, test: &'static str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let url = match sqlite {
            true => format!("sqlite:{}", folder.path().join("data.db").display()),
            false => postgres_url(test).await?,
        };
        Some(Self { test, url, folder })
    }

    pub fn parsed(&self) -> DatabaseUrl {
        self.url.parse().expect("a URL")
    }

    /// While a service uses it.
    async fn back_up(&self) {
        let copy = self.folder.path().join("copy.db");
        match self.parsed() {
            DatabaseUrl::Sqlite(path) => {
                backup_sqlite(&path, &copy).await.expect("a copy");
                let log = channel_svc::log_file(&path);
                if log.exists() {
                    backup_sqlite(&log, &channel_svc::log_file(&copy)).await.expect("a copy");
                }
            }
            DatabaseUrl::Postgres(url) => tool("pg_dump", &["-Fc", "-f", text(&copy), &url]),
        }
    }

    /// The lost database is not used again.
    async fn bring_back(&mut self) {
        let copy = self.folder.path().join("copy.db");
        match self.parsed() {
            DatabaseUrl::Sqlite(_) => {
                let path = self.folder.path().join("restored.db");
                restore_sqlite(&copy, &path).await.expect("restored");
                let log = channel_svc::log_file(&copy);
                if log.exists() {
                    restore_sqlite(&log, &channel_svc::log_file(&path)).await.expect("restored");
                }
                self.url = format!("sqlite:{}", path.display());
            }
            DatabaseUrl::Postgres(_) => {
                self.url = postgres_url(self.test).await.expect("it was there");
                tool("pg_restore", &["--no-owner", "-d", &self.url, text(&copy)]);
            }
        }
    }
}

async fn postgres_url(test: &str) -> Option<String> {
    match postgres(test).await? {
        DatabaseUrl::Postgres(url) => Some(url),
        DatabaseUrl::Sqlite(_) => panic!("a PostgreSQL URL"),
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder has a plain name")
}

pub fn tool(name: &str, arguments: &[&str]) {
    let program = binaries().expect("PostgreSQL is there").join(name);
    let ended = Command::new(program).args(arguments).status().expect("it runs");
    assert!(ended.success(), "{name} {arguments:?}");
}

fn ids() -> Ids {
    Ids::from_os(Arc::new(SystemClock))
}

/// Headquarters and stores: the first async, the others sync with the fallback.
struct Chain {
    hq_process: Process,
    hq: Headquarters,
    processes: Vec<Process>,
    stores: Vec<Store>,
}

impl Chain {
    async fn start(hq_data: &Data, store_data: &[&Data]) -> Self {
        let hq_port = free_port();
        let hq_url = format!("http://127.0.0.1:{hq_port}");
        let hq_process = Process::start(&["hq", &hq_port, &hq_data.url]);
        let (mut processes, mut stores) = (Vec::new(), Vec::new());
        for (n, data) in store_data.iter().enumerate() {
            let (port, id) = (free_port(), format!("store-{}", n + 1));
            processes.push(Process::start(&["channel", &port, &data.url, &id, &hq_url, &hq_url]));
            stores.push(Store::new(&id, &format!("http://127.0.0.1:{port}")));
        }
        let hq = Headquarters::new(&hq_url);
        hq.answers().await;
        for (n, store) in stores.iter().enumerate() {
            until("the store answers", async || store.status().await.is_ok()).await;
            hq.set_mode(store, n == 0, true).await;
        }
        Self { hq_process, hq, processes, stores }
    }

    async fn numbers(&self) -> BTreeMap<String, String> {
        let customers = self.hq.customers().await.into_iter();
        customers.map(|customer| (customer.customer_id, customer.account_number)).collect()
    }
}

async fn edit(store: &Store, id: Uuid) {
    let request = UpdateCustomerRequest {
        customer: id.to_string(),
        values: Some(Customer { tax_id: "after the backup".to_owned(), ..Customer::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["tax_id".to_owned()] }),
        validate_only: false,
    };
    store.tills.clone().update_customer(request).await.expect("edited");
}

async fn hq_is_lost(sqlite: bool) {
    const TEST: &str = "headquarters restored";
    let Some(mut data) = Data::new(sqlite, TEST).await else { return };
    let mut store_data = Vec::new();
    for _ in 0..3 {
        store_data.push(Data::new(sqlite, TEST).await.expect("as before"));
    }
    let mut chain = Chain::start(&data, &store_data.iter().collect::<Vec<_>>()).await;
    let (epoch, two) = (chain.hq.status().await.epoch, chain.stores[..2].to_vec());

    let tills = Tills::start(&two);
    tills.more(CREATES).await;
    until("the stores have told of themselves", async || {
        chain.hq.status().await.channels.iter().filter(|channel| channel.status.is_some()).count() == 3
    })
    .await;
    data.back_up().await;
    tills.more(CREATES).await;
    let mut acknowledged = tills.stop().await;
    // What is told after the backup: account numbers, sync and async, an edit, a card.
    let edited = *acknowledged.first().expect("some");
    audit(&chain.hq, &two.iter().collect::<Vec<_>>(), &acknowledged).await;
    edit(&two[1], edited).await;
    let issue = IssueLoyaltyCardRequest { customer: edited.to_string(), ..Default::default() };
    let card = two[1].tills.clone().issue_loyalty_card(issue).await.expect("a card").into_inner().card_number;
    audit(&chain.hq, &two.iter().collect::<Vec<_>>(), &acknowledged).await;
    let numbers = chain.numbers().await;
    // What has arrived and was answered, and nobody was told an account number of.
    chain.hq.hold(true).await;
    let tills = Tills::start(&two[..1]);
    tills.more(CREATES).await;
    acknowledged.append(&mut tills.stop().await);
    chain.hq.run(Job::Upload, &two[0].id).await;
    let status = two[0].status().await.expect("a status");
    assert_eq!(status.uploaded_counter, status.logged_counter);

    // The third store is lost for good, too.
    chain.processes[2].kill();
    chain.hq_process.kill();
    data.bring_back().await;
    let config = hq_svc::Config::new(data.parsed());
    let awaited = hq_svc::mark_restored(&config, &[], ids()).await.expect("noted");
    assert_eq!(awaited, ["store-1", "store-2", "store-3"]);
    let tills = Tills::start(&two);
    chain.hq_process.start_again_on(&data.url);
    chain.hq.answers().await;
    assert_ne!(chain.hq.status().await.epoch, epoch);
    until("two stores have brought what was lost", async || {
        chain.hq.status().await.awaited_channels == ["store-3"]
    })
    .await;
    // Nobody gets a number while somebody may know of one that was given.
    let late = mint();
    let created = two[1].create(late, person(&late.simple().to_string())).await.expect("a customer");
    assert_eq!((created.path(), created.fallback_cause.as_str()), (CreatePath::AsyncFallback, "UNAVAILABLE"));
    assert_eq!(chain.hq.status().await.arrivals_completed, chain.hq.status().await.arrivals_completed);
    let end = EndRecoveryRequest { channel_id: "store-3".to_owned() };
    let left = chain.hq.admin.clone().end_recovery(end).await.expect("it can end").into_inner();
    assert!(left.awaited_channels.is_empty());
    tills.more(CREATES).await;
    acknowledged.append(&mut tills.stop().await);
    acknowledged.insert(late);

    audit(&chain.hq, &two.iter().collect::<Vec<_>>(), &acknowledged).await;
    let after = chain.numbers().await;
    assert_eq!(after.len(), acknowledged.len(), "nobody else is there");
    for (id, number) in &numbers {
        assert_eq!(after.get(id), Some(number), "the number that was told stays {id}'s");
    }
    for store in &two {
        until("1010 brings the newest", async || {
            let known = store.get(&edited.to_string()).await.expect("known");
            known.tax_id == "after the backup" && known.loyalty_cards == [card.clone()]
        })
        .await;
    }
    let issue = IssueLoyaltyCardRequest { customer: late.to_string(), ..Default::default() };
    let other =
        two[1].tills.clone().issue_loyalty_card(issue).await.expect("a card").into_inner().card_number;
    assert_ne!(other, card);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x7_headquarters_restored_from_an_older_backup_heals_on_sqlite() {
    hq_is_lost(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x7_headquarters_restored_from_an_older_backup_heals_on_postgresql() {
    hq_is_lost(false).await;
}

async fn a_store_is_lost(sqlite: bool) {
    const TEST: &str = "store restored";
    let (Some(hq_data), Some(mut data)) = (Data::new(sqlite, TEST).await, Data::new(sqlite, TEST).await)
    else {
        return;
    };
    let mut chain = Chain::start(&hq_data, &[&data]).await;
    let tills = Tills::start(&chain.stores);
    tills.more(CREATES).await;
    data.back_up().await;
    tills.more(CREATES).await;
    let mut acknowledged = tills.stop().await;
    audit(&chain.hq, &[&chain.stores[0]], &acknowledged).await;
    let before = chain.stores[0].status().await.expect("a status").uploaded_counter;

    chain.processes[0].kill();
    data.bring_back().await;
    channel_svc::mark_restored(&data.parsed(), ids()).await.expect("noted");
    chain.processes[0].start_again_on(&data.url);
    until("the store answers", async || chain.stores[0].status().await.is_ok()).await;
    let tills = Tills::start(&chain.stores);
    tills.more(CREATES).await;
    acknowledged.append(&mut tills.stop().await);
    // Those that the backup lacks come back by 1010, and no new operation is taken for one that was sent before.
    audit(&chain.hq, &[&chain.stores[0]], &acknowledged).await;
    assert_eq!(chain.numbers().await.len(), acknowledged.len());
    assert!(chain.stores[0].status().await.expect("a status").logged_counter > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x4_a_store_restored_from_an_older_backup_uses_no_counter_again_on_sqlite() {
    a_store_is_lost(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x4_a_store_restored_from_an_older_backup_uses_no_counter_again_on_postgresql() {
    a_store_is_lost(false).await;
}
