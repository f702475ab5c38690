//! Two processes of a store on one database, and two of headquarters on another.

use service_kit::{database::DatabaseUrl, testing::postgres};

use crate::{
    client::{Headquarters, Store, audit, until},
    processes::{Process, Tills, free_port},
};

/// Creates that must be acknowledged before each kill and after the last.
const CREATES: usize = 100;

async fn database(test: &str) -> Option<String> {
    match postgres(test).await? {
        DatabaseUrl::Postgres(url) => Some(url),
        DatabaseUrl::Sqlite(_) => panic!("a PostgreSQL URL"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_share_their_databases_are_killed_in_turn_and_nobody_is_lost_or_doubled() {
    let (Some(hq_data), Some(store_data)) = (database("several hq").await, database("several stores").await)
    else {
        return;
    };
    let (mut processes, mut hqs, mut stores) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..2 {
        let port = free_port();
        processes.push(Process::start(&["hq", &port, &hq_data]));
        hqs.push(format!("http://127.0.0.1:{port}"));
    }
    for hq in &hqs {
        let port = free_port();
        processes.push(Process::start(&["channel", &port, &store_data, "store-1", hq, hq]));
        let store = Store::new("store-1", &format!("http://127.0.0.1:{port}"));
        until("the store answers", async || store.status().await.is_ok()).await;
        stores.push(store);
    }
    // Told to one headquarters, while the store that listens may listen to the other.
    let hq = Headquarters::new(&hqs[1]);
    hq.answers().await;
    hq.set_mode(&stores[0], true, true).await;
    let in_async_mode = async || {
        let status = stores[1].status().await.expect("a status");
        status.profile.is_some_and(|profile| profile.create_customer_async)
    };
    until("the other process of the store knows its mode", in_async_mode).await;

    let tills = Tills::start(&stores);
    // Both of headquarters and both of the store, one after the other: among them whoever does the background work.
    for process in &mut processes {
        tills.more(CREATES).await;
        process.kill();
        process.start_again();
    }
    tills.more(CREATES).await;
    let acknowledged = tills.stop().await;
    assert!(acknowledged.len() >= 5 * CREATES);
    audit(&hq, &stores.iter().collect::<Vec<_>>(), &acknowledged).await;
    let status = hq.status().await;
    assert_eq!(status.customers, acknowledged.len() as u64);
}
