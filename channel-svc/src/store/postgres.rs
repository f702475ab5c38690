//! The log on PostgreSQL.

use service_kit::{
    clock::Ids,
    database::{OpenError, Step, open_postgres},
    retry::transaction,
};
use sqlx::PgPool;

use super::{
    LOG_PAGE_ROWS, LogProgress, LogRow, LogStore, PRUNE_ROWS, StoreError,
    plan::{log_row, page_end},
    signed, unsigned,
};

/// Connections for the appender, the jobs and the readers.
const CONNECTIONS: u32 = 8;
const STEPS: &[Step] = &[(1, "start", include_str!("../../migrations/postgres/0001_start.sql"))];

/// A store in one PostgreSQL database, which no other channel shares.
#[derive(Clone)]
pub(crate) struct PostgresStore {
    pub(super) pool: PgPool,
    /// One connection, so that batches are applied to the tables one after the other, as SQLite does by nature.
    pub(super) tables: PgPool,
    pub(super) ids: Ids,
}

impl PostgresStore {
    /// Connects, and makes what is missing.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub async fn open(url: &str, ids: Ids) -> Result<Self, OpenError> {
        let pool = open_postgres(url, CONNECTIONS, STEPS).await?;
        Ok(Self { pool, tables: open_postgres(url, 1, STEPS).await?, ids })
    }
}

impl LogStore for PostgresStore {
    async fn append(&self, rows: Vec<LogRow>) -> Result<(), StoreError> {
        let through: Vec<i64> = rows.iter().map(|row| signed(row.through)).collect();
        let operations: Vec<Option<i64>> = rows.iter().map(|row| row.operation_through.map(signed)).collect();
        let bodies: Vec<Vec<u8>> = rows.into_iter().map(|row| row.body).collect();
        let sql = "insert into log (through, operation_through, body) \
                   select * from unnest($1::bigint[], $2::bigint[], $3::bytea[])";
        sqlx::query(sql).bind(through).bind(operations).bind(bodies).execute(&self.pool).await?;
        Ok(())
    }

    async fn read(&self, after: u64) -> Result<Vec<LogRow>, StoreError> {
        let sizes = "select through, octet_length(body)::bigint from log where through > $1 \
                     order by through limit $2";
        let sizes: Vec<(i64, i64)> =
            sqlx::query_as(sizes).bind(signed(after)).bind(LOG_PAGE_ROWS).fetch_all(&self.pool).await?;
        let Some(end) = page_end(&sizes) else { return Ok(Vec::new()) };
        let rows = "select through, operation_through, body from log where through > $1 and through <= $2 \
                    order by through";
        let rows = sqlx::query_as(rows).bind(signed(after)).bind(end).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(log_row).collect())
    }

    async fn read_operations(&self, after: u64) -> Result<Vec<LogRow>, StoreError> {
        let sizes = "select operation_through, octet_length(body)::bigint from log \
                     where operation_through > $1 order by operation_through limit $2";
        let sizes: Vec<(i64, i64)> =
            sqlx::query_as(sizes).bind(signed(after)).bind(LOG_PAGE_ROWS).fetch_all(&self.pool).await?;
        let Some(end) = page_end(&sizes) else { return Ok(Vec::new()) };
        let rows = "select through, operation_through, body from log \
                    where operation_through > $1 and operation_through <= $2 order by operation_through";
        let rows = sqlx::query_as(rows).bind(signed(after)).bind(end).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(log_row).collect())
    }

    async fn log_progress(&self) -> Result<LogProgress, StoreError> {
        let sql = "select coalesce((select max(through) from log), 0), \
                   coalesce((select max(operation_through) from log where operation_through is not null), 0), \
                   through, epoch from upload";
        let (newest, operation, uploaded, epoch): (i64, i64, i64, String) =
            sqlx::query_as(sql).fetch_one(&self.pool).await?;
        Ok(LogProgress {
            newest: unsigned(newest),
            newest_operation: unsigned(operation),
            uploaded_through: unsigned(uploaded),
            epoch,
        })
    }

    async fn set_uploaded(&self, through: u64, epoch: &str) -> Result<(), StoreError> {
        let sql = "update upload set through = $1, epoch = $2";
        transaction("set_uploaded", &self.ids, async || {
            sqlx::query(sql).bind(signed(through)).bind(epoch).execute(&self.pool).await?;
            Ok(())
        })
        .await
    }

    async fn prune(&self, through: u64) -> Result<u64, StoreError> {
        let sql = "delete from log where through in \
                   (select through from log where through <= $1 order by through limit $2)";
        let removed = sqlx::query(sql).bind(signed(through)).bind(PRUNE_ROWS).execute(&self.pool).await?;
        Ok(removed.rows_affected())
    }

    async fn checkpoint(&self) -> Result<(), StoreError> {
        // PostgreSQL does it by itself.
        Ok(())
    }

    async fn close(&self) {
        self.pool.close().await;
        self.tables.close().await;
    }
}
