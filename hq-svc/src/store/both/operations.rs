//! Operations with what became of them, and their repair (rule S1).

use sqlx::AssertSqlSafe;
use tillsync_proto::{ChannelId, CustomerId, Operation};
use tokio_stream::StreamExt as _;

use super::{Db, Driver, reads, writes};
use crate::store::{OperationRow, Result, StatusFilter, rows, sql, statuses};

pub(super) async fn list(
    db: &Db,
    filter: &StatusFilter,
    before: Option<i64>,
    limit: usize,
    max_bytes: usize,
) -> Result<(Vec<OperationRow>, Option<i64>)> {
    let newest: i64 = sqlx::query_scalar(sql::NEWEST_ARRIVAL).fetch_one(reads(db)).await?;
    let before = before.unwrap_or(i64::MAX).min(newest.saturating_add(1));
    let (mut page, mut budget) = (Vec::new(), rows::Budget::new(max_bytes));
    let mut statement = statuses::statement::<Driver>(filter, before, limit + 1);
    let mut found = statement.build_query_as::<rows::OperationColumns>().fetch(reads(db));
    while let Some(row) = found.next().await {
        let row = row?;
        if page.len() == limit || !budget.takes(rows::operation_len(&row)) {
            let last = page.last().map(|row: &OperationRow| row.seq);
            return Ok((page, last));
        }
        page.push(rows::operation(row)?);
    }
    let rest = before.saturating_sub(statuses::WINDOW);
    Ok((page, (filter.customer.is_none() && rest > 1).then_some(rest)))
}

pub(super) async fn one(db: &Db, channel: &ChannelId, counter: u64) -> Result<Option<OperationRow>> {
    let statement = format!("{}a.channel_id = $1 and a.counter = $2", sql::OPERATIONS);
    let query = sqlx::query_as(AssertSqlSafe(statement)).bind(channel.as_str()).bind(rows::number(counter));
    query.fetch_optional(reads(db)).await?.map(rows::operation).transpose()
}

pub(super) async fn correct(
    db: &Db,
    channel: &ChannelId,
    counter: u64,
    operation: &Operation,
) -> Result<bool> {
    let query = sqlx::query(sql::CORRECT).bind(channel.as_str()).bind(rows::number(counter));
    let query = query.bind(rows::write(operation)?).bind(operation.customer_id.0);
    Ok(query.execute(writes(db)).await?.rows_affected() > 0)
}

pub(super) async fn has_earlier_failure(db: &Db, customer: CustomerId, seq: i64) -> Result<bool> {
    let query = sqlx::query_scalar(sql::EARLIER_FAILURE).bind(customer.0).bind(seq);
    let count: i64 = query.fetch_one(reads(db)).await?;
    Ok(count > 0)
}
