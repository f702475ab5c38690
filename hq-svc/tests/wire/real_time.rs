//! `RealTimeService`.

use std::collections::BTreeSet;

use hq_svc::Config;
use prost_types::FieldMask;
use tillsync_proto::pb::{
    common::{Address, Contact, ContactKind, Customer},
    hq::{self, search_customers_request::Criterion},
};
use tonic::{Code, Request};

use crate::harness::{Database, Hq, guid, on_both, person, refused, refused_call};

on_both!(
    m1_a_create_gives_a_customer_with_its_number,
    m6_a_hundred_creates_of_one_guid_at_once,
    c1_all_parts_of_a_customer_come_back,
    z1_a_bad_create_names_its_fields,
    x6_an_exhausted_sequence_is_named,
    m7_get_takes_guid_or_number,
    update_changes_what_the_mask_names,
    z1_a_bad_update_is_refused_whole,
    save_address_adds_replaces_and_repeats,
    cards_are_issued_and_refused,
    c3_search_has_pages_and_an_order,
    z1_a_bad_search_is_refused,
);

async fn m1_a_create_gives_a_customer_with_its_number(database: Database) {
    let hq = Hq::start(&database).await;
    let record = hq.create(guid(1), "Ann", "Sync").await.unwrap();
    let customer = record.customer.clone().unwrap();
    assert_eq!((customer.account_number.as_str(), record.version), ("C-00000001", 1));
    assert_eq!(customer.account_display, "C-00000001");
    assert!(customer.create_time.unwrap().seconds > 0 && !customer.etag.is_empty());
    // Rule M9.
    assert_eq!(hq.create(guid(1), "Ann", "Sync").await.unwrap(), record);
    refused(hq.create(guid(1), "Ann", "Other").await, Code::AlreadyExists, "GUID_TAKEN");
    assert_eq!(hq.status().await.customers, 1);
    hq.stop().await;
}

async fn m6_a_hundred_creates_of_one_guid_at_once(database: Database) {
    let hq = std::sync::Arc::new(Hq::start(&database).await);
    let calls: Vec<_> = (0..100)
        .map(|n| {
            let hq = std::sync::Arc::clone(&hq);
            // Every other one has a customer of its own, so that batches are mixed.
            let id = if n % 2 == 0 { guid(1) } else { guid(100 + n) };
            tokio::spawn(async move { hq.create(id, "Ann", "Once").await.unwrap() })
        })
        .collect();
    let mut numbers = BTreeSet::new();
    for call in calls {
        numbers.insert(call.await.unwrap().customer.unwrap().account_number);
    }
    assert_eq!(numbers.len(), 51);
    assert_eq!(numbers.last().unwrap(), "C-00000051", "without a gap");
    let status = hq.status().await;
    assert_eq!((status.customers, status.head_version), (51, 51));
}

async fn c1_all_parts_of_a_customer_come_back(database: Database) {
    use tillsync_proto::pb::common::{Attribute, ReceiptOption, attribute::Value};
    let hq = Hq::start(&database).await;
    let contact = |n, kind: ContactKind, value: &str| Contact {
        contact_id: guid(n).to_string(),
        kind: kind.into(),
        value: value.to_owned(),
        primary: true,
    };
    let attribute = |name: &str, value| Attribute { name: name.to_owned(), value: Some(value) };
    let sent = Customer {
        customer_id: guid(1).to_string(),
        customer_group: "retail".to_owned(),
        currency: "NOK".to_owned(),
        language: "nb-no".to_owned(),
        credit_limit_minor: 123_456,
        blocked: true,
        receipt_option: ReceiptOption::Email.into(),
        receipt_email: "øse@example.no".to_owned(),
        contacts: vec![
            contact(11, ContactKind::Email, "ann@example.com"),
            contact(12, ContactKind::Phone, "+47 22 33 44 55"),
        ],
        addresses: vec![Address { address_id: guid(13).to_string(), purpose: 3, ..oslo() }],
        affiliations: vec!["staff".to_owned()],
        attributes: vec![
            attribute("text", Value::Text("line\nbreak \"quoted\" \\u0000 日本".to_owned())),
            attribute("number", Value::Integer(i64::MIN)),
            attribute("decimal", Value::Decimal("-12.50".to_owned())),
            attribute("truth", Value::Boolean(true)),
        ],
        ..person("Ånn", "O'Neil")
    };
    let request = hq::CreateCustomerRequest { customer: Some(sent.clone()), ..Default::default() };
    hq.real_time.clone().create_customer(request).await.unwrap();
    let got = hq.get(guid(1)).await.unwrap().customer.unwrap();
    let expected = Customer {
        account_number: got.account_number.clone(),
        account_display: got.account_display.clone(),
        sync_state: 2,
        etag: got.etag.clone(),
        create_time: got.create_time,
        ..sent
    };
    assert_eq!(got, expected);
    hq.stop().await;
}

