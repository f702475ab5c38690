//! From the domain to protobuf: customers and operations.

use prost_types::{FieldMask, Timestamp};
use uuid::Uuid;

use crate::{
    Address, AddressPurpose, Attribute, AttributeValue, Change, Contact, ContactKind, Content, Customer,
    CustomerId, Micros, Operation, PENDING_DISPLAY, Party, PersonName, Previous, ReceiptOption, Update,
    pb::common,
};

impl From<Micros> for Timestamp {
    fn from(time: Micros) -> Self {
        let nanos = i32::try_from(time.0.rem_euclid(1_000_000)).unwrap_or_default() * 1_000;
        Self { seconds: time.0.div_euclid(1_000_000), nanos }
    }
}

impl From<Content> for common::Customer {
    /// Only what was entered: the output fields stay empty.
    fn from(content: Content) -> Self {
        let party = match content.party {
            Party::Person(PersonName { title, first_name, middle_name, last_name }) => {
                common::customer::Party::Person(common::Person { title, first_name, middle_name, last_name })
            }
            Party::Organization { name } => {
                common::customer::Party::Organization(common::Organization { name })
            }
        };
        Self {
            party: Some(party),
            customer_group: content.customer_group,
            currency: content.currency,
            language: content.language,
            price_group: content.price_group,
            discount_group: content.discount_group,
            tax_id: content.tax_id,
            credit_limit_minor: content.credit_limit_minor,
            blocked: content.blocked,
            receipt_option: receipt_option(content.receipt_option).into(),
            receipt_email: content.receipt_email,
            contacts: content.contacts.into_iter().map(Into::into).collect(),
            addresses: content.addresses.into_iter().map(Into::into).collect(),
            affiliations: content.affiliations,
            attributes: content.attributes.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }
}

impl From<&Content> for common::Customer {
    fn from(content: &Content) -> Self {
        content.clone().into()
    }
}

pub(super) fn receipt_option(option: Option<ReceiptOption>) -> common::ReceiptOption {
    match option {
        None => common::ReceiptOption::Unspecified,
        Some(ReceiptOption::Print) => common::ReceiptOption::Print,
        Some(ReceiptOption::Email) => common::ReceiptOption::Email,
        Some(ReceiptOption::Both) => common::ReceiptOption::Both,
    }
}

impl From<&Customer> for common::Customer {
    fn from(customer: &Customer) -> Self {
        let (content, fingerprint) = customer.content.clone().into_wire();
        customer.complete(content, customer.etag_of(fingerprint))
    }
}

/// The wire form of a customer as a service keeps it: without the etag, which is worked out whenever the customer is told,
/// and costs more than all the rest.
#[must_use]
pub fn stored(customer: &Customer) -> common::Customer {
    customer.complete((&customer.content).into(), String::new())
}

/// The wire form of a customer that has just been entered, from that of its content and the content's fingerprint.
#[must_use]
pub fn pending(
    id: CustomerId,
    content: common::Customer,
    fingerprint: Uuid,
    created_at: Micros,
) -> common::Customer {
    let nothing = Content::blank();
    let customer =
        Customer { id, account_number: None, content: nothing, loyalty_cards: Vec::new(), created_at };
    customer.complete(content, customer.etag_of(fingerprint))
}

impl Customer {
    /// The customer's wire form, from that of its content.
    fn complete(&self, content: common::Customer, etag: String) -> common::Customer {
        let state = if self.is_pending() { common::SyncState::Pending } else { common::SyncState::Synced };
        let account = self.account_number.as_deref();
        common::Customer {
            customer_id: self.id.to_string(),
            account_number: account.unwrap_or_default().to_owned(),
            account_display: account.unwrap_or(PENDING_DISPLAY).to_owned(),
            sync_state: state.into(),
            etag,
            loyalty_cards: self.loyalty_cards.clone(),
            create_time: Some(self.created_at.into()),
            ..content
        }
    }
}

impl From<Contact> for common::Contact {
    fn from(contact: Contact) -> Self {
        let kind = match contact.kind {
            ContactKind::Email => common::ContactKind::Email,
            ContactKind::Phone => common::ContactKind::Phone,
        };
        Self {
            contact_id: contact.id.to_string(),
            kind: kind.into(),
            value: contact.value,
            primary: contact.primary,
        }
    }
}

impl From<Address> for common::Address {
    fn from(address: Address) -> Self {
        let purpose = match address.purpose {
            AddressPurpose::Home => common::AddressPurpose::Home,
            AddressPurpose::Business => common::AddressPurpose::Business,
            AddressPurpose::Delivery => common::AddressPurpose::Delivery,
            AddressPurpose::Invoice => common::AddressPurpose::Invoice,
            AddressPurpose::Other => common::AddressPurpose::Other,
        };
        Self {
            address_id: address.id.to_string(),
            purpose: purpose.into(),
            label: address.label,
            street: address.street,
            city: address.city,
            state: address.state,
            postal_code: address.postal_code,
            country: address.country,
            primary: address.primary,
            deactivated: address.deactivated,
        }
    }
}

impl From<&Address> for common::Address {
    fn from(address: &Address) -> Self {
        address.clone().into()
    }
}

impl From<Attribute> for common::Attribute {
    fn from(attribute: Attribute) -> Self {
        let value = match attribute.value {
            AttributeValue::Text(text) => common::attribute::Value::Text(text),
            AttributeValue::Integer(number) => common::attribute::Value::Integer(number),
            AttributeValue::Decimal(text) => common::attribute::Value::Decimal(text),
            AttributeValue::Boolean(truth) => common::attribute::Value::Boolean(truth),
        };
        Self { name: attribute.name, value: Some(value) }
    }
}

impl From<&Update> for common::CustomerUpdate {
    fn from(update: &Update) -> Self {
        let paths = update.fields.iter().map(|field| field.path().to_owned()).collect();
        Self { customer: Some((&update.values).into()), update_mask: Some(FieldMask { paths }) }
    }
}

impl From<&Operation> for common::Operation {
    fn from(operation: &Operation) -> Self {
        let change = match &operation.change {
            Change::Create(content) => common::operation::Change::Create(content.into()),
            Change::Update(update) => common::operation::Change::Update(update.into()),
            Change::SaveAddress(address) => common::operation::Change::SaveAddress(address.into()),
        };
        Self {
            counter: operation.counter,
            customer_id: operation.customer_id.to_string(),
            log_time: Some(operation.logged_at.into()),
            change: Some(change),
            previous: match &operation.previous {
                Previous::Values(values) => Some((&**values).into()),
                Previous::None | Previous::Address(_) => None,
            },
            previous_address: match &operation.previous {
                Previous::Address(address) => Some(address.into()),
                Previous::None | Previous::Values(_) => None,
            },
            fingerprint: operation.fingerprint.map(|f| f.into_bytes().to_vec()).unwrap_or_default(),
        }
    }
}
