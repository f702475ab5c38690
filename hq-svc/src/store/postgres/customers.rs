//! The master: everything that changes a customer, and what reads customers.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use tillsync_proto::{Criterion, CustomerRef, search::card};
use tokio::sync::Mutex;
use tokio_stream::StreamExt as _;
use uuid::Uuid;

use super::{head, save_head};
use crate::{
    numbers::NumberSequences,
    store::{
        CardRequest, FeedRecord, Hit, Issued, MAX_CARDS, Plan, Record, Result, Settled, Stored,
        batch::{Batch, Row, TermRow, written},
        rows,
        search::{Search, merge, search},
        sql,
    },
};

const VERSIONS: &str = "select id, version from customers where id = any($1)";
const STORED: &str = "select version, fingerprint, body from customers where id = any($1)";
const INSERT: &str = "insert into customers (id, account_number, version, fingerprint, body) \
     select * from unnest($1::uuid[], $2::text[], $3::bigint[], $4::uuid[], $5::text[])";
const REPLACE: &str = "update customers set version = new.version, body = new.body \
     from unnest($1::uuid[], $2::bigint[], $3::text[]) new (id, version, body) where customers.id = new.id";
const INSERT_TERMS: &str = "insert into customer_terms (kind, term, customer_id) \
     select * from unnest($1::smallint[], $2::text[], $3::uuid[]) on conflict do nothing";
const DELETE_TERMS: &str = "delete from customer_terms old \
     using unnest($1::smallint[], $2::text[], $3::uuid[]) gone (kind, term, customer_id) \
     where old.kind = gone.kind and old.term = gone.term and old.customer_id = gone.customer_id";
const COMPLETE: &str = "update arrivals set online_operation_completed = 1, attempts = attempts + 1, \
     next_attempt_at = null, reason = null, message = null \
     where online_operation_completed = 0 and arrival_seq = any($1)";
const EDITS: &str = "insert into edits_applied (customer_id, channel_id, counter) \
     select * from unnest($1::uuid[], $2::text[], $3::bigint[]) \
     on conflict (customer_id, channel_id) do update set counter = greatest(edits_applied.counter, excluded.counter)";
const OVERWRITTEN: &str = "update arrivals set overwritten = new.overwritten \
     from unnest($1::bigint[], $2::text[]) new (seq, overwritten) \
     where arrivals.arrival_seq = new.seq and online_operation_completed = 0";
const SET_ASIDE: &str = "update arrivals set attempts = attempts + 1, reason = new.reason, \
     message = new.message, next_attempt_at = new.next_attempt_at \
     from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) \
        new (seq, reason, message, next_attempt_at) \
     where arrivals.arrival_seq = new.seq and online_operation_completed = 0";

pub(super) async fn settle(
    db: &PgPool,
    numbers: &Mutex<NumberSequences>,
    plans: &[Plan],
) -> Result<Vec<Settled>> {
    let mut numbers = numbers.lock().await;
    let mut tx = db.begin().await?;
    let mut now = head(&mut tx).await?;
    let versions = versions(&mut tx, &written(plans)).await?;
    let mut accounts = numbers.accounts.clone();
    let batch = Batch::work_out(&mut now, versions, plans, &mut accounts);
    if !batch.is_empty() {
        write_customers(&mut tx, &batch).await?;
        now.arrivals_completed += judge(&mut tx, &batch).await?;
        save_head(&mut tx, now).await?;
    }
    let conflicts = stored(&mut tx, &batch.conflicts()).await?;
    if let Err(error) = tx.commit().await {
        // Whether the numbers were given out is not known.
        numbers.forget();
        return Err(error.into());
    }
    numbers.accounts = accounts;
    Ok(batch.answers(conflicts))
}

async fn versions(connection: &mut PgConnection, ids: &[Uuid]) -> Result<HashMap<Uuid, i64>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(VERSIONS).bind(ids).fetch_all(connection).await?;
    Ok(rows.into_iter().collect())
}

pub(super) async fn stored(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Stored>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let found = sqlx::query_as(STORED).bind(ids).fetch_all(connection).await?;
    found.into_iter().map(rows::stored).collect()
}

async fn write_customers(tx: &mut PgConnection, batch: &Batch) -> Result<()> {
    let bodies =
        |rows: &[Row]| -> Result<Vec<String>> { rows.iter().map(|row| rows::write(&row.customer)).collect() };
    if !batch.inserts.is_empty() {
        sqlx::query(INSERT)
            .bind(batch.inserts.iter().map(Row::id).collect::<Vec<_>>())
            .bind(batch.inserts.iter().map(Row::account).collect::<Vec<_>>())
            .bind(batch.inserts.iter().map(|row| row.version).collect::<Vec<_>>())
            .bind(batch.inserts.iter().map(|row| row.fingerprint).collect::<Vec<_>>())
            .bind(bodies(&batch.inserts)?)
            .execute(&mut *tx)
            .await?;
    }
    if !batch.replaces.is_empty() {
        sqlx::query(REPLACE)
            .bind(batch.replaces.iter().map(Row::id).collect::<Vec<_>>())
            .bind(batch.replaces.iter().map(|row| row.version).collect::<Vec<_>>())
            .bind(bodies(&batch.replaces)?)
            .execute(&mut *tx)
            .await?;
    }
    write_terms(tx, DELETE_TERMS, &batch.terms_gone).await?;
    write_terms(tx, INSERT_TERMS, &batch.terms_new).await
}

