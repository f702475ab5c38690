//! A customer is erased: from every table, log, status, search and terminal, and does not come back.

use service_kit::{backup::compact_sqlite, database::DatabaseUrl, problem::reason};
use tillsync_proto::pb::{
    channel::{IssueLoyaltyCardRequest, Scope, UpdateCustomerRequest},
    common::{Customer, Feature, Job, Operation, operation::Change},
    hq::{
        EraseCustomerRequest, Erasure, ListErasuresRequest, ListSyncStatusesRequest, UpdateFlagRequest,
        UploadOperationsRequest, data_exchange_service_client::DataExchangeServiceClient,
    },
};
use tonic::Code;
use uuid::Uuid;

use crate::{
    chain::found,
    client::{Headquarters, Store, mint, person, until},
    marked::{found_in, found_in_file, marked},
    processes::{Process, free_port},
    restored::Data,
};

const MARK: &str = "zqxjkv";
const DIGITS: &str = "7365519427";
const MARKS: [&str; 2] = [MARK, DIGITS];
const OTHER: &str = "bystanding";

async fn erasure(hq: &Headquarters, id: Uuid) -> Erasure {
    let request = ListErasuresRequest { customer_id: id.to_string(), ..Default::default() };
    let list = hq.admin.clone().list_erasures(request).await.expect("a list").into_inner();
    list.erasures.into_iter().next().expect("the erasure is on record")
}

async fn upload(hq_url: &str, counter: u64, id: Uuid, customer: Customer) {
    let mut exchange = DataExchangeServiceClient::connect(hq_url.to_owned()).await.expect("headquarters");
    let customer_id = id.to_string();
    let operation =
        Operation { counter, customer_id, change: Some(Change::Create(customer)), ..Default::default() };
    let request = UploadOperationsRequest {
        channel_id: "old-1".to_owned(),
        operations: vec![operation],
        ..Default::default()
    };
    exchange.upload_operations(request).await.expect("taken");
}

/// Both edit paths and a card, so that every table has something of the customer.
async fn use_everything(hq: &Headquarters, stores: &[Store], id: Uuid) {
    for store in stores {
        until("every store knows the customer", async || {
            store.get(&id.to_string()).await.is_ok_and(|known| !known.account_number.is_empty())
        })
        .await;
        let request = UpdateCustomerRequest {
            customer: id.to_string(),
            values: Some(Customer { tax_id: format!("{MARK}-{}", store.id), ..Customer::default() }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["tax_id".to_owned()] }),
            validate_only: false,
        };
        store.tills.clone().update_customer(request).await.expect("edited");
        hq.run(Job::Upload, &store.id).await;
        hq.run(Job::CustomerSync, "").await;
    }
    let issue = IssueLoyaltyCardRequest {
        customer: id.to_string(),
        card_number: format!("CARD-{MARK}"),
        ..Default::default()
    };
    stores[0].tills.clone().issue_loyalty_card(issue).await.expect("a card");
}

async fn refused_as_erased(store: &Store, id: Uuid) {
    for refusal in [
        store.get(&id.to_string()).await.expect_err("erased"),
        store.create(id, marked(MARK, DIGITS)).await.expect_err("erased"),
    ] {
        assert_eq!(
            (refusal.code(), reason(&refusal).as_deref()),
            (Code::FailedPrecondition, Some("CUSTOMER_ERASED"))
        );
    }
    assert!(found(store, &format!("{MARK}@example.com"), Scope::Store).await.is_empty());
    assert!(found(store, &format!("{MARK}@example.com"), Scope::AllStores).await.is_empty());
}

