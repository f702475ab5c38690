use prost_types::FieldMask;

use super::*;
use crate::{
    AddressPurpose, Change, Content, Customer, CustomerId, Field, Micros, Operation, Previous, Update,
    Violations, pb::common,
};

fn id() -> CustomerId {
    "0190b6c5-7e2b-7c3a-9d6e-3f1f0a4b5c6d".parse().unwrap()
}

fn person() -> common::Customer {
    common::Customer {
        party: Some(common::customer::Party::Person(common::Person {
            first_name: "Zoë".into(),
            last_name: "Łukasz".into(),
            ..Default::default()
        })),
        contacts: vec![common::Contact {
            kind: common::ContactKind::Email.into(),
            value: "zoe@example.com".into(),
            primary: true,
            ..Default::default()
        }],
        addresses: vec![common::Address { street: "Main St 1".into(), ..Default::default() }],
        currency: "EUR".into(),
        language: "en-us".into(),
        ..Default::default()
    }
}

fn fields(result: Result<Content, Violations>) -> Vec<String> {
    result.unwrap_err().as_slice().iter().map(|v| v.field.clone()).collect()
}

#[test]
fn c1_a_customer_survives_the_round_trip() {
    let content = content(id(), person()).unwrap();
    assert_eq!(content.addresses[0].purpose, AddressPurpose::Home);
    let known = Customer {
        id: id(),
        account_number: Some("C-1".into()),
        content,
        loyalty_cards: vec!["K-1".into()],
        created_at: Micros(1_700_000_000_123_456),
    };
    assert_eq!(customer(common::Customer::from(&known)), Ok(known));
}

#[test]
fn m9_the_same_request_has_the_same_fingerprint() {
    let first = content(id(), person()).unwrap();
    assert_eq!(first.fingerprint(), content(id(), person()).unwrap().fingerprint());
    // A part that was sent back with the id it was given is the same part.
    let echoed = content(id(), common::Customer::from(&first)).unwrap();
    assert_eq!(first.fingerprint(), echoed.fingerprint());
    let other = content(id(), common::Customer { tax_id: "1".into(), ..person() }).unwrap();
    assert_ne!(first.fingerprint(), other.fingerprint());
}

#[test]
fn c2_every_rule_names_its_field() {
    let nobody = common::Customer::default();
    assert_eq!(fields(content(id(), nobody)), ["party"]);
    type Spoil = Box<dyn Fn(&mut common::Customer)>;
    let cases: Vec<(&str, Spoil)> = vec![
        (
            "person.first_name",
            Box::new(|c| {
                c.party = Some(common::customer::Party::Person(common::Person::default()));
            }),
        ),
        (
            "organization.name",
            Box::new(|c| {
                let name = " ".into();
                c.party = Some(common::customer::Party::Organization(common::Organization { name }));
            }),
        ),
        ("customer_group", Box::new(|c| c.customer_group = "x".repeat(21))),
        ("customer_group", Box::new(|c| c.customer_group = "a\0b".into())),
        ("currency", Box::new(|c| c.currency = "eur".into())),
        ("language", Box::new(|c| c.language = "english please".into())),
        ("credit_limit_minor", Box::new(|c| c.credit_limit_minor = -1)),
        ("receipt_email", Box::new(|c| c.receipt_email = "nobody".into())),
        ("receipt_option", Box::new(|c| c.receipt_option = 99)),
        ("contacts[0].value", Box::new(|c| c.contacts[0].value = "a@b".into())),
        ("contacts[0].kind", Box::new(|c| c.contacts[0].kind = 0)),
        ("contacts[0].contact_id", Box::new(|c| c.contacts[0].contact_id = "7".into())),
        ("contacts", Box::new(|c| c.contacts.push(c.contacts[0].clone()))),
        ("addresses[0]", Box::new(|c| c.addresses[0] = common::Address::default())),
        ("addresses[0].country", Box::new(|c| c.addresses[0].country = "Germany".into())),
        ("affiliations[0]", Box::new(|c| c.affiliations.push(String::new()))),
        (
            "attributes[0].value",
            Box::new(|c| c.attributes.push(common::Attribute { name: "size".into(), value: None })),
        ),
        (
            "attributes[0].decimal",
            Box::new(|c| {
                c.attributes.push(common::Attribute {
                    name: "size".into(),
                    value: Some(common::attribute::Value::Decimal("1e9".into())),
                })
            }),
        ),
    ];
    for (field, spoil) in cases {
        let mut customer = person();
        spoil(&mut customer);
        assert_eq!(fields(content(id(), customer)), [field]);
    }
}

#[test]
fn updates_name_known_fields_and_leave_the_rest() {
    let mut content = content(id(), person()).unwrap();
    let values = common::Customer { tax_id: "DE1".into(), currency: "USD".into(), ..Default::default() };
    let mask = FieldMask { paths: vec!["tax_id".into(), "tax_id".into()] };
    let update = update(id(), values.clone(), Some(mask)).unwrap();
    update.apply(&mut content);
    assert_eq!((content.tax_id.as_str(), content.currency.as_str()), ("DE1", "EUR"));
    for paths in [vec![], vec!["addresses".into()], vec!["nonsense".into()]] {
        assert!(super::update(id(), values.clone(), Some(FieldMask { paths })).is_err());
    }
}

#[test]
fn x3_operations_survive_the_round_trip() {
    let created = content(id(), person()).unwrap();
    let before = Content { currency: "SEK".to_owned(), ..created.clone() };
    let address = created.addresses[0].clone();
    let update = Update { values: created.clone(), fields: vec![Field::Currency] };
    for change in [Change::Create(created), Change::Update(update), Change::SaveAddress(address)] {
        let previous = Previous::of(&change, &before);
        let fingerprint = Some(id().0);
        let (counter, customer_id, logged_at) = (7, id(), Micros(5));
        let logged = Operation { counter, customer_id, logged_at, change, previous, fingerprint };
        let back = operation(common::Operation::from(&logged)).unwrap();
        // An update carries no addresses, so they are not compared.
        if !matches!(logged.change, Change::Update(_)) {
            assert_eq!(back, logged);
        }
        assert_eq!((back.counter, back.customer_id, back.fingerprint), (7, id(), Some(id().0)));
        match &logged.change {
            Change::Create(_) => assert_eq!(back.previous, Previous::None),
            Change::Update(_) | Change::SaveAddress(_) => assert_eq!(back.previous, logged.previous),
        }
    }
    assert!(operation(common::Operation::default()).is_err());
}
