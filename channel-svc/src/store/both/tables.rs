//! The tables.

use std::sync::Arc;

use service_kit::{retry::transaction, terms::Terms};
use tillsync_proto::{Criterion, CustomerId, JobRun};
use uuid::Uuid;

use super::{DatabaseStore, dialect};
use crate::{
    log::entry::Row,
    store::{
        Applied, Batch, Setting, Settings, StoreError, TableProgress, TableStore,
        plan::{self, ProgressRow},
        settings::{self, RunRow, SettingRow},
    },
};

impl TableStore for DatabaseStore {
    async fn apply(&self, batch: Arc<Batch>) -> Result<Applied, StoreError> {
        let ids = plan::ids(&batch);
        transaction("apply", &self.ids, async || {
            let mut tx = self.begin().await?;
            let present = dialect::present(&mut tx, &self.may_hold(&ids)).await?;
            let plan = plan::plan(present, Arc::clone(&batch)).await?;
            let (customers, pending) = (plan.customers, plan.pending);
            let applied = dialect::execute(&mut tx, plan).await?;
            let row = ProgressRow::of(&batch);
            sqlx::query(settings::ADVANCE)
                .bind(customers)
                .bind(pending)
                .bind(row.applied_through)
                .bind(row.feed_epoch)
                .bind(row.feed_version)
                .bind(row.feed_head)
                .bind(row.level_at)
                .bind(row.contact_at)
                .bind(row.first_epoch)
                .execute(&mut *tx)
                .await?;
            dialect::before_commit(self, &mut tx, &ids, &batch.advance).await?;
            tx.commit().await?;
            Ok(applied)
        })
        .await
    }

    async fn rows(&self, ids: &[CustomerId]) -> Result<Vec<Row>, StoreError> {
        let ids = self.may_hold(ids);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        dialect::present(&mut *self.table_reads().acquire().await?, &ids).await
    }

    async fn id_of_account(&self, number: &str) -> Result<Option<CustomerId>, StoreError> {
        let id: Option<Uuid> = sqlx::query_scalar(settings::ID_OF_ACCOUNT)
            .bind(number)
            .fetch_optional(self.table_reads())
            .await?;
        Ok(id.map(CustomerId))
    }

    async fn search(
        &self,
        criterion: &Criterion,
        limit: usize,
    ) -> Result<Vec<(CustomerId, usize)>, StoreError> {
        let (kind, ranges) = criterion.ranges();
        let terms = Terms { pool: self.table_reads(), table: "customer_terms", owner: "customer_id" };
        let found = terms.find(kind as i64, &ranges, limit).await?;
        Ok(found
            .into_iter()
            .map(|(id, points)| (CustomerId(id), usize::try_from(points).unwrap_or(0)))
            .collect())
    }

    async fn page(&self, after: Option<CustomerId>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let bodies: Vec<Vec<u8>> = sqlx::query_scalar(settings::PAGE)
            .bind(after.map_or(Uuid::nil(), |id| id.0))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.table_reads())
            .await?;
        bodies.iter().map(|body| Ok(Row::decode(body)?)).collect()
    }

    async fn table_progress(&self) -> Result<TableProgress, StoreError> {
        let row = sqlx::query_as(settings::PROGRESS).fetch_one(self.table_reads()).await?;
        Ok(settings::progress(row))
    }

    async fn settings(&self) -> Result<Settings, StoreError> {
        let rows: Vec<SettingRow> = sqlx::query_as(settings::SETTINGS).fetch_all(self.table_reads()).await?;
        settings::read(rows)
    }

    async fn identify(&self, identity: Uuid) -> Result<(), StoreError> {
        transaction("identify", &self.ids, async || {
            sqlx::query(settings::IDENTIFY).bind(identity.to_string()).execute(self.table_writes()).await?;
            Ok(())
        })
        .await
    }

    async fn identify_anew(&self, identity: Uuid) -> Result<(), StoreError> {
        transaction("identify", &self.ids, async || {
            let query = sqlx::query(settings::IDENTIFY_ANEW).bind(identity.to_string());
            query.execute(self.table_writes()).await?;
            Ok(())
        })
        .await
    }

    async fn save_setting(&self, setting: Setting) -> Result<(), StoreError> {
        let (name, version, value) = settings::write(setting)?;
        transaction("save_setting", &self.ids, async || {
            let mut tx = self.begin().await?;
            let sql = sqlx::query(settings::SAVE_SETTING).bind(&name).bind(version).bind(&value);
            sql.execute(&mut *tx).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    async fn job_runs(&self) -> Result<Vec<JobRun>, StoreError> {
        let rows: Vec<RunRow> = sqlx::query_as(settings::RUNS).fetch_all(self.table_reads()).await?;
        rows.into_iter().map(settings::run).collect()
    }

    async fn save_run(&self, run: &JobRun) -> Result<(), StoreError> {
        let row = settings::run_row(run);
        transaction("save_run", &self.ids, async || {
            let mut tx = self.begin().await?;
            let sql = sqlx::query(settings::SAVE_RUN).bind(&row.0).bind(row.1).bind(row.2).bind(row.3);
            sql.bind(row.4).bind(&row.5).bind(row.6).bind(row.7).execute(&mut *tx).await?;
            Ok(tx.commit().await?)
        })
        .await
    }
}
