//! One customer's whole journey, both ways, on both databases: headquarters, the emulator and two stores in
//! this process, over loopback.

use std::{collections::BTreeSet, time::Duration};

use service_kit::{
    clock::{Clock as _, SystemClock},
    problem::reason,
};
use tillsync_proto::pb::{
    channel::{CreateAddressRequest, CreatePath, IssueLoyaltyCardRequest, Scope, UpdateCustomerRequest},
    common::{Address, Customer, Job, SyncState},
    emulator::{EndOutageRequest, StartOutageRequest, UpdateProfileRequest},
};
use tokio::task::JoinSet;
use tonic::Code;

use crate::{
    chain::{Chain, found, on_both_databases},
    client::{Store, mint, person, until},
};

on_both_databases!(
    m1_a_sync_customer_is_real_and_findable_everywhere_at_once,
    m2_an_async_customer_becomes_real_by_itself,
    m4_an_outage_turns_sync_into_async_and_is_passed_on_without_the_fallback,
    m6_one_guid_a_hundred_times_is_one_customer,
    m6_a_create_whose_answer_was_lost_is_found_by_the_upload,
    x1_the_documented_order_by_hand_and_any_other_does_no_harm,
);

async fn m1_a_sync_customer_is_real_and_findable_everywhere_at_once(chain: Chain) {
    let [here, there] = &chain.stores;
    let id = mint();
    let created = here.create(id, person("ada")).await.expect("a customer");
    assert_eq!(created.path(), CreatePath::Sync);
    let customer = created.customer.expect("a customer");
    assert_eq!((customer.sync_state(), customer.customer_id.clone()), (SyncState::Synced, id.to_string()));
    assert_eq!(customer.account_display, customer.account_number);
    // C4: at once from everywhere, through the remote search.
    assert_eq!(
        found(there, "ada@example.com", Scope::AllStores).await[0].account_number,
        customer.account_number
    );
    assert_eq!(found(here, "ADA@", Scope::Store).await[0].customer_id, id.to_string());
    // M7: by GUID and by account number.
    assert_eq!(here.get(&customer.account_number).await.expect("known").customer_id, id.to_string());
    chain.audit(&BTreeSet::from([id])).await;
    chain.stop().await;
}

async fn m2_an_async_customer_becomes_real_by_itself(chain: Chain) {
    let [here, there] = &chain.stores;
    chain.hq.set_mode(here, true, true).await;
    chain.hq.hold(true).await;
    let id = mint();
    let created = here.create(id, person("grace")).await.expect("a customer");
    assert_eq!(created.path(), CreatePath::Async);
    let customer = created.customer.expect("a customer");
    // M3: the cashier never sees the GUID.
    assert_eq!((customer.account_display.as_str(), customer.account_number.as_str()), ("Pending sync", ""));
    // C4: findable where it was made, and nowhere else yet.
    assert_eq!(found(here, "grace@example.com", Scope::Store).await.len(), 1);
    assert!(found(there, "grace@example.com", Scope::Store).await.is_empty());
    assert!(found(there, "grace@example.com", Scope::AllStores).await.is_empty());
    refusals_while_pending(here, &id.to_string()).await;

    chain.hq.hold(false).await;
    chain.audit(&BTreeSet::from([id])).await;
    until("it is findable in the other store", async || {
        found(there, "grace@example.com", Scope::Store).await.len() == 1
    })
    .await;
    // L1: with its account number a card can be issued, and the card finds the customer.
    let issue = IssueLoyaltyCardRequest { customer: id.to_string(), ..IssueLoyaltyCardRequest::default() };
    let card = here.tills.clone().issue_loyalty_card(issue).await.expect("a card").into_inner();
    assert_eq!(card.customer.expect("a customer").loyalty_cards, [card.card_number]);
    chain.stop().await;
}

/// L1, L2, L4: what a pending customer may not do, with the reason and what would lift it.
async fn refusals_while_pending(store: &Store, customer: &str) {
    let mut tills = store.tills.clone();
    let address = Address { city: "Oslo".to_owned(), ..Address::default() };
    let values = Customer { tax_id: "1".to_owned(), ..Customer::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["tax_id".to_owned()] });
    let customer = || customer.to_owned();
    let refusals = [
        tills
            .issue_loyalty_card(IssueLoyaltyCardRequest { customer: customer(), ..Default::default() })
            .await
            .expect_err("L1"),
        tills
            .update_customer(UpdateCustomerRequest {
                customer: customer(),
                values: Some(values),
                update_mask,
                validate_only: false,
            })
            .await
            .expect_err("L2"),
        tills
            .create_address(CreateAddressRequest {
                customer: customer(),
                address: Some(address),
                validate_only: false,
            })
            .await
            .expect_err("L2"),
    ];
    for refusal in refusals {
        assert_eq!(refusal.code(), Code::FailedPrecondition);
        assert_eq!(reason(&refusal).as_deref(), Some("CUSTOMER_PENDING"));
    }
}