async fn z1_a_bad_create_names_its_fields(database: Database) {
    let hq = Hq::start(&database).await;
    let id = || guid(1).to_string();
    let phone = |value: &str| Contact { kind: 2, value: value.to_owned(), ..Contact::default() };
    let cases = [
        (None, vec!["customer"]),
        (Some(person("Ann", "NoGuid")), vec!["customer.customer_id"]),
        (
            Some(Customer { customer_id: "Ann".to_owned(), ..person("Ann", "NotGuid") }),
            vec!["customer.customer_id"],
        ),
        (Some(Customer { customer_id: id(), ..Customer::default() }), vec!["customer.party"]),
        (Some(Customer { customer_id: id(), ..person("A\0nn", "Nul") }), vec!["customer.person.first_name"]),
        (
            Some(Customer {
                customer_id: id(),
                currency: "euro".to_owned(),
                credit_limit_minor: -1,
                contacts: vec![phone("12"), Contact { kind: 77, ..phone("123") }],
                ..person("Ann", "Shapes")
            }),
            vec!["customer.contacts[1].kind"],
        ),
        (
            Some(Customer {
                customer_id: id(),
                currency: "euro".to_owned(),
                credit_limit_minor: -1,
                contacts: vec![phone("12")],
                addresses: vec![Address::default()],
                ..person("Ann", &"x".repeat(101))
            }),
            vec![
                "customer.person.last_name",
                "customer.currency",
                "customer.credit_limit_minor",
                "customer.contacts[0].value",
                "customer.addresses[0]",
            ],
        ),
    ];
    for (customer, expected) in cases {
        let call = hq
            .real_time
            .clone()
            .create_customer(hq::CreateCustomerRequest { customer, ..Default::default() })
            .await;
        assert_eq!(refused_call(call, Code::InvalidArgument, "INVALID_FIELD"), expected);
    }
    assert_eq!(hq.status().await.customers, 0, "nothing is half done");
    hq.stop().await;
}

async fn x6_an_exhausted_sequence_is_named(database: Database) {
    let number_format = "N#".parse().unwrap();
    let hq = Hq::with(Config { number_format, ..database.config() }).await;
    for n in 1..=9 {
        let record = hq.create(guid(n), "Ann", "Numbered").await.unwrap();
        assert_eq!(record.customer.unwrap().account_number, format!("N{n}"));
    }
    refused(hq.create(guid(10), "Ann", "Late").await, Code::FailedPrecondition, "NUMBERS_EXHAUSTED");
    refused(hq.get(guid(10)).await, Code::NotFound, "NOT_FOUND");
    hq.stop().await;
}

async fn m7_get_takes_guid_or_number(database: Database) {
    let hq = Hq::start(&database).await;
    let record = hq.create(guid(1), "Ann", "Both").await.unwrap();
    assert_eq!(hq.get(guid(1)).await.unwrap(), record);
    assert_eq!(hq.get("C-00000001").await.unwrap(), record);
    refused(hq.get(guid(2)).await, Code::NotFound, "NOT_FOUND");
    refused(hq.get("C-2").await, Code::NotFound, "NOT_FOUND");
    for bad in ["", "a\0b", &"x".repeat(41), "00000000-0000-0000-0000-000000000000"] {
        assert_eq!(refused(hq.get(bad).await, Code::InvalidArgument, "INVALID_FIELD"), ["customer"]);
    }
    // A channel that names itself is known from then on; one that is none is answered all the same.
    for name in ["store-7", "no such name"] {
        let mut request = Request::new(hq::GetCustomerRequest { customer: guid(1).to_string() });
        request.metadata_mut().insert("x-tillsync-channel", name.parse().unwrap());
        hq.real_time.clone().get_customer(request).await.unwrap();
    }
    let channels = hq.status().await.channels;
    assert_eq!(channels.len(), 1);
    assert_eq!(channels[0].status.as_ref().unwrap().channel_id, "store-7");
    assert!(channels[0].last_contact.is_some());
    hq.stop().await;
}

fn update(customer: &str, values: Customer, paths: &[&str]) -> hq::UpdateCustomerRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    hq::UpdateCustomerRequest {
        customer: customer.to_owned(),
        values: Some(values),
        update_mask: Some(FieldMask { paths }),
    }
}

