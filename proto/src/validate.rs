//! The one validator (rule C2): the same code at the channel, before the cashier gets an answer, and at
//! headquarters.

use std::{collections::HashSet, fmt};

use crate::{Address, AttributeValue, Contact, ContactKind, Content, Party, search::digits};

/// One field that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, such as `customer.contacts[1].value`.
    pub field: String,
    /// What is wrong, as a predicate: "is empty". Never repeats what was entered (rule Z5).
    pub description: String,
}

/// The fields that break a rule: not empty, at most [`Violations::MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Violations beyond this many are counted out: an error must fit its message.
    pub const MAX: usize = 25;

    /// A single violation.
    #[must_use]
    pub fn one(field: impl fmt::Display, description: impl fmt::Display) -> Self {
        let mut violations = Self::default();
        violations.add(field, description);
        violations
    }

    /// Adds a violation, unless there are too many already. The path is only written out for one that is added.
    pub fn add(&mut self, field: impl fmt::Display, description: impl fmt::Display) {
        if self.0.len() < Self::MAX {
            self.0.push(Violation { field: field.to_string(), description: description.to_string() });
        }
    }

    /// The violations.
    #[must_use]
    pub fn as_slice(&self) -> &[Violation] {
        &self.0
    }

    /// `Ok` with the value if there is no violation.
    ///
    /// # Errors
    ///
    /// Itself, if there is one.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// The same violations with `prefix` before each path.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        for violation in &mut self.0 {
            violation.field = format!("{prefix}.{}", violation.field);
        }
        self
    }

    fn text(&mut self, field: impl fmt::Display + Copy, text: &str, max: usize) {
        // Bytes bound characters from above, so most texts need no counting.
        if text.len() > max && text.chars().count() > max {
            self.add(field, format_args!("is longer than {max} characters"));
        }
        if text.as_bytes().contains(&0) {
            self.add(field, "holds a NUL character");
        }
    }

    fn count(&mut self, field: &str, count: usize, max: usize) {
        if count > max {
            self.add(field, format_args!("has {count} entries; at most {max} are allowed"));
        }
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, violation) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{} {}", violation.field, violation.description)?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}

impl Content {
    /// Checks everything that was entered. Paths are relative to the customer.
    ///
    /// # Errors
    ///
    /// The fields that break a rule.
    pub fn validate(&self) -> Result<(), Violations> {
        let mut v = Violations::default();
        self.party.check(&mut v);
        v.text("customer_group", &self.customer_group, 20);
        if !self.currency.is_empty() && !is_code(&self.currency, 3) {
            v.add("currency", "is not three upper case letters, such as EUR");
        }
        if !is_language(&self.language) {
            v.add("language", "is not a language tag, such as en-us");
        }
        v.text("price_group", &self.price_group, 20);
        v.text("discount_group", &self.discount_group, 20);
        v.text("tax_id", &self.tax_id, 50);
        if self.credit_limit_minor < 0 {
            v.add("credit_limit_minor", "is negative");
        }
        if !self.receipt_email.is_empty() {
            check_email(&mut v, "receipt_email", &self.receipt_email);
        }
        self.check_contacts(&mut v);
        self.check_addresses(&mut v);
        self.check_affiliations(&mut v);
        self.check_attributes(&mut v);
        v.or(())
    }

    fn check_contacts(&self, v: &mut Violations) {
        v.count("contacts", self.contacts.len(), 20);
        let mut ids = HashSet::new();
        for (i, contact) in self.contacts.iter().enumerate() {
            contact.check(v, format_args!("contacts[{i}].value"));
            if !ids.insert(contact.id) {
                v.add(format_args!("contacts[{i}].contact_id"), "is used twice");
            }
        }
        for kind in [ContactKind::Email, ContactKind::Phone] {
            if self.contacts.iter().filter(|c| c.kind == kind && c.primary).count() > 1 {
                v.add("contacts", "has more than one primary of a kind");
            }
        }
    }

    fn check_addresses(&self, v: &mut Violations) {
        v.count("addresses", self.addresses.len(), 100);
        let mut ids = HashSet::new();
        for (i, address) in self.addresses.iter().enumerate() {
            address.check(v, format_args!("addresses[{i}]"));
            if !ids.insert(address.id) {
                v.add(format_args!("addresses[{i}].address_id"), "is used twice");
            }
        }
        if self.addresses.iter().filter(|a| a.primary).count() > 1 {
            v.add("addresses", "has more than one primary");
        }
    }

    fn check_affiliations(&self, v: &mut Violations) {
        v.count("affiliations", self.affiliations.len(), 50);
        let mut seen = HashSet::new();
        for (i, affiliation) in self.affiliations.iter().enumerate() {
            let field = format_args!("affiliations[{i}]");
            v.text(field, affiliation, 60);
            if affiliation.trim().is_empty() {
                v.add(field, "is empty");
            } else if !seen.insert(affiliation) {
                v.add(field, "is there twice");
            }
        }
    }

