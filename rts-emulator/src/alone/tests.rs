use tillsync_proto::pb::common::{Address, Contact, ContactKind, Customer as Pb, Person, customer::Party};

use super::*;

const ANN: &str = "0190b6c5-7e2b-7c3a-9d6e-3f1f0a4b5c01";
const BOB: &str = "0190b6c5-7e2b-7c3a-9d6e-3f1f0a4b5c02";
const REQUEST: &str = "0190b6c5-7e2b-7c3a-9d6e-3f1f0a4b5cff";

fn person(id: &str, first: &str, last: &str) -> Pb {
    let email = Contact {
        kind: ContactKind::Email.into(),
        value: format!("{first}@example.com"),
        primary: true,
        ..Contact::default()
    };
    let name = Person { first_name: first.to_owned(), last_name: last.to_owned(), ..Person::default() };
    Pb {
        customer_id: id.to_owned(),
        party: Some(Party::Person(name)),
        contacts: vec![email],
        ..Pb::default()
    }
}

fn asked(customer: Pb) -> hq::CreateCustomerRequest {
    hq::CreateCustomerRequest { customer: Some(customer), ..Default::default() }
}

fn hq() -> MemoryHq {
    let hq = MemoryHq::new(Uuid::max());
    hq.create(asked(person(ANN, "Ann", "Müller"))).unwrap();
    hq
}

fn account(record: common::CustomerRecord) -> String {
    record.customer.unwrap().account_number
}

fn search(hq: &MemoryHq, text: &str, page_size: i32, page_token: &str) -> (Vec<String>, String) {
    let criterion = Some(hq::search_customers_request::Criterion::Name(text.to_owned()));
    let request = hq::SearchCustomersRequest { criterion, page_size, page_token: page_token.to_owned() };
    let (records, next) = hq.search(request).unwrap();
    (records.into_iter().map(account).collect(), next)
}

#[test]
fn m9_a_create_is_idempotent_on_the_guid() {
    let hq = hq();
    assert_eq!(account(hq.create(asked(person(BOB, "Bob", "Miller"))).unwrap()), "C-00000002");
    assert_eq!(account(hq.create(asked(person(BOB, "Bob", "Miller"))).unwrap()), "C-00000002");
    assert_eq!(hq.create(asked(person(BOB, "Rob", "Miller"))), Err(Refusal::GuidTaken));
    assert_eq!(account(hq.get(ANN).unwrap()), "C-00000001");
    assert_eq!(hq.get("C-00000002").unwrap().customer.unwrap().customer_id, BOB);
    assert_eq!(hq.get("C-00000003"), Err(Refusal::NotFound));
    assert!(matches!(hq.create(hq::CreateCustomerRequest::default()), Err(Refusal::Invalid(_))));
    assert!(matches!(hq.create(asked(Pb::default())), Err(Refusal::Invalid(_))));
}

#[test]
fn c3_search_finds_by_prefix_best_match_first_and_by_page() {
    let hq = hq();
    hq.create(asked(person(BOB, "Ann", "Mull"))).unwrap();
    assert_eq!(search(&hq, "mull", 0, "").0, ["C-00000002", "C-00000001"]);
    let (first, token) = search(&hq, "ann", 1, "");
    let (second, end) = search(&hq, "ann", 1, &token);
    assert_eq!([first, second].concat(), ["C-00000001", "C-00000002"]);
    assert_eq!(end, "");
    let request = hq::SearchCustomersRequest { page_token: token, ..Default::default() };
    let email = Some(hq::search_customers_request::Criterion::Email("ann@".to_owned()));
    assert_eq!(
        hq.search(hq::SearchCustomersRequest { criterion: email, ..request }),
        Err(Refusal::BadPageToken)
    );
}

#[test]
fn an_update_needs_the_present_etag_and_changes_what_is_found() {
    let hq = hq();
    let etag = hq.get(ANN).unwrap().customer.unwrap().etag;
    let mask = prost_types::FieldMask { paths: vec!["person".to_owned()] };
    let update = |etag: &str| {
        let values = Some(Pb { etag: etag.to_owned(), ..person("", "Anna", "Schmidt") });
        hq.update(hq::UpdateCustomerRequest {
            customer: ANN.to_owned(),
            values,
            update_mask: Some(mask.clone()),
        })
    };
    assert_eq!(update(&etag).unwrap().version, 2);
    assert_eq!(update(&etag), Err(Refusal::EtagMismatch));
    assert_eq!(update("").unwrap().version, 2, "nothing changed");
    assert!(search(&hq, "müller", 0, "").0.is_empty());
    assert_eq!(search(&hq, "schmidt", 0, "").0, ["C-00000001"]);
    assert_eq!(
        account(hq.create(asked(person(ANN, "Ann", "Müller"))).unwrap()),
        "C-00000001",
        "M9: still a repeat"
    );
}

#[test]
fn addresses_and_cards_are_added_once() {
    let hq = hq();
    let address = Address { city: "Köln".to_owned(), ..Address::default() };
    let save = || hq::SaveAddressRequest { customer: ANN.to_owned(), address: Some(address.clone()) };
    assert_eq!(hq.save_address(save()).unwrap().customer.unwrap().addresses.len(), 1);
    let card = |customer: &str, number: &str, request_id: &str| {
        hq.issue_card(&hq::IssueLoyaltyCardRequest {
            customer: customer.to_owned(),
            card_number: number.to_owned(),
            request_id: request_id.to_owned(),
        })
    };
    let (record, number) = card(ANN, "", REQUEST).unwrap();
    assert_eq!((number.as_str(), record.customer.unwrap().loyalty_cards.len()), ("L-00000001", 1));
    assert_eq!(card(ANN, "", REQUEST).unwrap().1, "L-00000001", "a repeat");
    hq.create(asked(person(BOB, "Bob", "Miller"))).unwrap();
    assert_eq!(card(BOB, "l-00000001", BOB), Err(Refusal::CardTaken));
    assert_eq!(card(ANN, "x-1", ANN).unwrap().0.customer.unwrap().loyalty_cards, ["L-00000001", "X-1"]);
    assert!(matches!(card(ANN, "", ""), Err(Refusal::Invalid(_))));
}
