//! Headquarters in memory, so that the emulator can be run alone (rule R1). It answers as the real one does,
//! keeps nothing beyond the process, and gives account numbers until it is full.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tillsync_proto::{
    Content, Criterion, Customer, CustomerId, CustomerRef, PageToken, Term, TermKind, Violations, convert,
    id::parse_guid,
    pb::{common, hq},
    search, terms,
};
use uuid::Uuid;

mod service;
#[cfg(test)]
mod tests;

/// Most customers, and most loyalty cards. Beyond it the number sequence is exhausted.
const MAX_NUMBERS: usize = 100_000;
/// Page sizes of a search: when none is asked for, and the largest.
const PAGE_SIZES: (usize, usize) = (20, 100);

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Invalid(Violations),
    #[error("there is no such customer")]
    NotFound,
    #[error("the GUID belongs to a customer with other content")]
    GuidTaken,
    #[error("the loyalty card belongs to another customer")]
    CardTaken,
    #[error("the customer has changed since the etag was read")]
    EtagMismatch,
    #[error("the number sequence has no numbers left: the emulator keeps {MAX_NUMBERS} in memory")]
    NumbersExhausted,
    #[error("page_token is not a token of this search")]
    BadPageToken,
}

impl From<Violations> for Refusal {
    fn from(violations: Violations) -> Self {
        Self::Invalid(violations)
    }
}

/// The headquarters.
pub(crate) struct MemoryHq {
    epoch: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    customers: HashMap<CustomerId, Entry>,
    accounts: HashMap<String, CustomerId>,
    /// Everything that customers can be found by.
    index: BTreeSet<(TermKind, String, CustomerId)>,
    /// Card number to its owner.
    cards: HashMap<String, CustomerId>,
    /// Request to the card it was given.
    card_requests: HashMap<Uuid, String>,
    version: u64,
}

struct Entry {
    customer: Customer,
    /// Fingerprint of what it was created with (rule M9).
    created_as: Uuid,
    version: u64,
}

impl MemoryHq {
    pub(crate) fn new(epoch: Uuid) -> Self {
        Self { epoch: epoch.to_string(), state: Mutex::default() }
    }

