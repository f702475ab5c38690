//! From protobuf to the domain: customers and operations.

use std::fmt;

use prost_types::{FieldMask, Timestamp};
use uuid::Uuid;

use crate::{
    Address, AddressPurpose, Attribute, AttributeValue, Change, Contact, ContactKind, Content, Customer,
    CustomerId, Field, Micros, Operation, Party, PersonName, Previous, ReceiptOption, Update, Violations,
    id::parse_guid, pb::common,
};

/// Checks what a caller entered as a new customer. Parts without an id get one derived from the customer's.
/// Paths are relative to the customer.
///
/// # Errors
///
/// The fields that break a rule.
pub fn content(id: CustomerId, customer: common::Customer) -> Result<Content, Violations> {
    let mut v = Violations::default();
    let content = read_content(id, customer, &mut v);
    match (content, v.as_slice().is_empty()) {
        (Some(content), true) => content.validate().map(|()| content),
        (_, _) => Err(v),
    }
}

/// Reads content without the validator, for records that a service stored or headquarters sent.
fn read_content(id: CustomerId, customer: common::Customer, v: &mut Violations) -> Option<Content> {
    let party = match customer.party {
        Some(common::customer::Party::Person(p)) => Some(Party::Person(PersonName {
            title: p.title,
            first_name: p.first_name,
            middle_name: p.middle_name,
            last_name: p.last_name,
        })),
        Some(common::customer::Party::Organization(o)) => Some(Party::Organization { name: o.name }),
        None => {
            v.add("party", "is missing: give a person or an organization");
            None
        }
    }?;
    let home = match party {
        Party::Person(_) => AddressPurpose::Home,
        Party::Organization { .. } => AddressPurpose::Business,
    };
    let contacts = customer.contacts.into_iter().enumerate();
    let contacts = contacts.filter_map(|(i, contact)| read_contact(id, i, contact, v)).collect();
    let addresses = customer.addresses.into_iter().enumerate();
    let addresses = addresses
        .filter_map(|(i, address)| {
            read_address(address, home, format_args!("addresses[{i}]"), || id.part("address", i), v)
        })
        .collect();
    let attributes = customer.attributes.into_iter().enumerate();
    let attributes = attributes.filter_map(|(i, attribute)| read_attribute(i, attribute, v)).collect();
    let receipt_option = receipt_option(customer.receipt_option, v);
    Some(Content {
        party,
        customer_group: customer.customer_group,
        currency: customer.currency,
        language: customer.language,
        price_group: customer.price_group,
        discount_group: customer.discount_group,
        tax_id: customer.tax_id,
        credit_limit_minor: customer.credit_limit_minor,
        blocked: customer.blocked,
        receipt_option,
        receipt_email: customer.receipt_email,
        contacts,
        addresses,
        affiliations: customer.affiliations,
        attributes,
    })
}

pub(super) fn receipt_option(option: i32, v: &mut Violations) -> Option<ReceiptOption> {
    match common::ReceiptOption::try_from(option) {
        Ok(common::ReceiptOption::Unspecified) => None,
        Ok(common::ReceiptOption::Print) => Some(ReceiptOption::Print),
        Ok(common::ReceiptOption::Email) => Some(ReceiptOption::Email),
        Ok(common::ReceiptOption::Both) => Some(ReceiptOption::Both),
        Err(_) => {
            v.add("receipt_option", "is not known");
            None
        }
    }
}

fn part_id(
    text: &str,
    field: impl fmt::Display,
    derived: impl FnOnce() -> Uuid,
    v: &mut Violations,
) -> Option<Uuid> {
    if text.is_empty() {
        return Some(derived());
    }
    parse_guid(text).map_err(|error| v.add(field, error)).ok()
}

