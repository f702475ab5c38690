//! Two processes of one channel on one database, which only PostgreSQL can be.

use std::collections::BTreeSet;

use service_kit::testing::postgres;
use tillsync_proto::pb::{channel::search_customers_request::Criterion, common::SyncState};
use tokio::task::JoinSet;

use super::{
    headquarters::{FakeHq, profile},
    shop::{Place, Shop, guid, person, reason},
};

/// Two processes in async mode, of which the first does the background work.
struct Two {
    hq: FakeHq,
    holder: Shop,
    other: Shop,
}

impl Two {
    async fn start(test: &str) -> Option<Self> {
        let place = Place { database: postgres(test).await?, folder: None };
        let hq = FakeHq::start().await;
        let holder = Shop::at(&place, &hq).await;
        let other = Shop::at(&place, &hq).await;
        hq.set_profile(profile(true, true)).await;
        // The holder has heard it from headquarters, the other one reads it from the database.
        while !other.status().await.profile.is_some_and(|profile| profile.create_customer_async) {
            tokio::task::yield_now().await;
        }
        Some(Self { hq, holder, other })
    }

    fn both(&self) -> [&Shop; 2] {
        [&self.holder, &self.other]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_has_acknowledged_the_other_shows_at_once() {
    let Some(two) = Two::start("several read").await else { return };
    for n in 0..60 {
        let (makes, reads) = if n % 2 == 0 { (&two.holder, &two.other) } else { (&two.other, &two.holder) };
        let (id, token) = (guid(), format!("several{n}"));
        makes.create(&id, person(&token)).await.unwrap();
        match n % 3 {
            0 => assert_eq!(reads.get(&id).await.unwrap().customer_id, id),
            1 => assert_eq!(reads.search(Criterion::Email(format!("{token}@"))).await[0].customer_id, id),
            _ => assert_eq!(reads.list().await.len(), n + 1),
        }
        // A repeat is known wherever it comes, and so is a GUID that is taken (rule M9).
        let again = reads.create(&id, person(&token)).await.unwrap();
        assert_eq!(again.customer.unwrap().customer_id, id);
        assert_eq!(reason(&reads.create(&id, person("else")).await.unwrap_err()), "GUID_TAKEN");
    }
    assert_eq!(two.other.status().await.logged_counter, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn m9_one_guid_at_two_processes_at_once_is_one_customer() {
    let Some(two) = Two::start("several at once").await else { return };
    for n in 0..40 {
        let (id, customer) = (guid(), person(&format!("once{n}")));
        let (one, other) =
            tokio::join!(two.holder.create(&id, customer.clone()), two.other.create(&id, customer.clone()));
        assert_eq!(one.unwrap().customer.unwrap().customer_id, other.unwrap().customer.unwrap().customer_id);
        assert_eq!(two.holder.status().await.logged_counter, n + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn x3_the_operations_of_two_processes_are_counted_without_a_gap_and_uploaded_once() {
    const EACH: usize = 40;
    let Some(two) = Two::start("several append").await else { return };
    let mut tills = JoinSet::new();
    for (shop, till) in two.both().into_iter().cycle().zip(0..12) {
        let client = shop.tills.clone();
        tills.spawn(async move {
            for n in 0..EACH {
                let id = if n % 2 == 0 { guid() } else { String::new() };
                let request = tillsync_proto::pb::channel::CreateCustomerRequest {
                    customer: Some(person(&format!("t{till}n{n}"))),
                    customer_id: id,
                    validate_only: false,
                };
                client.clone().create_customer(request).await.unwrap();
            }
        });
    }
    tills.join_all().await;
    let all = 12 * EACH;
    two.hq.chain().await;
    {
        let state = two.hq.state();
        assert_eq!(state.arrivals.keys().copied().collect::<Vec<_>>(), (1..=all as u64).collect::<Vec<_>>());
        assert_eq!(
            state.uploads.iter().collect::<BTreeSet<_>>().len(),
            state.uploads.len(),
            "uploaded twice"
        );
        assert_eq!(state.customers.len(), all);
    }
    for shop in two.both() {
        let customers = shop.list().await;
        assert_eq!(customers.len(), all);
        assert!(customers.iter().all(|customer| customer.sync_state() == SyncState::Synced));
        assert_eq!(shop.status().await.pending_customers, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_process_takes_over_when_the_holder_dies() {
    let Some(two) = Two::start("several die").await else { return };
    let Two { hq, holder, other } = two;
    let mut made = Vec::new();
    for n in 0..20 {
        let id = guid();
        if n % 2 == 0 { &holder } else { &other }.create(&id, person(&format!("before{n}"))).await.unwrap();
        made.push(id);
    }
    holder.crash().await;
    for n in 0..20 {
        let id = guid();
        other.create(&id, person(&format!("after{n}"))).await.unwrap();
        made.push(id);
    }
    hq.chain().await;
    for id in &made {
        assert_eq!(other.get(id).await.unwrap().sync_state(), SyncState::Synced);
    }
    let status = other.indexed().await;
    assert_eq!((status.customers, status.pending_customers), (40, 0));
}