    pub(crate) fn epoch(&self) -> String {
        self.epoch.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn create(
        &self,
        request: hq::CreateCustomerRequest,
    ) -> Result<common::CustomerRecord, Refusal> {
        let hq::CreateCustomerRequest { customer, fingerprint } = request;
        let customer = customer.ok_or_else(|| Violations::one("customer", "is required"))?;
        let id = customer.customer_id.parse::<CustomerId>();
        let id = id.map_err(|error| Violations::one("customer.customer_id", error))?;
        let created_at = convert::micros(customer.create_time.as_ref());
        let content = convert::content(id, customer).map_err(|violations| violations.under("customer"))?;
        let mut v = Violations::default();
        let asked = convert::fingerprint(&fingerprint, &mut v);
        v.or(())?;
        let created_as = asked.unwrap_or_else(|| content.fingerprint());
        let mut state = self.state();
        if let Some(entry) = state.customers.get(&id) {
            return if entry.created_as == created_as { Ok(entry.record()) } else { Err(Refusal::GuidTaken) };
        }
        let number = state.customers.len() + 1;
        if number > MAX_NUMBERS {
            return Err(Refusal::NumbersExhausted);
        }
        let account = format!("C-{number:08}");
        state.accounts.insert(account.clone(), id);
        let customer =
            Customer { id, account_number: Some(account), content, loyalty_cards: Vec::new(), created_at };
        Ok(state.put(customer, created_as))
    }

    pub(crate) fn get(&self, name: &str) -> Result<common::CustomerRecord, Refusal> {
        let state = self.state();
        Ok(state.find(name)?.record())
    }

    pub(crate) fn update(
        &self,
        request: hq::UpdateCustomerRequest,
    ) -> Result<common::CustomerRecord, Refusal> {
        let mut state = self.state();
        let entry = state.find(&request.customer)?;
        let values = request.values.ok_or_else(|| Violations::one("values", "is required"))?;
        if !values.etag.is_empty() && values.etag != entry.customer.etag() {
            return Err(Refusal::EtagMismatch);
        }
        let update = convert::update(entry.customer.id, values, request.update_mask)?;
        let mut customer = entry.customer.clone();
        update.apply(&mut customer.content);
        state.change(customer)
    }

    pub(crate) fn save_address(
        &self,
        request: hq::SaveAddressRequest,
    ) -> Result<common::CustomerRecord, Refusal> {
        let mut state = self.state();
        let mut customer = state.find(&request.customer)?.customer.clone();
        let address = request.address.ok_or_else(|| Violations::one("address", "is required"))?;
        let mint = || customer.id.part("address", customer.content.addresses.len());
        let address = convert::address(&customer.content.party, address, mint)?;
        customer.content.save_address(address);
        state.change(customer)
    }

    pub(crate) fn issue_card(
        &self,
        request: &hq::IssueLoyaltyCardRequest,
    ) -> Result<(common::CustomerRecord, String), Refusal> {
        let id = parse_guid(&request.request_id).map_err(|error| Violations::one("request_id", error))?;
        let mut state = self.state();
        let mut customer = state.find(&request.customer)?.customer.clone();
        if let Some(card) = state.card_requests.get(&id) {
            return Ok((state.find(&request.customer)?.record(), card.clone()));
        }
        if state.card_requests.len() >= MAX_NUMBERS {
            return Err(Refusal::NumbersExhausted);
        }
        let card = match request.card_number.as_str() {
            "" => format!("L-{:08}", state.card_requests.len() + 1),
            text => {
                Criterion::card(text).map_err(|_| Violations::one("card_number", "is not a card number"))?;
                search::card(text)
            }
        };
        if state.cards.insert(card.clone(), customer.id).is_some_and(|owner| owner != customer.id) {
            return Err(Refusal::CardTaken);
        }
        state.card_requests.insert(id, card.clone());
        if !customer.loyalty_cards.contains(&card) {
            customer.loyalty_cards.push(card.clone());
        }
        Ok((state.change(customer)?, card))
    }

    /// Customers, best match first, then by GUID; and the token of the next page.
    pub(crate) fn search(
        &self,
        request: hq::SearchCustomersRequest,
    ) -> Result<(Vec<common::CustomerRecord>, String), Refusal> {
        use hq::search_customers_request::Criterion as Asked;
        let criterion = match request.criterion {
            Some(Asked::Name(text)) => Criterion::name(&text)?,
            Some(Asked::Email(text)) => Criterion::email(&text)?,
            Some(Asked::Phone(text)) => Criterion::phone(&text)?,
            Some(Asked::AccountNumber(text)) => Criterion::account(&text)?,
            Some(Asked::LoyaltyCard(text)) => Criterion::card(&text)?,
            None => return Err(Violations::one("criterion", "is required").into()),
        };
        let (default, most) = PAGE_SIZES;
        let size = match usize::try_from(request.page_size) {
            Ok(0) => default,
            Ok(size) if size <= most => size,
            _ => return Err(Violations::one("page_size", "is not 0 to 100").into()),
        };
        let query = format!("{criterion:?}");
        let start =
            PageToken::parse_number(&query, &request.page_token).map_err(|_| Refusal::BadPageToken)?;
        let start = usize::try_from(start.unwrap_or(0)).unwrap_or(usize::MAX);
        let state = self.state();
        let mut found: Vec<(usize, CustomerId)> = state
            .candidates(&criterion)
            .into_iter()
            .filter_map(|id| Some((criterion.rank(&terms(&state.customers.get(&id)?.customer)), id)))
            .filter(|(rank, _)| *rank > 0)
            .collect();
        found.sort_unstable_by_key(|(rank, id)| (std::cmp::Reverse(*rank), *id));
        let page = found.iter().skip(start).take(size);
        let records = page.filter_map(|(_, id)| Some(state.customers.get(id)?.record())).collect();
        let next = start.saturating_add(size);
        let more = u64::try_from(next).ok().filter(|_| next < found.len());
        Ok((records, more.map(|next| PageToken::at_number(&query, next).to_string()).unwrap_or_default()))
    }
}

impl Entry {
    fn record(&self) -> common::CustomerRecord {
        let customer = Some((&self.customer).into());
        let fingerprint = self.created_as.into_bytes().to_vec();
        common::CustomerRecord { customer, version: self.version, included_counter: 0, fingerprint }
    }
}

impl State {
    fn find(&self, name: &str) -> Result<&Entry, Refusal> {
        let name: CustomerRef = name.parse().map_err(|error| Violations::one("customer", error))?;
        let id = match &name {
            CustomerRef::Id(id) => Some(id),
            CustomerRef::Account(account) => self.accounts.get(account),
        };
        id.and_then(|id| self.customers.get(id)).ok_or(Refusal::NotFound)
    }

    /// Stores changed content, if the validator lets it pass.
    fn change(&mut self, customer: Customer) -> Result<common::CustomerRecord, Refusal> {
        let entry = self.customers.get(&customer.id).ok_or(Refusal::NotFound)?;
        Content::validate(&customer.content)?;
        if entry.customer == customer {
            return Ok(entry.record());
        }
        let created_as = entry.created_as;
        for Term { kind, text } in terms(&entry.customer) {
            self.index.remove(&(kind, text, customer.id));
        }
        Ok(self.put(customer, created_as))
    }

    fn put(&mut self, customer: Customer, created_as: Uuid) -> common::CustomerRecord {
        self.version += 1;
        self.index.extend(terms(&customer).into_iter().map(|term| (term.kind, term.text, customer.id)));
        let entry = Entry { customer, created_as, version: self.version };
        let record = entry.record();
        self.customers.insert(entry.customer.id, entry);
        record
    }

    /// Whoever may match; by the index.
    fn candidates(&self, criterion: &Criterion) -> BTreeSet<CustomerId> {
        let (kind, texts) = match criterion {
            Criterion::Name(words) => (TermKind::Name, words.as_slice()),
            Criterion::Email(text) => (TermKind::Email, std::slice::from_ref(text)),
            Criterion::Phone(text) => (TermKind::Phone, std::slice::from_ref(text)),
            Criterion::Account(text) => (TermKind::Account, std::slice::from_ref(text)),
            Criterion::Card(text) => (TermKind::Card, std::slice::from_ref(text)),
        };
        let least = CustomerId(Uuid::nil());
        let of = |text: &String| {
            let range = self.index.range((kind, text.clone(), least)..);
            let text = text.clone();
            range.take_while(move |(k, t, _)| *k == kind && t.starts_with(&text)).map(|(_, _, id)| *id)
        };
        texts.iter().flat_map(of).collect()
    }
}
