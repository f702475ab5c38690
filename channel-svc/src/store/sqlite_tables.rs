//! The tables on SQLite: a file of their own, which can be built again.

use std::{fmt::Write as _, sync::Arc};

use service_kit::{database::BEGIN_IMMEDIATE, retry::transaction};
use sqlx::{QueryBuilder, SqliteConnection};
use tillsync_proto::{Criterion, CustomerId, JobRun};
use uuid::Uuid;

use super::{
    Applied, Batch, Setting, Settings, SqliteStore, StoreError, TableProgress, TableStore,
    plan::{self, Plan, ProgressRow},
    search,
    settings::{self, RunRow, SettingRow},
};
use crate::log::entry::Row;

/// Rows in one statement: as many as fit of a few sizes, so that there are few texts and each is prepared once.
const CHUNKS: [usize; 5] = [256, 64, 16, 4, 1];

/// Takes the rows of the next statement; empty at the end.
fn chunk<T>(rows: &mut impl ExactSizeIterator<Item = T>) -> Vec<T> {
    let size = CHUNKS.into_iter().find(|size| *size <= rows.len()).unwrap_or_default();
    rows.take(size).collect()
}

/// GUIDs as one JSON parameter: the statement's text does not depend on how many there are.
fn json(ids: &[CustomerId]) -> String {
    let mut text = String::with_capacity(2 + ids.len() * 35);
    text.push('[');
    for (i, id) in ids.iter().enumerate() {
        let separator = if i == 0 { "" } else { "," };
        let _ = write!(text, "{separator}\"{}\"", id.0.simple());
    }
    text.push(']');
    text
}

async fn present(connection: &mut SqliteConnection, ids: &[CustomerId]) -> Result<Vec<Row>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let bodies: Vec<Vec<u8>> = sqlx::query_scalar(ROWS).bind(json(ids)).fetch_all(&mut *connection).await?;
    bodies.iter().map(|body| Ok(Row::decode(body)?)).collect()
}

const ROWS: &str = "select body from customers where id in (select unhex(value) from json_each($1))";

async fn execute(connection: &mut SqliteConnection, plan: Plan) -> Result<Applied, StoreError> {
    let mut removed = plan.removed.into_iter();
    while removed.len() > 0 {
        let mut sql = QueryBuilder::new("delete from customer_terms where (kind, term, customer_id) in (");
        sql.push_values(chunk(&mut removed), |mut row, term| {
            row.push_bind(term.kind).push_bind(term.text).push_bind(term.id.0);
        });
        sql.push(")").build().execute(&mut *connection).await?;
    }
    let mut upserts = plan.upserts.into_iter();
    while upserts.len() > 0 {
        let mut sql = QueryBuilder::new("insert into customers (id, created_at, pending, body) ");
        sql.push_values(chunk(&mut upserts), |mut row, upsert| {
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
        sql.push_values(chunk(&mut added), |mut row, term| {
            row.push_bind(term.kind).push_bind(term.text).push_bind(term.id.0);
        });
        sql.push(" on conflict do nothing").build().execute(&mut *connection).await?;
    }
    Ok(plan.applied)
}

impl TableStore for SqliteStore {
    async fn apply(&self, batch: Arc<Batch>) -> Result<Applied, StoreError> {
        let ids = plan::ids(&batch);
        transaction("apply", &self.ids, async || {
            let mut tx = self.tables.writer.begin_with(BEGIN_IMMEDIATE).await?;
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
        present(&mut *self.tables.readers.acquire().await?, ids).await
    }

    async fn id_of_account(&self, number: &str) -> Result<Option<CustomerId>, StoreError> {
        let id: Option<Uuid> = sqlx::query_scalar(settings::ID_OF_ACCOUNT)
            .bind(number)
            .fetch_optional(&self.tables.readers)
            .await?;
        Ok(id.map(CustomerId))
    }

    async fn search(
        &self,
        criterion: &Criterion,
        limit: usize,
    ) -> Result<Vec<(CustomerId, usize)>, StoreError> {
        let mut sql = search::statement(criterion, limit);
        let found: Vec<(Uuid, i64)> = sql.build_query_as().fetch_all(&self.tables.readers).await?;
        Ok(found
            .into_iter()
            .map(|(id, points)| (CustomerId(id), usize::try_from(points).unwrap_or(0)))
            .collect())
    }

    async fn page(&self, after: Option<CustomerId>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let bodies: Vec<Vec<u8>> = sqlx::query_scalar(settings::PAGE)
            .bind(after.map_or(Uuid::nil(), |id| id.0))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.tables.readers)
            .await?;
        bodies.iter().map(|body| Ok(Row::decode(body)?)).collect()
    }

    async fn table_progress(&self) -> Result<TableProgress, StoreError> {
        let row = sqlx::query_as(settings::PROGRESS).fetch_one(&self.tables.readers).await?;
        Ok(settings::progress(row))
    }

    async fn settings(&self) -> Result<Settings, StoreError> {
        let rows: Vec<SettingRow> =
            sqlx::query_as(settings::SETTINGS).fetch_all(&self.tables.readers).await?;
        settings::read(rows)
    }

    async fn save_setting(&self, setting: Setting) -> Result<(), StoreError> {
        let (name, version, value) = settings::write(setting)?;
        transaction("save_setting", &self.ids, async || {
            let sql = sqlx::query(settings::SAVE_SETTING).bind(&name).bind(version).bind(&value);
            sql.execute(&self.tables.writer).await?;
            Ok(())
        })
        .await
    }

    async fn job_runs(&self) -> Result<Vec<JobRun>, StoreError> {
        let rows: Vec<RunRow> = sqlx::query_as(settings::RUNS).fetch_all(&self.tables.readers).await?;
        rows.into_iter().map(settings::run).collect()
    }

    async fn save_run(&self, run: &JobRun) -> Result<(), StoreError> {
        let row = settings::run_row(run);
        transaction("save_run", &self.ids, async || {
            let sql = sqlx::query(settings::SAVE_RUN).bind(&row.0).bind(row.1).bind(row.2).bind(row.3);
            sql.bind(row.4).bind(&row.5).bind(row.6).bind(row.7).execute(&self.tables.writer).await?;
            Ok(())
        })
        .await
    }
}
