//! The log of what channels have uploaded.

use std::collections::{HashMap, HashSet};

use service_kit::database::{BEGIN_IMMEDIATE, Sqlite};
use sqlx::AssertSqlSafe;
use tillsync_proto::{ChannelId, Micros};
use tokio_stream::StreamExt as _;

use crate::store::{Arrival, ArrivalCounts, Arrived, Due, Result, SetAside, arrived, rows, sql};

const INSERT: &str = "insert into arrivals \
     (channel_id, counter, customer_id, kind, operation, raw, arrived_at, reason, message, logged_at) \
     select $1, value ->> 0, unhex(value ->> 1, '-'), value ->> 2, json_extract(value, '$[3]'), \
     unhex(value ->> 4), $2, value ->> 5, value ->> 6, value ->> 7 from json_each($3) where true \
     on conflict (channel_id, counter) do nothing returning counter";
const STANDING: &str = "select a.counter, a.customer_id, a.reason, c.account_number \
     from arrivals a left join customers c on c.id = a.customer_id \
     where a.channel_id = $1 and a.counter in (select value from json_each($2))";

pub(super) async fn arrive(
    db: &Sqlite,
    channel: &ChannelId,
    page: Vec<Arrival>,
    now: Micros,
) -> Result<Vec<Arrived>> {
    let counters: Vec<i64> = page.iter().map(|arrival| arrival.counter).collect();
    let rows: Vec<_> = arrived::in_order(&page)
        .map(|row| {
            let raw = row.raw.map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
            (row.counter, row.customer, row.kind, row.operation, raw, row.reason, row.message, row.logged_at)
        })
        .collect();
    let mut tx = db.writer.begin_with(BEGIN_IMMEDIATE).await?;
    let new: Vec<i64> = sqlx::query_scalar(INSERT)
        .bind(channel.as_str())
        .bind(now.0)
        .bind(rows::write(&rows)?)
        .fetch_all(&mut *tx)
        .await?;
    let standing: Vec<arrived::StandingColumns> = sqlx::query_as(STANDING)
        .bind(channel.as_str())
        .bind(rows::write(&counters)?)
        .fetch_all(&mut *tx)
        .await?;
    tx.commit().await?;
    let standing: HashMap<i64, _> = standing.into_iter().map(|row| (row.0, row)).collect();
    Ok(arrived::answers(&counters, new.into_iter().collect::<HashSet<_>>(), &standing))
}

pub(super) async fn due(
    db: &Sqlite,
    after: i64,
    now: Micros,
    limit: usize,
    max_bytes: usize,
) -> Result<Vec<Due>> {
    let (mut page, mut budget) = (Vec::new(), rows::Budget::new(max_bytes));
    let query = sqlx::query_as(sql::DUE).bind(after).bind(now.0).bind(rows::limit(limit));
    let mut found = query.fetch(&db.readers);
    while let Some(row) = found.next().await {
        let row: rows::DueColumns = row?;
        if !budget.takes(rows::due_len(&row)) {
            break;
        }
        page.push(rows::due(row));
    }
    Ok(page)
}

pub(super) async fn counts(db: &Sqlite) -> Result<ArrivalCounts> {
    let (waiting, set_aside): (i64, i64) = sqlx::query_as(sql::ARRIVAL_COUNTS).fetch_one(&db.readers).await?;
    Ok(ArrivalCounts { waiting: rows::count(waiting), set_aside: rows::count(set_aside) })
}

pub(super) async fn set_aside(
    db: &Sqlite,
    after: Option<i64>,
    limit: usize,
    max_bytes: usize,
) -> Result<(Vec<SetAside>, bool)> {
    let (mut page, mut budget) = (Vec::new(), rows::Budget::new(max_bytes));
    let query = sqlx::query_as(AssertSqlSafe(sql::set_aside(after.is_some()))).bind(rows::limit(limit + 1));
    let query = after.into_iter().fold(query, |query, after| query.bind(after));
    let mut found = query.fetch(&db.readers);
    while let Some(row) = found.next().await {
        let row: rows::SetAsideColumns = row?;
        if page.len() == limit || !budget.takes(rows::set_aside_len(&row)) {
            return Ok((page, true));
        }
        page.push(rows::set_aside(row)?);
    }
    Ok((page, false))
}