#[expect(clippy::too_many_lines, reason = "one story, told from its beginning to its end")]
async fn a_customer_is_erased(sqlite: bool) {
    const TEST: &str = "erased";
    let Some(hq_data) = Data::new(sqlite, TEST).await else { return };
    let mut data = Vec::new();
    for _ in 0..2 {
        data.push(Data::new(sqlite, TEST).await.expect("as before"));
    }
    let till_data = Data::new(true, TEST).await.expect("SQLite is built in");
    let hq_port = free_port();
    let hq_url = format!("http://127.0.0.1:{hq_port}");
    let mut processes = vec![Process::start(&["hq", &hq_port, &hq_data.url])];
    let mut stores = Vec::new();
    for (n, data) in data.iter().enumerate() {
        let (port, id) = (free_port(), format!("store-{}", n + 1));
        processes.push(Process::start(&["channel", &port, &data.url, &id, &hq_url, &hq_url]));
        stores.push(Store::new(&id, &format!("http://127.0.0.1:{port}")));
    }
    let hq = Headquarters::new(&hq_url);
    hq.answers().await;
    for feature in [
        Feature::OrderPerformance,
        Feature::AsyncAddresses,
        Feature::EnhancedAsyncCreate,
        Feature::AsyncEdit,
        Feature::OperationsAudit,
    ] {
        let request = UpdateFlagRequest { feature: feature.into(), enabled: true };
        hq.admin.clone().update_flag(request).await.expect("switched");
    }
    for (n, store) in stores.iter().enumerate() {
        until("the store answers", async || store.status().await.is_ok()).await;
        hq.set_mode(store, n == 0, true).await;
        hq.run(Job::GlobalConfiguration1110, &store.id).await;
    }
    let port = free_port();
    processes.push(Process::start(&["terminal", &port, &till_data.url, "till-1", &stores[0].url]));
    let till = Store::new("till-1", &format!("http://127.0.0.1:{port}"));
    until("the terminal answers", async || till.status().await.is_ok()).await;

    let (id, other) = (mint(), mint());
    stores[0].create(id, marked(MARK, DIGITS)).await.expect("a customer");
    stores[1].create(other, person(OTHER)).await.expect("a customer");
    use_everything(&hq, &stores, id).await;
    // The same GUID with other content, which waits for a person to look at it, and one that shares the e-mail.
    upload(&hq_url, 1, id, Customer { tax_id: "other".to_owned(), ..marked(MARK, DIGITS) }).await;
    hq.run(Job::CustomerSync, "").await;
    until("the terminal knows the customer", async || {
        found_in_file(&till_data.folder.path().join("data.db-wal"), &MARKS).is_some()
    })
    .await;
    assert!(found_in(&hq_data, &MARKS).is_some() && data.iter().all(|data| found_in(data, &MARKS).is_some()));

    let request =
        EraseCustomerRequest { customer: id.to_string(), requested_by: "the privacy officer".to_owned() };
    let erased = hq.admin.clone().erase_customer(request.clone()).await.expect("erased").into_inner().erasure;
    let erased = erased.expect("a record");
    assert_eq!(
        (erased.customer_id.as_str(), erased.requested_by.as_str(), erased.caller.as_str()),
        (id.to_string().as_str(), "the privacy officer", ""),
        "where nobody has to show who he is, nobody is said to have"
    );
    until("both stores have told that they have", async || {
        erasure(&hq, id).await.awaited_channels.is_empty()
    })
    .await;
    let confirmed = erasure(&hq, id).await.confirmations;
    assert_eq!(
        confirmed.iter().map(|one| one.channel_id.as_str()).collect::<Vec<_>>(),
        ["store-1", "store-2"]
    );
    // Again, and what comes late: nothing brings the customer back.
    hq.admin.clone().erase_customer(request).await.expect("free of effect");
    upload(&hq_url, 2, id, marked(MARK, DIGITS)).await;
    hq.run(Job::CustomerSync, "").await;
    for store in &stores {
        refused_as_erased(store, id).await;
        store.get(&other.to_string()).await.expect("the other customer is there");
    }
    let request = ListSyncStatusesRequest { customer: id.to_string(), ..Default::default() };
    let statuses = hq.admin.clone().list_sync_statuses(request).await.expect("statuses").into_inner();
    assert!(statuses.operations.len() >= 4, "that there were operations stays");
    let version = hq.status().await.head_version;
    until("the terminal has erased the customer, too", async || {
        till.status().await.is_ok_and(|status| status.feed_cursor.is_some_and(|at| at.version >= version))
    })
    .await;

    processes.clear();
    let all = [&hq_data, &data[0], &data[1], &till_data];
    for data in all {
        // What SQLite has freed and not used again, and what its write-ahead log says of before.
        if let DatabaseUrl::Sqlite(path) = data.parsed() {
            compact_sqlite(&path).await.expect("written anew");
            let log = channel_svc::log_file(&path);
            if log.exists() {
                compact_sqlite(&log).await.expect("written anew");
            }
        }
        assert_eq!(found_in(data, &MARKS), None);
        assert!(found_in(data, &[OTHER]).is_some(), "what is looked for is found where it is");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z5_an_erased_customer_is_nowhere_and_does_not_come_back_on_sqlite() {
    a_customer_is_erased(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z5_an_erased_customer_is_nowhere_and_does_not_come_back_on_postgresql() {
    a_customer_is_erased(false).await;
}
