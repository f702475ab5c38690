//! Reads the books: headquarters' whole feed and every customer of each channel.

use std::{path::Path, time::Duration};

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

use super::{
    Audit, Books, Entry,
    shelves::{PARTS, Shelf, Shelves},
};
use crate::{
    acknowledged,
    customers::{is_unique_email, unique_email},
    error::Error,
    result::Ledger,
    services::{Fleet, LOOK_PAUSE, Store, at_hq},
};

/// The channel that the reader says it is.
const READER: &str = "tillsync-ledger";
/// Customers of a page.
const PAGE: i32 = 1_000;
/// The shelves: what was acknowledged, headquarters by GUID, and its account numbers.
const ACKNOWLEDGED: &str = "acknowledged";
const HEADQUARTERS: &str = "hq";
const NUMBERS: &str = "numbers";

/// Waits, no longer than `patience`, until nothing is pending and every channel is level with headquarters; then
/// reads everything and compares. Without a file of what was acknowledged, every customer that any service knows
/// counts as such.
///
/// # Errors
///
/// [`Error::Service`], or a file that cannot be read or written.
pub async fn check(fleet: &Fleet, acknowledged: Option<&Path>, patience: Duration) -> Result<Ledger, Error> {
    // Whatever has not settled by then is found by the comparison.
    let _ = timeout(patience, async {
        // A service that does not answer has the same time to come back.
        while !settled(fleet).await.unwrap_or(false) {
            sleep(LOOK_PAUSE).await;
        }
    })
    .await;
    let shelves = Shelves::new()?;
    let mut ids = shelves.shelf(ACKNOWLEDGED)?;
    if let Some(path) = acknowledged {
        acknowledged::read(path, |id| Ok(ids.put(id.as_bytes(), &id)?))?;
    }
    // Only without a file is every customer one of those that were acknowledged.
    let mut known = acknowledged.is_none().then_some(&mut ids);
    if fleet.has_hq() {
        headquarters(fleet, &shelves, &mut known).await?;
    }
    for (number, store) in fleet.stores.iter().enumerate() {
        channel(store, &shelves, &channel_name(number), &mut known).await?;
    }
    ids.close()?;
    let mut audit = Audit::default();
    for part in 0..PARTS {
        let channels = (0..fleet.stores.len()).map(|number| shelves.part(&channel_name(number), part));
        audit.add(&Books {
            acknowledged: shelves.part(ACKNOWLEDGED, part)?.into_iter().collect(),
            hq: if fleet.has_hq() { Some(shelves.part(HEADQUARTERS, part)?) } else { None },
            channels: channels.collect::<Result<_, _>>()?,
        });
        if fleet.has_hq() {
            audit.add_numbers(&shelves.part(NUMBERS, part)?);
        }
    }
    Ok(audit.ledger())
}

fn channel_name(number: usize) -> String {
    format!("channel-{number}")
}

/// Whether nothing is pending and every channel is level with headquarters.
async fn settled(fleet: &Fleet) -> Result<bool, Error> {
    let mut head_version = 0;
    if let Ok(hq) = fleet.hq() {
        let status = hq.admin.clone().get_status(hq::GetStatusRequest {}).await.map_err(at_hq)?;
        head_version = status.into_inner().head_version;
    }
    let mut settled = true;
    for store in &fleet.stores {
        let store = store.status().await?;
        let applied = store.feed_cursor.map_or(0, |cursor| cursor.version);
        settled &= store.pending_customers == 0 && applied >= head_version;
    }
    Ok(settled)
}

/// Puts a customer where its GUID belongs.
fn put(shelf: &mut Shelf, known: &mut Option<&mut Shelf>, entry: &Entry) -> Result<(), Error> {
    if let Some(known) = known {
        known.put(entry.id.as_bytes(), &entry.id)?;
    }
    Ok(shelf.put(entry.id.as_bytes(), entry)?)
}

async fn headquarters(fleet: &Fleet, shelves: &Shelves, known: &mut Option<&mut Shelf>) -> Result<(), Error> {
    let mut exchange = fleet.hq()?.exchange.clone();
    let (mut customers, mut numbers) = (shelves.shelf(HEADQUARTERS)?, shelves.shelf(NUMBERS)?);
    let mut cursor: Option<FeedCursor> = None;
    loop {
        let request = ListCustomerChangesRequest {
            channel_id: READER.to_owned(),
            cursor: cursor.clone(),
            page_size: PAGE,
        };
        let page = exchange.list_customer_changes(request).await.map_err(at_hq)?.into_inner();
        let entries = page.records.into_iter().filter_map(|record| entry(record.read().ok()?.customer?));
        let mut is_empty = true;
        for entry in entries {
            is_empty = false;
            put(&mut customers, known, &entry)?;
            numbers.put(entry.account_number.as_bytes(), &(&entry.account_number, entry.id))?;
        }
        let next = page.next_cursor.unwrap_or_default();
        let moved = cursor.as_ref().is_none_or(|cursor| next.version > cursor.version);
        // An empty page moves on only over versions that were replaced by newer ones.
        if next.version >= page.head_version || (is_empty && !moved) {
            customers.close()?;
            return Ok(numbers.close()?);
        }
        cursor = Some(next);
    }
}

async fn channel(
    store: &Store,
    shelves: &Shelves,
    name: &str,
    known: &mut Option<&mut Shelf>,
) -> Result<(), Error> {
    let (mut customers, mut token) = (shelves.shelf(name)?, String::new());
    loop {
        let request = ListCustomersRequest { page_size: PAGE, page_token: token };
        let page = store.till(0).list_customers(request).await;
        let page = page.map_err(|status| Error::service(&store.id, status))?.into_inner();
        for entry in page.customers.into_iter().filter_map(entry) {
            put(&mut customers, known, &entry)?;
        }
        token = page.next_page_token;
        if token.is_empty() {
            return Ok(customers.close()?);
        }
    }
}

/// What the ledger needs of a customer. One that cannot be understood has content that equals nobody's.
fn entry(customer: Customer) -> Option<Entry> {
    let id = Uuid::try_parse(&customer.customer_id).ok()?;
    let account_number = customer.account_number.clone();
    let own = unique_email(id);
    let mut emails = customer.contacts.iter().filter(|contact| contact.kind() == ContactKind::Email);
    let has_others_email = emails.any(|email| is_unique_email(&email.value) && email.value != own);
    let content = convert::customer(customer).map_or(Uuid::max(), |known| known.content.fingerprint());
    Some(Entry { id, account_number, content, has_others_email })
}
