//! The tables on PostgreSQL.

use std::sync::Arc;

use service_kit::retry::transaction;
use sqlx::PgConnection;
use tillsync_proto::{Criterion, CustomerId, JobRun};
use uuid::Uuid;

use super::{
    Applied, Batch, PostgresStore, Setting, Settings, StoreError, TableProgress, TableStore,
    plan::{self, Plan, ProgressRow, TermRow},
    search,
    settings::{self, RunRow, SettingRow},
};
use crate::log::entry::Row;

async fn present(connection: &mut PgConnection, ids: &[CustomerId]) -> Result<Vec<Row>, StoreError> {
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

async fn execute(connection: &mut PgConnection, plan: Plan) -> Result<Applied, StoreError> {
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

impl TableStore for PostgresStore {
    async fn apply(&self, batch: Arc<Batch>) -> Result<Applied, StoreError> {
        let ids = plan::ids(&batch);
        transaction("apply", &self.ids, async || {
            let mut tx = self.tables.begin().await?;
            let plan = plan::plan(present(&mut tx, &ids).await?, Arc::clone(&batch)).await?;
            let (customers, pending) = (plan.customers, plan.pending);
            let applied = execute(&mut tx, plan).await?;
            let row = ProgressRow::of(&batch.advance);
            sqlx::query(settings::ADVANCE)
                .bind(customers)
                .bind(pending)
                .bind(row.applied_through)
                .bind(row.feed_epoch)
                .bind(row.feed_version)
                .bind(row.feed_head)
                .bind(row.level_at)
                .bind(row.contact_at)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(applied)
        })
        .await
    }

    async fn rows(&self, ids: &[CustomerId]) -> Result<Vec<Row>, StoreError> {
        present(&mut *self.pool.acquire().await?, ids).await
    }

    async fn id_of_account(&self, number: &str) -> Result<Option<CustomerId>, StoreError> {
        let id: Option<Uuid> =
            sqlx::query_scalar(settings::ID_OF_ACCOUNT).bind(number).fetch_optional(&self.pool).await?;
        Ok(id.map(CustomerId))
    }

    async fn search(
        &self,
        criterion: &Criterion,
        limit: usize,
    ) -> Result<Vec<(CustomerId, usize)>, StoreError> {
        let mut sql = search::statement(criterion, limit);
        let found: Vec<(Uuid, i64)> = sql.build_query_as().fetch_all(&self.pool).await?;
        Ok(found
            .into_iter()
            .map(|(id, points)| (CustomerId(id), usize::try_from(points).unwrap_or(0)))
            .collect())
    }

    async fn page(&self, after: Option<CustomerId>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let bodies: Vec<Vec<u8>> = sqlx::query_scalar(settings::PAGE)
            .bind(after.map_or(Uuid::nil(), |id| id.0))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await?;
        bodies.iter().map(|body| Ok(Row::decode(body)?)).collect()
    }

    async fn table_progress(&self) -> Result<TableProgress, StoreError> {
        let row = sqlx::query_as(settings::PROGRESS).fetch_one(&self.pool).await?;
        Ok(settings::progress(row))
    }

    async fn settings(&self) -> Result<Settings, StoreError> {
        let rows: Vec<SettingRow> = sqlx::query_as(settings::SETTINGS).fetch_all(&self.pool).await?;
        settings::read(rows)
    }

    async fn save_setting(&self, setting: Setting) -> Result<(), StoreError> {
        let (name, version, value) = settings::write(setting)?;
        transaction("save_setting", &self.ids, async || {
            let sql = sqlx::query(settings::SAVE_SETTING).bind(&name).bind(version).bind(&value);
            sql.execute(&self.pool).await?;
            Ok(())
        })
        .await
    }

    async fn job_runs(&self) -> Result<Vec<JobRun>, StoreError> {
        let rows: Vec<RunRow> = sqlx::query_as(settings::RUNS).fetch_all(&self.pool).await?;
        rows.into_iter().map(settings::run).collect()
    }

    async fn save_run(&self, run: &JobRun) -> Result<(), StoreError> {
        let row = settings::run_row(run);
        transaction("save_run", &self.ids, async || {
            let sql = sqlx::query(settings::SAVE_RUN).bind(&row.0).bind(row.1).bind(row.2).bind(row.3);
            sql.bind(row.4).bind(&row.5).bind(row.6).bind(row.7).execute(&self.pool).await?;
            Ok(())
        })
        .await
    }
}
