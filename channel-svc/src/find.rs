//! Finding customers (rules C3, C4): by what is known of them, and page by page.

use std::collections::HashMap;

use service_kit::deadline::Deadline;
use tillsync_proto::{Criterion, CustomerId, PageToken, Violations, pb::hq};
use tokio::sync::SemaphorePermit;

use crate::{
    customers::{Customers, Scope},
    error::Error,
    log::{entry::Row, together},
    store::{Store, StoreError},
};

/// How deep a search goes: customers beyond this many are not listed. Whoever wants them all lists them.
const MAX_DEPTH: usize = 10_000;

/// Pages of all customers that are read at the same time: they are large, and nobody at a till waits for them.
pub(crate) const MAX_PAGES: usize = 32;

/// What to find.
pub(crate) struct Search {
    /// The criterion, checked.
    pub criterion: Criterion,
    /// The criterion as headquarters is sent it.
    pub wire: Option<hq::search_customers_request::Criterion>,
    /// Where.
    pub scope: Scope,
    /// At most this many; 0 is the default.
    pub page_size: i32,
    /// Where to go on.
    pub page_token: String,
}

/// One page of customers.
#[derive(Debug)]
pub(crate) struct Page {
    /// The customers.
    pub rows: Vec<Row>,
    /// For the next page; empty on the last.
    pub next_page_token: String,
}

/// A page size that a caller asked for.
///
/// # Errors
///
/// The field `page_size`: not between 0 and `max`.
pub(crate) fn page_size(asked: i32, default: usize, max: usize) -> Result<usize, Error> {
    match usize::try_from(asked) {
        Ok(0) => Ok(default),
        Ok(size) if size <= max => Ok(size),
        _ => {
            let rule = format!("is not between 1 and {max}, or 0 for {default}");
            Err(Violations::one("page_size", rule).into())
        }
    }
}

impl<S: Store> Customers<S> {
    /// Finds customers, best match first.
    ///
    /// # Errors
    ///
    /// As `SearchCustomers` promises them.
    pub async fn search(&self, search: Search, deadline: Option<Deadline>) -> Result<Page, Error> {
        let size = page_size(search.page_size, 20, 100)?;
        if search.scope == Scope::AllStores {
            let message = hq::SearchCustomersRequest {
                criterion: search.wire,
                page_size: search.page_size,
                page_token: search.page_token,
            };
            let (rows, next_page_token) = self.rts.search(message, self.call_time(deadline)).await?;
            return Ok(Page { rows, next_page_token });
        }
        let query = format!("search {:?}", search.criterion);
        let start = PageToken::parse_number(&query, &search.page_token).map_err(|_| Error::BadPageToken)?;
        let start = usize::try_from(start.unwrap_or_default()).unwrap_or(usize::MAX).min(MAX_DEPTH);
        let end = (start + size).min(MAX_DEPTH);

        self.level().await?;
        // The tail first: what is on its way to the tables is found there.
        let mut ranks: HashMap<CustomerId, usize> =
            self.tail.ranks(&search.criterion).map_err(StoreError::from)?;
        // Those of the tables that the tail knows better may fall away, so as many more are asked for.
        for (id, rank) in self.store.search(&search.criterion, end + 1 + ranks.len()).await? {
            ranks.entry(id).or_insert(rank);
        }
        let mut found: Vec<(CustomerId, usize)> = ranks.into_iter().filter(|(_, rank)| *rank > 0).collect();
        found.sort_unstable_by(|(a, rank_a), (b, rank_b)| rank_b.cmp(rank_a).then_with(|| a.cmp(b)));
        let more = found.len() > end && end < MAX_DEPTH;
        let ids: Vec<CustomerId> = found.into_iter().take(end).skip(start).map(|(id, _)| id).collect();
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        let next = if more { PageToken::at_number(&query, end).to_string() } else { String::new() };
        let mut rows = self.find_ids(&ids).await?;
        rows.retain(|row| !row.is_erased());
        Ok(Page { rows, next_page_token: next })
    }

    /// Room for a page of all customers, while it is read.
    ///
    /// # Errors
    ///
    /// [`Error::Overloaded`] beyond [`MAX_PAGES`].
    pub fn reading(&self) -> Result<SemaphorePermit<'_>, Error> {
        let too_many = |_| Error::Overloaded("too many pages are being read; nothing was done".to_owned());
        self.pages.try_acquire().map_err(too_many)
    }

    /// Pages through every customer this store knows, by GUID.
    ///
    /// # Errors
    ///
    /// As `ListCustomers` promises them.
    pub async fn list(&self, asked: i32, page_token: &str) -> Result<Page, Error> {
        let size = page_size(asked, 100, 1_000)?;
        let after = PageToken::parse("customers", page_token).map_err(|_| Error::BadPageToken)?;
        let after = after.map(CustomerId);
        let _reading = self.reading()?;
        self.level().await?;
        let tail = self.tail.customers();
        let mut rows: HashMap<CustomerId, Row> = HashMap::new();
        for row in self.store.page(after, size + 1).await? {
            rows.insert(row.customer.id, row);
        }
        let full = rows.len() > size;
        let last = rows.keys().max().copied();
        for entry in tail.iter().filter(|entry| after.is_none_or(|after| entry.id() > after)) {
            // Beyond the last of a full page the tables may know more than was read.
            if full && last.is_some_and(|last| entry.id() > last) {
                continue;
            }
            let known = rows.remove(&entry.id());
            let row = together(known, Some(entry)).map_err(StoreError::from)?;
            rows.extend(row.map(|row| (entry.id(), row)));
        }
        let mut rows: Vec<Row> = rows.into_values().collect();
        rows.sort_unstable_by_key(|row| row.customer.id);
        let more = rows.len() > size;
        rows.truncate(size);
        let last = rows.last().filter(|_| more).map(|row| row.customer.id.0);
        let next_page_token =
            last.map_or_else(String::new, |last| PageToken::new("customers", last).to_string());
        rows.retain(|row| !row.is_erased());
        Ok(Page { rows, next_page_token })
    }
}
