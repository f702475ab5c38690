//! What only PostgreSQL does so: many rows as arrays.

use sqlx::{PgConnection, PgExecutor, Postgres, Transaction};
use tillsync_proto::CustomerId;
use uuid::Uuid;

use super::PostgresStore;
use crate::{
    log::entry::Row,
    store::{
        Advance, Applied, LogRow, StoreError,
        plan::{Plan, TermRow},
        signed, unsigned,
    },
};

/// Log rows and their bytes.
pub(super) const SIZES: &str = "select through, octet_length(body)::bigint from log where through > $1 \
     order by through limit $2";
/// The same of those with operations.
pub(super) const OPERATION_SIZES: &str = "select operation_through, octet_length(body)::bigint from log \
     where operation_through > $1 order by operation_through limit $2";

/// The row of `log_head` is locked.
pub(crate) struct Locked {
    tx: Transaction<'static, Postgres>,
    newest: u64,
}

const NEWEST: &str = "select newest from log_head";
const LOCK: &str = "select newest from log_head for update";
/// One statement: it waits for whoever appends, and then finds another head than it expected.
const APPEND: &str = "with head as (update log_head set newest = $2 where newest = $1 returning 1) \
     insert into log (through, operation_through, body) \
     select * from unnest($3::bigint[], $4::bigint[], $5::bytea[]) where exists (select 1 from head)";

/// The newest entry of all processes.
pub(super) async fn newest_of_all(store: &PostgresStore) -> Result<Option<u64>, StoreError> {
    let newest: i64 = sqlx::query_scalar(NEWEST).fetch_one(&store.pool).await?;
    Ok(Some(unsigned(newest)))
}

/// Waits until nobody else appends.
pub(super) async fn lock(store: &PostgresStore) -> Result<(Locked, u64), StoreError> {
    let mut tx = store.pool.begin().await?;
    let newest: i64 = sqlx::query_scalar(LOCK).fetch_one(&mut *tx).await?;
    let newest = unsigned(newest);
    Ok((Locked { tx, newest }, newest))
}

/// Appends rows behind the newest entry.
pub(super) async fn append_locked(
    _: &PostgresStore,
    mut locked: Locked,
    rows: Vec<LogRow>,
) -> Result<(), StoreError> {
    if !insert(&mut *locked.tx, locked.newest, rows).await? {
        return Err(StoreError::Inconsistent("the log moved on under its lock".to_owned()));
    }
    Ok(locked.tx.commit().await?)
}

/// Appends rows to the log, behind the entry `newest`.
pub(super) async fn append(
    store: &PostgresStore,
    newest: u64,
    rows: Vec<LogRow>,
) -> Result<bool, StoreError> {
    insert(&store.pool, newest, rows).await
}

async fn insert(executor: impl PgExecutor<'_>, newest: u64, rows: Vec<LogRow>) -> Result<bool, StoreError> {
    let Some(last) = rows.last().map(|row| signed(row.through)) else { return Ok(true) };
    let through: Vec<i64> = rows.iter().map(|row| signed(row.through)).collect();
    let operations: Vec<Option<i64>> = rows.iter().map(|row| row.operation_through.map(signed)).collect();
    let bodies: Vec<Vec<u8>> = rows.into_iter().map(|row| row.body).collect();
    let query = sqlx::query(APPEND).bind(signed(newest)).bind(last);
    let done = query.bind(through).bind(operations).bind(bodies).execute(executor).await?;
    Ok(done.rows_affected() > 0)
}

/// PostgreSQL writes back by itself.
#[expect(clippy::unused_async, reason = "SQLite has something to wait for")]
pub(super) async fn checkpoint(_: &PostgresStore) -> Result<(), StoreError> {
    Ok(())
}

/// Old versions of rows go with the next vacuum, old write-ahead logs with their archive.
#[expect(clippy::unused_async, reason = "SQLite has something to do")]
pub(super) async fn overwrite_freed(_: &PostgresStore, _: bool) -> Result<(), StoreError> {
    Ok(())
}

/// Closes every connection.
pub(super) async fn close(store: &PostgresStore) {
    store.pool.close().await;
    store.tables.close().await;
}

pub(super) async fn present(
    connection: &mut PgConnection,
    ids: &[CustomerId],
) -> Result<Vec<Row>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let sql = "select body from customers where id = any($1)";
    let bodies: Vec<Vec<u8>> = sqlx::query_scalar(sql).bind(ids).fetch_all(&mut *connection).await?;
    bodies.iter().map(|body| Ok(Row::decode(body)?)).collect()
}

fn columns(terms: Vec<TermRow>) -> (Vec<i64>, Vec<String>, Vec<Uuid>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for term in terms {
        columns.0.push(term.kind);
        columns.1.push(term.text);
        columns.2.push(term.id.0);
    }
    columns
}

#[expect(clippy::unused_async, reason = "SQLite has to be asked")]
pub(super) async fn before_commit(
    _: &PostgresStore,
    _: &mut PgConnection,
    _: &[CustomerId],
    _: &Advance,
) -> Result<(), StoreError> {
    Ok(())
}

pub(super) async fn execute(connection: &mut PgConnection, plan: Plan) -> Result<Applied, StoreError> {
    if !plan.removed.is_empty() {
        let (kinds, texts, ids) = columns(plan.removed);
        let sql = "delete from customer_terms t using unnest($1::bigint[], $2::text[], $3::uuid[]) \
                   as old (kind, term, customer_id) where t.kind = old.kind and t.term = old.term \
                   and t.customer_id = old.customer_id";
        sqlx::query(sql).bind(kinds).bind(texts).bind(ids).execute(&mut *connection).await?;
    }
    if !plan.upserts.is_empty() {
        let mut columns = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for upsert in plan.upserts {
            columns.0.push(upsert.id.0);
            columns.1.push(upsert.created_at);
            columns.2.push(upsert.pending);
            columns.3.push(upsert.body);
        }
        let sql = "insert into customers (id, created_at, pending, body) \
                   select * from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bytea[]) \
                   on conflict (id) do update set created_at = excluded.created_at, \
                   pending = excluded.pending, body = excluded.body";
        let sql = sqlx::query(sql).bind(columns.0).bind(columns.1).bind(columns.2).bind(columns.3);
        sql.execute(&mut *connection).await?;
    }
    if !plan.added.is_empty() {
        let (kinds, texts, ids) = columns(plan.added);
        let sql = "insert into customer_terms (kind, term, customer_id) \
                   select * from unnest($1::bigint[], $2::text[], $3::uuid[]) on conflict do nothing";
        sqlx::query(sql).bind(kinds).bind(texts).bind(ids).execute(&mut *connection).await?;
    }
    Ok(plan.applied)
}
