//! The statement that lists operations with what became of them (rule S1), built the same for both databases.

use sqlx::{Database, Encode, QueryBuilder, Type};
use uuid::Uuid;

use super::{StatusFilter, SyncStatus, rows, sql};

/// Most places among all arrivals that one page looks at; the next page goes on behind them (rule Z3).
pub(super) const WINDOW: i64 = 100_000;

/// Operations before a place, newest arrival first, within the window.
pub(super) fn statement<DB>(filter: &StatusFilter, before: i64, limit: usize) -> QueryBuilder<DB>
where
    DB: Database,
    DB::Arguments: Default,
    for<'a> String: Encode<'a, DB> + Type<DB>,
    for<'a> i64: Encode<'a, DB> + Type<DB>,
    for<'a> Uuid: Encode<'a, DB> + Type<DB>,
{
    let mut sql = QueryBuilder::new(sql::OPERATIONS);
    sql.push("a.arrival_seq < ").push_bind(before);
    if let Some(customer) = filter.customer {
        // All of one customer are few and have an index.
        sql.push(" and a.customer_id = ").push_bind(customer.0);
    } else {
        sql.push(" and a.arrival_seq >= ").push_bind(before.saturating_sub(WINDOW));
    }
    if let Some(channel) = &filter.channel {
        sql.push(" and a.channel_id = ").push_bind(channel.to_string());
    }
    match filter.status {
        None | Some(SyncStatus::Unspecified) => {}
        Some(SyncStatus::Pending) => {
            sql.push(" and a.online_operation_completed = 0 and a.reason is null");
        }
        Some(SyncStatus::Succeeded) => {
            sql.push(" and a.online_operation_completed = 1");
        }
        Some(SyncStatus::Failed) => {
            sql.push(" and a.online_operation_completed = 0 and a.reason is not null");
        }
    }
    if let Some(reason) = &filter.reason {
        sql.push(" and a.reason = ").push_bind(reason.clone());
    }
    if let Some(after) = filter.logged_after {
        sql.push(" and a.logged_at >= ").push_bind(after.0);
    }
    if let Some(before) = filter.logged_before {
        sql.push(" and a.logged_at < ").push_bind(before.0);
    }
    sql.push(" order by a.arrival_seq desc limit ").push_bind(rows::limit(limit));
    sql
}