fn read_contact(id: CustomerId, i: usize, contact: common::Contact, v: &mut Violations) -> Option<Contact> {
    let kind = match contact.kind() {
        common::ContactKind::Email => ContactKind::Email,
        common::ContactKind::Phone => ContactKind::Phone,
        common::ContactKind::Unspecified => {
            v.add(format_args!("contacts[{i}].kind"), "is missing or not known");
            return None;
        }
    };
    let field = format_args!("contacts[{i}].contact_id");
    let id = part_id(&contact.contact_id, field, || id.part("contact", i), v)?;
    Some(Contact { id, kind, value: contact.value, primary: contact.primary })
}

fn read_address(
    address: common::Address,
    default_purpose: AddressPurpose,
    path: impl fmt::Display,
    derived: impl FnOnce() -> Uuid,
    v: &mut Violations,
) -> Option<Address> {
    let purpose = match common::AddressPurpose::try_from(address.purpose) {
        Ok(common::AddressPurpose::Unspecified) => default_purpose,
        Ok(common::AddressPurpose::Home) => AddressPurpose::Home,
        Ok(common::AddressPurpose::Business) => AddressPurpose::Business,
        Ok(common::AddressPurpose::Delivery) => AddressPurpose::Delivery,
        Ok(common::AddressPurpose::Invoice) => AddressPurpose::Invoice,
        Ok(common::AddressPurpose::Other) => AddressPurpose::Other,
        Err(_) => {
            v.add(format_args!("{path}.purpose"), "is not known");
            return None;
        }
    };
    let id = part_id(&address.address_id, format_args!("{path}.address_id"), derived, v)?;
    Some(Address {
        id,
        purpose,
        label: address.label,
        street: address.street,
        city: address.city,
        state: address.state,
        postal_code: address.postal_code,
        country: address.country,
        primary: address.primary,
        deactivated: address.deactivated,
    })
}

fn read_attribute(i: usize, attribute: common::Attribute, v: &mut Violations) -> Option<Attribute> {
    let value = match attribute.value {
        Some(common::attribute::Value::Text(text)) => AttributeValue::Text(text),
        Some(common::attribute::Value::Integer(number)) => AttributeValue::Integer(number),
        Some(common::attribute::Value::Decimal(text)) => AttributeValue::Decimal(text),
        Some(common::attribute::Value::Boolean(truth)) => AttributeValue::Boolean(truth),
        None => {
            v.add(format_args!("attributes[{i}].value"), "is missing");
            return None;
        }
    };
    Some(Attribute { name: attribute.name, value })
}

/// Checks an address that stands alone, for a customer of the given party. `mint` makes an id if it has none.
///
/// # Errors
///
/// The fields that break a rule; paths begin with `address`.
pub fn address(
    party: &Party,
    address: common::Address,
    mint: impl FnOnce() -> Uuid,
) -> Result<Address, Violations> {
    let home = match party {
        Party::Person(_) => AddressPurpose::Home,
        Party::Organization { .. } => AddressPurpose::Business,
    };
    let mut v = Violations::default();
    match read_address(address, home, "address", mint, &mut v) {
        Some(address) if v.as_slice().is_empty() => address.validate("address").map(|()| address),
        _ => Err(v),
    }
}

/// Checks an update: values and mask. Values of fields that the mask does not name are ignored, so they are
/// not validated here: validate the content after [`Update::apply`].
///
/// # Errors
///
/// The fields that break a rule.
pub fn update(
    id: CustomerId,
    mut values: common::Customer,
    mask: Option<FieldMask>,
) -> Result<Update, Violations> {
    let mut v = Violations::default();
    let mut fields = Vec::new();
    for path in mask.unwrap_or_default().paths {
        match Field::from_path(&path) {
            Some(field) if fields.contains(&field) => {}
            Some(field) => fields.push(field),
            None => v.add("update_mask", "names a field that cannot be updated"),
        }
    }
    if fields.is_empty() {
        v.add("update_mask", "is empty");
    }
    if values.party.is_none() && !fields.contains(&Field::Party) {
        // Any party will do: it does not count.
        values.party = Some(common::customer::Party::Organization(common::Organization::default()));
    }
    values.addresses.clear();
    match read_content(id, values, &mut v) {
        Some(values) => v.or(Update { values, fields }),
        None => Err(v),
    }
}

