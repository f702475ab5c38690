//! Flags, profiles and definitions in force: edits that are logged, the default customer, the cache, and the watchdog.

use std::time::Duration;

use prost_types::FieldMask;
use tillsync_proto::{
    Feature,
    pb::{
        channel::*,
        common::{
            Address, Attribute, AttributeDefinition, AttributeType, Contact, ContactKind, Customer,
            DefaultCustomer, FunctionalityProfile, Job, ReceiptOption, SessionState, SyncState,
            attribute::Value, customer::Party, operation::Change,
        },
    },
};
use tonic::Code;

use super::{
    headquarters::{FakeHq, Fault, profile},
    shop::{Place, Shop, fields, guid, metadata, person, reason},
};
use crate::Config;

/// The flags that E3 needs, and E3.
const ASYNC_EDIT: [Feature; 4] = [Feature::E0, Feature::E1, Feature::E2, Feature::E3];

fn update(customer: &str, values: Customer, path: &str) -> UpdateCustomerRequest {
    let update_mask = Some(FieldMask { paths: vec![path.to_owned()] });
    UpdateCustomerRequest {
        customer: customer.to_owned(),
        values: Some(values),
        update_mask,
        validate_only: false,
    }
}

fn tax(id: &str) -> Customer {
    Customer { tax_id: id.to_owned(), ..Default::default() }
}

async fn change(shop: &Shop, id: &str, values: Customer, path: &str) -> Customer {
    let changed = shop.tills.clone().update_customer(update(id, values, path)).await.unwrap();
    changed.into_inner().customer.unwrap()
}

