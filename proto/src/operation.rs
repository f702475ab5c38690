//! Operations: what channels log and headquarters receives (rule X3).

use serde::{Deserialize, Serialize};

use uuid::Uuid;

use crate::{Address, Content, CustomerId, Micros, Violations};

/// One create, update, or save of a part of a customer, as a channel logged it. Never changed once logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Place in the channel's log, from 1, ascending. (channel, counter) identifies it for ever.
    pub counter: u64,
    /// The customer it belongs to.
    pub customer_id: CustomerId,
    /// When it was logged, by the channel's clock.
    pub logged_at: Micros,
    /// What changed.
    pub change: Change,
    /// What was there before, as the channel knew it.
    #[serde(default, skip_serializing_if = "Previous::is_none")]
    pub previous: Previous,
    /// Of a create: the fingerprint of what the caller asked for, if that is not its own (rules M9, M11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Uuid>,
}

/// What was there before an edit, as the channel that logged it knew it: the old values of rule S1.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Previous {
    /// Nothing: a create, a new address, or an edit that does not say.
    #[default]
    None,
    /// Of an update: only the fields that it names count.
    Values(Box<Content>),
    /// Of a saved address.
    Address(Address),
}

impl Previous {
    /// What a change replaces in a customer.
    #[must_use]
    pub fn of(change: &Change, content: &Content) -> Self {
        match change {
            Change::Create(_) => Self::None,
            Change::Update(update) => {
                let mut before = Content::blank();
                update.fields.iter().for_each(|field| field.copy(content, &mut before));
                Self::Values(Box::new(before))
            }
            Change::SaveAddress(address) => {
                let before = content.addresses.iter().find(|there| there.id == address.id);
                before.map_or(Self::None, |before| Self::Address(before.clone()))
            }
        }
    }

    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl Operation {
    /// Checks the rules of entry: headquarters runs the same validator as the channel (rule C2). The values
    /// of an update are checked when it is applied, because only then the whole customer is known.
    ///
    /// # Errors
    ///
    /// The fields that break a rule.
    pub fn validate(&self) -> Result<(), Violations> {
        match &self.change {
            Change::Create(content) => content.validate(),
            Change::Update(_) => Ok(()),
            Change::SaveAddress(address) => address.validate("save_address"),
        }
    }
}

/// What an operation changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A new customer with all its parts.
    Create(Content),
    /// New values for some fields.
    Update(Update),
    /// A new, changed or deactivated address.
    SaveAddress(Address),
}

impl Change {
    /// Makes the change to existing content. A create replaces everything.
    pub fn apply(&self, content: &mut Content) {
        match self {
            Self::Create(new) => *content = new.clone(),
            Self::Update(update) => update.apply(content),
            Self::SaveAddress(address) => content.save_address(address.clone()),
        }
    }
}

/// New values for some fields of a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// The values; only the named fields count.
    pub values: Content,
    /// Which fields change; not empty, none twice.
    pub fields: Vec<Field>,
}

impl Update {
    /// Makes the change.
    pub fn apply(&self, content: &mut Content) {
        for field in &self.fields {
            field.copy(&self.values, content);
        }
    }
}

macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident: $path:literal, $member:ident;)*) => {
        /// A field that an update can name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Field { $($(#[$doc])* $variant,)* }

        impl Field {
            /// The field's path in an update mask.
            #[must_use]
            pub fn path(self) -> &'static str {
                match self { $(Self::$variant => $path,)* }
            }

            /// The field of a path. `organization` names the party, as `person` does.
            #[must_use]
            pub fn from_path(path: &str) -> Option<Self> {
                match path { $($path => Some(Self::$variant),)* "organization" => Some(Self::Party), _ => None }
            }

            /// The field's name in stored content.
            #[must_use]
            pub fn member(self) -> &'static str {
                match self { $(Self::$variant => stringify!($member),)* }
            }

            fn copy(self, from: &Content, to: &mut Content) {
                match self { $(Self::$variant => to.$member.clone_from(&from.$member),)* }
            }

            /// Whether two contents have the same value in it.
            #[must_use]
            pub fn is_same(self, one: &Content, other: &Content) -> bool {
                match self { $(Self::$variant => one.$member == other.$member,)* }
            }
        }
    };
}

fields! {
    /// Person or organization.
    Party: "person", party;
    /// Customer group.
    CustomerGroup: "customer_group", customer_group;
    /// Currency.
    Currency: "currency", currency;
    /// Language.
    Language: "language", language;
    /// Price group.
    PriceGroup: "price_group", price_group;
    /// Discount group.
    DiscountGroup: "discount_group", discount_group;
    /// Tax registration.
    TaxId: "tax_id", tax_id;
    /// Credit limit.
    CreditLimitMinor: "credit_limit_minor", credit_limit_minor;
    /// Blocked.
    Blocked: "blocked", blocked;
    /// Receipt option.
    ReceiptOption: "receipt_option", receipt_option;
    /// Receipt e-mail.
    ReceiptEmail: "receipt_email", receipt_email;
    /// All contacts.
    Contacts: "contacts", contacts;
    /// All affiliations.
    Affiliations: "affiliations", affiliations;
    /// All attributes.
    Attributes: "attributes", attributes;
}

/// The five documented tables in which operations are shown (rule X2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationTable {
    /// `retail_async_customer_v2`
    Customer,
    /// `retail_async_address_v2`
    Address,
    /// `retail_async_customer_contact`
    Contact,
    /// `retail_async_customer_affiliation`
    Affiliation,
    /// `retail_async_customer_attribute_v2`
    Attribute,
}

impl OperationTable {
    /// All five.
    pub const ALL: [Self; 5] =
        [Self::Customer, Self::Address, Self::Contact, Self::Affiliation, Self::Attribute];

    /// The documented name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Customer => "retail_async_customer_v2",
            Self::Address => "retail_async_address_v2",
            Self::Contact => "retail_async_customer_contact",
            Self::Affiliation => "retail_async_customer_affiliation",
            Self::Attribute => "retail_async_customer_attribute_v2",
        }
    }

    /// Whether an operation with this change appears in the table: a create in the customer table and in the
    /// table of each part it carries.
    #[must_use]
    pub fn shows(self, change: &Change) -> bool {
        match (self, change) {
            (Self::Customer, Change::Create(_) | Change::Update(_))
            | (Self::Address, Change::SaveAddress(_)) => true,
            (Self::Address, Change::Create(content)) => !content.addresses.is_empty(),
            (Self::Contact, Change::Create(content)) => !content.contacts.is_empty(),
            (Self::Affiliation, Change::Create(content)) => !content.affiliations.is_empty(),
            (Self::Attribute, Change::Create(content)) => !content.attributes.is_empty(),
            (Self::Contact, Change::Update(update)) => update.fields.contains(&Field::Contacts),
            (Self::Affiliation, Change::Update(update)) => update.fields.contains(&Field::Affiliations),
            (Self::Attribute, Change::Update(update)) => update.fields.contains(&Field::Attributes),
            (
                Self::Customer | Self::Contact | Self::Affiliation | Self::Attribute,
                Change::SaveAddress(_),
            )
            | (Self::Address, Change::Update(_)) => false,
        }
    }
}
