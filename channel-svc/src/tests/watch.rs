//! Watching a customer (rule S3).

use tillsync_proto::pb::{
    channel::{WatchCustomerRequest, WatchCustomerResponse},
    common::SyncState,
};
use tonic::Streaming;

use super::{
    headquarters::FakeHq,
    shop::{Place, Shop, guid, person, reason},
};

pub async fn watch(shop: &Shop, name: &str, allow_missing: bool) -> Streaming<WatchCustomerResponse> {
    let request = WatchCustomerRequest { customer: name.to_owned(), allow_missing };
    shop.tills.clone().watch_customer(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_a_till_is_told_when_the_account_number_arrives() {
    for place in Place::both("s3").await {
        let hq = FakeHq::start().await;
        let shop = Shop::in_async_mode(&place, &hq).await;
        let id = guid();
        // Before the customer is there.
        let mut early = watch(&shop, &id, true).await;
        shop.create(&id, person("ann")).await.unwrap();
        let mut late = watch(&shop, &id, false).await;
        for states in [&mut early, &mut late] {
            let state = states.message().await.unwrap().unwrap().customer.unwrap();
            assert_eq!(state.sync_state(), SyncState::Pending);
        }
        shop.indexed().await;
        hq.chain().await;
        for states in [&mut early, &mut late] {
            let state = states.message().await.unwrap().unwrap().customer.unwrap();
            assert_eq!((state.sync_state(), state.account_number.as_str()), (SyncState::Synced, "C-000001"));
        }
        // Watches end when the service stops.
        shop.stop.cancel();
        assert_eq!(early.message().await.unwrap(), None);
        shop.serving.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_nobody_is_not_watched() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::at(&place, &hq).await;
    for (customer, allow_missing) in [(guid(), false), ("C-1".to_owned(), true)] {
        let request = WatchCustomerRequest { customer, allow_missing };
        let refused = shop.tills.clone().watch_customer(request).await.unwrap_err();
        assert_eq!(reason(&refused), "NOT_FOUND");
    }
}
