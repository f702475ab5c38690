//! Input and surroundings that make no sense (rules Z1, Z3).

use std::{sync::Arc, time::Duration};

use service_kit::{
    clock::{Clock, SystemClock},
    database::DatabaseUrl,
};
use tillsync_proto::pb::{
    channel::*,
    common::{Customer, Organization, customer::Party},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::{
    headquarters::FakeHq,
    shop::{Place, Shop, fields, guid, ids, person, reason},
};
use crate::{
    Config, OpenError, TerminalConfig, create::Create, error::Error, log::QUEUE, open::Deps,
    store::SqliteStore,
};

fn blamed(refused: &Status) -> Vec<String> {
    assert_eq!((refused.code(), reason(refused).as_str()), (Code::InvalidArgument, "INVALID_FIELD"));
    fields(refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn z1_every_bad_field_is_named_and_nothing_is_written() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::in_async_mode(&place, &hq).await;
    let mut broken = person("ann");
    broken.customer_group = "a\0b".to_owned();
    broken.currency = "euro".to_owned();
    broken.receipt_email = "nobody".to_owned();
    broken.contacts[0].value = "a b".to_owned();
    let refused = shop.create("", broken).await.unwrap_err();
    let named = [
        "customer.customer_group",
        "customer.currency",
        "customer.receipt_email",
        "customer.contacts[0].value",
    ];
    assert_eq!(blamed(&refused), named);
    assert!(!refused.message().contains("euro"), "Z5: what was entered is not repeated");

    let nobody = Customer {
        party: Some(Party::Organization(Organization { name: " ".to_owned() })),
        ..Default::default()
    };
    assert_eq!(blamed(&shop.create("", nobody).await.unwrap_err()), ["customer.organization.name"]);
    assert_eq!(blamed(&shop.create("7", person("ann")).await.unwrap_err()), ["customer_id"]);
    let unknown = Customer { receipt_option: 99, ..person("ann") };
    assert_eq!(blamed(&shop.create("", unknown).await.unwrap_err()), ["customer.receipt_option"]);
    let nothing = shop.tills.clone().create_customer(CreateCustomerRequest::default()).await.unwrap_err();
    assert_eq!(blamed(&nothing), ["customer"]);
    let huge = Customer { tax_id: "x".repeat(5 * 1024 * 1024), ..person("ann") };
    assert!(shop.create("", huge).await.is_err());
    let long = Customer { tax_id: "x".repeat(3 * 1024 * 1024), ..person("ann") };
    assert_eq!(blamed(&shop.create("", long).await.unwrap_err()), ["customer.tax_id"]);
    assert_eq!(shop.status().await.logged_counter, 0);
    assert!(shop.create("", person("ann")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn z1_reads_that_make_no_sense_are_refused() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::at(&place, &hq).await;
    let mut tills = shop.tills.clone();
    for customer in ["", "a\0b", &"x".repeat(41), "00000000-0000-0000-0000-000000000000"] {
        let request = GetCustomerRequest { customer: customer.to_owned(), scope: 0 };
        assert_eq!(blamed(&tills.get_customer(request).await.unwrap_err()), ["customer"]);
    }
    for customer in [guid(), "C-404".to_owned()] {
        let request = GetCustomerRequest { customer, scope: 0 };
        let missing = tills.get_customer(request).await.unwrap_err();
        assert_eq!((missing.code(), reason(&missing).as_str()), (Code::NotFound, "NOT_FOUND"));
    }
    let request = GetCustomerRequest { customer: guid(), scope: 7 };
    assert_eq!(blamed(&tills.get_customer(request).await.unwrap_err()), ["scope"]);

    let search = |criterion, page_size, page_token: &str| SearchCustomersRequest {
        criterion,
        page_size,
        page_token: page_token.to_owned(),
        scope: 0,
    };
    let name = || Some(search_customers_request::Criterion::Name("zoe".to_owned()));
    assert_eq!(blamed(&tills.search_customers(search(None, 0, "")).await.unwrap_err()), ["criterion"]);
    for size in [-1, 101, i32::MIN] {
        assert_eq!(
            blamed(&tills.search_customers(search(name(), size, "")).await.unwrap_err()),
            ["page_size"]
        );
    }
    let other = tillsync_proto::PageToken::at_number("another query", 3).to_string();
    for token in ["nonsense", &other, "é", &"f".repeat(64)] {
        let refused = tills.search_customers(search(name(), 0, token)).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "BAD_PAGE_TOKEN"));
        let request = ListCustomersRequest { page_size: 0, page_token: (*token).to_owned() };
        assert_eq!(reason(&tills.list_customers(request).await.unwrap_err()), "BAD_PAGE_TOKEN");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn z3_at_the_bound_creates_are_refused_with_a_hint_and_nothing_is_lost() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    // A tail that takes nothing: the batch waits for room in vain.
    let config = Config {
        max_tail: 0,
        ..Config::new("store-1".parse().unwrap(), place.database.clone(), hq.url(), hq.url())
    };
    let shop = Shop::with(config).await;
    hq.set_profile(super::headquarters::profile(true, true)).await;
    let id = guid();
    let refused = shop.create(&id, person("ann")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    let hint = tonic_types::StatusExt::get_details_retry_info(&refused).unwrap().retry_delay;
    assert_eq!(hint, Some(Duration::from_millis(200)));
    assert_eq!(reason(&shop.get(&id).await.unwrap_err()), "NOT_FOUND");
    assert_eq!(shop.status().await.logged_counter, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn z3_what_there_is_no_room_for_is_refused_before_it_is_looked_at() {
    let place = Place::sqlite();
    let DatabaseUrl::Sqlite(path) = &place.database else { unreachable!("it is a file") };
    // A terminal creates async whatever its store says, which is not there.
    let (timeout, reconnect) = (Duration::from_secs(2), Duration::from_secs(2));
    let terminal = TerminalConfig { store: "http://127.0.0.1:1".to_owned(), timeout, reconnect };
    let config = Config::terminal("till-1".parse().unwrap(), place.database.clone(), terminal);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = SqliteStore::open(path, ids()).await.unwrap();
    let deps = Deps::read(&config, store, clock, ids()).await.unwrap();
    // Its appender is not run: what is asked for waits.
    let running = deps.wire(&CancellationToken::new());
    let create =
        |customer| Create { customer: Some(customer), id: None, validate_only: false, deadline: None };
    let wrong = async || running.customers.create(create(Customer::default())).await.unwrap_err();
    assert!(matches!(wrong().await, Error::Invalid(_)));
    let mut waiting = JoinSet::new();
    for _ in 0..=QUEUE {
        let (customers, create) = (running.customers.clone(), create(person("ann")));
        waiting.spawn(async move { customers.create(create).await });
    }
    let refused = waiting.join_next().await.unwrap().unwrap().unwrap_err();
    assert!(matches!(refused, Error::Overloaded(_)), "{refused}");
    assert!(matches!(wrong().await, Error::Overloaded(_)));
}

#[tokio::test]
async fn a_channel_that_cannot_be_opened_says_why_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let open = async |database: String, rts: &str| {
        let config =
            Config::new("store-1".parse().unwrap(), database.parse().unwrap(), rts, "http://127.0.0.1:1");
        crate::open(&config, Arc::clone(&clock), ids()).await.err().expect("it does not open")
    };
    let path = folder.path().display();
    let directory = open(format!("sqlite:{path}"), "http://127.0.0.1:1").await;
    assert!(directory.to_string().contains("is a directory"), "{directory}");
    std::fs::write(folder.path().join("text.db"), "not a database, by far not: ".repeat(100)).unwrap();
    let text = open(format!("sqlite:{path}/text.db"), "http://127.0.0.1:1").await;
    assert!(
        matches!(text, OpenError::Tables { .. }) && text.to_string().contains("text.db is corrupted"),
        "{text}"
    );
    let address = open(format!("sqlite:{path}/store.db"), "not an address").await;
    assert!(
        address.to_string().starts_with("--rts: ") && address.to_string().contains("is not an address such"),
        "{address}"
    );
}
