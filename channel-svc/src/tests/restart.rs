//! What survives a crash (rules M8, M9), and what is built again.

use tillsync_proto::pb::{
    channel::{CreateCustomerRequest, CreatePath},
    common::SyncState,
};
use tokio::task::JoinSet;

use super::{
    headquarters::FakeHq,
    shop::{Place, Shop, guid, person, reason},
};
use crate::Config;

#[tokio::test(flavor = "multi_thread")]
async fn m8_every_acknowledged_create_survives_a_crash() {
    for place in Place::both("m8 crash").await {
        let hq = FakeHq::start().await;
        let shop = Shop::in_async_mode(&place, &hq).await;
        let mut acknowledged = Vec::new();
        let mut tills = JoinSet::new();
        for till in 0..16 {
            let client = shop.tills.clone();
            tills.spawn(async move {
                let mut mine = Vec::new();
                for n in 0.. {
                    let id = guid();
                    let request = CreateCustomerRequest {
                        customer: Some(person(&format!("t{till}n{n}"))),
                        customer_id: id.clone(),
                        validate_only: false,
                    };
                    match client.clone().create_customer(request).await {
                        Ok(_) => mine.push(id),
                        Err(_) => return mine,
                    }
                }
                mine
            });
        }
        // In the middle of it.
        while shop.status().await.logged_counter < 200 {
            tokio::task::yield_now().await;
        }
        shop.kill();
        acknowledged.extend(tills.join_all().await.into_iter().flatten());
        shop.crash().await;
        let shop = Shop::at(&place, &hq).await;
        assert!(acknowledged.len() >= 100);
        for id in &acknowledged {
            assert_eq!(shop.get(id).await.unwrap().customer_id, *id);
        }
        // The log goes on where it was, and the tables are made of it.
        let logged = shop.status().await.logged_counter;
        while shop.status().await.indexed_counter < logged {
            tokio::task::yield_now().await;
        }
        shop.create("", person("after")).await.unwrap();
        assert_eq!(shop.status().await.logged_counter, logged + 1);
        hq.chain().await;
        for id in &acknowledged {
            assert_eq!(shop.get(id).await.unwrap().sync_state(), SyncState::Synced);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m9_repeats_are_recognised_after_a_restart() {
    for place in Place::both("m9 restart").await {
        let hq = FakeHq::start().await;
        let shop = Shop::at(&place, &hq).await;
        let sync = guid();
        shop.create(&sync, person("sync")).await.unwrap();
        hq.set_profile(super::headquarters::profile(true, true)).await;
        let to_log = guid();
        shop.create(&to_log, person("async")).await.unwrap();
        shop.crash().await;

        let shop = Shop::at(&place, &hq).await;
        let calls = hq.state().calls.len();
        assert_eq!(shop.create(&sync, person("sync")).await.unwrap().path(), CreatePath::Sync);
        assert_eq!(shop.create(&to_log, person("async")).await.unwrap().path(), CreatePath::Async);
        assert_eq!(reason(&shop.create(&to_log, person("other")).await.unwrap_err()), "GUID_TAKEN");
        assert_eq!(hq.state().calls.len(), calls);
        assert_eq!(shop.list().await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m8_lost_tables_are_built_again_from_log_and_feed() {
    let place = Place::sqlite();
    let hq = FakeHq::start().await;
    let shop = Shop::in_async_mode(&place, &hq).await;
    let real = guid();
    shop.create(&real, person("real")).await.unwrap();
    shop.indexed().await;
    hq.chain().await;
    let pending = guid();
    shop.create(&pending, person("pending")).await.unwrap();
    let elsewhere = guid();
    hq.state().insert(&elsewhere, person("elsewhere"));
    shop.stop.cancel();
    shop.serving.await.unwrap().unwrap();

    let folder = place.folder.as_ref().unwrap().path();
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    hq.state().exchange_fault = Some(tonic::Status::unavailable("not yet"));
    let shop = Shop::at(&place, &hq).await;
    // Before any exchange: everything that this channel has acknowledged.
    assert_eq!(shop.list().await.len(), 2);
    hq.state().exchange_fault = None;
    assert_eq!(shop.create(&pending, person("pending")).await.unwrap().path(), CreatePath::Async);
    assert_eq!(hq.run(tillsync_proto::pb::common::Job::Customers1010).await.error, "");
    assert_eq!(shop.get(&real).await.unwrap().sync_state(), SyncState::Synced);
    assert_eq!(shop.get(&pending).await.unwrap().sync_state(), SyncState::Pending);
    assert_eq!(shop.get(&elsewhere).await.unwrap().sync_state(), SyncState::Synced);
    assert_eq!(shop.status().await.customers, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn x4_old_entries_go_once_they_are_answered_and_applied() {
    for place in Place::both("x4 prune").await {
        let hq = FakeHq::start().await;
        let config = Config {
            retained: 3,
            ..Config::new("store-1".parse().unwrap(), place.database.clone(), hq.url(), hq.url())
        };
        let shop = Shop::with(config.clone()).await;
        hq.set_profile(super::headquarters::profile(true, true)).await;
        for n in 0..10 {
            shop.create("", person(&format!("n{n}"))).await.unwrap();
        }
        shop.indexed().await;
        hq.chain().await;
        let first = || async {
            let request = tillsync_proto::pb::channel::ListOperationsRequest::default();
            let page = shop.status.clone().list_operations(request).await.unwrap().into_inner();
            page.operations.first().map(|operation| operation.counter)
        };
        while first().await != Some(8) {
            tokio::task::yield_now().await;
        }
        // Gone from the log, not from the store; and the counters go on.
        assert_eq!(shop.list().await.len(), 10);
        shop.crash().await;
        let shop = Shop::with(config).await;
        shop.create("", person("next")).await.unwrap();
        assert_eq!(shop.status().await.logged_counter, 11);
    }
}