fn city(city: &str) -> Option<Address> {
    Some(Address { city: city.to_owned(), ..Default::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn e1_a_new_address_is_logged_for_sync_and_pending_customers() {
    for place in Place::both("e1").await {
        let hq = FakeHq::start().await;
        let shop = Shop::at(&place, &hq).await;
        let (real, pending) = (guid(), guid());
        shop.create(&real, person("ann")).await.unwrap();
        hq.set_profile(profile(true, true)).await;
        shop.create(&pending, person("bob")).await.unwrap();
        let add = async |customer: &str| {
            let request = CreateAddressRequest {
                customer: customer.to_owned(),
                address: city("Oslo"),
                ..Default::default()
            };
            shop.tills.clone().create_address(request).await
        };
        // Without the flag: a call for the one, a refusal for the other.
        let before = hq.state().calls.len();
        add(&real).await.unwrap();
        assert_eq!(hq.state().calls.len(), before + 1);
        let refused = add(&pending).await.unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::FailedPrecondition, "CUSTOMER_PENDING")
        );
        assert!(
            metadata(&refused, "lifted_by").ends_with("or flag E1, switched on and carried down by 1110")
        );

        hq.set_flags(&[Feature::E1]).await;
        for id in [&real, &pending] {
            let added = add(id).await.unwrap().into_inner();
            let customer = added.customer.unwrap();
            assert!(customer.addresses.iter().any(|there| there.address_id == added.address_id));
            assert_eq!(customer.pending_edits, 1);
        }
        assert_eq!(hq.state().calls.len(), before + 1, "no call");
        // An edit is another flag's.
        let refused =
            shop.tills.clone().update_customer(update(&pending, tax("DE1"), "tax_id")).await.unwrap_err();
        assert_eq!(reason(&refused), "CUSTOMER_PENDING");
        assert!(metadata(&refused, "lifted_by").contains("flag E3"));
        hq.chain().await;
        for (id, addresses) in [(&real, 3), (&pending, 2)] {
            let customer = shop.get(id).await.unwrap();
            assert_eq!((customer.addresses.len(), customer.pending_edits), (addresses, 0));
            assert_eq!(customer.sync_state(), SyncState::Synced);
            assert_eq!(hq.state().customers[id].0.addresses.len(), addresses);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e3_edits_are_operations_for_sync_and_pending_customers() {
    for place in Place::both("e3").await {
        let hq = FakeHq::start().await;
        let shop = Shop::at(&place, &hq).await;
        let (real, pending) = (guid(), guid());
        shop.create(&real, person("ann")).await.unwrap();
        hq.set_profile(profile(true, true)).await;
        hq.set_flags(&ASYNC_EDIT).await;
        shop.create(&pending, person("bob")).await.unwrap();
        hq.state().fault = Some(Fault::Silence);
        for id in [&real, &pending] {
            change(&shop, id, tax("DE1"), "tax_id").await;
            change(&shop, id, tax("DE2"), "tax_id").await;
            let name = Customer { party: person("new").party, ..Default::default() };
            let changed = change(&shop, id, name, "person").await;
            assert_eq!((changed.tax_id.as_str(), changed.pending_edits), ("DE2", 3));
            assert_eq!(shop.get(id).await.unwrap(), changed);
            // The address it was created with is replaced, then deactivated.
            let address_id = changed.addresses[0].address_id.clone();
            let address = Some(Address { address_id: address_id.clone(), ..city("Bergen").unwrap() });
            let request = UpdateAddressRequest { customer: id.clone(), address, validate_only: false };
            let moved =
                shop.tills.clone().update_address(request).await.unwrap().into_inner().customer.unwrap();
            assert_eq!(moved.addresses[0].city, "Bergen");
            let request = DeleteAddressRequest { customer: id.clone(), address_id };
            let gone =
                shop.tills.clone().delete_address(request).await.unwrap().into_inner().customer.unwrap();
            assert!(gone.addresses[0].deactivated && gone.pending_edits == 5);
        }
        let found = shop.search(search_customers_request::Criterion::Name("personnew".to_owned())).await;
        assert_eq!(found.len(), 2, "found by the new name at once");
        let found = shop.search(search_customers_request::Criterion::Name("personann".to_owned())).await;
        assert_eq!(found, [], "and not by the old one");
        // What changes nothing is no operation.
        let logged = shop.status().await.logged_counter;
        change(&shop, &real, tax("DE2"), "tax_id").await;
        assert_eq!(shop.status().await.logged_counter, logged);
        // A card still needs the account number (rule L1).
        let card = IssueLoyaltyCardRequest { customer: pending.clone(), ..Default::default() };
        assert_eq!(
            reason(&shop.tills.clone().issue_loyalty_card(card).await.unwrap_err()),
            "CUSTOMER_PENDING"
        );

        hq.chain().await;
        {
            let state = hq.state();
            let edits = state
                .arrivals
                .values()
                .filter(|operation| !matches!(operation.change, Some(Change::Create(_))));
            assert_eq!(edits.count(), 10, "each edit arrived");
            let first =
                state.arrivals.values().find(|operation| matches!(operation.change, Some(Change::Update(_))));
            assert_eq!(first.unwrap().previous.as_ref().unwrap().tax_id, "", "with its old value");
            for id in [&real, &pending] {
                let there = &state.customers[id].0;
                assert_eq!((there.tax_id.as_str(), &there.party), ("DE2", &person("new").party));
                assert!(there.addresses[0].deactivated);
            }
        }
        for id in [&real, &pending] {
            let customer = shop.get(id).await.unwrap();
            assert_eq!((customer.tax_id.as_str(), customer.pending_edits), ("DE2", 0));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e3_an_edit_that_headquarters_does_not_hold_yet_stays_on_what_comes_down() {
    for place in Place::both("e3_overlay").await {
        let hq = FakeHq::start().await;
        let shop = Shop::at(&place, &hq).await;
        hq.set_flags(&ASYNC_EDIT).await;
        let id = guid();
        shop.create(&id, person("ann")).await.unwrap();
        change(&shop, &id, tax("DE1"), "tax_id").await;
        // Headquarters changes the customer meanwhile.
        let edit_there = |currency: &str, tax_id: Option<&str>| {
            let mut state = hq.state();
            let (mut customer, _) = state.customers[&id].clone();
            customer.currency = currency.to_owned();
            customer.tax_id = tax_id.map_or(customer.tax_id, str::to_owned);
            state.save(customer);
        };
        edit_there("EUR", None);
        assert_eq!(hq.run(Job::Customers1010).await.error, "");
        let both = shop.get(&id).await.unwrap();
        assert_eq!((both.currency.as_str(), both.tax_id.as_str(), both.pending_edits), ("EUR", "DE1", 1));
        // The same after a restart, from the tables and from the log.
        shop.crash().await;
        let shop = Shop::at(&place, &hq).await;
        assert_eq!(shop.get(&id).await.unwrap(), both);
        // Headquarters' order decides (rule X11): what it says after the edit is what is.
        hq.run(Job::Upload).await;
        hq.convert();
        edit_there("SEK", Some("SE9"));
        hq.run(Job::Customers1010).await;
        let there = shop.get(&id).await.unwrap();
        assert_eq!((there.currency.as_str(), there.tax_id.as_str(), there.pending_edits), ("SEK", "SE9", 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e3_lost_tables_are_built_again_with_the_edits_in_them() {
    let place = Place::sqlite();
    let hq = FakeHq::start().await;
    let shop = Shop::in_async_mode(&place, &hq).await;
    hq.set_flags(&ASYNC_EDIT).await;
    let id = guid();
    shop.create(&id, person("ann")).await.unwrap();
    change(&shop, &id, tax("DE1"), "tax_id").await;
    hq.chain().await;
    let edited = change(&shop, &id, tax("DE2"), "tax_id").await;
    shop.indexed().await;
    shop.crash().await;
    for file in ["store.db", "store.db-wal", "store.db-shm"] {
        let _ = std::fs::remove_file(place.folder.as_ref().unwrap().path().join(file));
    }
    let shop = Shop::at(&place, &hq).await;
    assert_eq!(hq.run(Job::Customers1010).await.error, "");
    let there = shop.get(&id).await.unwrap();
    assert_eq!((there.tax_id.as_str(), there.pending_edits), ("DE2", 1), "the first has been told back");
    assert_eq!(there.account_number, edited.account_number);
}

#[tokio::test(flavor = "multi_thread")]
async fn e3_edits_are_checked_like_calls_and_bounded() {
    let (place, hq) = (Place::sqlite(), FakeHq::start().await);
    let shop = Shop::in_async_mode(&place, &hq).await;
    hq.set_flags(&ASYNC_EDIT).await;
    let id = guid();
    let created = shop.create(&id, person("ann")).await.unwrap().customer.unwrap();
    let refused = async |request| shop.tills.clone().update_customer(request).await.unwrap_err();
    let long = refused(update(&id, tax(&"x".repeat(51)), "tax_id")).await;
    assert_eq!((reason(&long).as_str(), fields(&long)), ("INVALID_FIELD", vec!["values.tax_id".to_owned()]));
    let nobody = refused(update(&guid(), tax("DE1"), "tax_id")).await;
    assert_eq!(nobody.code(), Code::NotFound);
    let check = UpdateCustomerRequest { validate_only: true, ..update(&id, tax("DE1"), "tax_id") };
    let previewed = shop.tills.clone().update_customer(check).await.unwrap().into_inner().customer.unwrap();
    assert_eq!(previewed.tax_id, "DE1");
    assert_eq!(shop.get(&id).await.unwrap(), created, "a check changes nothing");
    let first = Customer { etag: created.etag.clone(), ..tax("DE1") };
    change(&shop, &id, first.clone(), "tax_id").await;
    let late = refused(update(&id, Customer { tax_id: "DE2".to_owned(), ..first }, "tax_id")).await;
    assert_eq!((late.code(), reason(&late).as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    for n in 2..=100 {
        change(&shop, &id, tax(&n.to_string()), "tax_id").await;
    }
    let many = refused(update(&id, tax("101"), "tax_id")).await;
    assert_eq!((many.code(), reason(&many).as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    hq.chain().await;
    assert_eq!(change(&shop, &id, tax("101"), "tax_id").await.pending_edits, 1, "room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn e3_edits_at_the_same_time_are_all_kept() {
    let (place, hq) = (Place::sqlite(), FakeHq::start().await);
    let shop = Shop::in_async_mode(&place, &hq).await;
    hq.set_flags(&ASYNC_EDIT).await;
    let id = guid();
    shop.create(&id, person("ann")).await.unwrap();
    let calls = (0..40).map(|n| {
        let (mut tills, id) = (shop.tills.clone(), id.clone());
        tokio::spawn(async move {
            let request = CreateAddressRequest {
                customer: id,
                address: city(&format!("City {n}")),
                ..Default::default()
            };
            tills.create_address(request).await.unwrap();
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    let customer = shop.get(&id).await.unwrap();
    assert_eq!((customer.addresses.len(), customer.pending_edits), (41, 40));
    hq.chain().await;
    assert_eq!(hq.state().customers[&id].0.addresses.len(), 41);
    assert_eq!(shop.get(&id).await.unwrap().pending_edits, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_a_till_is_told_when_its_edit_has_come_back() {
    let (place, hq) = (Place::sqlite(), FakeHq::start().await);
    let shop = Shop::at(&place, &hq).await;
    hq.set_flags(&ASYNC_EDIT).await;
    let id = guid();
    shop.create(&id, person("ann")).await.unwrap();
    let request = WatchCustomerRequest { customer: id.clone(), allow_missing: false };
    let mut states = shop.tills.clone().watch_customer(request).await.unwrap().into_inner();
    let mut next = async || states.message().await.unwrap().unwrap().customer.unwrap();
    assert_eq!(next().await.pending_edits, 0);
    change(&shop, &id, tax("DE1"), "tax_id").await;
    assert_eq!(next().await.pending_edits, 1);
    hq.chain().await;
    let back = next().await;
    assert_eq!((back.tax_id.as_str(), back.pending_edits), ("DE1", 0));
}

fn defaults() -> DefaultCustomer {
    DefaultCustomer {
        customer_group: "retail".to_owned(),
        currency: "EUR".to_owned(),
        language: "de".to_owned(),
        receipt_option: ReceiptOption::Email.into(),
        affiliations: vec!["club".to_owned()],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m11_blank_values_come_from_the_default_customer() {
    for place in Place::both("m11").await {
        let hq = FakeHq::start().await;
        let shop = Shop::at(&place, &hq).await;
        let with =
            |is_async, default_customer| FunctionalityProfile { default_customer, ..profile(is_async, true) };
        for is_async in [false, true] {
            hq.set_flags(&[]).await;
            hq.set_profile(with(is_async, Some(defaults()))).await;
            let asked = Customer { currency: "SEK".to_owned(), ..person("ann") };
            let id = guid();
            let created = shop.create(&id, asked.clone()).await.unwrap().customer.unwrap();
            assert_eq!((created.customer_group.as_str(), created.language.as_str()), ("retail", "de"));
            assert_eq!((created.currency.as_str(), created.receipt_option()), ("SEK", ReceiptOption::Email));
            assert_eq!(created.affiliations, Vec::<String>::new(), "they need E2");
            // A repeat is known by what was asked for, whatever the default customer is by then (rule M9).
            hq.set_profile(with(is_async, None)).await;
            assert_eq!(shop.create(&id, asked).await.unwrap().customer.unwrap().customer_id, id);
            hq.set_profile(with(is_async, Some(defaults()))).await;
            hq.set_flags(&[Feature::E2]).await;
            let created = shop.create("", person("bob")).await.unwrap().customer.unwrap();
            assert_eq!(created.affiliations, ["club"]);
        }
        hq.chain().await;
        assert!(hq.state().customers.values().all(|(customer, _)| customer.language == "de"));
        assert!(hq.state().arrivals.values().all(|operation| operation.fingerprint.len() == 16));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_attributes_are_checked_once_1110_has_brought_their_definitions() {
    let (place, hq) = (Place::sqlite(), FakeHq::start().await);
    let shop = Shop::in_async_mode(&place, &hq).await;
    let age = |value| Customer {
        attributes: vec![Attribute { name: "age".to_owned(), value: Some(Value::Integer(value)) }],
        ..person("ann")
    };
    let definition = AttributeDefinition {
        name: "age".to_owned(),
        r#type: AttributeType::Integer.into(),
        minimum: "0".to_owned(),
        maximum: "150".to_owned(),
        ..Default::default()
    };
    hq.configure(&ASYNC_EDIT, vec![definition]);
    assert_eq!(hq.run(Job::GlobalConfiguration1110).await.error, "");
    let refused = shop.create("", age(151)).await.unwrap_err();
    assert_eq!(
        (reason(&refused).as_str(), fields(&refused)),
        ("INVALID_FIELD", vec!["customer.attributes[0].value".to_owned()])
    );
    let created = shop.create("", age(150)).await.unwrap().customer.unwrap();
    let edit = update(&created.customer_id, age(-1), "attributes");
    let refused = shop.tills.clone().update_customer(edit).await.unwrap_err();
    assert_eq!(fields(&refused), ["values.attributes[0].value"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn l3_e2_what_an_async_create_may_carry_depends_on_the_flag() {
    let (place, hq) = (Place::sqlite(), FakeHq::start().await);
    let shop = Shop::in_async_mode(&place, &hq).await;
    let Some(Party::Person(name)) = person("ann").party else { panic!() };
    let second =
        Contact { kind: ContactKind::Phone.into(), value: "+49 30 1".to_owned(), ..Default::default() };
    let full = Customer {
        party: Some(Party::Person(tillsync_proto::pb::common::Person { title: "Dr.".to_owned(), ..name })),
        contacts: vec![second],
        affiliations: vec!["club".to_owned()],
        ..person("ann")
    };
    let refused = shop.create("", full.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "NEEDS_ENHANCED_ASYNC_CREATE");
    assert_eq!(fields(&refused), ["customer.person.title", "customer.affiliations", "customer.contacts[0]"]);
    // Switched on at headquarters it has no effect before 1110 has brought it (rule F2).
    hq.configure(&[Feature::E2], Vec::new());
    assert_eq!(reason(&shop.create("", full.clone()).await.unwrap_err()), "NEEDS_ENHANCED_ASYNC_CREATE");
    assert_eq!(hq.run(Job::GlobalConfiguration1110).await.error, "");
    let kept = shop.create("", full).await.unwrap().customer.unwrap();
    assert_eq!((kept.contacts.len(), kept.affiliations.len()), (1, 1));
    // Addresses entered with the customer travel in its create, with or without a flag.
    assert_eq!(kept.addresses.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn f2_what_has_arrived_has_no_effect_before_the_cache_has_expired() {
    let (place, hq) = (Place::sqlite(), FakeHq::start().await);
    let cache = Duration::from_secs(3_600);
    let config = Config::new("store-1".parse().unwrap(), place.database.clone(), hq.url(), hq.url());
    let shop = Shop::with(Config { configuration_cache: cache, ..config }).await;
    hq.configure(&[Feature::E1], Vec::new());
    assert_eq!(hq.run(Job::GlobalConfiguration1110).await.error, "");
    hq.set_profile(profile(true, true)).await;
    let before = shop.status().await;
    assert_eq!((before.arrived_features_version, before.arrived_profile_version), (2, 2));
    assert_eq!((before.features_version, before.profile_version), (0, 0), "arrived and not in force");
    assert_eq!(Duration::try_from(before.configuration_cache.unwrap()).unwrap(), cache);
    assert_eq!(shop.create("", person("ann")).await.unwrap().path(), CreatePath::Sync);
    // The cache is in memory: a restart begins with what has arrived.
    shop.crash().await;
    let shop = Shop::at(&place, &hq).await;
    let after = shop.status().await;
    assert_eq!((after.features_version, after.profile_version, after.features.len()), (2, 2, 1));
    assert_eq!(shop.create("", person("bob")).await.unwrap().path(), CreatePath::Async);
}

#[tokio::test(flavor = "multi_thread")]
async fn x9_runs_say_how_far_they_came() {
    let (place, hq) = (Place::sqlite(), FakeHq::start().await);
    let shop = Shop::in_async_mode(&place, &hq).await;
    shop.create("", person("ann")).await.unwrap();
    let run = hq.run(Job::Upload).await;
    assert_eq!((run.state(), run.rows), (SessionState::Applied, 1));
    assert!(run.bytes > 100, "{}", run.bytes);
    hq.convert();
    let run = hq.run(Job::Customers1010).await;
    assert_eq!((run.state(), run.rows), (SessionState::Applied, 1));
    assert!(run.bytes > 100, "{}", run.bytes);
    assert_eq!(hq.run(Job::Customers1010).await.bytes, 0, "nothing is new");
    let outcome = async |job: Job, code: Code| {
        hq.state().exchange_fault = Some(tonic::Status::new(code, "scripted"));
        hq.order_run(job);
        let failed = shop.ran(job, |run| !run.error.is_empty()).await;
        hq.state().exchange_fault = None;
        failed.state()
    };
    shop.create("", person("bob")).await.unwrap();
    assert_eq!(outcome(Job::Upload, Code::Unavailable).await, SessionState::UploadFailed);
    assert_eq!(outcome(Job::Customers1010, Code::Unavailable).await, SessionState::DownloadFailed);
    assert_eq!(outcome(Job::GlobalConfiguration1110, Code::Internal).await, SessionState::CreateFailed);
}

#[tokio::test(flavor = "multi_thread")]
async fn x9_a_canceled_request_is_not_carried_out_and_a_run_ends() {
    let (place, hq) = (Place::sqlite(), FakeHq::start().await);
    let shop = Shop::in_async_mode(&place, &hq).await;
    shop.create("", person("ann")).await.unwrap();
    hq.state().hang = true;
    hq.order_run(Job::Upload);
    hq.hanging().await;
    hq.cancel(Job::Upload);
    let run = shop.ran(Job::Upload, |run| run.run_request == 1).await;
    assert_eq!(run.state(), SessionState::Canceled);
    hq.state().hang = false;
    // A later request is carried out, and what was canceled is not lost.
    let run = hq.run(Job::Upload).await;
    assert_eq!((run.run_request, run.rows), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn x9_a_run_under_way_is_reported_and_a_scheduled_one_is_canceled() {
    let (place, hq) = (Place::sqlite(), FakeHq::start().await);
    let shop = Shop::in_async_mode(&place, &hq).await;
    for name in ["ann", "bob"] {
        shop.create("", person(name)).await.unwrap();
    }
    // The second page of a scheduled run hangs.
    hq.state().answers = 1;
    hq.state().hang_after = Some(1);
    hq.hold(Job::Upload, false);
    let run = hq.under_way(Job::Upload, SessionState::Available).await;
    assert_eq!((run.run_request, run.rows), (0, 1));
    assert!(run.bytes > 100 && run.elapsed.is_some(), "{run:?}");
    hq.hold(Job::Upload, true);
    hq.cancel_scheduled(&run);
    let ended = shop.ran(Job::Upload, |run| run.state() == SessionState::Canceled).await;
    assert_eq!((ended.start_time, ended.rows), (run.start_time, 1), "what was moved stays moved");
    // What was canceled is not lost, and a later run is none of it.
    hq.state().hang_after = None;
    assert_eq!(hq.run(Job::Upload).await.rows, 1);
    assert!(hq.state().running.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn x10_starting_the_jobs_anew_puts_off_none_that_is_due() {
    let (place, hq) = (Place::sqlite(), FakeHq::start().await);
    let config = Config::new("store-1".parse().unwrap(), place.database.clone(), hq.url(), hq.url());
    let shop = Shop::with(Config { watchdog: Duration::from_millis(100), ..config }).await;
    hq.set_profile(profile(true, true)).await;
    // Each rests for longer than the watchdog waits.
    for job in [Job::Upload, Job::Customers1010] {
        hq.every(job, Duration::from_secs(1));
    }
    shop.create("", person("ann")).await.unwrap();
    hq.report(|status| status.uploaded_counter == 1).await;
    hq.convert();
    let well = hq.report(|status| status.pending_customers == 0).await;
    assert!(well.exchange_restarts > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn x10_what_stands_still_is_told_and_started_anew() {
    let (place, hq) = (Place::sqlite(), FakeHq::start().await);
    let config = Config::new("store-1".parse().unwrap(), place.database.clone(), hq.url(), hq.url());
    let shop = Shop::with(Config { watchdog: Duration::from_millis(200), ..config }).await;
    hq.set_profile(profile(true, true)).await;
    // An upload that is never answered would hold its job for ever.
    hq.state().hang = true;
    shop.create("", person("ann")).await.unwrap();
    let held = hq.report(|status| status.stall.is_some()).await;
    assert_eq!(held.stall.unwrap().reason, "the P-job is held (rule X8)");
    hq.hold(Job::Upload, false);
    hq.hanging().await;
    let restarted = hq.report(|status| status.exchange_restarts > held.exchange_restarts).await;
    assert!(restarted.stall.unwrap().since.is_some());
    hq.state().hang = false;
    let well = hq.report(|status| status.uploaded_counter == status.logged_counter).await;
    assert_eq!(well.logged_counter, 1);
    hq.convert();
    hq.hold(Job::Customers1010, false);
    hq.report(|status| status.pending_customers == 0 && status.stall.is_none()).await;
}