async fn update_changes_what_the_mask_names(database: Database) {
    let hq = Hq::start(&database).await;
    let before = hq.create(guid(1), "Ann", "Before").await.unwrap().customer.unwrap();
    let values = Customer {
        etag: before.etag.clone(),
        tax_id: "42".to_owned(),
        blocked: true,
        ..person("Eve", "Ignored")
    };
    let request = update("C-00000001", values, &["tax_id"]);
    let after = hq.real_time.clone().update_customer(request.clone()).await.unwrap().into_inner();
    let record = after.record.unwrap();
    assert_eq!(record.version, 2);
    let customer = record.customer.unwrap();
    let expected = Customer { tax_id: "42".to_owned(), etag: customer.etag.clone(), ..before.clone() };
    assert_eq!(customer, expected);
    assert_ne!(customer.etag, before.etag);
    // The old etag does not fit any more.
    refused_call(hq.real_time.clone().update_customer(request).await, Code::Aborted, "ETAG_MISMATCH");
    // Without an etag the same again changes nothing.
    let again =
        update("C-00000001", Customer { tax_id: "42".to_owned(), ..Customer::default() }, &["tax_id"]);
    let again = hq.real_time.clone().update_customer(again).await.unwrap().into_inner();
    assert_eq!(again.record.unwrap().version, 2);
    // The create can still be repeated.
    assert_eq!(hq.create(guid(1), "Ann", "Before").await.unwrap().customer.unwrap(), customer);
    hq.stop().await;
}

async fn z1_a_bad_update_is_refused_whole(database: Database) {
    let hq = Hq::start(&database).await;
    hq.create(guid(1), "Ann", "Update").await.unwrap();
    let valid = || Customer { tax_id: "42".to_owned(), ..Customer::default() };
    let id = guid(1).to_string();
    let long = Customer { tax_id: "4".repeat(51), ..person("A\0", "Nul") };
    let cases = [
        (update("", valid(), &["tax_id"]), vec!["customer"]),
        (update(&id, valid(), &[]), vec!["update_mask"]),
        (update(&id, valid(), &["tax_id", "addresses"]), vec!["update_mask"]),
        (update(&id, valid(), &["person"]), vec!["party"]),
        (hq::UpdateCustomerRequest { values: None, ..update(&id, valid(), &["tax_id"]) }, vec!["values"]),
        (
            update(&id, long, &["tax_id", "person", "blocked"]),
            vec!["values.person.first_name", "values.tax_id"],
        ),
    ];
    for (request, expected) in cases {
        let call = hq.real_time.clone().update_customer(request).await;
        assert_eq!(refused_call(call, Code::InvalidArgument, "INVALID_FIELD"), expected);
    }
    let request = update(&guid(2).to_string(), valid(), &["tax_id"]);
    refused_call(hq.real_time.clone().update_customer(request).await, Code::NotFound, "NOT_FOUND");
    assert_eq!(hq.get(guid(1)).await.unwrap().version, 1, "nothing was done");
    hq.stop().await;
}

fn oslo() -> Address {
    Address { city: "Oslo".to_owned(), country: "NO".to_owned(), ..Address::default() }
}

async fn save_address_adds_replaces_and_repeats(database: Database) {
    let hq = Hq::start(&database).await;
    hq.create(guid(1), "Ann", "Address").await.unwrap();
    let save = async |customer: String, address: Option<Address>| {
        let request = hq::SaveAddressRequest { customer, address };
        hq.real_time.clone().save_address(request).await
    };
    let address = Address { address_id: guid(5).to_string(), ..oslo() };
    let id = guid(1).to_string();
    for version in [2, 2] {
        let saved = save(id.clone(), Some(address.clone())).await.unwrap().into_inner().record.unwrap();
        assert_eq!(saved.version, version, "a repeat changes nothing");
        let home = Address { purpose: 1, ..address.clone() };
        assert_eq!(saved.customer.unwrap().addresses, [home], "home is a person's default");
    }
    let gone = Address { deactivated: true, ..address.clone() };
    let saved = save("C-00000001".to_owned(), Some(gone)).await.unwrap().into_inner().record.unwrap();
    assert_eq!(saved.version, 3);
    assert!(saved.customer.unwrap().addresses[0].deactivated);

    let bad = |address: Option<Address>| save(id.clone(), address);
    let blank = Address { address_id: guid(6).to_string(), ..Address::default() };
    for (address, field) in [
        (None, "address"),
        (Some(oslo()), "address.address_id"),
        (Some(Address { address_id: "5".to_owned(), ..oslo() }), "address.address_id"),
        (Some(blank), "address"),
    ] {
        assert_eq!(refused_call(bad(address).await, Code::InvalidArgument, "INVALID_FIELD"), [field]);
    }
    refused_call(save(guid(2).to_string(), Some(address)).await, Code::NotFound, "NOT_FOUND");
    hq.stop().await;
}

