//! The log.

use service_kit::{lease::Lease, retry::transaction};

use super::{DatabaseStore, dialect};
use crate::store::{
    LOG_PAGE_ROWS, LogProgress, LogRow, LogStore, PRUNE_ROWS, StoreError,
    plan::{log_row, page_end},
    signed, unsigned,
};

impl LogStore for DatabaseStore {
    type Locked = dialect::Locked;

    async fn append(&self, newest: u64, rows: Vec<LogRow>) -> Result<bool, StoreError> {
        dialect::append(self, newest, rows).await
    }

    async fn lock(&self) -> Result<(Self::Locked, u64), StoreError> {
        dialect::lock(self).await
    }

    async fn append_locked(&self, locked: Self::Locked, rows: Vec<LogRow>) -> Result<(), StoreError> {
        dialect::append_locked(self, locked, rows).await
    }

    async fn newest_of_all(&self) -> Result<Option<u64>, StoreError> {
        dialect::newest_of_all(self).await
    }

    fn lease(&self) -> &Lease {
        &self.lease
    }

    async fn read(&self, after: u64) -> Result<Vec<LogRow>, StoreError> {
        let sizes: Vec<(i64, i64)> = sqlx::query_as(dialect::SIZES)
            .bind(signed(after))
            .bind(LOG_PAGE_ROWS)
            .fetch_all(self.log_reads())
            .await?;
        let Some(end) = page_end(&sizes) else { return Ok(Vec::new()) };
        let rows = "select through, operation_through, body from log where through > $1 and through <= $2 \
                    order by through";
        let rows = sqlx::query_as(rows).bind(signed(after)).bind(end).fetch_all(self.log_reads()).await?;
        Ok(rows.into_iter().map(log_row).collect())
    }

    async fn read_operations(&self, after: u64) -> Result<Vec<LogRow>, StoreError> {
        let sizes: Vec<(i64, i64)> = sqlx::query_as(dialect::OPERATION_SIZES)
            .bind(signed(after))
            .bind(LOG_PAGE_ROWS)
            .fetch_all(self.log_reads())
            .await?;
        let Some(end) = page_end(&sizes) else { return Ok(Vec::new()) };
        let rows = "select through, operation_through, body from log \
                    where operation_through > $1 and operation_through <= $2 order by operation_through";
        let rows = sqlx::query_as(rows).bind(signed(after)).bind(end).fetch_all(self.log_reads()).await?;
        Ok(rows.into_iter().map(log_row).collect())
    }

    async fn log_progress(&self) -> Result<LogProgress, StoreError> {
        let sql = "select coalesce((select max(through) from log), 0), \
                   coalesce((select max(operation_through) from log where operation_through is not null), 0), \
                   through, epoch from upload";
        let (newest, operation, uploaded, epoch): (i64, i64, i64, String) =
            sqlx::query_as(sql).fetch_one(self.log_reads()).await?;
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
            let mut tx = self.begin_log().await?;
            sqlx::query(sql).bind(signed(through)).bind(epoch).execute(&mut *tx).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    async fn rewrite(&self, rows: Vec<LogRow>) -> Result<(), StoreError> {
        let mut tx = self.begin_log().await?;
        for row in rows {
            let query = sqlx::query("update log set body = $2 where through = $1").bind(signed(row.through));
            query.bind(row.body).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn overwrite_freed(&self, on: bool) -> Result<(), StoreError> {
        dialect::overwrite_freed(self, on).await
    }

    async fn prune(&self, through: u64) -> Result<u64, StoreError> {
        let sql = "delete from log where through in \
                   (select through from log where through <= $1 order by through limit $2)";
        let mut tx = self.begin_log().await?;
        let removed = sqlx::query(sql).bind(signed(through)).bind(PRUNE_ROWS).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(removed.rows_affected())
    }

    async fn checkpoint(&self) -> Result<(), StoreError> {
        dialect::checkpoint(self).await
    }

    async fn close(&self) {
        dialect::close(self).await;
    }
}
