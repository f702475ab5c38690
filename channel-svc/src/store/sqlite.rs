//! The log on SQLite: a file of its own, durable against a power cut.

use std::path::Path;

use service_kit::{
    clock::Ids,
    database::{Durability, OpenError, Sqlite, open_sqlite},
    retry::transaction,
};
use sqlx::QueryBuilder;

use super::{
    LOG_PAGE_ROWS, LogProgress, LogRow, LogStore, PRUNE_ROWS, StoreError,
    plan::{log_row, page_end},
    signed, unsigned,
};

/// The write-ahead log of the log file is written back step by step; beyond this many pages (64 MiB) the
/// appender waits while the rest is.
const MAX_WAL_PAGES: i64 = 16_384;

/// A store in two SQLite files: the log, and the tables beside it.
#[derive(Clone)]
pub(crate) struct SqliteStore {
    pub(super) log: Sqlite,
    pub(super) tables: Sqlite,
    pub(super) ids: Ids,
}

impl SqliteStore {
    /// Opens `store.db` and `store.log.db`, or makes them.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub async fn open(path: &Path, ids: Ids) -> Result<Self, OpenError> {
        let tables_steps = [(1, "tables", include_str!("../../migrations/sqlite/0001_tables.sql"))];
        let tables = open_sqlite(path, Durability::Crash, &tables_steps).await?;
        let log_steps = [(1, "log", include_str!("../../migrations/sqlite/0001_log.sql"))];
        let log = open_sqlite(&path.with_extension("log.db"), Durability::PowerCut, &log_steps).await?;
        let driver = |source| OpenError::Driver { database: path.display().to_string(), source };
        // Commits of the log never write back: `checkpoint` does. Those of the tables do it less often.
        sqlx::query("pragma wal_autocheckpoint = 0").execute(&log.writer).await.map_err(driver)?;
        sqlx::query("pragma wal_autocheckpoint = 8192").execute(&tables.writer).await.map_err(driver)?;
        Ok(Self { log, tables, ids })
    }
}

impl LogStore for SqliteStore {
    async fn append(&self, rows: Vec<LogRow>) -> Result<(), StoreError> {
        // One statement is one transaction, and takes the write lock at once.
        let mut insert = QueryBuilder::new("insert into log (through, operation_through, body) ");
        insert.push_values(rows, |mut values, row| {
            values.push_bind(signed(row.through));
            values.push_bind(row.operation_through.map(signed)).push_bind(row.body);
        });
        insert.build().execute(&self.log.writer).await?;
        Ok(())
    }

    async fn read(&self, after: u64) -> Result<Vec<LogRow>, StoreError> {
        let sizes = "select through, length(body) from log where through > $1 order by through limit $2";
        let sizes: Vec<(i64, i64)> = sqlx::query_as(sizes)
            .bind(signed(after))
            .bind(LOG_PAGE_ROWS)
            .fetch_all(&self.log.readers)
            .await?;
        let Some(end) = page_end(&sizes) else { return Ok(Vec::new()) };
        let rows = "select through, operation_through, body from log where through > $1 and through <= $2 \
                    order by through";
        let rows = sqlx::query_as(rows).bind(signed(after)).bind(end).fetch_all(&self.log.readers).await?;
        Ok(rows.into_iter().map(log_row).collect())
    }

    async fn read_operations(&self, after: u64) -> Result<Vec<LogRow>, StoreError> {
        let sizes = "select operation_through, length(body) from log where operation_through > $1 \
                     order by operation_through limit $2";
        let sizes: Vec<(i64, i64)> = sqlx::query_as(sizes)
            .bind(signed(after))
            .bind(LOG_PAGE_ROWS)
            .fetch_all(&self.log.readers)
            .await?;
        let Some(end) = page_end(&sizes) else { return Ok(Vec::new()) };
        let rows = "select through, operation_through, body from log \
                    where operation_through > $1 and operation_through <= $2 order by operation_through";
        let rows = sqlx::query_as(rows).bind(signed(after)).bind(end).fetch_all(&self.log.readers).await?;
        Ok(rows.into_iter().map(log_row).collect())
    }

    async fn log_progress(&self) -> Result<LogProgress, StoreError> {
        let sql = "select coalesce((select max(through) from log), 0), \
                   coalesce((select max(operation_through) from log where operation_through is not null), 0), \
                   through, epoch from upload";
        let (newest, operation, uploaded, epoch): (i64, i64, i64, String) =
            sqlx::query_as(sql).fetch_one(&self.log.readers).await?;
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
            sqlx::query(sql).bind(signed(through)).bind(epoch).execute(&self.log.writer).await?;
            Ok(())
        })
        .await
    }

    async fn prune(&self, through: u64) -> Result<u64, StoreError> {
        let sql = "delete from log where through in \
                   (select through from log where through <= $1 order by through limit $2)";
        let removed =
            sqlx::query(sql).bind(signed(through)).bind(PRUNE_ROWS).execute(&self.log.writer).await?;
        Ok(removed.rows_affected())
    }

    async fn checkpoint(&self) -> Result<(), StoreError> {
        let (_, pages, done): (i64, i64, i64) =
            sqlx::query_as("pragma wal_checkpoint(passive)").fetch_one(&self.log.readers).await?;
        if pages > MAX_WAL_PAGES && done > 0 {
            // On the writer: nothing is appended meanwhile, so the file can start from its beginning again.
            sqlx::query("pragma wal_checkpoint(restart)").execute(&self.log.writer).await?;
        }
        Ok(())
    }

    async fn close(&self) {
        // Readers first: whoever closes a file last writes it back.
        for pool in [&self.log.readers, &self.tables.readers, &self.log.writer, &self.tables.writer] {
            pool.close().await;
        }
    }
}
