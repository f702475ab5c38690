//! The log of what channels have uploaded.

use service_kit::database::ROWS_AHEAD;
use sqlx::AssertSqlSafe;
use tillsync_proto::Micros;
use tokio_stream::StreamExt as _;

use super::{Db, reads};
use crate::store::{ArrivalCounts, Due, Result, SetAside, rows, sql};

pub(super) async fn due(
    db: &Db,
    channel: Option<&str>,
    after: i64,
    now: Micros,
    limit: usize,
    max_bytes: usize,
) -> Result<Vec<Due>> {
    let (mut page, mut budget, mut after) = (Vec::<Due>::new(), rows::Budget::new(max_bytes), after);
    loop {
        let (there, part) = (page.len(), ROWS_AHEAD.min(limit - page.len()));
        let query = sqlx::query_as(AssertSqlSafe(sql::due(channel.is_some())));
        let query = query.bind(after).bind(now.0).bind(rows::limit(part));
        let query = channel.into_iter().fold(query, |query, channel| query.bind(channel));
        let mut found = query.fetch(reads(db));
        while let Some(row) = found.next().await {
            let row: rows::DueColumns = row?;
            if !budget.takes(rows::due_len(&row)) {
                return Ok(page);
            }
            page.push(rows::due(row));
        }
        match page.last() {
            Some(last) if page.len() - there == part && page.len() < limit => after = last.seq,
            _ => return Ok(page),
        }
    }
}

pub(super) async fn counts(db: &Db) -> Result<ArrivalCounts> {
    let (waiting, set_aside): (i64, i64) = sqlx::query_as(sql::ARRIVAL_COUNTS).fetch_one(reads(db)).await?;
    Ok(ArrivalCounts { waiting: rows::count(waiting), set_aside: rows::count(set_aside) })
}

pub(super) async fn set_aside(
    db: &Db,
    after: Option<i64>,
    limit: usize,
    max_bytes: usize,
) -> Result<(Vec<SetAside>, bool)> {
    let (mut page, mut budget) = (Vec::new(), rows::Budget::new(max_bytes));
    let query = sqlx::query_as(AssertSqlSafe(sql::set_aside(after.is_some()))).bind(rows::limit(limit + 1));
    let query = after.into_iter().fold(query, |query, after| query.bind(after));
    let mut found = query.fetch(reads(db));
    while let Some(row) = found.next().await {
        let row: rows::SetAsideColumns = row?;
        if page.len() == limit || !budget.takes(rows::set_aside_len(&row)) {
            return Ok((page, true));
        }
        page.push(rows::set_aside(row)?);
    }
    Ok((page, false))
}

pub(super) async fn due_channels(db: &Db, now: Micros, limit: usize) -> Result<Vec<String>> {
    let query = sqlx::query_scalar(AssertSqlSafe(sql::due_channels()));
    Ok(query.bind(rows::limit(limit)).bind(now.0).fetch_all(reads(db)).await?)
}
