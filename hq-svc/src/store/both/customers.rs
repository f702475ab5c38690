//! The master: everything that changes a customer, and what reads customers.

use service_kit::{database::ROWS_AHEAD, lease::Lease, terms::Terms};
use tillsync_proto::{Criterion, CustomerId, CustomerRef, search::card};
use tokio::sync::Mutex;
use tokio_stream::StreamExt as _;
use uuid::Uuid;

use super::{
    Connection, Db, begin,
    dialect::{self, head, save_head},
    erasures, reads,
};
use crate::{
    numbers::NumberSequences,
    store::{
        CardRequest, FeedRecord, Hit, Included, Issued, MAX_CARDS, MAX_HITS, Plan, Record, Result, Settled,
        StoreError,
        batch::{Batch, written},
        rows, sql,
    },
};

pub(super) async fn settle(
    db: &Db,
    numbers: &Mutex<NumberSequences>,
    lease: Option<&Lease>,
    plans: &[Plan],
) -> Result<Vec<Settled>> {
    let mut numbers = numbers.lock().await;
    let mut tx = begin(db).await?;
    if let Some(lease) = lease
        && !dialect::fence(lease, &mut tx).await?
    {
        return Err(StoreError::Fenced);
    }
    let mut now = head(&mut tx).await?;
    if now.awaited > 0 {
        return Err(StoreError::Recovering);
    }
    let versions = dialect::versions(&mut tx, &written(plans)).await?;
    let mut accounts = numbers.accounts.clone();
    let batch = Batch::work_out(&mut now, versions, plans, &mut accounts);
    if !batch.is_empty() {
        dialect::write_customers(&mut tx, &batch).await?;
        now.arrivals_completed += dialect::judge(&mut tx, &batch).await?;
        erasures::scrub(&mut tx, &batch.scrubbed).await?;
        save_head(&mut tx, now).await?;
    }
    let conflicts = dialect::stored(&mut tx, &batch.conflicts()).await?;
    if let Err(error) = tx.commit().await {
        // Whether the numbers were given out is not known.
        numbers.forget();
        return Err(error.into());
    }
    numbers.accounts = accounts;
    Ok(batch.answers(conflicts))
}

pub(super) async fn issue_card(
    db: &Db,
    numbers: &Mutex<NumberSequences>,
    request: CardRequest,
) -> Result<Issued> {
    let mut numbers = numbers.lock().await;
    let mut tx = begin(db).await?;
    let mut now = head(&mut tx).await?;
    if now.awaited > 0 {
        return Err(StoreError::Recovering);
    }
    let Some(mut record) = by_id(&mut tx, request.customer.0).await? else { return Ok(Issued::NoCustomer) };
    if record.customer.is_erased() {
        return Ok(Issued::NoCustomer);
    }
    let before: Option<(String, Uuid)> =
        sqlx::query_as(sql::CARD_OF_REQUEST).bind(request.request_id).fetch_optional(&mut *tx).await?;
    if let Some((number, owner)) = before {
        return Ok(record.card_of_request(&request, &number, owner));
    }
    let mut cards = numbers.cards.clone();
    let number = match &request.number {
        Some(number) => match owner(&mut tx, number).await? {
            Some(owner) if owner == request.customer.0 => return Ok(record.card(number)),
            Some(_) => return Ok(Issued::Taken),
            None => number.clone(),
        },
        None => loop {
            let Some(number) = cards.take(&mut now.next_card) else { return Ok(Issued::Exhausted) };
            // Somebody may have entered a number that the sequence only now comes to.
            if owner(&mut tx, &number).await?.is_none() {
                break number;
            }
        },
    };
    if record.customer.loyalty_cards.len() >= MAX_CARDS {
        return Ok(Issued::TooMany);
    }
    record.customer.loyalty_cards.push(number.clone());
    let version = now.next_version();
    record.version = rows::count(version);
    sqlx::query(sql::INSERT_CARD)
        .bind(card(&number))
        .bind(request.customer.0)
        .bind(request.request_id)
        .execute(&mut *tx)
        .await?;
    sqlx::query(sql::REPLACE_CUSTOMER)
        .bind(request.customer.0)
        .bind(version)
        .bind(rows::write(&record.customer)?)
        .execute(&mut *tx)
        .await?;
    save_head(&mut tx, now).await?;
    if let Err(error) = tx.commit().await {
        numbers.forget();
        return Err(error.into());
    }
    numbers.cards = cards;
    Ok(Issued::Card { record, number })
}