    fn check_attributes(&self, v: &mut Violations) {
        v.count("attributes", self.attributes.len(), 100);
        let mut seen = HashSet::new();
        for (i, attribute) in self.attributes.iter().enumerate() {
            let field = format_args!("attributes[{i}].name");
            v.text(field, &attribute.name, 60);
            if attribute.name.trim().is_empty() {
                v.add(field, "is empty");
            } else if !seen.insert(&attribute.name) {
                v.add(field, "is there twice");
            }
            match &attribute.value {
                AttributeValue::Text(text) => v.text(format_args!("attributes[{i}].text"), text, 1000),
                AttributeValue::Decimal(text) if !is_decimal(text) => {
                    v.add(format_args!("attributes[{i}].decimal"), "is not a decimal number, such as 12.50");
                }
                AttributeValue::Decimal(_) | AttributeValue::Integer(_) | AttributeValue::Boolean(_) => {}
            }
        }
    }
}

impl Party {
    fn check(&self, v: &mut Violations) {
        match self {
            Self::Person(name) => {
                v.text("person.title", &name.title, 30);
                v.text("person.first_name", &name.first_name, 100);
                v.text("person.middle_name", &name.middle_name, 100);
                v.text("person.last_name", &name.last_name, 100);
                if name.first_name.trim().is_empty() && name.last_name.trim().is_empty() {
                    v.add("person.first_name", "is empty, and so is last_name; one of them is required");
                }
            }
            Self::Organization { name } => {
                v.text("organization.name", name, 200);
                if name.trim().is_empty() {
                    v.add("organization.name", "is empty");
                }
            }
        }
    }
}

impl Contact {
    fn check(&self, v: &mut Violations, field: impl fmt::Display + Copy) {
        match self.kind {
            ContactKind::Email => check_email(v, field, &self.value),
            ContactKind::Phone => {
                v.text(field, &self.value, 40);
                let known = |c: char| c.is_ascii_digit() || " +-/().#*x".contains(c);
                if !self.value.chars().all(known) || !(3..=20).contains(&digits(&self.value).len()) {
                    v.add(field, "is not a phone number of 3 to 20 digits");
                }
            }
        }
    }
}

impl Address {
    /// Checks an address that stands alone. Paths are relative to `path`.
    ///
    /// # Errors
    ///
    /// The fields that break a rule.
    pub fn validate(&self, path: &str) -> Result<(), Violations> {
        let mut v = Violations::default();
        self.check(&mut v, path);
        v.or(())
    }

    fn check(&self, v: &mut Violations, path: impl fmt::Display + Copy) {
        let texts = [
            ("label", &self.label, 60),
            ("street", &self.street, 250),
            ("city", &self.city, 60),
            ("state", &self.state, 60),
            ("postal_code", &self.postal_code, 20),
        ];
        for (name, text, max) in texts {
            v.text(format_args!("{path}.{name}"), text, max);
        }
        if !self.country.is_empty() && !is_code(&self.country, 2) {
            v.add(format_args!("{path}.country"), "is not two upper case letters, such as DE");
        }
        if [&self.street, &self.city, &self.postal_code].into_iter().all(|text| text.trim().is_empty()) {
            v.add(path, "has neither street nor city nor postal code");
        }
    }
}

/// The fields of a create that travel on the async path only with flag E2 (rules E2, L4), by path.
#[must_use]
pub fn enhanced_fields(content: &Content) -> Vec<String> {
    let mut fields = Vec::new();
    if matches!(&content.party, Party::Person(name) if !name.title.is_empty()) {
        fields.push("person.title".to_owned());
    }
    if !content.affiliations.is_empty() {
        fields.push("affiliations".to_owned());
    }
    if !content.attributes.is_empty() {
        fields.push("attributes".to_owned());
    }
    let secondary = content.contacts.iter().enumerate().filter(|(_, contact)| !contact.primary);
    fields.extend(secondary.map(|(i, _)| format!("contacts[{i}]")));
    fields
}

fn check_email(v: &mut Violations, field: impl fmt::Display + Copy, text: &str) {
    v.text(field, text, 254);
    let well_formed = text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && domain.split('.').count() > 1
            && domain.split('.').all(|label| !label.is_empty())
            && !domain.contains('@')
    });
    if !well_formed || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        v.add(field, "is not an e-mail address such as name@example.com");
    }
}

fn is_code(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| b.is_ascii_uppercase())
}

/// Shape of a BCP 47 tag, at most 35 characters; empty is allowed.
fn is_language(text: &str) -> bool {
    let mut parts = text.split('-');
    let first = parts.next().unwrap_or_default();
    text.is_empty()
        || (text.len() <= 35
            && (2..=3).contains(&first.len())
            && first.bytes().all(|b| b.is_ascii_alphabetic())
            && parts.all(|p| (1..=8).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphanumeric())))
}

pub(crate) fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.len() <= 30 && all_digits(whole) && all_digits(fraction)
}