async fn write_terms(tx: &mut PgConnection, sql: &'static str, terms: &[TermRow]) -> Result<()> {
    if !terms.is_empty() {
        sqlx::query(sql)
            .bind(terms.iter().map(|(kind, _, _)| *kind).collect::<Vec<_>>())
            .bind(terms.iter().map(|(_, term, _)| term.as_str()).collect::<Vec<_>>())
            .bind(terms.iter().map(|(_, _, customer)| *customer).collect::<Vec<_>>())
            .execute(tx)
            .await?;
    }
    Ok(())
}

/// Gives how many arrivals are processed now that were not.
async fn judge(tx: &mut PgConnection, batch: &Batch) -> Result<i64> {
    if !batch.set_aside.is_empty() {
        let rows = &batch.set_aside;
        sqlx::query(SET_ASIDE)
            .bind(rows.iter().map(|row| row.0).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.1).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.2.as_str()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.3).collect::<Vec<_>>())
            .execute(&mut *tx)
            .await?;
    }
    let edits = batch.edits();
    if !edits.is_empty() {
        sqlx::query(EDITS)
            .bind(edits.iter().map(|row| row.0).collect::<Vec<_>>())
            .bind(edits.iter().map(|row| row.1.as_str()).collect::<Vec<_>>())
            .bind(edits.iter().map(|row| row.2).collect::<Vec<_>>())
            .execute(&mut *tx)
            .await?;
    }
    if !batch.overwritten.is_empty() {
        let (seqs, values): (Vec<i64>, Vec<String>) = batch.overwritten.iter().cloned().unzip();
        sqlx::query(OVERWRITTEN).bind(seqs).bind(values).execute(&mut *tx).await?;
    }
    if batch.completed.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query(COMPLETE).bind(&batch.completed).execute(tx).await?;
    Ok(rows::number(done.rows_affected()))
}

pub(super) async fn issue_card(
    db: &PgPool,
    numbers: &Mutex<NumberSequences>,
    request: CardRequest,
) -> Result<Issued> {
    let mut numbers = numbers.lock().await;
    let mut tx = db.begin().await?;
    let mut now = head(&mut tx).await?;
    let Some(mut record) = by_id(&mut tx, request.customer.0).await? else { return Ok(Issued::NoCustomer) };
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

async fn owner(connection: &mut PgConnection, number: &str) -> Result<Option<Uuid>> {
    Ok(sqlx::query_scalar(sql::OWNER_OF_CARD).bind(card(number)).fetch_optional(connection).await?)
}

async fn by_id(connection: &mut PgConnection, id: Uuid) -> Result<Option<Record>> {
    let row = sqlx::query_as(sql::BY_ID).bind(id).fetch_optional(connection).await?;
    Ok(row.map(rows::stored).transpose()?.map(|stored| stored.record))
}

pub(super) async fn one(db: &PgPool, by: &CustomerRef) -> Result<Option<Record>> {
    let row = match by {
        CustomerRef::Id(id) => sqlx::query_as(sql::BY_ID).bind(id.0).fetch_optional(db).await?,
        CustomerRef::Account(number) => {
            sqlx::query_as(sql::BY_ACCOUNT).bind(number).fetch_optional(db).await?
        }
    };
    Ok(row.map(rows::stored).transpose()?.map(|stored| stored.record))
}

pub(super) async fn find(db: &PgPool, criterion: &Criterion) -> Result<Vec<Hit>> {
    let mut found: Vec<(Uuid, i64)> = Vec::new();
    match search(criterion) {
        Search::Whole(sql, text) => {
            let id: Option<Uuid> = sqlx::query_scalar(sql).bind(text).fetch_optional(db).await?;
            found.extend(id.map(|id| (id, 1)));
        }
        Search::Prefix { statements, kind, texts } => {
            for statement in statements {
                let query = sqlx::query_as::<_, (Uuid, i64)>(AssertSqlSafe(statement)).bind(kind);
                let query = texts.iter().fold(query, |query, text| query.bind(text));
                found.extend(query.fetch_all(db).await?);
            }
        }
    }
    Ok(merge(criterion, found))
}

pub(super) async fn changes(
    db: &PgPool,
    channel: &str,
    after: u64,
    limit: usize,
    max_bytes: usize,
) -> Result<Vec<FeedRecord>> {
    let (mut page, mut budget) = (Vec::new(), rows::Budget::new(max_bytes));
    let query = sqlx::query_as(sql::CHANGES).bind(rows::number(after)).bind(rows::limit(limit)).bind(channel);
    let mut found = query.fetch(db);
    while let Some(row) = found.next().await {
        let row: rows::FeedColumns = row?;
        if !budget.takes(row.2.len()) {
            break;
        }
        page.push(rows::feed(row)?);
    }
    Ok(page)
}