async fn owner(connection: &mut Connection, number: &str) -> Result<Option<Uuid>> {
    Ok(sqlx::query_scalar(sql::OWNER_OF_CARD).bind(card(number)).fetch_optional(connection).await?)
}

pub(super) async fn by_id(connection: &mut Connection, id: Uuid) -> Result<Option<Record>> {
    let row = sqlx::query_as(sql::BY_ID).bind(id).fetch_optional(connection).await?;
    Ok(row.map(rows::stored).transpose()?.map(|stored| stored.record))
}

pub(super) async fn one(db: &Db, by: &CustomerRef) -> Result<Option<Record>> {
    let row = match by {
        CustomerRef::Id(id) => sqlx::query_as(sql::BY_ID).bind(id.0).fetch_optional(reads(db)).await?,
        CustomerRef::Account(number) => {
            sqlx::query_as(sql::BY_ACCOUNT).bind(number).fetch_optional(reads(db)).await?
        }
    };
    Ok(row.map(rows::stored).transpose()?.map(|stored| stored.record))
}

pub(super) async fn find(db: &Db, criterion: &Criterion) -> Result<Vec<Hit>> {
    let numbered = match criterion {
        Criterion::Account(number) => Some((sql::ID_OF_ACCOUNT, number)),
        Criterion::Card(number) => Some((sql::OWNER_OF_CARD, number)),
        Criterion::Name(_) | Criterion::Email(_) | Criterion::Phone(_) => None,
    };
    let found: Vec<(Uuid, i64)> = if let Some((sql, number)) = numbered {
        let id: Option<Uuid> = sqlx::query_scalar(sql).bind(number).fetch_optional(reads(db)).await?;
        id.map(|id| (id, 1)).into_iter().collect()
    } else {
        let (kind, ranges) = criterion.ranges();
        let terms = Terms { pool: reads(db), table: "customer_terms", owner: "customer_id" };
        terms.find(kind as i64, &ranges, MAX_HITS).await?
    };
    Ok(found.into_iter().map(|(id, points)| Hit { id: CustomerId(id), points }).collect())
}

pub(super) async fn changes(db: &Db, after: u64, limit: usize, max_bytes: usize) -> Result<Vec<FeedRecord>> {
    let (mut page, mut budget, mut after) = (Vec::<FeedRecord>::new(), rows::Budget::new(max_bytes), after);
    loop {
        let (there, part) = (page.len(), ROWS_AHEAD.min(limit - page.len()));
        let query = sqlx::query_as(sql::CHANGES).bind(rows::number(after)).bind(rows::limit(part));
        let mut found = query.fetch(reads(db));
        while let Some(row) = found.next().await {
            let (version, fingerprint, body, channel, counter): rows::FeedColumns = row?;
            if page.last().is_none_or(|last| last.stored.record.version != rows::count(version)) {
                if !budget.takes(body.len()) {
                    return Ok(page);
                }
                let stored = rows::stored((version, fingerprint, body))?;
                page.push(FeedRecord { stored, included: Included::default() });
            }
            if let Some(last) = page.last_mut() {
                last.included.0.extend(channel.zip(counter.map(rows::count)));
            }
        }
        match page.last() {
            Some(last) if page.len() - there == part && page.len() < limit => {
                after = last.stored.record.version;
            }
            _ => return Ok(page),
        }
    }
}
