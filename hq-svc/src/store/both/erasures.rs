//! Erasing customers for good, and the record of it.

use tillsync_proto::{ChannelId, Customer, CustomerId, CustomerRef, Micros, search::card};
use uuid::Uuid;

use super::{
    Connection, Db, begin, customers,
    dialect::{self, head, save_head},
    reads, writes,
};
use crate::store::{
    Asker, Erasure, MAX_CHANNELS, Record, Result, StoreError,
    batch::{Batch, HeadRow},
    rows, sql,
};

/// What is left in a column that may not be null.
const NOTHING: &[u8] = &[];

pub(super) async fn erase(
    db: &Db,
    by: &CustomerRef,
    asker: &Asker,
    now: Micros,
) -> Result<Option<CustomerId>> {
    let known = customers::one(db, by).await?;
    let id = match (by, known) {
        (_, Some(record)) => record.customer.id,
        (CustomerRef::Id(id), None) => *id,
        (CustomerRef::Account(_), None) => return Ok(None),
    };
    dialect::before_erasing(db).await?;
    let erased = erase_id(db, id, asker, now).await;
    // Even if it failed: the connection goes on as before.
    dialect::after_erasing(db).await?;
    erased.map(|()| Some(id))
}

async fn erase_id(db: &Db, id: CustomerId, asker: &Asker, now: Micros) -> Result<()> {
    let mut tx = begin(db).await?;
    let mut at = head(&mut tx).await?;
    if at.awaited > 0 {
        return Err(StoreError::Recovering);
    }
    let before = customers::by_id(&mut tx, id.0).await?;
    if before.as_ref().is_some_and(|record| record.customer.is_erased()) {
        return Ok(());
    }
    one(&mut tx, &mut at, id, before, None, asker, now).await?;
    save_head(&mut tx, at).await?;
    Ok(tx.commit().await?)
}

/// Erases one customer in a transaction that has read the head and will save it. `known` is how it is known elsewhere.
pub(super) async fn one(
    tx: &mut Connection,
    at: &mut HeadRow,
    id: CustomerId,
    before: Option<Record>,
    known: Option<&Customer>,
    asker: &Asker,
    now: Micros,
) -> Result<()> {
    let version = at.next_version();
    match before {
        Some(Record { customer, .. }) => {
            for number in &customer.loyalty_cards {
                sqlx::query(sql::ERASE_CARD).bind(card(number)).bind(id.0).execute(&mut *tx).await?;
            }
            let erased = Customer::erased(id, customer.account_number.clone(), customer.created_at);
            dialect::write_customers(&mut *tx, &Batch::replacing(&customer, erased, version)).await?;
            sqlx::query(sql::FORGET_FINGERPRINT).bind(id.0).bind(Uuid::nil()).execute(&mut *tx).await?;
        }
        None => {
            // It has no account number, and needs none: its GUID stands in the place of it.
            let number = known.and_then(|customer| customer.account_number.clone());
            let number = number.unwrap_or_else(|| id.to_string());
            let created_at = known.map_or(now, |customer| customer.created_at);
            let erased = Customer::erased(id, Some(number.clone()), created_at);
            let query = sqlx::query(sql::INSERT_ERASED).bind(id.0).bind(number).bind(version);
            query.bind(Uuid::nil()).bind(rows::write(&erased)?).execute(&mut *tx).await?;
            at.customers += 1;
        }
    }
    let open: i64 = sqlx::query_scalar(sql::SCRUB_OPEN).bind(id.0).fetch_one(&mut *tx).await?;
    sqlx::query(sql::SCRUB).bind(id.0).bind(NOTHING).execute(&mut *tx).await?;
    at.arrivals_completed += open;
    sqlx::query(sql::ERASE_PAIRS).bind(id.0).execute(&mut *tx).await?;
    let query = sqlx::query(sql::NOTE_ERASURE).bind(id.0).bind(&asker.requested_by).bind(now.0);
    query.bind(&asker.caller).execute(&mut *tx).await?;
    Ok(())
}

/// Leaves nothing of arrivals that came after their customer was erased.
pub(super) async fn scrub(tx: &mut Connection, arrivals: &[(i64, Uuid)]) -> Result<()> {
    for (seq, customer) in arrivals {
        sqlx::query(sql::SCRUB_ONE).bind(seq).bind(NOTHING).execute(&mut *tx).await?;
        sqlx::query(sql::OPEN_AGAIN).bind(customer).execute(&mut *tx).await?;
    }
    Ok(())
}

pub(super) async fn are_erased(db: &Db, ids: &[CustomerId]) -> Result<Vec<CustomerId>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    Ok(dialect::erased(db, &ids).await?.into_iter().map(CustomerId).collect())
}

pub(super) async fn list(
    db: &Db,
    customer: Option<CustomerId>,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<Erasure>> {
    let found: Vec<(i64, Uuid, String, String, i64)> = match customer {
        Some(customer) => sqlx::query_as(sql::ERASURE_OF).bind(customer.0).fetch_all(reads(db)).await?,
        None => {
            let query = sqlx::query_as(sql::ERASURES).bind(before.unwrap_or(i64::MAX));
            query.bind(rows::limit(limit)).fetch_all(reads(db)).await?
        }
    };
    let (mut erasures, most) = (Vec::with_capacity(found.len()), rows::limit(MAX_CHANNELS));
    for (seq, customer, caller, requested_by, erased_at) in found {
        let query = sqlx::query_as(sql::CONFIRMATIONS).bind(customer).bind(most);
        let confirmed: Vec<(String, i64)> = query.fetch_all(reads(db)).await?;
        let confirmed = confirmed.into_iter().map(|(channel, at)| (channel, Micros(at))).collect();
        let query = sqlx::query_scalar(sql::UNCONFIRMED).bind(customer).bind(most);
        let awaited = query.fetch_all(reads(db)).await?;
        let (customer, erased_at) = (CustomerId(customer), Micros(erased_at));
        let asker = Asker { caller, requested_by };
        erasures.push(Erasure { seq, customer, asker, erased_at, confirmed, awaited });
    }
    Ok(erasures)
}

pub(super) async fn open(db: &Db, limit: usize) -> Result<Vec<(CustomerId, u64)>> {
    let query = sqlx::query_as(sql::OPEN_ERASURES).bind(rows::limit(limit));
    let found: Vec<(Uuid, i64)> = query.fetch_all(reads(db)).await?;
    Ok(found.into_iter().map(|(customer, version)| (CustomerId(customer), rows::count(version))).collect())
}

pub(super) async fn confirm(
    db: &Db,
    customer: CustomerId,
    channels: &[ChannelId],
    done: bool,
    now: Micros,
) -> Result<()> {
    for channel in channels {
        let query = sqlx::query(sql::CONFIRM).bind(customer.0).bind(channel.as_str()).bind(now.0);
        query.execute(writes(db)).await?;
    }
    if done {
        sqlx::query(sql::CLOSE_ERASURE).bind(customer.0).execute(writes(db)).await?;
    }
    Ok(())
}
