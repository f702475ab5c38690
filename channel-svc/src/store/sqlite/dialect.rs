//! What only SQLite does so: several rows in one statement of a few sizes, and writing back what commits leave.

use service_kit::database::{lists, push_list, rows_of_statement};
use sqlx::{QueryBuilder, SqliteConnection};
use tillsync_proto::CustomerId;
use uuid::Uuid;

use super::SqliteStore;
use crate::{
    log::entry::Row,
    store::{Advance, Applied, LogRow, LogStore as _, StoreError, plan::Plan, signed},
};

/// The write-ahead log of the log file is written back step by step; beyond this many pages (64 MiB) the
/// appender waits while the rest is.
const MAX_WAL_PAGES: i64 = 16_384;
/// Log rows and their bytes.
pub(super) const SIZES: &str =
    "select through, length(body) from log where through > $1 order by through limit $2";
/// The same of those with operations.
pub(super) const OPERATION_SIZES: &str = "select operation_through, length(body) from log \
     where operation_through > $1 order by operation_through limit $2";

/// A SQLite file has one process: nobody else appends, ever.
pub(crate) struct Locked;

pub(super) async fn lock(store: &SqliteStore) -> Result<(Locked, u64), StoreError> {
    Ok((Locked, store.log_progress().await?.newest))
}

pub(super) async fn append_locked(
    store: &SqliteStore,
    _: Locked,
    rows: Vec<LogRow>,
) -> Result<(), StoreError> {
    append(store, 0, rows).await.map(|_| ())
}

#[expect(clippy::unused_async, reason = "PostgreSQL has to be asked")]
pub(super) async fn newest_of_all(_: &SqliteStore) -> Result<Option<u64>, StoreError> {
    Ok(None)
}

/// Appends rows to the log.
pub(super) async fn append(store: &SqliteStore, _: u64, rows: Vec<LogRow>) -> Result<bool, StoreError> {
    // One statement is one transaction, and takes the write lock at once.
    let mut insert = QueryBuilder::new("insert into log (through, operation_through, body) ");
    insert.push_values(rows, |mut values, row| {
        values.push_bind(signed(row.through));
        values.push_bind(row.operation_through.map(signed)).push_bind(row.body);
    });
    insert.build().execute(&store.log.writer).await?;
    Ok(true)
}

/// Writes back what commits have left.
pub(super) async fn checkpoint(store: &SqliteStore) -> Result<(), StoreError> {
    let (_, pages, done): (i64, i64, i64) =
        sqlx::query_as("pragma wal_checkpoint(passive)").fetch_one(&store.log.readers).await?;
    if pages > MAX_WAL_PAGES && done > 0 {
        // On the writer: nothing is appended meanwhile, so the file can start from its beginning again.
        sqlx::query("pragma wal_checkpoint(restart)").execute(&store.log.writer).await?;
    }
    Ok(())
}

/// Whether the writers overwrite what they free. When they stop, the write-ahead logs, which hold what pages were like before,
/// are written back and cut, unless somebody reads from them at the moment; then the next one does it.
pub(super) async fn overwrite_freed(store: &SqliteStore, on: bool) -> Result<(), StoreError> {
    for writer in [&store.log.writer, &store.tables.writer] {
        let pragma = if on { "pragma secure_delete = on" } else { "pragma secure_delete = off" };
        sqlx::query(pragma).execute(writer).await?;
        if !on {
            sqlx::query("pragma wal_checkpoint(truncate)").execute(writer).await?;
        }
    }
    Ok(())
}

/// Closes every connection.
pub(super) async fn close(store: &SqliteStore) {
    // Readers first: whoever closes a file last writes it back.
    for pool in [&store.log.readers, &store.tables.readers, &store.log.writer, &store.tables.writer] {
        pool.close().await;
    }
}

pub(super) async fn present(
    connection: &mut SqliteConnection,
    ids: &[CustomerId],
) -> Result<Vec<Row>, StoreError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let mut rows = Vec::new();
    for ids in lists(&ids) {
        let mut sql = QueryBuilder::new("select body from customers where id in");
        push_list(&mut sql, ids);
        let bodies: Vec<Vec<u8>> = sql.build_query_scalar().fetch_all(&mut *connection).await?;
        for body in bodies {
            rows.push(Row::decode(&body)?);
        }
    }
    Ok(rows)
}

/// Before the tables hold these, in order. A batch of the log ends with those that were minted last, behind whom the next come.
pub(super) async fn before_commit(
    store: &SqliteStore,
    connection: &mut SqliteConnection,
    ids: &[CustomerId],
    advance: &Advance,
) -> Result<(), StoreError> {
    if !store.gap.narrow(ids)
        && matches!(advance, Advance::Log { .. })
        && let Some(last) = ids.last()
    {
        let sql = sqlx::query_scalar("select min(id) from customers where id > $1").bind(last.0);
        let next: Option<Uuid> = sql.fetch_one(connection).await?;
        store.gap.move_behind(*last, next.map(CustomerId));
    }
    Ok(())
}

pub(super) async fn execute(connection: &mut SqliteConnection, plan: Plan) -> Result<Applied, StoreError> {
    let mut removed = plan.removed.into_iter();
    while removed.len() > 0 {
        let mut sql = QueryBuilder::new("delete from customer_terms where (kind, term, customer_id) in (");
        sql.push_values(rows_of_statement(&mut removed), |mut row, term| {
            row.push_bind(term.kind).push_bind(term.text).push_bind(term.id.0);
        });
        sql.push(")").build().execute(&mut *connection).await?;
    }
    let mut upserts = plan.upserts.into_iter();
    while upserts.len() > 0 {
        let mut sql = QueryBuilder::new("insert into customers (id, created_at, pending, body) ");
        sql.push_values(rows_of_statement(&mut upserts), |mut row, upsert| {
            row.push_bind(upsert.id.0).push_bind(upsert.created_at);
            row.push_bind(upsert.pending).push_bind(upsert.body);
        });
        sql.push(
            " on conflict (id) do update set created_at = excluded.created_at, pending = excluded.pending, \
             body = excluded.body",
        );
        sql.build().execute(&mut *connection).await?;
    }
    let mut added = plan.added.into_iter();
    while added.len() > 0 {
        let mut sql = QueryBuilder::new("insert into customer_terms (kind, term, customer_id) ");
        sql.push_values(rows_of_statement(&mut added), |mut row, term| {
            row.push_bind(term.kind).push_bind(term.text).push_bind(term.id.0);
        });
        sql.push(" on conflict do nothing").build().execute(&mut *connection).await?;
    }
    Ok(plan.applied)
}
