//! Reads the books: headquarters' whole feed and every customer of each channel.

use std::{collections::HashSet, time::Duration};

use tillsync_proto::{
    convert,
    pb::{
        channel::ListCustomersRequest,
        common::{ContactKind, Customer, FeedCursor},
        hq::{self, ListCustomerChangesRequest},
    },
};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{Books, Entry, audit};
use crate::{
    error::Error,
    result::Ledger,
    services::{Fleet, LOOK_PAUSE, Store, at_hq},
};

/// The channel that the reader says it is.
const READER: &str = "tillsync-ledger";
/// Customers of a page.
const PAGE: i32 = 1_000;
/// Most customers of a service: about 200 bytes each.
const MAX_CUSTOMERS: usize = 5_000_000;

/// Waits, no longer than `patience`, until nothing is pending and every channel is level with headquarters; then
/// reads everything and compares. Without a list of what was acknowledged, every customer that any service knows
/// counts as such.
///
/// # Errors
///
/// [`Error::Service`] or [`Error::TooManyCustomers`].
pub async fn check(
    fleet: &Fleet,
    acknowledged: Option<HashSet<Uuid>>,
    patience: Duration,
) -> Result<Ledger, Error> {
    // Whatever has not settled by then is found by the comparison.
    let _ = timeout(patience, async {
        // A service that does not answer has the same time to come back.
        while !settled(fleet).await.unwrap_or(false) {
            sleep(LOOK_PAUSE).await;
        }
    })
    .await;
    let hq = headquarters(fleet).await?;
    let mut channels = Vec::new();
    for store in &fleet.stores {
        channels.push(channel(store).await?);
    }
    let known = || channels.iter().flatten().chain(&hq).map(|entry| entry.id).collect();
    let acknowledged = acknowledged.unwrap_or_else(known);
    Ok(audit(&Books { acknowledged, hq, channels }))
}

/// Whether nothing is pending and every channel is level with headquarters.
async fn settled(fleet: &Fleet) -> Result<bool, Error> {
    let status = fleet.admin.clone().get_status(hq::GetStatusRequest {}).await.map_err(at_hq)?.into_inner();
    let mut settled = true;
    for store in &fleet.stores {
        let store = store.status().await?;
        let applied = store.feed_cursor.map_or(0, |cursor| cursor.version);
        settled &= store.pending_customers == 0 && applied >= status.head_version;
    }
    Ok(settled)
}

async fn headquarters(fleet: &Fleet) -> Result<Vec<Entry>, Error> {
    let mut exchange = fleet.exchange.clone();
    let (mut entries, mut cursor): (Vec<Entry>, Option<FeedCursor>) = (Vec::new(), None);
    loop {
        let request = ListCustomerChangesRequest {
            channel_id: READER.to_owned(),
            cursor: cursor.clone(),
            page_size: PAGE,
        };
        let page = exchange.list_customer_changes(request).await.map_err(at_hq)?.into_inner();
        let before = entries.len();
        entries.extend(page.records.into_iter().filter_map(|record| entry(record.customer?)));
        if entries.len() > MAX_CUSTOMERS {
            return Err(Error::TooManyCustomers { service: "headquarters".to_owned(), bound: MAX_CUSTOMERS });
        }
        let next = page.next_cursor.unwrap_or_default();
        let moved = cursor.as_ref().is_none_or(|cursor| next.version > cursor.version);
        // An empty page moves on only over versions that were replaced by newer ones.
        if next.version >= page.head_version || (entries.len() == before && !moved) {
            return Ok(entries);
        }
        cursor = Some(next);
    }
}

async fn channel(store: &Store) -> Result<Vec<Entry>, Error> {
    let (mut entries, mut token) = (Vec::new(), String::new());
    loop {
        let request = ListCustomersRequest { page_size: PAGE, page_token: token };
        let page = store.till(0).list_customers(request).await;
        let page = page.map_err(|status| Error::service(&store.id, status))?.into_inner();
        entries.extend(page.customers.into_iter().filter_map(entry));
        if entries.len() > MAX_CUSTOMERS {
            return Err(Error::TooManyCustomers { service: store.id.clone(), bound: MAX_CUSTOMERS });
        }
        token = page.next_page_token;
        if token.is_empty() {
            return Ok(entries);
        }
    }
}

/// What the ledger needs of a customer. One that cannot be understood has content that equals nobody's.
fn entry(customer: Customer) -> Option<Entry> {
    let id = Uuid::try_parse(&customer.customer_id).ok()?;
    let account_number = customer.account_number.clone();
    let emails = customer.contacts.iter().filter(|contact| contact.kind() == ContactKind::Email);
    let emails = emails.map(|contact| contact.value.clone()).collect();
    let content = convert::customer(customer).map_or(Uuid::max(), |known| known.content.fingerprint());
    Some(Entry { id, account_number, content, emails })
}
