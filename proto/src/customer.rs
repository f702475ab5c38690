//! The customer (rule C1).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{CustomerId, Micros, pb};

/// What a POS user sees instead of an account number that is not there yet (rule M3).
pub const PENDING_DISPLAY: &str = "Pending sync";

/// A customer as a service knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// The identity, for ever.
    pub id: CustomerId,
    /// Given by headquarters; absent while pending.
    pub account_number: Option<String>,
    /// What was entered.
    pub content: Content,
    /// Issued loyalty cards, by number.
    #[serde(default)]
    pub loyalty_cards: Vec<String>,
    /// When it was created, by the clock of the channel that took it.
    pub created_at: Micros,
}

impl Customer {
    /// Whether headquarters has yet to give the account number, as far as the holder of this value knows.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.account_number.is_none()
    }

    /// What is left of an erased customer: that there was one. Nobody can enter a customer without a name.
    #[must_use]
    pub fn erased(id: CustomerId, account_number: Option<String>, created_at: Micros) -> Self {
        Self { id, account_number, content: Content::blank(), loyalty_cards: Vec::new(), created_at }
    }

    /// Whether the customer has been erased.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.content == Content::blank()
    }

    /// Opaque version: changes whenever anything a caller can see changes.
    #[must_use]
    pub fn etag(&self) -> String {
        self.etag_of(self.content.fingerprint())
    }

    /// The same, where the content's fingerprint is known already.
    pub(crate) fn etag_of(&self, fingerprint: Uuid) -> String {
        let account = self.account_number.as_deref().unwrap_or_default();
        let cards = self.loyalty_cards.join(",");
        let text = format!("{account}/{cards}");
        Uuid::new_v5(&fingerprint, text.as_bytes()).simple().to_string()
    }
}

/// Everything about a customer that is entered by people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Person or organization.
    pub party: Party,
    /// Customer group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub customer_group: String,
    /// ISO 4217 code, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub currency: String,
    /// BCP 47 tag, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub language: String,
    /// Price group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub price_group: String,
    /// Discount group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub discount_group: String,
    /// Tax registration.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tax_id: String,
    /// Credit limit in minor units of the currency; 0 is none.
    #[serde(default)]
    pub credit_limit_minor: i64,
    /// Blocked for new orders.
    #[serde(default)]
    pub blocked: bool,
    /// How receipts are given; absent: the store's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_option: Option<ReceiptOption>,
    /// Where receipts go by e-mail.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub receipt_email: String,
    /// E-mails and phones.
    #[serde(default)]
    pub contacts: Vec<Contact>,
    /// Postal addresses.
    #[serde(default)]
    pub addresses: Vec<Address>,
    /// Affiliations by id.
    #[serde(default)]
    pub affiliations: Vec<String>,
    /// Typed attributes.
    #[serde(default)]
    pub attributes: Vec<Attribute>,
}

/// Namespace of content fingerprints; drawn once for this purpose.
const FINGERPRINT: Uuid = Uuid::from_u128(0x8d0c_7f54_6a7e_4a8e_9b0c_51c3_ff2e_77a1);

impl Content {
    /// Nobody yet: an organization without a name, and nothing else.
    #[must_use]
    pub fn blank() -> Self {
        Self {
            party: Party::Organization { name: String::new() },
            customer_group: String::new(),
            currency: String::new(),
            language: String::new(),
            price_group: String::new(),
            discount_group: String::new(),
            tax_id: String::new(),
            credit_limit_minor: 0,
            blocked: false,
            receipt_option: None,
            receipt_email: String::new(),
            contacts: Vec::new(),
            addresses: Vec::new(),
            affiliations: Vec::new(),
            attributes: Vec::new(),
        }
    }

    /// A fingerprint (UUIDv5, so SHA-1 based) of the content: equal content, equal fingerprint, on every
    /// node and in every version that knows the same fields (rule M9).
    #[must_use]
    pub fn fingerprint(&self) -> Uuid {
        self.clone().into_wire().1
    }

    /// The wire form, only what was entered, and the fingerprint: each is made of the other, so who needs both
    /// makes them at once. [`crate::convert::pending`] adds the rest.
    #[must_use]
    pub fn into_wire(self) -> (pb::common::Customer, Uuid) {
        use prost::Message as _;
        let wire = pb::common::Customer::from(self);
        let fingerprint = Uuid::new_v5(&FINGERPRINT, &wire.encode_to_vec());
        (wire, fingerprint)
    }

    /// The name to show: a person's joined from its parts (rule M11), or the organization's.
    #[must_use]
    pub fn full_name(&self) -> String {
        match &self.party {
            Party::Person(name) => {
                let parts = [&name.title, &name.first_name, &name.middle_name, &name.last_name];
                let parts: Vec<&str> =
                    parts.into_iter().map(|s| s.trim()).filter(|s| !s.is_empty()).collect();
                parts.join(" ")
            }
            Party::Organization { name } => name.trim().to_owned(),
        }
    }

    /// Adds the address, or replaces the one of its id. A primary one takes that from the others.
    pub fn save_address(&mut self, address: Address) {
        if address.primary {
            self.addresses.iter_mut().for_each(|other| other.primary = false);
        }
        match self.addresses.iter_mut().find(|other| other.id == address.id) {
            Some(place) => *place = address,
            None => self.addresses.push(address),
        }
    }
}

/// Who the customer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// A natural person.
    Person(PersonName),
    /// A company, club, or other organization.
    Organization {
        /// Its name.
        name: String,
    },
}

/// The parts of a person's name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PersonName {
    /// Title; on an async create only with flag E2.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// First name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub first_name: String,
    /// Middle name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub middle_name: String,
    /// Last name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_name: String,
}

/// How receipts are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptOption {
    /// On paper.
    Print,
    /// By e-mail.
    Email,
    /// Both.
    Both,
}

/// An e-mail address or a phone number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Identity.
    pub id: Uuid,
    /// What it is.
    pub kind: ContactKind,
    /// The address or number, as entered.
    pub value: String,
    /// The default one of its kind.
    pub primary: bool,
}

/// Kinds of contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactKind {
    /// E-mail.
    Email,
    /// Phone.
    Phone,
}

/// A postal address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Identity.
    pub id: Uuid,
    /// What it is for.
    pub purpose: AddressPurpose,
    /// Free name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// Street and number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub street: String,
    /// City.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub city: String,
    /// State or province.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Postal code.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub postal_code: String,
    /// ISO 3166 code, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub country: String,
    /// The default one.
    #[serde(default)]
    pub primary: bool,
    /// Kept for history only.
    #[serde(default)]
    pub deactivated: bool,
}

/// What an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressPurpose {
    /// Home; a person's default.
    Home,
    /// Business; an organization's default.
    Business,
    /// Deliveries.
    Delivery,
    /// Invoices.
    Invoice,
    /// Anything else.
    Other,
}

/// A typed attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// Name, unique within the customer.
    pub name: String,
    /// Value.
    pub value: AttributeValue,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributeValue {
    /// Text.
    Text(String),
    /// Whole number.
    Integer(i64),
    /// Decimal number, written out.
    Decimal(String),
    /// True or false.
    Boolean(bool),
}
