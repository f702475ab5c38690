//! Creating and finding, sync and async.

use std::collections::BTreeSet;

use tillsync_proto::{
    Feature,
    pb::{
        channel::{
            CreateCustomerRequest, CreatePath, Scope, SearchCustomersRequest,
            search_customers_request::Criterion,
        },
        common::{Attribute, SyncState, attribute::Value, customer::Party},
    },
};
use tokio::task::JoinSet;
use tonic::Code;

use super::{
    headquarters::{FakeHq, profile},
    shop::{Place, Shop, fields, guid, metadata, person, reason},
};

#[tokio::test(flavor = "multi_thread")]
async fn m1_a_sync_create_is_real_at_once_and_kept_here() {
    for place in Place::both("m1").await {
        let hq = FakeHq::start().await;
        let shop = Shop::at(&place, &hq).await;
        let id = guid();
        let created = shop.create(&id, person("ann")).await.unwrap();
        assert_eq!(created.path(), CreatePath::Sync);
        let customer = created.customer.unwrap();
        assert_eq!(
            (customer.account_number.as_str(), customer.sync_state()),
            ("C-000001", SyncState::Synced)
        );
        assert_eq!(customer.account_display, "C-000001");
        // The channel names itself, and says how long it waits.
        let call = hq.state().calls[0].clone();
        assert_eq!(call.channel, "store-1");
        assert!(call.timeout.unwrap() <= std::time::Duration::from_secs(5));
        // M7: GUID and account number both serve.
        for name in [id.as_str(), "C-000001"] {
            assert_eq!(shop.get(name).await.unwrap().customer_id, id);
        }
        // M9: a repeat is answered without a call; other content is refused.
        let repeat = shop.create(&id, person("ann")).await.unwrap();
        assert_eq!(
            (repeat.path(), repeat.customer.unwrap().account_number.as_str()),
            (CreatePath::Sync, "C-000001")
        );
        let other = shop.create(&id, person("bob")).await.unwrap_err();
        assert_eq!((other.code(), reason(&other).as_str()), (Code::AlreadyExists, "GUID_TAKEN"));
        assert_eq!(hq.state().calls.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m2_m3_an_async_create_asks_nobody_and_shows_no_guid() {
    for place in Place::both("m2").await {
        let hq = FakeHq::start().await;
        let shop = Shop::in_async_mode(&place, &hq).await;
        let created = shop.create("", person("ann")).await.unwrap();
        assert_eq!(created.path(), CreatePath::Async);
        let customer = created.customer.unwrap();
        assert_eq!(
            (customer.account_number.as_str(), customer.account_display.as_str()),
            ("", "Pending sync")
        );
        assert_eq!(customer.sync_state(), SyncState::Pending);
        assert!(hq.state().calls.is_empty());
        assert_eq!(shop.get(&customer.customer_id).await.unwrap(), customer);
        let status = shop.indexed().await;
        assert_eq!((status.logged_counter, status.uploaded_counter, status.pending_customers), (1, 0, 1));
        assert!(status.oldest_pending_age.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn x1_the_chain_makes_a_pending_customer_real() {
    for place in Place::both("x1").await {
        let hq = FakeHq::start().await;
        let shop = Shop::in_async_mode(&place, &hq).await;
        let mut created = BTreeSet::new();
        for n in 0..250 {
            let customer = shop.create("", person(&format!("n{n}"))).await.unwrap().customer.unwrap();
            created.insert(customer.customer_id);
        }
        shop.indexed().await;
        hq.chain().await;
        let known = shop.list().await;
        assert_eq!(known.iter().map(|c| c.customer_id.clone()).collect::<BTreeSet<_>>(), created);
        assert!(known.iter().all(|c| c.sync_state() == SyncState::Synced && !c.account_number.is_empty()));
        let status = shop.status().await;
        assert_eq!((status.pending_customers, status.customers, status.uploaded_counter), (0, 250, 250));
        assert_eq!(status.time_to_account_number.unwrap().count, 250);
        assert_eq!((status.feed_lag_rows, status.feed_cursor.unwrap().version), (0, 250));
        // Again does no harm.
        hq.chain().await;
        assert_eq!(hq.state().uploads.len(), 250);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m9_the_same_guid_a_hundred_times_at_once_is_one_customer() {
    for to_log in [true, false] {
        for place in Place::both("m9").await {
            let hq = FakeHq::start().await;
            let shop = Shop::at(&place, &hq).await;
            hq.set_profile(profile(to_log, true)).await;
            let id = guid();
            let mut callers = JoinSet::new();
            for _ in 0..100 {
                let (tills, id) = (shop.tills.clone(), id.clone());
                let message = CreateCustomerRequest {
                    customer: Some(person("ann")),
                    customer_id: id,
                    validate_only: false,
                };
                callers.spawn(async move { tills.clone().create_customer(message).await });
            }
            let answers = callers.join_all().await;
            let answers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().into_inner()).collect();
            assert!(answers.iter().all(|answer| *answer == answers[0]));
            assert_eq!(shop.list().await.iter().filter(|c| c.customer_id == id).count(), 1);
            if to_log {
                assert_eq!(shop.indexed().await.logged_counter, 1);
            }
            shop.crash().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m9_the_same_guid_with_other_content_at_once_is_taken() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::in_async_mode(&place, &hq).await;
    let id = guid();
    let (one, other) = tokio::join!(shop.create(&id, person("ann")), shop.create(&id, person("bob")));
    let refused = one.err().or(other.err()).expect("one of them is refused");
    assert_eq!(reason(&refused), "GUID_TAKEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn m8_a_thousand_creates_are_each_seen_right_after_their_answer() {
    for place in Place::both("m8").await {
        let hq = FakeHq::start().await;
        let shop = std::sync::Arc::new(Shop::in_async_mode(&place, &hq).await);
        let mut tills = JoinSet::new();
        for till in 0..50 {
            let shop = std::sync::Arc::clone(&shop);
            tills.spawn(async move {
                for n in 0..20 {
                    let token = format!("t{till}n{n}");
                    let id = guid();
                    shop.create(&id, person(&token)).await.unwrap();
                    assert_eq!(shop.get(&id).await.unwrap().customer_id, id);
                    let by_email = shop.search(Criterion::Email(format!("{token}@EXAMPLE.com"))).await;
                    assert_eq!(by_email.iter().map(|c| &c.customer_id).collect::<Vec<_>>(), [&id]);
                    let by_name = shop.search(Criterion::Name(format!("person{token} zoe"))).await;
                    assert_eq!(by_name[0].customer_id, id, "{token}");
                }
            });
        }
        tills.join_all().await;
        assert_eq!(shop.list().await.len(), 1_000);
        assert_eq!(shop.indexed().await.customers, 1_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e2_what_cannot_travel_is_refused_by_name() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::in_async_mode(&place, &hq).await;
    let mut customer = person("ann");
    if let Some(Party::Person(name)) = &mut customer.party {
        name.title = "Dr.".to_owned();
    }
    customer.affiliations.push("staff".to_owned());
    let value = Some(Value::Boolean(true));
    customer.attributes.push(Attribute { name: "vip".to_owned(), value });
    let refused = shop.create("", customer.clone()).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::FailedPrecondition, "NEEDS_ENHANCED_ASYNC_CREATE")
    );
    assert_eq!(fields(&refused), ["customer.person.title", "customer.affiliations", "customer.attributes"]);
    assert_eq!(metadata(&refused, "missing"), "flag E2");
    assert!(metadata(&refused, "lifted_by").contains("1110"));
    hq.set_flags(&[Feature::E2]).await;
    let created = shop.create("", customer.clone()).await.unwrap().customer.unwrap();
    assert_eq!(created.affiliations, customer.affiliations);
    assert_eq!(created.attributes, customer.attributes);
    assert_eq!(shop.get(&created.customer_id).await.unwrap(), created);
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_only_writes_nothing() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::in_async_mode(&place, &hq).await;
    let id = guid();
    let check = |customer| CreateCustomerRequest {
        customer: Some(customer),
        customer_id: id.clone(),
        validate_only: true,
    };
    let checked = shop.tills.clone().create_customer(check(person("ann"))).await.unwrap().into_inner();
    assert_eq!(checked.path(), CreatePath::Unspecified);
    assert_eq!(reason(&shop.get(&id).await.unwrap_err()), "NOT_FOUND");
    let nobody = shop.tills.clone().create_customer(check(Default::default())).await.unwrap_err();
    assert_eq!(fields(&nobody), ["customer.party"]);
    assert_eq!(shop.status().await.logged_counter, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn c3_searches_are_paged_best_first_here_and_remote() {
    for place in Place::both("c3").await {
        let hq = FakeHq::start().await;
        let shop = Shop::in_async_mode(&place, &hq).await;
        for n in 0..45 {
            shop.create("", person(&format!("x{n:02}"))).await.unwrap();
            if n == 30 {
                // Some in the tables, some in the tail.
                shop.indexed().await;
            }
        }
        let best = shop.create("", person("x7")).await.unwrap().customer.unwrap().customer_id;
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = SearchCustomersRequest {
                criterion: Some(Criterion::Name("Zoe Personx7".to_owned())),
                page_size: 7,
                page_token: page_token.clone(),
                ..Default::default()
            };
            let page = shop.tills.clone().search_customers(request).await.unwrap().into_inner();
            found.extend(page.customers.into_iter().map(|c| c.customer_id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(found[0], best);
        assert_eq!((found.len(), found.iter().collect::<BTreeSet<_>>().len()), (46, 46));
        let remote = SearchCustomersRequest {
            criterion: Some(Criterion::Name("x".to_owned())),
            scope: Scope::AllStores.into(),
            ..Default::default()
        };
        let remote = shop.tills.clone().search_customers(remote).await.unwrap().into_inner();
        assert!(remote.customers.is_empty(), "C4: headquarters does not know them yet");
        assert_eq!(hq.state().calls.len(), 1);
    }
}
