//! What the real-time service does with customers, creates aside (rules M7, M9, C3).

use service_kit::retry::transaction;
use tillsync_proto::{
    Address, Criterion, Customer, CustomerRef, PageToken, Update, Violations, convert, pb::common,
};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    hq::Headquarters,
    store::{CardRequest, Issued, MAX_CARDS, Plan, Record, Settled, Store, Write},
};

/// How often a change is made anew because somebody else changed the customer meanwhile.
const MAX_TRIES: usize = 20;
/// Pages of customers stay below this, in bytes of their encoding: a message may have 4 MiB.
const MAX_PAGE_BYTES: usize = 3 << 20;

/// One page of a search.
pub(crate) struct Found {
    pub records: Vec<Record>,
    /// Empty on the last page.
    pub next_page_token: String,
}

impl<S: Store> Headquarters<S> {
    /// One customer.
    pub async fn customer(&self, by: &CustomerRef) -> Result<Record> {
        let record = self.store.customer(by).await?.ok_or(Error::NoCustomer)?;
        let id = record.customer.id;
        if record.customer.is_erased() { Err(Error::Erased(id)) } else { Ok(record) }
    }

    /// One page of what a criterion finds, best match first, ties by GUID.
    pub async fn search(&self, criterion: &Criterion, page_size: usize, token: &str) -> Result<Found> {
        let query = format!("{criterion:?}");
        let start = PageToken::parse_number(&query, token).map_err(|_| Error::BadPageToken)?;
        let start = usize::try_from(start.unwrap_or_default()).map_err(|_| Error::BadPageToken)?;
        let hits = self.store.find(criterion).await?;
        let page: Vec<_> = hits.iter().skip(start).take(page_size).map(|hit| hit.id).collect();
        let mut stored = self.store.customers(&page).await?;
        let mut records = Vec::with_capacity(page.len());
        let (mut taken, mut bytes_left) = (0, MAX_PAGE_BYTES);
        for id in &page {
            if let Some(place) = stored.iter().position(|stored| stored.record.customer.id == *id) {
                let record = stored.swap_remove(place).record;
                if record.customer.is_erased() {
                    taken += 1;
                    continue;
                }
                let bytes = encoded_len(&record.customer);
                if bytes > bytes_left && !records.is_empty() {
                    break;
                }
                bytes_left = bytes_left.saturating_sub(bytes);
                records.push(record);
            }
            taken += 1;
        }
        let next = start + taken;
        let more = taken > 0 && next < hits.len();
        let next_page_token =
            if more { PageToken::at_number(&query, next as u64).to_string() } else { String::new() };
        Ok(Found { records, next_page_token })
    }

    /// Changes fields of a customer. `etag`, unless it is empty, must be the present one.
    pub async fn update(&self, by: &CustomerRef, etag: &str, update: &Update) -> Result<Record> {
        self.change(by, |customer| {
            if !etag.is_empty() && etag != customer.etag() {
                return Err(Error::EtagMismatch(customer.id));
            }
            let mut content = customer.content.clone();
            update.apply(&mut content);
            let checked = content.validate().and_then(|()| self.configuration().attributes.check(&content));
            checked.map_err(|violations| violations.under("values"))?;
            Ok(Customer { content, ..customer.clone() })
        })
        .await
    }

    /// Adds or replaces an address. Saving the same again changes nothing.
    pub async fn save_address(&self, by: &CustomerRef, address: common::Address) -> Result<Record> {
        self.change(by, |customer| {
            let address = checked_address(customer, address.clone())?;
            let mut content = customer.content.clone();
            content.save_address(address);
            content.validate()?;
            Ok(Customer { content, ..customer.clone() })
        })
        .await
    }

    /// Makes a change against the newest record, again if somebody else was faster.
    async fn change(&self, by: &CustomerRef, make: impl Fn(&Customer) -> Result<Customer>) -> Result<Record> {
        let mut before = self.customer(by).await?;
        for _ in 0..MAX_TRIES {
            if before.customer.is_erased() {
                return Err(Error::Erased(before.customer.id));
            }
            let after = make(&before.customer)?;
            if after == before.customer {
                return Ok(before);
            }
            let plan = Plan::of(Write::Replace { before, after });
            let settle = || self.store.settle(std::slice::from_ref(&plan));
            let settled = transaction("change a customer", &self.ids, settle).await?;
            before = match settled.into_iter().next() {
                Some(Settled::Written(record)) => return Ok(record),
                Some(Settled::Conflict(stored)) => stored.record,
                Some(Settled::Gone) => return Err(Error::NoCustomer),
                Some(Settled::Done | Settled::Exhausted) | None => return Err(Error::Broken),
            };
        }
        Err(Error::Contended(before.customer.id))
    }

    /// Issues a loyalty card: the number given, or the next of the sequence. A repeat gives the card issued
    /// before.
    pub async fn issue_card(
        &self,
        by: &CustomerRef,
        number: Option<String>,
        request_id: Uuid,
    ) -> Result<(Record, String)> {
        let customer = self.customer(by).await?.customer.id;
        let request = CardRequest { customer, number, request_id };
        let issue = || self.store.issue_card(request.clone());
        match transaction("issue a loyalty card", &self.ids, issue).await? {
            Issued::Card { record, number } => Ok((record, number)),
            Issued::NoCustomer => Err(Error::NoCustomer),
            Issued::Taken => Err(Error::CardTaken),
            Issued::RequestUsed => Err(Error::RequestUsed),
            Issued::TooMany => {
                let message = format!("has {MAX_CARDS} loyalty cards, which is the most there can be");
                Err(Violations::one("customer", message).into())
            }
            Issued::Exhausted => Err(Error::NumbersExhausted),
        }
    }
}

/// An address needs its id here: the channel has minted it.
fn checked_address(customer: &Customer, address: common::Address) -> Result<Address> {
    if address.address_id.is_empty() {
        return Err(Violations::one("address.address_id", "is required").into());
    }
    // The id is there, so none is minted.
    Ok(convert::address(&customer.content.party, address, || customer.id.part("address", 0))?)
}

fn encoded_len(customer: &Customer) -> usize {
    use prost::Message as _;
    common::Customer::from(customer).encoded_len()
}
