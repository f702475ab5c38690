//! Synthetic customers: nobody's data (rule Z5), drawn from a seed, one e-mail each that no other customer has.

use std::time::Duration;

use fake::{
    Fake as _,
    faker::{
        address::en::{CityName, StreetName},
        company::en::CompanyName,
        name::en::{FirstName, LastName},
    },
};
use rand::{Rng, RngExt as _, SeedableRng as _, rngs::StdRng};
use tillsync_proto::pb::common::{
    Address, Contact, ContactKind, Customer, Organization, Person, customer::Party,
};
use uuid::{Builder, Uuid};

/// Domain of the e-mails; `.example` is reserved, so that no mail ever leaves.
const DOMAIN: &str = "@harness.example";

/// Share of organizations.
const ORGANIZATIONS: f64 = 0.1;

/// A generator of its own for each create, so that what a customer is does not depend on the order in which
/// calls were made.
#[must_use]
pub fn rng_of(seed: u64, run: u64, index: u64) -> StdRng {
    let mut bytes = [0; 32];
    for (place, part) in bytes.chunks_exact_mut(8).zip([seed, run, index, 0]) {
        place.copy_from_slice(&part.to_le_bytes());
    }
    StdRng::from_seed(bytes)
}

/// A GUID as a till mints it when its form opens (UUIDv7, rule M6).
#[must_use]
pub fn guid(wall_micros: i64, rng: &mut impl Rng) -> Uuid {
    let millis = u64::try_from(wall_micros / 1_000).unwrap_or_default();
    Builder::from_unix_timestamp_millis(millis, &rng.random()).into_uuid()
}

/// A create of a run, by its place: its GUID, minted when it is due, and the generator of what else it is. The same
/// session makes the same GUIDs again.
#[must_use]
pub fn create_of(seed: u64, run: u64, index: u64, epoch_micros: i64, due: Duration) -> (Uuid, StdRng) {
    let mut rng = rng_of(seed, run, index);
    let due = i64::try_from(due.as_micros()).unwrap_or(i64::MAX);
    (guid(epoch_micros.saturating_add(due), &mut rng), rng)
}

/// The e-mail that only this customer has. The GUID's digits backwards: e-mails do not come in the order of
/// time, and an index over them is written at random places, as it is with real ones.
#[must_use]
pub fn unique_email(id: Uuid) -> String {
    let digits: String = id.simple().to_string().chars().rev().collect();
    digits + DOMAIN
}

/// Whether an e-mail was made by [`unique_email`].
#[must_use]
pub fn is_unique_email(email: &str) -> bool {
    email.ends_with(DOMAIN)
}

/// Seven digits of the GUID, which few others have; always as long.
#[must_use]
pub fn phone(id: Uuid) -> String {
    let digits = id.as_u128() % 10_000_000;
    format!("+1 555 {:03} {:04}", digits / 10_000, digits % 10_000)
}

/// A customer: a person or now and then an organization, with e-mail, phone and one address.
#[must_use]
pub fn customer(id: Uuid, rng: &mut impl Rng) -> Customer {
    let party = if rng.random_bool(ORGANIZATIONS) {
        Party::Organization(Organization { name: CompanyName().fake_with_rng(rng) })
    } else {
        Party::Person(Person {
            first_name: FirstName().fake_with_rng(rng),
            last_name: LastName().fake_with_rng(rng),
            ..Person::default()
        })
    };
    let street: String = StreetName().fake_with_rng(rng);
    Customer {
        party: Some(party),
        customer_group: "RETAIL".to_owned(),
        currency: "USD".to_owned(),
        language: "en-us".to_owned(),
        contacts: vec![contact(ContactKind::Email, unique_email(id)), contact(ContactKind::Phone, phone(id))],
        addresses: vec![Address {
            street: format!("{} {street}", rng.random_range(1..1000)),
            city: CityName().fake_with_rng(rng),
            postal_code: format!("{:05}", rng.random_range(0..100_000)),
            country: "US".to_owned(),
            primary: true,
            ..Address::default()
        }],
        ..Customer::default()
    }
}

fn contact(kind: ContactKind, value: String) -> Contact {
    Contact { kind: kind.into(), value, primary: true, ..Contact::default() }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tillsync_proto::{CustomerId, convert};

    use super::*;

    #[test]
    fn c2_every_customer_is_valid_and_has_an_email_of_its_own() {
        let mut emails = HashSet::new();
        let mut organizations = 0;
        for index in 0..2_000 {
            let mut rng = rng_of(1, 2, index);
            let id = guid(1_700_000_000_000_000, &mut rng);
            assert_eq!(id.get_version_num(), 7);
            let customer = customer(id, &mut rng);
            organizations += u32::from(matches!(customer.party, Some(Party::Organization(_))));
            assert!(is_unique_email(&customer.contacts[0].value));
            assert!(emails.insert(customer.contacts[0].value.clone()));
            convert::content(CustomerId(id), customer).unwrap();
        }
        assert!((100..300).contains(&organizations), "{organizations}");
        assert!(!is_unique_email("shop@example.com"));
    }

    #[test]
    fn the_seed_decides() {
        let of = |seed, run, index| {
            let mut rng = rng_of(seed, run, index);
            customer(guid(1, &mut rng), &mut rng)
        };
        assert_eq!(of(1, 2, 3), of(1, 2, 3));
        for other in [of(2, 2, 3), of(1, 3, 3), of(1, 2, 4)] {
            assert_ne!(of(1, 2, 3), other);
        }
    }
}
