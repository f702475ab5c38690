//! Values of customers and addresses, as they are written in a command: `field=value`.

use std::str::FromStr;

use tillsync_proto::pb::common::{
    Address, Contact, ContactKind, Customer, Organization, Person, ReceiptOption, customer::Party,
};

/// A field and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    field: String,
    value: String,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (field, value) = text.split_once('=').ok_or("is not FIELD=VALUE, such as last_name=Smith")?;
        Ok(Self { field: field.trim().to_owned(), value: value.to_owned() })
    }
}

/// The fields of a customer that can be set, for help.
pub(crate) const CUSTOMER_FIELDS: &str = "title, first_name, middle_name, last_name, organization, customer_group, \
     currency, language, price_group, discount_group, tax_id, receipt_email, receipt_option (print, email or both), \
     blocked (on or off), email, phone, affiliations (comma-separated)";

impl Assignment {
    /// Sets a field of a customer; gives the field's path in an update mask.
    pub fn set(&self, customer: &mut Customer) -> Result<&'static str, String> {
        let value = self.value.clone();
        let text = |place: &mut String, path| {
            *place = value.clone();
            Ok(path)
        };
        match self.field.as_str() {
            "title" => text(&mut person(customer)?.title, "person"),
            "first_name" => text(&mut person(customer)?.first_name, "person"),
            "middle_name" => text(&mut person(customer)?.middle_name, "person"),
            "last_name" => text(&mut person(customer)?.last_name, "person"),
            "organization" => {
                customer.party = Some(Party::Organization(Organization { name: value }));
                Ok("organization")
            }
            "customer_group" => text(&mut customer.customer_group, "customer_group"),
            "currency" => text(&mut customer.currency, "currency"),
            "language" => text(&mut customer.language, "language"),
            "price_group" => text(&mut customer.price_group, "price_group"),
            "discount_group" => text(&mut customer.discount_group, "discount_group"),
            "tax_id" => text(&mut customer.tax_id, "tax_id"),
            "receipt_email" => text(&mut customer.receipt_email, "receipt_email"),
            "receipt_option" => {
                let option = match value.as_str() {
                    "print" => ReceiptOption::Print,
                    "email" => ReceiptOption::Email,
                    "both" => ReceiptOption::Both,
                    _ => return Err("receipt_option is not print, email or both".to_owned()),
                };
                customer.receipt_option = option.into();
                Ok("receipt_option")
            }
            "blocked" => {
                customer.blocked = super::switch(&value).map_err(|wrong| format!("blocked {wrong}"))?;
                Ok("blocked")
            }
            "email" => Ok(contact(customer, ContactKind::Email, value)),
            "phone" => Ok(contact(customer, ContactKind::Phone, value)),
            "affiliations" => {
                let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
                customer.affiliations = names.map(str::to_owned).collect();
                Ok("affiliations")
            }
            other => Err(format!("{other} is not a field that can be set; these can: {CUSTOMER_FIELDS}")),
        }
    }

    /// Sets a field of an address.
    pub fn set_address(&self, address: &mut Address) -> Result<(), String> {
        let place = match self.field.as_str() {
            "label" => &mut address.label,
            "street" => &mut address.street,
            "city" => &mut address.city,
            "state" => &mut address.state,
            "postal_code" => &mut address.postal_code,
            "country" => &mut address.country,
            other => {
                let fields = "label, street, city, state, postal_code, country";
                return Err(format!("{other} is not a field of an address; these are: {fields}"));
            }
        };
        place.clone_from(&self.value);
        Ok(())
    }
}

fn person(customer: &mut Customer) -> Result<&mut Person, String> {
    let party = customer.party.get_or_insert_with(|| Party::Person(Person::default()));
    match party {
        Party::Person(person) => Ok(person),
        Party::Organization(_) => Err("an organization has no parts of a name: set organization".to_owned()),
    }
}

/// Sets the primary contact of a kind.
fn contact(customer: &mut Customer, kind: ContactKind, value: String) -> &'static str {
    let there = customer.contacts.iter_mut().find(|there| there.kind() == kind && there.primary);
    match there {
        Some(there) => there.value = value,
        None => {
            let contact = Contact { kind: kind.into(), value, primary: true, ..Contact::default() };
            customer.contacts.push(contact);
        }
    }
    "contacts"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_set_and_named() {
        let mut customer = Customer::default();
        let mut set = |text: &str| text.parse::<Assignment>()?.set(&mut customer).map(str::to_owned);
        assert_eq!(set("first_name=Ann").as_deref(), Ok("person"));
        assert_eq!(set("email=a@example.com").as_deref(), Ok("contacts"));
        assert_eq!(set("email=b@example.com").as_deref(), Ok("contacts"));
        assert_eq!(set("affiliations= club, staff").as_deref(), Ok("affiliations"));
        assert!(set("shoe_size=43").unwrap_err().contains("last_name"));
        assert!(set("blocked=perhaps").is_err());
        assert!(set("nothing").is_err());
        assert_eq!((customer.contacts.len(), customer.contacts[0].value.as_str()), (1, "b@example.com"));
        assert_eq!(customer.affiliations, ["club", "staff"]);
        let mut club =
            Customer { party: Some(Party::Organization(Organization::default())), ..Default::default() };
        assert!("last_name=Smith".parse::<Assignment>().unwrap().set(&mut club).is_err());
    }
}