async fn cards_are_issued_and_refused(database: Database) {
    let hq = Hq::start(&database).await;
    hq.create(guid(1), "Ann", "Card").await.unwrap();
    hq.create(guid(2), "Bob", "Card").await.unwrap();
    let issue = async |customer: u128, number: &str, request: u128| {
        let request = hq::IssueLoyaltyCardRequest {
            customer: guid(customer).to_string(),
            card_number: number.to_owned(),
            request_id: guid(request).to_string(),
        };
        hq.real_time.clone().issue_loyalty_card(request).await
    };
    let first = issue(1, "", 11).await.unwrap().into_inner();
    assert_eq!(first.card_number, "L-00000001");
    assert_eq!(first.record.as_ref().unwrap().customer.as_ref().unwrap().loyalty_cards, ["L-00000001"]);
    assert_eq!(issue(1, "", 11).await.unwrap().into_inner(), first);
    assert_eq!(issue(1, "Gold-77", 12).await.unwrap().into_inner().card_number, "Gold-77");
    refused_call(issue(2, "GOLD-77", 13).await, Code::AlreadyExists, "CARD_TAKEN");
    let fields = refused_call(issue(2, "", 11).await, Code::AlreadyExists, "GUID_TAKEN");
    assert_eq!(fields, ["request_id"]);
    refused_call(issue(3, "", 14).await, Code::NotFound, "NOT_FOUND");
    for bad in ["abc", "with space", "nul\0nul", &"x".repeat(41), "éééé"] {
        let fields = refused_call(issue(1, bad, 15).await, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(fields, ["card_number"]);
    }
    let request = hq::IssueLoyaltyCardRequest { customer: guid(1).to_string(), ..Default::default() };
    let call = hq.real_time.clone().issue_loyalty_card(request).await;
    assert_eq!(refused_call(call, Code::InvalidArgument, "INVALID_FIELD"), ["request_id"]);
    hq.stop().await;
}

fn search(criterion: Criterion, page_size: i32, page_token: &str) -> hq::SearchCustomersRequest {
    let criterion = Some(criterion);
    hq::SearchCustomersRequest { criterion, page_size, page_token: page_token.to_owned() }
}

async fn c3_search_has_pages_and_an_order(database: Database) {
    let hq = Hq::start(&database).await;
    for n in 1..=25 {
        hq.create(guid(n), "Ann", if n == 20 { "Müller" } else { "Other" }).await.unwrap();
    }
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let request = search(Criterion::Name("ann muller".to_owned()), 10, &token);
        let page = hq.real_time.clone().search_customers(request).await.unwrap().into_inner();
        assert!(page.records.len() <= 10);
        found.extend(page.records.into_iter().map(|record| record.customer.unwrap()));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(found.len(), 25);
    assert_eq!(found[0].customer_id, guid(20).to_string(), "the best match first");
    assert!(found[1..].windows(2).all(|pair| pair[0].customer_id < pair[1].customer_id));
    for (criterion, expected) in [
        (Criterion::AccountNumber("C-00000003".to_owned()), 1),
        (Criterion::LoyaltyCard("NONE-1".to_owned()), 0),
        (Criterion::Email("ann".to_owned()), 0),
    ] {
        let request = search(criterion, 0, "");
        let page = hq.real_time.clone().search_customers(request).await.unwrap().into_inner();
        assert_eq!((page.records.len(), page.next_page_token.as_str()), (expected, ""));
    }
    let request = search(Criterion::Name("ann".to_owned()), 0, "");
    let page = hq.real_time.clone().search_customers(request).await.unwrap().into_inner();
    assert_eq!(page.records.len(), 20, "the default page");
    hq.stop().await;
}

async fn z1_a_bad_search_is_refused(database: Database) {
    let hq = Hq::start(&database).await;
    for n in 1..=3 {
        hq.create(guid(n), "Ann", "Token").await.unwrap();
    }
    let ann = || Criterion::Name("ann".to_owned());
    for (request, field) in [
        (hq::SearchCustomersRequest::default(), "criterion"),
        (search(Criterion::Name("!?".to_owned()), 0, ""), "name"),
        (search(Criterion::Email("a\0".to_owned()), 0, ""), "email"),
        (search(Criterion::Phone("call me".to_owned()), 0, ""), "phone"),
        (search(ann(), -1, ""), "page_size"),
        (search(ann(), 101, ""), "page_size"),
    ] {
        let call = hq.real_time.clone().search_customers(request).await;
        assert_eq!(refused_call(call, Code::InvalidArgument, "INVALID_FIELD"), [field]);
    }
    let page = hq.real_time.clone().search_customers(search(ann(), 1, "")).await.unwrap().into_inner();
    let others = search(Criterion::Name("bob".to_owned()), 1, &page.next_page_token);
    for request in [others, search(ann(), 1, "nonsense")] {
        let call = hq.real_time.clone().search_customers(request).await;
        refused_call(call, Code::InvalidArgument, "BAD_PAGE_TOKEN");
    }
    hq.stop().await;
}