/// Reads a customer that a service stored or headquarters sent. The shape is checked, the rules of entry are
/// not: what is stored has passed them.
///
/// # Errors
///
/// The fields that cannot be read.
pub fn customer(mut customer: common::Customer) -> Result<Customer, Violations> {
    let mut v = Violations::default();
    let id = customer.customer_id.parse::<CustomerId>();
    let id = id.map_err(|error| Violations::one("customer_id", error))?;
    let account_number = (!customer.account_number.is_empty()).then(|| customer.account_number.clone());
    let loyalty_cards = std::mem::take(&mut customer.loyalty_cards);
    let created_at = micros(customer.create_time.as_ref());
    let Some(content) = read_content(id, customer, &mut v) else { return Err(v) };
    v.or(Customer { id, account_number, content, loyalty_cards, created_at })
}

/// Reads an operation that was logged or uploaded. The shape is checked; [`Operation::validate`] checks the
/// rules of entry.
///
/// # Errors
///
/// The fields that cannot be read.
pub fn operation(operation: common::Operation) -> Result<Operation, Violations> {
    let id = operation.customer_id.parse::<CustomerId>();
    let customer_id = id.map_err(|error| Violations::one("customer_id", error))?;
    if operation.counter == 0 || i64::try_from(operation.counter).is_err() {
        return Err(Violations::one("counter", "is not between 1 and 2^63 - 1"));
    }
    let mut v = Violations::default();
    let change = match operation.change {
        Some(common::operation::Change::Create(customer)) => {
            read_content(customer_id, customer, &mut v).map(Change::Create)
        }
        Some(common::operation::Change::Update(change)) => {
            let values = change.customer.unwrap_or_default();
            Some(Change::Update(update(customer_id, values, change.update_mask)?))
        }
        Some(common::operation::Change::SaveAddress(saved)) => {
            let id = parse_guid(&saved.address_id);
            let id = id.map_err(|error| Violations::one("save_address.address_id", error))?;
            // The purpose was settled where the address was entered; the default is for those that say none.
            read_address(saved, AddressPurpose::Home, "save_address", || id, &mut v).map(Change::SaveAddress)
        }
        None => return Err(Violations::one("change", "is missing")),
    };
    let Some(change) = change else { return Err(v) };
    let logged_at = micros(operation.log_time.as_ref());
    let previous = match (&change, operation.previous, operation.previous_address) {
        (Change::Update(change), Some(mut values), _) => {
            values.addresses.clear();
            if !change.fields.contains(&Field::Party) {
                values.party = Some(common::customer::Party::Organization(common::Organization::default()));
            }
            read_content(customer_id, values, &mut v)
                .map_or(Previous::None, |values| Previous::Values(Box::new(values)))
        }
        (Change::SaveAddress(address), _, Some(previous)) => {
            let read =
                read_address(previous, AddressPurpose::Home, "previous_address", || address.id, &mut v);
            read.map_or(Previous::None, Previous::Address)
        }
        _ => Previous::None,
    };
    let fingerprint = fingerprint(&operation.fingerprint, &mut v);
    let counter = operation.counter;
    v.or(Operation { counter, customer_id, logged_at, change, previous, fingerprint })
}

/// A fingerprint that was sent along; empty is none.
pub fn fingerprint(bytes: &[u8], v: &mut Violations) -> Option<Uuid> {
    if bytes.is_empty() {
        return None;
    }
    let read = Uuid::from_slice(bytes).ok();
    if read.is_none() {
        v.add("fingerprint", "is not 16 bytes");
    }
    read
}

/// Microseconds of a timestamp; 0 if it is absent.
#[must_use]
pub fn micros(time: Option<&Timestamp>) -> Micros {
    let micros = time.map(|t| t.seconds.saturating_mul(1_000_000).saturating_add(i64::from(t.nanos) / 1_000));
    Micros(micros.unwrap_or_default())
}