async fn m4_an_outage_turns_sync_into_async_and_is_passed_on_without_the_fallback(chain: Chain) {
    let [strict, documented] = &chain.stores;
    chain.hq.set_mode(strict, false, false).await;
    chain.hq.set_mode(documented, false, true).await;
    let mut emulator = chain.emulator.clone();
    emulator.start_outage(StartOutageRequest { duration: None }).await.expect("an outage");
    let lost = mint();
    let failure = strict.create(lost, person("lost")).await.expect_err("headquarters is out");
    assert_eq!(failure.code(), Code::Unavailable);
    assert_eq!(reason(&failure).as_deref(), Some("HQ_UNREACHABLE"));
    let id = mint();
    let rescued = documented.create(id, person("rescued")).await.expect("a customer");
    assert_eq!((rescued.path(), rescued.fallback_cause.as_str()), (CreatePath::AsyncFallback, "UNAVAILABLE"));
    emulator.end_outage(EndOutageRequest {}).await.expect("its end");
    // A business refusal is never turned into an async create.
    let taken = documented.create(id, person("someone-else")).await.expect_err("the GUID is taken");
    assert_eq!((taken.code(), reason(&taken).as_deref()), (Code::AlreadyExists, Some("GUID_TAKEN")));
    chain.audit(&BTreeSet::from([id])).await;
    assert!(!chain.hq.customers().await.iter().any(|c| c.customer_id == lost.to_string()));
    chain.stop().await;
}

async fn m6_one_guid_a_hundred_times_is_one_customer(chain: Chain) {
    chain.hq.set_mode(&chain.stores[0], true, true).await;
    chain.hq.set_mode(&chain.stores[1], false, true).await;
    let id = mint();
    let mut creates = JoinSet::new();
    for store in chain.stores.iter().cycle().take(100) {
        let store = store.clone();
        creates.spawn(async move { store.create(id, person("one")).await });
    }
    for created in creates.join_all().await {
        let created = created.expect("every one of them is answered with the customer");
        assert_eq!(created.customer.expect("a customer").customer_id, id.to_string());
    }
    // And the modes the other way round.
    chain.hq.set_mode(&chain.stores[0], false, true).await;
    chain.hq.set_mode(&chain.stores[1], true, true).await;
    for store in &chain.stores {
        store.create(id, person("one")).await.expect("M9: a repeat is answered");
        let other = store.create(id, person("other")).await.expect_err("M9: other content is not");
        assert_eq!(reason(&other).as_deref(), Some("GUID_TAKEN"));
    }
    chain.audit(&BTreeSet::from([id])).await;
    assert_eq!(chain.hq.customers().await.len(), 1);
    chain.stop().await;
}

async fn m6_a_create_whose_answer_was_lost_is_found_by_the_upload(chain: Chain) {
    let store = &chain.stores[0];
    chain.hq.set_mode(store, false, true).await;
    // Headquarters answers later than the store waits (1 s): the create is committed, its answer is lost.
    let slow = "workers = 1\nqueue_capacity = 10\nlongest_wait_ms = 60000.0\n\
                [service]\ndistribution = \"constant\"\nmean_ms = 3000.0\n";
    let slow = UpdateProfileRequest { profile_toml: slow.to_owned() };
    chain.emulator.clone().update_profile(slow).await.expect("a profile");
    // On hold, so that 1010 does not bring the customer before the store gives up waiting.
    chain.hq.hold(true).await;
    let id = mint();
    let begun = SystemClock.now();
    let created = store.create(id, person("late")).await.expect("the fallback");
    assert_eq!(
        (created.path(), created.fallback_cause.as_str()),
        (CreatePath::AsyncFallback, "DEADLINE_EXCEEDED")
    );
    assert!(
        SystemClock.now().duration_since(begun) < Duration::from_secs(3),
        "Z2: it did not wait for the answer"
    );
    let committed = async || chain.hq.status().await.customers == 1;
    until("headquarters has committed what it did not answer in time", committed).await;
    assert_eq!(store.get(&id.to_string()).await.expect("known").sync_state(), SyncState::Pending);
    // The upload alone finds it.
    chain.hq.run(Job::Upload, &store.id).await;
    assert_eq!(store.get(&id.to_string()).await.expect("known").sync_state(), SyncState::Synced);
    chain.hq.hold(false).await;
    chain.audit(&BTreeSet::from([id])).await;
    assert_eq!(chain.hq.customers().await.len(), 1);
    chain.stop().await;
}

async fn x1_the_documented_order_by_hand_and_any_other_does_no_harm(chain: Chain) {
    let store = &chain.stores[0];
    chain.hq.set_mode(store, true, true).await;
    chain.hq.hold(true).await;
    let id = mint();
    store.create(id, person("hand")).await.expect("a customer");
    // The wrong order: nothing to do, nothing done.
    chain.hq.run(Job::Customers1010, &store.id).await;
    chain.hq.run(Job::CustomerSync, "").await;
    assert_eq!(chain.hq.status().await.customers, 0);
    // The documented one, with what changed after each.
    chain.hq.run(Job::Upload, &store.id).await;
    let status = chain.hq.status().await;
    assert_eq!((status.arrivals_waiting, status.customers), (1, 0));
    chain.hq.run(Job::CustomerSync, "").await;
    let status = chain.hq.status().await;
    assert_eq!((status.arrivals_waiting, status.arrivals_completed, status.customers), (0, 1, 1));
    assert_eq!(store.get(&id.to_string()).await.expect("known").sync_state(), SyncState::Pending);
    chain.hq.run(Job::Customers1010, &store.id).await;
    assert_eq!(store.get(&id.to_string()).await.expect("known").sync_state(), SyncState::Synced);
    // Each once more.
    for job in [Job::Upload, Job::CustomerSync, Job::Customers1010] {
        chain.hq.run(job, &store.id).await;
    }
    assert_eq!(chain.hq.status().await.customers, 1);
    chain.hq.hold(false).await;
    chain.audit(&BTreeSet::from([id])).await;
    chain.stop().await;
}
